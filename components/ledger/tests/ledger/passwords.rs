//! A login by password, as with a bank's own database: what a rotation leaves in
//! the file is used from the next connection on.

use payplane_api::config::DatabaseConfig;
use payplane_common::database::{self, DatabaseTls};
use payplane_testkit::Postgres;

#[tokio::test]
async fn a_new_password_is_used_by_the_next_connection() {
    let postgres = Postgres::start_at("127.0.0.2").await.unwrap();
    let admin = postgres.connect("postgres").await.unwrap();
    admin.batch_execute("ALTER ROLE ledger PASSWORD 'first'").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger");
    std::fs::write(&file, "first\n").unwrap();
    let password_file = Some(file.to_string_lossy().into_owned());
    let config = DatabaseConfig { password_file, ..postgres.config("ledger") };
    let tls = DatabaseTls::load(None, postgres.pki.trust().to_str().unwrap()).unwrap();
    let pool = database::pool(&config, &tls, "test", 3).unwrap();
    let _held = pool.get().await.unwrap();

    admin.batch_execute("ALTER ROLE ledger PASSWORD 'second'").await.unwrap();
    assert!(pool.get().await.is_err(), "the former password is refused");
    std::fs::write(&file, "second\n").unwrap();
    drop(pool.get().await.unwrap());
}
