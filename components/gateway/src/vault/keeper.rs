//! The keeper of what is sealed. It seals anew what a former data key seals, in the vault and where
//! a release before it left tokens, sweeps what nobody needs any more, counts, and tells when the
//! vault is away. Every replica runs one; each piece of work is small, bounded and may be done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use payplane_common::shutdown::Shutdown;
use payplane_common::telemetry::chain;
use uuid::Uuid;

use super::{Secret, reseal};
use crate::gateway::Gateway;
use crate::keys::whose;
use crate::metrics::SealedBy;
use crate::signature::algorithm::Algorithm;
use crate::store::StoreError;
use crate::store::sealed::Needed;
use crate::store::vault::{Kept, Sealed};

const EVERY: Duration = Duration::from_secs(2);
/// Rows of each kind in one turn.
const BATCH: i64 = 256;
/// Agreements in one turn: those with a token here are to be found among all.
const AGREEMENTS: i64 = 1024;
/// Counted so often, and less where counting takes longer than a hundredth of that.
const COUNT_EVERY: Duration = Duration::from_secs(10);
const COUNT_SHARE: u32 = 100;
/// Payees that a former release left in its columns are counted as this key's.
const FORMER_RELEASE: &str = "former-release";
/// Who is away for so long is not back by himself.
const AWAY_MAX: Duration = Duration::from_secs(60);

const TOLD_MAX: usize = 256;

/// Where the last turn ended.
#[derive(Default)]
struct Keeper {
    resealed: BTreeMap<(&'static str, String), Uuid>,
    swept: BTreeMap<&'static str, Uuid>,
    app: (String, String),
    apps: Round,
    agreement: Uuid,
    tokens: Round,
    count_at: Option<Instant>,
    away_since: Option<Instant>,
    is_away_told: bool,
    /// What was told once.
    told: BTreeSet<String>,
}

/// What is sealed beside the vault by key, in this round through all of it, and in the one before.
#[derive(Default)]
struct Round {
    running: BTreeMap<String, i64>,
    whole: Option<BTreeMap<String, i64>>,
}

impl Round {
    fn note(&mut self, key: &str) {
        let count = self.running.entry(key.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    fn end(&mut self) {
        self.whole = Some(std::mem::take(&mut self.running));
    }
}

/// Runs until the process closes.
pub async fn run(gateway: Arc<Gateway>, shutdown: Shutdown) {
    let mut keeper = Keeper::default();
    while !shutdown.closing.is_cancelled() {
        if let Err(error) = keeper.turn(&gateway).await {
            let text = chain(&error);
            if !error.is_transient() && keeper.is_new(&text) {
                tracing::error!(error = text, "what is sealed cannot be kept in order");
            }
            tracing::info!(error = text, "the vault is looked at again later");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.closing.cancelled() => {}
        }
    }
}

impl Keeper {
    async fn turn(&mut self, gateway: &Gateway) -> Result<(), StoreError> {
        let is_of_one_mind = match gateway.vault.is_of_one_mind().await {
            Ok(is_of_one_mind) => is_of_one_mind,
            Err(error) => {
                self.away(gateway, &error).await;
                return Err(error);
            }
        };
        (self.away_since, self.is_away_told) = (None, false);
        gateway.metrics.vault_away_seconds.set(0.0);
        for kind in Secret::ALL {
            if is_of_one_mind {
                self.reseal(gateway, kind).await?;
            }
            self.sweep(gateway, kind).await?;
        }
        self.look_at_apps(gateway, is_of_one_mind).await?;
        self.look_at_tokens(gateway, is_of_one_mind).await?;
        self.count(gateway).await
    }

    /// Whoever cannot get at the vault alone is told of once: a database that is away as a whole
    /// others tell of.
    async fn away(&mut self, gateway: &Gateway, error: &StoreError) {
        let away = self.away_since.get_or_insert_with(Instant::now).elapsed();
        gateway.metrics.vault_away_seconds.set(away.as_secs_f64());
        let is_long = away >= AWAY_MAX && !self.is_away_told;
        if is_long && matches!(gateway.store.is_writable().await, Ok(true)) {
            self.is_away_told = true;
            let error = chain(error);
            tracing::error!(error, "the vault's login does not get through, the gateway's does: mend it");
        }
    }

    async fn reseal(&mut self, gateway: &Gateway, kind: Secret) -> Result<(), StoreError> {
        let (keys, mut broken) = (&gateway.data_keys, vec![]);
        for key in keys.former() {
            let place = self.resealed.entry((kind.as_str(), key.to_owned())).or_default();
            let is_broken = AtomicBool::new(false);
            let anew = |row: &Sealed| {
                let anew = reseal(keys, kind, row);
                is_broken.fetch_or(anew.is_none(), Ordering::Relaxed);
                anew
            };
            let last = gateway.vault.reseal((kind.as_str(), key), (*place, BATCH), anew).await?;
            // At the end it begins again: replicas that know no newer key yet still use this one.
            *place = last.unwrap_or_default();
            if is_broken.into_inner() {
                broken.push(key);
            }
        }
        for key in broken {
            self.tell(&format!("a row of the vault by key {key}"));
        }
        Ok(())
    }

    async fn sweep(&mut self, gateway: &Gateway, kind: Secret) -> Result<(), StoreError> {
        let place = self.swept.entry(kind.as_str()).or_default();
        let kept = gateway.vault.after(kind.as_str(), *place, BATCH).await?;
        *place = kept.last().map(|kept| kept.owner).unwrap_or_default();
        if kept.is_empty() {
            return Ok(());
        }
        let owners: Vec<_> = kept.iter().map(|kept| kept.owner).collect();
        let said = match kind {
            Secret::Payee => gateway.store.payees_needed(&owners).await?,
            Secret::Token => gateway.store.tokens_needed(&owners).await?,
            Secret::Payer => gateway.store.payers_needed(&owners).await?,
        };
        let said: BTreeMap<_, _> = said.into_iter().collect();
        let is_over = |kept: &&Kept| match said.get(&kept.owner).copied().unwrap_or(Needed::NotYet) {
            Needed::Yes => false,
            Needed::NotYet => kept.is_old,
            Needed::Never => true,
        };
        let over: Vec<_> = kept.iter().filter(is_over).collect();
        if !over.is_empty() {
            let swept = gateway.vault.sweep(kind.as_str(), &over).await?;
            tracing::info!(kind = kind.as_str(), swept, "vault swept");
        }
        Ok(())
    }

    /// Shared secrets of apps stand in the gateway's own table.
    async fn look_at_apps(&mut self, gateway: &Gateway, may_reseal: bool) -> Result<(), StoreError> {
        let (app, key_id) = (self.app.0.as_str(), self.app.1.as_str());
        let secrets = gateway.store.app_secrets((app, key_id), BATCH).await?;
        let keys = &gateway.data_keys;
        for one in &secrets {
            let Some(algorithm) = Algorithm::parse(&one.algorithm) else { continue };
            let whose = whose(&one.app, &one.key_id, algorithm);
            let Some((by, secret)) = keys.opened(&whose, &one.sealed) else {
                self.tell(&format!("{}/{}", one.app, one.key_id));
                continue;
            };
            let is_former = may_reseal && by != keys.current();
            let anew = is_former.then(|| keys.seal(&whose, &secret)).flatten();
            if let Some(anew) = &anew {
                gateway.store.reseal_app_secret(one, anew).await?;
            }
            self.apps.note(if anew.is_some() { keys.current() } else { by });
        }
        match secrets.last() {
            Some(last) => self.app = (last.app.clone(), last.key_id.clone()),
            None => {
                self.app = Default::default();
                self.apps.end();
            }
        }
        Ok(())
    }

    /// Tokens that a release before the vault left stay where both find them, as long as their
    /// agreements last.
    async fn look_at_tokens(&mut self, gateway: &Gateway, may_reseal: bool) -> Result<(), StoreError> {
        let found = gateway.store.tokens_after(self.agreement, AGREEMENTS).await?;
        let keys = &gateway.data_keys;
        for (id, sealed) in &found {
            let Some(sealed) = sealed else { continue };
            let whose = Secret::Token.whose(*id);
            let Some((by, token)) = keys.opened(&whose, sealed) else {
                self.tell("a token from before the vault");
                continue;
            };
            let is_former = may_reseal && by != keys.current();
            let anew = is_former.then(|| keys.seal(&whose, &token)).flatten();
            if let Some(anew) = &anew {
                gateway.store.reseal_token(*id, sealed, anew).await?;
            }
            self.tokens.note(if anew.is_some() { keys.current() } else { by });
        }
        self.agreement = found.last().map(|(id, _)| *id).unwrap_or_default();
        if found.is_empty() {
            self.tokens.end();
        }
        Ok(())
    }

    /// Sets the metric, also of keys that seal nothing any more.
    async fn count(&mut self, gateway: &Gateway) -> Result<(), StoreError> {
        let now = Instant::now();
        let is_due = self.count_at.is_none_or(|at| at <= now);
        let (Some(apps), Some(tokens), true) = (&self.apps.whole, &self.tokens.whole, is_due) else {
            return Ok(());
        };
        let beside: Vec<_> = apps.iter().chain(tokens).map(|(key, count)| (key.clone(), *count)).collect();
        let keys = &gateway.data_keys;
        let known = keys.former().chain([keys.current()]);
        let mut counts: BTreeMap<String, i64> = known.map(|key| (key.to_owned(), 0)).collect();
        let payees = gateway.store.count_former_payees().await?;
        let vault = gateway.vault.by_key().await?;
        let pause = now.elapsed().saturating_mul(COUNT_SHARE).max(COUNT_EVERY);
        self.count_at = now.checked_add(pause);
        for (key, _) in vault.iter().filter(|(key, _)| !keys.holds(key)) {
            self.tell(&format!("rows of the vault by key {key}"));
        }
        for (key, count) in vault.into_iter().chain(beside).chain([(FORMER_RELEASE.to_owned(), payees)]) {
            let sum = counts.entry(key).or_default();
            *sum = sum.saturating_add(count);
        }
        gateway.metrics.sealed_rows.clear();
        for (key, count) in counts {
            gateway.metrics.sealed_rows.get_or_create(&SealedBy { key }).set(count);
        }
        Ok(())
    }

    /// Was it not told by this process?
    fn is_new(&mut self, what: &str) -> bool {
        self.told.len() < TOLD_MAX && self.told.insert(what.to_owned())
    }

    fn tell(&mut self, what: &str) {
        if self.is_new(what) {
            tracing::error!(
                what,
                "does not open: bring the key that it is sealed with back into the Secret data-key"
            );
        }
    }
}
