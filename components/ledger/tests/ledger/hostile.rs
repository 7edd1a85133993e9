//! Whoever steals the ledger's database login can ask for postings, and nothing
//! else.

use payplane_ledger::request::Posting;
use tokio_postgres::error::SqlState;

use crate::harness::*;
use crate::sealed::Sealed;

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

/// What the login has no right to.
const DENIED: &[&str] = &[
    "INSERT INTO ledger.accounts (code, currency, normal_side) VALUES ('x', 'CNY', 'debit')",
    // Into a transaction that is there, also beside its table.
    "INSERT INTO ledger.entries SELECT transaction_id, 1, 1, 1, 'debit', 3 FROM ledger.transactions",
    "INSERT INTO ledger.entries_first SELECT transaction_id, 1, 1, 1, 'debit', 3 FROM ledger.transactions",
    "INSERT INTO ledger.transactions (transaction_id, caller, key_date, key, kind, entry_count, effective_time,
        accounting_date, config_epoch, request_hash, batch_number)
     VALUES (gen_random_uuid(), 'x', current_date, 'k', 'sale', 2, now(), current_date, 0, sha256('k'), 1)",
    "INSERT INTO ledger.identities VALUES (current_date, 'x', substr(sha256('k'), 1, 16), gen_random_uuid())",
    "UPDATE ledger.transactions SET kind = 'probe'",
    "UPDATE ledger.entries_first SET amount_minor = 1",
    "INSERT INTO ledger.batches (booked) VALUES (0)",
    "UPDATE ledger.balances SET posted_minor = 1000000",
    "UPDATE ledger.balances SET held_minor = 0",
    "UPDATE ledger.caps SET remaining_minor = original_minor",
    "UPDATE ledger.caps SET reversed_by = NULL",
    "INSERT INTO ledger.raisings VALUES (1, 0, -1)",
    "DELETE FROM ledger.raisings",
    "DELETE FROM ledger.refusals",
    "INSERT INTO ledger.holds VALUES (gen_random_uuid(), 1, 5, NULL, 1)",
    "INSERT INTO ledger.holds_first VALUES (gen_random_uuid(), 1, 5, NULL, 1)",
    "DELETE FROM ledger.holds",
    "INSERT INTO ledger.hold_ends VALUES (gen_random_uuid(), gen_random_uuid(), 1, 5, 1)",
    "DELETE FROM ledger.checkpoints",
    "INSERT INTO ledger.checkpoints VALUES (1, 1, 5, 5, 0, 1, 1, 1)",
    "UPDATE ledger.rollup SET position = 7",
    "UPDATE ledger.control SET config_epoch_min = 0",
    "UPDATE ledger.control SET closed_through = '-infinity'",
    "UPDATE ledger.control SET books_epoch = books_epoch + 1",
    "INSERT INTO ledger.day_closings (day, state, batch_number) VALUES ('2024-01-15', 'closed', 1)",
    "UPDATE ledger.accounts SET state = 'open'",
    "DELETE FROM ledger.account_states",
    "INSERT INTO ledger.config_epochs VALUES (9, 1)",
    "DELETE FROM ledger.identities",
    "DELETE FROM ledger.entries_first",
    "TRUNCATE ledger.entries",
    "TRUNCATE ledger.transactions_first",
    "INSERT INTO ledger.departures (what, upto, batch_number) VALUES ('identities', '2100-01-01', 1)",
    "ALTER TABLE ledger.identities DETACH PARTITION ledger.identities_first",
    "INSERT INTO ledger_archive.holds VALUES (gen_random_uuid(), 1, 5, NULL, 1)",
    "INSERT INTO ledger.chain (position, hash) VALUES (1, sha256('x'))",
    "UPDATE ledger.chain SET hash = sha256('x')",
    "INSERT INTO ledger.positions (position, epoch, batch_number) VALUES (1, 1, 1)",
    "UPDATE ledger.positions SET batch_number = 2",
    "DELETE FROM ledger.unsealed_batches",
    // Functions that others are made of, or that are the owner's.
    "SELECT ledger.roll_whole(0, 7, '{}')",
    "SELECT ledger.roll_days(0, 7, '{}')",
    "INSERT INTO ledger.day_moves VALUES (1, '2024-01-15', 1, 5, 5)",
    "DELETE FROM ledger.day_starts",
    "INSERT INTO ledger.settlements VALUES (gen_random_uuid(), '2024-01-18', 'gateway', 1)",
    "SELECT ledger.write_holds('{}', '{}', '{}', '{}', '{}', '{}')",
    "SELECT ledger.write_balances('{1}', '{1000000}', '{0}')",
    "SELECT ledger.take_keys('{}', '{}')",
    "SELECT ledger.take_fence(true)",
    "SELECT ledger.use_cap('{}', 'reversal', gen_random_uuid(), gen_random_uuid())",
    "SELECT ledger.record_batch(1)",
    "SELECT ledger.book('{}', '{}', '{}', '{}', 1, '2024-01-15', '{}', '{}', '{}')",
    "SELECT ledger.make_partition('entries', NULL, '2000-01-01')",
    "SELECT ledger.prepare('2100-01-01')",
    "SELECT ledger.retire_keys('2000-01-01')",
    "SELECT ledger.drop_departed('identities_first')",
    "SELECT ledger.move_to_archive('2000-01-01')",
    "SELECT ledger.raise_books_epoch(1)",
    "SELECT * FROM ledger.contents(1, 1)",
    "COPY ledger.entries FROM STDIN",
    "COPY ledger.entries TO PROGRAM 'cat'",
    "COPY ledger.entries TO '/tmp/entries'",
    // To be somebody else, or without what stands behind.
    "SET ROLE payplane_owner",
    "SET SESSION AUTHORIZATION payplane_owner",
    "GRANT payplane_owner TO ledger",
    "ALTER ROLE ledger SUPERUSER",
    "SET session_replication_role = replica",
    "ALTER TABLE ledger.entries DISABLE TRIGGER ALL",
    "DROP TRIGGER whole ON ledger.transactions",
    "DROP TABLE ledger.raisings",
    "CREATE TABLE ledger.mine (x int)",
    "CREATE TABLE public.mine (x int)",
    "CREATE TEMP TABLE accounts (x int)",
    "CREATE FUNCTION ledger.now() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION ledger.take_fence(alone boolean) RETURNS void LANGUAGE sql AS 'SELECT'",
    "CREATE SCHEMA mine",
    "SELECT * FROM gateway.orders",
    "UPDATE payplane.control SET environment = 'Live'",
    "DELETE FROM payplane.schema_history",
    "BEGIN; LOCK TABLE ledger.entries IN ACCESS EXCLUSIVE MODE",
    "SELECT * FROM ledger.accounts FOR UPDATE",
];

/// Calls that are its own, and refuse their arguments.
const INVALID: &[&str] = &[
    "SELECT ledger.close_day('infinity', 'closing')",
    "SELECT ledger.set_settlement_dates('gateway', '{2024-01-15}', '{a,b}', '{2024-01-15}')",
    "SELECT ledger.set_settlement_dates('gateway', '{2024-01-15}', '{a}', '{infinity}')",
    "SELECT ledger.close_day('2024-01-15', 'open')",
    r#"SELECT ledger.open_accounts('{x}', '{CNY}', '{debit}', '{f}', ARRAY['{"owner": 1}'::jsonb])"#,
    r#"SELECT ledger.open_accounts('{x}', '{CNY}', '{debit}', '{f}', ARRAY['["owner"]'::jsonb])"#,
    "SELECT ledger.set_account_state('income:fee', 'CNY', 'lost', 'x')",
    "SELECT ledger.set_account_state('income:fee', 'CNY', 'frozen', 'nobody at all')",
];

/// They read after their locks, which these would not let them.
const ISOLATED: &[&str] = &[
    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ledger.roll(1, 1, 1, 1)",
    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ledger.roll_all()",
    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ledger.close_day('2024-01-15', 'closing')",
    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ledger.rotate()",
    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ledger.seal(1, 0, '')",
    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ledger.give_positions(1)",
    "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT ledger.set_account_state('income:fee', 'CNY', 'frozen', 'x')",
    "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT ledger.raise_config_epoch(7)",
];

/// A posting that is good but for this, and how it is refused: the state, what is put in
/// the place of what.
const FORGED: &[(&str, &str, &str)] = &[
    ("0A000", "SELECT", "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT"),
    ("0A000", "SELECT", "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT"),
    ("25006", "SELECT", "BEGIN READ ONLY; SELECT"),
    ("23514", "{5,5}", "{5,-5}"),
    ("23514", "{5,5}", "{0,0}"),
    ("23000", "{5,5}", "{5,4}"),
    ("23502", "{5,5}", "{5,NULL}"),
    ("23514", "{5,5}", "{9007199254740992,9007199254740992}"),
    ("23502", "{5,5}", "{5}"),
    ("23000", "'{debit,credit}'", "'{debit,debit}'"),
    ("22P02", "'{debit,credit}'", "'{debit,both}'"),
    ("23505", "'{1,2}'", "'{1,1}'"),
    ("23000", "'{1,2}'", "'{1,3}'"),
    ("22023", "'{1,1}'", "'{1,2}'"),
    ("22023", "'{1,1}'", "'{2,2}'"),
    ("22023", "'{1,1}'", "'{}'"),
    ("22023", "'{gateway}'", "E'{gate\\nway}'"),
    ("22023", "'{gateway}'", "'{NULL}'"),
    ("22023", "'{gateway}'", "'{gateway,gateway}'"),
    // A hold has one entry, its end none, a capture and a refund what they are of.
    ("22023", "'{sale}'", "'{hold}'"),
    ("22023", "'{sale}'", "'{void}'"),
    ("23514", "'{sale}'", "'{capture}'"),
    ("23514", "'{sale}'", "'{Sale}'"),
    ("22023", "'{1}', '{NULL}'", "'{1}', '{2024-01-16T00:00:00Z}'"),
    ("22023", "'{1}', '{NULL}'", "'{-1}', '{NULL}'"),
    ("22023", "'{1}', '{NULL}', '{NULL}'", "'{1}', '{NULL}', '{2024-02-01}'"),
    ("22023", "'{1}', '{NULL}', '{NULL}', '{NULL}'", "'{1}', '{NULL}', '{infinity}', '{1}'"),
    ("22023", "'{1}', '{NULL}', '{NULL}', '{NULL}'", "'{1}', '{NULL}', '{2024-02-01}', '{-1}'"),
    ("22023", "'{sale:good}'", "'{NULL}'"),
    ("22023", "'{sale:good}'", "'{sale 2}'"),
    ("22023", "'\\x", "'\\x00"),
    ("22023", "'{2024-01-15}',", "'{2025-01-15}',"),
    ("22023", "'{2024-01-15T04:00:00Z}', '{2024-01-15}'", "'{-infinity}', '{-infinity}'"),
    ("22023", "'{2024-01-15}', '{NULL}'", "'{2024-01-15}', '{infinity}'"),
    ("22023", "'{2024-01-15}', '{NULL}', '{NULL}'", "'{2024-01-15}', '{NULL}', '{2023-12-01}'"),
    ("22023", "'{2024-01-15}', '{NULL}', '{NULL}'", "'{2024-01-15}', '{NULL}', '{infinity}'"),
    ("22023", "CNY,CNY", "CNYX,CNYX"),
    ("22023", "|| '7' ||", "|| '4' ||"),
    ("22023", "clock_timestamp()", "(clock_timestamp() - interval '9 days')"),
    ("22023", "clock_timestamp()", "(clock_timestamp() + interval '9 days')"),
];

/// The state tells why: a script that is misspelt is not one that was refused.
fn scripts(good: &str) -> Vec<(&'static str, String)> {
    let same = |state: &'static str, scripts: &[&str]| -> Vec<_> {
        scripts.iter().map(|sql| (state, (*sql).to_owned())).collect()
    };
    let mut all = [same("42501", DENIED), same("22023", INVALID), same("0A000", ISOLATED)].concat();
    all.push(("55000", "DELETE FROM ledger.all_entries".to_owned()));
    all.push(("22023", good.replace(&merchant(0), &"x".repeat(201))));
    all.extend(FORGED.iter().map(|(state, right, wrong)| (*state, good.replacen(right, wrong, 1))));
    all
}

#[tokio::test]
pub(crate) async fn the_login_can_post_and_nothing_else() {
    // Heads are published, and no ledger runs.
    let sealed = Sealed::create().await;
    let thief = sealed.postgres.connect("ledger").await.unwrap();
    let good = post_sql(&sale("sale:good", 0, 5), "gateway");
    let scripts = scripts(&good);
    let mut others = vec![];
    for (state, sql) in &scripts {
        let refused = thief.batch_execute(sql).await;
        let _ = thief.batch_execute("ROLLBACK").await;
        let error = refused.expect_err(sql);
        if error.code().map(SqlState::code) != Some(*state) {
            others.push(format!("{sql}: not {state}: {error:?}"));
        }
    }
    assert!(others.is_empty(), "{others:#?}");
    println!("{} scripts were refused", scripts.len());
    // A name planted in the session's path is not found by the functions.
    thief.batch_execute("SET search_path = ledger, pg_temp; SET synchronous_commit = off").await.unwrap();
    thief.batch_execute(&good).await.unwrap();
    let booked = "SELECT count(*) FROM ledger.transactions WHERE key = 'sale:good'";
    assert_eq!(thief.query_one(booked, &[]).await.unwrap().get::<_, i64>(0), 1);
    sealed.prove().await;
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
