//! The steps of money that goes out, each up to a change of state that is stored.

use jiff::Timestamp;
use payplane_api::ledger::v1::RefusalReason;
use payplane_api::money::Money;
use payplane_common::telemetry::chain;
use uuid::Uuid;

use super::{Facts, Outgoing, Times};
use crate::books::{BooksError, payouts, postings};
use crate::channel::{Found, Kind, Outcome, Prepared, Repay, Sent};
use crate::gateway::Gateway;
use crate::patience::Patience;
use crate::payout::{self, Paid};
use crate::settings::{ChannelSettings, Settings};
use crate::settle::{self, SettleError};
use crate::store::Store;
use crate::store::orders::Order;
use crate::store::outgoing::End;
use crate::store::refunds::Refund;
use crate::vault::{Lost, Secret};

impl Outgoing {
    /// Debits the merchant, and asks the network. The request is signed before the change of
    /// state is committed, and only who made that change sends it.
    pub(super) async fn debit_and_send(
        &self,
        gateway: &Gateway,
        (trace, patience): Times,
    ) -> Result<bool, SettleError> {
        let Facts { row, channel, .. } = self.facts();
        if !self.is_paid_out() {
            // It waits for its channel, before the books are touched.
            settle::channel(&gateway.settings().value, channel)?;
        }
        let transaction_id = match self.debit(gateway, (trace, patience)).await {
            Ok(transaction_id) => transaction_id,
            Err(SettleError::Owed { source: BooksError::Refused { reason, message } }) => {
                // Not what the books say again for ever: it waits for whoever mends it.
                let Some(code) = refused_for(reason) else {
                    return Err(SettleError::Owed { source: BooksError::Refused { reason, message } });
                };
                patience.keep(|| gateway.store.end_outgoing(row, End::Refused(code))).await?;
                if self.is_paid_out() {
                    gateway.forget(Secret::Payee, row.1);
                }
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        // The channel is looked at after the row is stored: whoever counts what is open on one
        // that is deleted either sees this one, or has made us see the deletion.
        let (settings, amount) = (gateway.settings(), self.amount()?);
        let (channel, prepared) = match self.prepare(gateway, (&settings.value, amount), patience).await {
            Ok(ready) => ready,
            // A key that is not here may be back in a moment: then it waits.
            Err(error @ SettleError::Payee { lost: Lost::NoKey, .. }) => return Err(error),
            Err(why @ (SettleError::Channel { .. } | SettleError::Payee { .. })) if self.is_paid_out() => {
                let give_up = || gateway.store.give_up_outgoing(row, transaction_id, "ChannelUnavailable");
                // Whoever was faster may have sent it, and forgotten whom it was for.
                if patience.keep(give_up).await? {
                    given_up(row.1, &why);
                    gateway.forget(Secret::Payee, row.1);
                }
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        let turn = (Uuid::now_v7(), prepared.signed_at);
        if !patience.keep(|| gateway.store.send_outgoing(row, transaction_id, turn)).await? {
            return Ok(true);
        }
        if self.is_paid_out() {
            // Whom it was for nobody needs any more.
            gateway.forget(Secret::Payee, row.1);
        }
        let waits = gateway.shares.waits();
        let outcome = gateway.keeping(self.about(), channel.client.send(prepared, trace)).await;
        drop(waits);
        self.take(gateway, outcome.of(amount), patience).await
    }

    /// Signs the request, for its channel.
    async fn prepare<'a>(
        &self,
        gateway: &Gateway,
        (settings, amount): (&'a Settings, Money),
        patience: Patience,
    ) -> Result<(&'a ChannelSettings, Prepared), SettleError> {
        let Facts { row, channel, .. } = self.facts();
        let (channel, number) = (settle::channel(settings, channel)?, Store::number(row.1));
        let prepared = match self {
            Self::Refund(both) if both.1.is_transferred() => {
                payout::prepare(gateway, channel, &transferred(both), (&number, amount, patience)).await
            }
            Self::Refund(both) => {
                let original = original(gateway, &both.0, patience).await?;
                let prepared = channel.client.prepare_refund(&Repay { number: &number, amount, original });
                prepared.map_err(|error| SettleError::Channel { why: error.why })
            }
            Self::Payout(payout) => {
                payout::prepare(gateway, channel, &payout.paid(), (&number, amount, patience)).await
            }
        };
        Ok((channel, prepared?))
    }

    async fn debit(&self, gateway: &Gateway, times: Times) -> Result<Uuid, SettleError> {
        match self {
            Self::Refund(both) => {
                let build = |epoch| postings::refund(&both.0, &both.1, epoch);
                settle::post(gateway, postings::refund_accounts(&both.0, &both.1), build, times).await
            }
            Self::Payout(payout) => {
                let accounts = payouts::accounts(payout);
                settle::post(gateway, accounts, |epoch| payouts::sent(payout, epoch), times).await
            }
        }
    }

    /// Gives the debit back, since the network has not paid and never will.
    pub(super) async fn reverse(
        &self,
        gateway: &Gateway,
        (trace, patience): Times,
    ) -> Result<bool, SettleError> {
        let reversal = match self {
            Self::Refund(both) => {
                let build = |epoch| postings::refund_reversal(&both.0, &both.1, epoch);
                settle::post(gateway, vec![], build, (trace, patience)).await?
            }
            Self::Payout(payout) => {
                let build = |epoch| payouts::failed(payout, epoch);
                settle::post(gateway, vec![], build, (trace, patience)).await?
            }
        };
        let row = self.facts().row;
        patience.keep(|| gateway.store.end_outgoing(row, End::Reversed(reversal))).await?;
        Ok(true)
    }

    /// Asks the network what became of it.
    pub(super) async fn ask(&self, gateway: &Gateway, (trace, patience): Times) -> Result<bool, SettleError> {
        let Facts { row, channel, signed_at, network_id, .. } = self.facts();
        let settings = gateway.settings();
        let channel = settle::channel(&settings.value, channel)?;
        let sent = Sent {
            number: Store::number(row.1),
            amount: self.amount()?,
            signed_at: signed_at.unwrap_or(Timestamp::MAX),
            network_id: network_id.filter(|id| !id.is_empty()).map(str::to_owned),
            kind: match self {
                Self::Refund(both) if !self.is_paid_out() => {
                    Kind::Refund { original_number: original(gateway, &both.0, patience).await?.number }
                }
                Self::Refund(_) | Self::Payout(_) => Kind::Payout,
            },
        };
        let asking = channel.client.query(&sent, trace);
        let client = channel.client.as_ref();
        let is_news = |found: &Found| found.is_news(network_id) || found.is_never(client, &sent);
        let found = gateway.asking(self.about(), asking, is_news).await;
        match found {
            _ if found.is_never(client, &sent) => {
                // A network that said "processing" knew it: then this is a contradiction.
                if network_id.is_some() {
                    tracing::error!(id = %row.1, table = ?row.0, "the network forgot what it knew");
                    return Ok(false);
                }
                patience.keep(|| gateway.store.reverse_outgoing(row, "NotReceived")).await?;
                Ok(true)
            }
            Found::NotFound { .. } => Ok(false),
            // That the query was not sent says nothing about it.
            Found::Outcome(Outcome::NotSent { .. }) => Ok(false),
            Found::Outcome(outcome) => self.take(gateway, outcome.of(sent.amount), patience).await,
        }
    }

    /// Stores what the network says of it. False where nothing is settled.
    pub async fn take(
        &self,
        gateway: &Gateway,
        outcome: Outcome,
        patience: Patience,
    ) -> Result<bool, SettleError> {
        let (row, store) = (self.facts().row, &gateway.store);
        let reverse = |code| patience.keep(move || store.reverse_outgoing(row, code));
        match outcome {
            Outcome::Succeeded { network_id, .. } => {
                patience.keep(|| store.end_outgoing(row, End::Succeeded(&network_id))).await?;
            }
            Outcome::Declined { .. } | Outcome::Closed => reverse("Declined").await?,
            Outcome::NotSent { why } => {
                tracing::info!(id = %row.1, why, "not sent");
                reverse("ChannelUnavailable").await?;
            }
            Outcome::Processing { network_id, action: _ } => {
                let id = network_id.unwrap_or_default();
                patience.keep(|| store.note_outgoing(row, &id)).await?;
                return Ok(false);
            }
            Outcome::Unknown { why } => {
                tracing::info!(id = %row.1, why, "outcome unknown");
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn given_up(id: Uuid, why: &SettleError) {
    let text = chain(why);
    match why {
        SettleError::Payee { .. } => {
            tracing::error!(%id, why = text, "given back unsent: nobody knows whom it is for");
        }
        _ => tracing::info!(%id, why = text, "given up unsent"),
    }
}

/// The app's code of a debit that the books refuse for ever: under this key nothing is booked.
fn refused_for(reason: RefusalReason) -> Option<&'static str> {
    match reason {
        RefusalReason::Insufficient => Some("InsufficientBalance"),
        RefusalReason::OverOriginal => Some("RefundExceedsPayment"),
        RefusalReason::AccountNotOpen => Some("AccountNotOpen"),
        _ => None,
    }
}

/// A refund that is transferred.
fn transferred((order, refund): &(Order, Refund)) -> Paid<'_> {
    Paid {
        id: refund.refund_id,
        merchant: &order.merchant_id,
        payee_sealed: refund.payee_sealed.as_deref(),
        description: &refund.refund_number,
    }
}

/// The payment as its network knows it.
async fn original(gateway: &Gateway, order: &Order, patience: Patience) -> Result<Sent, SettleError> {
    let attempt = patience.keep(|| gateway.store.latest_attempt(order.order_id)).await?;
    let missing = || SettleError::Channel { why: format!("order {} has no attempt", order.order_id) };
    settle::sent(order, &attempt.ok_or_else(missing)?)
}
