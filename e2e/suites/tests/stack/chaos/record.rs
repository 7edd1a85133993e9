//! What the merchant asked for and was told, fsynced outside of the system under test:
//! each line is on the disk before a request leaves, and before its answer counts.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use payplane_client::message::{Payment, PaymentStatus, Refund};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Call {
    Pay,
    /// Another body under the identity of an order that is known.
    PayOtherwise,
    /// Another order, signed with a nonce that was used.
    PayAnew,
    Query,
    Close,
    Refund,
    QueryRefund,
}

/// A request that is about to leave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) id: u64,
    pub(super) call: Call,
    pub(super) number: String,
    pub(super) refund: Option<String>,
    pub(super) amount_minor: i64,
    pub(super) method: String,
    pub(super) gateway: usize,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Said {
    Payment {
        is_new: bool,
        payment: Box<Payment>,
    },
    Refund {
        is_new: bool,
        refund: Box<Refund>,
    },
    Refused {
        status: u16,
        code: String,
    },
    /// No byte of it left.
    NotSent,
    /// It may have been carried out.
    Unknown {
        why: String,
    },
}

impl Said {
    /// Its state, where it has one.
    pub(super) fn status(&self) -> Option<PaymentStatus> {
        match self {
            Self::Payment { payment, .. } => Some(payment.status),
            Self::Refund { refund, .. } => Some(refund.status),
            _ => None,
        }
    }

    pub(super) fn is_final(&self) -> bool {
        self.status().is_some_and(|status| status != PaymentStatus::Processing)
    }

    /// Did this very request make what it asked for? None where nobody can tell.
    pub(super) fn is_new(&self) -> Option<bool> {
        match self {
            Self::Payment { is_new, .. } | Self::Refund { is_new, .. } => Some(*is_new),
            _ => None,
        }
    }

    /// Whoever is told to come again, or nothing, asks again.
    pub(super) fn is_answer(&self) -> bool {
        !matches!(self, Self::NotSent | Self::Unknown { .. } | Self::Refused { status: 503, .. })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum Line {
    Sent(Sent),
    Answered { id: u64, said: Said },
}

/// A request, its answer if there was one, and their places in the record.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) sent: Sent,
    pub(super) sent_at: usize,
    pub(super) said: Option<(usize, Said)>,
}

/// The whole record, in the order in which requests left.
pub(super) fn read(path: &Path) -> Result<Vec<Exchange>> {
    let text = std::fs::read_to_string(path)?;
    let (mut all, mut places): (Vec<Exchange>, HashMap<u64, usize>) = Default::default();
    for (at, line) in text.lines().enumerate() {
        match serde_json::from_str(line).with_context(|| format!("line {at}: {line}"))? {
            Line::Sent(sent) => {
                ensure!(places.insert(sent.id, all.len()).is_none(), "sent twice: {line}");
                all.push(Exchange { sent, sent_at: at, said: None });
            }
            Line::Answered { id, said } => {
                let exchange = places.get(&id).and_then(|place| all.get_mut(*place)).context("no request")?;
                ensure!(exchange.said.is_none(), "answered twice: {line}");
                exchange.said = Some((at, said));
            }
        }
    }
    Ok(all)
}
