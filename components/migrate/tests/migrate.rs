//! Migrations against a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

#[path = "migrate/old_rows.rs"]
mod old_rows;

use payplane_api::config::{Environment, MigrateConfig, MigrateReport};
use payplane_api::currency::Currency;
use payplane_migrate::{Args, MigrateError, migrate};
use payplane_testkit::Postgres;

async fn tables(postgres: &Postgres) -> i64 {
    let admin = postgres.connect("postgres").await.unwrap();
    let sql = "SELECT count(*) FROM pg_class WHERE relnamespace NOT IN
        (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%' OR nspname = 'information_schema')";
    admin.query_one(sql, &[]).await.unwrap().get(0)
}

async fn attempt(postgres: &Postgres, config: &MigrateConfig) -> Result<MigrateReport, MigrateError> {
    let mut owner = postgres.connect("payplane_owner").await.unwrap();
    migrate(&mut owner, config).await
}

#[tokio::test]
async fn a_fresh_database_is_migrated_once_and_again_without_a_change() {
    let postgres = Postgres::start().await.unwrap();
    let books = postgres.migrate().await.unwrap();
    assert_eq!(postgres.migrate().await.unwrap(), books);
    let config = MigrateConfig { books_id: Some(books), ..postgres.migrate_config() };
    assert!(attempt(&postgres, &config).await.is_ok());
}

#[tokio::test]
async fn four_at_once_make_the_same_books() {
    let postgres = Postgres::start().await.unwrap();
    let runs = tokio::join!(postgres.migrate(), postgres.migrate(), postgres.migrate(), postgres.migrate());
    let books = runs.0.unwrap();
    for other in [runs.1, runs.2, runs.3] {
        assert_eq!(other.unwrap(), books);
    }
}

/// As a Job that is killed: its connection breaks off wherever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_dies_anywhere_is_taken_up_by_the_next() {
    let postgres = Postgres::start().await.unwrap();
    let owner = postgres.connect("payplane_owner").await.unwrap();
    let files = i64::try_from(payplane_migrate::migrations::FILES.len()).unwrap();
    let applied = async || {
        let sql = "SELECT count(*) FROM payplane.schema_history";
        owner.query_one(sql, &[]).await.map_or(0, |row| row.get::<_, i64>(0))
    };
    for enough in [0, 1, 3, files / 2, files - 1, files] {
        let mut client = postgres.connect("payplane_owner").await.unwrap();
        let config = postgres.migrate_config();
        let run = tokio::spawn(async move { migrate(&mut client, &config).await });
        while applied().await < enough && !run.is_finished() {
            tokio::task::yield_now().await;
        }
        run.abort();
    }
    let books = postgres.migrate().await.unwrap();
    let config = MigrateConfig { books_id: Some(books), ..postgres.migrate_config() };
    attempt(&postgres, &config).await.unwrap();
    assert_eq!(applied().await, files, "each file once");
}

#[tokio::test]
async fn other_books_are_refused_by_field_and_nothing_is_written() {
    let postgres = Postgres::start().await.unwrap();
    let good = postgres.migrate_config();
    let elsewhere = MigrateConfig { books_id: Some("x".into()), ..good.clone() };
    assert!(attempt(&postgres, &elsewhere).await.unwrap_err().to_string().contains("booksId"));
    assert_eq!(tables(&postgres).await, 0, "a database without the books was written to");
    let config = MigrateConfig { instances: 3, ..good.clone() };
    attempt(&postgres, &config).await.unwrap();
    let usd = Currency::parse("USD").unwrap();
    for (field, bad) in [
        ("booksId", MigrateConfig { books_id: Some("x".into()), ..config.clone() }),
        ("tenant", MigrateConfig { tenant: "other".into(), ..config.clone() }),
        ("environment", MigrateConfig { environment: Environment::Live, ..config.clone() }),
        ("currencies", MigrateConfig { currencies: vec![usd], ..config.clone() }),
        ("timezone", MigrateConfig { timezone: "UTC".into(), ..config.clone() }),
        ("instances", MigrateConfig { instances: 1, ..config.clone() }),
        ("storage", MigrateConfig { storage_bytes: 1 << 20, ..config.clone() }),
    ] {
        let error = attempt(&postgres, &bad).await.unwrap_err();
        assert!(matches!(error, MigrateError::Conflict { .. }), "{error}");
        assert!(error.to_string().contains(field), "{error}");
    }
    let owner = postgres.connect("payplane_owner").await.unwrap();
    let changes = "SELECT count(*) FROM payplane.control_changes";
    assert_eq!(owner.query_one(changes, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn what_is_added_is_recorded() {
    let postgres = Postgres::start().await.unwrap();
    postgres.migrate().await.unwrap();
    let mut config = postgres.migrate_config();
    config.currencies.push(Currency::parse("KWD").unwrap());
    config.instances = 3;
    attempt(&postgres, &config).await.unwrap();
    let owner = postgres.connect("payplane_owner").await.unwrap();
    let sql =
        "SELECT string_agg(field || ':' || new_value, ' ' ORDER BY change_id) FROM payplane.control_changes";
    let changes: String = owner.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(changes, "currencies:CNY,USD,JPY,KWD instances:3");
    let lower = attempt(&postgres, &postgres.migrate_config()).await.unwrap_err().to_string();
    assert!(lower.contains("KWD"), "{lower}");
}

/// A release that is rolled back finds a schema newer than its own, and serves it.
#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let postgres = Postgres::start().await.unwrap();
    postgres.migrate().await.unwrap();
    let owner = postgres.connect("payplane_owner").await.unwrap();
    let sql = "INSERT INTO payplane.schema_history SELECT 999, 'later', applied_on, checksum
                 FROM payplane.schema_history LIMIT 1";
    owner.batch_execute(sql).await.unwrap();
    let report = attempt(&postgres, &postgres.migrate_config()).await.unwrap();
    assert!(matches!(report, MigrateReport::Migrated { schema_version: 999, .. }), "{report:?}");
}

#[tokio::test]
async fn an_unsafe_server_is_refused_before_the_first_write() {
    for (name, value) in [
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
        ("synchronous_commit", "local"),
        ("default_transaction_read_only", "on"),
    ] {
        let read_only = name == "default_transaction_read_only";
        let settings = [(name, value)];
        let postgres = Postgres::start_with(if read_only { &[] } else { &settings }).await.unwrap();
        if read_only {
            let admin = postgres.connect("postgres").await.unwrap();
            admin
                .batch_execute("ALTER DATABASE payplane SET default_transaction_read_only = on")
                .await
                .unwrap();
        }
        let error = attempt(&postgres, &postgres.migrate_config()).await.unwrap_err();
        assert!(matches!(error, MigrateError::Unfit { .. }), "{name}={value}: {error}");
        assert!(error.to_string().contains(name.trim_start_matches("default_")), "{error}");
        assert_eq!(tables(&postgres).await, 0, "{name}={value}");
    }
}

#[tokio::test]
async fn roles_with_too_many_or_too_few_rights_are_refused() {
    let postgres = Postgres::start().await.unwrap();
    let admin = postgres.connect("postgres").await.unwrap();
    for (wrong, right, named) in [
        ("ALTER ROLE payplane_owner SUPERUSER", "ALTER ROLE payplane_owner NOSUPERUSER", "superuser"),
        ("ALTER ROLE ledger NOLOGIN", "ALTER ROLE ledger LOGIN", "ledger"),
        ("ALTER ROLE gateway BYPASSRLS", "ALTER ROLE gateway NOBYPASSRLS", "gateway"),
        ("ALTER ROLE payplane_vault NOLOGIN", "ALTER ROLE payplane_vault LOGIN", "payplane_vault"),
        ("GRANT payplane_owner TO ledger", "REVOKE payplane_owner FROM ledger", "member"),
        ("GRANT gateway TO payplane_vault", "REVOKE gateway FROM payplane_vault", "member of gateway"),
        ("GRANT payplane_vault TO gateway", "REVOKE payplane_vault FROM gateway", "member of payplane_vault"),
        (
            "GRANT pg_write_all_data TO gateway",
            "REVOKE pg_write_all_data FROM gateway",
            "member of pg_write_all_data",
        ),
        (
            "ALTER ROLE ledger SET synchronous_commit = off",
            "ALTER ROLE ledger RESET ALL",
            "synchronous_commit",
        ),
        (
            "ALTER DATABASE payplane OWNER TO postgres",
            "ALTER DATABASE payplane OWNER TO payplane_owner",
            "CREATE",
        ),
    ] {
        admin.batch_execute(wrong).await.unwrap();
        let error = attempt(&postgres, &postgres.migrate_config()).await.unwrap_err();
        assert!(matches!(error, MigrateError::Unfit { .. }), "{wrong}: {error}");
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(tables(&postgres).await, 0, "{wrong}");
        admin.batch_execute(right).await.unwrap();
    }
    let nowhere = MigrateConfig { timezone: "Nowhere/Else".into(), ..postgres.migrate_config() };
    let error = attempt(&postgres, &nowhere).await.unwrap_err();
    assert!(
        matches!(&error, MigrateError::Unfit { .. }) && error.to_string().contains("timezone"),
        "{error}"
    );
    admin.batch_execute("DROP ROLE gateway").await.unwrap();
    let managed = attempt(&postgres, &postgres.migrate_config()).await.unwrap_err();
    assert!(matches!(managed, MigrateError::NotReady { .. }), "{managed}");
    let external = MigrateConfig { external: true, ..postgres.migrate_config() };
    let external = attempt(&postgres, &external).await.unwrap_err();
    assert!(matches!(external, MigrateError::Unfit { .. }), "{external}");
}

/// The vault is reached by its login alone, which reaches nothing else.
#[tokio::test]
async fn each_login_reaches_its_own_schema() {
    let postgres = Postgres::start().await.unwrap();
    postgres.migrate().await.unwrap();
    let admin = postgres.connect("postgres").await.unwrap();
    let schemas = "SELECT coalesce(string_agg(nspname, ' ' ORDER BY nspname), '') FROM pg_namespace
         WHERE has_schema_privilege($1::text, oid, 'USAGE') AND nspname NOT LIKE 'pg\\_%'
            AND nspname <> 'information_schema'";
    let tables = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind IN ('r', 'v', 'p', 'S') AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
            AND (nspname = 'vault') <> ($1::text = 'payplane_vault')
            AND (has_any_column_privilege($1, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
                OR has_table_privilege($1, c.oid, 'DELETE, TRUNCATE, TRIGGER'))";
    for (role, own) in [
        ("payplane_vault", "vault"),
        ("gateway", "gateway payplane"),
        ("ledger", "ledger ledger_archive payplane"),
    ] {
        let found: String = admin.query_one(schemas, &[&role]).await.unwrap().get(0);
        assert_eq!(found, own, "{role}");
        assert_eq!(admin.query_one(tables, &[&role]).await.unwrap().get::<_, i64>(0), 0, "{role}");
    }
    for (role, sql) in [
        ("gateway", "SELECT FROM vault.secrets"),
        ("gateway", "SET ROLE payplane_vault"),
        ("ledger", "DELETE FROM vault.secrets"),
        ("payplane_vault", "SELECT FROM gateway.payouts"),
        ("payplane_vault", "SELECT FROM ledger.accounts"),
        ("payplane_vault", "SELECT FROM payplane.control"),
        ("payplane_vault", "SET ROLE gateway"),
        ("payplane_vault", "TRUNCATE vault.secrets"),
        ("payplane_vault", "CREATE TABLE vault.more (a int)"),
        ("payplane_vault", "CREATE TABLE public.more (a int)"),
    ] {
        let refused = postgres.connect(role).await.unwrap().batch_execute(sql).await.unwrap_err();
        let code = refused.code().map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{role}: {sql}");
    }
    let kept = "INSERT INTO vault.secrets (kind, owner_id, sealed, key_id)
         VALUES ('Payee', gen_random_uuid(), repeat('x', 40)::bytea, repeat('0', 16))";
    postgres.connect("payplane_vault").await.unwrap().batch_execute(kept).await.unwrap();
}

/// Each logs in with the certificate in its own name.
#[tokio::test]
async fn the_vaults_login_takes_its_own_certificate() {
    let postgres = Postgres::start().await.unwrap();
    for (certificate, is_taken) in [("payplane_vault", true), ("gateway", false)] {
        let tls = postgres.tls(certificate).unwrap();
        let session =
            payplane_common::database::connect(&postgres.config("payplane_vault"), &tls, "test").await;
        assert_eq!(session.is_ok(), is_taken, "{certificate}");
    }
}

#[tokio::test]
async fn the_command_logs_in_by_certificate_and_reports() {
    let postgres = Postgres::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = postgres.migrate_config();
    let args = |config: &MigrateConfig| {
        let path = folder.path().join("config.json");
        std::fs::write(&path, serde_json::to_vec(config).unwrap()).unwrap();
        Args {
            config: path,
            database_tls: postgres.identity("payplane_owner").unwrap().to_str().unwrap().into(),
            vault_tls: postgres.identity("payplane_vault").unwrap().to_str().unwrap().into(),
            database_trust: postgres.pki.trust().to_str().unwrap().into(),
            termination_log: folder.path().join("log"),
        }
    };
    let report = || -> MigrateReport {
        serde_json::from_slice(&std::fs::read(folder.path().join("log")).unwrap()).unwrap()
    };
    payplane_migrate::run(args(&config)).await.unwrap();
    let MigrateReport::Migrated { schema_version, .. } = report() else { panic!("{:?}", report()) };
    let newest = payplane_migrate::migrations::FILES.last().unwrap().0;
    assert!(newest.starts_with(&format!("V{schema_version}__")));
    // Gateways would roll out whose vault cannot be reached.
    config.external = true;
    let foreign = Args { vault_tls: args(&config).database_tls, ..args(&config) };
    payplane_migrate::run(foreign).await.unwrap_err();
    let MigrateReport::Failed { message } = report() else { panic!("{:?}", report()) };
    assert!(message.contains("login role payplane_vault") && message.contains("pg_hba.conf"), "{message}");
    payplane_migrate::run(args(&config)).await.unwrap();
    config.timezone = "UTC".into();
    payplane_migrate::run(args(&config)).await.unwrap_err();
    assert!(matches!(report(), MigrateReport::BooksConflict { .. }));
    config.database.user = "postgres".into();
    payplane_migrate::run(args(&config)).await.unwrap_err();
    assert!(matches!(report(), MigrateReport::Failed { .. }), "a certificate of another name logged in");
}
