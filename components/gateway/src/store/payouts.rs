//! Payouts: one per (app, order date, payout number).

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use snafu::{OptionExt, ResultExt};
use tokio_postgres::Row;
use uuid::Uuid;

use super::admission::{self, ADMITTED, BY_NAME, Refusal};
use super::due::Table;
use super::nonces::{self, Nonce};
use super::outgoing::Told;
use super::vault::soon_after;
use super::{
    LEASE_SECONDS, MissingSnafu, QuerySnafu, ReadSnafu, StateSnafu, Store, StoreError, one, optional,
};
use crate::data_key::RequestHash;
use crate::payee::KeptPayee;
use crate::state::OutgoingState;

pub(super) const COLUMNS: &str = "payout_id, app_id, order_date, payout_number, request_hash, merchant_id,
    amount_minor, currency, channel, payee_sealed, payee_masked, description, stored_date, status,
    ledger_transaction_id, signed_at, network_id, failure_code, created_at, completed_at";

/// A payout as it is stored. It has no Debug, as whoever is paid is no log's business.
#[derive(Clone)]
pub struct Payout {
    pub payout_id: Uuid,
    pub app_id: String,
    pub order_date: Date,
    pub payout_number: String,
    pub request_hash: Vec<u8>,
    pub merchant_id: String,
    pub amount_minor: i64,
    pub currency: String,
    pub channel: String,
    /// Of a release before the vault, until the request is signed.
    pub payee_sealed: Option<Vec<u8>>,
    pub payee_masked: String,
    pub description: Option<String>,
    pub stored_date: Date,
    pub status: OutgoingState,
    pub ledger_transaction_id: Option<Uuid>,
    pub signed_at: Option<Timestamp>,
    /// There once the network has said that it knows the payout; it may be empty.
    pub network_id: Option<String>,
    pub failure_code: Option<String>,
    pub created_at: Timestamp,
    pub completed_at: Option<Timestamp>,
}

impl Payout {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let read = || -> Result<(Self, String), tokio_postgres::Error> {
            let payout = Self {
                payout_id: row.try_get("payout_id")?,
                app_id: row.try_get("app_id")?,
                order_date: row.try_get("order_date")?,
                payout_number: row.try_get("payout_number")?,
                request_hash: row.try_get("request_hash")?,
                merchant_id: row.try_get("merchant_id")?,
                amount_minor: row.try_get("amount_minor")?,
                currency: row.try_get("currency")?,
                channel: row.try_get("channel")?,
                payee_sealed: row.try_get("payee_sealed")?,
                payee_masked: row.try_get("payee_masked")?,
                description: row.try_get("description")?,
                stored_date: row.try_get("stored_date")?,
                status: OutgoingState::Requested,
                ledger_transaction_id: row.try_get("ledger_transaction_id")?,
                signed_at: row.try_get("signed_at")?,
                network_id: row.try_get("network_id")?,
                failure_code: row.try_get("failure_code")?,
                created_at: row.try_get("created_at")?,
                completed_at: row.try_get("completed_at")?,
            };
            Ok((payout, row.try_get("status")?))
        };
        let (payout, status) = read().context(ReadSnafu)?;
        Ok(Self { status: OutgoingState::parse(&status).context(StateSnafu)?, ..payout })
    }
}

/// A payout to be created.
pub struct NewPayout {
    /// Chosen once, so that a repeated try knows its own payout.
    pub payout_id: Uuid,
    pub app_id: String,
    pub order_date: Date,
    pub payout_number: String,
    pub request_hash: RequestHash,
    pub merchant_id: String,
    pub amount_minor: i64,
    pub currency: String,
    pub channel: String,
    pub payee: KeptPayee,
    pub description: Option<String>,
    pub stored_date: Date,
    pub created_at: Timestamp,
}

/// What came of creating a payout.
pub enum CreatedPayout {
    New(Box<Payout>),
    /// The identity is known; whether the request is the same is not said.
    Known(Box<Payout>),
    NonceUsed,
    Refused(Refusal),
}

impl Store {
    /// Creates a payout and stores the request's nonce, as [`Store::create_order`] does: whoever
    /// closes the app or the merchant waits for it, or is seen by it.
    pub async fn create_payout(&self, new: &NewPayout, nonce: &Nonce) -> Result<CreatedPayout, StoreError> {
        let what = "create a payout";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        admission::hold(&transaction, &new.app_id, &[new.merchant_id.as_str()], &[]).await?;
        if !nonces::guard(&transaction, nonce).await? {
            return Ok(CreatedPayout::NonceUsed);
        }
        soon_after(&transaction, new.payee.kept_at).await?;
        let sql = format!(
            "INSERT INTO gateway.payouts (payout_id, app_id, order_date, payout_number, request_hash,
                merchant_id, amount_minor, currency, channel, payee_masked, description, stored_date,
                created_at, next_check_at)
             SELECT $1, t.app_id, $3, $4, $5, t.merchant_id, $7, $8, $9, $10, $11, $12, $13,
                now() + $14 * interval '1 second'
             FROM (SELECT $2::text AS app_id, $6::text AS merchant_id, NULL::text AS terminal_id,
                NULL::text AS serial_number, NULL::text AS acquirer_code, NULL::text AS credit_code,
                NULL::text AS settlement_account, NULL::text AS location) t
             {ADMITTED} AND {BY_NAME}
             ON CONFLICT DO NOTHING RETURNING {COLUMNS}"
        );
        let params: super::Params<'_> = &[
            &new.payout_id,
            &new.app_id,
            &new.order_date,
            &new.payout_number,
            &new.request_hash.as_slice(),
            &new.merchant_id,
            &new.amount_minor,
            &new.currency,
            &new.channel,
            &new.payee.masked,
            &new.description,
            &new.stored_date,
            &new.created_at,
            &LEASE_SECONDS,
        ];
        let created = match optional(&transaction, what, &sql, params).await? {
            Some(row) => CreatedPayout::New(Box::new(Payout::read(&row)?)),
            None => match find(&transaction, &new.app_id, new.order_date, &new.payout_number).await? {
                Some(own) if own.payout_id == new.payout_id => CreatedPayout::New(Box::new(own)),
                Some(known) => CreatedPayout::Known(Box::new(known)),
                None => {
                    let who = (new.app_id.as_str(), new.merchant_id.as_str());
                    return Ok(CreatedPayout::Refused(admission::refusal_by_name(&transaction, who).await?));
                }
            },
        };
        transaction.commit().await.context(QuerySnafu { what })?;
        Ok(created)
    }

    pub async fn find_payout(
        &self,
        app: &str,
        date: Date,
        number: &str,
    ) -> Result<Option<Payout>, StoreError> {
        find(&self.client().await?, app, date, number).await
    }

    /// The payout that a network names by this id; none where it is nobody's.
    pub async fn known_payout(&self, payout_id: Uuid) -> Result<Option<Payout>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM gateway.payouts WHERE payout_id = $1");
        let row = optional(&self.client().await?, "read a payout", &sql, &[&payout_id]).await?;
        row.as_ref().map(Payout::read).transpose()
    }

    pub async fn payout(&self, payout_id: Uuid) -> Result<Payout, StoreError> {
        let known = self.known_payout(payout_id).await?;
        known.context(MissingSnafu { what: "payout", id: payout_id })
    }

    /// Takes up to `limit` payouts that are due.
    pub async fn claim_payouts(&self, limit: i64, busy: &[String]) -> Result<Vec<Payout>, StoreError> {
        let rows = self.claim(Table::Payouts, COLUMNS, (limit, busy)).await?;
        rows.iter().map(Payout::read).collect()
    }

    /// How many have no end yet, and since when the oldest has none.
    pub async fn open_payouts(&self) -> Result<(i64, f64), StoreError> {
        let sql = "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8
             FROM gateway.payouts WHERE next_check_at IS NOT NULL";
        let row = one(&self.client().await?, "count open payouts", sql, &[]).await?;
        Ok((row.try_get(0).context(ReadSnafu)?, row.try_get(1).context(ReadSnafu)?))
    }
}

/// Whom to tell of a payout that has ended, and what: nothing of who was paid.
pub(super) fn told(row: &Row) -> Result<Told, StoreError> {
    let payout = Payout::read(row)?;
    let payload = json!({
        "payoutId": payout.payout_id,
        "appId": payout.app_id,
        "orderDate": payout.order_date,
        "payoutNumber": payout.payout_number,
        "merchantId": payout.merchant_id,
        "amountMinor": payout.amount_minor,
        "currency": payout.currency,
        "status": payout.status,
        "failureCode": payout.failure_code,
    });
    let succeeded = payout.status == OutgoingState::Succeeded;
    let kind = if succeeded { "payout.succeeded" } else { "payout.failed" };
    Ok(Told { kind, app: payout.app_id, payload })
}

async fn find<C: deadpool_postgres::GenericClient>(
    client: &C,
    app: &str,
    date: Date,
    number: &str,
) -> Result<Option<Payout>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM gateway.payouts
         WHERE app_id = $1 AND order_date = $2 AND payout_number = $3"
    );
    let row = optional(client, "find a payout", &sql, &[&app, &date, &number]).await?;
    row.as_ref().map(Payout::read).transpose()
}
