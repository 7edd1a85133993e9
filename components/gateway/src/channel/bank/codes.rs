//! What the bank's codes mean, by the tables of docs/bank-direct.md. A code that is in none
//! of them is no outcome.

use crate::channel::Outcome;

/// Nothing was booked, and never will be.
const DECLINED: &[&str] = &[
    "InsufficientFunds",
    "AccountUnknown",
    "AccountBlocked",
    "AccountClosed",
    "LimitExceeded",
    "NotPermitted",
    "PayerRefused",
    "Expired",
    "RiskRefused",
    "OriginalNotFound",
    "OriginalNotSucceeded",
    "RefundExceedsOriginal",
    "NotConfirmed",
    "AgreementEnded",
    "Declined",
];

/// Refused before it was looked at, and so is every copy of it.
const NOT_TAKEN: &[(u16, &[&str])] = &[
    (400, &["InvalidBody", "InvalidField"]),
    (401, &["BadHeaders", "UnknownParticipant", "UnknownKey", "BadSignature"]),
];

#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    DECLINED.iter().chain(NOT_TAKEN.iter().flat_map(|(_, codes)| *codes)).copied()
}

pub(super) fn is_decline(code: &str) -> bool {
    DECLINED.contains(&code)
}

/// What a verified refusal of a payment or a refund means.
pub(super) fn refused(status: u16, code: &str) -> Outcome {
    let listed = NOT_TAKEN.iter().any(|(known, codes)| *known == status && codes.contains(&code));
    if listed {
        return Outcome::NotSent { why: format!("refused unread: {code}") };
    }
    Outcome::Unknown { why: format!("answer {status} {code}") }
}
