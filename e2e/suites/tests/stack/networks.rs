//! The real networks' protocols: one contract that every channel keeps, against the
//! simulator's side of each.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use payplane_client::call::{App, CallError};
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use payplane_client::message::{PayRequest, Payment};
use serde_json::{Value, json};

use crate::harness::{DATE, Stack, ended, payment, refund};
use crate::payout_stage::payout;

/// Longer than any interval of the resolver.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// A notification comes before the resolver asks.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A channel of one of the networks.
pub(crate) struct Network {
    /// The channel's name, the folder of its keys, the network in the simulator's record.
    pub(crate) name: &'static str,
    folder: &'static str,
    pub(crate) record: &'static str,
    pub(crate) methods: &'static [&'static str],
    /// What its payer is told to do; a bank asks its payers itself.
    action: Option<&'static str>,
    /// Who pays, where every method names the payer.
    payer: Option<&'static str>,
    /// UnionPay's way to sign.
    signing: Option<&'static str>,
    /// Can an order be closed before it expires?
    closes: bool,
}

pub(crate) const NETWORKS: [Network; 4] = [
    Network {
        name: "wechat",
        folder: "wechat",
        record: "WechatPay",
        methods: &["wechat-native", "wechat-jsapi"],
        action: Some("QrCode"),
        payer: None,
        signing: None,
        closes: true,
    },
    Network {
        name: "alipay",
        folder: "alipay",
        record: "Alipay",
        methods: &["alipay-qr"],
        action: Some("QrCode"),
        payer: None,
        signing: None,
        closes: true,
    },
    Network {
        name: "unionpay",
        folder: "unionpay",
        record: "UnionPay",
        methods: &["unionpay-qr", "unionpay-app"],
        action: Some("QrCode"),
        payer: None,
        signing: Some("Rsa"),
        closes: false,
    },
    Network {
        name: "bankdirect",
        folder: "bankdirect",
        record: "BankDirect",
        methods: &["bank-account"],
        action: None,
        payer: Some("6222020200112233445"),
        signing: None,
        closes: true,
    },
];

impl Network {
    /// UnionPay by one of the ways to sign that need no certificates.
    pub(crate) fn unionpay_keyed(name: &'static str, method: &'static str) -> Self {
        Self { name, signing: Some(method), ..NETWORKS[2] }
    }

    /// The channel's entry in the gateways' config.
    pub(crate) fn channel(&self, stack: &Stack) -> Result<Value> {
        let folder = stack.folder.path().join("network").join(self.folder);
        let key = |name: &str| -> Result<Value> {
            let bytes =
                std::fs::read(folder.join(name)).with_context(|| format!("{}/{name}", self.folder))?;
            let file = format!("{}-{name}", self.name);
            std::fs::write(stack.config_folder()?.join(&file), &bytes)?;
            Ok(json!({"file": file, "sha256": payplane_api::config::hash(&bytes)}))
        };
        let mut network: Value = serde_json::from_slice(&std::fs::read(folder.join("ids.json"))?)?;
        network["type"] = self.record.into();
        network["endpoint"] = format!("https://localhost:{}", stack.simulator_port).into();
        network["isSimulated"] = true.into();
        network["ca"] = key("ca.crt")?;
        network["notifyUrl"] = format!("{}/v1/channels/{}/notifications", stack.url(0), self.name).into();
        match self.signing {
            None => {
                network["merchantKey"] = key("merchant.key")?;
                network["networkKey"] = key("network.pub")?;
            }
            Some("Rsa") => {
                network["signing"] = json!({"method": "Rsa", "merchantKey": key("merchant.key")?,
                    "merchantCertificate": key("merchant.crt")?, "networkCa": key("network-ca.crt")?});
            }
            Some(method) => {
                network["signing"] = json!({"method": method, "secureKey": key("secure.key")?});
            }
        }
        // By agreements, so not among the methods that the contract pays by.
        let mut methods = self.methods.to_vec();
        if self.record == "UnionPay" {
            let requestor = network["tokenRequestor"].clone();
            network["tokens"] = json!({"requestor": requestor, "encryptionCertificate": key("encrypt.crt")?});
            methods.push("unionpay-card");
        }
        if self.record == "WechatPay" {
            network["apiV3Key"] = key("apiv3.key")?;
        }
        let method = |name: &&str| {
            json!({"name": name, "priority": 1, "limits": [],
                "fees": [{"currency": "CNY", "basisPoints": 38, "fixedMinor": 0}]})
        };
        let methods: Vec<_> = methods.iter().map(method).collect();
        let mut channel = json!({"name": self.name, "enabled": true, "methods": methods, "network": network});
        if self.record == "BankDirect" {
            channel["network"]["agreements"] = true.into();
            channel["payouts"] = json!([{"currency": "CNY", "priority": 0, "perPayoutMinorMax": 5_000_000}]);
        }
        Ok(channel)
    }

    pub(crate) fn order(&self, number: &str, amount_minor: i64) -> PayRequest {
        PayRequest {
            method: self.methods[0].into(),
            payer_id: self.payer.map(str::to_owned),
            ..payment(&format!("{}-{number}", self.name), amount_minor)
        }
    }

    /// Who pays by a method.
    pub(crate) fn payer_of(&self, method: &str) -> Option<String> {
        let openid = (method == "wechat-jsapi").then_some("oUpF8uMuAJO");
        openid.or(self.payer).map(str::to_owned)
    }

    /// Makes an order that its payer pays, or not, and waits for its end.
    pub(crate) async fn pay(
        &self,
        app: &App,
        number: &str,
        amount_minor: i64,
        max: Duration,
    ) -> Result<Payment> {
        let order = self.order(number, amount_minor);
        app.pay(&order).await?;
        ended(app, &order.order_number, max).await
    }
}

/// A stack whose gateways have these channels.
pub(crate) async fn stack_with(networks: &[Network]) -> Result<Stack> {
    let mut stack = Stack::start().await?;
    let channels = networks.iter().map(|network| network.channel(&stack)).collect::<Result<Vec<_>>>()?;
    stack.configure_channels(&channels)?;
    let app = stack.app("app1", 1)?;
    for network in networks {
        let order = network.order("first", 1);
        for _ in 0..50 {
            if app.pay(&order).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let paid = ended(&app, &order.order_number, SOON).await?;
        ensure!(paid.status == Succeeded, "{paid:?}");
    }
    Ok(stack)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_network_keeps_the_contract() -> Result<()> {
    let stack = stack_with(&NETWORKS).await?;
    let app = stack.app("app1", 8)?;
    try_join_all(NETWORKS.iter().map(|network| contract(&app, network))).await?;
    for network in &NETWORKS {
        stack.check_channel(network.name, network.record).await?;
    }
    Ok(())
}

async fn contract(app: &App, network: &Network) -> Result<()> {
    let name = network.name;
    // The payer is told what to do, pays, and the network's notification ends it.
    for (place, method) in network.methods.iter().enumerate() {
        let number = format!("by-{place}");
        let payer_id = network.payer_of(method);
        let order = PayRequest { method: (*method).into(), payer_id, ..network.order(&number, 12_800) };
        let made = app.pay(&order).await?;
        ensure!(made.status == Processing || made.status == Succeeded, "{name}: {made:?}");
        let action = made.action.as_ref().map(|action| action["type"].clone());
        ensure!(place > 0 || action == network.action.map(Into::into), "{name}: {made:?}");
        let paid = ended(app, &order.order_number, AT_ONCE).await?;
        ensure!(paid.channel.as_deref() == Some(name), "{name}: {paid:?}");
        ensure!((paid.status, paid.fee_minor) == (Succeeded, Some(49)), "{name}: {paid:?}");
        ensure!(paid.action.is_none(), "{name}: there is nothing left to do: {paid:?}");
    }

    // A part is refunded, and no more than was paid.
    let order = network.order("by-0", 12_800);
    let (date, number) = (DATE, order.order_number.as_str());
    let mut part = app.refund(date, number, &refund("R1", 2_800)).await?;
    for _ in 0..100 {
        if part.status != Processing {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        part = app.refund_of(date, number, "R1").await?;
    }
    ensure!(part.status == Succeeded, "{name}: {part:?}");
    ensure!(app.refund(date, number, &refund("R2", 10_001)).await.is_err(), "{name}: over the payment");

    // Refused by the network for good.
    let declined = network.pay(app, "declined", 19_001, SOON).await?;
    ensure!(declined.status == Failed, "{name}: {declined:?}");

    // Not paid, and closed: at once where the network can do that.
    let order = network.order("unpaid", 19_008);
    ensure!(app.pay(&order).await?.status == Processing, "{name}");
    let mut closed = app.close(DATE, &order.order_number).await?;
    for _ in 0..20 {
        // Alipay has nothing to close before the payer has scanned the code.
        if !network.closes || closed.status != Processing {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        closed = app.close(DATE, &order.order_number).await?;
    }
    if network.closes {
        ensure!(closed.failure_code.as_deref() == Some("Closed"), "{name}: {closed:?}");
    } else {
        ensure!(closed.status == Processing, "{name}: nobody confirmed it: {closed:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_networks_end_as_they_should() -> Result<()> {
    let stack = stack_with(&NETWORKS).await?;
    let app = stack.app("app1", 16)?;
    try_join_all(NETWORKS.iter().map(|network| faults(&app, network))).await?;
    for network in &NETWORKS {
        stack.check_channel(network.name, network.record).await?;
    }
    Ok(())
}

/// Whatever goes wrong on the way, an order ends as its network has it.
async fn faults(app: &App, network: &Network) -> Result<()> {
    let ends = [
        ("late", 19_002),
        ("silent-after", 19_004),
        ("forged-answer", 19_006),
        ("slow", 19_007),
        ("untold", 19_009),
        ("told-often", 19_010),
        ("contradicted", 19_011),
        ("told-late", 19_012),
    ];
    let all = ends.map(|(number, minor)| async move {
        let paid = network.pay(app, number, minor, SOON).await?;
        ensure!(paid.status == Succeeded, "{} {number}: {paid:?}", network.name);
        Ok(())
    });
    try_join_all(all).await?;
    Ok(())
}

/// The keyed ways to sign, for which UnionPay needs no certificates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unionpay_is_paid_by_its_keyed_signatures() -> Result<()> {
    // Side by side, routing would send all to the first of them.
    for (name, method) in [("unionpay-sha256", "Sha256"), ("unionpay-sm3", "Sm3")] {
        let network = Network::unionpay_keyed(name, method);
        let stack = stack_with(std::slice::from_ref(&network)).await?;
        contract(&stack.app("app1", 4)?, &network).await?;
        stack.check_channel(name, network.record).await?;
    }
    Ok(())
}

/// An order that is not paid in time is closed, and its network agrees. UnionPay is not
/// asked here: it says that nobody paid not before eleven minutes after the order's time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_nobody_pays_expires() -> Result<()> {
    let stack = stack_with(&NETWORKS[..2]).await?;
    let app = stack.app("app1", 4)?;
    // These pay nothing out, and say so.
    let refused = app.pay_out(&payout("nobody", 100)).await;
    let why = |error: &CallError| error.to_string().contains("PayoutsMissing");
    ensure!(refused.as_ref().is_err_and(why), "{refused:?}");
    let all = NETWORKS[..2].iter().map(|network| {
        let app = &app;
        async move {
            let order = PayRequest { expires_in_seconds: Some(60), ..network.order("expires", 19_008) };
            ensure!(app.pay(&order).await?.status == Processing, "{}", network.name);
            let end = ended(app, &order.order_number, Duration::from_secs(180)).await?;
            ensure!(end.failure_code.as_deref() == Some("Closed"), "{}: {end:?}", network.name);
            Ok(())
        }
    });
    try_join_all(all).await?;
    for network in &NETWORKS[..2] {
        stack.check_channel(network.name, network.record).await?;
    }
    Ok(())
}
