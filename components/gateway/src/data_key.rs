//! The tenant's data key: seals what the database may keep but nobody may read in it,
//! and keys the hashes of requests. The file holds 32 bytes a line in base64: the first
//! is used for what is new, all of them for what is there.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use snafu::{OptionExt, ResultExt, Snafu};

const KEY_LENGTH: usize = 32;
const KEYS_MAX: usize = 4;
const ID_LENGTH: usize = 8;

#[derive(Debug, Snafu)]
pub enum DataKeyError {
    #[snafu(display("cannot read {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("{} holds no data keys: 1 to {KEYS_MAX} lines, each 32 bytes in base64", path.display()))]
    Unusable { path: PathBuf },
}

/// It has no Debug: it is a secret.
pub struct DataKeys(Vec<Keys>);

struct Keys {
    /// Names it in the database and in metrics, and tells nothing of it.
    id: String,
    seals: RandomizedNonceKey,
    hashes: hmac::Key,
    subjects: hmac::Key,
    messages: hmac::Key,
}

/// What tells a request apart: what is stored of it, and what may be stored of it already.
#[derive(Clone, Debug)]
pub struct RequestHash {
    stored: [u8; 32],
    also: Vec<[u8; 32]>,
}

impl RequestHash {
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.stored
    }

    /// Was this stored of the same request?
    #[must_use]
    pub fn is_of(&self, stored: &[u8]) -> bool {
        self.stored == stored || self.also.iter().any(|hash| hash == stored)
    }
}

impl Keys {
    fn new(line: &str) -> Option<Self> {
        let bytes = STANDARD.decode(line).ok().filter(|bytes| bytes.len() == KEY_LENGTH)?;
        let root = Salt::new(HKDF_SHA256, b"payplane").extract(&bytes);
        let derive = |purpose: &[u8]| {
            let (mut key, purpose) = ([0; KEY_LENGTH], [purpose]);
            root.expand(&purpose, HKDF_SHA256).ok()?.fill(&mut key).ok()?;
            Some(key)
        };
        Some(Self {
            id: hex::encode(derive(b"key id")?.get(..ID_LENGTH)?),
            seals: RandomizedNonceKey::new(&AES_256_GCM, &derive(b"app secrets")?).ok()?,
            hashes: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"request hashes")?),
            subjects: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"risk subjects")?),
            messages: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"raw messages")?),
        })
    }

    fn hash(&self, plain: &[u8; 32]) -> [u8; 32] {
        bytes(hmac::sign(&self.hashes, plain))
    }

    /// Each part with its length before it, so that no two lists hash the same.
    fn subject(&self, parts: &[&str]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.subjects);
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
        bytes(context.sign())
    }
}

fn bytes(tag: hmac::Tag) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

impl DataKeys {
    pub fn load(path: &Path) -> Result<Self, DataKeyError> {
        let text = std::fs::read_to_string(path).context(ReadSnafu { path })?;
        Self::parse(&text).context(UnusableSnafu { path })
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Vec<_> = lines.map(Keys::new).collect::<Option<_>>()?;
        (1..=KEYS_MAX).contains(&keys.len()).then_some(Self(keys))
    }

    /// Seals a secret for one place, `whose`: elsewhere it does not open.
    #[must_use]
    pub fn seal(&self, whose: &str, secret: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = secret.to_vec();
        let nonce = self.0.first()?.seals.seal_in_place_append_tag(Aad::from(whose), &mut sealed).ok()?;
        Some([nonce.as_ref().as_slice(), &sealed].concat())
    }

    #[must_use]
    pub fn open(&self, whose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.opened(whose, sealed).map(|(_, secret)| secret)
    }

    /// The same, and the key that it was sealed with.
    #[must_use]
    pub fn opened(&self, whose: &str, sealed: &[u8]) -> Option<(&str, Vec<u8>)> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        self.0.iter().find_map(|keys| {
            let (nonce, mut text) = (Nonce::try_assume_unique_for_key(nonce).ok()?, sealed.to_vec());
            let secret = keys.seals.open_in_place(nonce, Aad::from(whose), &mut text).ok()?;
            Some((keys.id.as_str(), secret.to_vec()))
        })
    }

    /// The key for what is new.
    #[must_use]
    pub fn current(&self) -> &str {
        self.0.first().map_or("", |keys| &keys.id)
    }

    /// Those that only open.
    pub fn former(&self) -> impl Iterator<Item = &str> {
        self.0.iter().skip(1).map(|keys| keys.id.as_str())
    }

    #[must_use]
    pub fn holds(&self, id: &str) -> bool {
        self.0.iter().any(|keys| keys.id == id)
    }

    /// Keys a request's hash. Requests that were stored before there was a key have the
    /// plain one, and remain known.
    #[must_use]
    pub fn request_hash(&self, plain: [u8; 32]) -> RequestHash {
        let mut keyed = self.0.iter().map(|keys| keys.hash(&plain));
        let stored = keyed.next().unwrap_or(plain);
        RequestHash { stored, also: keyed.chain([plain]).collect() }
    }

    /// What whoever takes part in payments is known by in the database: by the key for what
    /// is new first, then by those before it.
    #[must_use]
    pub fn subject(&self, parts: &[&str]) -> Vec<[u8; 32]> {
        self.0.iter().map(|keys| keys.subject(parts)).collect()
    }

    /// What tells a message that is kept masked apart. It is keyed: of a card of which a few digits
    /// are not known, a plain digest would tell these, too.
    #[must_use]
    pub fn message_digest(&self, message: &[u8]) -> Vec<u8> {
        let digest = |keys: &Keys| bytes(hmac::sign(&keys.messages, message)).to_vec();
        self.0.first().map(digest).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn keys(bytes: &[u8]) -> DataKeys {
        let lines: Vec<_> = bytes.iter().map(|byte| STANDARD.encode([*byte; 32])).collect();
        DataKeys::parse(&lines.join("\n")).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_only_where_it_belongs() {
        let sealed = keys(&[1]).seal("app/k1", b"secret").unwrap();
        assert_ne!(sealed, keys(&[1]).seal("app/k1", b"secret").unwrap(), "a nonce of its own");
        for (who, whose, opens) in [
            (keys(&[1]), "app/k1", true),
            (keys(&[2, 1]), "app/k1", true),
            (keys(&[2]), "app/k1", false),
            (keys(&[1]), "app/k2", false),
        ] {
            assert_eq!(who.open(whose, &sealed).as_deref() == Some(b"secret"), opens, "{whose}");
        }
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(keys(&[1]).open("app/k1", &bad).is_none(), "{at}");
            assert!(keys(&[1]).open("app/k1", &sealed[..at]).is_none(), "{at}");
        }
    }

    #[test]
    fn a_key_is_known_by_a_name_that_is_always_its_own() {
        let (one, both) = (keys(&[1]), keys(&[2, 1]));
        assert_eq!(both.former().collect::<Vec<_>>(), [one.current()]);
        assert!(both.current() != one.current() && one.current().len() == 2 * ID_LENGTH);
        assert!(both.holds(one.current()) && !one.holds(both.current()));
        let sealed = one.seal("app/k1", b"secret").unwrap();
        assert_eq!(both.opened("app/k1", &sealed), Some((one.current(), b"secret".to_vec())));
    }

    #[test]
    fn hashes_differ_by_key_and_older_ones_are_known() {
        let plain = [7; 32];
        let (one, two) = (keys(&[1]).request_hash(plain), keys(&[2, 1]).request_hash(plain));
        assert_ne!(one.as_slice(), plain);
        assert_ne!(one.as_slice(), two.as_slice());
        assert!(two.is_of(one.as_slice()) && two.is_of(&plain) && one.is_of(&plain));
        assert!(!one.is_of(two.as_slice()) && !one.is_of(&[8; 32]) && !one.is_of(b""));
        assert!(!one.is_of(keys(&[1]).request_hash([8; 32]).as_slice()));
    }

    #[test]
    fn subjects_differ_by_key_and_by_where_their_parts_end() {
        let (old, both) = (keys(&[1]).subject(&["Payer", "p1"]), keys(&[2, 1]).subject(&["Payer", "p1"]));
        assert_eq!((old.len(), both.len()), (1, 2));
        assert_eq!(both[1], old[0], "an entry of before is found");
        assert_ne!(both[0], old[0]);
        for parts in [&["Payer", "p2"][..], &["Payerp", "1"], &["Payer", "p", "1"], &["Device", "p1"]] {
            assert_ne!(keys(&[1]).subject(parts), old, "{parts:?}");
        }
    }

    #[test]
    fn a_message_has_a_digest_that_nobody_else_can_make() {
        let digest = keys(&[1]).message_digest(b"said");
        assert_eq!(keys(&[1, 2]).message_digest(b"said"), digest);
        assert!(
            keys(&[2, 1]).message_digest(b"said") != digest && keys(&[1]).message_digest(b"Said") != digest
        );
        assert_ne!(hex::encode(&digest), payplane_api::config::hash(b"said"));
    }

    #[test]
    fn only_whole_keys_are_taken() {
        let good = STANDARD.encode([1; 32]);
        assert!(DataKeys::parse(&format!("{good}\n")).is_some());
        for bad in ["", "\n", "AAAA", &good[1..], &format!("{good}\nx"), &[good.as_str(); 5].join("\n")] {
            assert!(DataKeys::parse(bad).is_none(), "{bad}");
        }
    }
}
