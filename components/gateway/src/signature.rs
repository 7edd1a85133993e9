//! Signed requests: who sent it, what exactly was signed, and that both belong
//! together. By RFC 9421 in one profile, strictly: see `parse`; the other style is
//! `api/sorted.rs`.

pub mod algorithm;
pub mod key;
pub mod parse;
#[cfg(test)]
mod trials;

use aws_lc_rs::digest::{SHA256, digest};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use snafu::{OptionExt, ResultExt, Snafu};

use self::algorithm::Algorithm;
use self::key::VerifyingKey;
use self::parse::{ParseError, SignatureInput};

/// How far a signature's time may lie from ours.
pub const WINDOW_SECONDS: i64 = 300;

const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

#[derive(Debug, Snafu)]
pub enum SignatureError {
    #[snafu(display("header {name} must be there exactly once, in ASCII"))]
    Header { name: HeaderName },
    #[snafu(display("the signature headers do not follow the profile"))]
    Parse { source: ParseError },
    #[snafu(display("content-digest is not the body's SHA-256"))]
    Digest,
    #[snafu(display("alg or signType says {said}, which is not what the registered key is for"))]
    OtherAlgorithm { said: Algorithm },
    #[snafu(display("the signature does not verify with this key"))]
    Verify,
}

/// A request whose signature was read but not verified yet.
#[derive(Debug)]
pub struct Claim {
    pub app: String,
    pub key_id: String,
    /// Unix seconds.
    pub created: i64,
    pub nonce: String,
    /// What the request says of its algorithm. The registered key decides.
    pub algorithm: Option<Algorithm>,
    pub signature: Vec<u8>,
    /// What was signed.
    pub text: String,
}

/// Does a request carry any of the headers of RFC 9421?
#[must_use]
pub fn is_by_headers(headers: &HeaderMap) -> bool {
    [SIGNATURE, SIGNATURE_INPUT, CONTENT_DIGEST].iter().any(|name| headers.contains_key(name))
}

impl Claim {
    /// Reads the signature headers, and checks the body against its digest.
    pub fn read(parts: &Parts, body: &[u8]) -> Result<Self, SignatureError> {
        let input = one(&parts.headers, &SIGNATURE_INPUT)?;
        let signature = one(&parts.headers, &SIGNATURE)?;
        let content_digest = one(&parts.headers, &CONTENT_DIGEST)?;
        let input = SignatureInput::parse(input).context(ParseSnafu)?;
        let signature = parse::signature(signature).context(ParseSnafu)?;
        let claimed = parse::content_digest(content_digest).context(ParseSnafu)?;
        if digest(&SHA256, body).as_ref() != claimed {
            return DigestSnafu.fail();
        }
        let query = format!("?{}", parts.uri.query().unwrap_or_default());
        let text = base(
            &[
                ("@method", parts.method.as_str()),
                ("@path", parts.uri.path()),
                ("@query", &query),
                ("content-digest", content_digest),
            ],
            &input.params,
        );
        let SignatureInput { app, key_id, created, nonce, alg, params: _ } = input;
        Ok(Self { app: app.to_string(), key_id, created, nonce, algorithm: alg, signature, text })
    }

    /// Is it this key's signature?
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), SignatureError> {
        if let Some(said) = self.algorithm.filter(|said| *said != key.algorithm) {
            return OtherAlgorithmSnafu { said }.fail();
        }
        key.verifies(self.text.as_bytes(), &self.signature).then_some(()).context(VerifySnafu)
    }

    /// Is the signature's time near enough to ours?
    #[must_use]
    pub fn is_fresh(&self, now_seconds: i64) -> bool {
        now_seconds.abs_diff(self.created) <= WINDOW_SECONDS.unsigned_abs()
    }

    /// What was signed, told apart by 32 bytes. The signature itself is not in
    /// it: some algorithms give another one every time.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, self.text.as_bytes()).as_ref());
        out
    }
}

/// The signature base of RFC 9421, section 2.5.
fn base(components: &[(&str, &str)], params: &str) -> String {
    let mut text = String::with_capacity(512);
    for (name, value) in components {
        text.push_str(&format!("\"{name}\": {value}\n"));
    }
    text.push_str("\"@signature-params\": ");
    text.push_str(params);
    text
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, SignatureError> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        _ => HeaderSnafu { name }.fail(),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// RFC 9421, appendix B.2.4 (key: B.1.3).
    #[test]
    fn the_published_example_verifies() {
        let spki = STANDARD
            .decode(
                "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf\
                 w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==",
            )
            .unwrap();
        let params = "(\"@status\" \"content-type\" \"content-digest\" \"content-length\")\
                      ;created=1618884473;keyid=\"test-key-ecc-p256\"";
        let content_digest = "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:";
        let base = base(
            &[
                ("@status", "200"),
                ("content-type", "application/json"),
                ("content-digest", content_digest),
                ("content-length", "23"),
            ],
            params,
        );
        let signature = STANDARD
            .decode(
                "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==",
            )
            .unwrap();
        let key = VerifyingKey::new(Algorithm::EcdsaP256Sha256, &spki[26..]).unwrap();
        assert!(key.verifies(base.as_bytes(), &signature));
        assert!(!key.verifies(base.replace("200", "201").as_bytes(), &signature));
    }

    struct Signer(EcdsaKeyPair);

    impl Signer {
        fn new() -> Self {
            Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        }

        fn request(&self, body: &str) -> Parts {
            let content_digest = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, body.as_bytes())));
            let params = format!(
                "{};created=1700000000;nonce=\"0123456789abcdef\";keyid=\"app/k1\";alg=\"ecdsa-p256-sha256\"",
                parse::COVERED
            );
            let components = [
                ("@method", "POST"),
                ("@path", "/v1/payments"),
                ("@query", "?"),
                ("content-digest", content_digest.as_str()),
            ];
            let base = base(&components, &params);
            let signature = self.0.sign(&SystemRandom::new(), base.as_bytes()).unwrap();
            let request = http::Request::post("https://gateway/v1/payments")
                .header("content-digest", &content_digest)
                .header("signature-input", format!("sig1={params}"))
                .header("signature", format!("sig1=:{}:", STANDARD.encode(signature.as_ref())));
            request.body(()).unwrap().into_parts().0
        }

        fn key(&self) -> VerifyingKey {
            VerifyingKey::new(Algorithm::EcdsaP256Sha256, self.0.public_key().as_ref()).unwrap()
        }
    }

    #[test]
    fn only_the_signed_request_with_the_right_key_verifies() {
        let (signer, other) = (Signer::new(), Signer::new());
        let claim = Claim::read(&signer.request("{}"), b"{}").unwrap();
        assert!(claim.verify(&signer.key()).is_ok());
        assert!(claim.verify(&other.key()).is_err());
        // What it says of its algorithm may be left out, and decides nothing.
        let said = |algorithm| Claim { algorithm, ..Claim::read(&signer.request("{}"), b"{}").unwrap() };
        assert!(said(None).verify(&signer.key()).is_ok());
        let wrong = said(Some(Algorithm::RsaPssSha512)).verify(&signer.key());
        assert!(matches!(wrong, Err(SignatureError::OtherAlgorithm { .. })));
        assert!(matches!(Claim::read(&signer.request("{}"), b"{} "), Err(SignatureError::Digest)));

        for (header, value) in [
            ("signature-input", "sig1=()"),
            ("signature", "sig1=:AAA:"),
            ("content-digest", "sha-512=:AAAA:"),
        ] {
            let mut parts = signer.request("{}");
            parts.headers.insert(header, value.parse().unwrap());
            assert!(Claim::read(&parts, b"{}").is_err(), "{header}");
            let mut parts = signer.request("{}");
            parts.headers.remove(header);
            assert!(Claim::read(&parts, b"{}").is_err(), "no {header}");
            let mut parts = signer.request("{}");
            let again = parts.headers[header].clone();
            parts.headers.append(header, again);
            assert!(Claim::read(&parts, b"{}").is_err(), "{header} twice");
        }
    }

    #[test]
    fn another_method_path_or_query_does_not_verify() {
        let signer = Signer::new();
        let mut put = signer.request("{}");
        put.method = http::Method::PUT;
        let mut path = signer.request("{}");
        path.uri = "https://gateway/v1/payments/".parse().unwrap();
        let mut query = signer.request("{}");
        query.uri = "https://gateway/v1/payments?a=b".parse().unwrap();
        for parts in [put, path, query] {
            let claim = Claim::read(&parts, b"{}").unwrap();
            assert!(claim.verify(&signer.key()).is_err());
        }
    }

    #[test]
    fn the_window_is_closed_on_both_sides() {
        let claim = Claim::read(&Signer::new().request("{}"), b"{}").unwrap();
        for (now, fresh) in
            [(1_699_999_699, false), (1_699_999_700, true), (1_700_000_300, true), (1_700_000_301, false)]
        {
            assert_eq!(claim.is_fresh(now), fresh, "{now}");
        }
        assert!(!claim.is_fresh(i64::MIN));
    }
}
