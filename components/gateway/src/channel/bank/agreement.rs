//! A bank's agreements: signed, confirmed by the code that the bank sends, ended.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use payplane_common::trace::Trace;

use super::message::{self, ConfirmBody, Entry, SignBody};
use super::{BankDirect, QUERY, STORED_MAX, Silence, Verified, WINDOW, codes, shown};
use crate::channel::agreement::{Agreements, PreparedSign, Sign, Signed, Standing, WrongCode, unknown};
use crate::channel::{Outcome, PrepareError, Sent};

pub(super) const SIGN: &str = "/bank/v1/sign";
pub(super) const CONFIRM: &str = "/bank/v1/confirm";
pub(super) const UNSIGN: &str = "/bank/v1/unsign";

/// What an answer says of the agreement with a number.
pub(super) fn standing(number: &str, body: &[u8]) -> Standing {
    match Entry::read(body) {
        Some(entry) => entry.standing_of(number),
        None => unknown("an answer that cannot be read"),
    }
}

/// Is it the bank's word that the code is wrong?
fn is_wrong_code(status: u16, body: &[u8]) -> bool {
    status == 422 && message::code(body).as_deref() == Some("WrongCode")
}

impl BankDirect {
    /// Sends a one-time code: what the bank answers, or why nothing is known.
    async fn send_code(
        &self,
        (number, code): (&str, &str),
        trace: Trace,
    ) -> Result<Result<Vec<u8>, String>, WrongCode> {
        let signed = match self.sign(CONFIRM, &ConfirmBody { number, code }) {
            Ok(signed) => signed,
            Err(error) => return Ok(Err(error.why)),
        };
        match self.exchange(signed.request, &signed.nonce, trace).await {
            Ok(Verified { status: 200, body, .. }) => Ok(Ok(body)),
            Ok(Verified { status, body, .. }) if is_wrong_code(status, &body) => Err(WrongCode),
            Ok(Verified { status, .. }) => Ok(Err(format!("answer {status}"))),
            Err(Silence::NotSent(why) | Silence::Unknown(why)) => Ok(Err(why)),
        }
    }

    /// The same for a payment.
    pub(super) async fn confirm_payment(
        &self,
        sent: &Sent,
        code: &str,
        trace: Trace,
    ) -> Result<Outcome, WrongCode> {
        Ok(match self.send_code((&sent.number, code), trace).await? {
            Ok(body) => super::read(sent, &body),
            Err(why) => Outcome::Unknown { why },
        })
    }
}

impl Agreements for BankDirect {
    fn prepare_sign(&self, sign: &Sign<'_>) -> Result<PreparedSign, PrepareError> {
        let body = SignBody {
            number: sign.number,
            account: &sign.owner.account,
            holder_name: &sign.owner.name,
            description: shown(sign.description),
            notify_url: &self.notify_url,
        };
        let signed = self.sign(SIGN, &body)?;
        Ok(PreparedSign {
            number: sign.number.to_owned(),
            signed_at: signed.signed_at,
            request: signed.request,
            context: signed.nonce,
        })
    }

    fn send_sign(&self, prepared: PreparedSign, trace: Trace) -> BoxFuture<'_, Standing> {
        async move {
            match self.exchange(prepared.request, &prepared.context, trace).await {
                Ok(Verified { status: 200, body, .. }) => standing(&prepared.number, &body),
                Ok(Verified { status, body, .. }) => {
                    match codes::refused(status, &message::code(&body).unwrap_or_default()) {
                        Outcome::NotSent { why } => Standing::NotSent { why },
                        _ => unknown(format!("answer {status}")),
                    }
                }
                Err(Silence::NotSent(why)) => Standing::NotSent { why },
                Err(Silence::Unknown(why)) => unknown(why),
            }
        }
        .boxed()
    }

    fn ask<'a>(&'a self, signed: &'a Signed<'_>, trace: Trace) -> BoxFuture<'a, Standing> {
        let number = signed.number;
        async move {
            match BankDirect::ask(self, QUERY, number, trace).await {
                Ok(Verified { status: 200, body, .. }) => standing(number, &body),
                Ok(Verified { status: 404, at, body })
                    if message::code(&body).as_deref() == Some("NotFound") =>
                {
                    Standing::NotFound { at }
                }
                Ok(Verified { status, .. }) => unknown(format!("answer {status}")),
                Err(why) => unknown(why),
            }
        }
        .boxed()
    }

    fn confirm<'a>(
        &'a self,
        signed: &'a Signed<'_>,
        code: &'a str,
        trace: Trace,
    ) -> BoxFuture<'a, Result<Standing, WrongCode>> {
        let number = signed.number;
        async move {
            Ok(match self.send_code((number, code), trace).await? {
                Ok(body) => standing(number, &body),
                Err(why) => unknown(why),
            })
        }
        .boxed()
    }

    fn unsign<'a>(&'a self, signed: &'a Signed<'_>, trace: Trace) -> BoxFuture<'a, Standing> {
        let number = signed.number;
        async move {
            match BankDirect::ask(self, UNSIGN, number, trace).await {
                Ok(Verified { status: 200, body, .. }) => standing(number, &body),
                Ok(Verified { status, .. }) => unknown(format!("answer {status}")),
                Err(why) => unknown(why),
            }
        }
        .boxed()
    }

    fn sign_closed_at(&self, signed_at: Timestamp) -> Timestamp {
        signed_at.saturating_add(WINDOW.saturating_add(STORED_MAX)).unwrap_or(Timestamp::MAX)
    }
}
