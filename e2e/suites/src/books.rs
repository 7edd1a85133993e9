//! The books as PostgreSQL holds them, read by SQL from the primary.

use crate::kubectl;
use crate::load::compare::Booked;

/// Runs SQL in a managed tenant's primary, as the database's superuser inside
/// its own pod, and gives back unaligned rows.
///
/// # Panics
/// With what psql said.
#[must_use]
pub fn sql(tenant: &str, statement: &str) -> String {
    try_sql(tenant, statement).unwrap_or_else(|error| panic!("{tenant}: {error}"))
}

/// The same, for a database that may be away.
pub fn try_sql(tenant: &str, statement: &str) -> Result<String, String> {
    let namespace = format!("ptn-{tenant}");
    let pods = kubectl::list(&["pods", "-n", &namespace, "-l", "cnpg.io/instanceRole=primary"]);
    let primary =
        pods.first().and_then(|pod| pod["metadata"]["name"].as_str()).ok_or("there is no primary")?;
    let psql = ["psql", "-d", "payplane", "-AtXq", "-v", "ON_ERROR_STOP=1", "-c", statement];
    let exec = ["exec", "-n", &namespace, primary, "-c", "postgres", "--"];
    kubectl::attempt(&[&exec[..], &psql].concat())
}

/// How many bookings of the operator's probe there are.
///
/// # Panics
/// With what psql said.
#[must_use]
pub fn probes(tenant: &str) -> u64 {
    try_probes(tenant).unwrap_or_else(|error| panic!("{tenant}: {error}"))
}

/// The same, of a database that may be away.
pub fn try_probes(tenant: &str) -> Result<u64, String> {
    let said = try_sql(tenant, "select count(*) from ledger.transactions where kind = 'probe'")?;
    said.trim().parse().map_err(|_| format!("not a number: {said}"))
}

/// The timeline, which rises with each promotion, and how far its write-ahead log has
/// come, in bytes; of a database that may be away.
pub fn try_place(tenant: &str) -> Result<(u32, u64), String> {
    let said = try_sql(
        tenant,
        "select ('x' || substr(pg_walfile_name(l), 1, 8))::bit(32)::int, (l - '0/0')::bigint from pg_current_wal_lsn() l",
    )?;
    let numbers = said.trim().split_once('|').map(|(timeline, wal)| (timeline.parse(), wal.parse()));
    match numbers {
        Some((Ok(timeline), Ok(wal))) => Ok((timeline, wal)),
        _ => Err(format!("not a place: {said}")),
    }
}

/// Sales, refunds and reversals of the orders whose numbers begin with a prefix,
/// and those that lead to no order at all; in the order in which they were booked.
///
/// # Panics
/// Where a row cannot be read.
#[must_use]
pub fn booked(tenant: &str, prefix: &str) -> Vec<Booked> {
    let rows = sql(
        tenant,
        &format!(
            "select t.kind, coalesce(o.order_number, ''), coalesce(r.refund_number, ''), t.transaction_id, \
               sum(e.amount_minor) filter (where e.side = 'debit'), \
               coalesce(sum(e.amount_minor) filter (where a.code = 'income:fee'), 0), t.config_epoch \
             from ledger.transactions t join ledger.entries e using (transaction_id) \
             join ledger.accounts a using (account_id) \
             left join ledger.external_references x on x.transaction_id = t.transaction_id and x.type = 'order' \
             left join gateway.orders o on o.order_id = x.value::uuid \
             left join ledger.external_references y on y.transaction_id = t.transaction_id and y.type = 'refund' \
             left join gateway.refunds r on r.refund_id = y.value::uuid \
             where not a.reserved and (o.order_number is null or o.order_number like '{prefix}%') \
             group by t.kind, o.order_number, r.refund_number, t.transaction_id, t.config_epoch \
             order by t.transaction_id"
        ),
    );
    rows.lines().filter(|line| !line.is_empty()).map(read).collect()
}

fn read(row: &str) -> Booked {
    let fields: Vec<&str> = row.split('|').collect();
    let [kind, order, refund, transaction_id, amount, fee, epoch] = fields[..] else {
        panic!("cannot read {row}")
    };
    let number = |text: &str| -> i64 { text.parse().unwrap_or_else(|_| panic!("cannot read {row}")) };
    Booked {
        kind: kind.into(),
        order: order.into(),
        refund: refund.into(),
        transaction_id: transaction_id.into(),
        amount_minor: number(amount),
        fee_minor: number(fee),
        config_epoch: number(epoch).unsigned_abs(),
    }
}

/// Fails unless debits equal credits in every currency and transaction.
///
/// # Panics
/// With the transactions that do not balance.
pub fn assert_balanced(tenant: &str) {
    let unbalanced = sql(
        tenant,
        "select transaction_id, currency, sum(case side when 'debit' then amount_minor else -amount_minor end) \
         from ledger.entries join ledger.accounts using (account_id) group by 1, 2 \
         having sum(case side when 'debit' then amount_minor else -amount_minor end) <> 0",
    );
    assert_eq!(unbalanced.trim(), "", "transactions of {tenant} do not balance");
}
