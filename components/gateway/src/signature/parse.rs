//! The one shape of signature headers that is taken, byte for byte: what has
//! one spelling cannot be read in two ways.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use payplane_api::id::{self, AppId};
use snafu::{OptionExt, Snafu, ensure};

use super::algorithm::Algorithm;

/// What every request signs, in this order.
pub const COVERED: &str = r#"("@method" "@path" "@query" "content-digest")"#;
/// What RSA with 4096 bits gives.
const SIGNATURE_LENGTH_MAX: usize = 512;
const HEADER_LENGTH_MAX: usize = 1024;
const NONCE_LENGTH: std::ops::RangeInclusive<usize> = 16..=64;
const CREATED_DIGITS_MAX: usize = 12;
const KEY_ID_LENGTH_MAX: usize = 32;

#[derive(Debug, Snafu, PartialEq, Eq)]
pub enum ParseError {
    #[snafu(display("a signature header is longer than {HEADER_LENGTH_MAX} bytes"))]
    TooLong,
    #[snafu(display("there must be one signature, labelled sig1"))]
    Label,
    #[snafu(display("the signature must cover {COVERED}"))]
    Covered,
    #[snafu(display("parameter {name} is unknown, repeated, missing or malformed"))]
    Parameter { name: &'static str },
    #[snafu(display("content-digest is not sha-256 with the canonical base64 of 32 bytes"))]
    Digest,
    #[snafu(display("the signature is not the canonical base64 of at most {SIGNATURE_LENGTH_MAX} bytes"))]
    Signature,
}

/// The parameters of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureInput {
    pub app: AppId,
    pub key_id: String,
    /// Unix seconds.
    pub created: i64,
    pub nonce: String,
    /// What it says of its algorithm; the key decides.
    pub alg: Option<Algorithm>,
    /// As they were received, which is how they were signed.
    pub params: String,
}

#[derive(Default)]
struct Raw<'a> {
    created: Option<i64>,
    nonce: Option<&'a str>,
    keyid: Option<&'a str>,
    alg: Option<&'a str>,
}

impl SignatureInput {
    /// Reads a `Signature-Input` header. The parameters may come in any order,
    /// each once; only `alg` may be left out.
    pub fn parse(header: &str) -> Result<Self, ParseError> {
        ensure!(header.len() <= HEADER_LENGTH_MAX, TooLongSnafu);
        let params = header.strip_prefix("sig1=").context(LabelSnafu)?;
        let mut rest = params.strip_prefix(COVERED).context(CoveredSnafu)?;
        let mut raw = Raw::default();
        while !rest.is_empty() {
            rest = raw.take(rest)?;
        }
        raw.check(params)
    }
}

impl<'a> Raw<'a> {
    /// Takes one `;name=value` off the front. Each is taken once at most, so
    /// this ends after four.
    fn take(&mut self, text: &'a str) -> Result<&'a str, ParseError> {
        let unknown = ParameterSnafu { name: "(other)" };
        let (name, value) = text.strip_prefix(';').and_then(|t| t.split_once('=')).context(unknown)?;
        match name {
            "created" => {
                let name = "created";
                let digits = value.bytes().take_while(u8::is_ascii_digit).count();
                let (number, rest) = value.split_at(digits);
                let canonical = (1..=CREATED_DIGITS_MAX).contains(&digits) && !number.starts_with('0');
                ensure!(canonical && self.created.is_none(), ParameterSnafu { name });
                self.created = number.parse().ok();
                Ok(rest)
            }
            "nonce" => quoted("nonce", value, &mut self.nonce),
            "keyid" => quoted("keyid", value, &mut self.keyid),
            "alg" => quoted("alg", value, &mut self.alg),
            _ => unknown.fail(),
        }
    }

    fn check(self, params: &str) -> Result<SignatureInput, ParseError> {
        let alg = self.alg.map(|name| Algorithm::parse(name).context(ParameterSnafu { name: "alg" }));
        let created = self.created.context(ParameterSnafu { name: "created" })?;
        let nonce = self.nonce.filter(|n| is_nonce(n));
        let nonce = nonce.context(ParameterSnafu { name: "nonce" })?;
        let keyid = ParameterSnafu { name: "keyid" };
        let (app, key_id) = self.keyid.and_then(|k| k.split_once('/')).context(keyid)?;
        ensure!(id::check("key id", key_id, KEY_ID_LENGTH_MAX).is_ok(), keyid);
        Ok(SignatureInput {
            app: AppId::try_from(app.to_owned()).ok().context(keyid)?,
            key_id: key_id.to_owned(),
            created,
            nonce: nonce.to_owned(),
            alg: alg.transpose()?,
            params: params.to_owned(),
        })
    }
}

/// A nonce is of printable ASCII that needs no escape.
#[must_use]
pub fn is_nonce(text: &str) -> bool {
    NONCE_LENGTH.contains(&text.len()) && is_plain(text)
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'\\' && b != b'"')
}

/// Takes a quoted string off the front. Escapes are not taken: nothing that
/// may stand in one of ours needs them.
fn quoted<'a>(name: &'static str, text: &'a str, slot: &mut Option<&'a str>) -> Result<&'a str, ParseError> {
    let bad = ParameterSnafu { name };
    let (value, rest) = text.strip_prefix('"').and_then(|t| t.split_once('"')).context(bad)?;
    ensure!(is_plain(value) && slot.is_none(), bad);
    *slot = Some(value);
    Ok(rest)
}

/// Reads a `Signature` header. How long it has to be, the key knows.
pub fn signature(header: &str) -> Result<Vec<u8>, ParseError> {
    let decoded = bytes(header.strip_prefix("sig1=").context(LabelSnafu)?);
    decoded.filter(|b| (1..=SIGNATURE_LENGTH_MAX).contains(&b.len())).context(SignatureSnafu)
}

/// Reads a `Content-Digest` header (RFC 9530) with one SHA-256.
pub fn content_digest(header: &str) -> Result<[u8; 32], ParseError> {
    let decoded = header.strip_prefix("sha-256=").and_then(bytes);
    decoded.and_then(|b| b.try_into().ok()).context(DigestSnafu)
}

/// A byte sequence of RFC 8941: base64 between colons.
fn bytes(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.strip_prefix(':')?.strip_suffix(':')?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "sig1=(\"@method\" \"@path\" \"@query\" \"content-digest\")\
        ;created=1700000000;nonce=\"0123456789abcdef\";keyid=\"shop/k1\";alg=\"ecdsa-p256-sha256\"";

    #[test]
    fn the_profile_is_read() {
        let read = SignatureInput::parse(GOOD).unwrap();
        assert_eq!((read.app.as_str(), read.key_id.as_str()), ("shop", "k1"));
        assert_eq!((read.created, read.nonce.as_str()), (1_700_000_000, "0123456789abcdef"));
        assert_eq!(format!("sig1={}", read.params), GOOD);
    }

    #[test]
    fn everything_beside_it_is_refused() {
        for (from, to) in [
            ("sig1=", "sig2="),
            ("sig1=", "sig1= "),
            ("\"@method\" ", ""),
            ("\"@method\" \"@path\"", "\"@path\" \"@method\""),
            ("\"@method\" ", "\"@method\"  "),
            ("created=1700000000", "created=01700000000"),
            ("created=1700000000", "created=-1700000000"),
            ("created=1700000000", "created=1700000000.0"),
            ("created=1700000000", "created=1700000000000000"),
            (";created=1700000000", ""),
            (";created", "; created"),
            ("\"0123456789abcdef\"", "\"short\""),
            ("\"0123456789abcdef\"", "\"0123456789abcde\\\"\""),
            ("\"0123456789abcdef\"", "\"0123456789 abcdef\""),
            ("\"0123456789abcdef\"", "0123456789abcdef"),
            ("shop/k1", "shop"),
            ("shop/k1", "shop/"),
            ("shop/k1", "/k1"),
            ("shop/k1", "shop/k1/k2"),
            ("ecdsa-p256-sha256", "rsa-v1_5-sha1"),
            ("ecdsa-p256-sha256", ""),
            (";alg", ";expires=1;alg"),
            (";alg", ";created=1700000000;alg"),
            (";alg", ";tag=\"x\";alg"),
            ("sha256\"", "sha256\","),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            assert!(SignatureInput::parse(&bad).is_err(), "{bad}");
        }
        assert!(SignatureInput::parse(&format!("{GOOD}, {GOOD}")).is_err());
        let unsaid = GOOD.replace(";alg=\"ecdsa-p256-sha256\"", "");
        assert_eq!(SignatureInput::parse(&unsaid).unwrap().alg, None);
    }

    proptest! {
        /// What is taken is exactly what a signer of the profile writes.
        #[test]
        fn what_is_read_writes_back_the_same(
            created in 1..=999_999_999_999i64, nonce in "[!#-\\[\\]-~]{16,64}",
            app in "[A-Za-z0-9._-]{1,32}", key in "[A-Za-z0-9._-]{1,32}", order in Just([0, 1, 2, 3usize]).prop_shuffle(),
            alg in 0..6usize
        ) {
            let params = [
                format!(";created={created}"), format!(";nonce=\"{nonce}\""),
                format!(";keyid=\"{app}/{key}\""), format!(";alg=\"{}\"", Algorithm::ALL[alg]),
            ];
            let text: String = order.iter().map(|i| params[*i].as_str()).collect();
            let read = SignatureInput::parse(&format!("sig1={COVERED}{text}")).unwrap();
            prop_assert_eq!(read.created, created);
            prop_assert_eq!(read.nonce, nonce);
            prop_assert_eq!(read.app.as_str(), app);
            prop_assert_eq!(read.key_id, key);
        }

        /// Any one byte that is changed is refused or changes what was read.
        #[test]
        fn no_two_texts_read_the_same(at in 0..GOOD.len(), byte in 0x20..0x7fu8) {
            let mut text = GOOD.as_bytes().to_vec();
            text[at] = byte;
            let text = String::from_utf8(text).unwrap();
            if let Ok(read) = SignatureInput::parse(&text) {
                prop_assert_eq!(format!("sig1={}", read.params), text.clone());
                let same = SignatureInput::parse(GOOD).unwrap();
                prop_assert_eq!(text == GOOD, (read.created, &read.nonce, &read.app, &read.key_id, read.alg)
                    == (same.created, &same.nonce, &same.app, &same.key_id, same.alg));
            }
        }

        #[test]
        fn nothing_panics(text in ".{0,200}", tail in "[;=\"a-z0-9:/+ ]{0,80}") {
            let _ = SignatureInput::parse(&text);
            let _ = SignatureInput::parse(&format!("sig1={COVERED}{tail}"));
            let _ = signature(&text);
            let _ = content_digest(&text);
        }

        #[test]
        fn bytes_have_one_spelling(raw in proptest::array::uniform32(any::<u8>())) {
            let text = format!("sha-256=:{}:", STANDARD.encode(raw));
            prop_assert_eq!(content_digest(&text).unwrap(), raw);
            let unpadded = text.replace("=:", ":").replacen("sha-256:", "sha-256=:", 1);
            prop_assert!(content_digest(&unpadded).is_err());
        }
    }
}
