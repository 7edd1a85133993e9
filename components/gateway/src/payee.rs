//! To whom money goes out: an account and its owner's name, kept in the vault until the network
//! is asked, and known to nobody afterwards.

use jiff::Timestamp;
use uuid::Uuid;

use crate::gateway::Gateway;
use crate::patience::Patience;
use crate::settle::SettleError;
use crate::store::StoreError;
use crate::vault::{Lost, Secret};

/// An account that is shorter shows nothing.
const SHOWN_OF_MIN: usize = 12;
const SHOWN: usize = 4;

/// It has no Debug: whose account it is, no log tells.
#[derive(Clone, PartialEq, Eq)]
pub struct Payee {
    pub account: String,
    pub name: String,
}

/// What is stored beside the vault.
pub struct KeptPayee {
    pub masked: String,
    /// The row that needs it is written soon after, or never.
    pub kept_at: Timestamp,
}

impl Payee {
    /// Kept for the refund or payout of this id, before that is written.
    pub async fn keep(
        &self,
        gateway: &Gateway,
        id: Uuid,
        patience: Patience,
    ) -> Result<KeptPayee, StoreError> {
        let payee = serde_json::to_vec(&(&self.account, &self.name)).unwrap_or_default();
        let kept_at = gateway.keep((Secret::Payee, id), &payee, patience).await?;
        Ok(KeptPayee { masked: masked(&self.account), kept_at })
    }

    pub async fn open(
        gateway: &Gateway,
        (id, before): (Uuid, Option<&[u8]>),
        patience: Patience,
    ) -> Result<Self, SettleError> {
        let opened = gateway.kept((Secret::Payee, id), before, patience).await?;
        let payee = opened.map_err(|lost| SettleError::Payee { id, lost })?;
        let payee = serde_json::from_slice::<(String, String)>(&payee);
        let (account, name) = payee.map_err(|_| SettleError::Payee { id, lost: Lost::Broken })?;
        Ok(Self { account, name })
    }
}

/// Enough of an account to recognize it by.
pub fn masked(account: &str) -> String {
    let hidden = account.len().checked_sub(SHOWN).filter(|_| account.len() >= SHOWN_OF_MIN);
    let shown = hidden.and_then(|hidden| account.get(hidden..)).unwrap_or_default();
    format!("****{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_shows_its_end_and_a_short_one_nothing() {
        for (account, shown) in [
            ("6222020200112233445", "****3445"),
            ("622202020011", "****0011"),
            ("62220202001", "****"),
            ("6", "****"),
            ("", "****"),
        ] {
            assert_eq!(masked(account), shown);
        }
    }
}
