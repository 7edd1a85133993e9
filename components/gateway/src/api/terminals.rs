//! Terminals: registered by administrators, and named by payments that are made at one.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::routing::put;
use axum::{Json, Router};
use payplane_api::id::{self, MerchantId, TerminalId};
use serde_json::{Value, json};

use super::admin::subject;
use super::fields::Fields;
use super::path::Path;
use super::problem::{Code, Problem};
use super::{id_of, read_body};
use crate::credit_code;
use crate::gateway::Gateway;
use crate::store::terminals::{NewTerminal, Registered};
use crate::terminal::Claim;

pub(super) const SERIAL_LENGTH_MAX: usize = 64;
pub(super) const ACQUIRER_LENGTH_MAX: usize = 32;
pub(super) const ACCOUNT_LENGTH_MAX: usize = 64;
pub(super) const LOCATION_CHARS_MAX: usize = 128;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/admin/v1/terminals/{terminal_id}", put(put_terminal).get(get_terminal))
}

async fn put_terminal(
    State(gateway): State<Arc<Gateway>>,
    Path(terminal_id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, body) = read_body(request).await?;
    let terminal = TerminalId::try_from(terminal_id);
    let terminal = terminal.map_err(|e| Problem::field("terminalId", e.to_string()))?;
    let mut fields = Fields::parse(&body)?;
    let merchant: MerchantId = fields.id("merchantId")?;
    let new = NewTerminal {
        terminal_id: terminal.into(),
        merchant_id: merchant.into(),
        serial_number: name(&mut fields, "serialNumber", SERIAL_LENGTH_MAX)?,
        acquirer_code: name(&mut fields, "acquirerCode", ACQUIRER_LENGTH_MAX)?,
        location: fields.free_text("location", LOCATION_CHARS_MAX)?,
    };
    fields.end()?;
    match gateway.store.put_terminal(&new, subject(&parts)?).await? {
        Registered::Done => {}
        Registered::MerchantLacks => {
            let why = "must be registered, with unifiedSocialCreditCode and settlementAccount";
            return Err(Problem::field("merchantId", why));
        }
        Registered::Taken => {
            let why = "this terminal is closed, or another merchant's: register it under a new id";
            return Err(Problem::new(Code::StateConflict, why));
        }
        Registered::SerialTaken => {
            let why = "another terminal has this serialNumber: close that one first";
            return Err(Problem::new(Code::StateConflict, why));
        }
    }
    tracing::info!(terminal_id = new.terminal_id, merchant_id = new.merchant_id, "terminal registered");
    view(&gateway, &new.terminal_id).await
}

async fn get_terminal(
    State(gateway): State<Arc<Gateway>>,
    Path(terminal_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let terminal: TerminalId = id_of(terminal_id)?;
    view(&gateway, terminal.as_str()).await
}

pub(super) async fn view(gateway: &Gateway, id: &str) -> Result<Json<Value>, Problem> {
    let terminal = gateway.store.terminal(id).await?;
    let terminal = terminal.ok_or_else(|| Problem::new(Code::NotFound, format!("terminal {id:?}")))?;
    Ok(Json(json!({
        "terminalId": terminal.terminal_id,
        "merchantId": terminal.merchant_id,
        "serialNumber": terminal.serial_number,
        "acquirerCode": terminal.acquirer_code,
        "location": terminal.location,
        "status": terminal.status,
        "createdAt": terminal.created_at,
    })))
}

/// What a payment says of its terminal.
pub(super) fn claim(fields: &mut Fields) -> Result<Option<Claim>, Problem> {
    let Some(Some(mut inner)) = fields.nullable_object("terminal")? else { return Ok(None) };
    let read = |inner: &mut Fields| -> Result<Claim, Problem> {
        let terminal: TerminalId = inner.id("terminalId")?;
        Ok(Claim {
            terminal_id: terminal.into(),
            serial_number: name(inner, "serialNumber", SERIAL_LENGTH_MAX)?,
            acquirer_code: name(inner, "acquirerCode", ACQUIRER_LENGTH_MAX)?,
            credit_code: checked(inner.text(CREDIT_CODE)?)?,
            settlement_account: name(inner, ACCOUNT, ACCOUNT_LENGTH_MAX)?,
            location: inner.free_text("location", LOCATION_CHARS_MAX)?,
        })
    };
    let claim = read(&mut inner).and_then(|claim| inner.end().map(|()| claim));
    let within = |problem: Problem| {
        Problem::field(&format!("terminal.{}", problem.field.unwrap_or_default()), problem.detail)
    };
    claim.map(Some).map_err(within)
}

const CREDIT_CODE: &str = "unifiedSocialCreditCode";
const ACCOUNT: &str = "settlementAccount";

/// The two elements that a merchant has for all its terminals.
pub(super) fn of_merchant(fields: &mut Fields) -> Result<(Option<String>, Option<String>), Problem> {
    let code = fields.optional_text(CREDIT_CODE)?.map(checked).transpose()?;
    let account = fields.optional_text(ACCOUNT)?;
    if let Some(account) = &account {
        id::check(ACCOUNT, account, ACCOUNT_LENGTH_MAX)
            .map_err(|e| Problem::field(ACCOUNT, e.to_string()))?;
    }
    Ok((code, account))
}

fn checked(code: String) -> Result<String, Problem> {
    credit_code::check(&code).map_err(|why| Problem::field(CREDIT_CODE, why))?;
    Ok(code)
}

fn name(fields: &mut Fields, field: &'static str, length_max: usize) -> Result<String, Problem> {
    let text = fields.text(field)?;
    id::check(field, &text, length_max).map_err(|e| Problem::field(field, e.to_string()))?;
    Ok(text)
}
