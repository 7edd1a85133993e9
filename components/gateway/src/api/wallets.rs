//! What the books hold for a customer, for an app that has filled his wallet.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use payplane_api::accounting::{Account, Who};
use payplane_api::id::CustomerId;
use serde_json::{Value, json};

use super::accounts::{place, present};
use super::app::reader;
use super::id_of;
use super::path::Path;
use super::problem::{Code, Problem};
use crate::gateway::Gateway;

/// A wallet at this moment, by currency. One that the caller never filled does not exist for it.
pub(super) async fn balance(
    State(gateway): State<Arc<Gateway>>,
    Path(customer): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let caller = reader(&gateway, request).await?;
    let customer: CustomerId = id_of(customer)?;
    let has_filled = || gateway.store.has_filled(caller.app(), customer.as_str());
    if !caller.patience.keep(has_filled).await? {
        return Err(Problem::new(Code::NotFound, "this app has filled no such wallet"));
    }
    let code = Account::Wallet.code(Who { customer: customer.as_str(), ..Who::default() });
    let _place = place(&gateway)?;
    let told = gateway.books.balances(vec![code], caller.trace).await?;
    let currencies = &gateway.settings().value.currencies;
    let mut all: BTreeMap<_, _> = currencies.iter().map(|currency| (currency.to_string(), 0)).collect();
    all.extend(told.iter().map(|balance| (balance.currency.clone(), present(balance))));
    let balances = all.iter().map(|(currency, minor)| json!({"currency": currency, "availableMinor": minor}));
    Ok(Json(json!({"customer": customer.as_str(), "balances": balances.collect::<Vec<_>>()})))
}
