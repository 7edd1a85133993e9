//! What came of a try to notify an app, and of what nobody takes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use snafu::ResultExt;

use super::deliveries::{Delivery, FAILURES_MAX};
use super::{QuerySnafu, ReadSnafu, Store, StoreError, execute, one};

/// It rests for so long, and twice as long with every further failure.
const REST_SECONDS: f64 = 10.0;
const REST_SECONDS_MAX: f64 = 300.0;
/// A notification is dead when a try fails that is at least this one, so long after it
/// was made,
const TRIES_MIN: i32 = 10;
const TRIED_HOURS: f64 = 24.0;
/// or when it has waited for so long behind an endpoint that rests or is gone.
const WAITED_HOURS: f64 = 72.0;
/// Ended in one go.
const BURIED_MAX: i64 = 1_000;
/// More are not counted.
const COUNTED_MAX: i64 = 100_000;

/// What came of a try: the status that was answered, or why there was none.
#[derive(Clone, Debug)]
pub struct Tried {
    pub sent_at: Timestamp,
    pub took_ms: i32,
    pub answer: Result<u16, String>,
    /// When the next one is due, should this one have failed.
    pub again_seconds: f64,
}

impl Tried {
    /// Any 2xx is.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(self.answer, Ok(200..=299))
    }
}

/// How many wait, since when the oldest does, and how many are dead.
#[derive(Clone, Copy, Debug)]
pub struct Owed {
    pub pending: i64,
    pub oldest_seconds: f64,
    pub dead: i64,
}

impl Store {
    /// Stores what came of tries that were all taken, together: one by one they would cost
    /// the database as much as a payment does. As with [`Store::end_failed`] the commit does
    /// not wait for the disk.
    pub async fn end_taken(&self, all: &[(Delivery, Tried)]) -> Result<(), StoreError> {
        // What it is about is locked first, before its endpoint: as who registers an app does.
        let sql = "WITH off AS (SELECT set_config('synchronous_commit', 'off', true)),
             history AS (INSERT INTO gateway.delivery_tries (event_id, number, sent_at, took_ms, answer)
                SELECT * FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::int[], $5::int[])
                ON CONFLICT DO NOTHING),
             well AS (UPDATE gateway.endpoints SET failures = 0, rests_until = '-infinity'
                WHERE app_id = ANY ($6) AND failures > 0)
             UPDATE gateway.deliveries SET status = 'Delivered', next_try_at = NULL, ended_at = now()
             FROM off WHERE event_id = ANY ($1) AND status <> 'Delivered'";
        let apps: BTreeSet<_> = all.iter().map(|(delivery, _)| delivery.app_id.as_str()).collect();
        let params: super::Params<'_> = &[
            &all.iter().map(|(delivery, _)| delivery.event_id).collect::<Vec<_>>(),
            &all.iter().map(|(delivery, _)| delivery.number).collect::<Vec<_>>(),
            &all.iter().map(|(_, tried)| tried.sent_at).collect::<Vec<_>>(),
            &all.iter().map(|(_, tried)| tried.took_ms).collect::<Vec<_>>(),
            &all.iter()
                .map(|(_, tried)| tried.answer.as_ref().ok().copied().map(i32::from))
                .collect::<Vec<_>>(),
            &apps.into_iter().collect::<Vec<_>>(),
        ];
        execute(&self.client().await?, "store that notifications were taken", sql, params).await?;
        Ok(())
    }

    /// Stores what came of a try that failed. Should a crash of the database lose it, the app
    /// is told once more, so the commit does not wait for the disk.
    pub async fn end_failed(&self, delivery: &Delivery, tried: &Tried) -> Result<(), StoreError> {
        let what = "store what came of a notification";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        execute(&transaction, what, "SET LOCAL synchronous_commit = off", &[]).await?;
        let id = &delivery.event_id;
        let answer = tried.answer.as_ref().ok().map(|status| i32::from(*status));
        let failure = tried.answer.as_ref().err();
        let history =
            "INSERT INTO gateway.delivery_tries (event_id, number, sent_at, took_ms, answer, failure)
             VALUES ($1, $2, $3, $4, $5, left($6, 512)) ON CONFLICT DO NOTHING";
        let params: super::Params<'_> =
            &[id, &delivery.number, &tried.sent_at, &tried.took_ms, &answer, &failure];
        execute(&transaction, what, history, params).await?;
        // A later try, or somebody who asked for it again, goes before.
        let again = "UPDATE gateway.deliveries SET next_try_at = now() + $3 * interval '1 second'
             WHERE event_id = $1 AND status = 'Pending' AND tries = $2";
        execute(&transaction, what, again, &[id, &delivery.number, &tried.again_seconds]).await?;
        let dead = "UPDATE gateway.deliveries SET status = 'Dead', next_try_at = NULL, ended_at = now()
             WHERE event_id = $1 AND status = 'Pending' AND tries = $2 AND tries - tries_before >= $3
               AND since < now() - $4 * interval '1 hour'";
        execute(&transaction, what, dead, &[id, &delivery.number, &TRIES_MIN, &TRIED_HOURS]).await?;
        // Those that were under way together make it rest once.
        let rests = "UPDATE gateway.endpoints SET failures = failures + 1, rests_until = CASE
                WHEN failures + 1 >= $2 THEN now() + interval '1 second' * least($4, $3 * power(2, least(failures + 1 - $2, 10)))
                ELSE rests_until END WHERE app_id = $1 AND url = $6 AND (failures < $2 OR $5)";
        let params: super::Params<'_> = &[
            &delivery.app_id,
            &FAILURES_MAX,
            &REST_SECONDS,
            &REST_SECONDS_MAX,
            &delivery.is_probe,
            &delivery.to.url,
        ];
        execute(&transaction, what, rests, params).await?;
        transaction.commit().await.context(QuerySnafu { what })
    }

    /// Ends what has waited for too long where nobody takes anything; says how many.
    pub async fn bury_deliveries(&self) -> Result<u64, StoreError> {
        let sql = "UPDATE gateway.deliveries SET status = 'Dead', next_try_at = NULL, ended_at = now()
             WHERE status = 'Pending' AND event_id IN (SELECT d.event_id FROM gateway.deliveries d
                WHERE d.status = 'Pending' AND d.since < now() - $1 * interval '1 hour' AND NOT EXISTS (
                      SELECT FROM gateway.endpoints p WHERE p.app_id = d.app_id AND p.failures < $3)
                LIMIT $2 FOR UPDATE SKIP LOCKED)";
        let params: super::Params<'_> = &[&WAITED_HOURS, &BURIED_MAX, &FAILURES_MAX];
        execute(&self.client().await?, "end old notifications", sql, params).await
    }

    pub async fn owed_deliveries(&self) -> Result<Owed, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM (SELECT FROM gateway.deliveries WHERE status = 'Pending' LIMIT $1) p),
                coalesce(extract(epoch FROM now() - (SELECT min(since) FROM gateway.deliveries WHERE status = 'Pending')), 0)::float8,
                (SELECT count(*) FROM (SELECT FROM gateway.deliveries WHERE status = 'Dead' LIMIT $1) d)";
        let row = one(&self.client().await?, "count notifications", sql, &[&COUNTED_MAX]).await?;
        let read =
            || Ok(Owed { pending: row.try_get(0)?, oldest_seconds: row.try_get(1)?, dead: row.try_get(2)? });
        read().context(ReadSnafu)
    }
}
