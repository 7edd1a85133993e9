//! A server with migrated books, and short ways to say what is posted.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use payplane_api::currency::Currency;
use payplane_common::database;
use payplane_ledger::books::{AccountColumns, Answer, Books, BooksError};
use payplane_ledger::request::{Key, Line, Posting};
use payplane_ledger::writer::{self, Item};
use payplane_testkit::Postgres;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

pub(crate) struct Ledger {
    pub(crate) postgres: Postgres,
    pub(crate) books: Books,
    pub(crate) owner: Client,
}

/// Accounts of every test: `clearing` has no floor, merchants have one.
pub(crate) const CLEARING: &str = "channel:c:receivable";
pub(crate) const FEE: &str = "income:fee";

#[must_use]
pub(crate) fn merchant(n: usize) -> String {
    format!("merchant:m{n}:pending")
}

#[must_use]
pub(crate) fn today() -> Date {
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    zone.to_datetime(Timestamp::now()).date()
}

#[must_use]
pub(crate) fn key(text: &str) -> Key {
    Key { date: today(), key: text.to_owned() }
}

/// A posting of (account, side, amount) in CNY.
#[must_use]
pub(crate) fn posting(kind: &str, text: &str, lines: &[(&str, &'static str, i64)]) -> Posting {
    let currency = Currency::parse("CNY").unwrap();
    let line = |(account, side, amount_minor): &(&str, &'static str, i64)| Line {
        account: (*account).to_owned(),
        side,
        amount_minor: *amount_minor,
        currency,
    };
    Posting {
        identity: key(text),
        kind: kind.to_owned(),
        entries: lines.iter().map(line).collect(),
        references: vec![],
        effective_time: "2024-01-15T04:00:00Z".parse().unwrap(),
        settlement_date: None,
        demanded_date: None,
        original: None,
        config_epoch: 1,
        expires_at: None,
        due: None,
    }
}

#[must_use]
pub(crate) fn sale(text: &str, n: usize, amount: i64) -> Posting {
    posting("sale", text, &[(CLEARING, "debit", amount), (&merchant(n), "credit", amount)])
}

#[must_use]
pub(crate) fn payout(text: &str, n: usize, amount: i64) -> Posting {
    posting("payout", text, &[(&merchant(n), "debit", amount), (CLEARING, "credit", amount)])
}

#[must_use]
pub(crate) fn refund(text: &str, original: &str, n: usize, amount: i64) -> Posting {
    Posting { kind: "refund".into(), original: Some(key(original)), ..payout(text, n, amount) }
}

/// Sets money of a merchant aside.
#[must_use]
pub(crate) fn hold(text: &str, n: usize, amount: i64) -> Posting {
    posting("hold", text, &[(&merchant(n), "debit", amount)])
}

/// Pays out of a hold.
#[must_use]
pub(crate) fn capture(text: &str, hold: &str, n: usize, amount: i64) -> Posting {
    Posting { kind: "capture".into(), original: Some(key(hold)), ..payout(text, n, amount) }
}

/// Ends a hold: `void` or `expire`.
#[must_use]
pub(crate) fn end(kind: &str, text: &str, hold: &str) -> Posting {
    Posting { original: Some(key(hold)), ..posting(kind, text, &[]) }
}

/// The reversal of what was posted under the key.
#[must_use]
pub(crate) fn reversal(text: &str, of: &Posting) -> Posting {
    let mut reversal = Posting { kind: "reversal".into(), original: Some(of.identity.clone()), ..of.clone() };
    for line in &mut reversal.entries {
        line.side = if line.side == "debit" { "credit" } else { "debit" };
    }
    reversal.identity = key(text);
    reversal
}

impl Ledger {
    pub(crate) async fn start() -> Self {
        Self::on(Postgres::start().await.unwrap()).await
    }

    /// On a server that has just been made.
    pub(crate) async fn on(postgres: Postgres) -> Self {
        postgres.migrate().await.unwrap();
        let books = books(&postgres, 16);
        let owner = postgres.connect("payplane_owner").await.unwrap();
        crate::plants::plant(&owner).await;
        let ledger = Self { postgres, books, owner };
        let merchants: Vec<String> = (0..8).map(merchant).collect();
        let mut accounts = vec![(CLEARING, "debit", false), (FEE, "credit", false)];
        accounts.extend(merchants.iter().map(|code| (code.as_str(), "credit", true)));
        ledger.open(&accounts).await;
        ledger
    }

    pub(crate) async fn open(&self, accounts: &[(&str, &'static str, bool)]) {
        let columns = AccountColumns {
            codes: accounts.iter().map(|a| a.0.to_owned()).collect(),
            currencies: accounts.iter().map(|_| "CNY".to_owned()).collect(),
            sides: accounts.iter().map(|a| a.1).collect(),
            floors: accounts.iter().map(|a| a.2).collect(),
            metadata: accounts.iter().map(|_| r#"{"owner": "test"}"#.to_owned()).collect(),
        };
        let opened = self.books.open_accounts(columns, soon()).await.unwrap();
        assert_eq!(opened.refusal, None);
    }

    pub(crate) async fn post(&self, posting: Posting) -> Answer {
        post(&self.books, posting).await.unwrap()
    }

    /// Posts and says how it went in one word.
    pub(crate) async fn word(&self, posting: Posting) -> String {
        word(&self.post(posting).await)
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.owner.query_one(&format!("SELECT ({sql})::bigint"), &[]).await.unwrap().get(0)
    }

    pub(crate) async fn balance(&self, account: &str) -> i64 {
        self.balances(account).await.0
    }

    /// What was posted, and what of it is held.
    pub(crate) async fn balances(&self, account: &str) -> (i64, i64) {
        let sql = "SELECT b.posted_minor + coalesce(sum(r.posted_minor), 0)::bigint, b.held_minor + coalesce(sum(r.held_minor), 0)::bigint
                     FROM ledger.balances b JOIN ledger.accounts USING (account_id) LEFT JOIN ledger.raisings r USING (account_id)
                    WHERE code = $1 GROUP BY b.account_id";
        let row = self.owner.query_one(sql, &[&account]).await.unwrap();
        (row.get(0), row.get(1))
    }

    /// Gives every committed batch its position.
    pub(crate) async fn seal(&self) {
        while self.books.give_positions(7).await.unwrap() > 0 {}
    }

    /// Seals all that is committed, and says the last position.
    pub(crate) async fn chain(&self) -> i64 {
        self.seal().await;
        loop {
            let tip = self.books.seal(1_000, None).await.unwrap();
            if tip.position == tip.given {
                return tip.position;
            }
        }
    }

    /// Walks every invariant over the books, checkpoints included.
    pub(crate) async fn check(&self) {
        self.chain().await;
        while self.books.roll(1_000, 0, 1, 0).await.unwrap() {}
        self.books.roll_all().await.unwrap();
        assert_eq!(payplane_ledger::verify::invariants(&self.owner).await.unwrap(), vec![]);
    }
}

/// A pool of its own, over TLS, as the ledger's login: batches leave six of it alone.
pub(crate) fn books(postgres: &Postgres, size: usize) -> Books {
    let tls = postgres.tls("ledger").unwrap();
    Books::new(database::pool(&postgres.config("ledger"), &tls, "test", size + 4).unwrap())
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(crate) async fn post(books: &Books, posting: Posting) -> Result<Answer, BooksError> {
    let day = jiff::civil::date(2024, 1, 15);
    books.post("gateway".to_owned(), posting, day, soon()).await
}

/// One call of the posting function on a session of the writer's login, beside the
/// ledger: how each went.
pub(crate) async fn call(
    session: &Client,
    postings: Vec<Posting>,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let day = jiff::civil::date(2024, 1, 15);
    let item = |posting| Item::new("gateway".to_owned(), posting, day, soon());
    let items: Vec<_> = postings.into_iter().map(item).collect();
    let params = writer::params(items.iter());
    let params: Vec<_> = params.iter().map(|p| &**p as &(dyn ToSql + Sync)).collect();
    let mut rows = session.query(writer::POST, &params).await?;
    rows.sort_by_key(|row| row.get::<_, i32>(0));
    let said = |row: &tokio_postgres::Row| {
        let (outcome, reason) = (row.get::<_, String>(1), row.get::<_, Option<String>>(4));
        reason.map_or_else(|| outcome.clone(), |reason| format!("{outcome} {reason}"))
    };
    Ok(rows.iter().map(said).collect())
}

pub(crate) fn word(answer: &Answer) -> String {
    answer.reason.clone().unwrap_or_else(|| answer.outcome.clone())
}

/// How many of each answer.
pub(crate) fn tally(answers: impl IntoIterator<Item = String>) -> std::collections::BTreeMap<String, usize> {
    let mut tally = std::collections::BTreeMap::new();
    for answer in answers {
        *tally.entry(answer).or_default() += 1;
    }
    tally
}

/// Posts all at once.
pub(crate) async fn at_once(books: &[Books], postings: Vec<Posting>) -> Vec<Answer> {
    let mut tasks = vec![];
    for (n, posting) in postings.into_iter().enumerate() {
        let books = books[n % books.len()].clone();
        tasks.push(tokio::spawn(async move { post(&books, posting).await.unwrap() }));
    }
    let mut answers = vec![];
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    // What stands behind the functions had to refuse nothing.
    assert_eq!(books.iter().map(Books::rejected).sum::<u64>(), 0, "batches were rejected");
    answers
}
