//! An app that behaves beside one that floods: how much of what it asks for it gets.

use anyhow::Result;

use super::GatewayArgs;
use super::attempt::warm_up;
use super::mix::Mix;
use super::outcome::Outcome;
use super::plan::{self, Load};
use super::register::{APP, FLOOD};
use super::rig::Rig;
use super::{drive, settle};
use crate::report::{figure, precise};

/// The one asks for a tenth of the highest rate, the other for twice that rate.
const MODEST: u64 = 10;

pub(super) async fn measure(args: &GatewayArgs, highest: u64) -> Result<()> {
    let rig = Rig::start(Mix::ecdsa(), args.merchants, args.statements).await?;
    warm_up(&rig, highest).await?;
    let (merchants, seconds) = (args.merchants, args.seconds);
    let good = Load { app: APP, merchants, rate: (highest / MODEST).max(1), seconds };
    let flood = Load { app: FLOOD, merchants, rate: highest * 2, seconds };
    let (good_signed, flood_signed) = (plan::sign(&rig, "good", &good)?, plan::sign(&rig, "flood", &flood)?);
    let (good, flood) = tokio::join!(
        drive::run(&rig, "good", good, good_signed),
        drive::run(&rig, "flood", flood, flood_signed)
    );
    let (good, flood) = (good?, flood?);
    settle::wait(&rig).await?;
    let kept = Outcome::count(&good, &settle::posted(&rig, "good").await?)?;
    kept.print("good", &good);
    Outcome::count(&flood, &settle::posted(&rig, "flood").await?)?.print("flood", &flood);
    figure("gateway_fair_share", precise(kept.completed) / precise(kept.sent.max(1)), "of what it asked for");
    figure("gateway_fair_p99_ms", kept.p99_ms(), "ms");
    settle::agreement(&rig).await
}
