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

/// Each line: the event, its amount, a name for later, and the name of its original.
const LIFE: &[(&Event, i64, &str, &str)] = &[
    (&events::SALE, 10_000, "first", ""),
    (&events::COST_ACCRUED, 20, "", ""),
    (&events::COST_BILLED, 20, "", ""),
    (&events::REFUND, 1_000, "declined", "first"),
    (&events::REFUND_FAILED, 1_000, "", "declined"),
    (&events::REFUND_PENDING_BY_TRANSFER, 1_000, "not-transferred", "first"),
    (&events::REFUND_TRANSFER_FAILED, 1_000, "", "not-transferred"),
    (&events::REFUND, 500, "refunded", "first"),
    (&events::REFUND_FEE_RETURNED, 0, "returned", "refunded"),
    (&events::RELEASE, 9_000, "", ""),
    (&events::REFUND_AVAILABLE, 1_000, "", "first"),
    (&events::REFUND_DEBT, 200, "", "first"),
    (&events::DEBT_RECOVERED, 200, "", ""),
    (&events::CHARGEBACK, 2_000, "disputed", "first"),
    (&events::DISPUTED_FROZEN, 2_000, "frozen", ""),
    (&events::REPRESENTED, 2_000, "objected", "disputed"),
    (&events::CHARGEBACK_WON, 2_000, "", "frozen"),
    (&events::REPRESENTED_REVERSED, 2_000, "", "objected"),
    (&events::CHARGEBACK_REVERSED, 2_000, "", "disputed"),
    // All that is left of the sale, what was disputed before included.
    (&events::CHARGEBACK, 8_300, "disputed-again", "first"),
    (&events::CHARGEBACK_REVERSED, 8_300, "", "disputed-again"),
    (&events::SALE, 5_000, "second", ""),
    (&events::CHARGEBACK, 1_000, "lost", "second"),
    (&events::DISPUTED_FROZEN, 1_000, "", ""),
    (&events::CHARGEBACK_LOST, 1_000, "", "lost"),
    (&events::CHARGEBACK, 500, "lost-after", "second"),
    (&events::DISPUTED_FROZEN, 500, "", ""),
    (&events::REPRESENTED, 500, "objected-in-vain", "lost-after"),
    (&events::CHARGEBACK_LOST_AFTER, 500, "", "objected-in-vain"),
    (&events::SALE, 1_000, "third", ""),
    (&events::CHARGEBACK, 1_000, "open", "third"),
    (&events::REPRESENTED, 1_000, "", "open"),
    (&events::CHARGEBACK, 250, "beyond", "second"),
    (&events::CHARGEBACK_LOST_DEBT, 250, "", "beyond"),
    (&events::CHARGEBACK, 150, "beyond-after", "second"),
    (&events::REPRESENTED, 150, "in-vain-too", "beyond-after"),
    (&events::CHARGEBACK_LOST_DEBT_AFTER, 150, "", "in-vain-too"),
    (&events::DEBT_RECOVERED, 400, "", ""),
    (&events::RESERVE_WITHHELD, 300, "", ""),
    (&events::RESERVE_RELEASED, 300, "", ""),
    (&events::PAYOUT_SENT, 1_000, "refused", ""),
    (&events::PAYOUT_FAILED, 1_000, "", "refused"),
    (&events::PAYOUT_SENT, 2_000, "", ""),
    (&events::PAYOUT_ARRIVED, 2_000, "arrived", ""),
    (&events::PAYOUT_RETURNED, 2_000, "", "arrived"),
    (&events::REFUND_BY_TRANSFER, 100, "transfer", "second"),
    (&events::REFUND_ARRIVED, 100, "", "transfer"),
    (&events::REFUND_PENDING_BY_TRANSFER, 100, "transferred", "second"),
    (&events::REFUND_ARRIVED, 100, "", "transferred"),
    (&events::ROUNDING_GAINED, 1, "", ""),
    (&events::ROUNDING_LOST, 2, "", ""),
    (&events::CHANNEL_SETTLED, 11_000, "", ""),
    (&events::SURPLUS, 70, "surplus", ""),
    (&events::SURPLUS_REFUNDED, 70, "", "surplus"),
    (&events::SURPLUS, 6, "unclaimed", ""),
    (&events::SURPLUS_KEPT, 6, "", "unclaimed"),
    (&events::SUSPENSE_IN, 50, "", ""),
    (&events::SUSPENSE_OUT, 50, "", ""),
    (&events::SHORT_IN, 29, "", ""),
    (&events::SHORT_OUT, 29, "", ""),
    (&events::REFUND_UNPAID, 3, "", ""),
    (&events::REFUND_TRANSFER_UNPAID, 7, "", ""),
    (&events::PAYOUT_UNPAID, 5, "", ""),
    (&events::SALE_UNPAID, 2, "", ""),
    (&events::REFUND_PAID, 4, "", ""),
    (&events::REFUND_TRANSFER_PAID, 7, "", ""),
    (&events::PAYOUT_PAID, 5, "", ""),
    (&events::TOP_UP, 400, "", ""),
    (&events::WALLET_TOP_UP, 300, "filled", ""),
    (&events::WALLET_TOP_UP_REFUND, 300, "not-given-back", "filled"),
    (&events::WALLET_TOP_UP_REFUND_FAILED, 300, "", "not-given-back"),
    (&events::WALLET_TOP_UP_REFUND, 50, "", "filled"),
    (&events::WALLET_SALE, 400, "wallet", ""),
    (&events::WALLET_REFUND, 100, "", "wallet"),
    (&events::FEES_SWEPT, 61, "", ""),
    (&events::VAT_DECLARED, 4, "", ""),
    (&events::TAX_PAID, 4, "", ""),
];

/// Fee and tax of an event, where it has any.
fn amounts(name: &str, amount: i64) -> Amounts {
    let (fee, vat) = match name {
        "first" => (60, 4),
        "returned" => (3, 0),
        "wallet" => (4, 0),
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
    for (n, (event, amount, name, of)) in LIFE.iter().enumerate() {
        let key = if name.is_empty() { format!("life:{n}") } else { (*name).to_owned() };
        let of = (!of.is_empty()).then_some(*of);
        let asked = request(event, &key, amounts(name, *amount), of);
        assert_eq!(ledger.word(request::check(asked).unwrap()).await, "booked", "{n}: {}", event.name);
    }
    let booked: BTreeSet<_> = LIFE.iter().map(|(event, _, _, _)| event.name).collect();
    assert_eq!(booked, events::ALL.iter().map(|event| event.name).collect(), "an event has no example");
    let sql =
        "SELECT code, sum(CASE WHEN side = normal_side THEN amount_minor ELSE -amount_minor END)::bigint
                 FROM ledger.entries JOIN ledger.accounts USING (account_id) GROUP BY code";
    let rows = ledger.owner.query(sql, &[]).await.unwrap();
    let found: BTreeSet<(String, i64)> =
        rows.iter().map(|row| (row.get(0), row.get(1))).filter(|(_, balance)| *balance != 0).collect();
    let expected = [
        // Of what networks contradicted: 3 - 2 - 4; and what nobody claimed.
        (Account::ChannelReceivable, 1_553),
        (Account::OtherIncome, 6),
        (Account::SuspenseLong, 15),
        (Account::SuspenseShort, 18),
        (Account::MerchantPending, 6_635),
        (Account::MerchantAvailable, 5_800),
        (Account::Wallet, 350),
        (Account::FeeIncome, 61),
        (Account::ChannelCost, 20),
        (Account::BankOwn, 57),
        (Account::BankClient, 11_218),
        (Account::Rounding, -1),
    ];
    assert_eq!(found, expected.map(|(account, balance)| (account.code(WHO), balance)).into());
    ledger.check().await;
}
