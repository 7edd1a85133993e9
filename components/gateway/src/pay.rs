//! The life of a payment. Seven steps, in the order in which they happen:
//! validate, route, create the order, assess risk, call the channel, update the
//! order, publish. A crash after any of them is taken up by `resolve`.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use payplane_api::config::OnError;
use payplane_api::money::Money;
use payplane_common::config::Loaded;
use payplane_common::trace::Trace;
use uuid::Uuid;

use crate::agreement::payer::{self, ByAgreement};
use crate::api::problem::{Code, Problem};
use crate::api::wire::PayRequest;
use crate::channel::{Outcome, Pay, Prepared};
use crate::gateway::{Caller, Gateway};
use crate::limits::{self, Reached};
use crate::message::{Messages, Subject};
use crate::patience::Patience;
use crate::risk;
use crate::risk::question::{Hit, Question, Version};
use crate::route::{self, Decision};
use crate::settings::{ChannelSettings, Settings};
use crate::settle::{self, SettleError};
use crate::sign_and_pay;
use crate::state::AttemptState;
use crate::state::agreement::AgreementState;
use crate::store::admission::Refusal;
use crate::store::agreements::Said;
use crate::store::attempts::{Attempt, Ending};
use crate::store::begin::{Begin, Begun};
use crate::store::orders::{Created, NewOrder, Order};
use crate::store::{self, Store};
use crate::terminal::Claim;
use crate::terms::{self, InForce};

/// Networks that are tried for one order, each only after the one before has
/// surely had no effect.
const ATTEMPTS_MAX: usize = 3;

/// An order, and whether this request made it.
pub struct Paid {
    pub order: Order,
    pub is_new: bool,
}

/// A payment as it is carried out. It has no Debug: a token is a secret.
pub(crate) struct Asked {
    pub amount: Money,
    /// Who pays, by the network's name for the payer.
    pub payer: Option<String>,
    pub device: Option<String>,
    pub agreed: Option<ByAgreement>,
    pub terms: Option<InForce>,
    /// He has just brought the code of the agreement that it is made by.
    pub is_proven: bool,
}

impl Asked {
    /// The limit of the merchant's terms that it exceeds by itself.
    fn exceeded(&self, channel: &str) -> Option<Reached> {
        self.terms.as_ref()?.exceeded(channel, self.amount)
    }

    fn govern(&self, decision: Decision, order: &Order) -> Decision {
        match &self.terms {
            Some(terms) if !order.is_top_up() => terms.govern(decision, (&order.method, self.amount)),
            _ => decision,
        }
    }
}

/// What came of one channel's turn.
pub(crate) enum Called {
    Ended(Attempt),
    /// Its agreement is to end, or the order has ended.
    Over,
    LimitReached(Reached),
    /// By a risk policy: the order has failed, or waits for its payer.
    Stored,
    /// By a risk policy: its payer is to be asked first.
    StepUp(OnError),
    /// It could not even begin.
    NotBegun,
}

/// Takes a payment.
pub async fn pay(gateway: &Arc<Gateway>, caller: &Caller, mut request: PayRequest) -> Result<Paid, Problem> {
    let settings = gateway.settings();

    // 1. Validate: the fields were read strictly; the rest depends on the tenant.
    let new = validate(gateway, &settings.value, caller, &request)?;
    if let Some(owner) = request.agreement.as_mut().and_then(|name| name.owner.take()) {
        return sign_and_pay::begin(gateway, caller, (request, owner), new).await;
    }
    let agreed = match payer::of(gateway, caller, &mut request).await? {
        Ok(agreed) => agreed,
        Err(refusal) => return known_or(gateway, caller, &new, refusal).await,
    };

    // 2. Route: which channels can take it, by the config of this moment.
    let asked = route::Asked {
        order_id: new.order_id,
        merchant: &new.merchant_id,
        method: &request.method,
        amount: request.amount,
        on: new.stored_date,
        agreed: agreed.as_ref().map(|agreed| agreed.channel.as_str()),
        top_up: new.top_up_customer.is_some(),
    };
    let routes = route::choose(&settings.value, (&gateway.breakers, &gateway.rates), &asked);
    if routes.is_empty() {
        let refusal = no_route(&settings.value, &asked);
        return known_or(gateway, caller, &new, refusal).await;
    }

    let needs_payer = |decision: &Decision| {
        let channel = settings.value.channel(&decision.channel);
        channel.is_some_and(|channel| channel.client.needs_payer(&request.method))
    };
    if request.payer_id.is_none() && routes.iter().any(needs_payer) {
        return Err(Problem::field("payerId", format!("is required for {}", request.method)));
    }

    // 3. Create the order, with the request's nonce. Of equal requests one is
    // first; every other gets its order, in the state of that moment.
    let asked_at = Instant::now();
    let (order, terms) =
        match caller.patience.keep(|| gateway.store.create_order(&new, &caller.nonce)).await? {
            Created::New(order, terms) => (*order, terms),
            Created::Known(order) => return same_order(*order, &new),
            Created::NonceUsed => return Err(nonce_used()),
            Created::Refused(why) => {
                return Err(refused(why, (&new.app_id, &new.merchant_id), new.terminal.as_ref()));
            }
        };
    gateway.shares.note_stored(asked_at.elapsed(), Instant::now());
    let order_id = order.order_id;
    tracing::info!(%order_id, "order created");

    // From here on it goes on also when the caller hangs up.
    let (work, trace, patience) = (gateway.clone(), caller.trace, caller.patience);
    let span = tracing::info_span!("payment", %order_id);
    let PayRequest { amount, payer_id: payer, device_id: device, .. } = request;
    let asked = Asked { amount, payer, device, agreed, terms, is_proven: false };
    let rest = async move { work.carry_out(&settings, order, &asked, &routes, (trace, patience)).await };
    let order = match settle::work_for(gateway, caller, (order_id, span), rest).await {
        Some(order) => {
            gateway.shares.note_done(Instant::now());
            order
        }
        // The caller is told the state that is stored.
        None => patience.keep(|| gateway.store.order(order_id)).await?,
    };
    Ok(Paid { order, is_new: true })
}

impl Gateway {
    /// Steps 4 to 7, for an order that was just created.
    pub(crate) async fn carry_out(
        &self,
        settings: &Loaded<Settings>,
        order: Order,
        asked: &Asked,
        routes: &[Decision],
        (trace, patience): (Trace, Patience),
    ) -> Result<Order, SettleError> {
        // 4. Assess risk: what the policies ask is answered, once, in the transaction that
        // begins the first attempt, before anything leaves.
        let mut question = self.risk_of(&order, asked);

        // 5. Call the channel, and store what came of it.
        let (mut attempt, mut attempts, mut reached, mut is_over) = (None, 0_usize, vec![], false);
        for decision in routes {
            // His terms hold for every channel.
            if let Some(limit) = asked.exceeded(&decision.channel) {
                reached.push(limit);
                break;
            }
            let (decision, times) = (asked.govern(decision.after(&reached), &order), (trace, patience));
            match self.turn(&settings.value, (&order, asked, &question), &decision, times).await? {
                Called::NotBegun => {}
                Called::Over => is_over = true,
                Called::LimitReached(limit) => {
                    let is_everywhere = limit.limit.starts_with(terms::PREFIX);
                    reached.push(limit);
                    if is_everywhere {
                        break;
                    }
                }
                Called::Stored | Called::StepUp(_) => {
                    return Ok(patience.keep(|| self.store.order(order.order_id)).await?);
                }
                Called::Ended(ended) => {
                    question = None;
                    attempts = attempts.saturating_add(1);
                    let go_on = ended.status == AttemptState::NotSent && attempts < ATTEMPTS_MAX;
                    attempt = Some(ended);
                    if !go_on {
                        break;
                    }
                }
            }
        }

        // 6. Update the order, once the ledger has acknowledged the posting, and
        // 7. publish, in the same transaction.
        match attempt {
            Some(attempt) => settle::finish(self, order, attempt, (trace, patience)).await,
            None => {
                let code = match (asked.agreed.is_some() && is_over, reached.is_empty()) {
                    (true, _) => "AgreementEnded",
                    (false, true) => "ChannelUnavailable",
                    (false, false) => "LimitReached",
                };
                let routing = routes.first().map(|first| route::explain(&first.explanation, &reached));
                let fail = || self.store.fail_unsent(order.order_id, code, routing.as_ref());
                Ok(patience.keep(fail).await?)
            }
        }
    }

    /// One attempt: signed, then committed, then sent, then its outcome stored.
    pub(crate) async fn call_channel(
        &self,
        settings: &Settings,
        (order, asked, question): (&Order, &Asked, &Option<Arc<Question>>),
        decision: &Decision,
        (trace, patience): (Trace, Patience),
    ) -> Result<Called, SettleError> {
        let Some(channel) = settings.channel(&decision.channel) else { return Ok(Called::NotBegun) };
        let Asked { amount, payer, agreed, .. } = asked;
        let attempt_id = Uuid::now_v7();
        let number = Store::number(attempt_id);
        let pay = Pay {
            number: &number,
            amount: *amount,
            method: &order.method,
            description: order.description.as_deref().unwrap_or(&order.order_number),
            payer: agreed.as_ref().map(|agreed| agreed.token.as_str()).or(payer.as_deref()),
            expires_at: order.expires_at,
        };
        let prepared = match channel.client.prepare_pay(&pay) {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::info!(channel = channel.name, why = error.why, "cannot prepare a payment");
                return Ok(Called::NotBegun);
            }
        };
        let begin = Begin {
            order_id: order.order_id,
            attempt_id,
            decision: decision.clone(),
            signed_at: prepared.signed_at,
            amount_minor: amount.minor(),
            agreement_id: agreed.as_ref().map(|agreed| agreed.agreement_id),
            limits: self.limits_on(&channel.name, (order, asked), prepared.signed_at),
            risk: question.clone(),
            is_proven: asked.is_proven,
        };
        match patience.keep(|| self.store.begin_attempt(&begin)).await? {
            Some(Begun::Attempt(hits)) => self.note_hits(&hits),
            Some(Begun::LimitReached(limit)) => return Ok(Called::LimitReached(limit)),
            Some(Begun::Blocked(hits)) => {
                self.note_hits(&hits);
                return Ok(Called::Stored);
            }
            Some(Begun::StepUp(hits, on_error)) => {
                self.note_hits(&hits);
                return Ok(Called::StepUp(on_error));
            }
            None => return Ok(Called::Over),
        }
        let (outcome, messages) = self.send(channel, (attempt_id, prepared), trace).await;
        let ending = ending(&channel.name, attempt_id, outcome).with(messages);
        if let (Some(agreed), Some("AgreementEnded")) = (agreed, ending.code.as_deref()) {
            // Its owner ended it at the bank: so it ends here.
            let (id, said) = (agreed.agreement_id, Said::default());
            patience.keep(|| self.store.move_agreement(id, AgreementState::Ending, &said)).await?;
        }
        let counted =
            crate::metrics::Outcome { channel: channel.name.clone(), outcome: ending.status.as_str() };
        self.metrics.attempts.get_or_create(&counted).inc();
        Ok(Called::Ended(patience.keep(|| self.store.end_attempt(attempt_id, &ending)).await?))
    }

    /// Sends the request of an attempt.
    async fn send(
        &self,
        channel: &ChannelSettings,
        (attempt_id, prepared): (Uuid, Prepared),
        trace: Trace,
    ) -> (Outcome, Messages) {
        // A channel that was disabled or deleted meanwhile takes nothing new. It is
        // looked at after the attempt is stored: whoever counts a deleted channel's
        // open payments either sees this one, or has made us see the deletion.
        if !self.settings().value.channel(&channel.name).is_some_and(|now| now.enabled) {
            let why = "the channel takes no payments any more".to_owned();
            return (Outcome::NotSent { why }, Messages::default());
        }
        let (about, amount) = ((Subject::Payment(attempt_id), channel.name.as_str()), prepared.amount);
        let waits = self.shares.waits();
        let (outcome, messages) = self.recording(about, channel.client.send(prepared, trace)).await;
        drop(waits);
        let outcome = outcome.of(amount);
        self.note_outcome(&channel.name, &outcome);
        (outcome, messages)
    }

    /// What risk policies ask about an order, as they are now; mostly nothing.
    fn risk_of(&self, order: &Order, payment: &Asked) -> Option<Arc<Question>> {
        let settings = self.settings();
        let asked = risk::Asked {
            merchant: &order.merchant_id,
            method: &order.method,
            amount: payment.amount,
            payer: payment.payer.as_deref(),
            device: payment.device.as_deref(),
            terminal: order.terminal_id.as_deref(),
            at: order.created_at,
            local: settings.value.calendar.local(order.created_at),
        };
        let version = Version { epoch: settings.value.epoch_signed(), hash: settings.value.hash.clone() };
        risk::ask(&settings.value.config.risk, &asked, version, &self.data_keys).map(Arc::new)
    }

    fn note_hits(&self, hits: &[Hit]) {
        for Hit { policy, .. } in hits {
            let (mode, verdict) = (policy.mode.as_str(), policy.action.as_str());
            let counted = crate::metrics::Verdict { policy: policy.name.clone(), mode, verdict };
            self.metrics.risk_verdicts.get_or_create(&counted).inc();
        }
    }

    /// The limits that an attempt counts against, as they are now, in the day and month in
    /// which it is signed.
    fn limits_on(
        &self,
        channel: &str,
        (order, Asked { amount, payer, terms, .. }): (&Order, &Asked),
        signed_at: Timestamp,
    ) -> Vec<limits::Limit> {
        let settings = self.settings();
        let found = settings.value.channel(channel);
        let rules = found.and_then(|found| found.limits(&order.method, amount.currency()));
        let asked = limits::Asked {
            channel,
            method: &order.method,
            merchant: &order.merchant_id,
            payer: payer.as_deref(),
            date: settings.value.calendar.date(signed_at),
        };
        let mut limits = rules.map(|rules| limits::of(rules, &asked)).unwrap_or_default();
        limits.extend(terms.iter().flat_map(|terms| terms.limits(amount.currency(), &asked)));
        limits
    }
}

/// What an outcome makes of an attempt.
pub fn ending(channel: &str, attempt_id: Uuid, outcome: Outcome) -> Ending {
    let bare = Ending::bare;
    match outcome {
        Outcome::Succeeded { network_id, network_time, amount_minor: _, details } => Ending {
            network_id: Some(network_id),
            network_time: Some(network_time),
            details,
            ..bare(AttemptState::Succeeded)
        },
        Outcome::Declined { code, network_id } => {
            Ending { network_id, code: Some(code), ..bare(AttemptState::Declined) }
        }
        Outcome::Processing { network_id, action } => {
            Ending { network_id, action, ..bare(AttemptState::Processing) }
        }
        Outcome::Closed => bare(AttemptState::Closed),
        Outcome::Unknown { why } => {
            tracing::info!(channel, %attempt_id, why, "outcome unknown");
            bare(AttemptState::Unknown)
        }
        Outcome::NotSent { why } => {
            tracing::info!(channel, %attempt_id, why, "not sent");
            bare(AttemptState::NotSent)
        }
    }
}

fn validate(
    gateway: &Gateway,
    settings: &Settings,
    caller: &Caller,
    request: &PayRequest,
) -> Result<NewOrder, Problem> {
    let currency = request.amount.currency();
    if !settings.currencies.contains(&currency) {
        return Err(Problem::field("currency", format!("{currency} is not a currency of this tenant")));
    }
    let now = store::now();
    let settlement_dates = settings.calendar.settlement_dates(now).map_err(|error| {
        tracing::error!(%error, "no settlement date; the tenant's calendar needs working days");
        Problem::new(Code::Internal, "the tenant's calendar has too few working days")
    })?;
    Ok(NewOrder {
        order_id: Uuid::now_v7(),
        app_id: caller.app().to_owned(),
        order_date: request.order_date,
        order_number: request.order_number.to_string(),
        request_hash: gateway.data_keys.request_hash(request.hash()),
        merchant_id: request.merchant_id.to_string(),
        method: request.method.clone(),
        amount_minor: request.amount.minor(),
        currency: currency.to_string(),
        description: request.description.clone(),
        stored_date: settings.calendar.date(now),
        settlement_dates,
        calendar_version: settings.epoch_signed(),
        created_at: now,
        expires_at: now.saturating_add(request.expires_in()).unwrap_or(Timestamp::MAX),
        terminal: request.terminal.clone(),
        top_up_customer: request.top_up.as_ref().map(ToString::to_string),
    })
}

fn no_route(settings: &Settings, asked: &route::Asked<'_>) -> Problem {
    let is_agreed_alone = |channel: &ChannelSettings| {
        channel.client.is_agreed_alone(asked.method) && channel.client.signs(asked.method)
    };
    if asked.agreed.is_none() && settings.channels.iter().any(is_agreed_alone) {
        return Problem::field("agreement", format!("{} is paid by an agreement: name one", asked.method));
    }
    let and = if asked.top_up { ", and takes top-ups" } else { "" };
    let detail = format!("no enabled channel has this merchant, method, currency and limit{and}");
    Problem::new(Code::NoChannel, detail)
}

/// What the registry does not admit. Nothing was written.
#[must_use]
pub fn refused(why: Refusal, (app, merchant): (&str, &str), claim: Option<&Claim>) -> Problem {
    let terminal = claim.map_or("", |claim| &claim.terminal_id);
    match why {
        Refusal::UnknownMerchant => Problem::new(Code::UnknownMerchant, format!("merchant {merchant}")),
        Refusal::AppNotActive(state) => Problem::new(Code::AppNotActive, format!("app {app} is {state}")),
        Refusal::NotBound => {
            let detail = format!("an administrator has to bind app {app} to merchant {merchant}");
            Problem::new(Code::NotBound, detail)
        }
        Refusal::MerchantNotActive(state) => {
            Problem::new(Code::MerchantNotActive, format!("merchant {merchant} is {state}"))
        }
        Refusal::UnknownTerminal => Problem::new(Code::UnknownTerminal, format!("terminal {terminal}")),
        Refusal::TerminalNotActive(state) => {
            Problem::new(Code::TerminalNotActive, format!("terminal {terminal} is {state}"))
        }
        Refusal::TerminalDiffers(element) => Problem {
            field: Some(element.field().to_owned()),
            ..Problem::new(Code::TerminalDiffers, format!("is not what terminal {terminal} is bound by"))
        },
    }
}

/// What was accepted before stays accepted, whatever speaks against it now.
async fn known_or(
    gateway: &Gateway,
    caller: &Caller,
    new: &NewOrder,
    refusal: Problem,
) -> Result<Paid, Problem> {
    let known = || gateway.store.find_order(&new.app_id, new.order_date, &new.order_number);
    same_order(caller.patience.keep(known).await?.ok_or(refusal)?, new)
}

/// A known order answers the same request; another one is refused.
pub(crate) fn same_order(order: Order, new: &NewOrder) -> Result<Paid, Problem> {
    if !new.request_hash.is_of(&order.request_hash) {
        let detail = format!("order {} of {} was another request", new.order_number, new.order_date);
        return Err(Problem::new(Code::OrderConflict, detail));
    }
    Ok(Paid { order, is_new: false })
}

/// The refusal of a nonce that was used for other content.
#[must_use]
pub fn nonce_used() -> Problem {
    Problem::new(Code::ReplayedNonce, "sign every request with a new nonce")
}
