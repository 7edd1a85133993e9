//! Whether an app may pay to a merchant at a terminal, or pay him out. It is decided in the
//! transaction that creates the order: [`HOLD`] first, and in a later statement what is [`ADMITTED`], so
//! whoever closes one of them waits for the orders before, and none comes after.

use snafu::ResultExt;

use super::{Params, ReadSnafu, StateSnafu, StoreError, one};
use crate::state::registry::RegistryState;
use crate::terminal::{Claim, Element};

/// Apps, merchants and terminals of a batch.
pub(super) const HOLD: &str = "SELECT gateway.hold($1, $2, $3)";

/// Joins the rows `t` of asked-for orders with what admits them.
pub(super) const ADMITTED: &str = "JOIN gateway.merchants m ON m.merchant_id = t.merchant_id AND m.status = 'Active'
    JOIN gateway.apps p ON p.app_id = t.app_id AND p.status = 'Active'
    WHERE (EXISTS (SELECT FROM gateway.app_merchants b WHERE b.app_id = t.app_id AND b.merchant_id = t.merchant_id)
            OR EXISTS (SELECT FROM gateway.app_merchants b WHERE b.app_id = t.app_id AND b.merchant_id = '*'))
        AND (t.terminal_id IS NULL OR EXISTS (SELECT FROM gateway.terminals x
            WHERE x.terminal_id = t.terminal_id AND x.status = 'Active'
                AND x.merchant_id = t.merchant_id AND x.serial_number = t.serial_number
                AND x.acquirer_code = t.acquirer_code AND x.location = t.location
                AND m.unified_social_credit_code = t.credit_code AND m.settlement_account = t.settlement_account))";

/// Of an app that is bound to the merchant by his name: who may pay to everybody takes
/// nobody's money.
pub(super) const BY_NAME: &str = "EXISTS (SELECT FROM gateway.app_merchants b
    WHERE b.app_id = t.app_id AND b.merchant_id = t.merchant_id)";

/// Why no order is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    UnknownMerchant,
    AppNotActive(RegistryState),
    NotBound,
    MerchantNotActive(RegistryState),
    UnknownTerminal,
    TerminalNotActive(RegistryState),
    TerminalDiffers(Element),
}

/// Holds what something is about, until the transaction ends.
pub(super) async fn hold<C: deadpool_postgres::GenericClient>(
    client: &C,
    app: &str,
    merchants: &[&str],
    terminals: &[&str],
) -> Result<(), StoreError> {
    let apps: &[&str] = &[app];
    one(client, "hold what it is about", HOLD, &[&apps, &merchants, &terminals]).await?;
    Ok(())
}

/// May the app take money of the merchant? It is bound to him by his name, and he is active;
/// whether it is so itself was asked before.
pub(super) async fn takes_money<C: deadpool_postgres::GenericClient>(
    client: &C,
    (app, merchant): (&str, &str),
) -> Result<bool, StoreError> {
    let sql =
        "SELECT EXISTS (SELECT FROM gateway.merchants m JOIN gateway.app_merchants b USING (merchant_id)
         WHERE b.app_id = $1 AND m.merchant_id = $2 AND m.status = 'Active')";
    one(client, "ask who takes money", sql, &[&app, &merchant]).await?.try_get(0).context(ReadSnafu)
}

/// Says why an app takes no money of a merchant, in the transaction that holds both.
pub(super) async fn refusal_by_name<C: deadpool_postgres::GenericClient>(
    client: &C,
    who: (&str, &str),
) -> Result<Refusal, StoreError> {
    let why = refusal(client, who, None).await?;
    // Everything else is in order, and it is bound by the `*` alone.
    Ok(if why == Refusal::UnknownTerminal { Refusal::NotBound } else { why })
}

/// Says why an order or a payout was not admitted, in the transaction that holds what it is about.
pub(super) async fn refusal<C: deadpool_postgres::GenericClient>(
    client: &C,
    (app, merchant): (&str, &str),
    claim: Option<&Claim>,
) -> Result<Refusal, StoreError> {
    let sql = "SELECT m.status AS merchant, p.status AS app, x.status AS terminal,
            EXISTS (SELECT FROM gateway.app_merchants b
                WHERE b.app_id = t.app_id AND b.merchant_id IN (t.merchant_id, '*')) AS bound,
            ARRAY[x.serial_number = t.serial_number, x.acquirer_code = t.acquirer_code,
                x.merchant_id = t.merchant_id, m.unified_social_credit_code = t.credit_code,
                m.settlement_account = t.settlement_account, x.location = t.location] AS agree
         FROM (SELECT $1::text AS app_id, $2::text AS merchant_id, $3::text AS terminal_id, $4::text AS serial_number,
            $5::text AS acquirer_code, $6::text AS credit_code, $7::text AS settlement_account, $8::text AS location) t
         LEFT JOIN gateway.merchants m ON m.merchant_id = t.merchant_id
         LEFT JOIN gateway.apps p ON p.app_id = t.app_id
         LEFT JOIN gateway.terminals x ON x.terminal_id = t.terminal_id";
    let params: Params<'_> = &[
        &app,
        &merchant,
        &claim.map(|t| t.terminal_id.as_str()),
        &claim.map(|t| t.serial_number.as_str()),
        &claim.map(|t| t.acquirer_code.as_str()),
        &claim.map(|t| t.credit_code.as_str()),
        &claim.map(|t| t.settlement_account.as_str()),
        &claim.map(|t| t.location.as_str()),
    ];
    let row = one(client, "ask why an order is refused", sql, params).await?;
    let state = |name: &str| -> Result<Option<RegistryState>, StoreError> {
        let text: Option<String> = row.try_get(name).context(ReadSnafu)?;
        text.map(|text| RegistryState::parse(&text)).transpose().context(StateSnafu)
    };
    let is_bound: bool = row.try_get("bound").context(ReadSnafu)?;
    let agree: Vec<Option<bool>> = row.try_get("agree").context(ReadSnafu)?;
    let (app, merchant, terminal) = (state("app")?, state("merchant")?, state("terminal")?);
    let inactive = |state: Option<RegistryState>| state.filter(|state| *state != RegistryState::Active);
    Ok(match (inactive(app), merchant) {
        (Some(app), _) => Refusal::AppNotActive(app),
        (None, None) => Refusal::UnknownMerchant,
        (None, Some(_)) if !is_bound => Refusal::NotBound,
        (None, Some(merchant)) if merchant != RegistryState::Active => Refusal::MerchantNotActive(merchant),
        _ => match (terminal, inactive(terminal)) {
            (None, _) => Refusal::UnknownTerminal,
            (_, Some(terminal)) => Refusal::TerminalNotActive(terminal),
            _ => Refusal::TerminalDiffers(Element::first_different(&agree)),
        },
    })
}
