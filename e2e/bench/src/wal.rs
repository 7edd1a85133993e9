//! What a run wrote to the write-ahead log.

use anyhow::Result;
use tokio_postgres::Client;

use crate::report::{figure, precise};

pub(crate) async fn position(owner: &Client) -> Result<String> {
    owner.batch_execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect").await?;
    Ok(owner.query_one("SELECT pg_current_wal_lsn()::text", &[]).await?.get(0))
}

/// Since that position: bytes for each transfer, and the share of whole pages in them.
pub(crate) async fn figures(owner: &Client, since: &str, book: &str, transfers: u64) -> Result<()> {
    let sql = "SELECT sum(combined_size)::float8, sum(fpi_size)::float8
                 FROM pg_get_wal_stats($1::text::pg_lsn, pg_current_wal_flush_lsn(), false)";
    let row = owner.query_one(sql, &[&since]).await?;
    let (bytes, pages): (f64, f64) = (row.get(0), row.get(1));
    figure(&format!("book_{book}_wal"), bytes / precise(transfers.max(1)), "bytes a transfer");
    figure(&format!("book_{book}_full_pages"), 100.0 * pages / bytes.max(1.0), "% of the log");
    Ok(())
}
