//! What PostgreSQL alone could do: the product's own function with its triggers,
//! rows sent by a client over one socket after the other, nothing else running.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use payplane_ledger::request;
use payplane_ledger::writer::{Item, POST, params};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use crate::LedgerArgs;
use crate::mix::Mix;
use crate::report::{figure, say};
use crate::rig::Rig;

const SIZES: [usize; 3] = [64, 256, 1024];
const CONNECTIONS: [usize; 4] = [1, 2, 4, 8];
const EACH: Duration = Duration::from_secs(5);

/// With the triggers.
pub(crate) async fn sql(args: &LedgerArgs) -> Result<f64> {
    let mut rig = Rig::start(args.accounts).await?;
    rig.stop_ledger()?;
    let mut best = 0.0_f64;
    for triggers in [true, false] {
        if !triggers {
            let owner = rig.postgres.connect("postgres").await?;
            for table in ["transactions", "entries", "refusals"] {
                owner.batch_execute(&format!("ALTER TABLE ledger.{table} DISABLE TRIGGER USER")).await?;
            }
        }
        let mut top = (0.0, 0, 0);
        for size in SIZES {
            for connections in CONNECTIONS {
                let rate = rate(&rig, args.accounts, size, connections).await?;
                say(&format!(
                    "sql, triggers {triggers}: {connections} connections, batches of {size}: {rate:.0}/s"
                ));
                if rate > top.0 {
                    top = (rate, size, connections);
                }
            }
        }
        let name = if triggers { "ledger_sql_limit" } else { "ledger_sql_limit_without_triggers" };
        figure(&format!("{name}(batch {}, {} connections)", top.1, top.2), top.0, "1/s");
        if triggers {
            best = top.0;
        } else {
            figure("enforcement_cost", (1.0 - best / top.0) * 100.0, "%");
        }
    }
    Ok(best)
}

async fn rate(rig: &Rig, accounts: usize, size: usize, connections: usize) -> Result<f64> {
    let booked = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut tasks = vec![];
    for _ in 0..connections {
        let client = rig.postgres.connect("ledger").await?;
        let booked = booked.clone();
        tasks.push(tokio::spawn(async move {
            let statement = client.prepare(POST).await?;
            while started.elapsed() < EACH {
                booked.fetch_add(book(&client, &statement, accounts, size).await?, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of seconds' worth")]
    let booked = booked.load(Ordering::Relaxed) as f64;
    Ok(booked / started.elapsed().as_secs_f64())
}

/// Books so many in one call of the prepared [`POST`]; says how many were.
pub(crate) async fn book(client: &Client, post: &Statement, accounts: usize, size: usize) -> Result<u64> {
    let items = items(accounts, size)?;
    let params = params(items.iter());
    let borrowed: Vec<_> = params.iter().map(|p| &**p as &(dyn ToSql + Sync)).collect();
    let rows = client.query(post, &borrowed).await?;
    let booked = rows.iter().filter(|row| row.get::<_, &str>(1) == "booked").count();
    Ok(u64::try_from(booked)?)
}

fn items(accounts: usize, size: usize) -> Result<Vec<Item>> {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let item = |_| {
        let posting = request::check(Mix::Spread.request(accounts, &today, &mut vec![]));
        let posting =
            posting.map_err(|refusal| anyhow::anyhow!("{}: {}", refusal.subject, refusal.message))?;
        Ok(Item::new("gateway".into(), posting, jiff::civil::date(2024, 1, 15), deadline))
    };
    (0..size).map(item).collect()
}
