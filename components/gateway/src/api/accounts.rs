//! What the books hold for a merchant, for an app that is bound to him.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use payplane_api::id::MerchantId;
use payplane_api::ledger::v1::{AccountEntry, Balance, Direction, ListEntriesRequest};
use serde_json::{Map, Value, json};
use tokio::sync::SemaphorePermit;

use super::app::{reader, reader_with};
use super::id_of;
use super::parameters::{Parameters, no_more};
use super::path::Path;
use super::problem::{Code, Problem};
use crate::gateway::{Caller, Gateway};

/// A merchant's accounts, as docs/accounting.md has them.
pub(super) const ACCOUNTS: [&str; 5] = ["pending", "available", "frozen", "reserve", "debt"];
pub(super) const PAGE: u32 = 100;
pub(super) const PAGE_MAX: u32 = 500;

/// All of a merchant's accounts at this moment, by currency.
pub(super) async fn balance(
    State(gateway): State<Arc<Gateway>>,
    Path(merchant): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let caller = reader(&gateway, request).await?;
    let merchant = of_caller(&gateway, &caller, merchant).await?;
    let codes = ACCOUNTS.iter().map(|account| code(&merchant, account)).collect();
    let _place = place(&gateway)?;
    let told = gateway.books.balances(codes, caller.trace).await?;
    let mut all = BTreeMap::<_, Map<_, _>>::new();
    for currency in &gateway.settings().value.currencies {
        all.insert(currency.to_string(), ACCOUNTS.iter().map(|account| field(account, 0)).collect());
    }
    for balance in &told {
        let account = balance.account.rsplit(':').next().unwrap_or_default();
        let line = all.entry(balance.currency.clone()).or_default();
        line.extend([field(account, present(balance))]);
    }
    let balances: Vec<_> = all
        .into_iter()
        .map(|(currency, mut line)| {
            line.insert("currency".into(), currency.into());
            Value::Object(line)
        })
        .collect();
    Ok(Json(json!({"merchantId": merchant.as_str(), "balances": balances})))
}

/// A page of one account's entries, oldest first, as far as the books are sealed.
pub(super) async fn statement(
    State(gateway): State<Arc<Gateway>>,
    Path(merchant): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (caller, mut parameters) = reader_with(&gateway, request).await?;
    let (account, currency) = which(&gateway, &mut parameters)?;
    let after = parameters.remove("after").unwrap_or_default();
    let page_size = parameters.remove("limit").map_or(Ok(PAGE), |text| limit(&text))?;
    no_more(parameters)?;
    let merchant = of_caller(&gateway, &caller, merchant).await?;
    let asked = ListEntriesRequest {
        account: code(&merchant, account),
        currency: currency.clone(),
        after,
        page_size,
    };
    let _place = place(&gateway)?;
    let page = gateway.books.entries(asked, caller.trace).await?;
    Ok(Json(json!({
        "merchantId": merchant.as_str(),
        "account": account,
        "currency": currency,
        "entries": page.entries.iter().map(|entry| line(account, entry)).collect::<Vec<_>>(),
        "next": page.next,
        "more": page.more,
    })))
}

fn which(gateway: &Gateway, parameters: &mut Parameters) -> Result<(&'static str, String), Problem> {
    let account = parameters.remove("account").unwrap_or_default();
    let account = ACCOUNTS.into_iter().find(|known| *known == account);
    let account = account
        .ok_or_else(|| Problem::field("account", format!("must be one of {}", ACCOUNTS.join(", "))))?;
    let currency = parameters.remove("currency").unwrap_or_default();
    let settings = gateway.settings();
    let known = settings.value.currencies.iter().any(|known| known.as_str() == currency);
    if !known {
        return Err(Problem::field("currency", "must be a currency of this tenant"));
    }
    Ok((account, currency))
}

fn limit(text: &str) -> Result<u32, Problem> {
    let number = text.parse().ok().filter(|number| (1..=PAGE_MAX).contains(number));
    number.ok_or_else(|| Problem::field("limit", format!("must be 1 to {PAGE_MAX}")))
}

/// A merchant whose books the caller may read. Another one does not exist for it.
async fn of_caller(gateway: &Gateway, caller: &Caller, merchant: String) -> Result<MerchantId, Problem> {
    let merchant: MerchantId = id_of(merchant)?;
    let reads = || gateway.store.reads_books(caller.app(), merchant.as_str());
    if caller.patience.keep(reads).await? {
        return Ok(merchant);
    }
    Err(Problem::new(Code::NotFound, "this app has no such merchant"))
}

/// The ledger has few connections for reading, and the operator's probe needs them, too.
pub(super) fn place(gateway: &Gateway) -> Result<SemaphorePermit<'_>, Problem> {
    let place = gateway.book_reads.try_acquire();
    place.map_err(|_| Problem::overloaded("too many read the books at this moment"))
}

fn code(merchant: &MerchantId, account: &str) -> String {
    format!("merchant:{}:{account}", merchant.as_str())
}

fn field(account: &str, minor: i64) -> (String, Value) {
    (format!("{account}Minor"), minor.into())
}

/// What is there and not held, with what is committed and not sealed yet.
pub(super) fn present(balance: &Balance) -> i64 {
    let held = balance.held_minor.saturating_add(balance.provisional_held_minor);
    balance.balance_minor.saturating_add(balance.provisional_minor).saturating_sub(held)
}

/// An entry, with what it adds to the account.
fn line(account: &str, entry: &AccountEntry) -> Value {
    // What a merchant owes is the one account that debits raise.
    let raises = if account == "debt" { Direction::Debit } else { Direction::Credit };
    let sign = if entry.direction() == raises { 1 } else { -1 };
    json!({
        "position": entry.position,
        "transactionId": entry.transaction_id,
        "line": entry.line,
        "kind": entry.kind,
        "changeMinor": entry.amount_minor.saturating_mul(sign),
        "effectiveTime": entry.effective_time,
        "accountingDate": entry.accounting_date,
    })
}
