//! Limits per day and month: never exceeded, whoever dies, and used to the last payment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::{self, Failed, Processing, Succeeded};
use payplane_client::message::{PayRequest, Payment};
use serde_json::{Value, json};

use crate::harness::{DATE, Stack, payment};

/// What lies in the counters is what succeeded or still may, of each counter.
pub(crate) const MISCOUNTED: &str =
    "SELECT count(*) FROM gateway.limit_counters l WHERE (payments, amount_minor) IS DISTINCT FROM
    (SELECT (count(*), coalesce(sum(amount_minor), 0)::bigint) FROM gateway.attempts a
        JOIN gateway.orders o USING (order_id) WHERE l.counter_id = ANY (a.counted)
        AND a.status IN ('Sending', 'Processing', 'Unknown', 'Succeeded'))";
const COUNTED: &str = "SELECT count(*) FROM gateway.attempts WHERE status IN ('Unknown', 'Succeeded')";
const OPEN: &str = "SELECT count(*) FROM gateway.attempts WHERE status IN ('Sending', 'Processing')";

/// A channel with limits on CNY.
pub(crate) fn limited(stack: &Stack, name: &str, priority: u32, limits: &Value) -> Result<Value> {
    let mut channel = stack.channel(name, priority, 60)?;
    let all = &mut channel["methods"][0]["limits"][0];
    for (member, value) in limits.as_object().into_iter().flatten() {
        all[member] = value.clone();
    }
    Ok(channel)
}

/// Configures channels, and waits until both gateways work by that.
pub(crate) async fn configured(stack: &mut Stack, channels: &[Value]) -> Result<()> {
    let config: Value = serde_json::from_slice(&std::fs::read(stack.configure_channels(channels)?)?)?;
    let client = stack.https(Some("operator"))?;
    for gateway in 0..2 {
        let url = format!("https://localhost:{}/control/v1/status", stack.ports[gateway * 3 + 1]);
        for _ in 0..200 {
            let status: Value = serde_json::from_slice(&client.get(&url).send().await?.bytes().await?)?;
            if status["configEpoch"] == config["epoch"] {
                break;
            }
            ensure!(status["configError"].is_null(), "{status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// A limit of 1,200 payments a day; of 50 some are declined, some stay unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_never_exceeded_though_a_replica_is_killed() -> Result<()> {
    const MAX: usize = 1_200;
    const UNKNOWN: [usize; 6] = [150, 151, 500, 501, 900, 901];
    let mut stack = Stack::start().await?;
    let limits = json!({"perChannel": {"perDay": {"paymentsMax": MAX}}, "perMerchant": {"perMonth": {"amountMinorMax": 9_000_000_000_i64}}});
    let channel = limited(&stack, "sim", 1, &limits)?;
    configured(&mut stack, &[channel]).await?;
    let (app, next) = (Arc::new(stack.app("app1", 64)?), Arc::new(AtomicUsize::new(0)));
    let refused = Arc::new(AtomicUsize::new(0));
    let workers = (0..64).map(|_| {
        let (app, next, refused) = (app.clone(), next.clone(), refused.clone());
        tokio::spawn(async move {
            // More than enough: until enough are refused after the first one was.
            while refused.load(Ordering::SeqCst) < 100 {
                let n = next.fetch_add(1, Ordering::SeqCst);
                let amount = match n {
                    n if n > 2 * MAX => break,
                    n if UNKNOWN.contains(&n) => 19_003 + i64::from(n % 2 == 0),
                    n if n % 50 == 7 => 19_001,
                    _ => 10_000,
                };
                // Who was killed meanwhile does not answer.
                if let Ok(paid) = app.pay(&payment(&format!("n{n}"), amount)).await
                    && paid.failure_code.as_deref() == Some("LimitReached")
                {
                    refused.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    while next.load(Ordering::SeqCst) < MAX / 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stack.gateways[0].restart().await?;
    for worker in workers {
        worker.await?;
    }
    ensure!(refused.load(Ordering::SeqCst) >= 100, "the limit was not reached");
    // As if its lease were over, and not only in 30 s.
    let database = stack.postgres.connect("postgres").await?;
    database
        .execute("UPDATE gateway.orders SET next_check_at = now() WHERE status = 'Processing'", &[])
        .await?;
    for _ in 0..600 {
        if stack.count(OPEN).await? == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(stack.count(OPEN).await? == 0, "attempts left open");
    let counted = stack.count(COUNTED).await?;
    let taken = stack.record().await?.iter().filter(|payment| payment["state"] == "Succeeded").count();
    ensure!(taken <= MAX && counted <= i64::try_from(MAX)?, "network {taken}, counted {counted}");
    ensure!(counted >= i64::try_from(MAX - MAX / 100)?, "only {counted} of {MAX} were used");
    ensure!(stack.count(MISCOUNTED).await? == 0, "the counters do not agree with the attempts");
    Ok(())
}

/// How many of them succeeded; the others reached a limit.
fn succeeded(paid: Vec<Payment>) -> usize {
    let limited = |p: &Payment| p.status == Failed && p.failure_code.as_deref() == Some("LimitReached");
    assert!(paid.iter().all(|paid| paid.status == Succeeded || limited(paid)), "{paid:?}");
    paid.iter().filter(|paid| paid.status == Succeeded).count()
}

/// Pays many times at once.
async fn pay_all(app: &App, what: &str, n: usize, change: impl Fn(&mut PayRequest)) -> Result<Vec<Payment>> {
    let requests = (0..n).map(|n| {
        let mut request = payment(&format!("{what}-{n}"), 10_000);
        change(&mut request);
        request
    });
    let requests: Vec<_> = requests.collect();
    let paid = join_all(requests.iter().map(|request| app.pay(request))).await;
    Ok(paid.into_iter().collect::<Result<_, _>>()?)
}

async fn decision(stack: &Stack, paid: &Payment) -> Result<Value> {
    let path = format!("/admin/v1/payments/{}", paid.order_id);
    let (status, answer) = stack.admin("admin-client", "GET", &path, &json!({})).await?;
    ensure!(status == 200, "{answer}");
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_payers_merchants_days_and_months_are_exact_and_others_take_the_rest() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 20)?;
    let body = json!({"displayName": "Other"});
    stack.register_merchant("M2", &body).await?;
    stack.bind("app1", "M2").await?;
    let limits = json!({
        "perPayer": {"perDay": {"paymentsMax": 7}},
        "perMerchant": {"perDay": {"amountMinorMax": 255_000}, "perMonth": {"paymentsMax": 1_000}},
        "perChannel": {"perDay": {"amountMinorMax": 10_000_000}, "perMonth": {"paymentsMax": 45}},
    });
    let first = limited(&stack, "sim", 1, &limits)?;
    configured(&mut stack, std::slice::from_ref(&first)).await?;
    let by = |payer: &'static str| move |request: &mut PayRequest| request.payer_id = Some(payer.into());
    assert_eq!(succeeded(pay_all(&app, "payer", 20, by("wx-openid-7")).await?), 7);
    assert_eq!(succeeded(pay_all(&app, "another", 1, by("wx-openid-8")).await?), 1);
    let in_clear = "SELECT count(*) FROM gateway.limit_counters WHERE counter LIKE '%openid%'";
    assert_eq!(stack.count(in_clear).await?, 0, "a payer's name lies in the database");
    // 8 by payers; 17 of the merchant's 25 are left, and 5,000 that nothing fits into.
    assert_eq!(succeeded(pay_all(&app, "merchant", 20, |_| ()).await?), 17);
    let other = |request: &mut PayRequest| request.merchant_id = "M2".into();
    assert_eq!(succeeded(pay_all(&app, "other", 22, other).await?), 20, "the month's 45 are used");

    // A new day, the same month: counters are of their own day.
    let database = stack.postgres.connect("postgres").await?;
    let yesterday =
        "UPDATE gateway.limit_counters SET counter = counter || '/old' WHERE counter LIKE '%.perDay/%'";
    ensure!(database.execute(yesterday, &[]).await? > 4);
    assert_eq!(succeeded(pay_all(&app, "next-day", 2, other).await?), 0, "the month is still the same");
    stack.check_agreement().await?;

    // The next channel takes what the first one does not, and says why.
    let second = stack.channel("second", 2, 60)?;
    configured(&mut stack, &[first, second]).await?;
    let paid = app.pay(&payment("elsewhere", 10_000)).await?;
    assert_eq!((paid.status, paid.channel.as_deref()), (Succeeded, Some("second")));
    let seen = decision(&stack, &paid).await?;
    let reached =
        json!([{"channel": "sim", "limit": "perChannel.perMonth.paymentsMax", "max": 45, "used": 45}]);
    assert_eq!(seen["attempts"][0]["decision"]["limitsReached"], reached, "{seen}");
    assert_eq!((&seen["attempts"][1], &seen["payment"]["status"]), (&Value::Null, &json!("Succeeded")));
    assert_eq!(stack.count(MISCOUNTED).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_given_back_and_what_is_unknown_is_not() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 1)?;
    let of = |max: i64| json!({"perChannel": {"perDay": {"amountMinorMax": max}}});
    let channel = limited(&stack, "sim", 1, &of(40_000))?;
    configured(&mut stack, &[channel]).await?;
    let pays = async |number: &str, minor: i64, expected: (PaymentStatus, Option<&str>)| -> Result<Payment> {
        let paid = app.pay(&payment(number, minor)).await?;
        assert_eq!((paid.status, paid.failure_code.as_deref()), expected, "{number}");
        Ok(paid)
    };
    let reached = (Failed, Some("LimitReached"));
    pays("declined-1", 39_001, (Failed, Some("Declined"))).await?;
    pays("declined-2", 39_001, (Failed, Some("Declined"))).await?;
    pays("unknown", 19_003, (Processing, None)).await?;
    let over = pays("over", 20_998, reached).await?;
    let seen = decision(&stack, &over).await?;
    assert_eq!(seen["attempts"], json!([]));
    let limit = json!([{"channel": "sim", "limit": "perChannel.perDay.amountMinorMax", "max": 40_000, "used": 19_003}]);
    assert_eq!(seen["routing"]["limitsReached"], limit, "{seen}");
    pays("fits", 20_997, (Succeeded, None)).await?;
    pays("full", 1, reached).await?;
    assert_eq!(app.pay(&payment("over", 20_998)).await?.failure_code, over.failure_code, "the same again");

    // Two replicas at once, over many counters that are there.
    let channel = limited(&stack, "sim", 1, &json!({"perPayer": {"perDay": {"paymentsMax": 2}}}))?;
    configured(&mut stack, &[channel]).await?;
    let both = [stack.app_of(0, 30)?, stack.app_of(1, 30)?];
    let payer = |request: &mut PayRequest| request.payer_id = Some(request.order_number[2..].to_owned());
    assert_eq!(succeeded(pay_all(&both[0], "0", 30, payer).await?), 30);
    let (one, two) = tokio::join!(pay_all(&both[0], "1", 30, payer), pay_all(&both[1], "2", 30, payer));
    assert_eq!(succeeded(one?) + succeeded(two?), 30, "two payments of each payer");

    // A limit that is lowered, and raised again.
    for (max, number, expected) in
        [(100, "lowered", reached), (50_000, "raised", (Succeeded, None)), (50_000, "rest", reached)]
    {
        let channel = limited(&stack, "sim", 1, &of(max))?;
        configured(&mut stack, &[channel]).await?;
        pays(number, 10_000, expected).await?;
    }
    let (status, _) =
        stack.admin("app", "GET", &format!("/admin/v1/payments/{}", over.order_id), &json!({})).await?;
    assert_eq!(status, 403);
    assert_eq!(app.payment(DATE, "lowered").await?.status, Failed);
    assert_eq!(stack.count(MISCOUNTED).await?, 0);
    stack.check_agreement().await
}
