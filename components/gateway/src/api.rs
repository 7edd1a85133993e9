//! The gateway's HTTP: what comes in is read strictly, what goes out is stable.

mod accounts;
pub mod admin;
pub mod agreements;
pub mod app;
mod audit;
pub mod control;
mod decide;
mod decisions;
mod events;
mod fields;
mod idempotency;
mod messages;
mod networks;
mod notifications;
mod open_items;
pub mod openapi;
mod parameters;
mod path;
pub mod payouts;
pub mod problem;
mod risk;
mod signed;
mod sorted;
mod standing;
mod strict;
mod surpluses;
mod terminals;
mod terms;
mod wallets;
pub mod wire;

use axum::body::Bytes;
use axum::extract::Request;
use http::request::Parts;

use self::problem::{Code, Problem};

/// No request is larger.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// A body arrives within this time.
const BODY_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// Reads a request's body, bounded in size and time.
async fn read_body(request: Request) -> Result<(Parts, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let read = axum::body::to_bytes(body, BODY_BYTES_MAX);
    match tokio::time::timeout(BODY_MAX, read).await {
        Ok(Ok(bytes)) => Ok((parts, bytes)),
        Ok(Err(_)) => Err(Problem::new(
            Code::InvalidField,
            format!("the body is cut off, or over {BODY_BYTES_MAX} bytes"),
        )),
        Err(_) => Err(Problem::new(Code::InvalidField, "the body did not arrive in time")),
    }
}

/// Reads an id of a path. What cannot be one is nobody's, and the database is not asked.
fn id_of<T: TryFrom<String>>(text: String) -> Result<T, Problem> {
    T::try_from(text).map_err(|_| Problem::new(Code::NotFound, "nothing has such an id"))
}

/// Answers for what no route matches.
async fn not_found() -> Problem {
    Problem::new(Code::NotFound, "there is no such path here")
}

/// Answers for a path that is called otherwise; the header `Allow` says how.
async fn not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "the header Allow says which methods this path has")
}
