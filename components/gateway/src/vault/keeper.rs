//! The keeper of what is sealed. It seals anew what a former data key seals, sweeps what nobody
//! needs any more, brings into the vault what a release before it left elsewhere, and counts.
//! Every replica runs one; each piece of work is small, bounded and may be done twice.

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
/// Every so many turns it is counted: while there are former keys, and else.
const COUNT_EVERY: [u32; 2] = [5, 30];
/// Without a gateway of a former release for so long, none is left: not even one that
/// had lost its sessions for a moment.
const ALONE_AFTER: Duration = Duration::from_secs(60);
/// What a former release left is counted as this key's.
const FORMER_RELEASE: &str = "former-release";

const TOLD_MAX: usize = 256;

/// Where the last turn ended.
#[derive(Default)]
struct Keeper {
    turn: u32,
    count_at: u32,
    resealed: BTreeMap<(&'static str, String), Uuid>,
    swept: BTreeMap<&'static str, Uuid>,
    app: (String, String),
    /// Shared secrets by key, of this round through all of them, and of the one before.
    apps: BTreeMap<String, i64>,
    counted: Option<BTreeMap<String, i64>>,
    former_seen_at: Option<Instant>,
    /// What was told once.
    told: BTreeSet<String>,
}

/// Runs until the process closes.
pub async fn run(gateway: Arc<Gateway>, shutdown: Shutdown) {
    let mut keeper = Keeper { former_seen_at: Some(Instant::now()), ..Keeper::default() };
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
        for kind in Secret::ALL {
            self.reseal(gateway, kind).await?;
            self.sweep(gateway, kind).await?;
        }
        self.reseal_apps(gateway).await?;
        self.move_tokens(gateway).await?;
        if self.turn >= self.count_at
            && let Some(apps) = self.counted.clone()
        {
            self.count(gateway, apps).await?;
            let [changing, settled] = COUNT_EVERY;
            let every = if gateway.data_keys.former().next().is_some() { changing } else { settled };
            self.count_at = self.turn.saturating_add(every);
        }
        self.turn = self.turn.saturating_add(1);
        Ok(())
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
    async fn reseal_apps(&mut self, gateway: &Gateway) -> Result<(), StoreError> {
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
            let anew = (by != keys.current()).then(|| keys.seal(&whose, &secret)).flatten();
            if let Some(anew) = &anew {
                gateway.store.reseal_app_secret(one, anew).await?;
            }
            let by = if anew.is_some() { keys.current() } else { by };
            let count = self.apps.entry(by.to_owned()).or_default();
            *count = count.saturating_add(1);
        }
        let last = secrets.last().map(|one| (one.app.clone(), one.key_id.clone()));
        if last.is_none() {
            self.counted = Some(std::mem::take(&mut self.apps));
        }
        self.app = last.unwrap_or_default();
        Ok(())
    }

    /// Once nobody looks for them in their column any more.
    async fn move_tokens(&mut self, gateway: &Gateway) -> Result<(), StoreError> {
        if gateway.store.has_former_release().await? {
            self.former_seen_at = Some(Instant::now());
        }
        if self.former_seen_at.is_some_and(|at| at.elapsed() < ALONE_AFTER) {
            return Ok(());
        }
        for (id, sealed) in gateway.store.unmoved_tokens(BATCH).await? {
            let Some(token) = gateway.data_keys.open(&Secret::Token.whose(id), &sealed) else {
                self.tell(&format!("agreement {id}"));
                continue;
            };
            gateway.keep(Secret::Token, id, &token).await?;
            gateway.store.token_moved(id, &sealed).await?;
        }
        Ok(())
    }

    /// Sets the metric, also of keys that seal nothing any more.
    async fn count(&mut self, gateway: &Gateway, apps: BTreeMap<String, i64>) -> Result<(), StoreError> {
        let keys = &gateway.data_keys;
        let known = keys.former().chain([keys.current()]);
        let mut counts: BTreeMap<String, i64> = known.map(|key| (key.to_owned(), 0)).collect();
        let unmoved = gateway.store.count_unmoved().await?;
        let vault = gateway.vault.by_key().await?;
        for (key, _) in vault.iter().filter(|(key, _)| !keys.holds(key)) {
            self.tell(&format!("rows of the vault by key {key}"));
        }
        for (key, count) in vault.into_iter().chain(apps).chain([(FORMER_RELEASE.to_owned(), unmoved)]) {
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
