//! Who pays by an agreement: to the bank the token, to limits and risk policies what stands
//! for the account.

use uuid::Uuid;

use crate::api::problem::{Code, Problem};
use crate::api::wire::{AgreementName, PayRequest};
use crate::data_key::DataKeys;
use crate::gateway::{Caller, Gateway};
use crate::state::agreement::AgreementState;
use crate::store::agreements::Agreement;
use crate::vault::{Lost, Secret};

/// Begins what stands for an account; no app names a payer so.
pub const PREFIX: &str = "agreement.";

/// What a payment by an agreement goes by. It has no Debug: a token is a secret.
pub struct ByAgreement {
    pub agreement_id: Uuid,
    pub channel: String,
    pub token: String,
    /// What limits and risk policies know the account by.
    pub payer: String,
}

/// What an account may be known by, and nobody reads the account from it: by the key for what is
/// new first. Every agreement about it has the payer of the one before it.
#[must_use]
pub fn known_as(keys: &DataKeys, account: &str) -> Vec<String> {
    let known = |hash| format!("{PREFIX}{}", hex::encode(hash));
    keys.subject(&["agreement", account]).into_iter().map(known).collect()
}

/// The agreement that a payment names, if any, as it stands now; the refusal, where it takes no
/// payment. From here on the payment names its payer.
pub async fn of(
    gateway: &Gateway,
    caller: &Caller,
    request: &mut PayRequest,
) -> Result<Result<Option<ByAgreement>, Problem>, Problem> {
    let Some(AgreementName { date, number, .. }) = &request.agreement else { return Ok(Ok(None)) };
    let find = || gateway.store.find_agreement(caller.app(), *date, number.as_str());
    let found = caller.patience.keep(find).await?;
    let agreement = match usable(found, request) {
        Ok(agreement) => agreement,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (id, before) = (agreement.agreement_id, agreement.token_sealed.as_deref());
    // All of these are refusals: who pays again by an order that is known is answered that.
    let kept = match gateway.kept((Secret::Token, id), before, caller.patience).await {
        Ok(kept) => kept,
        Err(away) => return Ok(Err(away.into())),
    };
    let token = match kept.map(String::from_utf8) {
        Ok(Ok(token)) => token,
        lost => {
            // It may have ended since it was read.
            let now = caller.patience.keep(find).await?;
            return Ok(Err(usable(now, request).err().unwrap_or_else(|| no_token(id, lost.err()))));
        }
    };
    let by = ByAgreement { agreement_id: id, channel: agreement.channel, token, payer: agreement.payer };
    request.payer_id = Some(by.payer.clone());
    Ok(Ok(Some(by)))
}

/// Where its key is gone, the keeper of the vault tells of it, once for all.
fn no_token(id: Uuid, lost: Option<Lost>) -> Problem {
    if lost == Some(Lost::NoKey) {
        tracing::info!(%id, "the Secret data-key lacks the key of a token");
    } else {
        tracing::error!(%id, ?lost, "an agreement is active and has no token: end it, and sign another one");
    }
    Problem::new(Code::Internal, "it is logged")
}

fn usable(found: Option<Agreement>, request: &PayRequest) -> Result<Agreement, Problem> {
    let wrong = |why: &str| Problem {
        field: Some("agreement".to_owned()),
        ..Problem::new(Code::UnknownAgreement, why)
    };
    let agreement = found.ok_or_else(|| wrong("names none of this app's agreements"))?;
    if agreement.merchant_id != request.merchant_id.as_str() {
        return Err(wrong("was signed for another merchant"));
    }
    if agreement.method != request.method {
        return Err(wrong("was signed for another method"));
    }
    if agreement.status != AgreementState::Active {
        let detail = format!("agreement {} is {}", agreement.agreement_number, agreement.status);
        return Err(Problem::new(Code::AgreementNotActive, detail));
    }
    Ok(agreement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_key::tests::keys;

    #[test]
    fn an_account_is_known_by_the_same_and_by_no_other() {
        let one = known_as(&keys(&[1]), "6222020200112233445");
        assert_eq!(one, known_as(&keys(&[1]), "6222020200112233445"));
        assert_ne!(one, known_as(&keys(&[1]), "6222020200112233446"));
        let both = known_as(&keys(&[2, 1]), "6222020200112233445");
        assert!(both.len() == 2 && both[0] != one[0] && both[1] == one[0], "a former key's is found");
        assert!(one[0].len() <= 128 && !one[0].contains("6222"));
    }
}
