//! Whoever has the database can change anything in it, and cannot change what was
//! published about it: each change is named by `verify`, and by a verifier that
//! shares no code with it.

use std::path::PathBuf;
use std::process::Command;

use payplane_common::database;
use payplane_ledger::books::Books;
use payplane_ledger::metrics::Metrics;
use payplane_ledger::request::Posting;
use payplane_ledger::seal::{Outside, Sealer};
use payplane_ledger::verify;
use payplane_testkit::{Pki, Postgres};

use crate::changes::CHANGES;
use crate::harness::*;

/// Books with three published heads and one posting beyond, and copies of them.
pub(crate) struct Sealed {
    pub(crate) postgres: Postgres,
    folder: tempfile::TempDir,
}

impl Sealed {
    pub(crate) async fn create() -> Self {
        let Ledger { postgres, .. } = Ledger::start().await;
        let folder = tempfile::tempdir().unwrap();
        Pki::seal_key(folder.path()).unwrap();
        let sealed = Self { postgres, folder };
        let first = jiff::civil::date(2024, 1, 14);
        sealed.books("payplane").close_day(first, "closing", soon()).await.unwrap();
        let (books, account) = (sealed.books("payplane"), merchant(7));
        let frozen = books.set_account_state(&account, "CNY", "frozen", "gateway", soon());
        assert_eq!(frozen.await.unwrap(), None);
        assert_eq!(books.raise_config_epoch(1, soon()).await.unwrap(), 1);
        sealed.book("payplane", &["sale:1", "sale:2", "sale:3"], "heads").await;
        sealed.book("payplane", &["sale:4", "sale:5"], "heads").await;
        sealed.copy("older").await;
        sealed.copy("fork").await;
        sealed.book("payplane", &["sale:6", "sale:7"], "heads").await;
        sealed.book("fork", &["other:1", "other:2", "other:3"], "fork").await;
        let books = sealed.books("payplane");
        assert_eq!(word(&post(&books, sale("sale:unsealed", 0, 90)).await.unwrap()), "booked");
        sealed
    }

    pub(crate) fn books(&self, name: &str) -> Books {
        let (tls, mut config) = (self.postgres.tls("ledger").unwrap(), self.postgres.config("ledger"));
        name.clone_into(&mut config.database);
        Books::new(database::pool(&config, &tls, "test", 4).unwrap())
    }

    /// Books sales one after the other, a refund, a hold that is captured in part, and a
    /// refusal, seals all and publishes the head.
    pub(crate) async fn book(&self, name: &str, keys: &[&str], heads: &str) {
        let books = self.books(name);
        for key in keys {
            let mut sale = sale(key, 0, 100);
            sale.references = vec![("attempt".into(), format!("a {key}")), ("order".into(), "\"o\\1".into())];
            sale.settlement_date = Some(today());
            sale.due = Some((today(), 3));
            sale.demanded_date = Some(jiff::civil::date(2024, 1, 16));
            assert_eq!(word(&post(&books, sale).await.unwrap()), "booked");
        }
        let (link, more) = (format!("refund:{}", keys[0]), format!("more:{}", keys[0]));
        assert_eq!(word(&post(&books, refund(&link, keys[0], 0, 40)).await.unwrap()), "booked");
        let told = books.set_settlement_dates("gateway", &[(key(&link), today())], soon()).await.unwrap();
        assert_eq!(told, [None]);
        let (held, part) = (format!("hold:{}", keys[0]), format!("part:{}", keys[0]));
        let expires_at = Some("2024-02-01T00:00:00.5Z".parse().unwrap());
        let set_aside = Posting { expires_at, ..hold(&held, 0, 20) };
        assert_eq!(word(&post(&books, set_aside).await.unwrap()), "booked");
        assert_eq!(word(&post(&books, capture(&part, &held, 0, 5)).await.unwrap()), "booked");
        let gone = format!("gone:{}", keys[0]);
        assert_eq!(word(&post(&books, hold(&gone, 0, 10)).await.unwrap()), "booked");
        assert_eq!(
            word(&post(&books, end("void", &format!("void:{}", keys[0]), &gone)).await.unwrap()),
            "booked"
        );
        let back = reversal(&format!("back:{}", keys[0]), &refund(&link, keys[0], 0, 40));
        assert_eq!(word(&post(&books, back).await.unwrap()), "booked");
        assert_eq!(word(&post(&books, payout(&more, 1, 1_000)).await.unwrap()), "INSUFFICIENT");
        self.publish(&books, name, heads).await;
        assert!(!books.roll(10_000, 0, 1, 0).await.unwrap(), "all at once");
        assert!(books.roll_all().await.unwrap());
    }

    /// Seals all that is committed, and publishes the head; it says what these books answered.
    async fn publish(&self, books: &Books, name: &str, heads: &str) {
        let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
        let outside = Outside::new(self.folder.path().join("seal.key"), Some(self.heads(heads)));
        let mut sealer = Sealer::new(books.clone(), metrics, outside);
        let owner = self.postgres.connect_to("payplane_owner", name).await.unwrap();
        let open = "SELECT (SELECT count(*) FROM ledger.batches) > (SELECT count(*) FROM ledger.chain)";
        while owner.query_one(open, &[]).await.unwrap().get(0) {
            sealer.round().await.unwrap();
        }
    }

    /// Both verifiers prove the books by the heads that were published before, and by
    /// one of all that is committed now.
    pub(crate) async fn prove(&self) {
        let none: (Vec<String>, Vec<String>) = (vec![], vec![]);
        assert_eq!(self.verdicts("payplane", "heads").await, none, "by the heads from before");
        self.publish(&self.books("payplane"), "payplane", "heads").await;
        assert_eq!(self.verdicts("payplane", "heads").await, none);
    }

    fn heads(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn copy(&self, name: &str) {
        let admin = self.postgres.connect_to("postgres", "postgres").await.unwrap();
        let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'payplane'";
        admin.execute(end, &[]).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE payplane")).await.unwrap();
    }

    /// What both verifiers say of a database.
    pub(crate) async fn verdicts(&self, database: &str, heads: &str) -> (Vec<String>, Vec<String>) {
        let connect = || self.postgres.connect_to("ledger", database);
        let (one, two) = (connect().await.unwrap(), connect().await.unwrap());
        let text = std::fs::read_to_string(self.heads(heads)).unwrap();
        let key = self.folder.path().join("seal.pub");
        let (said, _) = verify::heads::read(&text, &verify::heads::keys(&key).unwrap()).unwrap();
        let walked = verify::prove(&one, &two, &said).await.unwrap();
        let ours = walked.findings.iter().map(|f| format!("{}: {}", f.what, f.subject)).collect();
        let conninfo = self.postgres.conninfo("ledger", database);
        let script = "tests/ledger/verify.py";
        let heads = self.heads(heads);
        let arguments = [script, &conninfo, heads.to_str().unwrap(), key.to_str().unwrap()];
        let run = Command::new("python3").args(arguments).output().unwrap();
        let error = String::from_utf8(run.stderr).unwrap();
        assert_eq!(error, "", "{database}");
        let theirs: Vec<_> = String::from_utf8(run.stdout).unwrap().lines().map(str::to_owned).collect();
        let theirs: Vec<_> = theirs.into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(run.status.success(), theirs.is_empty(), "{theirs:?}");
        (ours, theirs)
    }
}

/// What the changes are about, as temporary tables.
const SUBJECTS: &str = "
    SET session_replication_role = replica;
    CREATE TEMP TABLE victim AS SELECT t.transaction_id AS id, p.position FROM ledger.transactions t
      JOIN ledger.positions p USING (batch_number) WHERE t.key = 'sale:4';
    CREATE TEMP TABLE held AS SELECT t.transaction_id AS id FROM ledger.transactions t WHERE t.key = 'hold:sale:4';
    CREATE TEMP TABLE back AS SELECT t.transaction_id AS id FROM ledger.transactions t WHERE t.key = 'back:sale:4';
    CREATE TEMP TABLE frozen AS SELECT p.position FROM ledger.positions p JOIN ledger.account_states s USING (batch_number);
    CREATE TEMP TABLE config AS SELECT p.position FROM ledger.positions p JOIN ledger.config_epochs e USING (batch_number);
    CREATE TEMP TABLE ended AS SELECT t.transaction_id AS id FROM ledger.transactions t WHERE t.key = 'void:sale:4';
    CREATE TEMP TABLE point AS SELECT max(c.position) AS position FROM ledger.checkpoints c WHERE c.account_id = 1;
    CREATE TEMP TABLE third AS SELECT max(p.position) AS position FROM ledger.positions p
      JOIN ledger.transactions t USING (batch_number) WHERE t.key = 'sale:6';
    CREATE TEMP TABLE gone AS SELECT b.batch_number AS n FROM ledger.batches b LEFT JOIN ledger.positions p USING (batch_number)
     WHERE coalesce(p.position, 1000000) > (SELECT position FROM third);
    CREATE TEMP TABLE told AS SELECT p.position FROM ledger.settlements s JOIN ledger.transactions t USING (transaction_id)
      JOIN ledger.positions p ON p.batch_number = s.batch_number WHERE t.key = 'refund:sale:4';
    CREATE TEMP TABLE day AS SELECT p.position FROM ledger.positions p JOIN ledger.day_closings d USING (batch_number);
    CREATE TEMP TABLE unsealed AS SELECT transaction_id AS id, batch_number AS batch FROM ledger.transactions
     WHERE key = 'sale:unsealed'";
const NAMES: &str = "
    SELECT replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace($1, '{told}', (SELECT position FROM told)::text), '{day}', (SELECT position FROM day)::text), '{back}', (SELECT id FROM back)::text), '{held}', (SELECT id FROM held)::text),
           '{frozen}', (SELECT position FROM frozen)::text), '{config}', (SELECT position FROM config)::text), '{ended}', (SELECT id FROM ended)::text), '{checkpoint}', (SELECT position FROM point)::text), '{victim}', v.id::text), '{position}', v.position::text),
           '{unsealed}', u.id::text), '{batch}', u.batch::text), '{lost}', (t.position + 1)::text),
           '{end}', (SELECT max(position) FROM ledger.positions)::text) FROM victim v, unsealed u, third t";

#[tokio::test]
pub(crate) async fn whatever_is_changed_is_named_by_two_verifiers() {
    let sealed = Sealed::create().await;
    let none: (Vec<String>, Vec<String>) = (vec![], vec![]);
    assert_eq!(sealed.verdicts("payplane", "heads").await, none);
    for (n, (what, sql, ours, theirs)) in CHANGES.iter().enumerate() {
        let name = format!("changed{n}");
        sealed.copy(&name).await;
        let thief = sealed.postgres.connect_to("postgres", &name).await.unwrap();
        thief.batch_execute(SUBJECTS).await.unwrap();
        let mut expected = vec![];
        for text in [ours, theirs] {
            expected.push(thief.query_one(NAMES, &[text]).await.unwrap().get::<_, String>(0));
        }
        thief.batch_execute(sql).await.unwrap();
        let (we, they) = sealed.verdicts(&name, "heads").await;
        println!("{what}: {we:?} {they:?}");
        assert!(we.contains(&expected[0]), "{what}: {we:?} lacks {}", expected[0]);
        // What the books add up to is the ledger's own affair.
        assert!(
            expected[1].is_empty() || they.contains(&expected[1]),
            "{what}: {they:?} lacks {}",
            expected[1]
        );
    }
}

#[tokio::test]
pub(crate) async fn a_chain_that_is_whole_in_itself_is_not_the_one_that_was_published() {
    let sealed = Sealed::create().await;
    let heads: Vec<serde_json::Value> = std::fs::read_to_string(sealed.heads("heads"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let positions: Vec<i64> = heads.iter().map(|head| head["position"].as_i64().unwrap()).collect();
    let last = *positions.last().unwrap();
    let second = *positions.iter().rfind(|&&position| position < last).unwrap();

    // Recomputed by somebody who knows how.
    sealed.copy("recomputed").await;
    let thief = sealed.postgres.connect_to("postgres", "recomputed").await.unwrap();
    thief.batch_execute(SUBJECTS).await.unwrap();
    let change = "UPDATE ledger.transactions t SET config_epoch = config_epoch + 1 WHERE t.key = 'sale:7'";
    thief.batch_execute(change).await.unwrap();
    recompute(&thief).await;
    let (we, they) = sealed.verdicts("recomputed", "heads").await;
    assert_eq!(we, [format!("a published head differs: at positions {} to {last}", second + 1)]);
    assert_eq!(they, [format!("the head at position {last} differs")]);

    // The same under a later epoch, as if older books had been brought back, and then on in the former one.
    let hide = format!(
        "UPDATE ledger.positions SET epoch = 2 WHERE position > {second};
         INSERT INTO ledger.positions (position, epoch, batch_number) SELECT {last} + 1, 1, u.batch_number FROM ledger.unsealed_batches u;
         DELETE FROM ledger.unsealed_batches; INSERT INTO ledger.chain SELECT {last} + 1, sha256('')"
    );
    thief.batch_execute(&hide).await.unwrap();
    recompute(&thief).await;
    let (we, they) = sealed.verdicts("recomputed", "heads").await;
    let lost = format!("positions {} to {last} of epoch 1", second + 1);
    assert!(we.contains(&format!("published and not in these books: {lost}")), "{we:?}");
    assert!(we.iter().any(|finding| finding.starts_with("the epoch of the books never falls")), "{we:?}");
    assert_eq!(they, [format!("{lost} are lost")]);

    // An older copy, and one that went another way.
    let (we, they) = sealed.verdicts("older", "heads").await;
    assert_eq!(
        we,
        [format!("published and not in these books: positions {} to {last} of epoch 1", second + 1)]
    );
    assert_eq!(they, [format!("positions {} to {last} of epoch 1 are lost", second + 1)]);
    let (we, they) = sealed.verdicts("fork", "heads").await;
    assert!(we.iter().any(|f| f.starts_with("a published head differs: ")), "{we:?}");
    assert!(they.iter().any(|f| f.starts_with("the head at ")), "{they:?}");
    let both = ["heads", "fork"].map(|name| std::fs::read_to_string(sealed.heads(name)).unwrap()).concat();
    std::fs::write(sealed.heads("both"), both).unwrap();
    let (we, _) = sealed.verdicts("payplane", "both").await;
    assert!(!we.is_empty(), "heads of a fork are not of these books");
}

/// The whole chain anew, by somebody who knows how.
async fn recompute(thief: &tokio_postgres::Client) {
    let rows = thief.query(verify::CONTENT, &[&1i64, &i64::MAX]).await.unwrap();
    let mut hashes: Vec<Vec<u8>> = vec![];
    for row in rows {
        hashes.push(verify::link(hashes.last().map(Vec::as_slice), row.get(1)));
    }
    let all = "UPDATE ledger.chain c SET hash = h.hash FROM unnest($1::bytea[]) WITH ORDINALITY h (hash, n) WHERE c.position = h.n";
    thief.execute(all, &[&hashes]).await.unwrap();
}

/// A sealer that has seen a head does not build on other books.
#[tokio::test]
pub(crate) async fn a_sealer_stops_where_its_head_is_gone() {
    let sealed = Sealed::create().await;
    let text = std::fs::read_to_string(sealed.heads("heads")).unwrap();
    let keys = verify::heads::keys(&sealed.folder.path().join("seal.pub")).unwrap();
    let forged = text.replace("\"epoch\":1", "\"epoch\":2");
    let refused = verify::heads::read(&forged, &keys).unwrap_err().to_string();
    assert_eq!(refused, "line 1 of the heads: its signature does not hold");
    let none = verify::heads::read(&text, &["00".to_owned()]).unwrap();
    assert_eq!(none, (vec![], text.lines().count()), "signed by nobody whom we believe");
    let (heads, _) = verify::heads::read(&text, &keys).unwrap();
    assert!(heads.iter().all(|head| head.answered.starts_with("1:0/")), "{heads:?}");

    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let outside = Outside::new(sealed.folder.path().join("seal.key"), None);
    let mut sealer = Sealer::new(sealed.books("payplane"), metrics, outside);
    sealer.round().await.unwrap();
    let thief = sealed.postgres.connect("postgres").await.unwrap();
    let cut = "SET session_replication_role = replica;
        DELETE FROM ledger.chain WHERE position = (SELECT max(position) FROM ledger.chain)";
    thief.batch_execute(cut).await.unwrap();
    let error = sealer.round().await.unwrap_err().to_string();
    assert!(error.contains("does not contain the head"), "{error}");
}

/// A copy that was brought back goes on in a later epoch: its heads prove it, and
/// what was published of the former epoch is named as lost, for ever.
#[tokio::test]
pub(crate) async fn restored_books_go_on_in_a_later_epoch() {
    let sealed = Sealed::create().await;
    let text = std::fs::read_to_string(sealed.heads("heads")).unwrap();
    let position = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["position"].as_i64();
    let last = text.lines().filter_map(position).max().unwrap();
    let owner = sealed.postgres.connect_to("payplane_owner", "older").await.unwrap();
    let number = async |sql: &str| owner.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    let kept = number("SELECT max(position) FROM ledger.chain").await;
    for _ in 0..2 {
        assert_eq!(
            number("SELECT ledger.raise_books_epoch(1)::bigint").await,
            2,
            "asking again changes nothing"
        );
    }
    for (sql, why) in [
        ("UPDATE ledger.control SET books_epoch = 1", "never goes down"),
        ("SELECT ledger.raise_books_epoch(0)", "p_above is the highest epoch"),
        ("SELECT ledger.raise_books_epoch(NULL)", "p_above is the highest epoch"),
    ] {
        let refused = owner.execute(sql, &[]).await.unwrap_err();
        let message = refused.as_db_error().unwrap().message();
        assert!(message.contains(why), "{sql}: {message}");
    }
    let answer = post(&sealed.books("older"), sale("again:0", 0, 10)).await.unwrap();
    assert_eq!(answer.place.books_epoch, 2);
    sealed.book("older", &["again:1", "again:2"], "later").await;
    let later = std::fs::read_to_string(sealed.heads("later")).unwrap();
    assert!(number("SELECT max(position) FROM ledger.chain").await > kept && later.contains("\"epoch\":2"));
    let since = "SELECT count(*) FROM ledger.positions WHERE (epoch = 2) <> (position > $1)";
    assert_eq!(owner.query_one(since, &[&kept]).await.unwrap().get::<_, i64>(0), 0);
    let (we, they) = sealed.verdicts("older", "later").await;
    assert!(we.is_empty() && they.is_empty(), "{we:?} {they:?}");
    std::fs::write(sealed.heads("both"), text + &later).unwrap();
    let (we, they) = sealed.verdicts("older", "both").await;
    let lost = format!("positions {} to {last} of epoch 1", kept + 1);
    assert_eq!(we, [format!("published and not in these books: {lost}")]);
    assert_eq!(they, [format!("{lost} are lost")]);
    // The books that were left behind do not pass for those that went on.
    let (we, _) = sealed.verdicts("payplane", "both").await;
    assert!(!we.is_empty());
}

/// The operator keeps the former public keys beside the new one in `seal.pub`.
#[tokio::test]
async fn heads_of_a_former_key_prove_on_beside_those_of_its_successor() {
    let sealed = Sealed::create().await;
    let public = sealed.folder.path().join("seal.pub");
    let former = std::fs::read_to_string(&public).unwrap();
    Pki::seal_key(sealed.folder.path()).unwrap();
    sealed.book("payplane", &["sale:8"], "heads").await;
    let text = std::fs::read_to_string(sealed.heads("heads")).unwrap();
    let read = || verify::heads::read(&text, &verify::heads::keys(&public).unwrap()).unwrap();
    let (heads, others) = read();
    assert!(!heads.is_empty() && others > 0, "the new key alone proves what it signed: {heads:?}, {others}");
    let successor = std::fs::read_to_string(&public).unwrap();
    std::fs::write(&public, former + &successor).unwrap();
    let (heads, others) = read();
    assert_eq!((heads.len(), others), (text.lines().count(), 0));
    let one = sealed.postgres.connect("ledger").await.unwrap();
    let two = sealed.postgres.connect("ledger").await.unwrap();
    let walked = verify::prove(&one, &two, &heads).await.unwrap();
    assert_eq!(walked.findings, vec![]);
    assert_eq!(Some(walked.proven), heads.iter().map(|head| head.position).max());
}

/// Verifying takes minutes of a large book: a standby has them to spare.
#[tokio::test]
async fn a_standby_proves_the_books() {
    let mut sealed = Sealed::create().await;
    sealed.postgres.stand_by().await.unwrap();
    let read = sealed.postgres.connect("ledger").await.unwrap();
    assert!(read.query_one("SELECT pg_is_in_recovery()", &[]).await.unwrap().get::<_, bool>(0));
    let config = sealed.folder.path().join("standby.json");
    let database = sealed.postgres.config("ledger");
    std::fs::write(&config, serde_json::json!({"database": database}).to_string()).unwrap();
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let args = |heads: &str| verify::Args {
        config: config.clone(),
        database_tls: text(sealed.postgres.identity("ledger").unwrap()),
        database_trust: text(sealed.postgres.pki.trust()),
        heads: sealed.heads(heads),
        key: sealed.folder.path().join("seal.pub"),
    };
    verify::run(args("heads")).await.unwrap();
    let refuted = verify::run(args("fork")).await.unwrap_err();
    assert!(matches!(refuted, verify::VerifyError::Refuted), "{refuted}");
}
