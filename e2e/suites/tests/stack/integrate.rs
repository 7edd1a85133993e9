//! The programs of docs/integrate.md, run as they stand.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use payplane_testkit::port;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::harness::Stack;
use crate::networks::NETWORKS;
use crate::payout_stage::{fund, sale};
use crate::signing::{APP, KEYS, Keys};

const SOON: Duration = Duration::from_secs(40);

/// Writes every program of the page into a folder.
fn programs(folder: &Path) -> Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/integrate.md");
    let page = std::fs::read_to_string(page)?;
    let mut count = 0;
    for part in page.split("<!-- file: ").skip(1) {
        let (name, rest) = part.split_once(" -->\n```").context("no block behind a file's name")?;
        let (_, rest) = rest.split_once('\n').context("no language")?;
        let (program, _) = rest.split_once("\n```").context("the block has no end")?;
        std::fs::write(folder.join(name), format!("{program}\n"))?;
        count += 1;
    }
    ensure!(count == 7, "{count} programs");
    Ok(())
}

struct Shop<'a> {
    stack: &'a Stack,
    key: &'static str,
    folder: tempfile::TempDir,
}

impl Shop<'_> {
    fn program(&self, with: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(with);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        command.env("GATEWAY", self.stack.url(0)).env("CA", self.stack.postgres.pki.trust().join("ca.crt"));
        command.env("APP", self.key).env("KEY", self.stack.key("app1"));
        command
    }

    async fn said(&self, mut command: Command) -> Result<String> {
        let output = tokio::time::timeout(SOON, command.output()).await??;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(err.is_empty(), "{out}{err}");
        Ok(out.into_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_is_integrated_by_the_page() -> Result<()> {
    let mut stack = Stack::start().await?;
    let channels = [stack.channel("sim", 1, 60)?, NETWORKS[3].channel(&stack)?];
    stack.configure_channels(&channels)?;
    let shop = Shop { stack: &stack, key: "app1/k1", folder: tempfile::tempdir()? };
    programs(shop.folder.path())?;

    let url = format!("https://localhost:{}/paid", port::free()?);
    let identity = stack.postgres.pki.leaf("shop", &[])?;
    let mut receive = shop.program("python3", &["receive.py"]);
    receive.env("URL", &url).env("KEYS", stack.folder.path().join("notify.pub"));
    receive.env("CERT", identity.join("tls.crt")).env("CERT_KEY", identity.join("tls.key"));
    // It logs each request on its standard error.
    let mut receive = receive.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let ca_pem = std::fs::read_to_string(stack.postgres.pki.trust().join("ca.crt"))?;
    let (status, answer) = stack.register_app("app1", &json!({"url": url, "caPem": ca_pem})).await?;
    ensure!(status == 200, "{answer}");

    for (order, amount, end) in [("1001", "10000", "Succeeded"), ("1003", "19001", "Failed")] {
        let mut pay = shop.program("bash", &["pay.sh"]);
        pay.env("ORDER", order).env("AMOUNT", amount);
        let said = shop.said(pay).await?;
        ensure!(said.contains(&format!("\"status\":\"{end}\"")), "{said}");
    }
    let said = shop.said(shop.program("python3", &["pay.py", "1002"])).await?;
    assert_eq!(said, "payment Succeeded \nrefund Succeeded\n");

    let mut lines = BufReader::new(receive.stdout.take().context("no output")?).lines();
    let mut told = vec![];
    while told.len() < 4 {
        match tokio::time::timeout(SOON, lines.next_line()).await?? {
            Some(line) => told.push(line),
            None => bail!("receive.py ended: {told:?}"),
        }
    }
    told.sort();
    let expected = [
        "payment.failed 1003 19001",
        "payment.succeeded 1001 10000",
        "payment.succeeded 1002 10000",
        "refund.succeeded 1002 4000",
    ];
    assert_eq!(told, expected);
    let forged =
        reqwest::Client::builder().tls_certs_only(reqwest::Certificate::from_pem_bundle(ca_pem.as_bytes())?);
    let forged = forged.no_proxy().build()?.post(&url).body("{}").send().await?;
    assert_eq!(forged.status().as_u16(), 401);
    every_way(&shop).await?;
    fund(&stack, &sale("M1", 100_000)).await?;
    for (payout, amount, end) in [("p1", "1000", "Succeeded "), ("p2", "19001", "Failed Declined")] {
        let said = shop.said(shop.program("python3", &["payout.py", payout, amount])).await?;
        assert_eq!(said, format!("payout {end}\n"));
    }
    let said = shop.said(shop.program("python3", &["agree.py", "a1"])).await?;
    assert_eq!(said, "agreement Active\npayment Succeeded\nagreement Ended\n");
    stack.check_agreement().await
}

/// The programs with a key of every kind.
async fn every_way(shop: &Shop<'_>) -> Result<()> {
    let keys = Keys { stack: shop.stack };
    keys.make(1)?;
    keys.register(KEYS.map(|(algorithm, _)| keys.entry(algorithm, 1)).into_iter().collect::<Result<_>>()?)
        .await?;
    for (algorithm, _) in KEYS {
        let with = |mut program: Command| {
            program.env("APP", format!("{APP}/{}", Keys::id(algorithm, 1)));
            program.env("KEY", keys.path(algorithm, 1)).env("ALGORITHM", algorithm.name());
            program
        };
        let mut pay = with(shop.program("bash", &["pay.sh"]));
        pay.env("ORDER", format!("pay-{}", algorithm.name()));
        let said = shop.said(pay).await?;
        ensure!(said.contains("\"status\":\"Succeeded\""), "{algorithm:?} {said}");
        if let Some(sign_type) = algorithm.sign_type() {
            let mut pay =
                with(shop.program("python3", &["sorted.py", &format!("sorted-{}", algorithm.name())]));
            pay.env("SIGN_TYPE", sign_type);
            assert_eq!(shop.said(pay).await?, "payment Succeeded \nrefund Succeeded 4000\n", "{sign_type}");
        }
    }
    Ok(())
}
