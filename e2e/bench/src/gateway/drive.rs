//! The open loop: each payment has a moment at which it is sent, whether those before it
//! are answered or not. It goes to both gateways in turn, over connections that stay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use reqwest::header::RETRY_AFTER;
use reqwest::{Certificate, Client, Response, Url};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::plan::{self, Load, Signed};
use super::rig::Rig;
use super::slots::{Run, Said};

/// To each gateway. HTTP/2 has 256 requests on one at once, and a gateway takes 1,024.
const CONNECTIONS: usize = 8;
const ANSWER_MAX: Duration = Duration::from_secs(30);
const BEGIN_AFTER: Duration = Duration::from_millis(300);
/// A runtime's own timers are up to 2 ms late, a thread's are not.
const SOON: Duration = Duration::from_micros(50);

/// Sends a load, and returns once all is answered, or will not be any more.
pub(super) async fn run(rig: &Rig, name: &str, load: Load, signed: Vec<Signed>) -> Result<Arc<Run>> {
    let client = Payer::connect(rig).await?;
    let run = Arc::new(Run::new(name.to_owned(), load, Instant::now() + BEGIN_AFTER));
    rig.receiver.expects(&run);
    let (sending, runtime) = (run.clone(), Handle::current());
    let send_all = move || {
        let tasks = signed.into_iter().enumerate().map(|(n, one)| {
            let due = sending.start + sending.load.due(n);
            let left = due.saturating_duration_since(Instant::now());
            if left > SOON {
                std::thread::sleep(left);
            }
            let (client, run) = (client.clone(), sending.clone());
            runtime.spawn(async move { client.pay(&run, n, one).await })
        });
        tasks.collect::<Vec<_>>()
    };
    for task in tokio::task::spawn_blocking(send_all).await? {
        task.await?;
    }
    Ok(run)
}

/// Signs a load, and sends it.
pub(super) async fn sign_and_run(rig: &Rig, name: &str, load: Load) -> Result<Arc<Run>> {
    run(rig, name, load, plan::sign(rig, name, &load)?).await
}

/// Connections to both gateways.
struct Payer {
    clients: Vec<Client>,
    urls: Vec<Url>,
}

/// All that is read of a payment.
#[derive(Deserialize)]
struct Payment {
    status: String,
}

/// All that is read of a refusal.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
}

impl Payer {
    /// With the connections made, so that the first payments do not wait for them.
    async fn connect(rig: &Rig) -> Result<Arc<Self>> {
        let roots = Certificate::from_pem_bundle(&std::fs::read(rig.trust())?)?;
        let client = || {
            let builder = Client::builder().https_only(true).tls_certs_only(roots.clone()).no_proxy();
            builder.tcp_nodelay(true).timeout(ANSWER_MAX).retry(reqwest::retry::never()).build()
        };
        let clients = (0..CONNECTIONS).map(|_| client()).collect::<Result<Vec<_>, _>>()?;
        let urls = rig.urls();
        for (client, url) in clients.iter().flat_map(|client| urls.iter().map(move |url| (client, url))) {
            client.get(url).send().await.context("no connection to a gateway")?;
        }
        let urls = urls.iter().map(|url| Ok(format!("{url}/v1/payments").parse()?));
        Ok(Arc::new(Self { clients, urls: urls.collect::<Result<_>>()? }))
    }

    async fn pay(&self, run: &Run, n: usize, signed: Signed) {
        let url = self.urls[n % self.urls.len()].clone();
        let client = &self.clients[n / self.urls.len() % self.clients.len()];
        let request = client
            .post(url)
            .header("content-type", "application/json")
            .header("content-digest", signed.headers.content_digest)
            .header("signature-input", signed.headers.signature_input)
            .header("signature", signed.headers.signature)
            .body(signed.body);
        run.is_sent(n);
        let (said, word) = match request.send().await {
            Ok(response) => read(response).await,
            Err(error) => (Said::Wrong, Some(format!("no answer: {}", cause(&error)))),
        };
        run.is_answered(n, said, word);
    }
}

async fn read(response: Response) -> (Said, Option<String>) {
    let (status, later) = (response.status(), response.headers().contains_key(RETRY_AFTER));
    let body = match response.bytes().await {
        Ok(body) => body,
        Err(error) => return (Said::Wrong, Some(format!("no whole answer: {}", cause(&error)))),
    };
    if status.is_success() {
        return match serde_json::from_slice::<Payment>(&body) {
            Ok(payment) if payment.status == "Succeeded" => (Said::Succeeded, None),
            Ok(payment) => (Said::Accepted, Some(format!("{status} {}", payment.status))),
            Err(error) => (Said::Wrong, Some(error.to_string())),
        };
    }
    let Problem { code, detail } = serde_json::from_slice(&body).unwrap_or_default();
    let refused = later && matches!(status.as_u16(), 429 | 503);
    (if refused { Said::Refused } else { Said::Wrong }, Some(format!("{status} {code}: {detail}")))
}

/// The last cause, which says most.
fn cause(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(deeper) = last.source() {
        last = deeper;
    }
    last.to_string()
}
