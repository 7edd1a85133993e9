//! A terminal, a merchant or an app that is closed takes part in nothing more, however much is
//! under way: no request that begins after the answer gets an order, and none is committed
//! after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use payplane_client::sign::Signer;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{DATE, Stack};
use crate::terminals::{ELEMENTS, terminal_of, two_terminals};

const WORKERS: u64 = 24;
/// So many orders come before a closing, and so many refusals after it.
const ENOUGH: u64 = 60;
const SOON: Duration = Duration::from_secs(60);

/// What is paid, and what of it is closed.
struct Lane {
    app: &'static str,
    merchant: &'static str,
    terminal: Option<&'static str>,
    /// The path of what is closed, and the code that the app is told then.
    closes: Option<(&'static str, &'static str)>,
}

const LANES: [Lane; 4] = [
    Lane {
        app: "app1",
        merchant: "M1",
        terminal: Some("T1"),
        closes: Some(("terminals/T1", "TerminalNotActive")),
    },
    Lane { app: "app1", merchant: "M2", terminal: None, closes: Some(("merchants/M2", "MerchantNotActive")) },
    Lane { app: "app2", merchant: "M1", terminal: None, closes: Some(("apps/app2", "AppNotActive")) },
    Lane { app: "app1", merchant: "M1", terminal: Some("T2"), closes: None },
];

#[derive(Default)]
struct Seen {
    /// The closing was begun; it was answered.
    begun: AtomicBool,
    answered: AtomicBool,
    orders: AtomicU64,
    refused: AtomicU64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_closed_at_full_load_takes_no_order_more() -> Result<()> {
    let stack = Stack::start().await?;
    two_terminals(&stack).await?;
    stack.register_merchant("M2", &json!({"displayName": "Shop"})).await?;
    let bound = stack.admin("admin-client", "PUT", "/admin/v1/apps/app1/merchants/M2", &json!({})).await?;
    ensure!(bound.0 == 200, "{bound:?}");
    witness(&stack).await?;

    let seen: Arc<[Seen; 4]> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = vec![];
    for worker in 0..WORKERS {
        let signers = ["app1", "app2"].map(|app| Signer::load(app, "k1", &stack.key(app)));
        let [first, second] = signers;
        let work = Worker {
            number: worker,
            urls: [stack.url(0), stack.url(1)],
            client: stack.https(None)?,
            signers: [first?, second?],
            seen: seen.clone(),
        };
        workers.push(tokio::spawn(work.run(stop.clone())));
    }
    let mut counts = vec![];
    for (lane, seen) in LANES.iter().zip(seen.iter()) {
        reaches(&seen.orders, ENOUGH, &workers).await?;
        let Some((path, _)) = lane.closes else { continue };
        seen.begun.store(true, Ordering::SeqCst);
        let path = format!("/admin/v1/{path}/close");
        let closed = stack.admin("admin-client", "POST", &path, &json!({})).await?;
        seen.answered.store(true, Ordering::SeqCst);
        ensure!(closed.0 == 200 && closed.1["status"] == "Closed", "{closed:?}");
        counts.push((lane, orders(&stack, lane).await?));
    }
    for (lane, seen) in LANES.iter().zip(seen.iter()) {
        if lane.closes.is_some() {
            reaches(&seen.refused, ENOUGH, &workers).await?;
        }
    }
    stop.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await??;
    }
    for (lane, count) in counts {
        assert_eq!(orders(&stack, lane).await?, count, "an order of {} came after the answer", lane.app);
    }
    // The database's own numbers: no order's transaction wrote after the closing's did.
    let late = "SELECT count(*) FROM gateway.witness w JOIN gateway.registry_audit a
         ON a.object_id IN (w.app_id, w.merchant_id, w.terminal_id) AND a.after ->> 'status' = 'Closed'
         WHERE w.transaction > a.xmin::text::bigint";
    assert_eq!(stack.count(late).await?, 0, "orders were written after a closing");
    stack.check_agreement().await
}

/// Waits until so many were seen; a worker that failed says why when it is asked.
async fn reaches(seen: &AtomicU64, enough: u64, workers: &[JoinHandle<Result<()>>]) -> Result<()> {
    let began = Instant::now();
    while seen.load(Ordering::SeqCst) < enough && !workers.iter().any(JoinHandle::is_finished) {
        ensure!(began.elapsed() < SOON, "only {seen:?} of {enough}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Notes the number of the transaction that creates each order: the order's own row is
/// written again later.
async fn witness(stack: &Stack) -> Result<()> {
    let sql = "CREATE TABLE gateway.witness (app_id text, merchant_id text, terminal_id text, transaction bigint);
        CREATE FUNCTION gateway.witnessed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
            INSERT INTO gateway.witness VALUES (NEW.app_id, NEW.merchant_id, NEW.terminal_id,
                pg_current_xact_id()::text::bigint);
            RETURN NULL;
        END $$;
        CREATE TRIGGER witnessed AFTER INSERT ON gateway.orders FOR EACH ROW EXECUTE FUNCTION gateway.witnessed()";
    Ok(stack.postgres.connect("postgres").await?.batch_execute(sql).await?)
}

async fn orders(stack: &Stack, lane: &Lane) -> Result<i64> {
    let (app, merchant) = (lane.app, lane.merchant);
    let terminal = lane.terminal.map_or("terminal_id IS NULL".to_owned(), |t| format!("terminal_id = '{t}'"));
    let sql = format!(
        "SELECT count(*) FROM gateway.witness
         WHERE app_id = '{app}' AND merchant_id = '{merchant}' AND {terminal}"
    );
    stack.count(&sql).await
}

/// One connection to each gateway that pays without a pause, on all lanes in turn.
struct Worker {
    number: u64,
    urls: [String; 2],
    client: Client,
    signers: [Signer; 2],
    seen: Arc<[Seen; 4]>,
}

impl Worker {
    async fn run(self, stop: Arc<AtomicBool>) -> Result<()> {
        let mut turn = 0_u64;
        while !stop.load(Ordering::SeqCst) {
            turn += 1;
            let place = usize::try_from((self.number + turn) % 4)?;
            let (lane, seen) = (&LANES[place], &self.seen[place]);
            let answered = seen.answered.load(Ordering::SeqCst);
            let (status, answer) = self.pay(lane, turn).await?;
            let begun = seen.begun.load(Ordering::SeqCst);
            match (status, lane.closes) {
                (201, _) => {
                    ensure!(!answered, "an order after the answer: {answer}");
                    seen.orders.fetch_add(1, Ordering::SeqCst);
                }
                (status, Some((_, code))) if begun && status < 500 && answer["code"] == code => {
                    seen.refused.fetch_add(1, Ordering::SeqCst);
                }
                // Orders of other lanes may wait for the same lock, not so long.
                _ => anyhow::bail!("{status} {answer}"),
            }
        }
        Ok(())
    }

    async fn pay(&self, lane: &Lane, turn: u64) -> Result<(u16, Value)> {
        let mut body = json!({"orderDate": DATE, "orderNumber": format!("w{}-{turn}", self.number),
            "merchantId": lane.merchant, "method": "card", "amountMinor": 1_000, "currency": "CNY"});
        if let Some(terminal) = lane.terminal {
            body["terminal"] = terminal_of(terminal, &ELEMENTS);
        }
        let body = serde_json::to_vec(&body)?;
        let signer = &self.signers[usize::from(lane.app == "app2")];
        let url = format!("{}/v1/payments", self.urls[usize::try_from(turn % 2)?]).parse()?;
        let headers = signer.sign("POST", &url, &body).context("signing")?;
        let request = self.client.post(url).body(body);
        let request = request.header("content-digest", headers.content_digest);
        let request = request.header("signature-input", headers.signature_input);
        let answer = request.header("signature", headers.signature).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or_default()))
    }
}
