//! A receipt, as a merchant files it.

use super::amount;
use crate::message::{Payment, PaymentStatus, Payout, Refund};

const WIDTH: usize = 18;

struct Paper(String);

impl Paper {
    fn new(title: &str) -> Self {
        Self(format!("{title}\n{}\n", "-".repeat(56)))
    }

    fn row(&mut self, name: &str, value: &str) {
        self.0.push_str(&format!("{name:<WIDTH$}{value}\n"));
    }

    fn some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.row(name, value);
        }
    }

    fn money(&mut self, name: &str, minor: i64, currency: &str) {
        self.0.push_str(&format!("{name:<WIDTH$}{:>14} {currency}\n", amount(minor, currency)));
    }
}

/// The receipt of a payment.
#[must_use]
pub fn payment(payment: &Payment) -> String {
    let mut paper = Paper::new(match payment.status {
        PaymentStatus::Succeeded => "RECEIPT",
        PaymentStatus::Processing => "PAYMENT IN PROGRESS (not a receipt)",
        PaymentStatus::Failed => "PAYMENT FAILED (not a receipt)",
    });
    let currency = &payment.currency;
    paper.row("Merchant", &payment.merchant_id);
    paper.row("Order", &format!("{} of {}", payment.order_number, payment.order_date));
    paper.row("Method", &payment.method);
    paper.money("Amount", payment.amount_minor, currency);
    if let Some(fee) = payment.fee_minor {
        paper.money("Fee", fee, currency);
        paper.money("Net", payment.amount_minor.saturating_sub(fee), currency);
    }
    if payment.refunded_minor != 0 {
        paper.money("Refunded", payment.refunded_minor, currency);
    }
    paper.row("Status", &format!("{:?}", payment.status));
    paper.some("Failure", payment.failure_code.as_deref());
    paper.some("The payer's turn", payment.action.as_ref().map(ToString::to_string).as_deref());
    paper.some("Settlement date", payment.settlement_date.map(|d| d.to_string()).as_deref());
    paper.some("Channel", payment.channel.as_deref());
    paper.some("Ledger entry", payment.ledger_transaction_id.as_deref());
    paper.some("Config epoch", payment.config_epoch.map(|e| e.to_string()).as_deref());
    paper.row("Order id", &payment.order_id);
    paper.row("Created", &payment.created_at.to_string());
    paper.some("Completed", payment.completed_at.map(|t| t.to_string()).as_deref());
    paper.0
}

/// The receipt of a refund.
#[must_use]
pub fn refund(order: &str, refund: &Refund) -> String {
    let mut paper = Paper::new(match refund.status {
        PaymentStatus::Succeeded => "REFUND RECEIPT",
        PaymentStatus::Processing => "REFUND IN PROGRESS (not a receipt)",
        PaymentStatus::Failed => "REFUND FAILED (not a receipt)",
    });
    paper.row("Order", order);
    paper.row("Refund", &refund.refund_number);
    paper.money("Amount", refund.amount_minor, &refund.currency);
    paper.row("Status", &format!("{:?}", refund.status));
    paper.some("Failure", refund.failure_code.as_deref());
    paper.some("Ledger entry", refund.ledger_transaction_id.as_deref());
    paper.row("Refund id", &refund.refund_id);
    paper.row("Created", &refund.created_at.to_string());
    paper.0
}

/// The receipt of a payout.
#[must_use]
pub fn payout(payout: &Payout) -> String {
    let mut paper = Paper::new(match payout.status {
        PaymentStatus::Succeeded => "PAYOUT RECEIPT",
        PaymentStatus::Processing => "PAYOUT IN PROGRESS (not a receipt)",
        PaymentStatus::Failed => "PAYOUT FAILED (not a receipt)",
    });
    paper.row("Merchant", &payout.merchant_id);
    paper.row("Payout", &format!("{} of {}", payout.payout_number, payout.order_date));
    paper.money("Amount", payout.amount_minor, &payout.currency);
    paper.row("To", &payout.payee_account);
    paper.row("Status", &format!("{:?}", payout.status));
    paper.some("Failure", payout.failure_code.as_deref());
    paper.row("Channel", &payout.channel);
    paper.some("Ledger entry", payout.ledger_transaction_id.as_deref());
    paper.row("Payout id", &payout.payout_id);
    paper.row("Created", &payout.created_at.to_string());
    paper.some("Completed", payout.completed_at.map(|t| t.to_string()).as_deref());
    paper.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_says_everything_in_order() {
        let paid: Payment = serde_json::from_str(crate::message::tests::PAYMENT).unwrap();
        let expected = "\
RECEIPT
--------------------------------------------------------
Merchant          M1
Order             o1 of 2026-11-24
Method            card
Amount                    128.00 CNY
Fee                         0.77 CNY
Net                       127.23 CNY
Status            Succeeded
Settlement date   2026-11-25
Channel           sim
Ledger entry      t-1
Config epoch      3
Order id          0193
Created           2026-11-24T05:00:00Z
Completed         2026-11-24T05:00:01Z
";
        assert_eq!(payment(&paid), expected);
        let failed = Payment { status: PaymentStatus::Failed, ..paid };
        assert!(payment(&failed).contains("not a receipt"));
    }
}
