//! What stands in `biz_content`: JSON whose amounts are yuan in text.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::answer::Answer;
use crate::beijing;

/// The network's own limit: 100,000,000 yuan.
const AMOUNT_MAX: i64 = 10_000_000_000;
/// A QR code lives two hours where nothing is said.
const LIFE: Duration = Duration::from_secs(2 * 3600);
const LIFE_MINUTES_MAX: u64 = 15 * 24 * 60;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Biz(Map<String, Value>);

impl Biz {
    pub(super) fn read(json: &str) -> Result<Self, Answer> {
        match serde_json::from_str(json) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            _ => Err(Answer::parameter("biz_content")),
        }
    }

    /// A text of so many characters; numbers are taken for their text.
    pub(super) fn text(&self, name: &str, max: usize) -> Result<Option<String>, Answer> {
        let text = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => return Err(Answer::parameter(name)),
        };
        let good = text.chars().count() <= max && !text.contains(char::is_control);
        good.then_some(Some(text)).ok_or_else(|| Answer::parameter(name))
    }

    /// A number of the merchant's: letters, digits and `_`.
    pub(super) fn number(&self, name: &str) -> Result<Option<String>, Answer> {
        let number = self.text(name, 64)?;
        let good = |text: &String| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if number.as_ref().is_some_and(|text| !good(text)) {
            return Err(Answer::parameter(name));
        }
        Ok(number)
    }

    pub(super) fn required<T>(name: &str, value: Option<T>) -> Result<T, Answer> {
        value.ok_or_else(|| Answer::parameter(name))
    }

    /// An amount in yuan, as minor units.
    pub(super) fn amount(&self, name: &str) -> Result<i64, Answer> {
        let text = Self::required(name, self.text(name, 13)?)?;
        read_yuan(&text).ok_or_else(|| Answer::parameter(name))
    }

    /// Until when the payer may pay.
    pub(super) fn expires(&self) -> Result<Timestamp, Answer> {
        if let Some(text) = self.text("time_expire", 32)? {
            let until = beijing::read_spaced(&text).ok_or_else(|| Answer::parameter("time_expire"))?;
            if until <= Timestamp::now() {
                let code = "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR";
                return Err(Answer::business(code, "当前时间已超过允许支付的时间"));
            }
            return Ok(until);
        }
        let life = match self.text("timeout_express", 6)? {
            Some(text) => read_life(&text).ok_or_else(|| Answer::parameter("timeout_express"))?,
            None => LIFE,
        };
        Ok(Timestamp::now().checked_add(life).unwrap_or(Timestamp::MAX))
    }
}

/// `12`, `12.3` or `12.34` yuan, from one cent up.
pub(super) fn read_yuan(text: &str) -> Option<i64> {
    let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(cents) || cents.len() > 2 || whole.len() > 9 {
        return None;
    }
    let cents =
        if cents.len() == 1 { cents.parse::<i64>().ok()?.checked_mul(10)? } else { cents.parse().ok()? };
    let minor = whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(cents)?;
    (1..=AMOUNT_MAX).contains(&minor).then_some(minor)
}

/// Yuan with two decimals.
pub(super) fn yuan(minor: i64) -> String {
    format!("{}.{:02}", minor.div_euclid(100), minor.rem_euclid(100))
}

/// `30m`, `2h`, `1d`, or `1c`: to the end of the day, a day here.
fn read_life(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let minutes: u64 = match unit {
        "m" => 1,
        "h" => 60,
        "d" | "c" => 24 * 60,
        _ => return None,
    };
    let plain = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    let minutes = count.parse::<u64>().ok().filter(|_| plain)?.checked_mul(minutes)?;
    (1..=LIFE_MINUTES_MAX).contains(&minutes).then(|| Duration::from_secs(minutes.saturating_mul(60)))
}
