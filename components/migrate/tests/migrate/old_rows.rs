//! What an earlier release wrote stays as it is, and may be written on.

use payplane_migrate::migrations::FILES;
use payplane_testkit::Postgres;
use refinery::{Migration, Runner};

/// A new order of a number and a settlement date, with more columns and their values.
fn order(columns: &str, values: &str) -> String {
    format!(
        "INSERT INTO gateway.orders (order_id, app_id, order_date, order_number, request_hash, merchant_id, method,
            amount_minor, currency, stored_date, settlement_date, calendar_version, created_at, next_check_at,
            expires_at{columns})
         SELECT gen_random_uuid(), 'app', '2026-11-30', $1, decode(repeat('00', 32), 'hex'), 'M1', 'card', 100, 'CNY',
            '2026-11-30', $2::text::date, 1, now(), now(), now(){values}"
    )
}

#[tokio::test]
async fn orders_from_before_top_ups_are_sales() {
    let postgres = Postgres::start().await.unwrap();
    let before = FILES.iter().position(|(name, _)| name.contains("top_ups")).unwrap();
    let files: Vec<_> =
        FILES[..before].iter().map(|(name, sql)| Migration::unapplied(name, sql).unwrap()).collect();
    let mut owner = postgres.connect("payplane_owner").await.unwrap();
    owner.batch_execute("CREATE SCHEMA payplane").await.unwrap();
    let mut runner = Runner::new(&files);
    runner.set_migration_table_name("payplane.schema_history");
    runner.run_async(&mut owner).await.unwrap();
    let due = Some("2026-12-01");
    owner.execute(&order("", ""), &[&"old", &due]).await.unwrap();

    postgres.migrate().await.unwrap();
    let end = "UPDATE gateway.orders SET status = 'Failed', failure_code = 'Declined', completed_at = now(),
            next_check_at = NULL WHERE order_number = 'old' AND top_up_customer IS NULL AND settlement_date IS NOT NULL";
    assert_eq!(owner.execute(end, &[]).await.unwrap(), 1);
    // As the release before still writes them.
    owner.execute(&order("", ""), &[&"new", &due]).await.unwrap();
    let never = None::<&str>;
    for (number, date, values) in [
        ("never-due", never, ", NULL, NULL"),
        ("due", due, ", 'u-1', NULL"),
        ("nobody", never, ", '', NULL"),
        ("another-account", never, ", 'a:b', NULL"),
        ("long", never, ", repeat('u', 65), NULL"),
        ("dear", never, ", 'u-1', 1"),
    ] {
        let sql = order(", top_up_customer, fee_minor", values);
        assert!(owner.execute(&sql, &[&number, &date]).await.is_err(), "{number}");
    }
    let sql = order(", top_up_customer, fee_minor", ", repeat('u', 64), 0");
    owner.execute(&sql, &[&"filled", &never]).await.unwrap();
}

/// Whoever writes a step-up, it moves forward only.
#[tokio::test]
async fn a_step_up_never_goes_back() {
    let postgres = Postgres::start().await.unwrap();
    postgres.migrate().await.unwrap();
    let owner = postgres.connect("payplane_owner").await.unwrap();
    owner.execute(&order("", ""), &[&"waits", &Some("2026-12-01")]).await.unwrap();
    owner
        .batch_execute(
            "INSERT INTO gateway.step_ups (order_id, on_error) SELECT order_id, 'Block' FROM gateway.orders",
        )
        .await
        .unwrap();
    let made = "sends = 1, code_digest = decode(repeat('00', 32), 'hex'), code_expires_at = now()";
    for (set, goes) in [
        ("status = 'AwaitingCode'", false),
        ("status = 'Confirmed', ended_at = now()", false),
        ("status = 'Allowed', ended_at = now()", false),
        ("status = 'Sending'", true),
        ("status = 'Asked'", false),
        ("sends = 1", false),
        (made, true),
        ("status = 'AwaitingCode'", true),
        ("tries = 5", true),
        ("tries = 4", false),
        ("tries = 6", false),
        ("status = 'Sending'", false),
        ("status = 'Confirmed'", false),
        ("status = 'Confirmed', ended_at = now()", true),
        ("status = 'AwaitingCode', ended_at = NULL", false),
        ("status = 'Failed'", false),
    ] {
        let moved = owner.execute(&format!("UPDATE gateway.step_ups SET {set}"), &[]).await;
        assert_eq!(moved.is_ok(), goes, "{set}: {moved:?}");
    }
}
