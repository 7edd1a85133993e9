//! The network's API: each request is verified, checked, booked, answered with
//! the network's signature, in this order.

mod auth;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{Request, StatusCode};
use payplane_common::config::Live;
use payplane_common::shutdown::Shutdown;
use tokio::sync::Semaphore;

use self::auth::{Caller, respond, respond_wrongly, unsigned};
use crate::book::{Book, BookError, Payment};
use crate::fault::Fault;
use crate::journal::JournalError;
use crate::keys::{MerchantKeys, NetworkKey};
use crate::message::{
    Answer, Checked, MessageError, PayRequest, PayoutRequest, QueryRequest, RefundRequest, Refusal, read,
};
use crate::silence::Silence;

/// A request's body; real ones have some 200 bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Requests at work at once; more are told to come again.
const REQUESTS_MAX: usize = 512;
const SLOW: Duration = Duration::from_secs(1);

/// What the handlers share.
pub struct Network {
    pub book: Arc<Book>,
    pub merchants: Arc<Live<MerchantKeys>>,
    pub key: NetworkKey,
    places: Semaphore,
    silence: Silence,
}

impl Network {
    #[must_use]
    pub fn new(
        book: Arc<Book>,
        merchants: Arc<Live<MerchantKeys>>,
        key: NetworkKey,
        shutdown: &Shutdown,
    ) -> Arc<Self> {
        let (places, silence) = (Semaphore::new(REQUESTS_MAX), Silence::new(shutdown));
        Arc::new(Self { book, merchants, key, places, silence })
    }
}

/// What merchants call.
pub fn router(network: Arc<Network>) -> Router {
    Router::new()
        .route("/sim/v1/pay", post(enter::<PayRequest>))
        .route("/sim/v1/refund", post(enter::<RefundRequest>))
        .route("/sim/v1/payout", post(enter::<PayoutRequest>))
        .route("/sim/v1/query", post(query))
        .route("/sim/v1/close", post(close))
        .with_state(network)
}

/// What tests read on the plain port.
pub fn record_router(network: Arc<Network>) -> Router {
    Router::new().route("/sim/v1/record", get(record)).with_state(network)
}

/// What takes money or gives it.
trait Booked: Checked + Send {
    fn amount_minor(&self) -> i64;
    fn book(self, book: &Book, merchant: &str) -> impl Future<Output = Result<Answer, BookError>> + Send;
}

impl Booked for PayRequest {
    fn amount_minor(&self) -> i64 {
        self.amount_minor
    }
    fn book(self, book: &Book, merchant: &str) -> impl Future<Output = Result<Answer, BookError>> + Send {
        book.pay(merchant, self)
    }
}

impl Booked for RefundRequest {
    fn amount_minor(&self) -> i64 {
        self.amount_minor
    }
    fn book(self, book: &Book, merchant: &str) -> impl Future<Output = Result<Answer, BookError>> + Send {
        book.refund(merchant, self)
    }
}

impl Booked for PayoutRequest {
    fn amount_minor(&self) -> i64 {
        self.amount_minor
    }
    fn book(self, book: &Book, merchant: &str) -> impl Future<Output = Result<Answer, BookError>> + Send {
        book.payout(merchant, self)
    }
}

async fn enter<T: Booked>(State(network): State<Arc<Network>>, request: Request<Body>) -> Response {
    let (caller, asked) = match admit::<T>(&network, request).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    let fault = Fault::of(asked.amount_minor());
    if let Some(fault) = fault.filter(|fault| fault.is_before_effect()) {
        return fail_before(&network, &caller, fault).await;
    }
    let place = match network.places.try_acquire() {
        Ok(place) => place,
        Err(_) => return refuse(&network, &caller, StatusCode::SERVICE_UNAVAILABLE, "Busy", "come again"),
    };
    let answer = asked.book(&network.book, &caller.merchant).await;
    drop(place);
    finish(&network, &caller, fault, answer).await
}

async fn query(State(network): State<Arc<Network>>, request: Request<Body>) -> Response {
    let (caller, query) = match admit::<QueryRequest>(&network, request).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    let answer = network.book.query(&caller.merchant, &query.number).await;
    finish(&network, &caller, None, answer).await
}

async fn close(State(network): State<Arc<Network>>, request: Request<Body>) -> Response {
    let (caller, close) = match admit::<QueryRequest>(&network, request).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    let answer = network.book.close(&caller.merchant, close.number).await;
    finish(&network, &caller, None, answer).await
}

async fn record(State(network): State<Arc<Network>>) -> Response {
    match network.book.record().await {
        Ok(payments) => axum::Json(Record { payments }).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Everything that the network took, oldest first.
#[derive(serde::Serialize)]
struct Record {
    payments: Vec<Payment>,
}

/// Reads a request, verifies who sent it, and checks what it says.
async fn admit<T: Checked>(network: &Network, request: Request<Body>) -> Result<(Caller, T), Box<Response>> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await;
    let Ok(body) = body else { return Err(Box::new(unsigned(StatusCode::PAYLOAD_TOO_LARGE))) };
    let caller = Caller::verify(&parts, &body, &network.merchants.current().value);
    let caller = caller.map_err(|why| Box::new(auth::refused(network, &parts, why)))?;
    match read(&body) {
        Ok(message) => Ok((caller, message)),
        Err(error) => {
            let code = match error {
                MessageError::Shape => "InvalidBody",
                MessageError::Field { .. } => "InvalidField",
            };
            Err(Box::new(refuse(network, &caller, StatusCode::BAD_REQUEST, code, &error.to_string())))
        }
    }
}

async fn fail_before(network: &Network, caller: &Caller, fault: Fault) -> Response {
    if fault == Fault::SilentBefore {
        return network.silence.keep().await;
    }
    refuse(network, caller, StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "a fault on request")
}

async fn finish(
    network: &Network,
    caller: &Caller,
    fault: Option<Fault>,
    answer: Result<Answer, BookError>,
) -> Response {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return not_booked(network, caller, &error),
    };
    match fault {
        Some(Fault::SilentAfter) => network.silence.keep().await,
        Some(Fault::WrongSignature) => respond_wrongly(network, caller, StatusCode::OK, &answer),
        Some(Fault::Slow) => {
            tokio::time::sleep(SLOW).await;
            respond(network, caller, StatusCode::OK, &answer)
        }
        _ => respond(network, caller, StatusCode::OK, &answer),
    }
}

fn not_booked(network: &Network, caller: &Caller, error: &BookError) -> Response {
    let (status, code) = match error {
        BookError::Conflict => (StatusCode::CONFLICT, "NumberConflict"),
        BookError::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
        BookError::Full | BookError::Journal { source: JournalError::Full } => {
            (StatusCode::SERVICE_UNAVAILABLE, "Busy")
        }
        // It may have reached the disk or not: nobody is told anything.
        BookError::Journal { .. } => return unsigned(StatusCode::INTERNAL_SERVER_ERROR),
    };
    refuse(network, caller, status, code, &error.to_string())
}

fn refuse(network: &Network, caller: &Caller, status: StatusCode, code: &str, detail: &str) -> Response {
    respond(network, caller, status, &Refusal { code: code.to_owned(), detail: detail.to_owned() })
}
