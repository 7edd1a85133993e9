//! The gateway's postings: which accounts an event debits and credits, and the
//! identity under which the ledger knows it. Everything in a posting is read
//! from stored rows, so a repeated one is the same to the letter.
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use jiff::Timestamp;
use jiff::civil::Date;
use payplane_api::ledger::v1::{AccountSpec, Direction, Entry, Identity, PostRequest, Reference};
use payplane_api::names::{PROBE_CURRENCY, RESERVED_ACCOUNTS};
use snafu::OptionExt;

use super::{AmountsSnafu, BooksError};
use crate::store::Store;
use crate::store::attempts::Attempt;
use crate::store::orders::Order;
use crate::store::refunds::Refund;

const INCOME_FEE: &str = "income:fee";

#[must_use]
pub fn receivable(channel: &str) -> String {
    format!("channel:{channel}:receivable")
}

#[must_use]
pub fn pending(merchant: &str) -> String {
    format!("merchant:{merchant}:pending")
}

/// A merchant's account. It never falls below zero.
#[must_use]
pub fn merchant_account(merchant: &str, currency: &str) -> AccountSpec {
    account(pending(merchant), currency, Direction::Credit, true)
}

/// The accounts that a sale touches.
#[must_use]
pub fn sale_accounts(order: &Order, attempt: &Attempt) -> Vec<AccountSpec> {
    vec![
        account(receivable(&attempt.channel), &order.currency, Direction::Debit, false),
        merchant_account(&order.merchant_id, &order.currency),
        account(INCOME_FEE.to_owned(), &order.currency, Direction::Credit, false),
    ]
}

/// A sale: the network owes us the amount; we owe the merchant what is left
/// after the fee.
pub fn sale(order: &Order, attempt: &Attempt) -> Result<PostRequest, BooksError> {
    let what = format!("order {}", order.order_id);
    let fee = attempt.fee_minor;
    let net = order.amount_minor.checked_sub(fee).filter(|net| *net >= 0 && fee >= 0);
    let net = net.context(AmountsSnafu { what })?;
    let debit = entry(receivable(&attempt.channel), Direction::Debit, order.amount_minor, &order.currency);
    let credits = [
        entry(pending(&order.merchant_id), Direction::Credit, net, &order.currency),
        entry(INCOME_FEE.to_owned(), Direction::Credit, fee, &order.currency),
    ];
    let mut entries = vec![debit];
    entries.extend(credits.into_iter().filter(|credit| credit.amount_minor > 0));
    let moved_at = attempt.network_time.unwrap_or(order.created_at);
    let mut references = vec![
        reference("order", order.order_id.to_string()),
        reference("attempt", Store::number(attempt.attempt_id)),
    ];
    references.extend(attempt.network_id.iter().map(|id| reference("network", id.clone())));
    Ok(PostRequest {
        identity: Some(sale_identity(order)),
        kind: "sale".to_owned(),
        entries,
        references,
        effective_time: moved_at.to_string(),
        settlement_date: order.settlement_date.to_string(),
        config_epoch: unsigned(attempt.config_epoch),
        ..PostRequest::default()
    })
}

/// A refund: the merchant gives back the amount; the fee is kept.
#[must_use]
pub fn refund(order: &Order, refund: &Refund) -> PostRequest {
    let (amount, currency) = (refund.amount_minor, &order.currency);
    PostRequest {
        identity: Some(refund_identity("refund", refund)),
        kind: "refund".to_owned(),
        entries: vec![
            entry(pending(&order.merchant_id), Direction::Debit, amount, currency),
            entry(receivable(&refund.channel), Direction::Credit, amount, currency),
        ],
        references: refund_references(order, refund),
        effective_time: refund.created_at.to_string(),
        settlement_date: refund.settlement_date.to_string(),
        original: Some(sale_identity(order)),
        config_epoch: unsigned(refund.config_epoch),
        ..PostRequest::default()
    }
}

/// The reversal of a refund that the network declined.
#[must_use]
pub fn refund_reversal(order: &Order, refund: &Refund) -> PostRequest {
    let (amount, currency) = (refund.amount_minor, &order.currency);
    PostRequest {
        identity: Some(refund_identity("refund-reversal", refund)),
        kind: "reversal".to_owned(),
        entries: vec![
            entry(receivable(&refund.channel), Direction::Debit, amount, currency),
            entry(pending(&order.merchant_id), Direction::Credit, amount, currency),
        ],
        references: refund_references(order, refund),
        effective_time: refund.created_at.to_string(),
        settlement_date: refund.settlement_date.to_string(),
        original: Some(refund_identity("refund", refund)),
        config_epoch: unsigned(refund.config_epoch),
        ..PostRequest::default()
    }
}

/// The two accounts of the operator's probe.
#[must_use]
pub fn probe_accounts() -> Vec<AccountSpec> {
    let account = |side, direction| {
        account(format!("{RESERVED_ACCOUNTS}probe:{side}"), PROBE_CURRENCY, direction, false)
    };
    vec![account("a", Direction::Debit), account("b", Direction::Credit)]
}

/// The operator's probe, and its reversal: 1 XTS there and back.
#[must_use]
pub fn probe(fingerprint: &str, key_date: Date, at: Timestamp, epoch: u64) -> [PostRequest; 2] {
    let side = |side: &str, direction| {
        entry(format!("{RESERVED_ACCOUNTS}probe:{side}"), direction, 1, PROBE_CURRENCY)
    };
    let request = |key: &str, kind: &str, entries, original| PostRequest {
        identity: Some(identity(key_date, format!("{key}:{fingerprint}"))),
        kind: kind.to_owned(),
        entries,
        effective_time: at.to_string(),
        original,
        config_epoch: epoch,
        ..PostRequest::default()
    };
    let (debit, credit) = (Direction::Debit, Direction::Credit);
    let original = identity(key_date, format!("probe:{fingerprint}"));
    [
        request("probe", "probe", vec![side("a", debit), side("b", credit)], None),
        request("probe-reversal", "reversal", vec![side("b", debit), side("a", credit)], Some(original)),
    ]
}

fn sale_identity(order: &Order) -> Identity {
    identity(order.stored_date, format!("sale:{}", order.order_id))
}

fn refund_identity(prefix: &str, refund: &Refund) -> Identity {
    identity(refund.stored_date, format!("{prefix}:{}", refund.refund_id))
}

fn refund_references(order: &Order, refund: &Refund) -> Vec<Reference> {
    vec![reference("order", order.order_id.to_string()), reference("refund", Store::number(refund.refund_id))]
}

fn identity(key_date: Date, key: String) -> Identity {
    Identity { key_date: key_date.to_string(), key }
}

fn reference(kind: &str, value: String) -> Reference {
    Reference { r#type: kind.to_owned(), value }
}

fn account(code: String, currency: &str, side: Direction, has_floor: bool) -> AccountSpec {
    AccountSpec { code, currency: currency.to_owned(), normal_side: side.into(), has_floor }
}

fn entry(account: String, direction: Direction, amount_minor: i64, currency: &str) -> Entry {
    Entry { account, direction: direction.into(), amount_minor, currency: currency.to_owned() }
}

fn unsigned(epoch: i64) -> u64 {
    u64::try_from(epoch).unwrap_or(0)
}
