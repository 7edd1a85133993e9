//! Agreements over UnionPay: each call sends one request, and an opening query tells what no answer
//! did.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use payplane_common::trace::Trace;

use super::{BACK_PATH, UnionPay, now_in_seconds, token};
use crate::channel::PrepareError;
use crate::channel::agreement::{Agreements, Kept, PreparedSign, Sign, Signed, Standing, WrongCode, unknown};
use crate::channel::connection::Silence;

impl UnionPay {
    /// The answer to a request; why there is none, where there is none.
    async fn answered(&self, body: Result<String, PrepareError>, trace: Trace) -> Result<Vec<u8>, String> {
        let request = body.and_then(|body| self.request(BACK_PATH, body)).map_err(|error| error.why)?;
        let answer = self.exchange(request, trace).await;
        answer.map_err(|(Silence::NotSent(why) | Silence::Unknown(why))| why)
    }

    async fn ask_opened(&self, signed: &Signed<'_>, trace: Trace) -> Standing {
        let (about, at) = ((signed.number, signed.signed_at), Timestamp::now());
        match self.answered(self.merchant.ask_opened(about), trace).await {
            Ok(body) => self.merchant.found_opened(&body, about, at),
            Err(why) => unknown(why),
        }
    }

    /// Opens the card with the code.
    async fn open(&self, signed: &Signed<'_>, code: &str, trace: Trace) -> Result<Standing, WrongCode> {
        let about = (signed.number, signed.signed_at);
        let Kept::Owner(owner) = &signed.kept else { return Ok(unknown("its owner is not kept any more")) };
        if !token::takes_code(signed.signed_at) {
            return Ok(unknown("the time for its code is over"));
        }
        match self.answered(self.merchant.open(about, owner, code), trace).await {
            Ok(body) => self.merchant.opened(&body, about),
            Err(why) => Ok(unknown(why)),
        }
    }

    /// Deletes a token. Each request has a number of its own, so it may be repeated. None: nobody
    /// says whether it is deleted.
    async fn delete(&self, token: &str, trace: Trace) -> Option<bool> {
        let (number, at) = (uuid::Uuid::now_v7().simple().to_string(), now_in_seconds());
        let about = (number.as_str(), at);
        let body = self.answered(self.merchant.delete(about, token), trace).await.ok()?;
        self.merchant.deleted(&body, about)
    }

    /// A token that is there is deleted; where that is refused, or none is known, UnionPay is asked
    /// whether the card is open.
    async fn close(&self, signed: &Signed<'_>, trace: Trace) -> Standing {
        let not_yet = || unknown("the token is not deleted yet");
        if let Kept::Token(token) = &signed.kept {
            match self.delete(token, trace).await {
                Some(true) => return Standing::Ended,
                None => return not_yet(),
                Some(false) => {}
            }
        }
        match self.ask_opened(signed, trace).await {
            Standing::Active { token, .. } => match self.delete(&token, trace).await {
                Some(true) => Standing::Ended,
                _ => not_yet(),
            },
            // No code is sent any more; the token of one that is on its way is deleted when it comes.
            Standing::AwaitsCode { .. } | Standing::Declined { .. } => Standing::Ended,
            other => other,
        }
    }
}

impl Agreements for UnionPay {
    fn needs_owner(&self) -> bool {
        true
    }

    fn prepare_sign(&self, sign: &Sign<'_>) -> Result<PreparedSign, PrepareError> {
        let signed_at = now_in_seconds();
        let body = self.merchant.send_code(sign.number, sign.owner, signed_at)?;
        let request = self.request(BACK_PATH, body)?;
        Ok(PreparedSign { number: sign.number.to_owned(), signed_at, request, context: String::new() })
    }

    fn send_sign(&self, prepared: PreparedSign, trace: Trace) -> BoxFuture<'_, Standing> {
        async move {
            let PreparedSign { number, signed_at, request, .. } = prepared;
            match self.exchange(request, trace).await {
                Ok(body) => self.merchant.code_sent(&body, (&number, signed_at)),
                Err(Silence::NotSent(why)) => Standing::NotSent { why },
                Err(Silence::Unknown(why)) => unknown(why),
            }
        }
        .boxed()
    }

    fn ask<'a>(&'a self, signed: &'a Signed<'_>, trace: Trace) -> BoxFuture<'a, Standing> {
        self.ask_opened(signed, trace).boxed()
    }

    fn confirm<'a>(
        &'a self,
        signed: &'a Signed<'_>,
        code: &'a str,
        trace: Trace,
    ) -> BoxFuture<'a, Result<Standing, WrongCode>> {
        self.open(signed, code, trace).boxed()
    }

    fn unsign<'a>(&'a self, signed: &'a Signed<'_>, trace: Trace) -> BoxFuture<'a, Standing> {
        self.close(signed, trace).boxed()
    }

    /// An opening query never says that a number is not known.
    fn sign_closed_at(&self, signed_at: Timestamp) -> Timestamp {
        token::closed_at(signed_at)
    }
}
