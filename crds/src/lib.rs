//! The kinds of `payplane.io`: types, CEL rules, conditions, and what is
//! generated from them. It holds no client code.
//!
//! A rule that one object can state stands beside its field as CEL, and so does
//! its message; `rules.yaml` has rows for each. What takes a look at other
//! objects is the operator's, with a [`condition::Reason`].

#![expect(clippy::duplicated_attributes, reason = "columns of one type say it each")]
#![expect(unreachable_pub, reason = "KubeSchema derives a copy of each struct inside a function")]

pub mod channel;
pub mod condition;
mod dates;
pub mod generate;
mod labels;
pub mod quantity;
pub mod reference;
pub mod resources;
pub mod samples;
pub mod schema;
pub mod tenant;

pub use channel::{Channel, ChannelSpec, ChannelStatus};
pub use tenant::{PaymentTenant, PaymentTenantSpec, PaymentTenantStatus};

/// The API group of all kinds.
pub const GROUP: &str = "payplane.io";
/// The one version so far.
pub const VERSION: &str = "v1alpha1";

/// The only type of Secret that a tenant's team may write.
pub const SECRET_TYPE_CHANNEL_CREDENTIALS: &str = "payplane.io/channel-credentials";
/// The type of the Secrets that an external database is reached with. The
/// platform team writes them; a tenant's team cannot, so it cannot point the
/// ledger at another database.
pub const SECRET_TYPE_DATABASE_CREDENTIALS: &str = "payplane.io/database-credentials";
