//! What a payment costs in statements: `--statements`, for whoever looks for the reason of
//! a figure. The extension itself takes some per cent.

use anyhow::Result;

use super::rig::Rig;
use crate::report::{precise, say};

const LINES: i64 = 60;

pub(super) async fn reset(rig: &Rig) -> Result<()> {
    if !rig.statements {
        return Ok(());
    }
    let owner = rig.postgres.connect("postgres").await?;
    owner.batch_execute("SELECT pg_stat_statements_reset()").await?;
    Ok(())
}

/// Calls and microseconds for each payment, the dearest first.
pub(super) async fn print(rig: &Rig, payments: u64) -> Result<()> {
    if !rig.statements {
        return Ok(());
    }
    let owner = rig.postgres.connect("postgres").await?;
    let sql = "SELECT CASE WHEN s.toplevel THEN u.rolname::text ELSE '  within' END, calls::float8, total_exec_time, wal_bytes::float8,
                      left(regexp_replace(query, '\\s+', ' ', 'g'), 110)
                 FROM pg_stat_statements s JOIN pg_roles u ON u.oid = s.userid
                ORDER BY total_exec_time DESC LIMIT $1";
    let payments = precise(payments.max(1));
    for row in owner.query(sql, &[&LINES]).await? {
        let [calls, ms, wal] = [1, 2, 3].map(|column| row.get::<_, f64>(column));
        say(&format!(
            "{:8} {:6.2} calls {:8.1} us {:7.0} bytes of log  {}",
            row.get::<_, &str>(0),
            calls / payments,
            ms * 1e3 / payments,
            wal / payments,
            row.get::<_, &str>(4)
        ));
    }
    Ok(())
}
