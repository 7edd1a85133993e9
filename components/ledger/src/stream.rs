//! Many postings on one stream, each with an answer of its own.

use std::sync::Arc;
use std::time::Duration;

use payplane_api::ledger::v1::{
    Failure, PostRequest, PostStreamRequest, PostStreamResponse, post_stream_response,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tonic_types::StatusExt as _;

use crate::service::{DEADLINE_MAX, RETRY_AFTER, Service};

/// Postings of one stream that are not answered yet. No more are read until some are.
const OPEN_MAX: usize = 2_048;
const RETRY_AFTER_MS: u32 = 1_000;

pub type Answers = ReceiverStream<Result<PostStreamResponse, Status>>;

/// Answers until the caller ends the stream, or the server drains.
pub(crate) fn serve(
    service: Service,
    caller: String,
    mut asked: Streaming<PostStreamRequest>,
    closing: CancellationToken,
) -> Answers {
    let (answers, stream) = mpsc::channel(OPEN_MAX);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(OPEN_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let next = tokio::select! {
                () = closing.cancelled() => return,
                next = asked.message() => next,
            };
            let Ok(Some(request)) = next else { return };
            let (service, caller, answers) = (service.clone(), caller.clone(), answers.clone());
            tokio::spawn(async move {
                let answer = answer(&service, caller, request).await;
                // A caller that has gone asks again with the same identity.
                let _ = answers.send(Ok(answer)).await;
                drop(place);
            });
        }
    });
    ReceiverStream::new(stream)
}

async fn answer(service: &Service, caller: String, request: PostStreamRequest) -> PostStreamResponse {
    let asked = Duration::from_millis(request.timeout_ms.into());
    let asked = if asked.is_zero() { DEADLINE_MAX } else { asked.min(DEADLINE_MAX) };
    let now = Instant::now();
    let by = now.checked_add(asked).unwrap_or(now);
    let post: PostRequest = request.post.unwrap_or_default();
    let answer = match service.answer(caller, post, by).await {
        Ok(post) => post_stream_response::Answer::Post(post),
        Err(status) => post_stream_response::Answer::Failure(Failure {
            code: status.code().into(),
            message: status.message().to_owned(),
            reason: status.get_details_error_info().map(|info| info.reason).unwrap_or_default(),
            retry_after_ms: if status.metadata().contains_key(RETRY_AFTER) { RETRY_AFTER_MS } else { 0 },
        }),
    };
    PostStreamResponse { sequence: request.sequence, answer: Some(answer) }
}
