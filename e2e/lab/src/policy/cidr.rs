//! An IPv4 address range in prefix notation.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use snafu::{OptionExt, ResultExt, Snafu, ensure};

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("{text:?} has no prefix length"))]
    NoPrefix { text: String },
    #[snafu(display("the address of {text:?} is not IPv4"))]
    Address { text: String, source: std::net::AddrParseError },
    #[snafu(display("the prefix length of {text:?} is not a number"))]
    Prefix { text: String, source: std::num::ParseIntError },
    #[snafu(display("the prefix length of {text:?} is above 32"))]
    PrefixTooLong { text: String },
}

/// A range of IPv4 addresses; the bits after the prefix are always zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    network: Ipv4Addr,
    prefix: u8,
}

impl Cidr {
    /// The range of `prefix` bits around an address; `None` above 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        let network = Ipv4Addr::from(u32::from(address) & mask(prefix)?);
        Some(Self { network, prefix })
    }

    /// Whether the range holds the address.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        mask(self.prefix).is_some_and(|mask| u32::from(address) & mask == u32::from(self.network))
    }

    /// Whether the range holds every address.
    pub fn is_everything(self) -> bool {
        self.prefix == 0
    }
}

fn mask(prefix: u8) -> Option<u32> {
    let host_bits = 32u32.checked_sub(u32::from(prefix))?;
    Some(u32::MAX.checked_shl(host_bits).unwrap_or(0))
}

impl FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (address, prefix) = text.split_once('/').context(NoPrefixSnafu { text })?;
        let address: Ipv4Addr = address.parse().context(AddressSnafu { text })?;
        let prefix: u8 = prefix.parse().context(PrefixSnafu { text })?;
        ensure!(prefix <= 32, PrefixTooLongSnafu { text });
        Self::new(address, prefix).context(PrefixTooLongSnafu { text })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_after_the_prefix_do_not_matter() {
        let range: Cidr = "10.1.2.3/16".parse().unwrap();
        assert_eq!(range.to_string(), "10.1.0.0/16");
        assert!(range.contains(Ipv4Addr::new(10, 1, 255, 255)));
        assert!(!range.contains(Ipv4Addr::new(10, 2, 0, 0)));
    }

    #[test]
    fn the_widest_and_the_narrowest_range() {
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all.is_everything() && all.contains(Ipv4Addr::BROADCAST));
        let one: Cidr = "10.0.0.1/32".parse().unwrap();
        assert!(one.contains(Ipv4Addr::new(10, 0, 0, 1)) && !one.contains(Ipv4Addr::new(10, 0, 0, 2)));
    }

    #[test]
    fn what_is_not_ipv4_is_refused() {
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/x", "fd00::/8"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
