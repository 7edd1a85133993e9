//! The whole service: gRPC over mutual TLS, rights by certificate, drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use payplane_api::ledger::v1::ledger_client::LedgerClient;
use payplane_api::ledger::v1::*;
use payplane_common::shutdown::Shutdown;
use payplane_common::tls::{self, Files};
use payplane_ledger::{Args, LedgerError};
use payplane_testkit::{Pki, Postgres};
use tonic::Code;
use tonic::transport::Channel;

pub(crate) struct Served {
    pub(crate) postgres: Postgres,
    pub(crate) folder: tempfile::TempDir,
    pki: Pki,
    address: SocketAddr,
    health: SocketAddr,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<Result<(), LedgerError>>,
}

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], payplane_testkit::port::free().unwrap()))
}

fn text(path: PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

impl Served {
    pub(crate) async fn start() -> Self {
        let postgres = Postgres::start().await.unwrap();
        postgres.migrate().await.unwrap();
        crate::plants::plant(&postgres.connect("payplane_owner").await.unwrap()).await;
        tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(folder.path()).unwrap();
        let config = serde_json::json!({
            "tenant": "test", "environment": "Test", "currencies": ["CNY", "USD", "JPY"],
            "calendar": {"timezone": "Asia/Shanghai", "cutoff": "23:00"},
            "database": postgres.config("ledger"),
        });
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Pki::seal_key(folder.path()).unwrap();
        let (address, health, shutdown) = (free(), free(), Shutdown::default());
        let args = Args {
            config: folder.path().join("config.json"),
            tls: pki.leaf("ledger", &[]).unwrap(),
            trust: pki.trust(),
            database_tls: text(postgres.identity("ledger").unwrap()),
            database_trust: text(postgres.pki.trust()),
            seal_key: folder.path().join("seal.key"),
            heads_file: None,
            listen: address,
            health,
        };
        let running = tokio::spawn(payplane_ledger::run_until(args, shutdown.clone()));
        let served = Self { postgres, folder, pki, address, health, shutdown, running };
        served.wait_ready().await;
        served
    }

    async fn wait_ready(&self) {
        for _ in 0..200 {
            if self.plain("/readyz").await.starts_with("HTTP/1.1 200") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not ready");
    }

    pub(crate) fn drain(&self) {
        self.shutdown.draining.cancel();
        self.shutdown.closing.cancel();
    }

    async fn plain(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let Ok(mut stream) = tokio::net::TcpStream::connect(self.health).await else { return String::new() };
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    pub(crate) fn client(&self, name: &str) -> LedgerClient<Channel> {
        self.client_of(&self.pki, name)
    }

    fn client_of(&self, pki: &Pki, name: &str) -> LedgerClient<Channel> {
        let identity = (!name.is_empty()).then(|| pki.leaf(name, &[]).unwrap());
        let config = tls::client(Files { identity, trust: Some(self.pki.trust()) }).unwrap();
        payplane_testkit::ledger::local(self.address, config).unwrap()
    }
}

fn account(code: &str, normal_side: Direction, has_floor: bool) -> AccountSpec {
    let metadata = [("owner".to_owned(), "M \"1\"".to_owned())].into();
    let (code, normal_side) = (code.into(), normal_side.into());
    AccountSpec { code, currency: "CNY".into(), normal_side, has_floor, metadata }
}

pub(crate) fn entry(account: &str, direction: Direction, amount_minor: i64) -> Entry {
    let (account, direction) = (account.into(), direction.into());
    Entry { account, direction, amount_minor, currency: "CNY".into() }
}

pub(crate) fn sale(key: &str) -> PostRequest {
    PostRequest {
        identity: Some(Identity { key_date: crate::harness::today().to_string(), key: key.into() }),
        kind: "sale".into(),
        entries: vec![
            entry("channel:c:receivable", Direction::Debit, 100),
            entry("merchant:m:pending", Direction::Credit, 99),
            entry("income:fee", Direction::Credit, 1),
        ],
        references: vec![Reference { r#type: "order".into(), value: "o-1".into() }],
        // 23:30 in Shanghai: past the cut-off of 23:00.
        effective_time: "2024-01-15T15:30:00Z".into(),
        settlement_date: "2024-01-17".into(),
        config_epoch: 1,
        ..PostRequest::default()
    }
}

pub(crate) async fn open(gateway: &mut LedgerClient<Channel>) -> OpenAccountsResponse {
    let accounts = vec![
        account("channel:c:receivable", Direction::Debit, false),
        account("merchant:m:pending", Direction::Credit, true),
        account("income:fee", Direction::Credit, false),
    ];
    gateway.open_accounts(OpenAccountsRequest { accounts }).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_stays_what_it_was_opened_as() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    let same = account("merchant:m:pending", Direction::Credit, true);
    let named = |name: &str, text: &str| AccountSpec {
        metadata: [(name.to_owned(), text.to_owned())].into(),
        ..same.clone()
    };
    for (other, subject) in [
        (AccountSpec { has_floor: false, ..same.clone() }, "merchant:m:pending"),
        (named("owner", "M 2"), "merchant:m:pending"),
        (named("Owner", "M 2"), "accounts[0].metadata"),
        (named("owner", "M\n2"), "accounts[0].metadata"),
    ] {
        let refused = gateway.open_accounts(OpenAccountsRequest { accounts: vec![other] }).await.unwrap();
        assert_eq!(refused.into_inner().refusal.unwrap().subject, subject);
    }
    // Without metadata it may have what it has: the gateway asks like that before each sale.
    let plain = AccountSpec { metadata: Default::default(), ..same.clone() };
    let most = |n: usize| (format!("n-{n:030}"), "\\".repeat(128));
    let large =
        AccountSpec { code: "wallet:w".into(), metadata: (0..16).map(most).collect(), ..same.clone() };
    let opened = gateway.open_accounts(OpenAccountsRequest { accounts: vec![plain, large.clone()] }).await;
    assert_eq!(opened.unwrap().into_inner().opened, 1);
    let read = GetBalancesRequest { accounts: vec![large.code], ..Default::default() };
    let read = gateway.get_balances(read).await.unwrap().into_inner();
    assert_eq!(read.balances[0].metadata, large.metadata);
    let asked = GetBalancesRequest { accounts: vec![same.code.clone()], ..Default::default() };
    let read = gateway.get_balances(asked).await.unwrap().into_inner();
    assert_eq!(read.balances[0].metadata, same.metadata);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn books_a_sale_and_reads_it_back() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    assert_eq!((open(&mut gateway).await.opened, open(&mut gateway).await.opened), (3, 0));
    let request = sale("sale:1");
    let booked = gateway.post(request.clone()).await.unwrap().into_inner();
    assert_eq!(booked.outcome(), Outcome::Created);
    let replayed = gateway.post(request).await.unwrap().into_inner();
    assert_eq!((replayed.outcome(), &replayed.transaction_id), (Outcome::Replayed, &booked.transaction_id));
    // Each answer lies before the place that it names.
    let places = [&booked, &replayed].map(|a| (a.books_epoch, a.timeline, a.wal_position));
    assert!(places[0].0 == 1 && places[0].1 == 1 && places[0] < places[1], "{places:?}");
    let admin = served.postgres.connect("payplane_owner").await.unwrap();
    let end = admin.query_one("SELECT (pg_current_wal_lsn() - '0/0')::bigint", &[]).await.unwrap();
    assert!(places[1].2 <= end.get::<_, i64>(0).unsigned_abs(), "{places:?} {end:?}");
    let identity = sale("sale:1").identity;
    let read = gateway.get_transaction(GetTransactionRequest { identity }).await.unwrap().into_inner();
    assert!(read.found && read.transaction_id == booked.transaction_id && read.entries == sale("").entries);
    assert_eq!(read.settlement_date, "2024-01-17");

    assert_eq!(replayed.accounting_date, "2024-01-16", "from the cut-off on it is the next day's");
    let early = PostRequest { effective_time: "2024-01-15T14:59:59Z".into(), ..sale("sale:early") };
    assert_eq!(gateway.post(early).await.unwrap().into_inner().accounting_date, "2024-01-15");

    let mut bad = sale("sale:2");
    bad.entries[1].amount_minor = 98;
    let bad = gateway.post(bad).await.unwrap().into_inner().refusal.unwrap();
    assert_eq!((bad.reason(), bad.subject.as_str()), (RefusalReason::Unbalanced, "entries"));

    let sums = gateway.get_trial_balance(GetTrialBalanceRequest::default()).await.unwrap().into_inner();
    assert!(sums.balanced && sums.lines.len() == 3, "{sums:?}");
    let metrics = served.plain("/metrics").await;
    for line in [
        "ledger_posts_total{outcome=\"created\"} 2",
        "reason=\"UNBALANCED\"",
        "ledger_config_info{hash=",
        "ledger_queue_seconds_count 3",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rights_are_the_certificates_names() {
    let served = Served::start().await;
    let mut operator = served.client("operator");
    let status = operator.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert!(
        status.primary_writable && status.timeline == 1 && status.schema_version == newest_schema(),
        "{status:?}"
    );
    assert!(!status.synchronous_required && status.synchronous_standbys == 0);
    assert_eq!(status.books_id, served.postgres.migrate().await.unwrap());
    let raised = operator.raise_config_epoch(RaiseConfigEpochRequest { config_epoch: 7 }).await.unwrap();
    assert_eq!(raised.into_inner().config_epoch_min, 7);
    assert_eq!(operator.post(sale("x")).await.unwrap_err().code(), Code::PermissionDenied);
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    let stale = gateway.post(sale("sale:1")).await.unwrap().into_inner();
    assert_eq!((stale.refusal.unwrap().reason(), stale.config_epoch_min), (RefusalReason::StaleConfig, 7));
    let mut stranger = served.client("admin-client");
    assert_eq!(stranger.get_status(GetStatusRequest {}).await.unwrap_err().code(), Code::PermissionDenied);
    let mut nobody = served.client("");
    assert!(nobody.get_status(GetStatusRequest {}).await.is_err(), "no certificate, no connection");
    let foreign = Pki::create(&served.folder.path().join("foreign")).unwrap();
    let mut foreigner = served.client_of(&foreign, "gateway");
    assert!(foreigner.get_status(GetStatusRequest {}).await.is_err(), "another CA's gateway was believed");
}

fn newest_schema() -> u32 {
    let name = payplane_migrate::migrations::FILES.last().unwrap().0;
    name[1..name.find("__").unwrap()].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_answers_each_by_its_number_and_ends_when_the_server_drains() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    let (requests, outbound) = tokio::sync::mpsc::channel(1_000);
    let outbound = tokio_stream::wrappers::ReceiverStream::new(outbound);
    let mut answers = gateway.post_stream(outbound).await.unwrap().into_inner();
    // Each is sent twice, and one cannot be read.
    for sequence in 0..600_u64 {
        let post = (sequence < 599).then(|| sale(&format!("sale:{}", sequence / 2)));
        requests.send(PostStreamRequest { sequence, post, timeout_ms: 0 }).await.unwrap();
    }
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..600 {
        let answer = answers.message().await.unwrap().unwrap();
        let Some(post_stream_response::Answer::Post(post)) = answer.answer else { panic!("{answer:?}") };
        assert!(seen.insert(answer.sequence, post).is_none(), "answered twice");
    }
    for pair in 0..299_u64 {
        let (a, b) = (&seen[&(2 * pair)], &seen[&(2 * pair + 1)]);
        assert_eq!(a.transaction_id, b.transaction_id);
        let mut outcomes = [a.outcome(), b.outcome()];
        outcomes.sort();
        assert_eq!(outcomes, [Outcome::Created, Outcome::Replayed]);
    }
    assert_eq!(seen[&599].refusal.as_ref().unwrap().reason(), RefusalReason::Invalid);
    served.drain();
    assert!(matches!(answers.message().await, Ok(None)), "the stream ends after the last answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_caller_that_goes_away_does_not_cancel_and_drain_answers() {
    let mut served = Served::start().await;
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    // Another session holds the fence: the posting waits in the database.
    let blocker = served.postgres.connect("payplane_owner").await.unwrap();
    blocker.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7813575001)").await.unwrap();
    let mut hasty = tonic::Request::new(sale("sale:gone"));
    hasty.set_timeout(Duration::from_millis(300));
    let gone = gateway.post(hasty).await.unwrap_err();
    assert!(matches!(gone.code(), Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded), "{gone:?}");
    let mut waiting = served.client("gateway");
    let last = tokio::spawn(async move { waiting.post(sale("sale:last")).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    served.shutdown.draining.cancel();
    assert!(served.plain("/readyz").await.starts_with("HTTP/1.1 503"));
    served.shutdown.closing.cancel();
    blocker.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(last.await.unwrap().unwrap().into_inner().outcome(), Outcome::Created);
    (&mut served.running).await.unwrap().unwrap();
    let owner = served.postgres.connect("payplane_owner").await.unwrap();
    let count = owner.query_one("SELECT count(*) FROM ledger.transactions", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 2, "the hasty caller's posting ended as it was sent");
}
