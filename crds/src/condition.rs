//! Every condition type and reason that a status can hold.
//!
//! A reason is one state, its remedy is the same for every object, and both are
//! written here only, so the field reference, the operator's messages and the
//! tests cannot disagree.

use schemars::{Schema, SchemaGenerator, json_schema};

mod reason;

pub use reason::{Cause, Reason};

/// A condition's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// Available, at the current generation, with no rollout pending. Tools wait for it.
    Ready,
    /// Money can move: proven by a probe and by round trips since.
    Available,
    /// A change is on its way to the pods.
    Progressing,
    /// Money can move, but a part that should stand by is missing.
    Degraded,
    /// Debits equal credits in every currency.
    BooksBalanced,
    /// The backups meet their objectives.
    BackupHealthy,
    /// The operator writes nothing but certificates and status.
    Paused,
}

impl ConditionType {
    /// Those of a PaymentTenant. The first status holds every one.
    pub const TENANT: [Self; 7] = [
        Self::Ready,
        Self::Available,
        Self::Progressing,
        Self::Degraded,
        Self::BooksBalanced,
        Self::BackupHealthy,
        Self::Paused,
    ];

    /// Those of a Channel.
    pub const CHANNEL: [Self; 3] = [Self::Ready, Self::Available, Self::Progressing];

    /// The type as the status has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::BooksBalanced => "BooksBalanced",
            Self::BackupHealthy => "BackupHealthy",
            Self::Paused => "Paused",
        }
    }

    /// What True means, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ready => "Available, at the current generation, with no rollout pending.",
            Self::Available => "Money can move: proven by a probe and by round trips since.",
            Self::Progressing => "A change is on its way to the pods.",
            Self::Degraded => "Money can move, but a part that should stand by is missing.",
            Self::BooksBalanced => "Debits equal credits in every currency.",
            Self::BackupHealthy => "The backups meet their objectives.",
            Self::Paused => "The operator writes nothing but certificates and status.",
        }
    }
}

impl std::fmt::Display for ConditionType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `metav1.Condition` with its bounds and a short text for `kubectl explain`.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the object's state.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string", "maxLength": 63, "pattern": "^[A-Z][A-Za-z]*$",
                    "description": "The aspect.",
                },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"],
                    "description": "Whether it holds.",
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The generation of the spec that this condition speaks of.",
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time",
                    "description": "When the status last flipped.",
                },
                "reason": {
                    "type": "string", "maxLength": 63, "pattern": "^[A-Z][A-Za-z]*$",
                    "description": "The state as one word; the field reference lists them with their remedies.",
                },
                "message": {
                    "type": "string", "maxLength": 1024,
                    "description": "What is the matter, and what to do about it.",
                },
            },
        },
    })
}
