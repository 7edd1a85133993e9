//! Step-up: the bank sent the payer of a payment a one-time code, and takes the money once it
//! is brought. The code is sent once and kept nowhere. (Codes that risk policies ask for are taken
//! in `step_up`: of their orders nothing was sent.)

use std::sync::Arc;

use payplane_api::money::Money;
use payplane_common::trace::Trace;

use crate::agreement::{self, wrong_code};
use crate::api::problem::{Code, Problem};
use crate::channel::agreement::WrongCode;
use crate::channel::{Found, Outcome};
use crate::gateway::{Caller, Gateway};
use crate::message::Subject;
use crate::patience::Patience;
use crate::pay::ending;
use crate::settle::{self, SettleError};
use crate::state::{AttemptState, OrderState};
use crate::store::attempts::{Attempt, Ending};
use crate::store::orders::Order;
use crate::surplus;

/// The action of an order whose payer was sent a code.
pub(crate) const ONE_TIME_CODE: &str = "OneTimeCode";

/// What a code came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coded {
    Taken,
    Wrong,
    /// Nobody waits for one.
    NotAwaited,
    /// The payment is by an agreement that is over.
    NotAgreed,
}

/// The order as it is afterwards: ended, or still `Processing` where the bank did not say.
pub async fn confirm(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    order: Order,
    code: String,
) -> Result<Order, Problem> {
    if order.status != OrderState::Processing {
        return Ok(order);
    }
    let (work, trace, patience, order_id) = (gateway.clone(), caller.trace, caller.patience, order.order_id);
    let span = tracing::info_span!("confirm", %order_id);
    let rest = async move { work.confirm_payment(order, &code, (trace, patience)).await };
    match settle::work_for(gateway, caller, (order_id, span), rest).await {
        Some(Coded::Wrong) => return Err(wrong_code()),
        Some(Coded::NotAwaited) => {
            let detail = "its action is not OneTimeCode: nobody waits for a code";
            return Err(Problem::new(Code::StateConflict, detail));
        }
        Some(Coded::NotAgreed) => {
            let detail = "the agreement by which the payment was made is over: its code is not sent";
            return Err(Problem::new(Code::AgreementNotActive, detail));
        }
        Some(Coded::Taken) | None => {}
    }
    Ok(patience.keep(|| gateway.store.order(order_id)).await?)
}

fn awaits_code(attempt: &Attempt) -> bool {
    let action = attempt.action.as_ref().filter(|_| attempt.status == AttemptState::Processing);
    action.is_some_and(|action| action["type"] == ONE_TIME_CODE)
}

/// What a query says: the end of an attempt over another amount, or an outcome.
fn queried(found: Found, asked: Money) -> Result<Ending, Outcome> {
    match found {
        Found::Outcome(outcome) => surplus::other_amount(&outcome, asked).ok_or_else(|| outcome.of(asked)),
        Found::NotFound { .. } => Err(Outcome::Unknown { why: "not found".to_owned() }),
    }
}

impl Gateway {
    /// Was there a code to bring before anything was sent?
    async fn has_taken_a_code(&self, order: &Order, patience: Patience) -> Result<bool, SettleError> {
        let (store, id) = (&self.store, order.order_id);
        Ok(patience.keep(|| store.agreement_of(id)).await?.is_some()
            || patience.keep(|| store.step_up(id)).await?.is_some())
    }

    async fn confirm_payment(
        &self,
        order: Order,
        code: &str,
        (trace, patience): (Trace, Patience),
    ) -> Result<Coded, SettleError> {
        let attempt = patience.keep(|| self.store.latest_attempt(order.order_id)).await?;
        let attempt = match attempt {
            Some(attempt) if awaits_code(&attempt) => attempt,
            // It came to its end meanwhile: the order is about to.
            Some(ended) if ended.status.is_final() => return Ok(Coded::Taken),
            None => {
                if let Some(coded) = self.confirm_step_up(&order, code, (trace, patience)).await? {
                    return Ok(coded);
                }
                return Ok(match self.confirm_signing(&order, code, (trace, patience)).await? {
                    Some(agreement::Coded::Taken) => Coded::Taken,
                    Some(agreement::Coded::Wrong) => Coded::Wrong,
                    None => Coded::NotAwaited,
                });
            }
            // The bank may have sent a code only after it had answered.
            Some(open) if open.status == AttemptState::Processing && open.action.is_none() => open,
            // Its code has been taken: what it confirmed is on its way.
            _ if self.has_taken_a_code(&order, patience).await? => return Ok(Coded::Taken),
            _ => return Ok(Coded::NotAwaited),
        };
        if patience.keep(|| self.store.has_lost_its_agreement(attempt.attempt_id)).await? {
            return Ok(Coded::NotAgreed);
        }
        let (settings, sent) = (self.settings(), settle::sent(&order, &attempt)?);
        let channel = settle::channel(&settings.value, &attempt.channel)?;
        let about = (Subject::Payment(attempt.attempt_id), attempt.channel.as_str());
        if !awaits_code(&attempt) {
            match queried(channel.client.query(&sent, trace).await, sent.amount) {
                Err(Outcome::Processing { action: Some(action), .. }) if action["type"] == ONE_TIME_CODE => {}
                // The code of what was asked for with it was taken before.
                _ if self.has_taken_a_code(&order, patience).await? => return Ok(Coded::Taken),
                _ => return Ok(Coded::NotAwaited),
            }
        }
        if self.is_code_again(order.order_id, code, patience).await? {
            return Ok(Coded::Taken);
        }
        let waits = self.shares.waits();
        let confirmed = self.keeping(about, channel.client.confirm(&sent, code, trace)).await;
        let told = match confirmed {
            Err(WrongCode) => return Ok(Coded::Wrong),
            Ok(outcome) => Some(outcome.of(sent.amount)).filter(Outcome::is_said),
        };
        let name = &attempt.channel;
        let ending = match told {
            Some(outcome) => ending(name, attempt.attempt_id, outcome),
            None => {
                let (found, messages) = self.recording(about, channel.client.query(&sent, trace)).await;
                match queried(found, sent.amount) {
                    Ok(other) => other.with(messages),
                    Err(outcome) if outcome.is_said() => {
                        ending(name, attempt.attempt_id, outcome).with_news(messages, &attempt)
                    }
                    Err(_) => {
                        patience.keep(|| self.store.hasten_order(order.order_id)).await?;
                        return Ok(Coded::Taken);
                    }
                }
            }
        };
        drop(waits);
        let attempt = patience.keep(|| self.store.end_attempt(attempt.attempt_id, &ending)).await?;
        settle::finish(self, order, attempt, (trace, patience)).await?;
        Ok(Coded::Taken)
    }
}
