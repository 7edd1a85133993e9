//! How much has to happen for a run to count.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Met;
use super::counts::Counts;
use super::faults::all;

pub(super) struct Form {
    /// Faults last longer than time-outs and leases; nothing is hastened in the end.
    pub(super) is_long: bool,
    pub(super) buyers: u64,
    /// Orders a second, of all buyers.
    rate: u64,
    payments: u64,
    /// Of every fault, with requests under way.
    each: u64,
    /// Requests that ended unknown, and those of them that had taken effect and that had not.
    unknown: u64,
    unknown_each: u64,
    /// Seconds with answers, of a hundred.
    busy_percent: u64,
    /// How long everything may take to come to rest.
    pub(super) rest: Duration,
}

impl Form {
    /// The short form, where nothing else is asked for.
    pub(super) fn of_environment() -> Result<Self> {
        let number = |name: &str, usual: u64| -> Result<u64> {
            let name = format!("PAYPLANE_CHAOS_{name}");
            let Ok(text) = std::env::var(&name) else { return Ok(usual) };
            text.parse().with_context(|| format!("{name} must be a whole number, not {text:?}"))
        };
        let is_long = number("GATEWAY_LONG", 0)? > 0;
        let form = |long, short| if is_long { long } else { short };
        Ok(Self {
            is_long,
            buyers: number("BUYERS", form(128, 32))?,
            rate: number("RATE", form(80, 40))?,
            payments: number("PAYMENTS", form(20_000, 200))?,
            each: number("EACH", form(10, 1))?,
            unknown: number("UNKNOWN", form(200, 5))?,
            unknown_each: number("UNKNOWN_EACH", form(30, 1))?,
            busy_percent: 50,
            rest: Duration::from_secs(number("REST_SECONDS", form(800, 40))?),
        })
    }

    pub(super) fn every(&self) -> Duration {
        Duration::from_secs(1).mul_f64(self.buyers as f64 / self.rate.max(1) as f64)
    }

    /// A round has each fault once.
    pub(super) fn rounds_max(&self) -> u64 {
        self.each * 3 + 2
    }

    /// What has not happened often enough.
    pub(super) fn missing(&self, met: &Met, counts: &Counts) -> Vec<String> {
        let mut missing = vec![];
        let mut need = |what: String, is: u64, least: u64| {
            if is < least {
                missing.push(format!("{what}: {is} of {least}"));
            }
        };
        let (with, without) = counts.unknown();
        need("payments".into(), counts.payments(), self.payments);
        need("unknown".into(), with + without, self.unknown);
        need("unknown with effect".into(), with, self.unknown_each);
        need("unknown without effect".into(), without, self.unknown_each);
        for fault in all() {
            need(format!("{fault:?}"), met.get(&fault).copied().unwrap_or(0), self.each);
        }
        missing
    }

    /// Prints the figures, and fails where the run does not count.
    pub(super) fn tell(&self, met: &Met, counts: &Counts, (seconds, busy): (u64, u64)) -> Result<()> {
        println!("figure: chaos_payments={} orders", counts.payments());
        for (kind, target) in all() {
            let times = met.get(&(kind, target)).copied().unwrap_or(0);
            let name = format!("{kind:?}_{target:?}").to_lowercase();
            println!("figure: chaos_faults_{name}={times} with requests in flight");
        }
        let (with, without) = counts.unknown();
        println!("figure: chaos_unknown={} requests", with + without);
        println!("figure: chaos_unknown_with_effect={with} requests");
        println!("figure: chaos_unknown_without_effect={without} requests");
        println!("figure: chaos_seconds={seconds} s");
        println!("figure: chaos_seconds_with_traffic={busy} s");
        let missing = self.missing(met, counts);
        ensure!(missing.is_empty(), "too little happened for this to count: {missing:?}");
        ensure!(busy * 100 >= seconds * self.busy_percent, "traffic stood still: {busy} of {seconds} s");
        Ok(())
    }
}
