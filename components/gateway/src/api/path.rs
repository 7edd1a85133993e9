//! The parts of a path, where a refusal is a problem like any other.

use axum::extract::{FromRequestParts, Path as Axum};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};

pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Axum::<T>::from_request_parts(parts, state).await;
        // What is no UTF-8 is the name of nothing.
        read.map(|Axum(value)| Self(value))
            .map_err(|_| Problem::new(Code::NotFound, "nothing has such an id"))
    }
}
