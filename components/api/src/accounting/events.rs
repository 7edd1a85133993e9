//! The table itself, in the order of a payment's life.

use super::{Account, Event, Line, Part};
use crate::ledger::v1::Direction;
use Account::{
    BankClient, BankOwn, ChannelCost, ChannelPayable, ChannelReceivable, Dispute, FeeIncome, FeeVat,
    MerchantAvailable, MerchantDebt, MerchantFrozen, MerchantPending, MerchantReserve, OtherIncome,
    PayoutsInTransit, RefundsInTransit, Rounding, SuspenseLong, SuspenseShort, TaxPayable, Wallet,
};
use Part::{Amount, Fee, FeeAndVat, Net, Vat};

const fn debit(account: Account, part: Part) -> Line {
    Line { side: Direction::Debit, account, part }
}

const fn credit(account: Account, part: Part) -> Line {
    Line { side: Direction::Credit, account, part }
}

macro_rules! events {
    ($($id:ident = $name:literal ($kind:literal $(of $original:literal)?), [$($line:expr),+], at $at:literal, key $key:literal, $what:literal;)+) => {
        $(#[doc = $what] pub static $id: Event = Event {
            name: $name,
            what: $what,
            kind: $kind,
            lines: &[$($line),+],
            original: events!(@original $($original)?),
            effective: $at,
            key: $key,
        };)+

        /// Every event.
        pub static ALL: &[&Event] = &[$(&$id),+];
    };
    (@original) => { None };
    (@original $original:literal) => { Some($original) };
}

events! {
    SALE = "sale" ("sale"), [debit(ChannelReceivable, Amount), credit(MerchantPending, Net), credit(FeeIncome, Fee), credit(FeeVat, Vat)],
        at "the network's time of the payment", key "sale:<order>",
        "A customer paid by a network: it owes us the amount, and we owe the merchant what is left of it.";
    WALLET_SALE = "wallet sale" ("sale"), [debit(Wallet, Amount), credit(MerchantPending, Net), credit(FeeIncome, Fee), credit(FeeVat, Vat)],
        at "the payment", key "sale:<order>", "A customer paid out of his prepaid money.";
    COST_ACCRUED = "channel cost accrued" ("cost"), [debit(ChannelCost, Amount), credit(ChannelPayable, Amount)],
        at "the network's time of the payment", key "cost:<attempt>", "The network's price for a payment, as its tariff has it.";
    COST_BILLED = "channel cost billed" ("cost-billed"), [debit(ChannelPayable, Amount), credit(ChannelReceivable, Amount)],
        at "the network's settlement", key "cost-billed:<bill line>", "The network kept its price back from what it paid.";
    CHANNEL_SETTLED = "channel settled" ("settlement"), [debit(BankClient, Amount), credit(ChannelReceivable, Amount)],
        at "the bank's booking", key "settlement:<bank line>", "The network's money arrived.";
    ROUNDING_GAINED = "rounding gained" ("rounding"), [debit(ChannelReceivable, Amount), credit(Rounding, Amount)],
        at "the network's settlement", key "rounding:<bill line>", "The network reckons a little more than we do.";
    ROUNDING_LOST = "rounding lost" ("rounding"), [debit(Rounding, Amount), credit(ChannelReceivable, Amount)],
        at "the network's settlement", key "rounding:<bill line>", "The network reckons a little less than we do.";
    RELEASE = "release" ("release"), [debit(MerchantPending, Amount), credit(MerchantAvailable, Amount)],
        at "the due date", key "release:<merchant>:<due date>", "What was pending is due.";
    REFUND = "refund" ("refund" of "sale"), [debit(MerchantPending, Amount), credit(ChannelReceivable, Amount)],
        at "the merchant's request", key "refund:<refund>", "The network gives the customer his money back, and the merchant gives it out of what is pending. The fee is kept.";
    REFUND_AVAILABLE = "refund from available" ("refund" of "sale"), [debit(MerchantAvailable, Amount), credit(ChannelReceivable, Amount)],
        at "the merchant's request", key "refund:<refund>", "The same, where the money was released before.";
    REFUND_DEBT = "refund on debt" ("refund" of "sale"), [debit(MerchantDebt, Amount), credit(ChannelReceivable, Amount)],
        at "the merchant's request", key "refund:<refund>", "The same, where the merchant has nothing left: he owes it.";
    REFUND_BY_TRANSFER = "refund by transfer" ("refund" of "sale"), [debit(MerchantAvailable, Amount), credit(RefundsInTransit, Amount)],
        at "the merchant's request", key "refund:<refund>", "The same, where the network takes nothing back: the bank transfers it.";
    REFUND_PENDING_BY_TRANSFER = "refund by transfer from pending" ("refund" of "sale"), [debit(MerchantPending, Amount), credit(RefundsInTransit, Amount)],
        at "the merchant's request", key "refund:<refund>", "The same, where the money was not released yet.";
    REFUND_TRANSFER_FAILED = "refund by transfer failed" ("reversal" of "refund by transfer from pending"), [debit(RefundsInTransit, Amount), credit(MerchantPending, Amount)],
        at "the merchant's request", key "refund-reversal:<refund>", "The bank refused: the refund is reversed, and its part may be refunded again.";
    REFUND_ARRIVED = "refund by transfer arrived" ("refund-arrived" of "refund by transfer"), [debit(RefundsInTransit, Amount), credit(BankClient, Amount)],
        at "the bank's booking", key "refund-arrived:<bank line>", "The bank transferred it, from whatever it was debited.";
    REFUND_FEE_RETURNED = "fee returned on refund" ("fee-returned" of "refund"), [debit(FeeIncome, Fee), debit(FeeVat, Vat), credit(MerchantPending, FeeAndVat)],
        at "the merchant's request", key "fee-returned:<refund>", "Where the contract says so, the merchant gets the fee of what was refunded back.";
    REFUND_FAILED = "refund failed" ("reversal" of "refund"), [debit(ChannelReceivable, Amount), credit(MerchantPending, Amount)],
        at "the merchant's request", key "refund-reversal:<refund>", "The network declined: the refund is reversed, and its part may be refunded again. Another kind of refund is reversed in the same way: its own entries on the other sides.";
    WALLET_REFUND = "refund to the wallet" ("refund" of "wallet sale"), [debit(MerchantPending, Amount), credit(Wallet, Amount)],
        at "the merchant's request", key "refund:<refund>", "What was paid out of prepaid money goes back there.";
    DEBT_RECOVERED = "debt recovered" ("recovery"), [debit(MerchantAvailable, Amount), credit(MerchantDebt, Amount)],
        at "the release", key "recovery:<merchant>:<due date>", "A debt is paid out of what became due.";
    PAYOUT_SENT = "payout sent" ("payout"), [debit(MerchantAvailable, Amount), credit(PayoutsInTransit, Amount)],
        at "the order to the bank", key "payout:<payout>", "The bank was told to pay the merchant.";
    PAYOUT_ARRIVED = "payout arrived" ("payout-arrived"), [debit(PayoutsInTransit, Amount), credit(BankClient, Amount)],
        at "the bank's booking", key "payout-arrived:<bank line>", "The bank paid.";
    PAYOUT_FAILED = "payout failed" ("reversal" of "payout sent"), [debit(PayoutsInTransit, Amount), credit(MerchantAvailable, Amount)],
        at "the order to the bank", key "payout-reversal:<payout>", "The bank refused: the payout is reversed.";
    PAYOUT_RETURNED = "payout returned" ("payout-returned" of "payout arrived"), [debit(BankClient, Amount), credit(MerchantAvailable, Amount)],
        at "the bank's booking", key "payout-returned:<bank line>", "Days later the money came back: the account was closed, for example.";
    TOP_UP = "top-up" ("top-up"), [debit(BankClient, Amount), credit(Wallet, Amount)],
        at "the bank's booking", key "top-up:<bank line>", "A customer filled his wallet.";
    WALLET_TOP_UP = "top-up over a network" ("wallet-top-up"), [debit(ChannelReceivable, Amount), credit(Wallet, Amount)],
        at "the network's time of the payment", key "wallet-top-up:<order>",
        "A customer filled his wallet by a payment: the network owes us the amount, and all of it is his.";
    WALLET_TOP_UP_REFUND = "top-up refunded" ("refund" of "top-up over a network"), [debit(Wallet, Amount), credit(ChannelReceivable, Amount)],
        at "the request for it", key "refund:<refund>", "The network gives it back, out of what the wallet still has.";
    WALLET_TOP_UP_REFUND_FAILED = "top-up refund failed" ("reversal" of "top-up refunded"), [debit(ChannelReceivable, Amount), credit(Wallet, Amount)],
        at "the request for it", key "refund-reversal:<refund>", "The network declined: the wallet has it again.";
    CHARGEBACK = "chargeback received" ("chargeback" of "sale"), [debit(Dispute, Amount), credit(ChannelReceivable, Amount)],
        at "the network's notice", key "chargeback:<dispute>", "The network took the money back, whatever the merchant still has.";
    DISPUTED_FROZEN = "disputed money frozen" ("freeze"), [debit(MerchantAvailable, Amount), credit(MerchantFrozen, Amount)],
        at "the network's notice", key "freeze:<dispute>", "As much of the merchant's is kept until it is settled whose it is, or as much as he has.";
    REPRESENTED = "chargeback re-presented" ("re-presentment" of "chargeback received"), [debit(ChannelReceivable, Amount), credit(Dispute, Amount)],
        at "the network's notice", key "re-presentment:<dispute>", "We objected, and the network gave the money back for the time being.";
    CHARGEBACK_WON = "chargeback won" ("chargeback-won" of "disputed money frozen"), [debit(MerchantFrozen, Amount), credit(MerchantAvailable, Amount)],
        at "the network's decision", key "chargeback-won:<dispute>", "The merchant keeps it.";
    REPRESENTED_REVERSED = "re-presentment reversed" ("reversal" of "chargeback re-presented"), [debit(Dispute, Amount), credit(ChannelReceivable, Amount)],
        at "the network's decision", key "re-presentment-reversal:<dispute>", "Won, and the network had given the money back for the time being: with the next one this cancels out.";
    CHARGEBACK_REVERSED = "chargeback reversed" ("reversal" of "chargeback received"), [debit(ChannelReceivable, Amount), credit(Dispute, Amount)],
        at "the network's decision", key "chargeback-reversal:<dispute>", "Won: the network owes us the money again, and its part of the sale may be refunded again. One that was lost, or whose re-presentment stands, cannot be reversed.";
    CHARGEBACK_LOST = "chargeback lost" ("chargeback-lost" of "chargeback received"), [debit(MerchantFrozen, Amount), credit(Dispute, Amount)],
        at "the network's decision, or our acceptance", key "chargeback-lost:<dispute>", "The customer keeps it; nothing was re-presented.";
    CHARGEBACK_LOST_AFTER = "chargeback lost after re-presentment" ("chargeback-lost" of "chargeback re-presented"), [debit(MerchantFrozen, Amount), credit(ChannelReceivable, Amount)],
        at "the network's decision", key "chargeback-lost:<dispute>", "The customer keeps it: the network takes back what it gave for the time being.";
    CHARGEBACK_LOST_DEBT = "chargeback lost on debt" ("chargeback-lost-debt" of "chargeback received"), [debit(MerchantDebt, Amount), credit(Dispute, Amount)],
        at "the network's decision, or our acceptance", key "chargeback-lost-debt:<dispute>", "Lost, for what could not be frozen as the merchant did not have it: he owes it.";
    CHARGEBACK_LOST_DEBT_AFTER = "chargeback lost on debt after re-presentment" ("chargeback-lost-debt" of "chargeback re-presented"), [debit(MerchantDebt, Amount), credit(ChannelReceivable, Amount)],
        at "the network's decision", key "chargeback-lost-debt:<dispute>", "The same, where the network takes back what it gave for the time being.";
    RESERVE_WITHHELD = "reserve withheld" ("reserve"), [debit(MerchantAvailable, Amount), credit(MerchantReserve, Amount)],
        at "the release", key "reserve:<merchant>:<due date>", "A part of what became due is kept as security.";
    RESERVE_RELEASED = "reserve released" ("reserve-released"), [debit(MerchantReserve, Amount), credit(MerchantAvailable, Amount)],
        at "the reserve's due date", key "reserve-released:<merchant>:<due date>", "The security is given back.";
    SURPLUS = "surplus payment" ("suspense"), [debit(ChannelReceivable, Amount), credit(SuspenseLong, Amount)],
        at "the network's success", key "surplus:<attempt>", "A network took money that no order stands for: after its end, twice, or over another amount.";
    SURPLUS_REFUNDED = "surplus refunded" ("refund" of "surplus payment"), [debit(SuspenseLong, Amount), credit(ChannelReceivable, Amount)],
        at "the request to give it back", key "surplus-refund:<attempt>", "The network gave it back to the customer.";
    SURPLUS_KEPT = "surplus taken to income" ("forfeiture" of "surplus payment"), [debit(SuspenseLong, Amount), credit(OtherIncome, Amount)],
        at "the decision", key "surplus-income:<attempt>", "It could not be given back, and two persons decided that nobody may claim it any more.";
    SUSPENSE_IN = "suspense in" ("suspense"), [debit(BankClient, Amount), credit(SuspenseLong, Amount)],
        at "the bank's booking", key "suspense:<bank line>", "Money came that nobody can explain yet.";
    SUSPENSE_OUT = "suspense out" ("suspense-out"), [debit(SuspenseLong, Amount), credit(ChannelReceivable, Amount)],
        at "the explanation", key "suspense-out:<difference>", "It was a network's settlement.";
    SHORT_IN = "shortfall" ("shortfall"), [debit(SuspenseShort, Amount), credit(ChannelReceivable, Amount)],
        at "the network's settlement", key "shortfall:<difference>", "Less came than was owed, and nobody can explain it yet.";
    SHORT_OUT = "shortfall made good" ("shortfall-out"), [debit(BankClient, Amount), credit(SuspenseShort, Amount)],
        at "the bank's booking", key "shortfall-out:<bank line>", "The rest came after all.";
    REFUND_UNPAID = "refund not paid after all" ("suspense"), [debit(ChannelReceivable, Amount), credit(SuspenseLong, Amount)],
        at "the network's answer", key "contradiction:<contradiction>", "Two persons took a refund for paid, and the network says that it was not.";
    REFUND_TRANSFER_UNPAID = "refund by transfer not paid after all" ("suspense"), [debit(RefundsInTransit, Amount), credit(SuspenseLong, Amount)],
        at "the network's answer", key "contradiction:<contradiction>", "The same of one that is transferred.";
    PAYOUT_UNPAID = "payout not paid after all" ("suspense"), [debit(PayoutsInTransit, Amount), credit(SuspenseLong, Amount)],
        at "the network's answer", key "contradiction:<contradiction>", "The same of a payout.";
    SALE_UNPAID = "payment not made after all" ("shortfall"), [debit(SuspenseShort, Amount), credit(ChannelReceivable, Amount)],
        at "the network's answer", key "contradiction:<contradiction>", "Two persons took a payment for made, and the network says that it was not.";
    REFUND_PAID = "refund paid after all" ("shortfall"), [debit(SuspenseShort, Amount), credit(ChannelReceivable, Amount)],
        at "the network's answer", key "contradiction:<contradiction>", "The network paid a refund that was reversed.";
    REFUND_TRANSFER_PAID = "refund by transfer paid after all" ("shortfall"), [debit(SuspenseShort, Amount), credit(RefundsInTransit, Amount)],
        at "the network's answer", key "contradiction:<contradiction>", "The bank transferred a refund that was reversed.";
    PAYOUT_PAID = "payout paid after all" ("shortfall"), [debit(SuspenseShort, Amount), credit(PayoutsInTransit, Amount)],
        at "the network's answer", key "contradiction:<contradiction>", "The bank paid a payout that was reversed.";
    FEES_SWEPT = "fees swept" ("sweep"), [debit(BankOwn, Amount), credit(BankClient, Amount)],
        at "the bank's booking", key "sweep:<bank line>", "What we earned leaves the client money account.";
    VAT_DECLARED = "fee tax declared" ("tax"), [debit(FeeVat, Amount), credit(TaxPayable, Amount)],
        at "the declaration", key "tax:<period>", "The tax on a period's fees is declared.";
    TAX_PAID = "tax paid" ("tax-paid"), [debit(TaxPayable, Amount), credit(BankOwn, Amount)],
        at "the bank's booking", key "tax-paid:<bank line>", "It is paid.";
}
