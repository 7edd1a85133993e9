//! Closing an order that the app does not want paid any more. It is closed once the
//! network confirms that; what was paid before stays paid.

use std::sync::Arc;

use payplane_common::trace::Trace;

use crate::api::problem::Problem;
use crate::gateway::{Caller, Gateway};
use crate::message::Subject;
use crate::patience::Patience;
use crate::pay::ending;
use crate::settle::{self, SettleError};
use crate::state::{AttemptState, OrderState};
use crate::store::attempts::Attempt;
use crate::store::orders::Order;

/// The order as it is afterwards: `Failed` with code `Closed`, or what it became before,
/// or still `Processing` where the network did not say.
pub async fn close(gateway: &Arc<Gateway>, caller: &Caller, order: Order) -> Result<Order, Problem> {
    if order.status != OrderState::Processing {
        return Ok(order);
    }
    let (work, trace, patience, order_id) = (gateway.clone(), caller.trace, caller.patience, order.order_id);
    let span = tracing::info_span!("close", %order_id);
    let rest = async move { work.close(order, (trace, patience)).await };
    let _ = settle::work_for(gateway, caller, (order_id, span), rest).await;
    Ok(patience.keep(|| gateway.store.order(order_id)).await?)
}

impl Gateway {
    async fn close(&self, order: Order, (trace, patience): (Trace, Patience)) -> Result<(), SettleError> {
        let order_id = order.order_id;
        let attempt = patience.keep(|| self.store.latest_attempt(order_id)).await?;
        let attempt = match attempt {
            Some(open) if !open.status.is_final() => {
                let _waits = self.shares.waits();
                Some(self.ask_to_close(&order, open, (trace, patience)).await?)
            }
            ended => ended,
        };
        match attempt.filter(|attempt| attempt.status != AttemptState::NotSent) {
            Some(attempt) => settle::finish(self, order, attempt, (trace, patience)).await?,
            // Nothing is at a network. An attempt that begins at this moment is seen under the
            // order's lock, or sees that the order has ended.
            None => return self.give_up(order_id, "Closed", patience).await,
        };
        Ok(())
    }

    /// The attempt as it is afterwards.
    pub(crate) async fn ask_to_close(
        &self,
        order: &Order,
        attempt: Attempt,
        (trace, patience): (Trace, Patience),
    ) -> Result<Attempt, SettleError> {
        let (name, attempt_id) = (&attempt.channel, attempt.attempt_id);
        let settings = self.settings();
        let channel = settle::channel(&settings.value, name)?;
        let sent = settle::sent(order, &attempt)?;
        let asking = channel.client.close(&sent, trace);
        let (outcome, messages) = self.recording((Subject::Payment(attempt_id), name), asking).await;
        let outcome = outcome.of(sent.amount);
        if !outcome.is_said() {
            tracing::info!(?outcome, "the network did not close it");
            return Ok(attempt);
        }
        let ending = ending(name, attempt_id, outcome).with_news(messages, &attempt);
        Ok(patience.keep(|| self.store.end_attempt(attempt_id, &ending)).await?)
    }
}
