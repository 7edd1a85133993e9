//! Changes of who may take part: states, and which app may pay to which merchant. Each is one
//! transaction that locks what it changes alone: once it is answered, no order that it
//! forbids is created any more.

use snafu::ResultExt;

use super::{ReadSnafu, StateSnafu, Store, StoreError, one, optional, rows};
use crate::state::registry::{RegistryState, Verb};

/// Begins a change in the name of a subject.
pub(super) const CHANGE: &str = "SELECT gateway.begin_change($1, $2, $3)";

/// What can be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    App,
    Merchant,
    Terminal,
}

impl Kind {
    /// Its name in the database and for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Merchant => "merchant",
            Self::Terminal => "terminal",
        }
    }
}

/// What came of a change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Now,
    /// It was so before.
    Before,
    Unknown,
    /// The same subject applied.
    OwnApplication,
    /// No such change leads from here.
    Impossible(RegistryState),
}

impl Store {
    /// May the app read a merchant's books? It is Active, and bound to him by his name: who may
    /// pay to everybody reads nobody's.
    pub async fn reads_books(&self, app: &str, merchant: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT FROM gateway.app_merchants b JOIN gateway.apps p USING (app_id)
                JOIN gateway.merchants m USING (merchant_id)
                WHERE b.app_id = $1 AND b.merchant_id = $2 AND p.status = 'Active')";
        let row = one(&self.client().await?, "read a binding", sql, &[&app, &merchant]).await?;
        row.try_get(0).context(ReadSnafu)
    }

    /// May the app read a customer's wallet? It is Active, and has filled it.
    pub async fn has_filled(&self, app: &str, customer: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT FROM gateway.filled_wallets w JOIN gateway.apps p USING (app_id)
                WHERE w.app_id = $1 AND w.customer = $2 AND p.status = 'Active')";
        let row = one(&self.client().await?, "look for a filled wallet", sql, &[&app, &customer]).await?;
        row.try_get(0).context(ReadSnafu)
    }

    /// Changes a state in the name of a subject. To do it twice is to do it.
    pub async fn change_state(
        &self,
        kind: Kind,
        id: &str,
        verb: Verb,
        subject: &str,
    ) -> Result<Changed, StoreError> {
        let name = kind.as_str();
        let approved = match verb {
            // The database refuses it, too, should this ever let one pass.
            Verb::Approve => ", approved_by = $4",
            _ => "",
        };
        let another = match verb {
            Verb::Approve => "applied_by <> $4",
            _ => "$4::text IS NOT NULL",
        };
        let sql = format!(
            "UPDATE gateway.{name}s SET status = $2{approved}
             WHERE {name}_id = $1 AND status = ANY ($3) AND {another} RETURNING {name}_id"
        );
        let sources = verb.sources();
        let params: super::Params<'_> = &[&id, &verb.target().as_str(), &sources, &subject];
        let done = self.under("change a state", (CHANGE, &[&subject, &name, &id]), (&sql, params)).await?;
        if !done.is_empty() {
            return Ok(Changed::Now);
        }
        let sql = format!("SELECT status FROM gateway.{name}s WHERE {name}_id = $1");
        let row = optional(&self.client().await?, "read a state", &sql, &[&id]).await?;
        let Some(row) = row else { return Ok(Changed::Unknown) };
        let state: String = row.try_get(0).context(ReadSnafu)?;
        let state = RegistryState::parse(&state).context(StateSnafu)?;
        Ok(match state {
            state if state == verb.target() => Changed::Before,
            RegistryState::Applied if verb == Verb::Approve => Changed::OwnApplication,
            state => Changed::Impossible(state),
        })
    }

    /// Lets an app pay to a merchant; `*` is every merchant.
    pub async fn bind(&self, app: &str, merchant: &str, subject: &str) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO gateway.app_merchants (app_id, merchant_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let lock: super::Params<'_> = &[&subject, &Kind::App.as_str(), &app];
        self.under("bind an app", (CHANGE, lock), (sql, &[&app, &merchant])).await?;
        Ok(())
    }

    pub async fn unbind(&self, app: &str, merchant: &str, subject: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM gateway.app_merchants WHERE app_id = $1 AND merchant_id = $2";
        let lock: super::Params<'_> = &[&subject, &Kind::App.as_str(), &app];
        self.under("unbind an app", (CHANGE, lock), (sql, &[&app, &merchant])).await?;
        Ok(())
    }

    /// The merchants that an app may pay to, by name, after one.
    pub async fn bindings(&self, app: &str, after: &str, limit: i64) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT merchant_id FROM gateway.app_merchants
             WHERE app_id = $1 AND merchant_id > $2 ORDER BY merchant_id LIMIT $3";
        let found = rows(&self.client().await?, "read bindings", sql, &[&app, &after, &limit]).await?;
        found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().context(ReadSnafu)
    }
}
