//! One payment sent many times at once, each over a connection of its own, so
//! that they reach every gateway pod behind a Service.

use std::collections::BTreeSet;
use std::sync::Arc;

use payplane_api::error::chain;
use serde_json::json;
use snafu::ResultExt;

use crate::call::{App, CONNECTIONS_MAX};
use crate::message::PaymentStatus;
use crate::order::{CallSnafu, OrderError, PayArgs};
use crate::print::{self, Output};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BurstArgs {
    #[command(flatten)]
    pay: PayArgs,
    /// How many times it is sent
    #[arg(long, default_value_t = 50)]
    count: usize,
}

pub(crate) async fn run(args: BurstArgs) -> Result<(), OrderError> {
    let count = args.count.clamp(1, CONNECTIONS_MAX);
    let request = Arc::new(args.pay.request()?);
    let connection = || App::new(&args.pay.app).context(CallSnafu);
    let apps: Vec<App> = (0..count).map(|_| connection()).collect::<Result<_, _>>()?;
    let together = Arc::new(tokio::sync::Barrier::new(count));
    let mut sent = tokio::task::JoinSet::new();
    for app in apps {
        let (request, together) = (request.clone(), together.clone());
        sent.spawn(async move {
            together.wait().await;
            app.pay(&request).await
        });
    }
    let (mut orders, mut errors) = (BTreeSet::new(), Vec::new());
    let mut transactions = BTreeSet::new();
    let (mut succeeded, mut processing, mut failed) = (0u32, 0u32, 0u32);
    for answer in sent.join_all().await {
        match answer {
            Ok(payment) => {
                orders.insert(payment.order_id);
                transactions.extend(payment.ledger_transaction_id);
                let counter = match payment.status {
                    PaymentStatus::Succeeded => &mut succeeded,
                    PaymentStatus::Processing => &mut processing,
                    PaymentStatus::Failed => &mut failed,
                };
                *counter = counter.saturating_add(1);
            }
            Err(error) => errors.push(chain(&error)),
        }
    }
    let summary = json!({"requests": count, "succeeded": succeeded, "processing": processing,
        "failed": failed, "orders": orders, "ledgerTransactions": transactions, "errors": errors});
    match args.pay.output {
        Output::Json => print::json(&summary),
        Output::Text => print::line(&format!(
            "{count} requests: {succeeded} succeeded, {processing} processing, {failed} failed, {} without a result; {} order",
            errors.len(),
            orders.len()
        )),
    }
    Ok(())
}
