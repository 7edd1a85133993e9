//! The gateway's postings: which accounts an event debits and credits, and the
//! identity under which the ledger knows it. Everything in a posting but the config epoch is
//! read from stored rows, so a repeated one is the same to the letter.

use jiff::Timestamp;
use jiff::civil::Date;
use payplane_api::accounting::{Account, Amounts, Event, Who, events};
use payplane_api::ledger::v1::{AccountSpec, Direction, Entry, Identity, PostRequest, Reference};
use payplane_api::names::{PROBE_CURRENCY, RESERVED_ACCOUNTS};

use super::BooksError;
use crate::store::Store;
use crate::store::attempts::Attempt;
use crate::store::orders::Order;
use crate::store::refunds::Refund;

fn who<'a>(order: &'a Order, channel: &'a str) -> Who<'a> {
    Who { merchant: &order.merchant_id, channel, ..Who::default() }
}

fn of(amount: i64) -> Amounts {
    Amounts { amount, ..Amounts::default() }
}

/// A merchant's account. What is available of it never falls below zero.
#[must_use]
pub fn merchant_account(merchant: &str, currency: &str) -> AccountSpec {
    Account::MerchantPending.spec(Who { merchant, ..Who::default() }, currency)
}

/// The accounts that a sale touches.
#[must_use]
pub fn sale_accounts(order: &Order, attempt: &Attempt) -> Vec<AccountSpec> {
    let accounts = [Account::ChannelReceivable, Account::MerchantPending, Account::FeeIncome];
    accounts.map(|account| account.spec(who(order, &attempt.channel), &order.currency)).into()
}

/// A sale. Tax on the fee comes with its rules.
pub fn sale(order: &Order, attempt: &Attempt) -> Result<PostRequest, BooksError> {
    let amounts = Amounts { fee: attempt.fee_minor, ..of(order.amount_minor) };
    let moved_at = attempt.network_time.unwrap_or(order.created_at);
    let mut references = vec![
        reference("order", order.order_id.to_string()),
        reference("attempt", Store::number(attempt.attempt_id)),
    ];
    references.extend(attempt.network_id.iter().map(|id| reference("network", id.clone())));
    Ok(PostRequest {
        identity: Some(sale_identity(order)),
        kind: events::SALE.kind.to_owned(),
        entries: events::SALE.entries(who(order, &attempt.channel), amounts, &order.currency)?,
        references,
        effective_time: moved_at.to_string(),
        due_date: order.settlement_date.to_string(),
        calendar_version: unsigned(order.calendar_version),
        config_epoch: unsigned(attempt.config_epoch),
        ..PostRequest::default()
    })
}

/// The accounts that a refund touches and its sale did not.
#[must_use]
pub fn refund_accounts(order: &Order, refund: &Refund) -> Vec<AccountSpec> {
    let transit = || Account::RefundsInTransit.spec(who(order, &refund.channel), &order.currency);
    refund.is_transferred().then(transit).into_iter().collect()
}

/// A refund: the merchant gives back the amount; the fee is kept.
pub fn refund(order: &Order, refund: &Refund, epoch: u64) -> Result<PostRequest, BooksError> {
    let event = if refund.is_transferred() { &events::REFUND_PENDING_BY_TRANSFER } else { &events::REFUND };
    of_refund(event, (order, refund, epoch), "refund", sale_identity(order))
}

/// The reversal of a refund that the network declined.
pub fn refund_reversal(order: &Order, refund: &Refund, epoch: u64) -> Result<PostRequest, BooksError> {
    let event =
        if refund.is_transferred() { &events::REFUND_TRANSFER_FAILED } else { &events::REFUND_FAILED };
    of_refund(event, (order, refund, epoch), "refund-reversal", refund_identity("refund", refund))
}

fn of_refund(
    event: &'static Event,
    (order, refund, config_epoch): (&Order, &Refund, u64),
    key: &str,
    original: Identity,
) -> Result<PostRequest, BooksError> {
    Ok(PostRequest {
        identity: Some(refund_identity(key, refund)),
        kind: event.kind.to_owned(),
        entries: event.entries(who(order, &refund.channel), of(refund.amount_minor), &order.currency)?,
        references: refund_references(order, refund),
        effective_time: refund.created_at.to_string(),
        // It takes back what is due then.
        due_date: order.settlement_date.to_string(),
        calendar_version: unsigned(order.calendar_version),
        original: Some(original),
        config_epoch,
        ..PostRequest::default()
    })
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

pub(super) fn identity(key_date: Date, key: String) -> Identity {
    Identity { key_date: key_date.to_string(), key }
}

pub(super) fn reference(kind: &str, value: String) -> Reference {
    Reference { r#type: kind.to_owned(), value }
}

fn account(code: String, currency: &str, side: Direction, has_floor: bool) -> AccountSpec {
    let (currency, normal_side) = (currency.to_owned(), side.into());
    AccountSpec { code, currency, normal_side, has_floor, ..AccountSpec::default() }
}

fn entry(account: String, direction: Direction, amount_minor: i64, currency: &str) -> Entry {
    Entry { account, direction: direction.into(), amount_minor, currency: currency.to_owned() }
}

fn unsigned(epoch: i64) -> u64 {
    u64::try_from(epoch).unwrap_or(0)
}
