//! One agreement is asked for: an account's owner is sent a one-time code by his bank.

use jiff::civil::Date;
use serde_json::{Value, json};
use snafu::ResultExt;

use crate::call::{App, AppArgs};
use crate::order::{CallSnafu, OrderError};
use crate::print::{self, Output};

/// Who is to agree, and to what.
#[derive(Clone, clap::Args)]
pub(crate) struct SignArgs {
    #[command(flatten)]
    app: AppArgs,
    #[arg(long)]
    agreement_date: Date,
    #[arg(long)]
    agreement_number: String,
    /// Whom payments by it are for
    #[arg(long)]
    merchant: String,
    #[arg(long, default_value = "bank-account")]
    method: String,
    /// The account that is to be debited
    #[arg(long)]
    account_number: String,
    /// Its owner
    #[arg(long)]
    account_name: String,
    /// Where the owner is sent the one-time code; UnionPay needs it
    #[arg(long)]
    phone_number: Option<String>,
    /// What the owner is shown
    #[arg(long)]
    description: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl std::fmt::Debug for SignArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "agreement {}/{}", self.agreement_date, self.agreement_number)
    }
}

pub(crate) async fn sign(args: SignArgs) -> Result<(), OrderError> {
    let app = App::new(&args.app).context(CallSnafu)?;
    let mut request = json!({
        "agreementDate": args.agreement_date, "agreementNumber": args.agreement_number,
        "merchantId": args.merchant, "method": args.method,
        "accountNumber": args.account_number, "accountName": args.account_name,
    });
    for (name, value) in [("description", args.description), ("phoneNumber", args.phone_number)] {
        if let Some(value) = value {
            request[name] = value.into();
        }
    }
    let answer: Value = app.send("/v1/agreements", &request).await.context(CallSnafu)?;
    match args.output {
        Output::Json => print::json(&answer),
        Output::Text => {
            let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
            print::line(&format!("agreement {} {}", text("agreementNumber"), text("status")));
        }
    }
    Ok(())
}
