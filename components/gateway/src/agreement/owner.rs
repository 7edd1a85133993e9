//! Whose account an agreement is about, for a network that is told so again with the one-time
//! code. He is kept in the vault, in the place where the token takes his: so he is forgotten once
//! the agreement holds, and where it comes to nothing, as tokens are.

use crate::channel::agreement::{Agreements, Kept, Owner};
use crate::gateway::Gateway;
use crate::patience::Patience;
use crate::settings::ChannelSettings;
use crate::store::StoreError;
use crate::store::agreements::{Agreement, NewAgreement};
use crate::vault::Secret;

impl Kept {
    /// No token begins as what is kept of an owner does.
    fn read(secret: Vec<u8>) -> Self {
        match (serde_json::from_slice(&secret), String::from_utf8(secret)) {
            (Ok(owner), _) => Self::Owner(owner),
            (Err(_), Ok(token)) => Self::Token(token),
            (Err(_), Err(_)) => Self::Nothing,
        }
    }
}

/// Does the channel's network need him?
pub(super) fn is_kept(channel: &ChannelSettings) -> bool {
    channel.client.agreements().is_some_and(Agreements::needs_owner)
}

impl Gateway {
    /// Keeps him, before the agreement is written.
    pub(crate) async fn keep_owner(
        &self,
        new: &mut NewAgreement,
        (channel, owner): (&ChannelSettings, &Owner),
        patience: Patience,
    ) -> Result<(), StoreError> {
        if is_kept(channel) {
            let owner = serde_json::to_vec(owner).map_err(|_| StoreError::Unsealed)?;
            new.owner_kept_at = Some(self.keep((Secret::Token, new.agreement_id), &owner, patience).await?);
        }
        Ok(())
    }

    /// Where the agreement was not written.
    pub(crate) fn forget_owner(&self, new: &NewAgreement) {
        if new.owner_kept_at.is_some() {
            self.forget(Secret::Token, new.agreement_id);
        }
    }

    /// What is kept of an agreement for its network. Where that is lost, the network is asked.
    pub(super) async fn kept_of(
        &self,
        agreement: &Agreement,
        bank: &dyn Agreements,
        patience: Patience,
    ) -> Result<Kept, StoreError> {
        if !bank.needs_owner() {
            return Ok(Kept::Nothing);
        }
        let (id, before) = (agreement.agreement_id, agreement.token_sealed.as_deref());
        match self.kept((Secret::Token, id), before, patience).await? {
            Ok(secret) => Ok(Kept::read(secret)),
            Err(lost) => {
                tracing::info!(%id, ?lost, "of an agreement nothing is kept");
                Ok(Kept::Nothing)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_no_token() {
        let owner = Owner { account: "6222".into(), name: "{Li}".into(), phone: Some("138".into()) };
        let kept = Kept::read(serde_json::to_vec(&owner).unwrap());
        assert!(matches!(kept, Kept::Owner(read) if read == owner));
        for token in ["6235240000020837057", "agr.1.2", "[]", "{}"] {
            assert!(matches!(Kept::read(token.into()), Kept::Token(read) if read == token), "{token}");
        }
    }
}
