//! Terminals, and payments that are made at one.

use anyhow::{Result, ensure};
use payplane_client::sign::Signer;
use serde_json::{Value, json};

use crate::harness::{Stack, payment};

/// What binds every terminal of these tests, by the field of a payment.
pub(crate) const ELEMENTS: [(&str, &str); 4] = [
    ("acquirerCode", "48021000"),
    ("unifiedSocialCreditCode", "91350100M000100Y43"),
    ("settlementAccount", "6222000012345678"),
    ("location", "Fuzhou, Wuyi Road 1"),
];

/// What terminal T1 or T2 says of itself.
pub(crate) fn terminal_of(id: &str, elements: &[(&str, &str)]) -> Value {
    let mut terminal = json!({"terminalId": id, "serialNumber": format!("S-{id}")});
    for (name, value) in elements {
        terminal[*name] = json!(value);
    }
    terminal
}

/// Registers T1 and T2 of M1.
pub(crate) async fn two_terminals(stack: &Stack) -> Result<()> {
    let body = json!({"displayName": "Shop", "unifiedSocialCreditCode": ELEMENTS[1].1,
        "settlementAccount": ELEMENTS[2].1});
    let (status, answer) = stack.admin("admin-client", "PUT", "/admin/v1/merchants/M1", &body).await?;
    ensure!(status == 200, "{answer}");
    for id in ["T1", "T2"] {
        let (status, answer) = put_terminal(stack, id, &json!({})).await?;
        ensure!(status == 200 && answer["status"] == "Active", "{answer}");
    }
    Ok(())
}

/// Registers a terminal of M1.
pub(crate) async fn put_terminal(stack: &Stack, id: &str, change: &Value) -> Result<(u16, Value)> {
    let mut body = json!({"merchantId": "M1", "serialNumber": format!("S-{id}"),
        "acquirerCode": ELEMENTS[0].1, "location": ELEMENTS[3].1});
    for (name, value) in change.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    stack.admin("admin-client", "PUT", &format!("/admin/v1/terminals/{id}"), &body).await
}

/// A payment of M1 at a terminal, and what came of it.
pub(crate) async fn pay_at(stack: &Stack, number: &str, terminal: Value) -> Result<(u16, Value)> {
    let mut body = serde_json::to_value(payment(number, 1_000))?;
    body["terminal"] = terminal;
    let signer = Signer::load("app1", "k1", &stack.key("app1"))?;
    stack.signed(&signer, &body.to_string(), |request| request).await
}

/// Each element is compared, and the one that differs is named without the right one.
pub(crate) async fn five_elements(stack: &Stack) -> Result<()> {
    let right = terminal_of("T1", &ELEMENTS);
    let (status, paid) = pay_at(stack, "at-t1", right.clone()).await?;
    assert_eq!((status, &paid["terminalId"], &paid["status"]), (201, &json!("T1"), &json!("Succeeded")));
    let (status, problem) = pay_at(stack, "at-t1", terminal_of("T2", &ELEMENTS)).await?;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("OrderConflict")),
        "the terminal is part of the request"
    );
    for (name, wrong) in [
        ("serialNumber", "S-T2"),
        ("acquirerCode", "48021001"),
        ("unifiedSocialCreditCode", "91350100M000100Y43"),
        ("settlementAccount", "6222000012345679"),
        ("location", "Fuzhou, Wuyi Road 2"),
    ] {
        let mut terminal = right.clone();
        terminal[name] = json!(if name == "unifiedSocialCreditCode" { "91110000802100433B" } else { wrong });
        let (status, problem) = pay_at(stack, "wrong", terminal).await?;
        let said = (status, &problem["code"], &problem["field"]);
        assert_eq!(said, (422, &json!("TerminalDiffers"), &json!(format!("terminal.{name}"))), "{problem}");
        let told = problem.to_string();
        assert!(ELEMENTS.iter().all(|(_, right)| !told.contains(right)), "{told}");
    }
    // Another merchant's terminal.
    let elsewhere = json!({"displayName": "Second shop", "unifiedSocialCreditCode": ELEMENTS[1].1,
        "settlementAccount": ELEMENTS[2].1});
    stack.admin("admin-client", "PUT", "/admin/v1/merchants/M2", &elsewhere).await?;
    let (status, answer) = put_terminal(stack, "T3", &json!({"merchantId": "M2"})).await?;
    assert_eq!(status, 200, "{answer}");
    let (_, problem) = pay_at(stack, "elsewhere", terminal_of("T3", &ELEMENTS)).await?;
    assert_eq!((&problem["code"], &problem["field"]), (&json!("TerminalDiffers"), &json!("merchantId")));
    let (_, problem) = pay_at(stack, "unknown", terminal_of("T9", &ELEMENTS)).await?;
    assert_eq!(problem["code"], "UnknownTerminal");
    let (_, problem) = pay_at(stack, "bad", terminal_of("T1", &ELEMENTS[..1])).await?;
    assert_eq!(problem["field"], "terminal.unifiedSocialCreditCode");
    for (change, said) in [
        (json!({"merchantId": "M2"}), "StateConflict"),
        (json!({"serialNumber": "S-T2"}), "StateConflict"),
        (json!({"merchantId": "M9"}), "StateConflict"),
        (json!({"location": ""}), "InvalidField"),
    ] {
        let (_, answer) = put_terminal(stack, "T1", &change).await?;
        assert_eq!(answer["code"], said, "{change}");
    }
    let (_, answer) = put_terminal(stack, "T4", &json!({"merchantId": "M9"})).await?;
    assert_eq!(answer["field"], "merchantId");
    Ok(())
}
