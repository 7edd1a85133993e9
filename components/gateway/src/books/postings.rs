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
    let customer = order.top_up_customer.as_deref().unwrap_or_default();
    Who { merchant: &order.merchant_id, channel, customer }
}

fn of(amount: i64) -> Amounts {
    Amounts { amount, ..Amounts::default() }
}

/// A merchant's account. What is available of it never falls below zero.
#[must_use]
pub fn merchant_account(merchant: &str, currency: &str) -> AccountSpec {
    Account::MerchantPending.spec(Who { merchant, ..Who::default() }, currency)
}

/// The accounts that a sale or a top-up touches.
#[must_use]
pub fn sale_accounts(order: &Order, attempt: &Attempt) -> Vec<AccountSpec> {
    let accounts: &[_] = if order.is_top_up() {
        &[Account::ChannelReceivable, Account::Wallet]
    } else {
        &[Account::ChannelReceivable, Account::MerchantPending, Account::FeeIncome]
    };
    let spec = |account: &Account| account.spec(who(order, &attempt.channel), &order.currency);
    accounts.iter().map(spec).collect()
}

/// A sale, or a top-up: of that there is no fee. Tax on the fee comes with its rules.
pub fn sale(order: &Order, attempt: &Attempt) -> Result<PostRequest, BooksError> {
    let amounts = Amounts { fee: attempt.fee_minor, ..of(order.amount_minor) };
    let moved_at = attempt.network_time.unwrap_or(order.created_at);
    let mut references = vec![
        reference("order", order.order_id.to_string()),
        reference("attempt", Store::number(attempt.attempt_id)),
    ];
    references.extend(attempt.network_id.iter().map(|id| reference("network", id.clone())));
    let event = if order.is_top_up() { &events::WALLET_TOP_UP } else { &events::SALE };
    let (due_date, calendar_version) = due(order);
    Ok(PostRequest {
        identity: Some(sale_identity(order)),
        kind: event.kind.to_owned(),
        entries: event.entries(who(order, &attempt.channel), amounts, &order.currency)?,
        references,
        effective_time: moved_at.to_string(),
        due_date,
        calendar_version,
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

/// A refund: the merchant gives back the amount, and the fee is kept; of a top-up the wallet
/// gives it back.
pub fn refund(order: &Order, refund: &Refund, epoch: u64) -> Result<PostRequest, BooksError> {
    let event = match (order.is_top_up(), refund.is_transferred()) {
        (true, _) => &events::WALLET_TOP_UP_REFUND,
        (false, true) => &events::REFUND_PENDING_BY_TRANSFER,
        (false, false) => &events::REFUND,
    };
    of_refund(event, (order, refund, epoch), "refund", sale_identity(order))
}

/// The reversal of a refund that the network declined.
pub fn refund_reversal(order: &Order, refund: &Refund, epoch: u64) -> Result<PostRequest, BooksError> {
    let event = match (order.is_top_up(), refund.is_transferred()) {
        (true, _) => &events::WALLET_TOP_UP_REFUND_FAILED,
        (false, true) => &events::REFUND_TRANSFER_FAILED,
        (false, false) => &events::REFUND_FAILED,
    };
    of_refund(event, (order, refund, epoch), "refund-reversal", refund_identity("refund", refund))
}

fn of_refund(
    event: &'static Event,
    (order, refund, config_epoch): (&Order, &Refund, u64),
    key: &str,
    original: Identity,
) -> Result<PostRequest, BooksError> {
    let (due_date, calendar_version) = due(order);
    Ok(PostRequest {
        identity: Some(refund_identity(key, refund)),
        kind: event.kind.to_owned(),
        entries: event.entries(who(order, &refund.channel), of(refund.amount_minor), &order.currency)?,
        references: refund_references(order, refund),
        effective_time: refund.created_at.to_string(),
        // It takes back what is due then.
        due_date,
        calendar_version,
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
    let of = if order.is_top_up() { "wallet-top-up" } else { "sale" };
    identity(order.stored_date, format!("{of}:{}", order.order_id))
}

/// When the merchant's share is due, and by which calendar; a wallet's money never is.
fn due(order: &Order) -> (String, u64) {
    let due = |date: Date| (date.to_string(), unsigned(order.calendar_version));
    order.settlement_date.map(due).unwrap_or_default()
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
