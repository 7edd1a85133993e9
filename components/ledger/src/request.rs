//! A posting as it was asked for becomes one that can be sent, or a refusal that
//! names the field. Nothing here looks at the books.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use jiff::civil::Date;
use payplane_api::currency::Currency;
use payplane_api::ledger::v1::{Direction, Entry, Identity, PostRequest, Refusal, RefusalReason};
use payplane_api::money::AMOUNT_MINOR_MAX;

pub const ENTRIES_MAX: usize = 64;
const REFERENCES_MAX: usize = 16;
const TEXT_MAX: usize = 128;
const ACCOUNT_MAX: usize = 200;
const KIND_MAX: usize = 32;

/// A checked posting.
#[derive(Clone, Debug)]
pub struct Posting {
    pub identity: Key,
    pub kind: String,
    pub entries: Vec<Line>,
    pub references: Vec<(String, String)>,
    pub effective_time: Timestamp,
    pub settlement_date: Option<Date>,
    /// The day that it has to be booked into.
    pub demanded_date: Option<Date>,
    pub original: Option<Key>,
    pub config_epoch: i64,
    /// From then on a hold may be expired.
    pub expires_at: Option<Timestamp>,
    /// When it is due, and the config epoch whose calendar says so.
    pub due: Option<(Date, i64)>,
}

impl Posting {
    /// What makes two requests the same: everything but the config epoch, which a
    /// retry may have renewed. The first line is the form's version; whoever reads
    /// the books can tell it from what is stored (`verify/content.sql`).
    #[must_use]
    pub fn hash(&self) -> Vec<u8> {
        let mut text = format!("2\n{}\n", self.kind);
        for line in &self.entries {
            let _ = writeln!(text, "{} {} {} {}", line.side, line.account, line.amount_minor, line.currency);
        }
        for (kind, value) in &self.references {
            let _ = writeln!(text, "{kind}={value}");
        }
        let _ = writeln!(text, "effective {}", self.effective_time.as_microsecond());
        if let Some(date) = self.settlement_date {
            let _ = writeln!(text, "settlement {date}");
        }
        if let Some((date, calendar)) = self.due {
            let _ = writeln!(text, "due {date} {calendar}");
        }
        if let Some(date) = self.demanded_date {
            let _ = writeln!(text, "accounting {date}");
        }
        if let Some(time) = self.expires_at {
            let _ = writeln!(text, "expires {}", time.as_microsecond());
        }
        if let Some(original) = &self.original {
            let _ = writeln!(text, "original {} {}", original.date, original.key);
        }
        digest(&SHA256, text.as_bytes()).as_ref().to_vec()
    }

    /// About as much memory as it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        const BESIDE: usize = 512;
        let lines = self.entries.iter().map(|line| size_of::<Line>().saturating_add(line.account.len()));
        let references = self.references.iter().map(|(kind, value)| {
            size_of::<(String, String)>().saturating_add(kind.len()).saturating_add(value.len())
        });
        lines.chain(references).fold(BESIDE, usize::saturating_add)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub date: Date,
    pub key: String,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub account: String,
    pub side: &'static str,
    pub amount_minor: i64,
    pub currency: Currency,
}

pub fn refusal(reason: RefusalReason, subject: impl Into<String>, message: impl Into<String>) -> Refusal {
    Refusal { reason: reason.into(), subject: subject.into(), message: message.into() }
}

pub fn invalid(subject: impl Into<String>, message: impl Into<String>) -> Refusal {
    refusal(RefusalReason::Invalid, subject, message)
}

pub fn check(request: PostRequest) -> Result<Posting, Refusal> {
    let original = request.original.as_ref().map(|o| key(Some(o), "original")).transpose()?;
    let kind = request.kind;
    if !is_word(&kind) {
        return Err(invalid("kind", "1 to 32 characters of a-z, 0-9 and '-', a letter first"));
    }
    match (kind.as_str(), &original) {
        ("refund" | "reversal" | "capture" | "void" | "expire", None) => {
            return Err(invalid("original", format!("a {kind} has an original")));
        }
        ("sale" | "probe" | "hold", Some(_)) => {
            return Err(invalid("original", format!("a {kind} has no original")));
        }
        _ => {}
    }
    let identity = key(request.identity.as_ref(), "identity")?;
    if original.as_ref() == Some(&identity) {
        return Err(invalid("original", "a transaction is not its own original"));
    }
    let effective_time = time(&request.effective_time, "effective_time")?;
    let tomorrow = Timestamp::now().as_second().saturating_add(86_400);
    if effective_time.as_second() > tomorrow {
        return Err(invalid("effective_time", "it lies in the future"));
    }
    let optional = |text: &str, field| (!text.is_empty()).then(|| date(text, field)).transpose();
    let settlement_date = optional(&request.settlement_date, "settlement_date")?;
    let demanded_date = optional(&request.accounting_date, "accounting_date")?;
    let due = due(&kind, optional(&request.due_date, "due_date")?, request.calendar_version)?;
    let expires_at = match (kind.as_str(), request.expires_at.as_str()) {
        (_, "") => None,
        ("hold", text) => Some(time(text, "expires_at")?),
        _ => return Err(invalid("expires_at", "only a hold expires")),
    };
    let mut references: Vec<_> = request.references.into_iter().map(|r| (r.r#type, r.value)).collect();
    check_references(&references)?;
    references.sort();
    Ok(Posting {
        identity,
        entries: lines(&kind, &request.entries)?,
        kind,
        references,
        effective_time,
        settlement_date,
        demanded_date,
        original,
        config_epoch: i64::try_from(request.config_epoch)
            .map_err(|_| invalid("config_epoch", "too large"))?,
        expires_at,
        due,
    })
}

fn due(kind: &str, date: Option<Date>, calendar: u64) -> Result<Option<(Date, i64)>, Refusal> {
    match date {
        None if calendar == 0 => Ok(None),
        None => Err(invalid("calendar_version", "it comes with a due_date only")),
        Some(_) if matches!(kind, "hold" | "void" | "expire") => {
            Err(invalid("due_date", format!("a {kind} moves nothing that would be due")))
        }
        Some(date) => {
            let calendar = i64::try_from(calendar).map_err(|_| invalid("calendar_version", "too large"))?;
            Ok(Some((date, calendar)))
        }
    }
}

/// Reads an identity; `field` names it in the refusal.
pub fn key(identity: Option<&Identity>, field: &str) -> Result<Key, Refusal> {
    let Some(identity) = identity else { return Err(invalid(field, "it is missing")) };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    let text = &identity.key;
    if text.is_empty() || text.len() > TEXT_MAX || !text.bytes().all(allowed) {
        return Err(invalid(
            format!("{field}.key"),
            "1 to 128 characters of A-Z, a-z, 0-9, '.', '_', ':', '-'",
        ));
    }
    Ok(Key { date: date(&identity.key_date, &format!("{field}.key_date"))?, key: text.clone() })
}

pub fn date(text: &str, field: &str) -> Result<Date, Refusal> {
    let shape = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    match text.parse::<Date>() {
        Ok(date) if shape && date.year() >= 1970 => Ok(date),
        _ => Err(invalid(field, "a date of the form YYYY-MM-DD, 1970 or later, is needed")),
    }
}

/// A time from 1970 on. The books keep none finer, and digest what they keep.
fn time(text: &str, field: &str) -> Result<Timestamp, Refusal> {
    let read = text.parse::<Timestamp>().ok();
    let kept = read.and_then(|time| Timestamp::from_microsecond(time.as_microsecond()).ok());
    kept.filter(|time| *time >= Timestamp::UNIX_EPOCH)
        .ok_or_else(|| invalid(field, "a time as of RFC 3339, 1970 or later, is needed"))
}

fn lines(kind: &str, entries: &[Entry]) -> Result<Vec<Line>, Refusal> {
    match (kind, entries) {
        ("hold", [held]) => return Ok(vec![line(0, held)?]),
        ("hold", _) => return Err(invalid("entries", "a hold has one: what it will lower")),
        ("void" | "expire", []) => return Ok(vec![]),
        ("void" | "expire", _) => return Err(invalid("entries", format!("a {kind} has none"))),
        _ if (2..=ENTRIES_MAX).contains(&entries.len()) => {}
        _ => return Err(invalid("entries", "2 to 64 entries are needed")),
    }
    let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
    let mut lines = Vec::with_capacity(entries.len());
    for (n, entry) in entries.iter().enumerate() {
        let line = line(n, entry)?;
        let sum = sums.entry(line.currency).or_default();
        let amount = i128::from(line.amount_minor);
        // 64 amounts below 2^53 cannot leave an i128.
        *sum = if line.side == "debit" { sum.saturating_add(amount) } else { sum.saturating_sub(amount) };
        lines.push(line);
    }
    match sums.iter().find(|(_, sum)| **sum != 0) {
        None => Ok(lines),
        Some((currency, sum)) => Err(refusal(
            RefusalReason::Unbalanced,
            "entries",
            format!("debits less credits leave {sum} minor units of {currency}"),
        )),
    }
}

fn line(n: usize, entry: &Entry) -> Result<Line, Refusal> {
    let field = |name: &str| format!("entries[{n}].{name}");
    if !is_account(&entry.account) {
        return Err(invalid(
            field("account"),
            "names of A-Z, a-z, 0-9, '.', '_', '-' joined by ':' are needed",
        ));
    }
    let side = side(entry.direction).ok_or_else(|| invalid(field("direction"), "debit or credit"))?;
    if !(1..=AMOUNT_MINOR_MAX).contains(&entry.amount_minor) {
        return Err(invalid(field("amount_minor"), "from 1 to 2^53-1 minor units"));
    }
    let currency = Currency::parse(&entry.currency)
        .map_err(|error| refusal(RefusalReason::Currency, field("currency"), error.to_string()))?;
    Ok(Line { account: entry.account.clone(), side, amount_minor: entry.amount_minor, currency })
}

/// The database's word for a side.
#[must_use]
pub fn side(direction: i32) -> Option<&'static str> {
    match Direction::try_from(direction) {
        Ok(Direction::Debit) => Some("debit"),
        Ok(Direction::Credit) => Some("credit"),
        _ => None,
    }
}

/// Names joined by colons.
#[must_use]
pub fn is_account(code: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    code.len() <= ACCOUNT_MAX && code.split(':').all(|part| !part.is_empty() && part.bytes().all(allowed))
}

fn is_word(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= KIND_MAX && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(allowed)
}

/// Up to 16 names and texts.
pub fn check_texts(texts: &HashMap<String, String>) -> Result<(), &'static str> {
    let good = |(name, text): (&String, &String)| is_word(name) && is_text(text);
    if texts.len() <= REFERENCES_MAX && texts.iter().all(good) {
        return Ok(());
    }
    Err("up to 16 names of a-z, 0-9, '-', each with 1 to 128 printable ASCII characters")
}

fn is_text(text: &str) -> bool {
    (1..=TEXT_MAX).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

fn check_references(references: &[(String, String)]) -> Result<(), Refusal> {
    if references.len() > REFERENCES_MAX {
        return Err(invalid("references", "at most 16 references"));
    }
    let mut seen = BTreeSet::new();
    for (n, reference) in references.iter().enumerate() {
        let (r#type, value) = reference;
        if !is_word(r#type) || !is_text(value) {
            let message = "a type of a-z, 0-9, '-' and a value of 1 to 128 printable ASCII characters";
            return Err(invalid(format!("references[{n}]"), message));
        }
        if !seen.insert(reference) {
            return Err(invalid(format!("references[{n}]"), "it is there twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "request/tests.rs"]
mod tests;
