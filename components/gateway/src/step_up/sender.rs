//! Who brings codes to payers. The gateway knows one: an address of the bank's, called over https,
//! signed as notifications are, outside of the cluster as they are.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use payplane_api::config::StepUpConfig;
use reqwest::{Client, Url};

use crate::channel::endpoint::{DeniedNetworks, reason};
use crate::notify::endpoint;
use crate::notify::sign::NotifyKey;

/// A sender that needs longer takes the code and brings it afterwards.
pub const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What it is sent. It has no Debug: it holds a code.
pub struct Message {
    pub code_id: String,
    pub body: Vec<u8>,
}

/// What became of sending a code once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Taken,
    /// It cannot reach this payer, and says so.
    Unreachable,
    /// It did not say, or asks for patience.
    Away,
}

pub trait CodeSender: Send + Sync {
    /// Sends it once, as the `nth` try.
    fn send<'a>(&'a self, message: &'a Message, key: &'a NotifyKey, nth: u32) -> BoxFuture<'a, Sent>;
}

/// The bank's address.
pub struct Webhook {
    url: Url,
    client: Client,
}

impl Webhook {
    /// Says why the config cannot be used. The operator renders none such.
    pub fn new(config: &StepUpConfig, denied: &Arc<DeniedNetworks>) -> Result<Self, String> {
        let url = endpoint::parse(&config.url, denied)?;
        Ok(Self { url, client: endpoint::client(config.ca_pem.as_deref(), denied)? })
    }

    async fn post(&self, message: &Message, key: &NotifyKey, nth: u32) -> Sent {
        let nonce = format!("{}-{nth}", message.code_id);
        let headers = key.sign(&self.url, &message.body, Timestamp::now().as_second(), &nonce);
        let Some(headers) = headers else { return Sent::Away };
        let request = self.client.post(self.url.clone()).headers(headers).body(message.body.clone());
        // What it answers beside the status is not read.
        match request.timeout(ANSWER_MAX).send().await {
            Ok(answer) => said(answer.status().as_u16()),
            Err(error) => {
                tracing::info!(why = reason(&error), "the sender of codes did not answer");
                Sent::Away
            }
        }
    }
}

impl CodeSender for Webhook {
    fn send<'a>(&'a self, message: &'a Message, key: &'a NotifyKey, nth: u32) -> BoxFuture<'a, Sent> {
        Box::pin(self.post(message, key, nth))
    }
}

/// What a status says.
fn said(status: u16) -> Sent {
    match status {
        200..=299 => Sent::Taken,
        408 | 429 => Sent::Away,
        400..=499 => Sent::Unreachable,
        _ => Sent::Away,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_who_is_to_blame() {
        for (status, sent) in [
            (200, Sent::Taken),
            (204, Sent::Taken),
            (422, Sent::Unreachable),
            (400, Sent::Unreachable),
            (404, Sent::Unreachable),
            (408, Sent::Away),
            (429, Sent::Away),
            (307, Sent::Away),
            (500, Sent::Away),
            (503, Sent::Away),
        ] {
            assert_eq!(said(status), sent, "{status}");
        }
    }

    #[test]
    fn it_lies_outside() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let denied = Arc::new(DeniedNetworks::parse(&["10.0.0.0/8".to_owned()]).unwrap());
        let made = |url: &str, ca_pem: Option<&str>| {
            let config = StepUpConfig { url: url.to_owned(), ca_pem: ca_pem.map(str::to_owned) };
            Webhook::new(&config, &denied).map(drop)
        };
        assert_eq!(made("https://codes.bank.example/send", None), Ok(()));
        for bad in
            ["http://codes.bank.example", "https://10.0.0.1", "https://codes.ptn-a.svc", "https://a/?b=c"]
        {
            assert!(made(bad, None).is_err(), "{bad}");
        }
        assert!(made("https://codes.bank.example", Some("none")).is_err());
    }
}
