//! Tenants and channels as YAML, and what their status says.

use std::time::Duration;

use payplane_crds::condition::Reason;
use serde_json::{Value, json};

use crate::{kubectl, wait};

/// What is mended is seen so within this time, without another touch.
pub const HEALED_WITHIN: Duration = Duration::from_secs(30);

/// Every leaf certificate that a tenant with a managed database has.
pub const LEAVES: [&str; 11] = [
    "gateway-tls",
    "ledger-tls",
    "operator-client",
    "admin-client",
    "admin-checker",
    "db-owner",
    "db-ledger",
    "db-gateway",
    "db-vault",
    "database-server",
    "database-replication",
];

/// A Test tenant of the smallest size that merchants in namespace `merchants`
/// may call. Suites change what they are about.
#[must_use]
pub fn development(name: &str) -> Value {
    json!({
        "apiVersion": "payplane.io/v1alpha1",
        "kind": "PaymentTenant",
        "metadata": {"name": name},
        "spec": {
            "displayName": format!("Suite tenant {name}"),
            "currencies": ["CNY", "USD"],
            "environment": "Test",
            "profile": "Development",
            "timezone": "Asia/Shanghai",
            "network": {"ingressFrom": {"namespaces": ["merchants"]}},
        }
    })
}

/// A channel to the simulated network in namespace `simnet`.
#[must_use]
pub fn channel(tenant: &str, name: &str, basis_points: i64) -> Value {
    json!({
        "apiVersion": "payplane.io/v1alpha1",
        "kind": "Channel",
        "metadata": {"name": name, "namespace": format!("ptn-{tenant}")},
        "spec": {
            "type": "Simulator",
            "simulator": {
                "service": {"namespace": "simnet", "name": "simulator", "port": 8443},
                "podLabels": {"app.kubernetes.io/name": "simulator"},
                "merchantId": "M1",
                "credentials": {"name": "simulator-credentials"},
            },
            "enabled": true,
            "methods": [{
                "name": "card",
                "fees": [
                    {"currency": "CNY", "basisPoints": basis_points, "fixedMinor": 0},
                    {"currency": "USD", "basisPoints": basis_points, "fixedMinor": 0},
                ],
                "limits": [
                    {"currency": "CNY", "perPaymentMinorMax": 100_000_000},
                    {"currency": "USD", "perPaymentMinorMax": 100_000_000},
                ],
            }],
        }
    })
}

/// Applies an object, which must be accepted.
///
/// # Panics
/// With what the API server said.
pub fn apply(object: &Value) {
    let said = kubectl::apply(&object.to_string());
    assert!(said.is_ok(), "{object}: {}", said.unwrap_err());
}

/// A condition as `(status, reason, message)`, believed only where it is about
/// the object's present generation.
#[must_use]
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let generation = &object["metadata"]["generation"];
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|c| c["type"] == kind)?;
    if found["observedGeneration"] != *generation {
        return None;
    }
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Ready is not true for this reason, in words that hold these and what to do.
pub fn says(object: &Value, reason: &str, words: &str) -> Result<(), String> {
    let Some((status, now, message)) = condition(object, "Ready") else {
        return Err(format!("nothing of this generation: {}", object["status"]));
    };
    let remedy = Reason::ALL.iter().find(|known| known.as_str() == reason).map_or("", |known| known.remedy());
    let right = status != "True" && now == reason && message.contains(words) && message.contains(remedy);
    if right {
        Ok(())
    } else {
        Err(format!("should say {reason} {words:?} {remedy:?}: {}", object["status"]))
    }
}

/// Waits until an object says what is wrong, and what to do.
pub fn await_told(target: &[&str], reason: &str, words: &str, at_most: Duration) -> Value {
    wait::until(&format!("{target:?} {reason}"), at_most, || {
        let object = kubectl::get(target).ok_or("there is no such object")?;
        says(&object, reason, words).map(|()| object)
    })
}

/// Waits until what was mended is not told any more; gone is mended too.
pub fn await_healed(target: &[&str], reason: &str) {
    wait::until(&format!("{target:?} {reason} no more"), HEALED_WITHIN, || {
        let Some(object) = kubectl::get(target) else { return Ok(()) };
        match condition(&object, "Ready") {
            Some((_, now, _)) if now != reason => Ok(()),
            _ => Err(object["status"].to_string()),
        }
    });
}

/// Waits until a condition of the present generation has a status, and gives
/// back the object.
pub fn await_condition(target: &[&str], kind: &str, status: &str, at_most: Duration) -> Value {
    wait::until(&format!("{target:?} {kind}={status}"), at_most, || {
        let object = kubectl::get(target).ok_or("there is no such object")?;
        match condition(&object, kind) {
            Some((now, _, _)) if now == status => Ok(object),
            _ => Err(object["status"].to_string()),
        }
    })
}

/// Waits until a condition has a reason.
pub fn await_reason(target: &[&str], kind: &str, reason: &str, at_most: Duration) -> Value {
    wait::until(&format!("{target:?} {kind}: {reason}"), at_most, || {
        let object = kubectl::get(target).ok_or("there is no such object")?;
        match condition(&object, kind) {
            Some((_, now, _)) if now == reason => Ok(object),
            _ => Err(object["status"].to_string()),
        }
    })
}

/// Makes a tenant with one channel `sim` ready to be paid.
pub fn ready(tenant: &Value, basis_points: i64) {
    let name = tenant["metadata"]["name"].as_str().expect("a tenant has a name");
    let namespace = format!("ptn-{name}");
    apply(tenant);
    wait::until("the tenant's namespace", Duration::from_secs(60), || {
        kubectl::get(&["namespace", &namespace]).ok_or_else(|| "not there".to_owned())
    });
    credentials(name);
    apply(&channel(name, "sim", basis_points));
    await_condition(&["ptn", name], "Ready", "True", Duration::from_secs(300));
    await_condition(&["pch", "sim", "-n", &namespace], "Ready", "True", Duration::from_secs(60));
}

/// Gives a tenant the credentials for the simulated network: the Secret that
/// the network's own namespace hands out.
pub fn credentials(tenant: &str) {
    credentials_as(tenant, "simulator-credentials");
}

/// The same under another name.
pub fn credentials_as(tenant: &str, name: &str) {
    let found = kubectl::get(&["secret", "merchant-credentials", "-n", "simnet"]);
    let found = found.expect("simnet hands out merchant-credentials");
    apply(&json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "payplane.io/channel-credentials",
        "metadata": {"name": name, "namespace": format!("ptn-{tenant}")},
        "data": found["data"],
    }));
}

/// Deletes a tenant with its books.
pub fn destroy(name: &str) {
    let Some(object) = kubectl::get(&["ptn", name]) else { return };
    let books = object["status"]["booksId"].as_str();
    let spec = books.map(|id| json!({"spec": {"deletionPolicy": "Delete", "destroyBooks": id}}));
    if let Some(spec) = spec {
        let patched = kubectl::patch(&["ptn", name], &spec);
        assert!(patched.is_ok(), "{patched:?}");
    }
    let _ = kubectl::ok(&["delete", "ptn", name, "--timeout=180s"]);
}

/// Deletes every tenant but these; their books are retained.
///
/// # Panics
/// Where one is not gone in time.
pub fn leave_only(names: &[&str]) {
    for tenant in kubectl::list(&["ptn"]) {
        let name = tenant["metadata"]["name"].as_str().unwrap_or_default();
        if !names.contains(&name) {
            let _ = kubectl::ok(&["delete", "ptn", name, "--timeout=180s"]);
        }
    }
}
