//! The fifth step: what the status says, from applied objects and answers.

use payplane_crds::condition::{ConditionType, Reason};

use crate::framework::condition::State;
use crate::tenant::validate::Refused;

/// Everything that the conditions are made from.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What keeps the tenant from being complete: the first thing found.
    pub blocked: Option<Refused>,
    /// Why money cannot move, where it cannot.
    pub unavailable: Option<Refused>,
    /// Something that should stand by is missing.
    pub degraded: Option<Refused>,
    pub paused: bool,
}

/// The tenant's seven conditions.
#[must_use]
pub fn states(findings: &Findings) -> Vec<State> {
    use ConditionType as T;
    let of = |kind, refused: &Refused, status| {
        State::new(kind, Some(status), refused.reason, refused.detail.clone())
    };
    let available = match &findings.unavailable {
        Some(refused) => of(T::Available, refused, false),
        None => State::new(T::Available, Some(true), Reason::Serving, ""),
    };
    let ready = match findings.blocked.as_ref().or(findings.unavailable.as_ref()) {
        Some(refused) => of(T::Ready, refused, false),
        None => State::new(T::Ready, Some(true), Reason::Serving, ""),
    };
    let progressing = match &findings.blocked {
        Some(refused) if moves(refused.reason) => of(T::Progressing, refused, true),
        _ => State::new(T::Progressing, Some(false), Reason::UpToDate, ""),
    };
    let degraded = match &findings.degraded {
        Some(refused) => of(T::Degraded, refused, true),
        None => State::new(T::Degraded, Some(false), Reason::Complete, ""),
    };
    let paused = if findings.paused { Reason::PausedBySpec } else { Reason::NotPaused };
    vec![
        ready,
        available,
        progressing,
        degraded,
        State::new(T::BooksBalanced, None, Reason::NotConfigured, ""),
        State::new(T::BackupHealthy, None, Reason::NotConfigured, ""),
        State::new(T::Paused, Some(findings.paused), paused, ""),
    ]
}

/// Does it pass by itself, as a step of the normal course?
fn moves(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Reconciling
            | Reason::Migrating
            | Reason::RollingOut
            | Reason::Probing
            | Reason::DatabaseNotReady
            | Reason::PodsOutdated
            | Reason::PodsNotReady
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_told_from_the_first_write_on() {
        let told = states(&Findings::default());
        assert_eq!(told.iter().map(|state| state.kind).collect::<Vec<_>>(), ConditionType::TENANT);
        let unbuilt: Vec<_> = told.iter().filter(|state| state.status.is_none()).collect();
        assert_eq!(unbuilt.len(), 2, "{unbuilt:?}");
        assert!(unbuilt.iter().all(|state| state.reason == Reason::NotConfigured), "{unbuilt:?}");
    }
}
