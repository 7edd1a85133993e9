//! A proposal as it is written.

use jiff::Timestamp;
use uuid::Uuid;

use super::super::fields::Fields;
use super::super::open_items::kind;
use super::super::problem::Problem;
use super::super::wire::{NAME_LENGTH_MAX, TEXT_CHARS_MAX, is_name};
use crate::decide::Proposal;

const REFERENCE_CHARS_MAX: usize = 128;

pub(super) fn read(body: &[u8]) -> Result<Proposal, Problem> {
    let mut fields = Fields::parse(body)?;
    let kind = kind(&fields.text("kind")?)?;
    let item_id = fields.text("itemId")?;
    let item_id = Uuid::parse_str(&item_id)
        .map_err(|_| Problem::field("itemId", "must be the itemId of an open item, a UUID"))?;
    let outcome = fields.text("outcome")?;
    let choice = kind.choices().iter().find(|choice| choice.as_str() == outcome).copied();
    let choice = choice.ok_or_else(|| {
        let names = kind.choices().iter().map(|choice| choice.as_str()).collect::<Vec<_>>();
        let detail = match names.as_slice() {
            [] => {
                format!("nobody decides a {}: what keeps the ledger from it has to be mended", kind.as_str())
            }
            names => format!("must be one of {} for a {}", names.join(", "), kind.as_str()),
        };
        Problem::field("outcome", detail)
    })?;
    let receipt = if choice.has_receipt() { Some(receipt(&mut fields)?) } else { None };
    let reason = fields.free_text("reason", TEXT_CHARS_MAX)?;
    let reference = fields.free_text("reference", REFERENCE_CHARS_MAX)?;
    fields.end()?;
    Ok(Proposal { kind, item_id, choice, receipt, reason, reference })
}

/// How the network knows a success, and since when.
fn receipt(fields: &mut Fields) -> Result<(String, Timestamp), Problem> {
    let network_id = fields.text("networkId")?;
    if !is_name(&network_id) {
        let detail = format!("must be 1 to {NAME_LENGTH_MAX} printable ASCII characters");
        return Err(Problem::field("networkId", detail));
    }
    let detail = "must be a time such as 2026-11-24T08:30:00Z";
    let time = fields.text("networkTime")?.parse::<Timestamp>();
    let time = time.map_err(|_| Problem::field("networkTime", detail))?;
    // As the database keeps it.
    let time = Timestamp::from_microsecond(time.as_microsecond());
    Ok((network_id, time.map_err(|_| Problem::field("networkTime", detail))?))
}

#[cfg(test)]
mod trials;
