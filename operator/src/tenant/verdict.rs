//! What the last migration found wrong with a database. It stands while the next
//! run is under way, so that the status does not swing between the two.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use payplane_crds::condition::Reason;

use crate::tenant::validate::Refused;

/// Verdicts by tenant, each on one generation of its spec.
#[derive(Default)]
pub struct Verdicts(Mutex<HashMap<String, (Option<i64>, Refused)>>);

impl Verdicts {
    /// The verdict that still stands.
    pub fn standing(&self, tenant: &str, generation: Option<i64>) -> Option<Refused> {
        let verdicts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        verdicts.get(tenant).filter(|(of, _)| *of == generation).map(|(_, refused)| refused.clone())
    }

    /// Notes what holds the tenant up now; all but a verdict ends the one before.
    pub fn note(&self, tenant: &str, generation: Option<i64>, blocked: Option<&Refused>) {
        let mut verdicts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match blocked.filter(|blocked| is_verdict(blocked.reason)) {
            Some(verdict) => verdicts.insert(tenant.to_owned(), (generation, verdict.clone())),
            None => verdicts.remove(tenant),
        };
    }
}

fn is_verdict(reason: Reason) -> bool {
    matches!(reason, Reason::DatabaseUnfit | Reason::DatabaseUnreachable | Reason::MigrationFailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_stands_for_its_generation_until_something_else_is_found() {
        let verdicts = Verdicts::default();
        let unfit = Refused::new(Reason::DatabaseUnfit, "fsync is off");
        verdicts.note("a", Some(1), Some(&unfit));
        assert_eq!(verdicts.standing("a", Some(1)), Some(unfit.clone()));
        assert_eq!(verdicts.standing("a", Some(2)), None);
        assert_eq!(verdicts.standing("b", Some(1)), None);
        verdicts.note("a", Some(1), Some(&Refused::new(Reason::CredentialsMissing, "")));
        assert_eq!(verdicts.standing("a", Some(1)), None);
    }
}
