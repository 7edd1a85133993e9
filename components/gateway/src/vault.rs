//! The vault: what networks know accounts by, sealed with the data key, in a schema that a login
//! of its own reaches. It is written before the row that needs it, and forgotten after that; what
//! is left behind in between the keeper sweeps.

pub mod keeper;

use std::time::Duration;

use jiff::Timestamp;
use payplane_common::telemetry::chain;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use crate::data_key::DataKeys;
use crate::gateway::Gateway;
use crate::patience::Patience;
use crate::store::StoreError;
use crate::store::vault::Sealed;

/// How long it is waited for, by a request that has more time, too.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// Of a payout, or of a refund that is transferred, until its request is signed.
    Payee,
    /// Of an agreement, until it has ended. Before it holds its owner lies there, where its network
    /// is told of him again.
    Token,
    /// Of an order that waits for its payer's code, until it goes on or ends.
    Payer,
}

/// Why a secret cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It is not there (any more).
    Missing,
    /// The Secret data-key does not hold its key: the keeper tells of it, once.
    NoKey,
    /// It does not open with the key that it names.
    Broken,
}

impl Secret {
    pub const ALL: [Self; 3] = [Self::Payee, Self::Token, Self::Payer];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payee => "Payee",
            Self::Token => "Token",
            Self::Payer => "Payer",
        }
    }

    /// What it is sealed for: elsewhere it does not open.
    #[must_use]
    pub fn whose(self, owner: Uuid) -> String {
        match self {
            Self::Payee => format!("payout/{owner}"),
            Self::Token => format!("agreement/{owner}"),
            Self::Payer => format!("order/{owner}"),
        }
    }
}

/// Seals with the key for what is new.
fn seal(keys: &DataKeys, kind: Secret, owner: Uuid, secret: &[u8]) -> Option<Sealed> {
    let sealed = keys.seal(&kind.whose(owner), secret)?;
    Some(Sealed { owner, sealed, key_id: keys.current().to_owned() })
}

/// The same secret, with the key for what is new.
fn reseal(keys: &DataKeys, kind: Secret, was: &Sealed) -> Option<Sealed> {
    let secret = keys.open(&kind.whose(was.owner), &was.sealed)?;
    seal(keys, kind, was.owner, &secret)
}

fn open(keys: &DataKeys, kind: Secret, kept: Option<&Sealed>) -> Result<Vec<u8>, Lost> {
    let kept = kept.ok_or(Lost::Missing)?;
    let opened = keys.open(&kind.whose(kept.owner), &kept.sealed);
    opened.ok_or(if keys.holds(&kept.key_id) { Lost::Broken } else { Lost::NoKey })
}

impl Gateway {
    /// Keeps a secret. Says since when: its row is to be written soon after.
    pub async fn keep(
        &self,
        (kind, owner): (Secret, Uuid),
        secret: &[u8],
        patience: Patience,
    ) -> Result<Timestamp, StoreError> {
        let row = seal(&self.data_keys, kind, owner, secret).ok_or(StoreError::Unsealed)?;
        self.ask_vault(patience, || self.vault.put(kind.as_str(), &row)).await
    }

    /// Reads one. `before` is what a release before the vault left in the row itself.
    pub async fn kept(
        &self,
        (kind, owner): (Secret, Uuid),
        before: Option<&[u8]>,
        patience: Patience,
    ) -> Result<Result<Vec<u8>, Lost>, StoreError> {
        if let Some(sealed) = before {
            // It bears no key's name: it is taken for one that is gone.
            return Ok(self.data_keys.open(&kind.whose(owner), sealed).ok_or(Lost::NoKey));
        }
        let kept = self.ask_vault(patience, || self.vault.get(kind.as_str(), owner)).await?;
        Ok(open(&self.data_keys, kind, kept.as_ref()))
    }

    /// While it is away it is asked again, for a short time, in which nobody's place is counted:
    /// payments that need no vault go on.
    async fn ask_vault<T, F>(&self, patience: Patience, ask: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let _waits = self.shares.waits();
        let latest = Instant::now().checked_add(WAIT_MAX).unwrap_or(patience.until());
        let until = patience.until().min(latest);
        timeout_at(until, patience.keep(ask)).await.unwrap_or(Err(StoreError::VaultAway))
    }

    /// Forgets one that is not needed any more, while the caller goes on; where that fails, the
    /// keeper does.
    pub fn forget(&self, kind: Secret, owner: Uuid) {
        let vault = self.vault.clone();
        self.work.spawn(async move {
            let forgotten = timeout(WAIT_MAX, vault.forget(kind.as_str(), owner)).await;
            if let Err(error) = forgotten.unwrap_or(Err(StoreError::VaultAway)) {
                tracing::info!(%owner, error = chain(&error), "left to the keeper of the vault");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_key::tests::keys;

    #[test]
    fn a_secret_is_its_owners_and_survives_a_change_of_keys() {
        let (old, both, new) = (keys(&[1]), keys(&[2, 1]), keys(&[2]));
        let (owner, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let sealed = seal(&old, Secret::Token, owner, b"token").unwrap();
        assert_eq!(open(&both, Secret::Token, Some(&sealed)), Ok(b"token".to_vec()));
        assert_eq!(open(&new, Secret::Token, Some(&sealed)), Err(Lost::NoKey));
        assert_eq!(open(&both, Secret::Payee, Some(&sealed)), Err(Lost::Broken), "another kind");
        let moved = Sealed { owner: other, sealed: sealed.sealed.clone(), key_id: sealed.key_id.clone() };
        assert_eq!(open(&both, Secret::Token, Some(&moved)), Err(Lost::Broken), "another owner");
        assert_eq!(open(&both, Secret::Token, None), Err(Lost::Missing));

        let anew = reseal(&both, Secret::Token, &sealed).unwrap();
        assert_eq!((anew.owner, anew.key_id.as_str()), (owner, new.current()));
        assert_eq!(open(&new, Secret::Token, Some(&anew)), Ok(b"token".to_vec()));
        assert!(reseal(&new, Secret::Token, &sealed).is_none(), "not without its key");
    }
}
