//! Conditions whose times move only when their status flips.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use payplane_crds::condition::{ConditionType, Reason};

/// A condition to be: type, status, reason, and what to say beyond the reason's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub kind: ConditionType,
    pub status: Option<bool>,
    pub reason: Reason,
    pub detail: String,
}

impl State {
    #[must_use]
    pub fn new(kind: ConditionType, status: Option<bool>, reason: Reason, detail: impl Into<String>) -> Self {
        Self { kind, status, reason, detail: detail.into() }
    }
}

/// Makes the status's conditions, keeping the time of those that did not flip.
#[must_use]
pub fn conditions(
    before: &[Condition],
    generation: Option<i64>,
    namespace: &str,
    states: &[State],
) -> Vec<Condition> {
    states
        .iter()
        .map(|state| {
            let status = match state.status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let former = before.iter().find(|c| c.type_ == state.kind.as_str() && c.status == status);
            Condition {
                type_: state.kind.as_str().to_owned(),
                status: status.to_owned(),
                observed_generation: generation,
                last_transition_time: former
                    .map_or_else(|| Time(jiff::Timestamp::now()), |c| c.last_transition_time.clone()),
                reason: state.reason.as_str().to_owned(),
                message: message(state).replace("<namespace>", namespace),
            }
        })
        .collect()
}

/// What is the matter, the particulars, and the remedy.
fn message(state: &State) -> String {
    let parts = [state.reason.meaning(), &state.detail, state.reason.remedy()];
    let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    text.chars().take(1024).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_moves_only_with_the_status() {
        let state = State::new(ConditionType::Ready, Some(false), Reason::Reconciling, "");
        let mut first = conditions(&[], Some(1), "n", std::slice::from_ref(&state));
        first[0].last_transition_time = Time("2026-01-01T00:00:00Z".parse().unwrap());
        let other = State { reason: Reason::PodsNotReady, ..state.clone() };
        let second = conditions(&first, Some(2), "n", &[other]);
        assert_eq!(second[0].last_transition_time, first[0].last_transition_time);
        let third = conditions(&second, Some(2), "n", &[State { status: Some(true), ..state }]);
        assert_ne!(third[0].last_transition_time, first[0].last_transition_time);
    }
}
