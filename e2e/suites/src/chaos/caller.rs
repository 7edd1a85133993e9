//! One caller: it posts one request after the other, and asks again under the same
//! identity until it is told what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use payplane_api::ledger::v1::ledger_client::LedgerClient;
use payplane_api::ledger::v1::{Outcome, PostResponse, RefusalReason};
use payplane_client::load::journal::Journal;
use tonic::transport::Channel;
use tonic::{Code, ConnectError, Request, Status};

use super::counts::{Counts, Unknown};
use super::plan::{self, Plan};
use super::record::{Answered, Line, Sent};
use crate::random::Random;

pub(super) const CALL_MAX: Duration = Duration::from_secs(4);
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// What is open when the load ends is asked for so long.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// What all callers share.
pub(super) struct Shared {
    pub(super) counts: Counts,
    pub(super) stop: AtomicBool,
    pub(super) journal: Journal,
    /// The least config epoch in force, as refusals told.
    pub(super) epoch: AtomicU64,
    pub(super) date: String,
    /// Each caller begins its next request so long after the last, at the soonest.
    pub(super) every: Duration,
}

pub(super) struct Caller {
    pub(super) name: String,
    /// The number of the ledger that its client calls.
    pub(super) ledger: usize,
    pub(super) client: LedgerClient<Channel>,
    pub(super) random: Random,
    pub(super) shared: Arc<Shared>,
}

impl Caller {
    pub(super) async fn run(mut self) {
        let mut plan = Plan::default();
        let mut ticks = tokio::time::interval(self.shared.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for n in 0_u64.. {
            ticks.tick().await;
            if self.shared.stop.load(Ordering::Acquire) {
                return;
            }
            let sent = plan.next(format!("{}-{n}", self.name), &mut self.random);
            self.shared.journal.write(&Line::Sent(sent.clone())).await.expect("the record is kept");
            let Some((answered, unknown)) = self.settle(&sent).await else { return };
            self.shared.journal.write(&Line::Answered(answered.clone())).await.expect("the record is kept");
            // A first answer cannot be a repeated one.
            assert!(unknown || !answered.replayed, "{sent:?} was booked by nobody's call: {answered:?}");
            let how = match (&answered.refusal, answered.replayed) {
                (Some(_), _) => Unknown::Refused,
                (None, true) => Unknown::Booked,
                (None, false) => Unknown::NotBooked,
            };
            self.shared.counts.answered(answered.refusal.is_some(), unknown.then_some(how));
            plan.learn(&sent, &answered);
        }
    }

    /// Asks until there is an answer; says whether it had ended unknown before.
    async fn settle(&mut self, sent: &Sent) -> Option<(Answered, bool)> {
        let (mut unknown, mut until) = (false, None);
        loop {
            if self.shared.stop.load(Ordering::Acquire) {
                let until = *until.get_or_insert_with(|| Instant::now() + SETTLED_WITHIN);
                if Instant::now() > until {
                    return None;
                }
            }
            match self.ask(sent).await {
                Ok(Some(answered)) => return Some((answered, unknown)),
                // Decided on a config that is no longer in force.
                Ok(None) => continue,
                Err(status) => unknown |= may_have_booked(&status),
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn ask(&mut self, sent: &Sent) -> Result<Option<Answered>, Box<Status>> {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        let mut asked = Request::new(plan::request(sent, &self.shared.date, epoch));
        asked.set_timeout(CALL_MAX);
        self.shared.counts.left(self.ledger);
        let answer = self.client.post(asked).await;
        self.shared.counts.ended(self.ledger);
        let answer = answer.map_err(Box::new)?.into_inner();
        if answer.refusal.as_ref().is_some_and(|r| r.reason() == RefusalReason::StaleConfig) {
            self.shared.epoch.fetch_max(answer.config_epoch_min, Ordering::AcqRel);
            return Ok(None);
        }
        Ok(Some(told(sent, &answer)))
    }
}

/// The ledger says where nothing was sent to the books, and a call that found no
/// connection has not left; whatever else it was, nobody knows.
fn may_have_booked(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return false;
        }
        cause = error.source();
    }
    status.code() != Code::ResourceExhausted && !status.message().contains("nothing was sent")
}

fn told(sent: &Sent, answer: &PostResponse) -> Answered {
    let refusal = answer.refusal.as_ref().map(|refusal| refusal.reason());
    // Nothing else is asked for that could be refused.
    assert!(matches!(refusal, None | Some(RefusalReason::Insufficient)), "{sent:?} is refused: {answer:?}");
    Answered {
        key: sent.key.clone(),
        transaction_id: refusal.is_none().then(|| answer.transaction_id.clone()),
        replayed: answer.outcome() == Outcome::Replayed,
        refusal: refusal.map(|reason| reason.as_str_name().trim_start_matches("REFUSAL_REASON_").to_owned()),
        timeline: answer.timeline,
        wal_position: answer.wal_position,
    }
}
