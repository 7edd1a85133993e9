//! Objects that the operator's types cannot read, as a later release may leave
//! them behind: they delay nobody else, and a Channel goes on as it was.

use std::time::Duration;

use payplane_e2e::{env, kubectl, merchant::App, tenant, wait};
use serde_json::{Value, json};

use crate::s03_payments::ready;

const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
const IN_FORCE_WITHIN: Duration = Duration::from_secs(5);

/// A rule of a kind that is another one while this lives.
struct Rule {
    kind: &'static str,
    path: String,
    former: Value,
}

impl Rule {
    fn change(kind: &'static str, path: &str, to: Value) -> Self {
        let live = kubectl::get(&["crd", kind]).expect("the kind is there");
        let path = format!("{SPEC}{path}");
        let former = live.pointer(&path).expect("the rule is there").clone();
        let rule = Self { kind, path, former };
        rule.set(&to);
        rule
    }

    fn set(&self, to: &Value) {
        let patch = json!([{"op": "replace", "path": self.path, "value": to}]).to_string();
        let said = kubectl::attempt(&["patch", "crd", self.kind, "--type=json", "-p", &patch]);
        assert!(said.is_ok(), "{said:?}");
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        self.set(&self.former);
    }
}

fn port(number: u32) -> Value {
    json!({"spec": {"simulator": {"service": {"port": number}}}})
}

#[test]
fn an_object_that_cannot_be_read_delays_nobody() {
    if !env::cluster() {
        return;
    }
    let app = ready("alpha", 60);
    let odd = ["pch", "odd", "-n", "ptn-alpha"];
    let mut channel = tenant::channel("alpha", "odd", 0);
    channel["spec"]["methods"] = json!([{"name": "qr", "fees": [{"currency": "CNY", "basisPoints": 0}]}]);
    tenant::apply(&channel);
    tenant::await_condition(&odd, "Ready", "True", Duration::from_secs(60));

    let ports = "/simulator/properties/service/properties/port/maximum";
    let rule = Rule::change("channels.payplane.io", ports, json!(70_000));
    wait::until("the wider rule", Duration::from_secs(20), || kubectl::patch(&odd, &port(70_000)));
    drop(rule);
    let sizes = kubectl::get(&["crd", "paymenttenants.payplane.io"]).expect("the kind is there");
    let sizes = sizes.pointer(&format!("{SPEC}/profile/enum")).expect("the rule is there");
    let wider = sizes.as_array().into_iter().flatten().cloned().chain([json!("Huge")]).collect();
    let rule = Rule::change("paymenttenants.payplane.io", "/profile/enum", wider);
    let mut huge = tenant::development("huge");
    huge["spec"]["profile"] = json!("Huge");
    wait::until("the wider rule", Duration::from_secs(20), || kubectl::apply(&huge.to_string()));
    drop(rule);

    tenant::apply(&tenant::channel("alpha", "sim", 70));
    let sim = ["pch", "sim", "-n", "ptn-alpha"];
    tenant::await_condition(&sim, "Ready", "True", IN_FORCE_WITHIN);
    let by_odd = App { method: "qr".into(), ..app.clone() };
    let paid = by_odd.pay(&format!("odd-{}", env::seed()), 100, "CNY").expect("the last good entry pays");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
    for (target, field) in [(&odd[..], "spec.simulator.service.port"), (&["ptn", "huge"], "spec.profile")] {
        tenant::await_reason(target, "Ready", "Unreadable", Duration::from_secs(30));
        let live = kubectl::get(target).expect("it is there");
        assert!(live["status"]["conditions"].to_string().contains(field), "{live}");
    }

    let said = kubectl::patch(&odd, &port(8443));
    assert!(said.is_ok(), "{said:?}");
    tenant::await_condition(&odd, "Ready", "True", Duration::from_secs(30));
    for target in [&["pch", "odd", "-n", "ptn-alpha"][..], &["ptn", "huge"]] {
        let _ = kubectl::ok(&[&["delete", "--timeout=60s"], target].concat());
    }
    let _ = ready("alpha", 60);
}
