//! Bugs planted in the product, each of which a test must catch: a test that cannot fail
//! proves nothing.

use std::cell::RefCell;

use tokio_postgres::Client;

thread_local! {
    static PLANT: RefCell<Option<String>> = const { RefCell::new(None) };
    static BEGINNING: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What the harness runs after the migration, on this thread.
fn planted() -> Option<String> {
    let parts = [PLANT.with_borrow(Clone::clone), BEGINNING.with_borrow(Clone::clone)];
    parts.into_iter().flatten().reduce(|bug, beginning| bug + "\n" + &beginning)
}

/// Runs it. A bug that cannot be planted must not look like one that was caught.
pub(crate) async fn plant(owner: &Client) {
    let Some(bug) = planted() else { return };
    if let Err(error) = owner.batch_execute(&bug).await {
        eprintln!("cannot plant {bug}: {error:?}");
        std::process::exit(2);
    }
}

/// The test has the books begin with this SQL.
pub(crate) fn begin_with(sql: String) {
    BEGINNING.set(Some(sql));
}

/// Some bugs need two sessions to meet: a run may miss them.
const RUNS_MAX: usize = 10;

/// The function as it is in the migrations, to be replaced.
pub(crate) fn definition(name: &str) -> String {
    let start = format!("CREATE FUNCTION ledger.{name}(");
    let sql =
        payplane_migrate::migrations::FILES.iter().find_map(|(_, sql)| sql.find(&start).map(|n| &sql[n..]));
    let sql = sql.unwrap();
    let end = sql.find("\n$$;").map(|n| n + 4).into_iter().chain(sql.find("END $$;").map(|n| n + 7)).min();
    sql[..end.unwrap()].replacen("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)
}

/// The function with a bug in it. What is not there any more cannot be planted.
pub(crate) fn with_bug(name: &str, right: &str, wrong: &str) -> String {
    let sql = definition(name);
    assert!(sql.contains(right), "{name} has no {right:?} any more");
    sql.replace(right, wrong)
}

/// A bug, what begins it in the process and in the database, and the test that must fail.
pub(crate) struct Planted {
    pub(crate) bug: String,
    pub(crate) begin: Box<dyn Fn()>,
    pub(crate) sql: String,
    pub(crate) test: fn(),
}

impl Planted {
    /// In which run the test fails.
    fn caught(&self) -> Option<usize> {
        (self.begin)();
        let fails = |_: &usize| {
            let (sql, test) = (self.sql.clone(), self.test);
            let run = std::thread::spawn(move || {
                PLANT.set(Some(sql));
                test();
            });
            run.join().is_err()
        };
        (1..=RUNS_MAX).find(fails)
    }
}

/// `PLANT=TEXT` plants only what has the text in it.
#[test]
#[ignore = "minutes: a part of make e2e-full"]
fn every_planted_bug_is_caught() {
    let whole = cfg!(feature = "plants") || std::env::var_os("PLANTS_ALL").is_none();
    assert!(whole, "bugs in Rust are planted with --features payplane-ledger/plants");
    let mut all = crate::sql_plants::in_sql();
    #[cfg(feature = "plants")]
    all.extend(crate::rust_plants::in_rust());
    if let Ok(text) = std::env::var("PLANT") {
        all.retain(|planted| planted.bug.contains(&text));
    }
    let mut missed = vec![];
    for planted in &all {
        let caught = planted.caught();
        println!("planted {}: caught in run {caught:?}", planted.bug);
        if caught.is_none() {
            missed.push(&planted.bug);
        }
    }
    println!("{} bugs were planted", all.len());
    assert_eq!(missed, Vec::<&String>::new());
}

/// No build but the plants' own asks for the feature, nor for all that there are.
#[test]
fn nothing_that_ships_is_built_with_planted_bugs() {
    let root = std::path::Path::new("../..");
    let git = std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().unwrap();
    let files = String::from_utf8(git.stdout).unwrap();
    let names = ["Makefile", "Dockerfile", "Cargo.toml", ".sh", ".yaml", ".yml"];
    let builds = |file: &&str| names.iter().any(|name| file.ends_with(name)) || file.starts_with(".c");
    let mut asking = vec![];
    for file in files.split('\0').filter(builds) {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        let of_feature = |line: &str| line.contains("feature") || line.contains("plants =");
        let asks = |line: &&str| line.contains("plants") && of_feature(line) || line.contains("all-features");
        let of_comment = |line: &str| line.trim_start().starts_with('#');
        let lines = text.lines().filter(asks).filter(|line| !of_comment(line)).map(str::trim);
        asking.extend(lines.map(|line| format!("{file}: {line}")));
    }
    assert_eq!(
        asking,
        [
            "components/ledger/Cargo.toml: plants = []",
            "e2e/scripts/test.sh: PLANTS_ALL=1 tests --features payplane-ledger/plants --test ledger -- --ignored every_planted_bug",
        ]
    );
}
