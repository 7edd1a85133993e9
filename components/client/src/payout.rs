//! One payout, or what became of it.

use jiff::civil::Date;
use snafu::ResultExt;

use crate::call::{App, AppArgs};
use crate::message::{Payout, PayoutRequest};
use crate::order::{CallSnafu, OrderError, ZoneSnafu, today};
use crate::print::{self, Output};

/// What is paid out, and to whom.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PayoutArgs {
    #[command(flatten)]
    app: AppArgs,
    /// The payout's date; today in --timezone when left out
    #[arg(long)]
    order_date: Option<Date>,
    /// Where "today" is
    #[arg(long, default_value = "Asia/Shanghai")]
    timezone: String,
    #[arg(long)]
    payout_number: String,
    /// Whose money it is
    #[arg(long)]
    merchant: String,
    /// In minor units: 1234 is 12.34 CNY
    #[arg(long)]
    amount_minor: i64,
    #[arg(long, default_value = "CNY")]
    currency: String,
    /// The account that is paid
    #[arg(long)]
    payee_account: String,
    /// Its owner
    #[arg(long)]
    payee_name: String,
    /// What the payee is shown
    #[arg(long)]
    description: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    app: AppArgs,
    #[arg(long)]
    order_date: Date,
    #[arg(long)]
    payout_number: String,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(crate) async fn pay_out(args: PayoutArgs) -> Result<(), OrderError> {
    let app = App::new(&args.app).context(CallSnafu)?;
    let order_date = match args.order_date {
        Some(date) => date,
        None => today(&args.timezone).context(ZoneSnafu { zone: &args.timezone })?,
    };
    let request = PayoutRequest {
        order_date,
        payout_number: args.payout_number,
        merchant_id: args.merchant,
        amount_minor: args.amount_minor,
        currency: args.currency,
        payee_account: args.payee_account,
        payee_name: args.payee_name,
        description: args.description,
    };
    show(args.output, &app.pay_out(&request).await.context(CallSnafu)?);
    Ok(())
}

pub(crate) async fn query(args: QueryArgs) -> Result<(), OrderError> {
    let app = App::new(&args.app).context(CallSnafu)?;
    let payout = app.payout(&args.order_date.to_string(), &args.payout_number).await.context(CallSnafu)?;
    show(args.output, &payout);
    Ok(())
}

fn show(output: Output, payout: &Payout) {
    match output {
        Output::Json => print::json(payout),
        Output::Text => print::line(&print::payout(payout)),
    }
}
