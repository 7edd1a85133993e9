//! Agreements: one per (app, agreement date, agreement number).

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use snafu::{OptionExt, ResultExt};
use tokio_postgres::Row;
use uuid::Uuid;

use super::admission::{self, ADMITTED, Refusal};
use super::begin::BOUNDS;
use super::due::Table;
use super::nonces::{self, Nonce};
use super::outbox::{Event, publish};
use super::vault::soon_after;
use super::{
    LEASE_SECONDS, MissingSnafu, QuerySnafu, ReadSnafu, StateSnafu, Store, StoreError, execute, one, optional,
};
use crate::data_key::RequestHash;
use crate::state::agreement::AgreementState;

const COLUMNS: &str = "agreement_id, app_id, agreement_date, agreement_number, request_hash, merchant_id, method,
    channel, account_masked, payer, status, signed_at, network_id, token_sealed, failure_code, created_at, ended_at, order_id";
/// Somebody has to read his messages before there is anything new to ask for.
const CODE_SECONDS: f64 = 8.0;

/// An agreement as it is stored. It has no Debug: whose account it is, is no log's business.
#[derive(Clone)]
pub struct Agreement {
    pub agreement_id: Uuid,
    pub app_id: String,
    pub agreement_date: Date,
    pub agreement_number: String,
    pub request_hash: Vec<u8>,
    pub merchant_id: String,
    pub method: String,
    pub channel: String,
    pub account_masked: String,
    /// What its account is known by to limits and risk policies.
    pub payer: String,
    pub status: AgreementState,
    pub signed_at: Timestamp,
    pub network_id: Option<String>,
    /// Of a release before the vault, while it is active.
    pub token_sealed: Option<Vec<u8>>,
    pub failure_code: Option<String>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// The order that was asked for with it.
    pub order_id: Option<Uuid>,
}

impl Agreement {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let read = || -> Result<(Self, String), tokio_postgres::Error> {
            let agreement = Self {
                agreement_id: row.try_get("agreement_id")?,
                app_id: row.try_get("app_id")?,
                agreement_date: row.try_get("agreement_date")?,
                agreement_number: row.try_get("agreement_number")?,
                request_hash: row.try_get("request_hash")?,
                merchant_id: row.try_get("merchant_id")?,
                method: row.try_get("method")?,
                channel: row.try_get("channel")?,
                account_masked: row.try_get("account_masked")?,
                payer: row.try_get("payer")?,
                status: AgreementState::Processing,
                signed_at: row.try_get("signed_at")?,
                network_id: row.try_get("network_id")?,
                token_sealed: row.try_get("token_sealed")?,
                failure_code: row.try_get("failure_code")?,
                created_at: row.try_get("created_at")?,
                ended_at: row.try_get("ended_at")?,
                order_id: row.try_get("order_id")?,
            };
            Ok((agreement, row.try_get("status")?))
        };
        let (agreement, status) = read().context(ReadSnafu)?;
        Ok(Self { status: AgreementState::parse(&status).context(StateSnafu)?, ..agreement })
    }
}

/// An agreement to be created: of the account nothing but what may be kept.
pub struct NewAgreement {
    /// Chosen once, so that a repeated try knows its own.
    pub agreement_id: Uuid,
    pub app_id: String,
    pub agreement_date: Date,
    pub agreement_number: String,
    pub request_hash: RequestHash,
    pub merchant_id: String,
    pub method: String,
    pub channel: String,
    pub account_masked: String,
    /// What its account may be known by, the newest key's first.
    pub payers: Vec<String>,
    pub signed_at: Timestamp,
    pub created_at: Timestamp,
    /// Since when its owner is kept, where he is.
    pub owner_kept_at: Option<Timestamp>,
    /// The order that is asked for with it.
    pub order_id: Option<Uuid>,
}

/// What came of creating one.
pub enum CreatedAgreement {
    New(Box<Agreement>),
    /// The identity is known; whether the request is the same is not said.
    Known(Box<Agreement>),
    NonceUsed,
    Refused(Refusal),
    /// Of the account.
    TooMany,
}

/// Agreements that are asked for about an account within a day, by all apps: each lets
/// somebody guess a few codes, and sends a stranger a message.
pub const PER_DAY_MAX: i64 = 20;

/// Where the token of one that becomes active is.
#[derive(Clone, Default)]
pub enum Token {
    #[default]
    None,
    /// In the vault, since then.
    Kept(Timestamp),
    /// Here, sealed, as releases before the vault have it.
    Here(Vec<u8>),
}

/// Where an agreement goes, and what became known with it.
#[derive(Clone, Default)]
pub struct Said<'a> {
    pub network_id: Option<&'a str>,
    pub token: Token,
    pub failure_code: Option<&'a str>,
}

impl Store {
    /// Creates an agreement and stores the request's nonce, as [`Store::create_order`] does: whoever
    /// closes the app or the merchant waits for it, or is seen by it.
    pub async fn create_agreement(
        &self,
        new: &NewAgreement,
        nonce: &Nonce,
    ) -> Result<CreatedAgreement, StoreError> {
        let what = "create an agreement";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        admission::hold(&transaction, &new.app_id, &[new.merchant_id.as_str()], &[]).await?;
        if !nonces::guard(&transaction, nonce).await? {
            return Ok(CreatedAgreement::NonceUsed);
        }
        let (lately, before) = asked(&transaction, &new.payers).await?;
        if lately >= PER_DAY_MAX
            && find(&transaction, &new.app_id, new.agreement_date, &new.agreement_number).await?.is_none()
        {
            return Ok(CreatedAgreement::TooMany);
        }
        let payer = before.as_ref().or(new.payers.first());
        let sql = format!(
            "INSERT INTO gateway.agreements (agreement_id, app_id, agreement_date, agreement_number, request_hash,
                merchant_id, method, channel, account_masked, payer, signed_at, created_at, next_check_at, order_id)
             SELECT $1, t.app_id, $3, $4, $5, t.merchant_id, $7, $8, $9, $10, $11, $12,
                now() + $13 * interval '1 second', $14
             FROM (SELECT $2::text AS app_id, $6::text AS merchant_id, NULL::text AS terminal_id,
                NULL::text AS serial_number, NULL::text AS acquirer_code, NULL::text AS credit_code,
                NULL::text AS settlement_account, NULL::text AS location) t
             {ADMITTED}
             ON CONFLICT DO NOTHING RETURNING {COLUMNS}"
        );
        let params: super::Params<'_> = &[
            &new.agreement_id,
            &new.app_id,
            &new.agreement_date,
            &new.agreement_number,
            &new.request_hash.as_slice(),
            &new.merchant_id,
            &new.method,
            &new.channel,
            &new.account_masked,
            &payer,
            &new.signed_at,
            &new.created_at,
            &LEASE_SECONDS,
            &new.order_id,
        ];
        if let Some(kept_at) = new.owner_kept_at {
            soon_after(&transaction, kept_at).await?;
        }
        let created = match optional(&transaction, what, &sql, params).await? {
            Some(row) => CreatedAgreement::New(Box::new(Agreement::read(&row)?)),
            None => match find(&transaction, &new.app_id, new.agreement_date, &new.agreement_number).await? {
                Some(own) if own.agreement_id == new.agreement_id => CreatedAgreement::New(Box::new(own)),
                Some(known) => CreatedAgreement::Known(Box::new(known)),
                None => {
                    let who = (new.app_id.as_str(), new.merchant_id.as_str());
                    return Ok(CreatedAgreement::Refused(admission::refusal(&transaction, who, None).await?));
                }
            },
        };
        transaction.commit().await.context(QuerySnafu { what })?;
        Ok(created)
    }

    pub async fn find_agreement(
        &self,
        app: &str,
        date: Date,
        number: &str,
    ) -> Result<Option<Agreement>, StoreError> {
        find(&self.client().await?, app, date, number).await
    }

    /// The agreement that a network names by this id; none where it is nobody's.
    pub async fn known_agreement(&self, agreement_id: Uuid) -> Result<Option<Agreement>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM gateway.agreements WHERE agreement_id = $1");
        let row = optional(&self.client().await?, "read an agreement", &sql, &[&agreement_id]).await?;
        row.as_ref().map(Agreement::read).transpose()
    }

    /// The agreement that was asked for with an order.
    pub async fn agreement_of(&self, order_id: Uuid) -> Result<Option<Agreement>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM gateway.agreements WHERE order_id = $1");
        let row = optional(&self.client().await?, "read an order's agreement", &sql, &[&order_id]).await?;
        row.as_ref().map(Agreement::read).transpose()
    }

    pub async fn agreement(&self, agreement_id: Uuid) -> Result<Agreement, StoreError> {
        let known = self.known_agreement(agreement_id).await?;
        known.context(MissingSnafu { what: "agreement", id: agreement_id })
    }

    /// Takes up to `limit` agreements that are due.
    pub async fn claim_agreements(&self, limit: i64, busy: &[String]) -> Result<Vec<Agreement>, StoreError> {
        let rows = self.claim(Table::Agreements, COLUMNS, (limit, busy)).await?;
        rows.iter().map(Agreement::read).collect()
    }

    /// Stores how an agreement stands, where the table of states allows it, and tells its app
    /// in the same transaction. False: whoever was before has done that, or more. An attempt that begins by
    /// it holds its row until it is committed, so one that is to end waits for that.
    pub async fn move_agreement(
        &self,
        agreement_id: Uuid,
        to: AgreementState,
        said: &Said<'_>,
    ) -> Result<bool, StoreError> {
        let what = "store how an agreement stands";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        transaction.batch_execute(BOUNDS).await.context(QuerySnafu { what })?;
        let sql = format!(
            "UPDATE gateway.agreements SET status = $2, network_id = coalesce($3, network_id), token_sealed = $4,
                failure_code = $5, ended_at = CASE WHEN $6 THEN now() END, checks = 0,
                next_check_at = now() + $7::float8 * interval '1 second'
             WHERE agreement_id = $1 AND status = ANY ($8) RETURNING {COLUMNS}"
        );
        let here = match &said.token {
            Token::None => None,
            Token::Here(sealed) => Some(sealed),
            Token::Kept(kept_at) => {
                soon_after(&transaction, *kept_at).await?;
                None
            }
        };
        let seconds = match to {
            AgreementState::Processing | AgreementState::Ending => Some(LEASE_SECONDS),
            AgreementState::AwaitingCode => Some(CODE_SECONDS),
            AgreementState::Active | AgreementState::Ended | AgreementState::Failed => None,
        };
        let params: super::Params<'_> = &[
            &agreement_id,
            &to.as_str(),
            &said.network_id,
            &here,
            &said.failure_code,
            &to.is_final(),
            &seconds,
            &to.sources(),
        ];
        let Some(row) = optional(&transaction, what, &sql, params).await? else { return Ok(false) };
        if to == AgreementState::Active {
            // Nobody takes the order that is paid by it for one that its process left.
            let lease = "UPDATE gateway.orders o SET action = NULL, next_check_at = now() + $2 * interval '1 second'
                FROM gateway.agreements g WHERE g.agreement_id = $1 AND o.order_id = g.order_id AND o.status = 'Processing'";
            execute(&transaction, what, lease, &[&agreement_id, &LEASE_SECONDS]).await?;
        }
        let kind = match to {
            AgreementState::Active => Some("agreement.active"),
            AgreementState::Ended => Some("agreement.ended"),
            AgreementState::Failed => Some("agreement.failed"),
            _ => None,
        };
        let told = match kind {
            Some(kind) => publish(&transaction, &event(kind, &Agreement::read(&row)?)).await?,
            None => false,
        };
        transaction.commit().await.context(QuerySnafu { what })?;
        self.wake(told);
        Ok(true)
    }

    /// What does not hold yet is withdrawn where the order that was asked for with it has failed:
    /// the bank is asked to end it in the agreement's own turn.
    pub async fn withdraw_agreement(&self, agreement_id: Uuid) -> Result<(), StoreError> {
        let sql = "UPDATE gateway.agreements g SET status = 'Ending', next_check_at = now(), checks = 0
             FROM gateway.orders o WHERE g.agreement_id = $1 AND g.status IN ('Processing', 'AwaitingCode')
                AND o.order_id = g.order_id AND o.status = 'Failed'";
        execute(&self.client().await?, "withdraw an agreement", sql, &[&agreement_id]).await?;
        Ok(())
    }

    /// How many agreements were asked for about an account lately.
    pub async fn asked_about(&self, payers: &[String]) -> Result<i64, StoreError> {
        Ok(asked(&self.client().await?, payers).await?.0)
    }

    /// How many payments by it may be on their way to the bank at this moment.
    pub async fn sending_by(&self, agreement: &Agreement) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM gateway.attempts
             WHERE channel = $1 AND status = 'Sending' AND agreement_id = $2";
        let params: super::Params<'_> = &[&agreement.channel, &agreement.agreement_id];
        let row = one(&self.client().await?, "count payments by an agreement", sql, params).await?;
        row.try_get(0).context(ReadSnafu)
    }

    /// Was the attempt begun by an agreement that is not active any more?
    pub async fn has_lost_its_agreement(&self, attempt_id: Uuid) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT FROM gateway.attempts JOIN gateway.agreements g USING (agreement_id)
             WHERE attempt_id = $1 AND g.status <> 'Active')";
        let row = one(&self.client().await?, "look for an attempt's agreement", sql, &[&attempt_id]).await?;
        row.try_get(0).context(ReadSnafu)
    }
}

/// How many agreements were asked for about an account lately, and who its payer has been since the
/// first: lists, limits and windows go on with him when the data key changes.
async fn asked<C: deadpool_postgres::GenericClient>(
    client: &C,
    payers: &[String],
) -> Result<(i64, Option<String>), StoreError> {
    let sql = "SELECT count(*) FILTER (WHERE created_at > now() - interval '24 hours'),
            (array_agg(payer ORDER BY created_at))[1]
         FROM gateway.agreements WHERE payer = ANY ($1)";
    let row = one(client, "look what is known about an account", sql, &[&payers]).await?;
    Ok((row.try_get(0).context(ReadSnafu)?, row.try_get(1).context(ReadSnafu)?))
}

/// What its app is told: nothing of whose account it is.
fn event<'a>(kind: &'static str, agreement: &'a Agreement) -> Event<'a> {
    let payload = json!({
        "agreementId": agreement.agreement_id,
        "appId": agreement.app_id,
        "agreementDate": agreement.agreement_date,
        "agreementNumber": agreement.agreement_number,
        "merchantId": agreement.merchant_id,
        "method": agreement.method,
        "status": agreement.status,
        "failureCode": agreement.failure_code,
    });
    Event { kind, app: &agreement.app_id, subject: agreement.agreement_id, payload }
}

async fn find<C: deadpool_postgres::GenericClient>(
    client: &C,
    app: &str,
    date: Date,
    number: &str,
) -> Result<Option<Agreement>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM gateway.agreements
         WHERE app_id = $1 AND agreement_date = $2 AND agreement_number = $3"
    );
    let row = optional(client, "find an agreement", &sql, &[&app, &date, &number]).await?;
    row.as_ref().map(Agreement::read).transpose()
}
