use payplane_api::ledger::v1::Reference;

use super::*;

fn entry(account: &str, direction: Direction, amount_minor: i64, currency: &str) -> Entry {
    Entry { account: account.into(), direction: direction.into(), amount_minor, currency: currency.into() }
}

fn good() -> PostRequest {
    PostRequest {
        identity: Some(Identity { key_date: "2026-11-24".into(), key: "sale:1".into() }),
        kind: "sale".into(),
        entries: vec![
            entry("channel:c:receivable", Direction::Debit, 5, "CNY"),
            entry("merchant:m:pending", Direction::Credit, 5, "CNY"),
        ],
        references: vec![Reference { r#type: "order".into(), value: "o 1".into() }],
        effective_time: "2026-11-24T10:00:00Z".into(),
        ..PostRequest::default()
    }
}

fn hold(request: &mut PostRequest) {
    request.kind = "hold".into();
    request.entries.remove(0);
}

#[test]
fn a_good_request_passes() {
    assert!(check(good()).is_ok());
    let mut request = good();
    hold(&mut request);
    request.expires_at = "2026-12-24T10:00:00.1234567Z".into();
    let held = check(request.clone()).unwrap();
    assert_eq!(held.expires_at.map(|time| time.as_microsecond()), Some(1_798_106_400_123_456));
    request.expires_at = "2026-12-24T10:00:00.123457Z".into();
    assert_ne!(held.hash(), check(request).unwrap().hash(), "when it expires is a part of it");
}

#[test]
fn every_bad_field_is_named() {
    type Spoil = fn(&mut PostRequest);
    let cases: &[(&str, Spoil)] = &[
        ("identity", |r| r.identity = None),
        ("identity.key", |r| r.identity.as_mut().unwrap().key = "a b".into()),
        ("identity.key", |r| r.identity.as_mut().unwrap().key = "x".repeat(129)),
        ("identity.key_date", |r| r.identity.as_mut().unwrap().key_date = "20261124".into()),
        ("identity.key_date", |r| r.identity.as_mut().unwrap().key_date = "2026-02-30".into()),
        ("kind", |r| r.kind = "Sale".into()),
        ("kind", |r| r.kind = String::new()),
        ("original", |r| r.kind = "refund".into()),
        ("original", |r| r.original.clone_from(&r.identity)),
        ("effective_time", |r| r.effective_time = "yesterday".into()),
        ("effective_time", |r| r.effective_time = "2999-01-01T00:00:00Z".into()),
        ("settlement_date", |r| r.settlement_date = "2026-1-1".into()),
        ("accounting_date", |r| r.accounting_date = "2026-2-1".into()),
        ("effective_time", |r| r.effective_time = "1969-12-31T23:59:59Z".into()),
        ("expires_at", |r| r.expires_at = "2026-11-25T10:00:00Z".into()),
        ("expires_at", |r| {
            hold(r);
            r.expires_at = "soon".into();
        }),
        ("entries", |r| r.kind = "hold".into()),
        ("entries[0].amount_minor", |r| {
            hold(r);
            r.entries[0].amount_minor = 0;
        }),
        ("original", |r| {
            hold(r);
            r.original = Some(Identity { key_date: "2026-11-24".into(), key: "sale:0".into() });
        }),
        ("original", |r| r.kind = "capture".into()),
        ("original", |r| r.kind = "void".into()),
        ("entries", |r| {
            r.kind = "expire".into();
            r.original = Some(Identity { key_date: "2026-11-24".into(), key: "hold:1".into() });
        }),
        ("entries", |r| r.entries.truncate(1)),
        ("entries", |r| r.entries = std::iter::repeat_n(r.entries[0].clone(), 65).collect()),
        ("entries", |r| r.entries[0].amount_minor = 6),
        ("entries[0].amount_minor", |r| r.entries[0].amount_minor = 0),
        ("entries[0].amount_minor", |r| r.entries[0].amount_minor = -5),
        ("entries[1].amount_minor", |r| r.entries[1].amount_minor = i64::MAX),
        ("entries[1].direction", |r| r.entries[1].direction = 7),
        ("entries[0].account", |r| r.entries[0].account = "a::b".into()),
        ("entries[0].currency", |r| r.entries[0].currency = "cny".into()),
        ("references[0]", |r| r.references[0].value = "a\nb".into()),
        ("references[1]", |r| r.references.push(r.references[0].clone())),
        ("config_epoch", |r| r.config_epoch = u64::MAX),
    ];
    for (n, (field, spoil)) in cases.iter().enumerate() {
        let mut request = good();
        spoil(&mut request);
        assert_eq!(check(request).unwrap_err().subject, *field, "case {n}");
    }
}

#[test]
fn each_currency_balances_on_its_own() {
    let mut request = good();
    request.entries[1].currency = "USD".into();
    assert_eq!(check(request).unwrap_err().reason, i32::from(RefusalReason::Unbalanced));
}
