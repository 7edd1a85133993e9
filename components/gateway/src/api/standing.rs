//! The admin API's part on who may take part: states, and which app pays to which merchant.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::{MethodRouter, get, post, put};
use axum::{Extension, Json, Router};
use payplane_api::id::{AppId, MerchantId, TerminalId};
use serde_json::{Value, json};

use super::admin::{self, Subject};
use super::parameters::no_more;
use super::path::Path;
use super::problem::{Code, Problem};
use super::{id_of, terminals};
use crate::gateway::Gateway;
use crate::state::registry::Verb;
use crate::store::standing::{Changed, Kind};

const PAGE: i64 = 100;
/// Every merchant.
const ANY: &str = "*";

pub(super) fn router() -> Router<Arc<Gateway>> {
    let mut router = Router::new()
        .route("/admin/v1/apps/{app_id}/merchants", get(bindings))
        .route("/admin/v1/apps/{app_id}/merchants/{merchant_id}", put(bind).delete(unbind));
    for (path, kind) in [
        ("/admin/v1/merchants/{id}", Kind::Merchant),
        ("/admin/v1/apps/{id}", Kind::App),
        ("/admin/v1/terminals/{id}", Kind::Terminal),
    ] {
        router = router
            .route(&format!("{path}/suspend"), change(kind, Verb::Suspend))
            .route(&format!("{path}/resume"), change(kind, Verb::Resume))
            .route(&format!("{path}/close"), change(kind, Verb::Close));
    }
    router.route("/admin/v1/merchants/{id}/approve", change(Kind::Merchant, Verb::Approve))
}

fn change(kind: Kind, verb: Verb) -> MethodRouter<Arc<Gateway>> {
    post(
        move |State(gateway): State<Arc<Gateway>>,
              Extension(subject): Extension<Subject>,
              Path(id): Path<String>| async move { changed(&gateway, (kind, id), verb, &subject).await },
    )
}

/// Changes a state. Once it is answered, it holds for every replica.
async fn changed(
    gateway: &Gateway,
    (kind, id): (Kind, String),
    verb: Verb,
    Subject(subject): &Subject,
) -> Result<Json<Value>, Problem> {
    let name = kind.as_str();
    // What cannot be an id is nobody's.
    let id = match kind {
        Kind::App => id_of::<AppId>(id)?.into(),
        Kind::Merchant => id_of::<MerchantId>(id)?.into(),
        Kind::Terminal => String::from(id_of::<TerminalId>(id)?),
    };
    match gateway.store.change_state(kind, &id, verb, subject).await? {
        Changed::Now => tracing::info!(name, id, ?verb, subject, "state changed"),
        Changed::Before => {}
        Changed::Unknown => return Err(Problem::new(Code::NotFound, format!("{name} {id:?}"))),
        Changed::OwnApplication => {
            let detail = format!("{subject} wrote this application; another certificate has to approve it");
            return Err(Problem::new(Code::OwnApplication, detail));
        }
        Changed::Impossible(state) => {
            let detail = format!("{name} {id} is {state}: no {verb:?} leads from there");
            return Err(Problem::new(Code::StateConflict, detail));
        }
    }
    match kind {
        Kind::App => admin::app_view(gateway, &id).await,
        Kind::Merchant => admin::merchant_view(gateway, &id).await,
        Kind::Terminal => terminals::view(gateway, &id).await,
    }
}

async fn bind(
    State(gateway): State<Arc<Gateway>>,
    Extension(Subject(subject)): Extension<Subject>,
    Path((app, merchant)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (app, merchant) = pair(&gateway, app, merchant).await?;
    gateway.store.bind(&app, &merchant, &subject).await?;
    tracing::info!(app_id = app, merchant_id = merchant, subject, "app bound");
    Ok(Json(json!({"appId": app, "merchantId": merchant})))
}

/// Once it is answered, the app pays to this merchant no more, unless `*` says so.
async fn unbind(
    State(gateway): State<Arc<Gateway>>,
    Extension(Subject(subject)): Extension<Subject>,
    Path((app, merchant)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (app, merchant) = pair(&gateway, app, merchant).await?;
    gateway.store.unbind(&app, &merchant, &subject).await?;
    tracing::info!(app_id = app, merchant_id = merchant, subject, "app unbound");
    Ok(Json(json!({"appId": app, "merchantId": merchant})))
}

async fn pair(gateway: &Gateway, app: String, merchant: String) -> Result<(String, String), Problem> {
    let app = admin::known_app(gateway, app).await?.app_id;
    if merchant == ANY {
        return Ok((app, merchant));
    }
    let merchant: MerchantId = id_of(merchant)?;
    let known = gateway.store.merchant(merchant.as_str()).await?;
    let known = known.ok_or_else(|| Problem::new(Code::NotFound, format!("merchant {merchant}")))?;
    Ok((app, known.merchant_id))
}

/// `?after=`, the last merchant of the page before.
async fn bindings(
    State(gateway): State<Arc<Gateway>>,
    Path(app): Path<String>,
    Query(mut asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let after = asked.remove("after").unwrap_or_default();
    no_more(asked)?;
    let app = admin::known_app(&gateway, app).await?.app_id;
    Ok(Json(json!({ "merchants": gateway.store.bindings(&app, &after, PAGE).await? })))
}
