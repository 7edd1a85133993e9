//! What a run found, in lines that programs and people read.

use hdrhistogram::Histogram;
use jiff::Timestamp;

use super::record::{Entry, Kind, Outcome};

const DIGITS: u8 = 3;

/// The summary. Latencies are those of every answer, refusals and time-outs
/// included, from the intended time on; gaps are between first answers that
/// told of success, the run's start and the last request's time included.
pub(super) fn text(entries: &[Entry], skipped: u64, started: Timestamp, ended: Timestamp) -> String {
    let count = |wanted: &dyn Fn(&Entry) -> bool| entries.iter().filter(|entry| wanted(entry)).count();
    let outcome = |outcome: Outcome| count(&|entry| entry.outcome() == outcome);
    let at_once = |outcome| count(&|e| e.answered.as_ref().is_some_and(|a| a.outcome == outcome));
    let mut lines = vec![
        figure("sent", entries.len(), "requests"),
        figure("sent_refunds", count(&|e| e.sent.kind == Kind::Refund), "requests"),
        figure("not_sent", skipped, "requests"),
        figure("succeeded", outcome(Outcome::Succeeded), "requests"),
        figure("succeeded_at_once", at_once(Outcome::Succeeded), "requests"),
        figure("failed", outcome(Outcome::Failed), "requests"),
        figure("refused", outcome(Outcome::Refused), "requests"),
        figure("processing_at_once", at_once(Outcome::Processing), "requests"),
        figure("processing", outcome(Outcome::Processing), "requests"),
        figure("unknown_at_once", at_once(Outcome::Unknown), "requests"),
        figure("unknown", outcome(Outcome::Unknown), "requests"),
        figure("absent", outcome(Outcome::Absent), "requests"),
    ];
    if let Some(latency) = latencies(entries) {
        for (name, micros) in [
            ("latency_p50", latency.value_at_quantile(0.5)),
            ("latency_p99", latency.value_at_quantile(0.99)),
            ("latency_max", latency.max()),
        ] {
            lines.push(figure(name, millis(micros), "ms"));
        }
    }
    lines.push(figure("longest_gap_between_successes", longest_gap(entries, started, ended), "ms"));
    lines.extend(reasons(entries));
    lines.join("\n")
}

/// One line while the run is at work.
pub(super) fn progress<'a>(entries: impl Iterator<Item = &'a Entry>) -> String {
    let (mut sent, mut open, mut succeeded) = (0u64, 0u64, 0u64);
    for entry in entries {
        sent += 1;
        open += u64::from(entry.answered.is_none());
        succeeded += u64::from(entry.outcome() == Outcome::Succeeded);
    }
    format!("sent {sent}, succeeded {succeeded}, waiting {open}")
}

fn figure(name: &str, value: impl std::fmt::Display, unit: &str) -> String {
    format!("figure: {name}={value} {unit}")
}

fn millis(micros: u64) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

fn latencies(entries: &[Entry]) -> Option<Histogram<u64>> {
    let mut histogram = Histogram::new(DIGITS).ok()?;
    for answered in entries.iter().filter_map(|entry| entry.answered.as_ref()) {
        histogram.record(answered.latency_micros).ok()?;
    }
    Some(histogram)
}

fn longest_gap(entries: &[Entry], started: Timestamp, ended: Timestamp) -> i128 {
    let acknowledged = entries.iter().filter(|entry| entry.is_acknowledged());
    let mut times: Vec<Timestamp> =
        acknowledged.filter_map(|entry| entry.answered.as_ref()).map(|a| a.answered_at).collect();
    times.extend([started, ended]);
    times.sort();
    let gaps = times.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_millis());
    gaps.max().unwrap_or(0)
}

/// Why requests did not succeed: each reason once, with its count, the most
/// frequent first.
fn reasons(entries: &[Entry]) -> Vec<String> {
    const REASONS_MAX: usize = 10;
    let mut counts: std::collections::HashMap<(Outcome, &str), u64> = std::collections::HashMap::new();
    for answered in entries.iter().filter_map(|entry| entry.answered.as_ref()) {
        if answered.outcome != Outcome::Succeeded {
            *counts.entry((answered.outcome, answered.why.as_deref().unwrap_or("-"))).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.1.cmp(b.0.1)));
    counts.iter().take(REASONS_MAX).map(|((o, why), n)| format!("reason: {n} x {o:?}: {why}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::record::Record;

    fn entries() -> Vec<Entry> {
        let mut text = String::new();
        for (id, second, outcome) in [(0, 1, "Succeeded"), (1, 5, "Unknown"), (2, 8, "Succeeded")] {
            text += &format!(
                r#"{{"event":"Sent","id":{id},"kind":"Pay","orderDate":"2026-11-24","orderNumber":"o{id}","merchantId":"M1","method":"card","amountMinor":1,"currency":"CNY","intendedAt":"2026-11-24T00:00:00Z","sentAt":"2026-11-24T00:00:00Z"}}
{{"event":"Answered","id":{id},"answeredAt":"2026-11-24T00:00:0{second}Z","latencyMicros":{},"outcome":"{outcome}"}}
"#,
                (id + 1) * 1500
            );
        }
        Record::parse(&text).unwrap().entries.into_values().collect()
    }

    #[test]
    fn figures_and_the_longest_gap() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let text = text(&entries(), 4, at("2026-11-24T00:00:00Z"), at("2026-11-24T00:00:09Z"));
        for line in [
            "figure: sent=3 requests",
            "figure: not_sent=4 requests",
            "figure: succeeded=2 requests",
            "figure: unknown=1 requests",
            "figure: latency_p50=3.00",
            "figure: latency_max=4.5",
            "figure: longest_gap_between_successes=7000 ms",
            "reason: 1 x Unknown: -",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
