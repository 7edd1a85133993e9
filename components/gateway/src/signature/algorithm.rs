//! How a key signs. The registered key says it, never the request.

use std::fmt;

/// The algorithms that an app's key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    EcdsaP256Sha256,
    RsaPssSha512,
    RsaV15Sha256,
    HmacSha256,
    /// GM/T 0003 with the hash of GM/T 0004. The registry of RFC 9421 has no name for it.
    Sm2Sm3,
    /// RFC 2104 with the hash of GM/T 0004. The name is ours as well.
    HmacSm3,
}

impl Algorithm {
    pub const ALL: [Self; 6] = [
        Self::EcdsaP256Sha256,
        Self::RsaPssSha512,
        Self::RsaV15Sha256,
        Self::HmacSha256,
        Self::Sm2Sm3,
        Self::HmacSm3,
    ];

    /// As `alg`, the admin API and the database name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::RsaPssSha512 => "rsa-pss-sha512",
            Self::RsaV15Sha256 => "rsa-v1_5-sha256",
            Self::HmacSha256 => "hmac-sha256",
            Self::Sm2Sm3 => "sm2-sm3",
            Self::HmacSm3 => "hmac-sm3",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// As `signType` of the sorted style names it.
    #[must_use]
    pub fn of_sign_type(name: &str) -> Option<Self> {
        match name {
            "RSA2" => Some(Self::RsaV15Sha256),
            "HMAC-SHA256" => Some(Self::HmacSha256),
            "SM3" => Some(Self::HmacSm3),
            _ => None,
        }
    }

    /// Is the key one that both sides keep secret?
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self, Self::HmacSha256 | Self::HmacSm3)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
