//! How often this machine signs in a second, on one core.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256};

use crate::report::precise;

const TEXT: &[u8; 512] = &[7; 512];

/// RSA of 2,048 bits, PKCS #1 with SHA-256.
pub(crate) fn rsa_2048(at_least: Duration) -> Result<f64> {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).ok().context("no RSA key")?;
    let (random, mut signature) = (SystemRandom::new(), vec![0; key.public_modulus_len()]);
    rate(at_least, || {
        key.sign(&RSA_PKCS1_SHA256, &random, TEXT, &mut signature).ok().context("RSA does not sign")
    })
}

/// ECDSA on P-256 with SHA-256.
pub(crate) fn ecdsa_p256(at_least: Duration) -> Result<f64> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok().context("no ECDSA key")?;
    let random = SystemRandom::new();
    rate(at_least, || key.sign(&random, TEXT).map(drop).ok().context("ECDSA does not sign"))
}

fn rate(at_least: Duration, mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let (started, mut count) = (Instant::now(), 0_u64);
    while started.elapsed() < at_least {
        once()?;
        count += 1;
    }
    Ok(precise(count) / started.elapsed().as_secs_f64())
}
