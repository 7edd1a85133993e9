//! PostgreSQL itself starts with both ends of every range that a tenant may choose
//! from, and with -1 where that is a value.

use payplane_crds::tenant::parameters::{ALLOWED, Parameter, Values};
use payplane_testkit::Postgres;

/// Memory of the instance in bytes: half of it is small enough for this machine.
const MEMORY: f64 = 512.0 * 1024.0 * 1024.0;

/// One end of a setting's range, with the unit that limits are in.
fn end(values: Values, upper: bool) -> String {
    let pick = |least: f64, most: f64| if upper { most } else { least };
    match values {
        Values::Words(words) => if upper { words[words.len() - 1] } else { words[0] }.to_owned(),
        Values::Number { least, most } => pick(least, most).to_string(),
        Values::Time { least, most, .. } => format!("{}ms", pick(least, most)),
        Values::Size { least, most, .. } => format!("{}kB", pick(least, most) / 1024.0),
        Values::Memory { least, .. } => format!("{}kB", pick(least, MEMORY / 2.0) / 1024.0),
    }
}

#[tokio::test]
async fn postgresql_starts_at_both_ends_of_every_range() {
    for upper in [Some(false), Some(true), None] {
        let value = |known: &Parameter| match upper {
            None if known.minus_one => "-1".to_owned(),
            upper => end(known.values, upper.unwrap_or_default()),
        };
        let settings: Vec<_> = ALLOWED.iter().map(|known| (known.name, value(known))).collect();
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let postgres = Postgres::start_with(&settings).await.expect("it starts");
        let client = postgres.connect_to("postgres", "postgres").await.expect("it answers");
        let rows = client.query("SELECT name FROM pg_settings WHERE source = 'command line'", &[]).await;
        let taken: Vec<String> = rows.expect("answered").iter().map(|row| row.get(0)).collect();
        // What PostgreSQL chooses by itself it calls its own.
        for known in ALLOWED.iter().filter(|known| upper.is_some() || !known.minus_one) {
            assert!(
                taken.iter().any(|name| name == known.name),
                "{} is a setting that was given",
                known.name
            );
        }
    }
}
