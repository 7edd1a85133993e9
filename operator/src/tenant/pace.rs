//! How often a status is written while a tenant is on its way: a step that only
//! changes the words is told at most every few seconds. What flips Ready or
//! Available, what a manifest is to be corrected for, and what must not be
//! forgotten is told at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use payplane_crds::condition::{Cause, Reason};
use payplane_crds::tenant::PaymentTenantStatus;
use tokio::time::Instant;

const STEP: Duration = Duration::from_secs(8);

/// When each tenant's status was written last.
#[derive(Default)]
pub struct Pace(Mutex<HashMap<String, Instant>>);

impl Pace {
    /// How long the next status has to wait; none: it is to be written now.
    pub fn hold(
        &self,
        tenant: &str,
        before: &PaymentTenantStatus,
        next: &PaymentTenantStatus,
    ) -> Option<Duration> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = told.get(tenant).map(Instant::elapsed);
        match since.filter(|_| is_step(before, next)).and_then(|since| STEP.checked_sub(since)) {
            Some(wait) if !wait.is_zero() => Some(wait),
            _ => {
                if before != next {
                    told.insert(tenant.to_owned(), Instant::now());
                }
                None
            }
        }
    }

    pub fn forget(&self, tenant: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }
}

/// Do only words differ?
fn is_step(before: &PaymentTenantStatus, next: &PaymentTenantStatus) -> bool {
    let of = |status: &PaymentTenantStatus, kind: &str| -> Option<Condition> {
        status.conditions.iter().find(|condition| condition.type_ == kind).cloned()
    };
    let flips = ["Ready", "Available", "Paused"]
        .iter()
        .any(|kind| of(before, kind).map(|c| c.status) != of(next, kind).map(|c| c.status));
    let reason = of(next, "Ready").map(|ready| ready.reason);
    let known = Reason::ALL.iter().find(|known| reason.as_deref() == Some(known.as_str()));
    let moving = known.is_some_and(|reason| reason.cause() != Cause::Manifest);
    let facts = PaymentTenantStatus { conditions: before.conditions.clone(), ..next.clone() };
    moving && !flips && facts == *before
}

#[cfg(test)]
mod tests {
    use payplane_crds::condition::ConditionType as T;

    use super::*;
    use crate::framework::condition::{State, conditions};

    fn status(ready: bool, reason: Reason, books: Option<&str>) -> PaymentTenantStatus {
        let state = |kind| State::new(kind, Some(ready), reason, "");
        PaymentTenantStatus {
            observed_generation: Some(1),
            conditions: conditions(&[], Some(1), "n", &[state(T::Ready), state(T::Available)]),
            books_id: books.map(str::to_owned),
            ..PaymentTenantStatus::default()
        }
    }

    #[tokio::test]
    async fn steps_wait_and_news_do_not() {
        let pace = Pace::default();
        let first = status(false, Reason::DatabaseNotReady, None);
        assert!(pace.hold("a", &PaymentTenantStatus::default(), &first).is_none(), "the first is told");
        let step = status(false, Reason::Migrating, None);
        assert!(pace.hold("a", &first, &step).is_some(), "a step waits");
        assert!(pace.hold("b", &first, &step).is_none(), "another tenant's does not");
        for (news, what) in [
            (status(true, Reason::Serving, None), "Ready flips"),
            (status(false, Reason::QuotaTooSmall, None), "a manifest is to be corrected"),
            (status(false, Reason::PodsNotReady, Some("books")), "the books exist"),
        ] {
            assert!(pace.hold("a", &first, &news).is_none(), "{what}");
        }
    }
}
