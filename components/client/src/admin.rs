//! The admin API, for whoever holds the admin certificate.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use snafu::{ResultExt, Snafu};

use crate::call::{self, CallError};
use crate::key::Algorithm;
use crate::message::TrialBalance;
use crate::print::{self, Output};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Whom to call, and with which certificate.
#[derive(Clone, Debug, clap::Args)]
pub struct AdminArgs {
    /// The gateway's admin address, e.g. `https://gateway.ptn-demo.svc:9443`
    #[arg(long)]
    pub gateway: String,
    /// The CA certificates (PEM) that the gateway's must lead to
    #[arg(long)]
    pub ca: PathBuf,
    /// The admin certificate (PEM)
    #[arg(long)]
    pub cert: PathBuf,
    /// The admin certificate's key (PEM)
    #[arg(long)]
    pub cert_key: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Debug, clap::Args)]
pub struct MerchantArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// The merchant's id
    #[arg(long)]
    merchant: String,
    /// The merchant's name, as people read it
    #[arg(long)]
    name: String,
    /// The n of T+n, 0 to 30; left out, what it is, or 1
    #[arg(long)]
    settlement_days: Option<u8>,
}

#[derive(Debug, clap::Args)]
pub struct AppArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// The app's id
    #[arg(long)]
    app: String,
    /// The app's name, as people read it
    #[arg(long)]
    name: String,
    /// The key's id
    #[arg(long, default_value = "k1")]
    key_id: String,
    /// How the key signs
    #[arg(long, value_enum, default_value_t)]
    algorithm: Algorithm,
    /// The app's public key (SPKI PEM)
    #[arg(long, required_unless_present = "secret")]
    public: Option<PathBuf>,
    /// The secret (base64) of a key that both sides keep
    #[arg(long, conflicts_with = "public")]
    secret: Option<PathBuf>,
    /// Where the app is notified, e.g. `https://shop.example/paid`; left out, where it was
    #[arg(long)]
    notify_url: Option<String>,
    /// Notify the app nowhere any more
    #[arg(long, conflicts_with = "notify_url")]
    notify_nowhere: bool,
    /// The CA certificates (PEM) that the address is believed by; left out, the public ones
    #[arg(long, requires = "notify_url")]
    notify_ca: Option<PathBuf>,
    /// A merchant that the app may pay to; may be repeated, `*` is every merchant
    #[arg(long)]
    merchant: Vec<String>,
}

/// What can be suspended or closed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Kind {
    Merchant,
    App,
    Terminal,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Verb {
    /// A merchant that another certificate applied for
    Approve,
    Suspend,
    Resume,
    /// For good
    Close,
}

#[derive(Debug, clap::Args)]
pub struct RegistryArgs {
    #[arg(value_enum)]
    verb: Verb,
    #[arg(value_enum)]
    kind: Kind,
    /// Its id
    id: String,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, clap::Args)]
pub struct TrialBalanceArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum AdminError {
    #[snafu(display("the gateway did not do it"))]
    Call { source: CallError },
    #[snafu(display("cannot read {}", path.display()))]
    Pem { path: PathBuf, source: std::io::Error },
}

/// A connection to a gateway's admin API.
pub struct Admin {
    base: reqwest::Url,
    client: Client,
}

impl Admin {
    pub fn new(args: &AdminArgs) -> Result<Self, CallError> {
        let identity = Some((args.cert.as_path(), args.cert_key.as_path()));
        let client = call::client(&args.ca, identity, TIMEOUT, call::SILENCE_MAX)?;
        Ok(Self { base: call::address(&args.gateway)?, client })
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, CallError> {
        call::answer(self.request(Method::PUT, path)?.json(body)).await
    }

    pub async fn post(&self, path: &str) -> Result<Value, CallError> {
        call::answer(self.request(Method::POST, path)?).await
    }

    pub async fn post_json(&self, path: &str, body: &Value) -> Result<Value, CallError> {
        call::answer(self.request(Method::POST, path)?.json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value, CallError> {
        call::answer(self.request(Method::DELETE, path)?).await
    }

    pub async fn trial_balance(&self) -> Result<TrialBalance, CallError> {
        call::answer(self.request(Method::GET, "/admin/v1/trial-balance")?).await
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, CallError> {
        let url = self.base.join(path).map_err(|_| CallError::Address { address: path.to_owned() })?;
        Ok(self.client.request(method, url))
    }
}

pub(crate) async fn register_merchant(args: MerchantArgs) -> Result<(), AdminError> {
    let admin = Admin::new(&args.admin).context(CallSnafu)?;
    let path = format!("/admin/v1/merchants/{}", args.merchant);
    let body = json!({"displayName": args.name, "settlementDays": args.settlement_days});
    let answer = admin.put(&path, &body).await.context(CallSnafu)?;
    let status = answer["status"].as_str().unwrap_or("registered");
    said(args.admin.output, &format!("merchant {} is {status}", args.merchant), &answer);
    Ok(())
}

/// Approves, suspends, resumes or closes.
pub(crate) async fn change(args: RegistryArgs) -> Result<(), AdminError> {
    let name = |value: Option<clap::builder::PossibleValue>| value.map(|v| v.get_name().to_owned());
    let kind = name(args.kind.to_possible_value()).unwrap_or_default();
    let verb = name(args.verb.to_possible_value()).unwrap_or_default();
    let admin = Admin::new(&args.admin).context(CallSnafu)?;
    let path = format!("/admin/v1/{kind}s/{}/{verb}", args.id);
    let answer = admin.post(&path).await.context(CallSnafu)?;
    let status = answer["status"].as_str().unwrap_or("changed");
    said(args.admin.output, &format!("{kind} {} is {status}", args.id), &answer);
    Ok(())
}

pub(crate) async fn register_app(args: AppArgs) -> Result<(), AdminError> {
    let read = |path: &PathBuf| std::fs::read_to_string(path).context(PemSnafu { path });
    let mut key = json!({"keyId": args.key_id, "algorithm": args.algorithm.name()});
    if let Some(public) = &args.public {
        key["publicKeyPem"] = read(public)?.into();
    }
    if let Some(secret) = &args.secret {
        key["secret"] = read(secret)?.trim().into();
    }
    let ca_pem = args.notify_ca.as_ref().map(read).transpose()?;
    let admin = Admin::new(&args.admin).context(CallSnafu)?;
    let mut body = json!({"displayName": args.name, "keys": [key]});
    if args.notify_nowhere {
        body["notification"] = Value::Null;
    } else if let Some(url) = args.notify_url {
        body["notification"] = json!({"url": url, "caPem": ca_pem});
    }
    let path = format!("/admin/v1/apps/{}", args.app);
    let answer = admin.put(&path, &body).await.context(CallSnafu)?;
    for merchant in &args.merchant {
        admin.put(&format!("{path}/merchants/{merchant}"), &json!({})).await.context(CallSnafu)?;
    }
    said(args.admin.output, &format!("app {} is registered with key {}", args.app, args.key_id), &answer);
    Ok(())
}

pub(crate) async fn trial_balance(args: TrialBalanceArgs) -> Result<(), AdminError> {
    let admin = Admin::new(&args.admin).context(CallSnafu)?;
    let balance = admin.trial_balance().await.context(CallSnafu)?;
    match args.admin.output {
        Output::Json => print::json(&balance),
        Output::Text => print::line(print::trial_balance(&balance).trim_end()),
    }
    Ok(())
}

fn said(output: Output, text: &str, answer: &Value) {
    match output {
        Output::Json => print::json(answer),
        Output::Text => print::line(text),
    }
}
