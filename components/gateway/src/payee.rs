//! To whom money goes out: an account and its owner's name, sealed until the network is
//! asked, and known to nobody afterwards.

use uuid::Uuid;

use crate::api::problem::{Code, Problem};
use crate::channel::PrepareError;
use crate::gateway::Gateway;

/// An account that is shorter shows nothing.
const SHOWN_OF_MIN: usize = 12;
const SHOWN: usize = 4;

/// It has no Debug: whose account it is, no log tells.
#[derive(Clone, PartialEq, Eq)]
pub struct Payee {
    pub account: String,
    pub name: String,
}

/// A payee as it is stored.
pub struct SealedPayee {
    pub sealed: Vec<u8>,
    pub masked: String,
}

impl Payee {
    /// Sealed for the refund or payout of this id.
    pub fn seal(&self, gateway: &Gateway, id: Uuid) -> Result<SealedPayee, Problem> {
        let payee = serde_json::to_vec(&(&self.account, &self.name)).unwrap_or_default();
        let sealed = gateway.data_keys.seal(&whose(id), &payee);
        let sealed = sealed.ok_or_else(|| Problem::new(Code::Internal, "the payee cannot be sealed"))?;
        Ok(SealedPayee { sealed, masked: masked(&self.account) })
    }

    pub fn open(gateway: &Gateway, id: Uuid, sealed: Option<&[u8]>) -> Result<Self, PrepareError> {
        let opened = sealed.and_then(|sealed| gateway.data_keys.open(&whose(id), sealed));
        let payee = opened.and_then(|payee| serde_json::from_slice::<(String, String)>(&payee).ok());
        let (account, name) = payee.ok_or_else(|| {
            tracing::error!(%id, "the payee does not open: the Secret data-key has to keep former keys");
            PrepareError { why: "the payee does not open".to_owned() }
        })?;
        Ok(Self { account, name })
    }
}

/// What a payee is sealed for.
fn whose(id: Uuid) -> String {
    format!("payout/{id}")
}

/// Enough of an account to recognize it by.
fn masked(account: &str) -> String {
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
