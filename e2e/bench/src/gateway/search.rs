//! The highest rate that holds: no payment fails, p99 within 200 ms, and at the end no more
//! is owed than at 10 s.

use anyhow::Result;

use super::GatewayArgs;
use super::attempt::{attempt, warm_up};
use super::mix::Mix;
use super::plan::Load;
use super::register::APP;
use super::rig::Rig;
use crate::report::{figure, precise, say};

/// The rates lie this far apart.
const STEP: f64 = 1.1;
const STEPS_MAX: u32 = 12;

/// 0 where none did.
pub(super) async fn highest(args: &GatewayArgs) -> Result<u64> {
    let rig = Rig::start(Mix::ecdsa(), args.merchants, args.statements).await?;
    warm_up(&rig, args.rate).await?;
    let (mut best, mut rate) = (None, args.rate);
    for step in 0..STEPS_MAX {
        let load = Load { app: APP, merchants: args.merchants, rate, seconds: args.seconds };
        let tried = attempt(&rig, &format!("max{step}"), load).await?;
        let (holds, known) = (tried.holds(rate), best);
        say(&format!("{rate}/s {}", if holds { "holds" } else { "does not hold" }));
        if holds {
            best = Some(rate);
        }
        rate = match (holds, known) {
            (true, Some(known)) if known > rate => break,
            (true, _) => stepped(rate, STEP),
            (false, Some(_)) => break,
            (false, None) => stepped(rate, 1.0 / STEP),
        };
    }
    let best = best.unwrap_or(0);
    figure("gateway_max_tps", precise(best), "1/s");
    Ok(best)
}

fn stepped(rate: u64, by: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of thousands")]
    let next = (precise(rate) * by / 10.0).round() as u64;
    next.max(1) * 10
}
