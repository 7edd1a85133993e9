//! A terminal is bound by five elements, and every payment made at it names them all: its
//! serial number, the acquirer's code, the merchant (code and unified social credit code),
//! the settlement account, and where it stands.

/// What a terminal says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub terminal_id: String,
    pub serial_number: String,
    pub acquirer_code: String,
    /// Of the merchant that the payment names: so its code is said, too.
    pub credit_code: String,
    pub settlement_account: String,
    pub location: String,
}

/// One of the five; the third has two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    SerialNumber,
    AcquirerCode,
    MerchantCode,
    CreditCode,
    SettlementAccount,
    Location,
}

impl Element {
    /// In the order in which they are compared.
    pub const ALL: [Self; 6] = [
        Self::SerialNumber,
        Self::AcquirerCode,
        Self::MerchantCode,
        Self::CreditCode,
        Self::SettlementAccount,
        Self::Location,
    ];

    /// The first that does not agree; what is not known does not agree.
    #[must_use]
    pub fn first_different(agree: &[Option<bool>]) -> Self {
        let mut pairs = Self::ALL.into_iter().zip(agree);
        pairs.find(|(_, agrees)| **agrees != Some(true)).map_or(Self::Location, |(element, _)| element)
    }

    /// The field of a payment that says it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::SerialNumber => "terminal.serialNumber",
            Self::AcquirerCode => "terminal.acquirerCode",
            Self::MerchantCode => "merchantId",
            Self::CreditCode => "terminal.unifiedSocialCreditCode",
            Self::SettlementAccount => "terminal.settlementAccount",
            Self::Location => "terminal.location",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_differs_is_named() {
        for (place, element) in Element::ALL.into_iter().enumerate() {
            for wrong in [Some(false), None] {
                let mut agree = [Some(true); 6];
                agree[place] = wrong;
                assert_eq!(Element::first_different(&agree), element);
            }
        }
    }
}
