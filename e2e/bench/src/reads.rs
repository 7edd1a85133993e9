//! Whoever asks for the balance of a busy account meanwhile, each at its moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use payplane_api::ledger::v1::{GetBalancesRequest, GetBalancesResponse};

use crate::mix::CURRENCY;
use crate::pace;
use crate::report::{figure, precise};
use crate::rig::Rig;

/// As many answers are held against the books.
const CHECKED: usize = 50;

/// Reads at a rate for so long, prints how long it took, and compares all parts of answers
/// with the fold of entries and holds up to the position that they name.
pub(crate) async fn run(rig: &Rig, account: &str, rate: u64, during: Duration) -> Result<()> {
    let request = GetBalancesRequest { accounts: vec![account.into()], currency: CURRENCY.into(), at: None };
    let client = rig.client()?;
    let call = move || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { Ok(client.get_balances(request).await?.into_inner()) }
    };
    let (took, answers) = pace::at_rate(rate, during, call).await?;
    figure(&format!("ledger_balance_p50_ms({rate}/s)"), pace::ms(&took, 0.5), "ms");
    figure(&format!("ledger_balance_p99_ms({rate}/s)"), pace::ms(&took, 0.99), "ms");
    check(rig, account, &answers).await
}

/// What the account had at these positions, and how many entries: the fold of all.
const FOLD: &str = "
    WITH a AS MATERIALIZED (SELECT account_id, normal_side FROM ledger.accounts WHERE code = $1),
    m AS MATERIALIZED (
        SELECT p.position, sum(g.posted) AS posted, sum(g.held) AS held, sum(g.entries) AS entries
          FROM (SELECT e.batch_number, sum(CASE e.side WHEN a.normal_side THEN e.amount_minor ELSE -e.amount_minor END) AS posted,
                       coalesce(-sum(e.amount_minor) FILTER (WHERE e.was_held), 0) AS held, count(*) AS entries
                  FROM a JOIN ledger.entries e USING (account_id) GROUP BY e.batch_number
                UNION ALL SELECT h.batch_number, 0, h.amount_minor, 0 FROM a JOIN ledger.holds h USING (account_id)
                UNION ALL SELECT x.batch_number, 0, -x.freed_minor, 0 FROM a JOIN ledger.hold_ends x USING (account_id)) g
          JOIN ledger.positions p USING (batch_number) GROUP BY p.position)
    SELECT q.position, coalesce(sum(m.posted), 0)::bigint, coalesce(sum(m.held), 0)::bigint, coalesce(sum(m.entries), 0)::bigint
      FROM unnest($2::bigint[]) q (position) LEFT JOIN m ON m.position <= q.position
     GROUP BY q.position ORDER BY q.position";

async fn check(rig: &Rig, account: &str, answers: &[GetBalancesResponse]) -> Result<()> {
    let told = |answer: &GetBalancesResponse| {
        let of = answer.balances.first().map(|b| (b.balance_minor, b.held_minor, b.available_minor));
        anyhow::Ok((i64::try_from(answer.position)?, of))
    };
    let told = answers.iter().step_by((answers.len() / CHECKED).max(1)).map(told);
    let told = told.collect::<Result<Vec<_>>>()?;
    let positions: Vec<i64> =
        told.iter().map(|(position, _)| *position).collect::<BTreeSet<_>>().into_iter().collect();
    let owner = rig.postgres.connect("payplane_owner").await?;
    let rows = owner.query(FOLD, &[&account, &positions]).await?;
    let right = rows.iter().map(|row| {
        let (posted, held): (i64, i64) = (row.get(1), row.get(2));
        (row.get::<_, i64>(0), (posted, held, posted - held))
    });
    let right: BTreeMap<_, _> = right.collect();
    for (position, told) in &told {
        let right = right.get(position).copied();
        ensure!(right.is_some() && *told == right, "told was {told:?} at {position}, and right is {right:?}");
    }
    let (entries, held): (i64, i64) = rows.last().map_or((0, 0), |row| (row.get(3), row.get(2)));
    figure("ledger_balance_checked", precise(u64::try_from(told.len())?), "answers");
    figure("ledger_balance_entries", precise(u64::try_from(entries)?), "entries");
    figure("ledger_balance_held", precise(u64::try_from(held)?), "minor units");
    Ok(())
}
