//! One of many buyers at the merchant's: it makes one order after the other, each with
//! its refunds, asks again for what it was not told, and looks back at old orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::{join, try_join_all};
use payplane_client::message::PaymentStatus::{Processing, Succeeded};
use payplane_testkit::random::Random;

use super::caller::{Caller, Signed};
use super::plan::{Plan, Twice};
use super::record::{Call, Said, Sent};
use super::stage::REPLICAS;

/// So often it asks for one thing; then it leaves it to the end.
const TRIES_MAX: u32 = 4;
/// Old orders that are remembered.
const KEPT: usize = 32;
/// A nonce is kept for 310 s.
const NONCE_KEPT: Duration = Duration::from_secs(200);

pub(super) struct Buyer {
    pub(super) name: String,
    pub(super) caller: Arc<Caller>,
    pub(super) random: Random,
    pub(super) stop: Arc<AtomicBool>,
    /// It begins its next order so long after the last, at the soonest.
    pub(super) every: Duration,
}

/// An order that was made, and the nonce of a request that made it.
struct Old {
    sent: Sent,
    nonce: Option<String>,
    since: Instant,
}

impl Buyer {
    pub(super) async fn run(mut self) -> Result<()> {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut old: Vec<Old> = vec![];
        for n in 0_u64.. {
            ticks.tick().await;
            if self.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            let plan = Plan::draw(&mut self.random);
            old.extend(self.live(format!("{}-{n}", self.name), plan).await?);
            let first = old.len().saturating_sub(KEPT);
            old.drain(..first);
            if self.random.between(1, 8) == 1 && !old.is_empty() {
                let which = usize::try_from(self.random.draw() % old.len() as u64)?;
                self.look_back(&old[which], n).await?;
            }
        }
        Ok(())
    }

    fn to(&mut self, call: Call, number: &str, plan: &Plan) -> Sent {
        let gateway = usize::try_from(self.random.draw() % REPLICAS as u64).unwrap_or(0);
        let (number, method) = (number.to_owned(), plan.method.to_owned());
        Sent { id: 0, call, number, refund: None, amount_minor: plan.amount_minor, method, gateway }
    }

    /// The order, where it is known to be stored.
    async fn live(&mut self, number: String, plan: Plan) -> Result<Option<Old>> {
        self.caller.counts.new_payment();
        let (sent, since) = (self.to(Call::Pay, &number, &plan), Instant::now());
        let (said, nonce) = match plan.twice {
            Some(twice) => self.pay_twice(&sent, twice).await?,
            None => self.insist(&sent, plan.is_hurried).await?,
        };
        let status = said.status();
        if plan.closes && status == Some(Processing) {
            let sent = self.to(Call::Close, &number, &plan);
            self.insist(&sent, false).await?;
        }
        if status == Some(Succeeded) {
            let mut refunds = vec![];
            for (n, amount_minor) in plan.refunds.iter().enumerate() {
                let sent = self.to(Call::Refund, &number, &plan);
                refunds.push(Sent { refund: Some(format!("R{n}")), amount_minor: *amount_minor, ..sent });
            }
            if plan.at_once {
                let one = |sent| insist(&self.caller, sent, Random::new(0), false);
                try_join_all(refunds.iter().map(one)).await?;
            } else {
                for sent in &refunds {
                    self.insist(sent, plan.is_hurried).await?;
                }
            }
        }
        Ok(status.map(|_| Old { sent, nonce, since }))
    }

    async fn insist(&mut self, sent: &Sent, hurried: bool) -> Result<(Said, Option<String>)> {
        let random = Random::new(self.random.draw());
        insist(&self.caller, sent, random, hurried).await
    }

    /// To both gateways at once. Which of the two made it, nobody can tell from an answer
    /// that was lost: these count nowhere as unknown.
    async fn pay_twice(&self, sent: &Sent, twice: Twice) -> Result<(Said, Option<String>)> {
        let here = self.caller.sign(sent, None)?;
        let there = if twice == Twice::SameBytes { here.clone() } else { self.caller.sign(sent, None)? };
        let other = Sent { gateway: (sent.gateway + 1) % REPLICAS, ..sent.clone() };
        let ask = |sent, signed| self.caller.ask(sent, signed, false);
        let (one, two) = join(ask(sent, &here), ask(&other, &there)).await;
        let (one, two) = (one?, two?);
        Ok((if one.is_final() { one } else { two }, None))
    }

    /// Asks for an old order again, in one of four ways.
    async fn look_back(&mut self, old: &Old, n: u64) -> Result<()> {
        let gateway = usize::try_from(self.random.draw() % REPLICAS as u64)?;
        let again = Sent { gateway, ..old.sent.clone() };
        let (sent, nonce) = match self.random.between(1, 4) {
            1 => (Sent { call: Call::Query, ..again }, None),
            2 => (again, None),
            3 => (Sent { call: Call::PayOtherwise, amount_minor: again.amount_minor + 1, ..again }, None),
            _ if old.nonce.is_none() || old.since.elapsed() > NONCE_KEPT => return Ok(()),
            _ => {
                let number = format!("{}-anew-{n}", self.name);
                (Sent { call: Call::PayAnew, number, ..again }, old.nonce.clone())
            }
        };
        let signed = self.caller.sign(&sent, nonce)?;
        self.caller.ask(&sent, &signed, false).await?;
        Ok(())
    }
}

/// Asks, and asks again for what was not answered, at either gateway. The last word, and
/// the nonce of the request that made it.
pub(super) async fn insist(
    caller: &Caller,
    sent: &Sent,
    mut random: Random,
    hurried: bool,
) -> Result<(Said, Option<String>)> {
    let (mut sent, mut unknown, mut tries) = (sent.clone(), false, 0);
    loop {
        let signed: Signed = caller.sign(&sent, None)?;
        let said = caller.ask(&sent, &signed, hurried && tries == 0).await?;
        if let (Some(is_new), true) = (said.is_new(), unknown && makes(sent.call)) {
            caller.counts.resolved(!is_new);
        }
        tries += 1;
        if said.is_answer() || tries == TRIES_MAX {
            let nonce = said.is_new().filter(|is_new| *is_new).map(|_| signed.nonce);
            return Ok((said, nonce));
        }
        unknown |= matches!(said, Said::Unknown { .. });
        sent.gateway = usize::try_from(random.draw() % REPLICAS as u64)?;
        tokio::time::sleep(Duration::from_millis(random.between(100, 1_000))).await;
    }
}

fn makes(call: Call) -> bool {
    matches!(call, Call::Pay | Call::Refund)
}
