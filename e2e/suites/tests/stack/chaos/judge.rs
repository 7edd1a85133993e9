//! Whether the merchant's record, the orders, the books, the networks' own record and what
//! the merchant was notified of say the same.

mod books;
mod merchant;
mod networks;
mod surpluses;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use payplane_client::message::PaymentStatus;

use super::end::End;
use super::form::Form;
use super::record::Exchange;

/// What is wrong, by what kind of wrong it is.
#[derive(Default)]
pub(super) struct Findings(BTreeMap<&'static str, Vec<String>>);

pub(super) const MISSING: &str = "missing";
pub(super) const DOUBLED: &str = "doubled";
pub(super) const WRONG: &str = "wrong";
pub(super) const UNEXPLAINED: &str = "unexplained";
const UNFINISHED: &str = "unfinished";

impl Findings {
    fn note(&mut self, kind: &'static str, is_wrong: bool, what: impl FnOnce() -> String) {
        if is_wrong {
            self.0.entry(kind).or_default().push(what());
        }
    }
}

/// Prints the figures, and fails with what differs.
pub(super) fn agree(record: &[Exchange], end: &End, form: &Form) -> Result<()> {
    let mut findings = Findings::default();
    for hanging in end.hanging(form.is_long) {
        findings.note(UNFINISHED, true, || hanging);
    }
    merchant::judge(record, end, &mut findings);
    networks::judge(end, &mut findings);
    books::judge(end, &mut findings);
    surpluses::judge(end, &mut findings);
    let waiting = end.orders.values().filter(|order| order.status == PaymentStatus::Processing).count()
        + end.refunds.iter().filter(|refund| !refund.is_final()).count()
        + end.surpluses.iter().filter(|surplus| surplus.status != "Refunded").count();
    println!(
        "figure: chaos_orders={} orders, {} surpluses, {} in the networks' record, {} transactions, {} notifications",
        end.orders.len(),
        end.surpluses.len(),
        end.taken.len(),
        end.booked.len(),
        end.told.len()
    );
    println!("figure: chaos_waiting={waiting} that the network can still take");
    for kind in [MISSING, DOUBLED, WRONG, UNEXPLAINED, UNFINISHED] {
        let found = findings.0.get(kind).map_or(0, Vec::len);
        println!("figure: chaos_{kind}={found} findings");
    }
    let some: BTreeMap<_, Vec<_>> =
        findings.0.iter().map(|(kind, all)| (kind, all.iter().take(5).collect())).collect();
    ensure!(findings.0.is_empty(), "not all agree: {some:#?}");
    Ok(())
}
