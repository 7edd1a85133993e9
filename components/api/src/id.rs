//! Names that clients choose: checked once, at the edge.

use serde::{Deserialize, Serialize};
use snafu::Snafu;

#[derive(Debug, Snafu)]
#[snafu(display("{what} must be 1 to {max} characters of A-Z, a-z, 0-9, '.', '_' or '-'"))]
pub struct InvalidId {
    what: &'static str,
    max: usize,
}

/// Checks a name that a client chose.
pub fn check(what: &'static str, value: &str, max: usize) -> Result<(), InvalidId> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if value.is_empty() || value.len() > max || !value.bytes().all(allowed) {
        return Err(InvalidId { what, max });
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(value: String) -> Result<Self, InvalidId> {
                check($what, &value, $max)?;
                Ok(Self(value))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A business system of the bank or of a merchant that calls the API.
    AppId, "app id", 32
);
id!(
    /// A merchant.
    MerchantId, "merchant id", 32
);
id!(
    /// A merchant's terminal.
    TerminalId, "terminal id", 32
);
id!(
    /// An order number, unique per app and order date; the app chooses it.
    OrderNumber, "order number", 64
);
id!(
    /// A refund number, unique per order; the app chooses it.
    RefundNumber, "refund number", 64
);
id!(
    /// A payout number, unique per app and order date; the app chooses it.
    PayoutNumber, "payout number", 64
);
id!(
    /// An agreement's number, unique per app and agreement date; the app chooses it.
    AgreementNumber, "agreement number", 64
);
id!(
    /// A customer with a wallet, by the apps' name for him; the ledger's accounts bear it.
    CustomerId, "customer", 64
);

#[cfg(test)]
mod tests {
    use super::OrderNumber;

    #[test]
    fn only_plain_names_pass() {
        for good in ["a", "A-1_b.c", &"x".repeat(64)] {
            assert!(OrderNumber::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "a/b", "é", "а", &"x".repeat(65), "a\n"] {
            assert!(OrderNumber::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
