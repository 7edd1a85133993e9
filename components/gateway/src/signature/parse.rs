//! The one shape of signature headers that is taken, byte for byte: what has
//! one spelling cannot be read in two ways.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use payplane_api::id::{self, AppId};
use snafu::{OptionExt, Snafu, ensure};

/// What every request signs, in this order.
pub const COVERED: &str = r#"("@method" "@path" "@query" "content-digest")"#;
const ALGORITHM: &str = "ecdsa-p256-sha256";
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
    #[snafu(display("{what} is not the canonical base64 of {length} bytes"))]
    Bytes { what: &'static str, length: usize },
}

/// The parameters of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureInput {
    pub app: AppId,
    pub key_id: String,
    /// Unix seconds.
    pub created: i64,
    pub nonce: String,
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
    /// each exactly once.
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
        ensure!(self.alg == Some(ALGORITHM), ParameterSnafu { name: "alg" });
        let created = self.created.context(ParameterSnafu { name: "created" })?;
        let nonce = self.nonce.filter(|n| NONCE_LENGTH.contains(&n.len()));
        let nonce = nonce.context(ParameterSnafu { name: "nonce" })?;
        let keyid = ParameterSnafu { name: "keyid" };
        let (app, key_id) = self.keyid.and_then(|k| k.split_once('/')).context(keyid)?;
        ensure!(id::check("key id", key_id, KEY_ID_LENGTH_MAX).is_ok(), keyid);
        Ok(SignatureInput {
            app: AppId::try_from(app.to_owned()).ok().context(keyid)?,
            key_id: key_id.to_owned(),
            created,
            nonce: nonce.to_owned(),
            params: params.to_owned(),
        })
    }
}

/// Takes a quoted string off the front. Escapes are not taken: nothing that
/// may stand in one of ours needs them.
fn quoted<'a>(name: &'static str, text: &'a str, slot: &mut Option<&'a str>) -> Result<&'a str, ParseError> {
    let bad = ParameterSnafu { name };
    let (value, rest) = text.strip_prefix('"').and_then(|t| t.split_once('"')).context(bad)?;
    let plain = value.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'\\');
    ensure!(plain && slot.is_none(), bad);
    *slot = Some(value);
    Ok(rest)
}

/// Reads a `Signature` header: r and s of ECDSA P-256, 32 bytes each.
pub fn signature(header: &str) -> Result<[u8; 64], ParseError> {
    bytes("the signature", header.strip_prefix("sig1=").context(LabelSnafu)?)
}

/// Reads a `Content-Digest` header (RFC 9530) with one SHA-256.
pub fn content_digest(header: &str) -> Result<[u8; 32], ParseError> {
    let what = "content-digest";
    bytes(what, header.strip_prefix("sha-256=").context(BytesSnafu { what, length: 32usize })?)
}

/// A byte sequence of RFC 8941: base64 between colons.
fn bytes<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], ParseError> {
    let inner = text.strip_prefix(':').and_then(|t| t.strip_suffix(':'));
    let decoded = inner.and_then(|t| STANDARD.decode(t).ok());
    decoded.and_then(|b| b.try_into().ok()).context(BytesSnafu { what, length: N })
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
            ("ecdsa-p256-sha256", "hmac-sha256"),
            (";alg=\"ecdsa-p256-sha256\"", ""),
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
    }

    proptest! {
        /// What is taken is exactly what a signer of the profile writes.
        #[test]
        fn what_is_read_writes_back_the_same(
            created in 1..=999_999_999_999i64, nonce in "[!#-\\[\\]-~]{16,64}",
            app in "[A-Za-z0-9._-]{1,32}", key in "[A-Za-z0-9._-]{1,32}", order in Just([0, 1, 2, 3usize]).prop_shuffle()
        ) {
            let params = [
                format!(";created={created}"), format!(";nonce=\"{nonce}\""),
                format!(";keyid=\"{app}/{key}\""), format!(";alg=\"{ALGORITHM}\""),
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
                prop_assert_eq!(text == GOOD, (read.created, &read.nonce, &read.app, &read.key_id)
                    == (same.created, &same.nonce, &same.app, &same.key_id));
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
