//! Whoever asks for the balance of the busiest account meanwhile, each at its moment.

use std::time::Duration;

use anyhow::{Result, ensure};
use payplane_api::ledger::v1::{GetBalancesRequest, GetBalancesResponse};

use crate::mix::{CHANNEL, CURRENCY};
use crate::pace;
use crate::report::{figure, precise};
use crate::rig::Rig;

/// As many answers are held against the books.
const CHECKED: usize = 50;

/// Reads at a rate for so long, prints how long it took, and compares answers with
/// the fold of entries up to the position that they name.
pub(crate) async fn run(rig: &Rig, rate: u64, during: Duration) -> Result<()> {
    let request = GetBalancesRequest { accounts: vec![CHANNEL.into()], currency: CURRENCY.into(), at: None };
    let client = rig.client()?;
    let call = move || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { Ok(client.get_balances(request).await?.into_inner()) }
    };
    let (took, answers) = pace::at_rate(rate, during, call).await?;
    figure(&format!("ledger_balance_p50_ms({rate}/s)"), pace::ms(&took, 0.5), "ms");
    figure(&format!("ledger_balance_p99_ms({rate}/s)"), pace::ms(&took, 0.99), "ms");
    check(rig, &answers).await
}

async fn check(rig: &Rig, answers: &[GetBalancesResponse]) -> Result<()> {
    let owner = rig.postgres.connect("payplane_owner").await?;
    let mut checked: Vec<_> = answers.iter().step_by((answers.len() / CHECKED).max(1)).collect();
    checked.sort_by_key(|answer| answer.position);
    let (mut position, mut balance, mut entries) = (0, 0_i64, 0_i64);
    for answer in checked {
        // What came since the one before: adding all up again would take minutes in a large book.
        let fold = format!(
            "SELECT coalesce(sum(CASE e.side WHEN a.normal_side THEN e.amount_minor ELSE -e.amount_minor END), 0)::bigint, count(*)
               FROM ledger.positions p JOIN ledger.transactions t USING (batch_number) JOIN ledger.entries e USING (transaction_id)
               JOIN ledger.accounts a USING (account_id) WHERE a.code = '{CHANNEL}' AND p.position > {position} AND p.position <= {}",
            answer.position
        );
        let row = owner.query_one(&fold, &[]).await?;
        position = answer.position;
        balance += row.get::<_, i64>(0);
        entries += row.get::<_, i64>(1);
        let told = answer.balances.first().map(|balance| balance.balance_minor);
        ensure!(told == Some(balance), "at position {position}: {told:?} is not {balance}");
    }
    figure("ledger_balance_entries", precise(u64::try_from(entries)?), "entries");
    Ok(())
}
