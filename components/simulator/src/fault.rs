//! Faults on request: the last four digits of an amount choose one, so that a
//! caller can provoke each without a side channel.

/// What goes wrong with a pay or a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The network declines.
    Decline,
    /// Processing at first, Succeeded after two seconds.
    Asynchronous,
    /// No effect and no answer.
    SilentBefore,
    /// The effect, and no answer.
    SilentAfter,
    /// HTTP 500 without effect.
    ServerError,
    /// The effect, and an answer whose signature does not verify.
    WrongSignature,
    /// The effect, and an answer after a second.
    Slow,
}

const LAST_DIGITS: i64 = 10_000;

impl Fault {
    /// The fault that an amount asks for.
    #[must_use]
    pub fn of(amount_minor: i64) -> Option<Self> {
        match amount_minor.checked_rem(LAST_DIGITS)? {
            9001 => Some(Self::Decline),
            9002 => Some(Self::Asynchronous),
            9003 => Some(Self::SilentBefore),
            9004 => Some(Self::SilentAfter),
            9005 => Some(Self::ServerError),
            9006 => Some(Self::WrongSignature),
            9007 => Some(Self::Slow),
            _ => None,
        }
    }

    /// Does the request fail before it is booked?
    #[must_use]
    pub fn is_before_effect(self) -> bool {
        matches!(self, Self::SilentBefore | Self::ServerError)
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn only_the_last_four_digits_count() {
        assert_eq!(Fault::of(9001), Some(Fault::Decline));
        assert_eq!(Fault::of(123_459_007), Some(Fault::Slow));
        for harmless in [1, 900, 9000, 9008, 90_010, 10_000] {
            assert_eq!(Fault::of(harmless), None, "{harmless}");
        }
    }
}
