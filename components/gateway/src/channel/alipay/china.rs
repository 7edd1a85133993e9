//! Times as Alipay writes them: in China's time, in seconds.

use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::channel::china::zone;

/// What was cut off makes it no later: an expiry is not put off.
pub(super) fn text(at: Timestamp) -> String {
    at.to_zoned(zone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `gmt_refund` has a fraction, the others have none.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let local = DateTime::strptime("%Y-%m-%d %H:%M:%S%.f", text).ok()?;
    Some(local.to_zoned(zone()).ok()?.timestamp())
}
