//! Surpluses: one for each attempt that a network took money for and whose order cannot
//! have it.

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use snafu::ResultExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::attempts::{Attempt, Ending};
use super::contradictions::{self, Said};
use super::decide::NAMED;
use super::due::Table;
use super::outbox::{Event, publish};
use super::{QuerySnafu, ReadSnafu, StateSnafu, Store, StoreError, execute, one, optional, rows};
use crate::decide::Kind;
use crate::state::SurplusState;

const COLUMNS: &str =
    "attempt_id, order_id, channel, reason, amount_minor, currency, stored_date, network_id,
    network_time, status, refund_id, tries, signed_at, refund_network_id, held_because, created_at, checks,
    forfeited_at";

/// A surplus as it is stored.
#[derive(Clone, Debug)]
pub struct Surplus {
    pub attempt_id: Uuid,
    pub order_id: Uuid,
    pub channel: String,
    pub reason: String,
    /// The order's amount, until a query says what was paid.
    pub amount_minor: i64,
    pub currency: String,
    pub stored_date: Date,
    pub network_id: String,
    pub network_time: Timestamp,
    pub status: SurplusState,
    /// How the network knows the requests to give it back, how many there were, and the time
    /// that the signature of the latest bears.
    pub refund_id: Uuid,
    pub tries: i32,
    pub signed_at: Option<Timestamp>,
    /// There once the network has said that it knows the request; it may be empty.
    pub refund_network_id: Option<String>,
    pub held_because: Option<String>,
    pub created_at: Timestamp,
    /// How often it was looked at.
    pub checks: i32,
    /// When two persons decided that nobody may claim it any more.
    pub forfeited_at: Option<Timestamp>,
}

impl Surplus {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let read = || -> Result<(Self, String), tokio_postgres::Error> {
            let surplus = Self {
                attempt_id: row.try_get("attempt_id")?,
                order_id: row.try_get("order_id")?,
                channel: row.try_get("channel")?,
                reason: row.try_get("reason")?,
                amount_minor: row.try_get("amount_minor")?,
                currency: row.try_get("currency")?,
                stored_date: row.try_get("stored_date")?,
                network_id: row.try_get("network_id")?,
                network_time: row.try_get("network_time")?,
                status: SurplusState::Told,
                refund_id: row.try_get("refund_id")?,
                tries: row.try_get("tries")?,
                signed_at: row.try_get("signed_at")?,
                refund_network_id: row.try_get("refund_network_id")?,
                held_because: row.try_get("held_because")?,
                created_at: row.try_get("created_at")?,
                checks: row.try_get("checks")?,
                forfeited_at: row.try_get("forfeited_at")?,
            };
            Ok((surplus, row.try_get("status")?))
        };
        let (surplus, status) = read().context(ReadSnafu)?;
        Ok(Self { status: SurplusState::parse(&status).context(StateSnafu)?, ..surplus })
    }
}

/// What leads a surplus to its next state, and what is stored with it.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A query says that this much was paid.
    Confirm(i64),
    /// Its posting.
    Book(Uuid),
    /// A request to give it back, signed at this time.
    Send(Timestamp),
    /// The network knows the request, by this number of its own, and will decide later.
    Note(&'a str),
    /// The request that was signed at this time had no effect, and never will.
    SendAgain(Timestamp),
    /// The network gave it back, under this number of its own.
    Repay(&'a str),
    /// It is left to a person, out of the state that was seen.
    Hold(SurplusState, &'a str),
}

/// What a step stores.
#[derive(Default)]
struct Set<'a> {
    amount_minor: Option<i64>,
    suspense: Option<Uuid>,
    signed_at: Option<Timestamp>,
    network_id: Option<&'a str>,
    held_because: Option<&'a str>,
    /// Only where this was the latest request.
    of: Option<Timestamp>,
}

impl<'a> Step<'a> {
    /// The states from which it leads to which.
    fn way(self) -> (Vec<SurplusState>, SurplusState) {
        use SurplusState::{Booked, Confirmed, Held, Repaid, Sending, Told};
        match self {
            Self::Confirm(_) => (vec![Told], Confirmed),
            Self::Book(_) => (vec![Confirmed], Booked),
            Self::Send(_) => (vec![Booked], Sending),
            Self::Note(_) => (vec![Sending], Sending),
            Self::SendAgain(_) => (vec![Sending], Booked),
            // Every request bears the same number: whichever it was, the money is back.
            Self::Repay(_) => (vec![Sending, Booked, Held], Repaid),
            // Whose end is decided is held no more, whatever the network repeats.
            Self::Hold(seen, _) if matches!(seen, Told | Booked | Sending | Held) => (vec![seen], Held),
            Self::Hold(..) => (vec![], Held),
        }
    }

    fn set(self) -> Set<'a> {
        let none = Set::default();
        match self {
            Self::Confirm(minor) => Set { amount_minor: Some(minor), ..none },
            Self::Book(id) => Set { suspense: Some(id), ..none },
            Self::Send(at) => Set { signed_at: Some(at), ..none },
            Self::SendAgain(at) => Set { of: Some(at), ..none },
            Self::Note(id) | Self::Repay(id) => Set { network_id: Some(id), ..none },
            Self::Hold(_, why) => Set { held_because: Some(why), ..none },
        }
    }
}

impl Store {
    /// Notes that a network took money for an attempt that has ended otherwise, and that it
    /// contradicts whoever decided that end. Told again, it is the same surplus.
    pub async fn note_surplus(&self, attempt: &Attempt, said: &Ending) -> Result<(), StoreError> {
        let what = "note a surplus";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        insert(&transaction, attempt, (&said.network_id, said.network_time), None).await?;
        let about = (Kind::Payment, attempt.attempt_id);
        let network_id = said.network_id.as_deref();
        let said = Said { what: "Succeeded", network_id, at: said.network_time };
        let is_new = contradictions::insert(&transaction, about, said).await?;
        transaction.commit().await.context(QuerySnafu { what })?;
        if is_new {
            contradictions::tell(about, said);
        }
        Ok(())
    }

    /// Leads it on; none where somebody else has. Whoever was slow does not touch a newer
    /// request; who sends one finds its own when it asks again.
    pub async fn step_surplus(
        &self,
        attempt_id: Uuid,
        step: Step<'_>,
    ) -> Result<Option<Surplus>, StoreError> {
        let sql = format!(
            "UPDATE gateway.surpluses SET status = $2, amount_minor = coalesce($4, amount_minor),
                suspense_transaction_id = coalesce($5, suspense_transaction_id),
                tries = tries + CASE WHEN status = 'Booked' AND $6::timestamptz IS NOT NULL THEN 1 ELSE 0 END,
                signed_at = coalesce($6, signed_at), refund_network_id = coalesce($7, refund_network_id),
                held_because = $8, checks = CASE WHEN $2 IN ('Confirmed', 'Booked') THEN 0 ELSE checks END,
                next_check_at = CASE WHEN $2 <> 'Held' THEN coalesce(next_check_at, now()) END
             WHERE attempt_id = $1 AND (status = ANY ($3) AND ($9::timestamptz IS NULL OR signed_at = $9)
                    AND ($2 <> 'Repaid' OR suspense_transaction_id IS NOT NULL)
                OR status = 'Sending' AND signed_at = $6) RETURNING {COLUMNS}"
        );
        let ((from, to), set) = (step.way(), step.set());
        let from: Vec<_> = from.iter().map(|state| state.as_str()).collect();
        let params: super::Params<'_> = &[
            &attempt_id,
            &to.as_str(),
            &from,
            &set.amount_minor,
            &set.suspense,
            &set.signed_at,
            &set.network_id,
            &set.held_because,
            &set.of,
        ];
        let row = optional(&self.client().await?, "lead a surplus on", &sql, params).await?;
        row.as_ref().map(Surplus::read).transpose()
    }

    /// Ends it, and tells its app. Whoever comes second finds it done.
    pub async fn refund_surplus(&self, attempt_id: Uuid, transaction_id: Uuid) -> Result<(), StoreError> {
        let what = "end a surplus";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        let sql = "UPDATE gateway.surpluses s SET status = 'Refunded', refund_transaction_id = $2,
                next_check_at = NULL
             FROM gateway.orders o WHERE s.attempt_id = $1 AND s.status = 'Repaid' AND o.order_id = s.order_id
             RETURNING s.order_id, s.reason, s.amount_minor, s.currency, o.app_id, o.order_date, o.order_number,
                o.merchant_id, o.top_up_customer";
        let Some(row) = optional(&transaction, what, sql, &[&attempt_id, &transaction_id]).await? else {
            return Ok(());
        };
        let (app, order_id, payload) = event(&row).context(ReadSnafu)?;
        let event = Event { kind: "payment.returned", app: &app, subject: order_id, payload };
        let told = publish(&transaction, &event).await?;
        transaction.commit().await.context(QuerySnafu { what })?;
        self.wake(told);
        Ok(())
    }

    /// It is income.
    pub async fn forfeit_surplus(&self, attempt_id: Uuid, transaction_id: Uuid) -> Result<(), StoreError> {
        let sql = "UPDATE gateway.surpluses SET status = 'Forfeited', income_transaction_id = $2,
                next_check_at = NULL WHERE attempt_id = $1 AND status = 'Forfeiting'";
        execute(&self.client().await?, "end a surplus as income", sql, &[&attempt_id, &transaction_id])
            .await?;
        Ok(())
    }

    /// The one of an attempt, or whose refund the network knows by this id.
    pub async fn surplus(&self, id: Uuid) -> Result<Option<Surplus>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM gateway.surpluses WHERE attempt_id = $1 OR refund_id = $1");
        let row = optional(&self.client().await?, "read a surplus", &sql, &[&id]).await?;
        row.as_ref().map(Surplus::read).transpose()
    }

    /// Takes up to `limit` that are due.
    pub async fn claim_surpluses(&self, limit: i64, busy: &[String]) -> Result<Vec<Surplus>, StoreError> {
        let rows = self.claim(Table::Surpluses, COLUMNS, (limit, busy)).await?;
        rows.iter().map(Surplus::read).collect()
    }

    /// A person asks for another try of one that is held; none where none is. The network gives
    /// it back once under its number, however often it is asked: it takes no second person.
    pub async fn retry_surplus(
        &self,
        attempt_id: Uuid,
        subject: &str,
    ) -> Result<Option<Surplus>, StoreError> {
        let sql = format!(
            "UPDATE gateway.surpluses SET held_because = NULL, next_check_at = now(), checks = 0, tries = 0,
                status = CASE WHEN suspense_transaction_id IS NULL THEN 'Told' ELSE 'Booked' END
             WHERE attempt_id = $1 AND status = 'Held' RETURNING {COLUMNS}"
        );
        let found = self.under("try a surplus again", (NAMED, &[&subject]), (&sql, &[&attempt_id])).await?;
        found.first().map(Surplus::read).transpose()
    }

    /// A page, oldest attempt first.
    pub async fn surpluses(
        &self,
        state: Option<SurplusState>,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<Surplus>, StoreError> {
        // Spelled out: one plan is kept for each text, and this one is to know them.
        let of = state.map_or(String::new(), |state| format!("AND status = '{}'", state.as_str()));
        let sql = format!(
            "SELECT {COLUMNS} FROM gateway.surpluses WHERE attempt_id > $1 {of} ORDER BY attempt_id LIMIT {limit}"
        );
        let rows = rows(&self.client().await?, "read surpluses", &sql, &[&after]).await?;
        rows.iter().map(Surplus::read).collect()
    }

    /// How many are under way, and how many wait for a person.
    pub async fn count_surpluses(&self) -> Result<(i64, i64), StoreError> {
        let sql = "SELECT (SELECT count(*) FROM gateway.surpluses WHERE next_check_at IS NOT NULL),
            (SELECT count(*) FROM gateway.surpluses WHERE status = 'Held')";
        let row = one(&self.client().await?, "count surpluses", sql, &[]).await?;
        Ok((row.try_get(0).context(ReadSnafu)?, row.try_get(1).context(ReadSnafu)?))
    }
}

/// The network gave it back, as two persons say; false where it is not held, or not booked.
pub(super) async fn repaid<C: GenericClient>(
    client: &C,
    attempt_id: Uuid,
    (network_id, network_time): (&str, Timestamp),
) -> Result<bool, StoreError> {
    let sql = "UPDATE gateway.surpluses SET status = 'Repaid', held_because = NULL, next_check_at = now(),
            refund_network_id = $2, signed_at = coalesce(signed_at, $3)
         WHERE attempt_id = $1 AND status = 'Held' AND suspense_transaction_id IS NOT NULL";
    let params: super::Params<'_> = &[&attempt_id, &network_id, &network_time];
    Ok(execute(client, "end a surplus as repaid", sql, params).await? == 1)
}

/// Nobody may claim it, as two persons say; false where it is not held, or not booked.
pub(super) async fn forfeit<C: GenericClient>(client: &C, attempt_id: Uuid) -> Result<bool, StoreError> {
    let sql =
        "UPDATE gateway.surpluses SET status = 'Forfeiting', held_because = NULL, next_check_at = now(),
            forfeited_at = now()
         WHERE attempt_id = $1 AND status = 'Held' AND suspense_transaction_id IS NOT NULL";
    Ok(execute(client, "give a surplus up", sql, &[&attempt_id]).await? == 1)
}

/// Is it booked as suspense?
pub(super) async fn is_booked<C: GenericClient>(client: &C, attempt_id: Uuid) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM gateway.surpluses
         WHERE attempt_id = $1 AND suspense_transaction_id IS NOT NULL";
    Ok(optional(client, "read a surplus", sql, &[&attempt_id]).await?.is_some())
}

/// Of an attempt of which a query said that another amount was paid, it is confirmed.
pub(super) async fn insert<C: GenericClient>(
    client: &C,
    attempt: &Attempt,
    (network_id, network_time): (&Option<String>, Option<Timestamp>),
    paid_minor: Option<i64>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO gateway.surpluses (attempt_id, order_id, channel, reason, amount_minor, currency,
            stored_date, network_id, network_time, status, refund_id)
         SELECT $1, order_id, $2, CASE WHEN $3::bigint IS NOT NULL THEN 'OtherAmount'
                WHEN status = 'Succeeded' THEN 'PaidTwice' ELSE 'PaidAfterEnd' END,
            coalesce($3, amount_minor), currency, stored_date, coalesce($4, ''), coalesce($5, now()),
            CASE WHEN $3 IS NULL THEN 'Told' ELSE 'Confirmed' END, $7
         FROM gateway.orders WHERE order_id = $6 ON CONFLICT (attempt_id) DO NOTHING";
    let params: super::Params<'_> = &[
        &attempt.attempt_id,
        &attempt.channel,
        &paid_minor,
        network_id,
        &network_time,
        &attempt.order_id,
        &Uuid::now_v7(),
    ];
    if execute(client, "note a surplus", sql, params).await? == 1 {
        let (attempt_id, order_id, ended) = (attempt.attempt_id, attempt.order_id, attempt.status);
        tracing::info!(%attempt_id, %order_id, %ended, "the network took money that no order stands for");
    }
    Ok(())
}

/// Whom to tell that a surplus was given back, of which order, and what.
fn event(row: &Row) -> Result<(String, Uuid, serde_json::Value), tokio_postgres::Error> {
    let order_id: Uuid = row.try_get("order_id")?;
    let mut payload = json!({
        "orderId": order_id,
        "appId": row.try_get::<_, String>("app_id")?,
        "orderDate": row.try_get::<_, Date>("order_date")?,
        "orderNumber": row.try_get::<_, String>("order_number")?,
        "merchantId": row.try_get::<_, String>("merchant_id")?,
        "amountMinor": row.try_get::<_, i64>("amount_minor")?,
        "currency": row.try_get::<_, String>("currency")?,
        "reason": row.try_get::<_, String>("reason")?,
    });
    if let Some(customer) = row.try_get::<_, Option<String>>("top_up_customer")? {
        payload["topUp"] = json!({"customer": customer});
    }
    Ok((row.try_get("app_id")?, order_id, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that declines again changes nothing of what is decided or done.
    #[test]
    fn what_is_on_its_way_out_of_suspense_is_held_no_more() {
        use SurplusState::{Booked, Held, Sending, Told};
        for seen in SurplusState::ALL {
            let (from, to) = Step::Hold(*seen, "Declined").way();
            let holds = [Told, Booked, Sending, Held].contains(seen);
            assert_eq!((from, to), (if holds { vec![*seen] } else { vec![] }, Held), "{seen}");
        }
    }
}
