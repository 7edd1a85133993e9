//! A merchant: a pod inside the cluster that runs the client.

use serde_json::Value;

use crate::kubectl;

/// An order date is the app's own, and may be any.
const PAYOUT_DATE: &str = "2026-11-24";
const PAYEE: [&str; 4] = ["--payee-account", "6228480402564890018", "--payee-name", "Li Hua Trading"];

/// A merchant's app at one tenant's gateway.
#[derive(Clone, Debug)]
pub struct App {
    pub tenant: String,
    pub app: String,
    /// The payment method that it pays with.
    pub method: String,
    /// Where in the pod its key, certificates and CA lie.
    pub folder: String,
}

/// Runs a program of the payplane image in the merchant's pod.
pub fn exec(args: &[&str]) -> Result<String, String> {
    kubectl::attempt(&[&["exec", "-n", "merchants", "deploy/merchant", "--", "/payplane"], args].concat())
}

impl App {
    /// The gateway's address for the app API or, with 9443, the admin API.
    #[must_use]
    pub fn gateway(&self, port: u16) -> String {
        format!("https://gateway.ptn-{}.svc:{port}", self.tenant)
    }

    /// Pays, and reads the answer.
    pub fn pay(&self, order: &str, amount_minor: i64, currency: &str) -> Result<Value, String> {
        self.pay_trusting(&format!("{}/ca.crt", self.folder), order, amount_minor, currency)
    }

    /// Pays a gateway whose certificate leads to another CA than the app's own.
    pub fn pay_trusting(
        &self,
        ca: &str,
        order: &str,
        amount_minor: i64,
        currency: &str,
    ) -> Result<Value, String> {
        self.call("pay", ca, &self.payment(order, &amount_minor.to_string(), currency))
    }

    /// Pays as a payer whom the network knows by this name.
    pub fn pay_as(&self, payer: &str, order: &str, amount_minor: i64) -> Result<Value, String> {
        let amount = amount_minor.to_string();
        let args = [&self.payment(order, &amount, "CNY")[..], &["--payer-id", payer]].concat();
        self.call("pay", &format!("{}/ca.crt", self.folder), &args)
    }

    /// Sends one payment many times at once, and reads the summary.
    pub fn burst(&self, order: &str, amount_minor: i64, currency: &str, count: u32) -> Result<Value, String> {
        let (amount, count) = (amount_minor.to_string(), count.to_string());
        let args = [&self.payment(order, &amount, currency)[..], &["--count", &count]].concat();
        self.call("burst", &format!("{}/ca.crt", self.folder), &args)
    }

    /// Refunds a part of a payment, and reads the answer.
    pub fn refund(&self, date: &str, order: &str, refund: &str, amount_minor: i64) -> Result<Value, String> {
        self.refund_to(&[], (date, order), refund, amount_minor)
    }

    /// The same, transferred where the network gives nothing back.
    pub fn transfer(&self, of: (&str, &str), refund: &str, amount_minor: i64) -> Result<Value, String> {
        self.refund_to(&PAYEE, of, refund, amount_minor)
    }

    fn refund_to(
        &self,
        payee: &[&str],
        (date, order): (&str, &str),
        refund: &str,
        amount_minor: i64,
    ) -> Result<Value, String> {
        let amount = amount_minor.to_string();
        let order = ["--order-date", date, "--order-number", order];
        let args = [&order[..], &["--refund-number", refund, "--amount-minor", &amount], payee].concat();
        self.call("refund", &format!("{}/ca.crt", self.folder), &args)
    }

    /// Asks what became of a payment.
    pub fn query(&self, date: &str, order: &str) -> Result<Value, String> {
        let order = ["--order-date", date, "--order-number", order];
        self.call("query", &format!("{}/ca.crt", self.folder), &order)
    }

    /// Pays out of what the merchant has.
    pub fn pay_out(&self, payout: &str, amount_minor: i64) -> Result<Value, String> {
        let amount = amount_minor.to_string();
        let of = ["--order-date", PAYOUT_DATE, "--payout-number", payout, "--merchant", "M1"];
        let args = [&of[..], &["--amount-minor", &amount], &PAYEE].concat();
        self.call("payout", &format!("{}/ca.crt", self.folder), &args)
    }

    /// Asks what became of a payout.
    pub fn payout(&self, payout: &str) -> Result<Value, String> {
        let of = ["--order-date", PAYOUT_DATE, "--payout-number", payout];
        self.call("query-payout", &format!("{}/ca.crt", self.folder), &of)
    }

    /// Asks for an agreement about an account that the network does not know.
    pub fn sign(&self, method: &str, agreement: &str) -> Result<Value, String> {
        let of = ["--agreement-date", PAYOUT_DATE, "--agreement-number", agreement, "--merchant", "M1"];
        let by = ["--account-number", "6222020200112239001", "--account-name", "Li Hua"];
        let more = ["--phone-number", "13800138000", "--method", method];
        self.call("sign", &format!("{}/ca.crt", self.folder), &[&of[..], &by, &more].concat())
    }

    fn call(&self, verb: &str, ca: &str, args: &[&str]) -> Result<Value, String> {
        let (gateway, key) = (self.gateway(8443), format!("{}/app.key", self.folder));
        let identity = ["client", verb, "--gateway", &gateway, "--ca", ca, "--app", &self.app, "--key", &key];
        let said = exec(&[&identity[..], &["--key-id", "k1", "--output", "json"], args].concat())?;
        serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))
    }

    fn payment<'a>(&'a self, order: &'a str, amount_minor: &'a str, currency: &'a str) -> [&'a str; 10] {
        let of = ["--order-number", order, "--merchant", "M1", "--method", &self.method];
        let [a, b, c, d, e, f] = of;
        [a, b, c, d, e, f, "--amount-minor", amount_minor, "--currency", currency]
    }
}
