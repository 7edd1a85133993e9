//! Load from the merchant's pod, and its record: what was sent and acknowledged,
//! fsynced outside of the system under test.

pub mod compare;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use payplane_client::load::{Entry, Outcome, Record};

use crate::merchant::{self, App};
use crate::{books, wait};

/// Payments of all requests at least: of 58 a second 50. The plan has nine in ten.
const LEAST_SHARE: f64 = 0.863;

/// How the load is put on.
#[derive(Clone, Debug)]
pub struct Options {
    pub rate: u32,
    pub refund_share: u32,
    pub amounts: &'static str,
    /// The client's time-out. It never sends anything twice.
    pub timeout: &'static str,
    /// How long a connection may be silent until the client gives it up.
    pub silence: &'static str,
    /// How long outcomes that are open at the end are asked for.
    pub settle: &'static str,
    pub seed: u64,
}

impl Options {
    /// 50 payments a second and their refunds, time-out 30 s.
    #[must_use]
    pub fn fifty(seed: u64) -> Self {
        Self {
            rate: 58,
            refund_share: 10,
            amounts: "100-8000",
            timeout: "30s",
            silence: "8s",
            settle: "240s",
            seed,
        }
    }

    /// 200 payments a second and their refunds.
    #[must_use]
    pub fn two_hundred(seed: u64) -> Self {
        Self { rate: 232, ..Self::fifty(seed) }
    }
}

/// A load at work.
pub struct Load {
    child: Child,
    tenant: String,
    prefix: String,
    file: String,
    rate: u32,
}

/// A load that has ended: its record, and what it said.
pub struct Run {
    pub record: Record,
    pub summary: String,
    pub tenant: String,
    pub prefix: String,
}

impl Load {
    /// Starts, and waits until payments succeed.
    ///
    /// # Panics
    /// Where none succeeds.
    #[must_use]
    pub fn start(app: &App, name: &str, options: &Options) -> Self {
        let prefix = format!("{name}{}-", Timestamp::now().as_second());
        let file = format!("/records/{prefix}.jsonl");
        let (rate, share) = (options.rate.to_string(), options.refund_share.to_string());
        let (gateway, seed) = (app.gateway(8443), options.seed.to_string());
        let (ca, key) = (format!("{}/ca.crt", app.folder), format!("{}/app.key", app.folder));
        let program = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        let child = Command::new(program)
            .args(["exec", "-n", "merchants", "deploy/merchant", "--", "/payplane", "client", "load", "run"])
            .args(["--gateway", &gateway, "--ca", &ca, "--app", &app.app, "--key", &key, "--key-id", "k1"])
            .args(["--rate", &rate, "--refund-share", &share, "--amount-range", options.amounts])
            .args(["--timeout", options.timeout, "--silence", options.silence, "--settle", options.settle])
            .args(["--connections", "8"])
            .args(["--duration", "7200s", "--record", &file, "--prefix", &prefix, "--seed", &seed])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("kubectl starts");
        let load = Self { child, tenant: app.tenant.clone(), prefix, file, rate: options.rate };
        load.await_success(Timestamp::now(), Duration::from_secs(30));
        load
    }

    /// Waits until a payment that was made after a moment has succeeded, as the
    /// gateway's table says; tells how long after that moment it was completed.
    pub fn await_success(&self, after: Timestamp, at_most: Duration) -> Duration {
        let sql = format!(
            "select extract(epoch from min(completed_at) - '{after}'::timestamptz) from gateway.orders \
             where status = 'Succeeded' and order_number like '{}%' and created_at > '{after}'",
            self.prefix
        );
        wait::until("a payment to succeed", at_most, || {
            let said = books::try_sql(&self.tenant, &sql)?;
            let seconds: f64 = said.trim().parse().map_err(|_| format!("none yet: {said}"))?;
            Ok(Duration::from_secs_f64(seconds.max(0.0)))
        })
    }

    /// Ends the load, waits until its open outcomes are settled, and reads the record.
    ///
    /// # Panics
    /// Where the client failed, which includes a record that could not be kept.
    #[must_use]
    pub fn stop(mut self) -> Run {
        merchant::exec(&["client", "load", "stop", &self.file]).expect("the load is told to stop");
        let mut summary = String::new();
        if let Some(mut said) = self.child.stdout.take() {
            said.read_to_string(&mut summary).expect("the load's summary is text");
        }
        let status = self.child.wait().expect("kubectl ends");
        assert!(status.success(), "the load failed: {summary}");
        let text = merchant::exec(&["client", "load", "dump", &self.file]).expect("the record is read");
        let record = Record::parse(&(text.trim_end().to_owned() + "\n")).expect("the record is whole");
        println!("{summary}");
        assert!(summary.contains("figure: not_sent=0 "), "the client kept up with its plan");
        let run = Run { record, summary, tenant: self.tenant.clone(), prefix: self.prefix.clone() };
        println!("figure: payments_per_second={:.1}", run.payments_per_second());
        println!("figure: sent_late_max={:.3} s", run.sent_late_max());
        assert!(
            run.payments_per_second() >= f64::from(self.rate) * LEAST_SHARE,
            "the load is what was asked for"
        );
        run
    }
}

impl Drop for Load {
    /// A suite that failed leaves no load behind for the next one.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = merchant::exec(&["client", "load", "stop", &self.file]);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Run {
    /// Compares the record with the books, both ways.
    ///
    /// # Panics
    /// With every difference.
    pub fn assert_booked(&self) {
        books::assert_balanced(&self.tenant);
        let booked = books::booked(&self.tenant, &self.prefix);
        let found = compare::compare(&self.record, &booked);
        println!("figure: sent={} requests", self.record.entries.len());
        println!("figure: booked={} transactions", booked.len());
        for (what, requests) in [
            ("missing", &found.missing),
            ("doubled", &found.doubled),
            ("wrong", &found.wrong),
            ("unexplained", &found.unexplained),
            ("unresolved", &found.unresolved),
        ] {
            println!("figure: {what}={} requests", requests.len());
        }
        assert!(!booked.is_empty(), "nothing was booked at all");
        assert_eq!(found, compare::Differences::default(), "record and books of {} differ", self.tenant);
    }

    /// Payments, refunds left out, from the first to the last by the plan's times: the
    /// plan waits for nobody, and a machine too slow for it shows as latency.
    fn payments_per_second(&self) -> f64 {
        let planned = || self.record.entries.values().map(|entry| entry.sent.intended_at);
        let (first, last) = (planned().min(), planned().max());
        let seconds = first.zip(last).map_or(0.0, |(first, last)| last.duration_since(first).as_secs_f64());
        let payments = self.record.entries.values().filter(|entry| entry.sent.refund_number.is_none());
        payments.count() as f64 / seconds.max(1.0)
    }

    /// How late a request was sent at most: it is in the latency that the client tells.
    fn sent_late_max(&self) -> f64 {
        let late = |entry: &Entry| entry.sent.sent_at.duration_since(entry.sent.intended_at).as_secs_f64();
        self.record.entries.values().map(late).fold(0.0, f64::max)
    }

    /// The longest time without an acknowledged success between two moments.
    #[must_use]
    pub fn longest_gap(&self, from: Timestamp, to: Timestamp) -> Duration {
        let told = self.record.entries.values().filter(|entry| entry.is_acknowledged());
        let told = told.filter_map(|entry| entry.answered.as_ref()).map(|answered| answered.answered_at);
        let mut times: Vec<_> = told.filter(|at| (from..to).contains(at)).chain([from, to]).collect();
        times.sort();
        let gaps = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
        Duration::try_from(gaps.max().unwrap_or_default()).unwrap_or_default()
    }

    /// Prints when nobody was told of a success for a second or more.
    pub fn print_gaps(&self) {
        let told = self.record.entries.values().filter(|entry| entry.is_acknowledged());
        let mut times: Vec<_> = told.filter_map(|e| e.answered.as_ref()).map(|a| a.answered_at).collect();
        times.sort();
        let Some(first) = times.first().copied() else { return };
        for pair in times.windows(2) {
            let gap = pair[1].duration_since(pair[0]);
            if gap.as_secs() >= 1 {
                let after = pair[0].duration_since(first).as_secs();
                println!("figure: gap_after({after} s)={} ms", gap.as_millis());
            }
        }
    }

    /// Requests that were taken, and decided well a moment after their answer.
    #[must_use]
    pub fn decided_later(&self) -> usize {
        let entries = self.record.entries.values();
        entries.filter(|e| e.answered.as_ref().is_some_and(|a| a.outcome == Outcome::Processing)).count()
    }

    /// Requests that were not answered with a success, with the reason.
    #[must_use]
    pub fn failures(&self) -> Vec<&Entry> {
        let entries = self.record.entries.values();
        entries
            .filter(|e| {
                let said = e.answered.as_ref().map(|answered| answered.outcome);
                // Taken and decided a moment later is no failure, if it was decided well.
                let taken = said == Some(Outcome::Processing) && e.outcome() == Outcome::Succeeded;
                said != Some(Outcome::Succeeded) && !taken
            })
            .collect()
    }

    /// The longest wait for an answer.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        let answers = self.record.entries.values().filter_map(|entry| entry.answered.as_ref());
        Duration::from_micros(answers.map(|answered| answered.latency_micros).max().unwrap_or_default())
    }
}
