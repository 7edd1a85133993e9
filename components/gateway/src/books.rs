//! The ledger, as the gateway calls it: over mutual TLS, with bounds. A refusal
//! is an answer; anything else that goes wrong leaves the outcome unknown, and
//! the same identity is sent again.

pub mod contradiction;
pub mod payouts;
pub mod postings;
pub mod surplus;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use payplane_api::accounting::AmountsError;
use payplane_api::ledger::v1::ledger_client::LedgerClient;
use payplane_api::ledger::v1::{
    AccountSpec, Balance, GetBalancesRequest, GetStatusRequest, GetStatusResponse, GetTrialBalanceRequest,
    GetTrialBalanceResponse, ListEntriesRequest, ListEntriesResponse, OpenAccountsRequest, Outcome,
    PostRequest, RefusalReason,
};
use payplane_common::tls::Followed;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use snafu::{OptionExt, ResultExt, Snafu};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use uuid::Uuid;

use payplane_common::trace::Trace;

const CALL_MAX: Duration = Duration::from_secs(4);
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A ledger pod that vanished without a word is noticed within both together.
const PING_EVERY: Duration = Duration::from_secs(3);
const PING_MAX: Duration = Duration::from_secs(3);
/// The largest answer: a trial balance of some 500,000 accounts.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Accounts that are known to be open; forgotten all at once when too many.
const OPENED_MAX: usize = 20_000;

#[derive(Debug, Snafu)]
pub enum BooksError {
    #[snafu(display("the ledger's address {address:?} is not https://HOST:PORT"))]
    Address { address: String },
    #[snafu(display("the ledger cannot be asked"))]
    Endpoint { source: tonic::transport::Error },
    /// The outcome is unknown: ask again with the same identity.
    #[snafu(display("the ledger did not answer"))]
    Away {
        #[snafu(source(from(Status, Box::new)))]
        source: Box<Status>,
    },
    #[snafu(display("the ledger refused {}: {message}", reason.as_str_name()))]
    Refused { reason: RefusalReason, message: String },
    #[snafu(display("the posting was decided on a config older than epoch {epoch_min}"))]
    Stale { epoch_min: u64 },
    #[snafu(display("these books have no such place: {message}"))]
    Place { message: String },
    #[snafu(display("the ledger's answer cannot be read"))]
    Garbled,
    #[snafu(context(false), display("it cannot be booked"))]
    Amounts { source: AmountsError },
}

/// A client of the ledger. Clones share its connection.
#[derive(Clone)]
pub struct Books {
    client: LedgerClient<Channel>,
    opened: Arc<Mutex<HashSet<(String, String)>>>,
}

impl Books {
    /// Prepares the connection; it is made when it is first needed, and again
    /// when it breaks, with the certificates of that moment.
    pub fn new(address: &str, tls: Arc<Followed<ClientConfig>>) -> Result<Self, BooksError> {
        let bad = AddressSnafu { address };
        let uri: Uri = address.parse().ok().context(bad)?;
        let host = uri.host().context(bad)?.to_owned();
        let (https, port) = (uri.scheme_str() == Some("https"), uri.port_u16().unwrap_or(443));
        let server = ServerName::try_from(host.clone()).ok().filter(|_| https).context(bad)?;
        // The connector below does the TLS, so tonic is told of plain HTTP/2.
        let endpoint = Endpoint::from_shared(format!("http://{host}:{port}"))
            .context(EndpointSnafu)?
            .origin(uri)
            .timeout(CALL_MAX)
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_MAX)
            .keep_alive_while_idle(true);
        let connector = tower::service_fn(move |_: Uri| {
            let (server, host, tls) = (server.clone(), host.clone(), tls.clone());
            async move {
                let mut config = (*tls.current()).clone();
                config.alpn_protocols = vec![b"h2".to_vec()];
                let stream = TcpStream::connect((host.as_str(), port)).await?;
                stream.set_nodelay(true)?;
                let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(server, stream).await?))
            }
        });
        let client = LedgerClient::new(endpoint.connect_with_connector_lazy(connector))
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self { client, opened: Arc::default() })
    }

    /// Posts, and returns the transaction's id. Posting again is safe.
    pub async fn post(&self, request: &PostRequest, trace: Trace) -> Result<Uuid, BooksError> {
        let asked = call(request.clone(), trace);
        let answer = self.client.clone().post(asked).await.context(AwaySnafu)?.into_inner();
        match (answer.outcome(), answer.refusal) {
            (Outcome::Created | Outcome::Replayed, _) => {
                answer.transaction_id.parse().ok().context(GarbledSnafu)
            }
            (Outcome::Refused, Some(refusal)) => match refusal.reason() {
                RefusalReason::StaleConfig => StaleSnafu { epoch_min: answer.config_epoch_min }.fail(),
                reason => RefusedSnafu { reason, message: refusal.message }.fail(),
            },
            _ => GarbledSnafu.fail(),
        }
    }

    /// Opens the accounts that are not known to be open.
    pub async fn open(&self, accounts: Vec<AccountSpec>, trace: Trace) -> Result<(), BooksError> {
        let names: Vec<_> = accounts.iter().map(|a| (a.code.clone(), a.currency.clone())).collect();
        {
            let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            if names.iter().all(|name| opened.contains(name)) {
                return Ok(());
            }
        }
        let asked = call(OpenAccountsRequest { accounts }, trace);
        let answer = self.client.clone().open_accounts(asked).await.context(AwaySnafu)?.into_inner();
        if let Some(refusal) = answer.refusal {
            return RefusedSnafu { reason: refusal.reason(), message: refusal.message }.fail();
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.len() >= OPENED_MAX {
            opened.clear();
        }
        opened.extend(names);
        Ok(())
    }

    pub async fn status(&self, trace: Trace) -> Result<GetStatusResponse, BooksError> {
        let asked = call(GetStatusRequest {}, trace);
        Ok(self.client.clone().get_status(asked).await.context(AwaySnafu)?.into_inner())
    }

    /// What accounts have at present, in every currency in which they are open.
    pub async fn balances(&self, accounts: Vec<String>, trace: Trace) -> Result<Vec<Balance>, BooksError> {
        let asked = call(GetBalancesRequest { accounts, currency: String::new(), at: None }, trace);
        Ok(self.client.clone().get_balances(asked).await.context(AwaySnafu)?.into_inner().balances)
    }

    /// A page of an account's entries; none where it is not open.
    pub async fn entries(
        &self,
        asked: ListEntriesRequest,
        trace: Trace,
    ) -> Result<ListEntriesResponse, BooksError> {
        match self.client.clone().list_entries(call(asked, trace)).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(ListEntriesResponse::default()),
            Err(status)
                if [tonic::Code::InvalidArgument, tonic::Code::FailedPrecondition]
                    .contains(&status.code()) =>
            {
                PlaceSnafu { message: status.message() }.fail()
            }
            Err(status) => Err(status).context(AwaySnafu),
        }
    }

    pub async fn trial_balance(&self, trace: Trace) -> Result<GetTrialBalanceResponse, BooksError> {
        let asked = call(GetTrialBalanceRequest { include_reserved: false }, trace);
        Ok(self.client.clone().get_trial_balance(asked).await.context(AwaySnafu)?.into_inner())
    }
}

/// The trace, and the deadline, without which the ledger would go on for a
/// caller that has long given up.
fn call<T>(message: T, trace: Trace) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_MAX);
    if let Ok(value) = trace.child().parse() {
        request.metadata_mut().insert("traceparent", value);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_tells_its_trace_and_its_deadline() {
        let trace = Trace::new();
        let call = call((), trace);
        let header = |name: &str| call.metadata().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("grpc-timeout"), "4000000u");
        assert!(header("traceparent").contains(&trace.to_string()));
    }
}
