//! Terminals, and the elements that bind each to its merchant.

use jiff::Timestamp;
use snafu::ResultExt;
use tokio_postgres::error::SqlState;

use super::standing::{CHANGE, Kind};
use super::{ReadSnafu, StateSnafu, Store, StoreError, optional};
use crate::state::registry::RegistryState;

#[derive(Clone, Debug)]
pub struct Terminal {
    pub terminal_id: String,
    pub merchant_id: String,
    pub serial_number: String,
    pub acquirer_code: String,
    pub location: String,
    pub status: RegistryState,
    pub created_at: Timestamp,
}

/// A terminal as it is registered.
#[derive(Clone, Debug)]
pub struct NewTerminal {
    pub terminal_id: String,
    pub merchant_id: String,
    pub serial_number: String,
    pub acquirer_code: String,
    pub location: String,
}

/// What came of registering a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    Done,
    /// The merchant is not registered, or lacks its own two elements.
    MerchantLacks,
    /// It is closed, or another merchant's.
    Taken,
    /// Another terminal that is not closed has this serial number.
    SerialTaken,
}

impl Store {
    /// Registers a terminal, or binds it anew; it stays its merchant's.
    pub async fn put_terminal(&self, new: &NewTerminal, subject: &str) -> Result<Registered, StoreError> {
        let sql = "INSERT INTO gateway.terminals AS t (terminal_id, merchant_id, serial_number, acquirer_code, location)
             SELECT $1, m.merchant_id, $3, $4, $5 FROM gateway.merchants m
             WHERE m.merchant_id = $2 AND m.unified_social_credit_code IS NOT NULL AND m.settlement_account IS NOT NULL
             ON CONFLICT (terminal_id) DO UPDATE SET serial_number = excluded.serial_number,
                acquirer_code = excluded.acquirer_code, location = excluded.location
             WHERE t.merchant_id = excluded.merchant_id AND t.status <> 'Closed' RETURNING t.terminal_id";
        let lock: super::Params<'_> = &[&subject, &Kind::Terminal.as_str(), &new.terminal_id];
        let params: super::Params<'_> =
            &[&new.terminal_id, &new.merchant_id, &new.serial_number, &new.acquirer_code, &new.location];
        match self.under("store a terminal", (CHANGE, lock), (sql, params)).await {
            Ok(stored) if !stored.is_empty() => Ok(Registered::Done),
            Ok(_) if self.terminal(&new.terminal_id).await?.is_some() => Ok(Registered::Taken),
            Ok(_) => Ok(Registered::MerchantLacks),
            Err(StoreError::Query { source, .. }) if source.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                Ok(Registered::SerialTaken)
            }
            Err(error) => Err(error),
        }
    }

    pub async fn terminal(&self, id: &str) -> Result<Option<Terminal>, StoreError> {
        let sql = "SELECT merchant_id, serial_number, acquirer_code, location, status, created_at
             FROM gateway.terminals WHERE terminal_id = $1";
        let row = optional(&self.client().await?, "read a terminal", sql, &[&id]).await?;
        let Some(row) = row else { return Ok(None) };
        let status: String = row.try_get(4).context(ReadSnafu)?;
        Ok(Some(Terminal {
            terminal_id: id.to_owned(),
            merchant_id: row.try_get(0).context(ReadSnafu)?,
            serial_number: row.try_get(1).context(ReadSnafu)?,
            acquirer_code: row.try_get(2).context(ReadSnafu)?,
            location: row.try_get(3).context(ReadSnafu)?,
            status: RegistryState::parse(&status).context(StateSnafu)?,
            created_at: row.try_get(5).context(ReadSnafu)?,
        }))
    }
}
