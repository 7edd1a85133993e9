//! What the gateway counts. Names end in their unit.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Call {
    pub operation: &'static str,
    pub status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    pub channel: String,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Name {
    pub channel: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Tried {
    /// `taken` or `failed`.
    pub outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Notified {
    pub channel: String,
    /// `taken`, `not_taken` or `unproven`.
    pub result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Verdict {
    pub policy: String,
    /// `Enforce` or `Shadow`.
    pub mode: &'static str,
    pub verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SteppedUp {
    /// `Sent`, `NotSent`, `Wrong`, `Confirmed`, `Allowed` or `Failed`.
    pub outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SealedBy {
    pub key: String,
}

/// Seconds from 5 ms to 10 s.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

#[derive(Clone)]
pub struct Metrics {
    pub requests: Family<Call, Counter>,
    pub request_seconds: Histogram,
    pub attempts: Family<Outcome, Counter>,
    pub channel_rests: Family<Name, Gauge>,
    pub risk_verdicts: Family<Verdict, Counter>,
    pub step_ups: Family<SteppedUp, Counter>,
    pub network_notifications: Family<Notified, Counter>,
    pub in_flight: Gauge,
    pub orders_open: Gauge,
    pub orders_open_oldest_seconds: Gauge<f64, AtomicU64>,
    pub payouts_open: Gauge,
    pub payouts_open_oldest_seconds: Gauge<f64, AtomicU64>,
    pub postings_owed: Counter,
    pub surpluses_open: Gauge,
    pub surpluses_held: Gauge,
    pub open_items: Gauge,
    pub open_items_oldest_seconds: Gauge<f64, AtomicU64>,
    pub notifications: Family<Tried, Counter>,
    pub notifications_pending: Gauge,
    pub notifications_pending_oldest_seconds: Gauge<f64, AtomicU64>,
    pub notifications_dead: Gauge,
    pub sealed_rows: Family<SealedBy, Gauge>,
    pub vault_away_seconds: Gauge<f64, AtomicU64>,
    pub messages_unkept: Counter,
    pub config_epoch: Gauge,
}

/// A request in flight, until it is dropped.
pub struct InFlight<'a>(&'a Gauge);

impl<'a> InFlight<'a> {
    #[must_use]
    pub fn of(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            request_seconds: Histogram::new(BUCKETS),
            attempts: Family::default(),
            channel_rests: Family::default(),
            risk_verdicts: Family::default(),
            step_ups: Family::default(),
            network_notifications: Family::default(),
            in_flight: Gauge::default(),
            orders_open: Gauge::default(),
            orders_open_oldest_seconds: Gauge::default(),
            payouts_open: Gauge::default(),
            payouts_open_oldest_seconds: Gauge::default(),
            postings_owed: Counter::default(),
            surpluses_open: Gauge::default(),
            surpluses_held: Gauge::default(),
            open_items: Gauge::default(),
            open_items_oldest_seconds: Gauge::default(),
            notifications: Family::default(),
            notifications_pending: Gauge::default(),
            notifications_pending_oldest_seconds: Gauge::default(),
            notifications_dead: Gauge::default(),
            sealed_rows: Family::default(),
            vault_away_seconds: Gauge::default(),
            messages_unkept: Counter::default(),
            config_epoch: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("payplane_gateway");
        registry.register("requests", "Requests by operation and status", metrics.requests.clone());
        registry.register(
            "request_seconds",
            "How long a request of the app API took",
            metrics.request_seconds.clone(),
        );
        registry.register(
            "attempts",
            "Requests to networks by channel and outcome",
            metrics.attempts.clone(),
        );
        registry.register(
            "channel_rests",
            "1 while payments go to other channels first, as this one's network does not answer",
            metrics.channel_rests.clone(),
        );
        registry.register(
            "risk_verdicts",
            "Payments that risk policies matched, by policy, mode and verdict",
            metrics.risk_verdicts.clone(),
        );
        registry.register(
            "step_ups",
            "One-time codes that risk policies asked for, and what came of them",
            metrics.step_ups.clone(),
        );
        registry.register(
            "network_notifications",
            "Notifications of networks by channel and what came of them",
            metrics.network_notifications.clone(),
        );
        registry.register(
            "messages_unkept",
            "Raw messages that the database did not take; what they said was stored without them",
            metrics.messages_unkept.clone(),
        );
        registry.register("in_flight", "Requests being worked on", metrics.in_flight.clone());
        registry.register(
            "orders_open",
            "Orders whose outcome or posting is owed",
            metrics.orders_open.clone(),
        );
        registry.register(
            "orders_open_oldest_seconds",
            "Age of the oldest such order",
            metrics.orders_open_oldest_seconds.clone(),
        );
        registry.register(
            "postings_owed",
            "Postings left to the resolver, because the ledger was away",
            metrics.postings_owed.clone(),
        );
        metrics.register_notifications(registry);
        metrics.register_persons(registry);
        registry.register(
            "payouts_open",
            "Payouts without an end yet: the merchants are debited",
            metrics.payouts_open.clone(),
        );
        registry.register(
            "payouts_open_oldest_seconds",
            "Age of the oldest such payout",
            metrics.payouts_open_oldest_seconds.clone(),
        );
        registry.register(
            "sealed_rows",
            "What is sealed, by the data key: a former one may go once it has none",
            metrics.sealed_rows.clone(),
        );
        registry.register(
            "vault_away_seconds",
            "For how long the vault's login has not got through; payouts and payments by agreement wait for it",
            metrics.vault_away_seconds.clone(),
        );
        registry.register("config_epoch", "Epoch of the config in force", metrics.config_epoch.clone());
        metrics
    }

    fn register_persons(&self, registry: &mut Registry) {
        registry.register(
            "surpluses_open",
            "Payments that no order stands for, on their way back",
            self.surpluses_open.clone(),
        );
        registry.register(
            "surpluses_held",
            "Such payments that wait for a person",
            self.surpluses_held.clone(),
        );
        registry.register(
            "open_items",
            "What no machine ends, or has not for long: persons decide it",
            self.open_items.clone(),
        );
        registry.register(
            "open_items_oldest_seconds",
            "Age of the oldest such item",
            self.open_items_oldest_seconds.clone(),
        );
    }

    fn register_notifications(&self, registry: &mut Registry) {
        registry.register("notifications", "Notifications sent, by outcome", self.notifications.clone());
        registry.register(
            "notifications_pending",
            "Notifications that apps have not taken yet",
            self.notifications_pending.clone(),
        );
        registry.register(
            "notifications_pending_oldest_seconds",
            "Age of the oldest such notification",
            self.notifications_pending_oldest_seconds.clone(),
        );
        registry.register(
            "notifications_dead",
            "Notifications that are not tried any more",
            self.notifications_dead.clone(),
        );
    }
}
