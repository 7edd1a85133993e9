//! Whoever steals the ledger's database login can ask for postings, and nothing
//! else.

use payplane_ledger::request::Posting;

use crate::harness::*;

/// A call of the posting function by hand, for a posting of two entries in CNY.
pub(crate) fn post_sql(posting: &Posting, caller: &str) -> String {
    let (key, kind, hash) = (&posting.identity.key, &posting.kind, Hex(posting.hash()));
    let [one, two] = &posting.entries[..] else { panic!("two entries are needed") };
    let amount = one.amount_minor;
    format!(
        "SELECT ledger.post(ARRAY[(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
            || '7' || substr(md5('{key}'), 1, 3) || '8' || substr(md5('{key}'), 4, 15))::uuid], '{{{caller}}}',
         ARRAY[(now() AT TIME ZONE 'Asia/Shanghai')::date], '{{{key}}}', ARRAY['\\x{hash}'::bytea], '{{{kind}}}',
         '{{2024-01-15T04:00:00Z}}', '{{2024-01-15}}', '{{NULL}}', '{{NULL}}', '{{NULL}}', '{{NULL}}', '{{1}}', '{{NULL}}', '{{NULL}}', '{{NULL}}',
         '{{1,1}}', '{{1,2}}', '{{{},{}}}', '{{CNY,CNY}}', '{{{},{}}}', '{{{amount},{amount}}}',
         '{{}}', '{{}}', '{{}}')",
        one.account, two.account, one.side, two.side
    )
}

struct Hex(Vec<u8>);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[tokio::test]
pub(crate) async fn the_login_can_post_and_nothing_else() {
    let ledger = Ledger::start().await;
    let booked = ledger.post(sale("sale:1", 0, 100)).await.transaction_id.unwrap();
    let good = post_sql(&sale("sale:2", 0, 5), "gateway");
    let thief = ledger.postgres.connect("ledger").await.unwrap();
    let statements = [
        "INSERT INTO ledger.accounts (code, currency, normal_side) VALUES ('x', 'CNY', 'debit')".to_owned(),
        format!("INSERT INTO ledger.entries VALUES ('{booked}', 1, 1, 1, 'debit', 3)"),
        format!("INSERT INTO ledger.entries_first VALUES ('{booked}', 1, 1, 1, 'debit', 3)"),
        "INSERT INTO ledger.batches (booked) VALUES (0)".into(),
        "UPDATE ledger.balances SET posted_minor = 1000000".into(),
        "UPDATE ledger.caps SET remaining_minor = original_minor".into(),
        "UPDATE ledger.balances SET held_minor = 0".into(),
        "INSERT INTO ledger.raisings VALUES (1, 0, -1)".into(),
        "INSERT INTO ledger.holds VALUES (gen_random_uuid(), 1, 5, NULL, 1)".into(),
        "INSERT INTO ledger.holds_first VALUES (gen_random_uuid(), 1, 5, NULL, 1)".into(),
        "DELETE FROM ledger.holds".into(),
        "INSERT INTO ledger.hold_ends VALUES (gen_random_uuid(), gen_random_uuid(), 1, 5, 1)".into(),
        "DELETE FROM ledger.checkpoints".into(),
        "INSERT INTO ledger.checkpoints VALUES (1, 1, 5, 5, 0, 1, 1, 1)".into(),
        "UPDATE ledger.rollup SET position = 7".into(),
        "SELECT ledger.roll_whole(0, 7)".into(),
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ledger.roll(1, 1, 1, 1)".into(),
        "SELECT ledger.write_holds('{}', '{}', '{}', '{}', '{}', '{}')".into(),
        "UPDATE ledger.control SET config_epoch_min = 0".into(),
        "UPDATE ledger.control SET closed_through = '-infinity'".into(),
        "INSERT INTO ledger.day_closings (day, state, batch_number) VALUES ('2024-01-15', 'closed', 1)"
            .into(),
        "SELECT ledger.close_day('infinity', 'closing')".into(),
        "SELECT ledger.close_day('2024-01-15', 'open')".into(),
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ledger.close_day('2024-01-15', 'closing')".into(),
        "UPDATE ledger.accounts SET state = 'open'".into(),
        r#"SELECT ledger.open_accounts('{x}', '{CNY}', '{debit}', '{f}', ARRAY['{"owner": 1}'::jsonb])"#.into(),
        r#"SELECT ledger.open_accounts('{x}', '{CNY}', '{debit}', '{f}', ARRAY['["owner"]'::jsonb])"#.into(),
        "DELETE FROM ledger.identities".into(),
        "DELETE FROM ledger.entries_first".into(),
        "TRUNCATE ledger.entries".into(),
        "INSERT INTO ledger.departures (what, upto, batch_number) VALUES ('identities', '2100-01-01', 1)".into(),
        "SELECT ledger.make_partition('entries', NULL, '2000-01-01')".into(),
        "SELECT ledger.prepare('2100-01-01')".into(),
        "SELECT ledger.retire_keys('2000-01-01')".into(),
        "SELECT ledger.move_to_archive('2000-01-01')".into(),
        "ALTER TABLE ledger.identities DETACH PARTITION ledger.identities_first".into(),
        "INSERT INTO ledger_archive.holds VALUES (gen_random_uuid(), 1, 5, NULL, 1)".into(),
        "DELETE FROM ledger.all_entries".into(),
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ledger.rotate()".into(),
        "TRUNCATE ledger.transactions_first".into(),
        "COPY ledger.entries FROM STDIN".into(),
        "COPY ledger.entries TO PROGRAM 'cat'".into(),
        "SET ROLE payplane_owner".into(),
        "SET SESSION AUTHORIZATION payplane_owner".into(),
        "SET session_replication_role = replica".into(),
        "ALTER TABLE ledger.entries DISABLE TRIGGER ALL".into(),
        "DROP TRIGGER balances ON ledger.transactions".into(),
        "CREATE TABLE ledger.mine (x int)".into(),
        "CREATE TABLE public.mine (x int)".into(),
        "CREATE TEMP TABLE accounts (x int)".into(),
        "CREATE FUNCTION ledger.now() RETURNS int LANGUAGE sql AS 'SELECT 1'".into(),
        "CREATE OR REPLACE FUNCTION ledger.take_fence(alone boolean) RETURNS void LANGUAGE sql AS 'SELECT'"
            .into(),
        "CREATE SCHEMA mine".into(),
        "SELECT ledger.set_account_state('income:fee', 'CNY', 'lost', 'x')".into(),
        "SELECT ledger.set_account_state('income:fee', 'CNY', 'frozen', 'nobody at all')".into(),
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT ledger.set_account_state('income:fee', 'CNY', 'frozen', 'x')".into(),
        "DELETE FROM ledger.account_states".into(),
        "INSERT INTO ledger.config_epochs VALUES (9, 1)".into(),
        "SELECT ledger.record_batch(1)".into(),
        "SELECT ledger.book(gen_random_uuid(), 'sale', '{}', NULL)".into(),
        "INSERT INTO ledger.chain (position, hash) VALUES (1, sha256('x'))".into(),
        "UPDATE ledger.chain SET hash = sha256('x')".into(),
        "SELECT * FROM ledger.contents(1, 1)".into(),
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ledger.seal(1, 0, '')".into(),
        "INSERT INTO ledger.positions (position, epoch, batch_number) VALUES (1, 1, 1)".into(),
        "UPDATE ledger.positions SET batch_number = 2".into(),
        "DELETE FROM ledger.unsealed_batches".into(),
        "SELECT * FROM gateway.orders".into(),
        "UPDATE payplane.control SET environment = 'Live'".into(),
        "DELETE FROM payplane.schema_history".into(),
        "GRANT payplane_owner TO ledger".into(),
        "LOCK TABLE ledger.entries IN ACCESS EXCLUSIVE MODE".into(),
        "SELECT * FROM ledger.accounts FOR UPDATE".into(),
        format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {good}"),
        format!("BEGIN ISOLATION LEVEL SERIALIZABLE; {good}"),
        format!("BEGIN READ ONLY; {good}"),
        // Forged arguments.
        good.replace("{5,5}", "{5,-5}"),
        good.replace("{5,5}", "{5,4}"),
        good.replace("{5,5}", "{5,NULL}"),
        good.replace("{5,5}", "{9007199254740992,9007199254740992}"),
        good.replace("{5,5}", "{5}"),
        good.replace("'{debit,credit}'", "'{debit,debit}'"),
        good.replace("'{debit,credit}'", "'{debit,both}'"),
        good.replace("'{1,2}'", "'{1,1}'"),
        good.replace("'{1,2}'", "'{1,3}'"),
        good.replace("'{1,1}'", "'{1,2}'"),
        good.replace("'{1,1}'", "'{2,2}'"),
        good.replace("'{gateway}'", "E'{gate\\nway}'"),
        good.replace("'{gateway}'", "'{NULL}'"),
        good.replace("'{gateway}'", "'{gateway,gateway}'"),
        // A hold has one entry, its end none, a capture what it captures; and only holds expire.
        good.replace("'{sale}'", "'{hold}'"),
        good.replace("'{sale}'", "'{void}'"),
        good.replace("'{sale}'", "'{capture}'"),
        good.replace("'{1}', '{NULL}'", "'{1}', '{2024-01-16T00:00:00Z}'"),
        good.replace("'{1}', '{NULL}', '{NULL}'", "'{1}', '{NULL}', '{2024-02-01}'"),
        good.replace("'{1}', '{NULL}', '{NULL}', '{NULL}'", "'{1}', '{NULL}', '{infinity}', '{1}'"),
        good.replace("'{1}', '{NULL}', '{NULL}', '{NULL}'", "'{1}', '{NULL}', '{2024-02-01}', '{-1}'"),
        good.replace("'{sale:2}'", "'{NULL}'"),
        good.replace("'{sale:2}'", "'{sale 2}'"),
        good.replace("'\\x", "'\\x00"),
        good.replace("'{2024-01-15}',", "'{2025-01-15}',"),
        good.replace("'{2024-01-15T04:00:00Z}', '{2024-01-15}'", "'{-infinity}', '{-infinity}'"),
        good.replace("'{2024-01-15}', '{NULL}'", "'{2024-01-15}', '{infinity}'"),
        good.replace("'{2024-01-15}', '{NULL}', '{NULL}'", "'{2024-01-15}', '{NULL}', '{2023-12-01}'"),
        good.replace("'{2024-01-15}', '{NULL}', '{NULL}'", "'{2024-01-15}', '{NULL}', '{infinity}'"),
        good.replace(&merchant(0), &"x".repeat(201)),
        good.replace("|| '7' ||", "|| '4' ||"),
        good.replace("clock_timestamp()", "(clock_timestamp() - interval '9 days')"),
    ];
    for sql in &statements {
        let refused = thief.batch_execute(sql).await;
        let _ = thief.batch_execute("ROLLBACK").await;
        let error = refused.expect_err(sql);
        assert!(error.as_db_error().is_some(), "{sql}: {error}");
    }
    // A name planted in the session's path is not found by the functions.
    thief.batch_execute("SET search_path = ledger, pg_temp; SET synchronous_commit = off").await.unwrap();
    thief.batch_execute(&good).await.unwrap();
    assert_eq!(ledger.balance(&merchant(0)).await, 105);
    ledger.check().await;
}

#[tokio::test]
pub(crate) async fn a_weak_session_still_commits_durably() {
    let ledger = Ledger::start().await;
    let thief = ledger.postgres.connect("ledger").await.unwrap();
    thief.batch_execute("SET synchronous_commit = off; BEGIN").await.unwrap();
    thief.batch_execute(&post_sql(&sale("sale:1", 0, 5), "gateway")).await.unwrap();
    let commit = thief.query_one("SHOW synchronous_commit", &[]).await.unwrap();
    assert_eq!(commit.get::<_, &str>(0), "on", "until this transaction has committed");
    thief.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
pub(crate) async fn another_certificate_or_none_does_not_log_in() {
    let ledger = Ledger::start().await;
    let own = ledger.postgres.tls("ledger").unwrap();
    let config = ledger.postgres.config("payplane_owner");
    let error = payplane_common::database::connect(&config, &own, "test").await.unwrap_err();
    let text = payplane_common::telemetry::chain(&error);
    assert!(text.contains("certificate authentication failed"), "{text}");
    let trust = ledger.postgres.pki.trust();
    let none = payplane_common::database::DatabaseTls::load(None, trust.to_str().unwrap()).unwrap();
    let config = ledger.postgres.config("ledger");
    assert!(payplane_common::database::connect(&config, &none, "test").await.is_err());
}
