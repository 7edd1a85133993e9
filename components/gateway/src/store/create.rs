//! New orders with their nonces, many in one statement. What is not new is left alone,
//! and looked at closely by [`Store::create_order`].

use std::collections::HashMap;
use std::sync::Arc;

use snafu::ResultExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::admission::{ADMITTED, HOLD};
use super::nonces::Nonce;
use super::orders::{NewOrder, Order};
use super::terms::{self, IN_FORCE};
use super::{LEASE_SECONDS, ReadSnafu, Store, StoreError};
use crate::terms::InForce;

pub(super) type New = (NewOrder, Nonce);
/// An order, and what its merchant agreed to.
pub(super) type NewlyMade = (Order, Option<InForce>);

impl Store {
    /// The order, where it and its nonce are new and it is admitted.
    pub(super) async fn create_together(
        &self,
        new: &NewOrder,
        nonce: &Nonce,
    ) -> Result<Option<NewlyMade>, StoreError> {
        let store = self.clone();
        let write = move |all| {
            let store = store.clone();
            async move { store.create_all(all).await }
        };
        self.gathers.create.put(new.order_id, (new.clone(), nonce.clone()), write).await
    }

    async fn create_all(&self, all: Arc<Vec<New>>) -> Result<Vec<(Uuid, NewlyMade)>, StoreError> {
        let sql = format!(
            "WITH asked AS (SELECT t.*, m.settlement_days FROM unnest($1::uuid[], $2::text[], $3::date[], $4::text[],
                    $5::bytea[], $6::text[], $7::text[], $8::bigint[], $9::text[], $10::text[], $11::date[],
                    $12::text[], $13::bigint[], $14::timestamptz[], $15::timestamptz[], $16::text[], $17::bytea[],
                    $18::timestamptz[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[],
                    $26::text[])
                AS t(order_id, app_id, order_date, order_number, request_hash, merchant_id, method, amount_minor,
                    currency, description, stored_date, dates, calendar_version, created_at, expires_at, nonce,
                    digest, nonce_expires_at, terminal_id, serial_number, acquirer_code, credit_code,
                    settlement_account, location, top_up_customer)
                {ADMITTED}),
             fresh AS (INSERT INTO gateway.nonces (app_id, nonce, request_digest, expires_at)
                SELECT app_id, nonce, digest, nonce_expires_at FROM asked ORDER BY app_id, nonce
                ON CONFLICT DO NOTHING RETURNING app_id, nonce, request_digest),
             made AS (INSERT INTO gateway.orders (order_id, app_id, order_date, order_number, request_hash, merchant_id,
                method, amount_minor, currency, description, stored_date, settlement_date, calendar_version,
                created_at, expires_at, next_check_at, terminal_id, top_up_customer)
             SELECT a.order_id, a.app_id, a.order_date, a.order_number, a.request_hash, a.merchant_id, a.method,
                a.amount_minor, a.currency, a.description, a.stored_date,
                CASE WHEN a.top_up_customer IS NULL THEN (a.dates::date[])[a.settlement_days + 1] END,
                a.calendar_version, a.created_at, a.expires_at, now() + $19 * interval '1 second',
                a.terminal_id, a.top_up_customer
             FROM asked a JOIN fresh f ON f.app_id = a.app_id AND f.nonce = a.nonce AND f.request_digest = a.digest
             ORDER BY a.app_id, a.order_date, a.order_number
             ON CONFLICT DO NOTHING RETURNING order_id, settlement_date, merchant_id, stored_date)
             SELECT made.order_id, made.settlement_date, agreed.version, agreed.terms
             FROM made LEFT JOIN LATERAL ({IN_FORCE}) AS agreed ON true"
        );
        let orders = || all.iter().map(|(order, _)| order);
        let terminals = || orders().map(|o| o.terminal.as_ref());
        let nonces = || all.iter().map(|(_, nonce)| nonce);
        let dates = |order: &NewOrder| {
            let dates: Vec<_> = order.settlement_dates.iter().map(ToString::to_string).collect();
            format!("{{{}}}", dates.join(","))
        };
        let params: super::Params<'_> = &[
            &orders().map(|o| o.order_id).collect::<Vec<_>>(),
            &orders().map(|o| o.app_id.as_str()).collect::<Vec<_>>(),
            &orders().map(|o| o.order_date).collect::<Vec<_>>(),
            &orders().map(|o| o.order_number.as_str()).collect::<Vec<_>>(),
            &orders().map(|o| o.request_hash.as_slice()).collect::<Vec<_>>(),
            &orders().map(|o| o.merchant_id.as_str()).collect::<Vec<_>>(),
            &orders().map(|o| o.method.as_str()).collect::<Vec<_>>(),
            &orders().map(|o| o.amount_minor).collect::<Vec<_>>(),
            &orders().map(|o| o.currency.as_str()).collect::<Vec<_>>(),
            &orders().map(|o| o.description.as_deref()).collect::<Vec<_>>(),
            &orders().map(|o| o.stored_date).collect::<Vec<_>>(),
            &orders().map(dates).collect::<Vec<_>>(),
            &orders().map(|o| o.calendar_version).collect::<Vec<_>>(),
            &orders().map(|o| o.created_at).collect::<Vec<_>>(),
            &orders().map(|o| o.expires_at).collect::<Vec<_>>(),
            &nonces().map(|n| n.nonce.as_str()).collect::<Vec<_>>(),
            &nonces().map(|n| n.digest.as_slice()).collect::<Vec<_>>(),
            &nonces().map(|n| n.expires_at).collect::<Vec<_>>(),
            &LEASE_SECONDS,
            &terminals().map(|t| t.map(|t| t.terminal_id.as_str())).collect::<Vec<_>>(),
            &terminals().map(|t| t.map(|t| t.serial_number.as_str())).collect::<Vec<_>>(),
            &terminals().map(|t| t.map(|t| t.acquirer_code.as_str())).collect::<Vec<_>>(),
            &terminals().map(|t| t.map(|t| t.credit_code.as_str())).collect::<Vec<_>>(),
            &terminals().map(|t| t.map(|t| t.settlement_account.as_str())).collect::<Vec<_>>(),
            &terminals().map(|t| t.map(|t| t.location.as_str())).collect::<Vec<_>>(),
            &orders().map(|o| o.top_up_customer.as_deref()).collect::<Vec<_>>(),
        ];
        let held: super::Params<'_> = &[params[1], params[5], params[19]];
        let created = self.under("create orders", (HOLD, held), (&sql, params)).await?;
        let new: HashMap<_, _> = orders().map(|new| (new.order_id, new)).collect();
        let read = |row: &Row| -> Result<_, StoreError> {
            let id: Uuid = row.try_get("order_id").context(ReadSnafu)?;
            Ok((id, row.try_get("settlement_date").context(ReadSnafu)?, terms::in_force(row)?))
        };
        let read: Result<Vec<_>, _> = created.iter().map(read).collect();
        let made = |(id, date, terms)| Some((id, (new.get(&id)?.as_created(date), terms)));
        Ok(read?.into_iter().filter_map(made).collect())
    }
}
