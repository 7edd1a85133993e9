//! The real networks' channels, applied live to a running tenant: each is paid by every
//! method it has, told by its notification, and refunded. The simulator plays them.

use std::io::Read as _;
use std::net::TcpListener;
use std::time::Duration;

use base64::Engine as _;
use payplane_crds::samples;
use payplane_e2e::merchant::App;
use payplane_e2e::outside::Outside;
use payplane_e2e::{books, env, kubectl, metrics, tenant, wait};
use serde_json::{Value, json};

use crate::s03_payments::ready;

/// Before the resolver asks for what waits for its payer.
const TOLD_WITHIN: Duration = Duration::from_secs(6);
const TENANT: &str = "alpha";
const NAMESPACE: &str = "ptn-alpha";

fn decoded(secret: &Value, key: &str) -> String {
    let text = secret["data"][key].as_str().unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    String::from_utf8(bytes).expect("text")
}

/// Gives the tenant the credentials that the network hands out, and a Channel like the sample.
pub(crate) fn apply(sample: &str, member: &str, network: &str, name: &str) -> Value {
    let handed = kubectl::get(&["secret", &format!("{network}-credentials"), "-n", "simnet"]);
    let handed = handed.expect("simnet hands out credentials");
    tenant::apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "payplane.io/channel-credentials",
        "metadata": {"name": format!("{network}-credentials"), "namespace": NAMESPACE},
        "data": handed["data"],
    }));
    let found = samples::all().into_iter().find(|known| known.name == sample);
    let mut channel = found.expect("a sample").manifest;
    channel["metadata"] = json!({"name": name, "namespace": NAMESPACE});
    let ids: Value = serde_json::from_str(&decoded(&handed, "ids.json")).expect("JSON");
    for (field, value) in ids.as_object().expect("an object") {
        if channel["spec"][member].get(field).is_some() {
            channel["spec"][member][field] = value.clone();
        }
    }
    channel["spec"]["network"]["notifyUrl"] =
        format!("https://gateway.{NAMESPACE}.svc:8443/v1/channels/{name}/notifications").into();
    tenant::apply(&channel);
    channel
}

/// The network believes the tenant's certificates from here on.
fn believed() {
    let bundle = kubectl::get(&["configmap", "trust-bundle", "-n", NAMESPACE]).expect("the trust bundle");
    let ca = json!({"data": {"ca.crt": bundle["data"]["ca.crt"]}});
    kubectl::patch(&["configmap", "notify-ca", "-n", "simnet"], &ca).expect("written");
    // A touched pod is looked at by its kubelet at once.
    for pod in kubectl::list(&["pods", "-n", "simnet", "-l", "app.kubernetes.io/name=simulator"]) {
        let name = pod["metadata"]["name"].as_str().expect("a name");
        let touch = json!({"metadata": {"annotations": {"touched": env::seed().to_string()}}});
        kubectl::patch(&["pod", name, "-n", "simnet"], &touch).expect("touched");
    }
}

fn ended(app: &App, order: &Value, at_most: Duration) -> Value {
    let text = |field: &str| order[field].as_str().unwrap_or_default().to_owned();
    wait::until(&text("orderNumber"), at_most, || {
        let now = app.query(&text("orderDate"), &text("orderNumber"))?;
        if now["status"] == "Processing" { Err(now.to_string()) } else { Ok(now) }
    })
}

/// Who pays by a method: an account of the bank, or an openid of WeChat's.
fn payer_of(method: &str) -> &'static str {
    if method == "bank-account" { "6222020200112233445" } else { "oUpF8uMuAJO" }
}

/// Pays by a method, is told, and refunds a part.
fn paid_and_refunded(app: &App, method: &str) {
    let app = App { method: method.into(), ..app.clone() };
    let order = format!("{method}-{}", env::seed());
    let made = app.pay_as(payer_of(method), &order, 10_000).expect("taken");
    let paid = ended(&app, &made, TOLD_WITHIN);
    assert_eq!((&paid["status"], &paid["feeMinor"]), (&json!("Succeeded"), &json!(38)), "{paid}");
    let date = paid["orderDate"].as_str().expect("a date");
    let refund = app.refund(date, &order, "R1", 2_500).expect("taken");
    assert_ne!(refund["status"], "Failed", "{refund}");
    wait::until("the refund", Duration::from_secs(40), || {
        let now = app.query(date, &order)?;
        if now["refundedMinor"] == 2_500 { Ok(()) } else { Err(now.to_string()) }
    });
}

#[test]
fn each_network_is_paid_notifies_and_refunds() {
    if !env::cluster() {
        return;
    }
    let app = ready(TENANT, 60);
    believed();
    let before = restarts();
    let networks = [
        ("demo-wechat", "wechatPay", "wechat"),
        ("demo-alipay", "alipay", "alipay"),
        ("demo-unionpay", "unionPay", "unionpay"),
        ("demo-bankdirect", "bankDirect", "bankdirect"),
    ];
    for (sample, member, name) in networks {
        let channel = apply(sample, member, name, name);
        tenant::await_condition(&["pch", name, "-n", NAMESPACE], "Ready", "True", Duration::from_secs(60));
        let methods = channel["spec"]["methods"].as_array().expect("a list");
        let methods: Vec<_> = methods.iter().filter_map(|method| method["name"].as_str()).collect();
        // The flow from the network's pods is new: the first notification may meet a closed door.
        let first = App { method: methods[0].into(), ..app.clone() };
        // A bank tells of what it did not decide at once.
        let amount = if name == "bankdirect" { 9_002 } else { 100 };
        let number = format!("first-{name}-{}", env::seed());
        let made = first.pay_as(payer_of(methods[0]), &number, amount).expect("taken");
        assert_eq!(ended(&first, &made, Duration::from_secs(40))["status"], "Succeeded");
        // A card is paid by an agreement (s03_payouts).
        for method in methods.into_iter().filter(|method| *method != "unionpay-card") {
            paid_and_refunded(&app, method);
        }
        let taken =
            format!("payplane_gateway_network_notifications_total{{channel=\"{name}\",result=\"taken\"");
        let taken: u64 = metrics::of_pods(NAMESPACE, "gateway", &taken).values().sum();
        assert!(taken > 0, "{name} told nothing");
    }
    // The keyed signatures, by an edit of the running channel.
    kubectl::patch(
        &["pch", "unionpay", "-n", NAMESPACE],
        &json!({"spec": {"unionPay": {"signMethod": "Sm3"}}}),
    )
    .expect("patched");
    tenant::await_condition(&["pch", "unionpay", "-n", NAMESPACE], "Ready", "True", Duration::from_secs(60));
    let app = App { method: "unionpay-qr".into(), ..app };
    let made = app.pay(&format!("sm3-{}", env::seed()), 10_000, "CNY").expect("taken");
    assert_eq!(ended(&app, &made, TOLD_WITHIN)["status"], "Succeeded");

    books::assert_balanced(TENANT);
    assert_eq!(restarts(), before, "channels come without a restart");
    for (_, _, name) in networks {
        let gone = kubectl::attempt(&["delete", "pch", name, "-n", NAMESPACE, "--timeout=60s"]);
        assert!(gone.is_ok(), "{gone:?}");
    }
}

/// The gateway's pods, by name and start.
fn restarts() -> Vec<(String, String)> {
    let pods = kubectl::list(&["pods", "-n", NAMESPACE, "-l", "payplane.io/component=gateway"]);
    let mut all: Vec<_> = pods
        .iter()
        .map(|pod| (pod["metadata"]["name"].to_string(), pod["status"]["containerStatuses"].to_string()))
        .map(|(name, status)| (name, status.split("startedAt").nth(1).unwrap_or_default().to_owned()))
        .collect();
    all.sort();
    all
}

/// A network outside of the cluster is called at its own address once the tenant lets it
/// through; a stranger there, whom no public CA believes, gets no payment.
#[test]
fn a_network_outside_is_reached_by_its_address() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let app = ready(TENANT, 60);
    let outside = Outside::make(&env::lab_cluster().expect("checked"));
    let listener = TcpListener::bind((outside.address, 8443)).expect("the address is ours");
    let mut channel = apply("demo-wechat", "wechatPay", "wechat", "wechat");
    let _ = kubectl::ok(&["delete", "pch", "wechat", "-n", NAMESPACE, "--timeout=60s"]);
    channel["spec"]["network"] = json!({
        "endpoint": format!("https://{}:8443", outside.address),
        "notifyUrl": channel["spec"]["network"]["notifyUrl"],
    });
    let secret = json!({"data": {"ca.crt": null}});
    kubectl::patch(&["secret", "wechat-credentials", "-n", NAMESPACE], &secret).expect("patched");
    tenant::apply(&channel);
    let target = ["pch", "wechat", "-n", NAMESPACE];
    let words = "spec.network: the tenant's spec.network.egressCidrs";
    tenant::await_told(&target, "EndpointRefused", words, Duration::from_secs(30));
    let mut alpha = tenant::development(TENANT);
    alpha["spec"]["network"]["egressCidrs"] = json!([format!("{}/32", outside.address)]);
    tenant::apply(&alpha);
    tenant::await_condition(&target, "Ready", "True", Duration::from_secs(60));

    let hello = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it is called");
        let mut first = [0_u8; 2];
        stream.read_exact(&mut first).expect("it speaks");
        first
    });
    let app = App { method: "wechat-native".into(), ..app };
    let made = app.pay(&format!("stranger-{}", env::seed()), 10_000, "CNY").expect("taken");
    assert_eq!(hello.join().expect("called"), [0x16, 0x03], "a TLS handshake");
    let end = ended(&app, &made, Duration::from_secs(40));
    assert_eq!(
        (&end["status"], &end["failureCode"]),
        (&json!("Failed"), &json!("ChannelUnavailable")),
        "{end}"
    );
    let _ = kubectl::ok(&["delete", "pch", "wechat", "-n", NAMESPACE, "--timeout=60s"]);
    let _ = ready(TENANT, 60);
}
