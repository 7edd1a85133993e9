//! One payment, query or refund, with its receipt.

use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use snafu::{ResultExt, Snafu};

use crate::call::{App, AppArgs, CallError};
use crate::message::{PayRequest, RefundRequest};
use crate::print::{self, Output};

/// What is paid.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PayArgs {
    #[command(flatten)]
    pub app: AppArgs,
    /// The order's date; today in --timezone when left out
    #[arg(long)]
    pub order_date: Option<Date>,
    /// Where "today" is
    #[arg(long, default_value = "Asia/Shanghai")]
    pub timezone: String,
    #[arg(long)]
    pub order_number: String,
    /// Who is paid
    #[arg(long)]
    pub merchant: String,
    #[arg(long, default_value = "card")]
    pub method: String,
    /// In minor units: 1234 is 12.34 CNY
    #[arg(long)]
    pub amount_minor: i64,
    #[arg(long, default_value = "CNY")]
    pub currency: String,
    #[arg(long)]
    pub description: Option<String>,
    /// Who pays, by the network's name for the payer (an openid)
    #[arg(long)]
    pub payer_id: Option<String>,
    /// How long the payer has: 60 to 7200 seconds; 900 when left out
    #[arg(long)]
    pub expires_in_seconds: Option<i64>,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    app: AppArgs,
    #[arg(long)]
    order_date: Date,
    #[arg(long)]
    order_number: String,
    /// Ask about this refund of the order instead
    #[arg(long)]
    refund_number: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CloseArgs {
    #[command(flatten)]
    app: AppArgs,
    #[arg(long)]
    order_date: Date,
    #[arg(long)]
    order_number: String,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RefundArgs {
    #[command(flatten)]
    app: AppArgs,
    #[arg(long)]
    order_date: Date,
    #[arg(long)]
    order_number: String,
    #[arg(long)]
    refund_number: String,
    /// In minor units
    #[arg(long)]
    amount_minor: i64,
    #[arg(long)]
    reason: Option<String>,
    /// Whom it is transferred to, where the network gives nothing back
    #[arg(long, requires = "payee_name")]
    payee_account: Option<String>,
    #[arg(long, requires = "payee_account")]
    payee_name: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum OrderError {
    #[snafu(display("the gateway did not do it"))]
    Call { source: CallError },
    #[snafu(display("time zone {zone:?} is not known"))]
    Zone { zone: String, source: jiff::Error },
}

/// Today, in a zone.
pub(crate) fn today(zone: &str) -> Result<Date, jiff::Error> {
    Ok(TimeZone::get(zone)?.to_datetime(Timestamp::now()).date())
}

impl PayArgs {
    pub(crate) fn request(&self) -> Result<PayRequest, OrderError> {
        let order_date = match self.order_date {
            Some(date) => date,
            None => today(&self.timezone).context(ZoneSnafu { zone: &self.timezone })?,
        };
        Ok(PayRequest {
            order_date,
            order_number: self.order_number.clone(),
            merchant_id: self.merchant.clone(),
            method: self.method.clone(),
            amount_minor: self.amount_minor,
            currency: self.currency.clone(),
            description: self.description.clone(),
            payer_id: self.payer_id.clone(),
            expires_in_seconds: self.expires_in_seconds,
        })
    }
}

pub(crate) async fn pay(args: PayArgs) -> Result<(), OrderError> {
    let app = App::new(&args.app).context(CallSnafu)?;
    let payment = app.pay(&args.request()?).await.context(CallSnafu)?;
    show(args.output, &payment);
    Ok(())
}

pub(crate) async fn close(args: CloseArgs) -> Result<(), OrderError> {
    let app = App::new(&args.app).context(CallSnafu)?;
    let payment = app.close(&args.order_date.to_string(), &args.order_number).await.context(CallSnafu)?;
    show(args.output, &payment);
    Ok(())
}

pub(crate) async fn query(args: QueryArgs) -> Result<(), OrderError> {
    let app = App::new(&args.app).context(CallSnafu)?;
    let (date, number) = (args.order_date.to_string(), &args.order_number);
    if let Some(refund) = &args.refund_number {
        let refund = app.refund_of(&date, number, refund).await.context(CallSnafu)?;
        show_refund(args.output, &date, number, &refund);
        return Ok(());
    }
    show(args.output, &app.payment(&date, number).await.context(CallSnafu)?);
    Ok(())
}

pub(crate) async fn refund(args: RefundArgs) -> Result<(), OrderError> {
    let app = App::new(&args.app).context(CallSnafu)?;
    let request = RefundRequest {
        refund_number: args.refund_number,
        amount_minor: args.amount_minor,
        reason: args.reason,
        payee_account: args.payee_account,
        payee_name: args.payee_name,
    };
    let date = args.order_date.to_string();
    let refund = app.refund(&date, &args.order_number, &request).await.context(CallSnafu)?;
    show_refund(args.output, &date, &args.order_number, &refund);
    Ok(())
}

fn show(output: Output, payment: &crate::message::Payment) {
    match output {
        Output::Json => print::json(payment),
        Output::Text => print::line(&print::payment(payment)),
    }
}

fn show_refund(output: Output, date: &str, number: &str, refund: &crate::message::Refund) {
    match output {
        Output::Json => print::json(refund),
        Output::Text => print::line(&print::refund(&format!("{number} of {date}"), refund)),
    }
}
