//! Raw messages: written beside an outcome or by themselves, and never changed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use payplane_common::telemetry::chain;
use snafu::ResultExt;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{ReadSnafu, Store, StoreError, execute, rows};
use crate::message::{Body, Message, Messages};
use crate::patience::Patience;

/// An outcome does not wait for its messages for longer.
const KEEP_MAX: Duration = Duration::from_secs(3);
/// As the statement has them.
const COLUMNS: usize = 15;

/// Stores messages, as a part of a statement whose parameters before them are so many. One that is
/// there already, as a commit's answer was lost, stays.
pub(super) fn insert(before: usize) -> String {
    let types = [
        "uuid",
        "uuid",
        "text",
        "text",
        "text",
        "text",
        "text",
        "bytea",
        "timestamptz",
        "text",
        "bytea",
        "text",
        "smallint",
        "timestamptz",
        "text",
    ];
    let place = |(place, name): (usize, &str)| {
        format!("${}::{name}[]", before.saturating_add(place).saturating_add(1))
    };
    let arrays: Vec<_> = types.into_iter().enumerate().map(place).collect();
    format!(
        "INSERT INTO gateway.messages (subject_id, message_id, about, channel, state, target, request,
            request_digest, sent_at, answer, answer_digest, answer_headers, http_status, answered_at, why)
         SELECT * FROM unnest({}) ON CONFLICT (subject_id, message_id) DO NOTHING",
        arrays.join(", ")
    )
}

/// The parameters of [`insert`].
#[derive(Default)]
pub(super) struct Columns<'a> {
    subjects: Vec<Uuid>,
    ids: Vec<Uuid>,
    about: Vec<&'static str>,
    channels: Vec<&'a str>,
    states: Vec<&'static str>,
    targets: Vec<Option<&'a str>>,
    requests: Vec<Option<&'a str>>,
    request_digests: Vec<Option<&'a [u8]>>,
    sent_at: Vec<Option<Timestamp>>,
    answers: Vec<Option<&'a str>>,
    answer_digests: Vec<Option<&'a [u8]>>,
    headers: Vec<Option<&'a str>>,
    statuses: Vec<Option<i16>>,
    answered_at: Vec<Timestamp>,
    why: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(all: impl Iterator<Item = &'a Arc<Message>>) -> Self {
        let text = |body: Option<&'a Body>| body.map(|body| body.masked.as_str());
        let digest = |body: Option<&'a Body>| body.map(|body| body.digest.as_slice());
        let mut columns = Self::default();
        for message in all {
            let (request, answer) = (message.request.as_ref(), message.answer.as_ref());
            columns.subjects.push(message.subject.id());
            columns.ids.push(message.message_id);
            columns.about.push(message.subject.name());
            columns.channels.push(&message.channel);
            columns.states.push(message.state);
            columns.targets.push(message.target.as_deref());
            columns.requests.push(text(request));
            columns.request_digests.push(digest(request));
            columns.sent_at.push(message.sent_at);
            columns.answers.push(text(answer));
            columns.answer_digests.push(digest(answer));
            columns.headers.push(message.headers.as_deref());
            columns.statuses.push(message.http_status);
            columns.answered_at.push(message.answered_at);
            columns.why.push(message.why.as_deref());
        }
        columns
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); COLUMNS] {
        [
            &self.subjects,
            &self.ids,
            &self.about,
            &self.channels,
            &self.states,
            &self.targets,
            &self.requests,
            &self.request_digests,
            &self.sent_at,
            &self.answers,
            &self.answer_digests,
            &self.headers,
            &self.statuses,
            &self.answered_at,
            &self.why,
        ]
    }
}

/// A message as it is read. It has no Debug.
pub struct Kept {
    pub message_id: Uuid,
    pub about: String,
    pub channel: String,
    pub state: String,
    pub target: Option<String>,
    pub request: Option<String>,
    pub request_digest: Option<Vec<u8>>,
    pub sent_at: Option<Timestamp>,
    pub answer: Option<String>,
    pub answer_digest: Option<Vec<u8>>,
    pub headers: Option<String>,
    pub http_status: Option<i16>,
    pub answered_at: Timestamp,
    pub why: Option<String>,
}

impl Store {
    /// Keeps messages by themselves. Where that fails it is counted, and keeps back nothing of what
    /// they say.
    pub async fn keep_messages(&self, messages: &Messages) {
        let kept = Patience::of(KEEP_MAX).keep(|| self.insert_messages(messages));
        match tokio::time::timeout(KEEP_MAX, kept).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.note_unkept(messages, &chain(&error)),
            Err(_) => self.note_unkept(messages, "the database takes too long"),
        }
    }

    pub(super) fn note_unkept(&self, messages: &Messages, error: &str) {
        tracing::info!(error, ?messages, "not kept");
        self.unkept.inc_by(u64::try_from(messages.0.len()).unwrap_or_default());
    }

    /// In a statement with those of others.
    async fn insert_messages(&self, messages: &Messages) -> Result<(), StoreError> {
        let Some(first) = messages.0.first() else { return Ok(()) };
        let store = self.clone();
        let write = move |all: Arc<Vec<Messages>>| {
            let store = store.clone();
            async move {
                let columns = Columns::of(all.iter().flat_map(|messages| &messages.0));
                execute(&store.client().await?, "keep messages", &insert(0), &columns.params()).await?;
                Ok::<_, StoreError>(vec![])
            }
        };
        self.gathers.keep.put(first.message_id, messages.clone(), write).await?;
        Ok(())
    }

    /// The messages about one thing after one of them, oldest first.
    pub async fn messages(&self, subject: Uuid, after: Uuid, limit: i64) -> Result<Vec<Kept>, StoreError> {
        let sql =
            "SELECT message_id, about, channel, state, target, request, request_digest, sent_at, answer,
                answer_digest, answer_headers, http_status, answered_at, why
             FROM gateway.messages WHERE subject_id = $1 AND message_id > $2 ORDER BY message_id LIMIT $3";
        let found = rows(&self.client().await?, "read messages", sql, &[&subject, &after, &limit]).await?;
        found.iter().map(read).collect::<Result<_, _>>().context(ReadSnafu)
    }
}

fn read(row: &Row) -> Result<Kept, tokio_postgres::Error> {
    Ok(Kept {
        message_id: row.try_get("message_id")?,
        about: row.try_get("about")?,
        channel: row.try_get("channel")?,
        state: row.try_get("state")?,
        target: row.try_get("target")?,
        request: row.try_get("request")?,
        request_digest: row.try_get("request_digest")?,
        sent_at: row.try_get("sent_at")?,
        answer: row.try_get("answer")?,
        answer_digest: row.try_get("answer_digest")?,
        headers: row.try_get("answer_headers")?,
        http_status: row.try_get("http_status")?,
        answered_at: row.try_get("answered_at")?,
        why: row.try_get("why")?,
    })
}
