//! What is sent: payments signed before the measured time, so that signing takes nothing
//! from the two cores while it runs. The gateway believes a signature for 300 s.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use payplane_client::message::PayRequest;
use payplane_client::sign::{SignatureHeaders, Signer};

use super::register::merchant;
use super::rig::Rig;
use crate::open_loop;
use crate::report::say;

/// Signed at once and sent within so long, with room for what is answered late.
const SECONDS_MAX: u64 = 200;

/// Payments of one app at a rate.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) app: &'static str,
    /// Of the registered merchants the first so many are paid, in turn.
    pub(super) merchants: usize,
    pub(super) rate: u64,
    pub(super) seconds: u64,
}

impl Load {
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.rate.saturating_mul(self.seconds)).unwrap_or(usize::MAX)
    }

    /// When a payment is due, from the beginning on.
    pub(super) fn due(&self, number: usize) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate as f64)
    }
}

/// A payment that is ready to be sent.
pub(super) struct Signed {
    pub(super) body: Vec<u8>,
    pub(super) headers: SignatureHeaders,
}

/// Signs a run's payments. `run` names them: see [`number`].
pub(super) fn sign(rig: &Rig, run: &str, load: &Load) -> Result<Vec<Signed>> {
    ensure!(load.seconds <= SECONDS_MAX, "signatures are believed for 300 s: at most {SECONDS_MAX} s a run");
    let began = std::time::Instant::now();
    let key = rig.folder.path().join(format!("{}.key", load.app));
    let signer = Signer::load(load.app, "k1", &key)?;
    let url = format!("{}/v1/payments", rig.urls()[0]).parse()?;
    let order_date = open_loop::today()?.parse()?;
    let signed = (0..load.count()).map(|n| {
        let request = PayRequest {
            order_date,
            order_number: number(run, n),
            merchant_id: merchant(n % load.merchants),
            method: rig.mix.of(n).method.to_owned(),
            amount_minor: amount(n)?,
            currency: "CNY".into(),
            description: None,
            payer_id: rig.mix.of(n).payer.map(str::to_owned),
            expires_in_seconds: None,
        };
        let body = serde_json::to_vec(&request)?;
        let headers = signer.sign("POST", &url, &body).context("signing failed")?;
        Ok(Signed { body, headers })
    });
    let signed = signed.collect::<Result<Vec<_>>>()?;
    say(&format!(
        "{run}: {} requests signed beforehand in {:.1} s",
        signed.len(),
        began.elapsed().as_secs_f64()
    ));
    Ok(signed)
}

/// From 1.00 to 9.99: none asks the simulator for a fault.
fn amount(n: usize) -> Result<i64> {
    Ok(100 + i64::try_from(n % 900)?)
}

/// The order number of a run's payment.
pub(super) fn number(run: &str, n: usize) -> String {
    format!("{run}-{n}")
}

/// The run and the payment of an order number.
pub(super) fn read(number: &str) -> Option<(&str, usize)> {
    let (run, n) = number.rsplit_once('-')?;
    Some((run, n.parse().ok()?))
}
