//! Originals, reversals, accounts and key dates; and what stands behind the
//! functions when somebody writes beside them.

use payplane_api::currency::Currency;

use crate::harness::*;

#[tokio::test]
pub(crate) async fn reversals_are_whole_and_once() {
    let ledger = Ledger::start().await;
    let first = sale("sale:1", 0, 100);
    ledger.post(first.clone()).await;
    let back = refund("refund:1", "sale:1", 0, 40);
    assert_eq!(ledger.word(back.clone()).await, "booked");
    assert_eq!(ledger.word(reversal("rev:1", &first)).await, "OVER_ORIGINAL", "it has a live refund");
    assert_eq!(ledger.word(refund("refund:2", "sale:1", 0, 61)).await, "OVER_ORIGINAL");
    // A refund that failed gives its part back.
    assert_eq!(ledger.word(reversal("rev:2", &back)).await, "booked");
    assert_eq!(ledger.word(reversal("rev:3", &back)).await, "ALREADY_REVERSED");
    assert_eq!(ledger.word(refund("refund:3", "sale:1", 0, 100)).await, "booked");
    let whole = sale("sale:2", 1, 50);
    ledger.post(whole.clone()).await;
    let mut part = reversal("rev:4", &whole);
    part.entries.iter_mut().for_each(|line| line.amount_minor = 49);
    assert_eq!(ledger.word(part).await, "INVALID");
    assert_eq!(ledger.word(reversal("rev:5", &whole)).await, "booked");
    assert_eq!(ledger.word(refund("refund:4", "sale:2", 1, 1)).await, "ALREADY_REVERSED");
    assert_eq!(ledger.word(reversal("rev:6", &reversal("rev:5", &whole))).await, "INVALID");
    assert_eq!((ledger.balance(&merchant(0)).await, ledger.balance(&merchant(1)).await), (0, 0));
    ledger.check().await;
}

#[tokio::test]
pub(crate) async fn every_refusal_has_its_reason() {
    let ledger = Ledger::start().await;
    ledger.open(&[("merchant:frozen:pending", "credit", true)]).await;
    let frozen = |text: &str, side, other| {
        posting("payout", text, &[("merchant:frozen:pending", side, 5), (CLEARING, other, 5)])
    };
    ledger.word(frozen("in", "credit", "debit")).await;
    let state = "SELECT ledger.set_account_state('merchant:frozen:pending', 'CNY', 'frozen_debit', 'x')";
    ledger.owner.batch_execute(state).await.unwrap();
    assert_eq!(ledger.word(frozen("out", "debit", "credit")).await, "ACCOUNT_NOT_OPEN");
    assert_eq!(ledger.word(frozen("in:2", "credit", "debit")).await, "booked");
    assert_eq!(ledger.word(refund("refund:0", "sale:none", 0, 1)).await, "UNKNOWN_ORIGINAL");
    assert_eq!(ledger.word(sale("sale:x", 99, 1)).await, "UNKNOWN_ACCOUNT");
    let mut dollars = sale("sale:usd", 0, 1);
    dollars.entries.iter_mut().for_each(|line| line.currency = Currency::parse("USD").unwrap());
    assert_eq!(ledger.word(dollars).await, "CURRENCY");
    for days in [-402, 3] {
        let mut out = sale("sale:date", 0, 1);
        out.identity.date = today().saturating_add(jiff::Span::new().days(days));
        assert_eq!(ledger.word(out).await, "KEY_DATE");
    }
    let probe = posting("probe", "probe:1", &[(CLEARING, "debit", 1), (&merchant(0), "credit", 1)]);
    assert_eq!(ledger.word(probe).await, "INVALID");
    ledger.check().await;
}

/// As the owner, beside the functions, each refused by the database.
#[tokio::test]
pub(crate) async fn rules_stand_behind_the_functions() {
    let ledger = Ledger::start().await;
    let booked = ledger.post(sale("sale:1", 0, 100)).await.transaction_id.unwrap();
    // A header and its entries in one statement, as the functions write them.
    let whole = |count: i32, caller: &str, amounts: &[(&str, i64)]| {
        let id = "'01930000-0000-7000-8000-000000000001'";
        let rows = amounts.iter().enumerate();
        let rows: Vec<_> = rows
            .map(|(n, (side, amount))| {
                format!("({id}::uuid, 1, {amount}, 1, '{side}'::ledger.side, {})", n + 1)
            })
            .collect();
        let lines = if rows.is_empty() {
            "SELECT".into()
        } else {
            format!("INSERT INTO ledger.entries VALUES {}", rows.join(", "))
        };
        format!(
            "INSERT INTO ledger.identities VALUES (current_date, '{caller}', ledger.key_digest('k'), {id});
             WITH header AS (INSERT INTO ledger.transactions (transaction_id, caller, key_date, key, kind, entry_count,
                effective_time, accounting_date, config_epoch, request_hash, batch_number)
             VALUES ({id}, 'x', current_date, 'k', 'sale', {count}, now(), current_date, 0, sha256('k'), 1)) {lines}"
        )
    };
    let entry =
        |table: &str, id: &str| format!("INSERT INTO ledger.{table} VALUES ('{id}', 1, 1, 1, 'debit', 3)");
    let statements = [
        (whole(2, "x", &[("debit", 5), ("credit", 4)]), "do not balance"),
        (whole(3, "x", &[("debit", 5), ("credit", 5)]), "do not balance"),
        (whole(2, "x", &[]), "lacks entries"),
        (whole(2, "x", &[("debit", 5), ("credit", 5), ("debit", 1)]), "are not the 2"),
        (whole(2, "x", &[("debit", 0), ("credit", 0)]), "amount_minor_check"),
        (whole(65, "x", &[("debit", 5), ("credit", 5)]), "entries_counted"),
        (whole(2, "y", &[("debit", 5), ("credit", 5)]), "identity"),
        (entry("entries", "01930000-0000-7000-8000-000000000001"), "are not the"),
        (entry("entries", &booked.to_string()), "are not the 2"),
        (entry("entries_first", &booked.to_string()), "are not the 2"),
        ("UPDATE ledger.entries SET amount_minor = 1".into(), "append-only"),
        ("UPDATE ledger.entries_first SET amount_minor = 1".into(), "append-only"),
        ("DELETE FROM ledger.transactions_first".into(), "append-only"),
        ("DELETE FROM ledger.identities".into(), "append-only"),
        ("UPDATE ledger.refusals SET reason = 'INVALID' WHERE false; DELETE FROM ledger.batches".into(), "append-only"),
        ("TRUNCATE ledger.entries".into(), "append-only"),
        ("TRUNCATE ledger.entries_first".into(), "append-only"),
        ("TRUNCATE ledger.balances CASCADE".into(), "append-only"),
        ("DELETE FROM ledger.accounts".into(), "append-only"),
        ("UPDATE ledger.accounts SET floor_minor = -100".into(), "stays as it was opened"),
        ("UPDATE ledger.balances SET posted_minor = -1".into(), "floor_holds"),
        ("UPDATE ledger.balances SET held_minor = posted_minor + 1".into(), "floor_holds"),
        ("UPDATE ledger.balances SET held_minor = -1".into(), "held_minor_check"),
        ("INSERT INTO ledger.raisings SELECT account_id, -1, 0 FROM ledger.balances".into(), "raisings_check"),
        (format!("INSERT INTO ledger.holds SELECT '{booked}', account_id, 1, NULL, 1 FROM ledger.balances LIMIT 1"), "is no hold"),
        (format!("INSERT INTO ledger.holds_first SELECT '{booked}', account_id, 1, NULL, 1 FROM ledger.balances LIMIT 1"), "is no hold"),
        (whole(0, "x", &[]).replace("'sale'", "'hold'"), "names what it holds"),
        (whole(2, "x", &[("debit", 5), ("credit", 5)]).replace("'sale'", "'capture'"), "linked"),
        (whole(0, "x", &[]), "entries_counted"),
        (whole(0, "x", &[]).replace("'sale'", "'hold'").replace("SELECT", "INSERT INTO ledger.holds VALUES ('01930000-0000-7000-8000-000000000001', 1, 5, NULL, 1)"), "is no hold"),
        ("UPDATE ledger.holds SET amount_minor = 1; TRUNCATE ledger.holds_first".into(), "append-only"),
        (format!("INSERT INTO ledger.hold_ends SELECT '{booked}', '{booked}', account_id, 1, 1 FROM ledger.balances LIMIT 1"), "ends no such hold"),
        ("UPDATE ledger.hold_ends SET freed_minor = 1 WHERE false; TRUNCATE ledger.hold_ends_first".into(), "append-only"),
        // A batch that is not its transaction's; money that was held where nothing was.
        (whole(2, "x", &[("debit", 5), ("credit", 5)]).replace("5, 1, 'debit'", "5, 2, 'debit'"), "are not the 2"),
        (whole(2, "x", &[("debit", 5), ("credit", 5)]).replace("::ledger.side, 1)", "::ledger.side, 1, true)").replace("::ledger.side, 2)", "::ledger.side, 2, false)"), "are not the 2"),
        (format!("UPDATE ledger.control SET closing_through = current_date, closed_through = current_date; {}",
            whole(2, "x", &[("debit", 5), ("credit", 5)])), "a closed day"),
        (format!("UPDATE ledger.control SET config_epoch_min = 1; {}", whole(2, "x", &[("debit", 5), ("credit", 5)])), "in force no more"),
        (format!("UPDATE ledger.accounts SET state = 'frozen_debit' WHERE account_id = 1; {}",
            whole(2, "x", &[("debit", 5), ("credit", 5)])), "frozen or closed"),
        ("TRUNCATE ledger.checkpoints".into(), "append-only"),
        ("UPDATE ledger.caps SET remaining_minor = remaining_minor + 1".into(), "cap_holds"),
        ("UPDATE ledger.control SET config_epoch_min = config_epoch_min - 1".into(), ""),
        ("UPDATE payplane.control SET books_id = gen_random_uuid()".into(), "only grows"),
        ("DELETE FROM payplane.control".into(), "append-only"),
        ("INSERT INTO ledger.refusals VALUES (gen_random_uuid(), 'x', current_date, 'k', 'INVALID', '', '', 0, sha256('k'), 1)".into(),
            "identity"),
    ];
    // With nothing wrong in it, it would be taken.
    let good = whole(2, "x", &[("debit", 5), ("credit", 5)]);
    ledger.owner.batch_execute(&format!("BEGIN; {good}; ROLLBACK")).await.unwrap();
    for (sql, why) in statements {
        let refused = ledger.owner.batch_execute(&format!("BEGIN; {sql}; COMMIT")).await;
        ledger.owner.batch_execute("ROLLBACK").await.unwrap();
        let error = refused.expect_err(&sql);
        let text = error.as_db_error().map(ToString::to_string).unwrap_or_default();
        let of_rules = error.code().is_some_and(|state| state.code().starts_with("23"));
        assert!(of_rules && text.contains(why), "{sql}: {text}");
    }
    ledger.check().await;
    assert_eq!(ledger.number("SELECT count(*) FROM ledger.entries").await, 2);
}
