//! An owner ends his agreement at the bank, which tells the gateway: it is believed once the
//! bank, asked for it, says so too.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rcgen::PublicKeyData;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::agreement_stage::{active, agreement, by_agreement, pay, status, until};
use crate::harness::{Stack, code};
use crate::payout_stage::bank;

const PARTICIPANT: &str = "10002";
const AT_ONCE: Duration = Duration::from_secs(5);

/// Signs by the letter of docs/bank-direct.md and posts; the status of the answer.
async fn post(stack: &Stack, key: &str, (head, url): (&str, String), body: &Value) -> Result<u16> {
    let pem = std::fs::read_to_string(stack.folder.path().join("network").join(key))?;
    let pair = rcgen::KeyPair::from_pem(&pem)?;
    let signing = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pair.serialize_der())?;
    ensure!(signing.public_key().as_ref().len() == 65);
    let id = hex::encode(Sha256::digest(pair.subject_public_key_info()))[..16].to_owned();
    let (time, nonce) = (Timestamp::now().as_second().to_string(), uuid::Uuid::new_v4().simple().to_string());
    let body = body.to_string();
    let digest = hex::encode(Sha256::digest(&body));
    let text = format!("{head}\n{PARTICIPANT}\n{id}\n{time}\n{nonce}\n{digest}\n");
    let signature = signing.sign(&SystemRandom::new(), text.as_bytes()).context("signing")?;
    let headers = [
        ("bank-participant", PARTICIPANT.to_owned()),
        ("bank-key", id),
        ("bank-time", time),
        ("bank-nonce", nonce),
        ("bank-signature", STANDARD.encode(signature.as_ref())),
    ];
    let roots =
        [stack.postgres.pki.trust().join("ca.crt"), stack.folder.path().join("network/bankdirect/ca.crt")];
    let mut all = vec![];
    for path in roots {
        all.extend(reqwest::Certificate::from_pem_bundle(&std::fs::read(path)?)?);
    }
    let request = reqwest::Client::builder().tls_certs_only(all).no_proxy().build()?.post(url);
    let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    Ok(request.header("content-type", "application/json").body(body).send().await?.status().as_u16())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agreement_that_its_owner_ends_at_the_bank_is_over() -> Result<()> {
    let stack = bank().await?;
    let app = stack.app("app1", 1)?;
    let signed = active(&app, "a1").await?;
    let number = signed["agreementId"].as_str().context("an id")?.replace('-', "");
    let told = json!({"number": number, "kind": "Sign", "state": "Succeeded", "bankId": "B1",
        "bookedAt": "2026-11-30T01:00:00Z", "token": "T1", "endedAt": "2026-11-30T02:00:00Z"});
    let hook =
        || ("bank-direct/1 notification", format!("{}/v1/channels/bankdirect/notifications", stack.url(0)));

    // Whoever signs it, the bank says otherwise when it is asked: the bank is to say it again.
    ensure!(post(&stack, "bankdirect/merchant.key", hook(), &told).await? == 401, "another's key");
    ensure!(post(&stack, "network/bankdirect.key", hook(), &told).await? == 500, "nobody else says so");
    assert_eq!(agreement(&app, "a1").await?, signed);
    ensure!(status(&pay(&app, &by_agreement("before", 100, "a1")).await?) == "Succeeded");

    let unsign = (
        "bank-direct/1 request\nPOST /bank/v1/unsign",
        format!("https://localhost:{}/bank/v1/unsign", stack.simulator_port),
    );
    ensure!(post(&stack, "bankdirect/merchant.key", unsign, &json!({"number": number})).await? == 200);
    let declined = pay(&app, &by_agreement("untold", 100, "a1")).await?;
    assert_eq!((status(&declined), &declined["failureCode"]), ("Failed", &json!("Declined")));
    for _ in 0..2 {
        ensure!(post(&stack, "network/bankdirect.key", hook(), &told).await? == 200);
        until(&app, "a1", "Ended", AT_ONCE).await?;
    }
    assert_eq!(code(pay(&app, &by_agreement("after", 100, "a1")).await), "AgreementNotActive");
    let events = "SELECT count(*) FROM gateway.outbox WHERE kind = 'agreement.ended'";
    assert_eq!(stack.count(events).await?, 1);
    stack.check_channel("bankdirect", "BankDirect").await
}
