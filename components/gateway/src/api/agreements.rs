//! Agreements in the app API. Whose account one is about, no answer tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::civil::Date;
use payplane_api::id::{AgreementNumber, MerchantId};
use serde::Serialize;
use uuid::Uuid;

use super::app::{created, reader};
use super::fields::{self, Fields};
use super::id_of;
use super::idempotency::Key;
use super::parameters::no_more;
use super::path::Path;
use super::payouts::{NAME_CHARS_MAX, check_account};
use super::problem::{Code, Problem};
use super::signed::verified;
use super::wire::hash;
use crate::channel::agreement::Owner;
use crate::gateway::{Caller, Gateway};
use crate::pay::nonce_used;
use crate::state::agreement::AgreementState;
use crate::store::agreements::Agreement;
use crate::store::nonces::Seen;

/// A bank shows its holder no more.
pub const PURPOSE_CHARS_MAX: usize = 128;
pub(super) const CODE_LENGTH: std::ops::RangeInclusive<usize> = 4..=16;

/// Whose account it is about.
pub(super) const OWNER: [&str; 3] = ["accountNumber", "accountName", "phoneNumber"];
/// As UnionPay has them: `13800138000`, `+86-13800138000`.
pub const PHONE: &str = "^[+]?([0-9]{1,4}-)?[0-9]{5,15}$";

pub(super) fn owner(fields: &mut Fields) -> Result<Owner, Problem> {
    let account = fields.text("accountNumber")?;
    check_account("accountNumber", &account)?;
    let name = fields.free_text("accountName", NAME_CHARS_MAX)?;
    let phone = fields.optional_text("phoneNumber")?;
    if phone.as_deref().is_some_and(|phone| !is_phone(phone)) {
        return Err(Problem::field("phoneNumber", "must be like 13800138000 or +86-13800138000"));
    }
    Ok(Owner { account, name, phone })
}

/// What [`PHONE`] says.
fn is_phone(text: &str) -> bool {
    let are_digits = |text: &str, length: std::ops::RangeInclusive<usize>| {
        length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let text = text.strip_prefix('+').unwrap_or(text);
    match text.split_once('-') {
        Some((country, number)) => are_digits(country, 1..=4) && are_digits(number, 5..=15),
        None => are_digits(text, 5..=15),
    }
}

/// An agreement as an app asks for it. It has no Debug.
#[derive(Clone)]
pub struct AgreementRequest {
    pub agreement_date: Date,
    pub agreement_number: AgreementNumber,
    pub merchant_id: MerchantId,
    pub method: String,
    pub owner: Owner,
    pub description: Option<String>,
}

impl AgreementRequest {
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let request = Self {
            owner: owner(&mut fields)?,
            agreement_date: fields.date("agreementDate")?,
            agreement_number: fields.id("agreementNumber")?,
            merchant_id: fields.id("merchantId")?,
            method: fields.text("method")?,
            description: fields.optional_free_text("description", PURPOSE_CHARS_MAX)?,
        };
        payplane_api::id::check("method", &request.method, 32)
            .map_err(|e| Problem::field("method", e.to_string()))?;
        fields.end()?;
        Ok(request)
    }

    /// Tells requests apart by what they ask for, not by how it was written.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let date = self.agreement_date.to_string();
        let (owner, about) = (&self.owner, self.description.as_deref().unwrap_or_default());
        let mut all = vec!["agreement", &date, self.agreement_number.as_str(), self.merchant_id.as_str()];
        all.extend([self.method.as_str(), &owner.account, &owner.name]);
        all.extend([if self.description.is_some() { "1" } else { "0" }, about]);
        // Only where it is given: an older request hashes as it did.
        all.extend(owner.phone.iter().flat_map(|phone| ["phoneNumber", phone.as_str()]));
        hash(&all)
    }
}

/// An agreement as the app sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgreementView {
    agreement_id: Uuid,
    agreement_date: Date,
    agreement_number: String,
    merchant_id: String,
    method: String,
    status: AgreementState,
    channel: String,
    /// Its end alone.
    account_number: String,
    /// What limits and risk policies know its account by.
    payer_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_code: Option<String>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
}

impl From<Agreement> for AgreementView {
    fn from(agreement: Agreement) -> Self {
        Self {
            agreement_id: agreement.agreement_id,
            agreement_date: agreement.agreement_date,
            agreement_number: agreement.agreement_number,
            merchant_id: agreement.merchant_id,
            method: agreement.method,
            status: agreement.status,
            channel: agreement.channel,
            account_number: agreement.account_masked,
            payer_id: agreement.payer,
            failure_code: agreement.failure_code,
            created_at: agreement.created_at,
            ended_at: agreement.ended_at,
        }
    }
}

pub(super) async fn sign(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, Problem> {
    let (caller, content) = verified(&gateway, request).await?;
    no_more(content.parameters)?;
    let request = AgreementRequest::parse(&content.body)?;
    content.idempotency.names(&format!("{}/{}", request.agreement_date, request.agreement_number))?;
    let agreed = crate::agreement::sign(&gateway, &caller, request).await?;
    Ok((created(agreed.is_new), Json(AgreementView::from(agreed.agreement))).into_response())
}

pub(super) async fn query(
    State(gateway): State<Arc<Gateway>>,
    Path((date, number)): Path<(String, String)>,
    request: Request,
) -> Result<Json<AgreementView>, Problem> {
    let caller = reader(&gateway, request).await?;
    Ok(Json(agreement(&gateway, &caller, &date, number).await?.into()))
}

pub(super) async fn confirm(
    State(gateway): State<Arc<Gateway>>,
    Path((date, number)): Path<(String, String)>,
    request: Request,
) -> Result<Json<AgreementView>, Problem> {
    let (caller, code) = code_of(&gateway, request, &format!("{date}/{number}")).await?;
    let agreement = agreement(&gateway, &caller, &date, number).await?;
    let Some(code) = code else { return Ok(Json(agreement.into())) };
    Ok(Json(crate::agreement::confirm(&gateway, &caller, agreement, code).await?.into()))
}

pub(super) async fn end(
    State(gateway): State<Arc<Gateway>>,
    Path((date, number)): Path<(String, String)>,
    request: Request,
) -> Result<Json<AgreementView>, Problem> {
    // To end twice is to end: its nonce is guarded as a query's.
    let idempotency = Key::of(request.headers());
    let caller = reader(&gateway, request).await?;
    idempotency.names(&format!("{date}/{number}"))?;
    let agreement = agreement(&gateway, &caller, &date, number).await?;
    Ok(Json(crate::agreement::end(&gateway, &caller, agreement).await?.into()))
}

/// Reads the one-time code that confirms an agreement or a payment; none where the same request
/// came before: a wrong code costs the payer one of a few tries, so it is sent once.
pub(super) async fn code_of(
    gateway: &Gateway,
    request: Request,
    write: &str,
) -> Result<(Caller, Option<String>), Problem> {
    let (caller, content) = verified(gateway, request).await?;
    no_more(content.parameters)?;
    let mut fields = Fields::parse(&content.body)?;
    let code = fields.text("code")?;
    fields.end()?;
    if !CODE_LENGTH.contains(&code.len()) || !code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let (least, most) = (CODE_LENGTH.start(), CODE_LENGTH.end());
        return Err(Problem::field("code", format!("must be {least} to {most} of A-Z a-z 0-9")));
    }
    content.idempotency.names(write)?;
    let (store, nonce, asked) = (&gateway.store, &caller.nonce, AtomicBool::new(false));
    let guard = || {
        let again = asked.swap(true, Ordering::Relaxed);
        async move {
            // What a lost answer hid may be our own: it is better sent twice than never.
            Ok(match store.guard_once(nonce).await? {
                Seen::Before if again => Seen::Never,
                seen => seen,
            })
        }
    };
    match caller.patience.keep(guard).await? {
        Seen::Never => Ok((caller, Some(code))),
        Seen::Before => Ok((caller, None)),
        Seen::Other => Err(nonce_used()),
    }
}

/// The caller's own agreement. Another app's does not exist for it.
async fn agreement(
    gateway: &Gateway,
    caller: &Caller,
    date: &str,
    number: String,
) -> Result<Agreement, Problem> {
    let (date, number): (_, AgreementNumber) = (fields::date("agreementDate", date)?, id_of(number)?);
    let find = || gateway.store.find_agreement(caller.app(), date, number.as_str());
    let found = caller.patience.keep(find).await?;
    found.ok_or_else(|| Problem::new(Code::NotFound, "this app has no such agreement"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"agreementDate":"2026-11-24","agreementNumber":"a1","merchantId":"M1",
        "method":"bank-account","accountNumber":"6222","accountName":"Li","description":"rent"}"#;

    fn parse(body: &str) -> Result<AgreementRequest, Problem> {
        AgreementRequest::parse(body.as_bytes())
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        assert!(parse(BODY).is_ok());
        let long = "9".repeat(129);
        for (from, to, field) in [
            ("\"6222\"", "\"62 22\"", "accountNumber"),
            ("6222", &long, "accountNumber"),
            ("\"6222\"", "6222", "accountNumber"),
            ("\"Li\"", "\"\"", "accountName"),
            ("Li", "L\\ni", "accountName"),
            ("bank-account", "bank account", "method"),
            ("\"a1\"", "\"a 1\"", "agreementNumber"),
            ("11-24", "11-31", "agreementDate"),
            ("\"accountName\":\"Li\",", "", "accountName"),
            ("{", "{\"payerId\":\"x\",", "payerId"),
            ("{", "{\"phoneNumber\":13800138000,", "phoneNumber"),
            ("{", "{\"phoneNumber\":\"1380 0138000\",", "phoneNumber"),
            ("{", "{\"phoneNumber\":\"-13800138000\",", "phoneNumber"),
            ("{", "{\"phoneNumber\":\"86-138-00138000\",", "phoneNumber"),
            ("{", "{\"phoneNumber\":\"\",", "phoneNumber"),
        ] {
            let bad = BODY.replacen(from, to, 1);
            assert_eq!(parse(&bad).err().and_then(|problem| problem.field).as_deref(), Some(field), "{bad}");
        }
    }

    #[test]
    fn every_field_makes_another_request() {
        let first = parse(BODY).ok().map(|request| request.hash());
        for (from, to) in [
            ("11-24", "11-25"),
            ("\"a1\"", "\"a2\""),
            ("M1", "M2"),
            ("bank-account", "bank"),
            ("6222", "6223"),
            ("Li", "Lin"),
            ("rent", "power"),
            (",\"description\":\"rent\"", ""),
            ("{", "{\"phoneNumber\":\"+86-13800138000\","),
        ] {
            let other = parse(&BODY.replacen(from, to, 1)).ok().map(|request| request.hash());
            assert!(other.is_some() && other != first, "{to}");
        }
    }
}
