//! The admin API: merchants, apps and the trial balance. Only the certificates
//! `admin-client` and `admin-checker` may call it; what one applies for, the other approves.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use http::request::Parts;
use payplane_api::id::{self, AppId, MerchantId};
use payplane_api::names::{CN_ADMIN_CHECKER, CN_ADMIN_CLIENT};
use payplane_api::settlement::SETTLEMENT_DAYS_MAX;
use payplane_common::serve::Peer;
use payplane_common::trace::Trace;
use serde_json::{Value, json};

use super::fields::Fields;
use super::path::Path;
use super::problem::{Code, Problem};
use super::read_body;
use crate::books::{BooksError, postings};
use crate::gateway::Gateway;
use crate::notify::endpoint;
use crate::signature::algorithm::Algorithm;
use crate::store::registry::{App, AppKey, Application, Endpoint, Notify};

const NAME_CHARS_MAX: usize = 128;
const KEYS_MAX: usize = 8;

pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/admin/v1/merchants/{merchant_id}", put(put_merchant).get(get_merchant))
        .route("/admin/v1/apps/{app_id}", put(put_app).get(get_app))
        .route("/admin/v1/trial-balance", get(trial_balance))
        .merge(super::events::admin_router())
        .merge(super::messages::router())
        .merge(super::notifications::router())
        .merge(super::surpluses::router())
        .merge(super::decisions::router())
        .merge(super::decide::router())
        .merge(super::open_items::router())
        .merge(super::payouts::admin_router())
        .merge(super::standing::router())
        .merge(super::terminals::router())
        .merge(super::terms::router())
        .merge(super::audit::router())
        .merge(super::risk::router())
        .layer(from_fn(|request, next| only(&[CN_ADMIN_CLIENT, CN_ADMIN_CHECKER], request, next)))
        .with_state(gateway)
}

/// Who calls: the common name of a certificate that was verified.
#[derive(Clone, Debug)]
pub(super) struct Subject(pub(super) String);

/// Lets only certificates of these names pass.
pub(super) async fn only(names: &'static [&'static str], mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0.clone());
    if let Some(name) = peer.as_deref().filter(|peer| names.contains(peer)) {
        let subject = Subject(name.to_owned());
        request.extensions_mut().insert(subject);
        return next.run(request).await;
    }
    tracing::info!(peer = peer.as_deref().unwrap_or("nobody"), "certificate refused");
    let detail = format!("only the certificate {} may call this", names.join(" or "));
    Problem::new(Code::Forbidden, detail).into_response()
}

pub(super) fn subject(parts: &Parts) -> Result<&str, Problem> {
    let subject = parts.extensions.get::<Subject>().map(|subject| subject.0.as_str());
    subject.ok_or_else(|| Problem::new(Code::Internal, "the request has no subject"))
}

pub(super) async fn known_app(gateway: &Gateway, app_id: String) -> Result<App, Problem> {
    let id: AppId = super::id_of(app_id)?;
    let app = gateway.store.app(id.as_str()).await?;
    app.ok_or_else(|| Problem::new(Code::NotFound, format!("app {id}")))
}

/// The ledger's refusals and absences, as the caller sees them.
impl From<BooksError> for Problem {
    fn from(error: BooksError) -> Self {
        let text = payplane_common::telemetry::chain(&error);
        match error {
            BooksError::Away { .. } | BooksError::Stale { .. } => {
                tracing::info!(error = text, "the ledger did not answer");
                Self::overloaded("the ledger did not answer in time")
            }
            BooksError::Place { .. } => Self::field("after", text),
            _ => {
                tracing::error!(error = text, "the ledger refused what we asked of it");
                Self::new(Code::Internal, text)
            }
        }
    }
}

async fn put_merchant(
    State(gateway): State<Arc<Gateway>>,
    Path(merchant_id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, body) = read_body(request).await?;
    let merchant = MerchantId::try_from(merchant_id);
    let merchant = merchant.map_err(|e| Problem::field("merchantId", e.to_string()))?;
    let mut fields = Fields::parse(&body)?;
    let display_name = fields.free_text("displayName", NAME_CHARS_MAX)?;
    let days = fields.optional_number("settlementDays", 0..=SETTLEMENT_DAYS_MAX)?;
    let (credit_code, settlement_account) = super::terminals::of_merchant(&mut fields)?;
    fields.end()?;
    // The accounts first: a merchant that is approved can be paid.
    let settings = gateway.settings();
    let accounts = settings.value.currencies.iter();
    let accounts = accounts.map(|c| postings::merchant_account(merchant.as_str(), c.as_str())).collect();
    gateway.books.open(accounts, Trace::of(&parts.extensions)).await?;
    let merchant_id = merchant.to_string();
    let new =
        Application { merchant_id, display_name, settlement_days: days, credit_code, settlement_account };
    gateway.store.put_merchant(&new, subject(&parts)?).await?;
    tracing::info!(merchant_id = %merchant, "merchant registered");
    merchant_view(&gateway, merchant.as_str()).await
}

async fn get_merchant(
    State(gateway): State<Arc<Gateway>>,
    Path(merchant_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let merchant: MerchantId = super::id_of(merchant_id)?;
    merchant_view(&gateway, merchant.as_str()).await
}

pub(super) async fn merchant_view(gateway: &Gateway, id: &str) -> Result<Json<Value>, Problem> {
    let merchant = gateway.store.merchant(id).await?;
    let merchant = merchant.ok_or_else(|| Problem::new(Code::NotFound, format!("merchant {id:?}")))?;
    Ok(Json(json!({
        "merchantId": merchant.merchant_id,
        "displayName": merchant.display_name,
        "settlementDays": merchant.settlement_days,
        "createdAt": merchant.created_at,
        "status": merchant.status,
        "appliedBy": merchant.applied_by,
        "approvedBy": merchant.approved_by,
        "unifiedSocialCreditCode": merchant.credit_code,
        "settlementAccount": merchant.settlement_account,
    })))
}

async fn put_app(
    State(gateway): State<Arc<Gateway>>,
    Path(app_id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, body) = read_body(request).await?;
    let app = AppId::try_from(app_id).map_err(|e| Problem::field("appId", e.to_string()))?;
    let mut fields = Fields::parse(&body)?;
    let display_name = fields.free_text("displayName", NAME_CHARS_MAX)?;
    let listed = fields.list("keys")?;
    let notify = notify(&gateway, &mut fields)?;
    fields.end()?;
    if listed.len() > KEYS_MAX {
        return Err(Problem::field("keys", format!("an app has at most {KEYS_MAX} keys")));
    }
    let mut keys: Vec<AppKey> = Vec::with_capacity(listed.len());
    for (index, value) in listed.into_iter().enumerate() {
        let key = key(&gateway, app.as_str(), value).map_err(|problem| {
            let field = problem.field.unwrap_or_default();
            Problem::field(format!("keys[{index}].{field}").trim_end_matches('.'), problem.detail)
        })?;
        if keys.iter().any(|known| known.key_id == key.key_id) {
            return Err(Problem::field(&format!("keys[{index}].keyId"), "is there twice"));
        }
        keys.push(key);
    }
    let by = (&notify, subject(&parts)?);
    if let Some(missing) = gateway.store.put_app(app.as_str(), &display_name, &keys, by).await? {
        let index = keys.iter().position(|key| key.key_id == missing).unwrap_or_default();
        let detail = "is required: no such key with this algorithm is registered that could stay as it is";
        return Err(Problem::field(&format!("keys[{index}].secret"), detail));
    }
    tracing::info!(app_id = %app, keys = keys.len(), "app registered");
    app_view(&gateway, app.as_str()).await
}

/// A key as it is stored. A secret that is left out stays: nobody can read it to give it again.
fn key(gateway: &Gateway, app: &str, value: Value) -> Result<AppKey, Problem> {
    let fields = Fields::from_value(value);
    let mut fields = fields.ok_or_else(|| Problem::new(Code::InvalidField, "must be an object"))?;
    let key_id = fields.text("keyId")?;
    id::check("key id", &key_id, 32).map_err(|e| Problem::field("keyId", e.to_string()))?;
    let named = fields.optional_text("algorithm")?;
    let algorithm = named.as_deref().map_or(Some(Algorithm::EcdsaP256Sha256), Algorithm::parse);
    let algorithm = algorithm.ok_or_else(|| {
        let names = Algorithm::ALL.map(Algorithm::name).join(", ");
        Problem::field("algorithm", format!("must be one of {names}"))
    })?;
    let material = if algorithm.is_shared() {
        let secret = fields.optional_text("secret")?.map(|text| crate::keys::read_secret(&text));
        let secret = secret.transpose().map_err(|why| Problem::field("secret", why))?;
        let whose = crate::keys::whose(app, &key_id, algorithm);
        let seal = |secret: Vec<u8>| {
            let sealed = gateway.data_keys.seal(&whose, &secret);
            sealed.ok_or_else(|| Problem::new(Code::Internal, "a secret cannot be sealed"))
        };
        secret.map(seal).transpose()?
    } else {
        let pem = fields.text("publicKeyPem")?;
        let read = crate::keys::read_pem(algorithm, &pem);
        Some(read.map_err(|why| Problem::field("publicKeyPem", why))?)
    };
    fields.end()?;
    Ok(AppKey { key_id, algorithm: algorithm.name().to_owned(), material })
}

/// Where the app is to be notified. It is looked at again whenever something is sent.
fn notify(gateway: &Gateway, fields: &mut Fields) -> Result<Notify, Problem> {
    let mut inner = match fields.nullable_object("notification")? {
        None => return Ok(Notify::AsBefore),
        Some(None) => return Ok(Notify::Nowhere),
        Some(Some(inner)) => inner,
    };
    let named = |field: &str, why: &str| Problem::field(&format!("notification.{field}"), why);
    let within = |problem: Problem| named(&problem.field.unwrap_or_default(), &problem.detail);
    let url = inner.text("url").map_err(within)?;
    let denied = gateway.settings().value.denied.clone();
    let url = endpoint::parse(&url, &denied).map_err(|why| named("url", &why))?;
    let ca_pem = inner.optional_text("caPem").map_err(within)?;
    endpoint::client(ca_pem.as_deref(), &denied).map_err(|why| named("caPem", &why))?;
    inner.end().map_err(within)?;
    Ok(Notify::At(Endpoint { url: url.to_string(), ca_pem }))
}

async fn get_app(
    State(gateway): State<Arc<Gateway>>,
    Path(app_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let app: AppId = super::id_of(app_id)?;
    app_view(&gateway, app.as_str()).await
}

pub(super) async fn app_view(gateway: &Gateway, id: &str) -> Result<Json<Value>, Problem> {
    let app = gateway.store.app(id).await?;
    let app = app.ok_or_else(|| Problem::new(Code::NotFound, format!("app {id:?}")))?;
    let keys = app.keys.iter();
    let keys = keys.map(|AppKey { key_id, algorithm, material }| {
        let public = Algorithm::parse(algorithm).zip(material.as_deref());
        match public.and_then(|(algorithm, material)| crate::keys::pem(algorithm, material)) {
            Some(pem) => json!({"keyId": key_id, "algorithm": algorithm, "publicKeyPem": pem}),
            None => json!({"keyId": key_id, "algorithm": algorithm}),
        }
    });
    Ok(Json(json!({
        "appId": app.app_id,
        "displayName": app.display_name,
        "createdAt": app.created_at,
        "status": app.status,
        "keys": keys.collect::<Vec<_>>(),
        "notification": app.endpoint.map(|to| json!({"url": to.url, "caPem": to.ca_pem})),
    })))
}

async fn trial_balance(State(gateway): State<Arc<Gateway>>) -> Result<Json<Value>, Problem> {
    let balance = gateway.books.trial_balance(Trace::new()).await?;
    let lines = balance.lines.iter().map(|line| {
        json!({
            "account": line.account,
            "currency": line.currency,
            "debitMinor": line.debit_minor,
            "creditMinor": line.credit_minor,
        })
    });
    Ok(Json(json!({ "balanced": balance.balanced, "lines": lines.collect::<Vec<_>>() })))
}
