//! What an answer means, and asking afterwards until every outcome is final.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use payplane_api::error::chain;
use tokio::time::Instant;

use super::drive::Load;
use super::journal::JournalError;
use super::record::{Answered, Entry, Line, Outcome};
use crate::call::CallError;
use crate::message::{Payment, PaymentStatus, Refund};

const ASK_EVERY: Duration = Duration::from_millis(500);
const ASK_MAX: Duration = Duration::from_secs(5);
/// An order that is not known for so long never arrived. A single "not found"
/// proves nothing: the request may still be on its way.
const ABSENT_AFTER: Duration = Duration::from_secs(10);

/// What a pay's answer says.
pub(super) fn of_payment(id: u64, answer: Result<Payment, CallError>) -> Answered {
    match answer {
        Ok(payment) => Answered {
            why: payment.failure_code,
            gateway_id: Some(payment.order_id),
            fee_minor: payment.fee_minor,
            config_epoch: payment.config_epoch,
            config_hash: payment.config_hash,
            ledger_transaction_id: payment.ledger_transaction_id,
            ..blank(id, of_status(payment.status))
        },
        Err(error) => of_error(id, &error),
    }
}

/// What a refund's answer says.
pub(super) fn of_refund(id: u64, answer: Result<Refund, CallError>) -> Answered {
    match answer {
        Ok(refund) => Answered {
            why: refund.failure_code,
            gateway_id: Some(refund.refund_id),
            ledger_transaction_id: refund.ledger_transaction_id,
            ..blank(id, of_status(refund.status))
        },
        Err(error) => of_error(id, &error),
    }
}

fn of_status(status: PaymentStatus) -> Outcome {
    match status {
        PaymentStatus::Succeeded => Outcome::Succeeded,
        PaymentStatus::Failed => Outcome::Failed,
        PaymentStatus::Processing => Outcome::Processing,
    }
}

/// A refusal below 500 means that nothing happened. Anything else may have
/// come after the effect.
fn of_error(id: u64, error: &CallError) -> Answered {
    let outcome = match error {
        CallError::Refused { status: 400..=499, .. } => Outcome::Refused,
        _ => Outcome::Unknown,
    };
    Answered { why: Some(chain(error)), ..blank(id, outcome) }
}

fn blank(id: u64, outcome: Outcome) -> Answered {
    Answered {
        id,
        answered_at: Timestamp::now(),
        latency_micros: 0,
        outcome,
        why: None,
        gateway_id: None,
        fee_minor: None,
        config_epoch: None,
        config_hash: None,
        ledger_transaction_id: None,
    }
}

/// Asks for every open outcome until all are final or the time is up.
pub(super) async fn run(load: &Load) -> Result<(), JournalError> {
    let start = Instant::now();
    let mut absent_since: HashMap<u64, Instant> = HashMap::new();
    loop {
        let open: Vec<Entry> =
            load.entries().iter().flatten().filter(|entry| entry.outcome().is_open()).cloned().collect();
        if open.is_empty() || start.elapsed() >= load.args.settle {
            return Ok(());
        }
        for mut entry in open {
            if start.elapsed() >= load.args.settle {
                break;
            }
            // A gateway that is silent must not eat up the time for the others.
            let Ok(mut answered) = tokio::time::timeout(ASK_MAX, ask(load, &entry)).await else {
                continue;
            };
            if answered.outcome == Outcome::Absent {
                let since = *absent_since.entry(entry.sent.id).or_insert_with(Instant::now);
                if since.elapsed() < ABSENT_AFTER {
                    continue;
                }
            } else if answered.outcome.is_open() || answered.outcome == Outcome::Refused {
                // A refused question is no outcome of what was asked about.
                continue;
            }
            let late = answered.answered_at.duration_since(entry.sent.intended_at);
            answered.latency_micros = u64::try_from(late.as_micros()).unwrap_or(0);
            load.journal.write(&Line::Settled(answered.clone())).await?;
            entry.settled = Some(answered);
            load.put(entry.sent.id, entry);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn ask(load: &Load, entry: &Entry) -> Answered {
    let (date, number) = (entry.sent.order_date.to_string(), &entry.sent.order_number);
    let id = entry.sent.id;
    let (answered, not_found) = match &entry.sent.refund_number {
        None => {
            let answer = load.app.payment(&date, number).await;
            let not_found = is_not_found(&answer);
            (of_payment(id, answer), not_found)
        }
        Some(refund) => {
            let answer = load.app.refund_of(&date, number, refund).await;
            let not_found = is_not_found(&answer);
            (of_refund(id, answer), not_found)
        }
    };
    if not_found { Answered { outcome: Outcome::Absent, ..answered } } else { answered }
}

fn is_not_found<T>(answer: &Result<T, CallError>) -> bool {
    matches!(answer, Err(CallError::Refused { status: 404, problem }) if problem.code == "NotFound")
}
