//! Every event of the posting table, booked in the order of a merchant's life.

use std::collections::BTreeSet;

use payplane_api::accounting::document::WHO;
use payplane_api::accounting::{Account, Amounts, Event, events};
use payplane_api::ledger::v1::{Identity, PostRequest};
use payplane_ledger::request;

use crate::harness::*;

fn request(event: &'static Event, key: &str, amounts: Amounts, of: Option<&str>) -> PostRequest {
    let identity = |key: &str| Identity { key_date: today().to_string(), key: key.to_owned() };
    PostRequest {
        identity: Some(identity(key)),
        kind: event.kind.to_owned(),
        entries: event.entries(WHO, amounts, "CNY").unwrap(),
        effective_time: "2024-01-15T04:00:00Z".to_owned(),
        original: of.map(identity),
        config_epoch: 1,
        ..PostRequest::default()
    }
}

/// Each line: the event, its amount, the place of its original in this list.
const LIFE: &[(&Event, i64, Option<usize>)] = &[
    (&events::SALE, 10_000, None), // 0
    (&events::COST_ACCRUED, 20, None),
    (&events::COST_BILLED, 20, None),
    (&events::REFUND, 1_000, Some(0)), // 3
    (&events::REFUND_FAILED, 1_000, Some(3)),
    (&events::REFUND, 500, Some(0)),
    (&events::REFUND_FEE_RETURNED, 0, None),
    (&events::RELEASE, 9_000, None),
    (&events::REFUND_AVAILABLE, 1_000, Some(0)),
    (&events::REFUND_DEBT, 200, Some(0)),
    (&events::DEBT_RECOVERED, 200, None),
    (&events::CHARGEBACK, 2_000, Some(0)),
    (&events::REPRESENTED, 2_000, None),
    (&events::CHARGEBACK_WON, 2_000, None),
    (&events::SALE, 5_000, None), // 14
    (&events::CHARGEBACK, 1_000, Some(14)),
    (&events::CHARGEBACK_LOST, 1_000, None),
    (&events::CHARGEBACK, 500, Some(14)),
    (&events::REPRESENTED, 500, None),
    (&events::CHARGEBACK_LOST_AFTER, 500, None),
    (&events::RESERVE_WITHHELD, 300, None),
    (&events::RESERVE_RELEASED, 300, None),
    (&events::PAYOUT_SENT, 1_000, None), // 22
    (&events::PAYOUT_FAILED, 1_000, Some(22)),
    (&events::PAYOUT_SENT, 2_000, None),
    (&events::PAYOUT_ARRIVED, 2_000, None), // 25
    (&events::PAYOUT_RETURNED, 2_000, Some(25)),
    (&events::REFUND_BY_TRANSFER, 100, Some(14)), // 27
    (&events::REFUND_ARRIVED, 100, Some(27)),
    (&events::ROUNDING_GAINED, 1, None),
    (&events::ROUNDING_LOST, 2, None),
    (&events::CHANNEL_SETTLED, 11_000, None),
    (&events::SUSPENSE_IN, 50, None),
    (&events::SUSPENSE_OUT, 50, None),
    (&events::SHORT_IN, 29, None),
    (&events::SHORT_OUT, 29, None),
    (&events::TOP_UP, 400, None),
    (&events::WALLET_SALE, 400, None),
    (&events::FEES_SWEPT, 61, None),
    (&events::VAT_DECLARED, 4, None),
    (&events::TAX_PAID, 4, None),
];

/// Fee and tax of an event, where it has any.
fn amounts(n: usize, amount: i64) -> Amounts {
    let (fee, vat) = match n {
        0 => (60, 4),
        6 => (3, 0),
        37 => (4, 0),
        _ => (0, 0),
    };
    Amounts { amount, fee, vat }
}

#[tokio::test]
async fn a_merchants_life_is_booked_by_the_table() {
    let ledger = Ledger::start().await;
    let codes: Vec<_> = Account::ALL.iter().map(|account| account.code(WHO)).collect();
    let columns = Account::ALL.iter().zip(&codes).map(|(account, code)| {
        let side = request::side(account.normal_side().into()).unwrap();
        (code.as_str(), side, account.has_floor())
    });
    ledger.open(&columns.filter(|(code, _, _)| *code != FEE).collect::<Vec<_>>()).await;
    for (n, (event, amount, of)) in LIFE.iter().enumerate() {
        let of = of.map(|original| format!("life:{original}"));
        let asked = request(event, &format!("life:{n}"), amounts(n, *amount), of.as_deref());
        assert_eq!(ledger.word(request::check(asked).unwrap()).await, "booked", "{n}: {}", event.name);
    }
    let booked: BTreeSet<_> = LIFE.iter().map(|(event, _, _)| event.name).collect();
    assert_eq!(booked, events::ALL.iter().map(|event| event.name).collect(), "an event has no example");
    let sql =
        "SELECT code, sum(CASE WHEN side = normal_side THEN amount_minor ELSE -amount_minor END)::bigint
                 FROM ledger.entries JOIN ledger.accounts USING (account_id) GROUP BY code";
    let rows = ledger.owner.query(sql, &[]).await.unwrap();
    let found: BTreeSet<(String, i64)> =
        rows.iter().map(|row| (row.get(0), row.get(1))).filter(|(_, balance)| *balance != 0).collect();
    let expected = [
        (Account::ChannelReceivable, 700),
        (Account::MerchantPending, 5_835),
        (Account::MerchantAvailable, 6_200),
        (Account::FeeIncome, 61),
        (Account::ChannelCost, 20),
        (Account::BankOwn, 57),
        (Account::BankClient, 11_318),
        (Account::Rounding, -1),
    ];
    assert_eq!(found, expected.map(|(account, balance)| (account.code(WHO), balance)).into());
    ledger.check().await;
}
