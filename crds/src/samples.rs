//! Manifests to start from. Each is applied by a test or by the demo.

use serde_json::{Value, json};

/// A manifest with a word on what it is for.
pub struct Sample {
    /// The file's stem.
    pub name: &'static str,
    /// One line.
    pub comment: &'static str,
    /// The object.
    pub manifest: Value,
}

/// Every sample.
#[must_use]
pub fn all() -> Vec<Sample> {
    vec![
        minimal(),
        production(),
        external(),
        demo(),
        demo_channel(),
        demo_wechat(),
        demo_alipay(),
        demo_unionpay(),
        demo_bankdirect(),
    ]
}

fn tenant(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "payplane.io/v1alpha1",
        "kind": "PaymentTenant",
        "metadata": { "name": name },
        "spec": spec,
    })
}

fn minimal() -> Sample {
    Sample {
        name: "minimal",
        comment: "The least tenant: Live, of Production size, everything else by default.",
        manifest: tenant("retail", json!({ "displayName": "Retail banking", "currencies": ["CNY"] })),
    }
}

fn production() -> Sample {
    let service = json!({
        "replicas": 3,
        "resources": {
            "requests": { "cpu": "1", "memory": "512Mi" },
            "limits": { "memory": "1Gi" },
        },
    });
    Sample {
        name: "production",
        comment: "A tenant with every choice made.",
        manifest: tenant(
            "wholesale",
            json!({
                "displayName": "Wholesale acquiring",
                "currencies": ["CNY", "USD", "EUR"],
                "environment": "Live",
                "profile": "Production",
                "timezone": "Asia/Shanghai",
                "settlementCutoff": "23:00",
                "calendar": {
                    "holidays": ["2026-10-01", "2026-10-02", "2026-10-05", "2026-10-06", "2026-10-07"],
                    "workingWeekends": ["2026-09-27", "2026-10-10"],
                },
                "database": { "managed": {
                    "instances": 3,
                    "storage": { "size": "200Gi", "className": "fast" },
                    "resources": {
                        "requests": { "cpu": "4", "memory": "16Gi" },
                        "limits": { "memory": "16Gi" },
                    },
                    "parameters": { "max_connections": "300", "shared_buffers": "4GB" },
                }},
                "components": { "gateway": service, "ledger": service },
                "quota": { "cpu": "32", "memory": "96Gi" },
                "access": {
                    "tenantAdminGroups": ["wholesale-admins"],
                    "tenantViewerGroups": ["wholesale", "audit"],
                },
                "placement": {
                    "nodeSelector": { "pool": "payments" },
                    "tolerations": [{ "key": "payments", "operator": "Exists", "effect": "NoSchedule" }],
                    "zoneSpread": "Required",
                },
                "network": {
                    "egressCidrs": ["203.0.113.0/24"],
                    "ingressFrom": { "namespaces": ["shop"], "cidrs": ["192.0.2.0/24"] },
                },
                "risk": { "stepUp": { "url": "https://codes.bank.example/payplane" }, "policies": [
                    { "name": "payer-hour", "type": "Velocity", "velocity": { "per": "Payer", "windowSeconds": 3600,
                        "paymentsMax": 20, "amounts": [{ "currency": "CNY", "amountMinorMax": 5_000_000 }] } },
                    { "name": "large", "type": "Amount", "amount": { "currency": "CNY", "amountMinorMax": 20_000_000 } },
                    { "name": "night", "type": "TimeOfDay", "mode": "Shadow", "timeOfDay": { "from": "23:00",
                        "to": "06:00", "currency": "CNY", "amountMinorMax": 500_000 } },
                    { "name": "listed", "type": "List", "list": { "name": "fraud" } },
                    { "name": "newcomer", "type": "NewMerchant", "newMerchant": { "days": 30, "paymentsPerDayMax": 500,
                        "amountsPerDay": [{ "currency": "CNY", "amountMinorMax": 10_000_000 }] } },
                    { "name": "parts", "type": "SplitOrder", "mode": "Shadow", "splitOrder": { "windowSeconds": 600,
                        "paymentsMin": 3, "currency": "CNY", "amountMinorMax": 1_000_000 } },
                    { "name": "proven", "type": "Amount", "action": "StepUp", "onError": "Hold",
                        "amount": { "currency": "CNY", "amountMinorMax": 5_000_000 } },
                ]},
                "deletionPolicy": "Retain",
            }),
        ),
    }
}

fn external() -> Sample {
    Sample {
        name: "external-database",
        comment: "A tenant whose books lie in a PostgreSQL that the bank runs itself.",
        manifest: tenant(
            "treasury",
            json!({
                "displayName": "Treasury",
                "currencies": ["USD"],
                "database": { "external": {
                    "host": "10.20.0.15",
                    "database": "treasury",
                    "ca": { "name": "database-login" },
                    "credentials": { "name": "database-login" },
                }},
                "network": { "egressCidrs": ["10.20.0.0/24"] },
            }),
        ),
    }
}

fn demo() -> Sample {
    Sample {
        name: "demo",
        comment: "The tenant of `make demo`: play money, one of everything.",
        manifest: tenant(
            "demo",
            json!({
                "displayName": "Demo bank",
                "currencies": ["CNY", "USD"],
                "environment": "Test",
                "profile": "Development",
                "timezone": "Asia/Shanghai",
                "settlementCutoff": "23:00",
                "access": { "tenantAdminGroups": ["demo-admins"] },
                "network": { "ingressFrom": { "namespaces": ["merchants"] } },
            }),
        ),
    }
}

/// A channel of the demo tenant to a network that the simulator plays.
fn sandbox(name: &'static str, kind: &str, member: (&str, Value), methods: &[&str]) -> Sample {
    let method = |name: &&str| json!({ "name": name, "fees": [{ "currency": "CNY", "basisPoints": 38 }] });
    Sample {
        name,
        comment: "A network that the simulator plays, with the network's own messages and signatures.",
        manifest: json!({
            "apiVersion": "payplane.io/v1alpha1",
            "kind": "Channel",
            "metadata": { "name": kind.to_lowercase(), "namespace": "ptn-demo" },
            "spec": {
                "type": kind,
                "network": {
                    "sandbox": {
                        "service": { "namespace": "simnet", "name": "simulator", "port": 8443 },
                        "podLabels": { "app.kubernetes.io/name": "simulator" },
                    },
                    "notifyUrl": format!(
                        "https://gateway.ptn-demo.svc:8443/v1/channels/{}/notifications",
                        kind.to_lowercase()
                    ),
                },
                "methods": methods.iter().map(method).collect::<Vec<_>>(),
                member.0: member.1,
            },
        }),
    }
}

fn demo_wechat() -> Sample {
    let member = json!({
        "mchid": "1900000109",
        "appid": "wxd678efh567hg6787",
        "merchantSerial": "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
        "publicKeyId": "PUB_KEY_ID_0119000001092026",
        "credentials": { "name": "wechat-credentials" },
    });
    sandbox("demo-wechat", "WechatPay", ("wechatPay", member), &["wechat-native", "wechat-jsapi"])
}

fn demo_alipay() -> Sample {
    let member = json!({ "appId": "2021000000000001", "credentials": { "name": "alipay-credentials" } });
    sandbox("demo-alipay", "Alipay", ("alipay", member), &["alipay-qr"])
}

fn demo_unionpay() -> Sample {
    let member = json!({
        "merId": "777290058110048",
        "signMethod": "Rsa",
        "tokenRequestor": "62000000001",
        "credentials": { "name": "unionpay-credentials" },
    });
    let methods = ["unionpay-qr", "unionpay-app", "unionpay-card"];
    sandbox("demo-unionpay", "UnionPay", ("unionPay", member), &methods)
}

fn demo_bankdirect() -> Sample {
    let member = json!({ "participantId": "10002", "agreements": true, "credentials": { "name": "bankdirect-credentials" } });
    let mut sample = sandbox("demo-bankdirect", "BankDirect", ("bankDirect", member), &["bank-account"]);
    sample.manifest["spec"]["payouts"] = json!([{ "currency": "CNY", "perPayoutMinorMax": 5_000_000 }]);
    sample
}

fn demo_channel() -> Sample {
    Sample {
        name: "demo-channel",
        comment: "The connection of `make demo` to its simulated network: 0.60 % of a card payment, 0.38 % of a QR code.",
        manifest: json!({
            "apiVersion": "payplane.io/v1alpha1",
            "kind": "Channel",
            "metadata": { "name": "sim", "namespace": "ptn-demo" },
            "spec": {
                "type": "Simulator",
                "simulator": {
                    "service": { "namespace": "simnet", "name": "simulator", "port": 8443 },
                    "podLabels": { "app.kubernetes.io/name": "simulator" },
                    "merchantId": "M1",
                    "credentials": { "name": "simulator-credentials" },
                },
                "methods": [
                    {
                        "name": "card",
                        "fees": [
                            { "currency": "CNY", "basisPoints": 60, "fixedMinor": 0 },
                            { "currency": "USD", "basisPoints": 90, "fixedMinor": 30 },
                        ],
                        "limits": [{ "currency": "CNY", "perPaymentMinorMax": 5_000_000 }],
                    },
                    { "name": "qr", "fees": [{ "currency": "CNY", "basisPoints": 38, "fixedMinor": 0 }] },
                ],
            },
        }),
    }
}
