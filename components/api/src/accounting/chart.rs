//! The chart of accounts.

use crate::ledger::v1::{AccountSpec, Direction};

/// Whose account it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who<'a> {
    pub merchant: &'a str,
    pub channel: &'a str,
    pub customer: &'a str,
}

macro_rules! chart {
    ($($name:ident: $code:literal, $side:ident, $floor:literal, $what:literal;)+) => {
        /// An account of the chart; one for each merchant, channel or customer that its code names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Account {
            $(#[doc = $what] $name,)+
        }

        impl Account {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its code, with whose it is in braces.
            #[must_use]
            pub const fn pattern(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            #[must_use]
            pub const fn normal_side(self) -> Direction {
                match self { $(Self::$name => Direction::$side,)+ }
            }

            /// Is what is available of it never below zero?
            #[must_use]
            pub const fn has_floor(self) -> bool {
                match self { $(Self::$name => $floor,)+ }
            }

            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)+ }
            }
        }
    };
}

chart! {
    MerchantPending: "merchant:{merchant}:pending", Credit, true, "Owed to the merchant, not due yet.";
    MerchantAvailable: "merchant:{merchant}:available", Credit, true, "Owed to the merchant, and due: it may be paid out.";
    MerchantFrozen: "merchant:{merchant}:frozen", Credit, true, "Owed to the merchant, kept back while a dispute is open.";
    MerchantReserve: "merchant:{merchant}:reserve", Credit, true, "Owed to the merchant, kept back as security.";
    MerchantDebt: "merchant:{merchant}:debt", Debit, true, "Owed by the merchant: refunds and lost disputes beyond what he had.";
    Wallet: "wallet:{customer}", Credit, true, "A customer's prepaid money.";
    ChannelReceivable: "channel:{channel}:receivable", Debit, false, "What the network owes us.";
    ChannelPayable: "channel:{channel}:payable", Credit, false, "What we owe the network.";
    FeeIncome: "income:fee", Credit, false, "Our fees, without tax.";
    OtherIncome: "income:other", Credit, false, "Money that nobody may claim of us any more.";
    FeeVat: "tax:fee-vat", Credit, false, "Value-added tax on our fees, not declared yet.";
    TaxPayable: "tax:payable", Credit, false, "Tax that was declared and is to be paid.";
    ChannelCost: "cost:channel", Debit, false, "What networks cost us.";
    SuspenseLong: "suspense:long", Credit, false, "Money that came in and nobody can explain yet.";
    SuspenseShort: "suspense:short", Debit, false, "Money that is missing and nobody can explain yet.";
    Dispute: "dispute:open", Debit, false, "Taken back by networks, while it is in dispute.";
    RefundsInTransit: "transit:refunds", Credit, false, "Refunds by transfer, under way.";
    PayoutsInTransit: "transit:payouts", Credit, false, "Payouts under way.";
    BankOwn: "bank:own", Debit, false, "Our own money at the bank.";
    BankClient: "bank:client", Debit, false, "Client money at the bank: the reserve account.";
    Rounding: "rounding", Credit, false, "Differences below one minor unit, gained less lost.";
}

impl Account {
    /// The code of one account.
    #[must_use]
    pub fn code(self, who: Who<'_>) -> String {
        self.pattern()
            .replace("{merchant}", who.merchant)
            .replace("{channel}", who.channel)
            .replace("{customer}", who.customer)
    }

    /// How the ledger is to open it.
    #[must_use]
    pub fn spec(self, who: Who<'_>, currency: &str) -> AccountSpec {
        AccountSpec {
            code: self.code(who),
            currency: currency.to_owned(),
            normal_side: self.normal_side().into(),
            has_floor: self.has_floor(),
            ..AccountSpec::default()
        }
    }
}
