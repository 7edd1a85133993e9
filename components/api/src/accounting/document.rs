//! `docs/accounting.md`, from the table.

use std::fmt::Write as _;

use super::{Account, Amounts, Event, Part, Who, events};
use crate::ledger::v1::{Direction, Entry};

/// What the vectors are computed with.
pub const VECTOR: Amounts = Amounts { amount: 10_000, fee: 60, vat: 4 };
pub const WHO: Who<'_> = Who { merchant: "M1", channel: "C1", customer: "U1" };

const HEAD: &str = "# Accounting

How each event is booked: generated from the posting table in `components/api/src/accounting`; `UPDATE=1 cargo test --workspace --test accounting` writes it anew.
Amounts are whole minor units of one currency. The accounting date is that of the moment in column *date*, by the tenant's time zone and cut-off, or the earliest day that is
not closed. The key date is the day on which the caller first stored what the key names, kept with it and sent on every retry. A line that moves nothing is left out.
The gateway books sales, top-ups over networks, refunds, surpluses and payouts today, and what of them failed; that a payout arrived, settlement, disputes and reconciliation will be booked by the same table.

## Accounts

One for each currency. Of an account with a floor what is available (posted less held) never falls below zero.

| code | normal side | floor | what |
|---|---|---|---|
";

/// The whole document.
#[must_use]
pub fn text() -> String {
    let mut text = HEAD.to_owned();
    for account in Account::ALL {
        let floor = if account.has_floor() { "0" } else { "none" };
        let side = side(account.normal_side());
        let _ = writeln!(text, "| `{}` | {side} | {floor} | {} |", account.pattern(), account.what());
    }
    text += "\n## Events\n\n*Net* is the amount less fee and tax. *Of* is the original that an event is linked to: together its links never exceed it.\n\n\
             | event | kind, of | debit | credit | date | key |\n|---|---|---|---|---|---|\n";
    for event in events::ALL {
        let of = event.original.map(|original| format!(", of {original}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "| **{}**: {} | `{}`{of} | {} | {} | {} | `{}` |",
            event.name,
            event.what,
            event.kind,
            lines(event, Direction::Debit),
            lines(event, Direction::Credit),
            event.effective,
            event.key
        );
    }
    let _ = write!(
        text,
        "\n## Test vectors\n\nWith amount {}, fee {} and tax {}, merchant M1, channel C1, customer U1:\n\n| event | entries |\n|---|---|\n",
        VECTOR.amount, VECTOR.fee, VECTOR.vat
    );
    for event in events::ALL {
        let entries = event.entries(WHO, VECTOR, "CNY").unwrap_or_default();
        let entries: Vec<_> = entries.iter().map(said).collect();
        let _ = writeln!(text, "| {} | {} |", event.name, entries.join("<br>"));
    }
    text
}

fn side(direction: Direction) -> &'static str {
    if direction == Direction::Debit { "debit" } else { "credit" }
}

fn said(entry: &Entry) -> String {
    format!("{} {} {}", side(entry.direction()), entry.account, entry.amount_minor)
}

fn lines(event: &Event, direction: Direction) -> String {
    let lines = event.lines.iter().filter(|line| line.side == direction);
    let said = lines.map(|line| {
        let part = match line.part {
            Part::Amount => "amount",
            Part::Fee => "fee",
            Part::Vat => "tax",
            Part::FeeAndVat => "fee and tax",
            Part::Net => "net",
        };
        format!("{} {part}", line.account.pattern())
    });
    said.collect::<Vec<_>>().join("<br>")
}
