//! What an order says. Field lengths are those of the network's pages.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::answer::Answer;
use crate::beijing;
use crate::details::Details;
use crate::sandbox::is_https;

/// An end earlier than this after the order is put off to it.
const PAY_TIME_MIN: Duration = Duration::from_secs(60);
/// The network's own limit: 100,000,000 yuan.
const TOTAL_MAX: i64 = 10_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Native,
    Jsapi,
}

impl Kind {
    pub(super) fn trade_type(self) -> &'static str {
        match self {
            Self::Native => "NATIVE",
            Self::Jsapi => "JSAPI",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    pub(super) appid: String,
    pub(super) mchid: String,
    description: String,
    pub(super) out_trade_no: String,
    time_expire: Option<String>,
    attach: Option<String>,
    notify_url: String,
    goods_tag: Option<String>,
    pub(super) amount: Total,
    payer: Option<Payer>,
    // Those below are taken and have no effect here.
    #[serde(default)]
    support_fapiao: Option<bool>,
    #[serde(default)]
    detail: Option<Ignored>,
    #[serde(default)]
    scene_info: Option<Ignored>,
    #[serde(default)]
    settle_info: Option<Ignored>,
}

/// Any JSON; equal to any other.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Ignored(IgnoredAny);

impl PartialEq for Ignored {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Ignored {}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Total {
    pub(super) total: i64,
    currency: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payer {
    openid: String,
}

/// Reads a body of JSON.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|error| Answer::parameter("/body", &format!("映射失败: {error}")))
}

/// A number of the merchant's: letters, digits and a few signs.
pub(super) fn is_number(text: &str, lengths: std::ops::RangeInclusive<usize>, signs: &[u8]) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || signs.contains(&b))
}

fn chars(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.chars().count()) && !text.contains(char::is_control)
}

impl Body {
    pub(super) fn check(&self, kind: Kind) -> Result<(), Answer> {
        let fields = [
            ("/appid", chars(&self.appid, 32)),
            ("/mchid", chars(&self.mchid, 32)),
            ("/description", chars(&self.description, 127)),
            ("/out_trade_no", is_number(&self.out_trade_no, 6..=32, b"_-|*")),
            ("/attach", self.attach.as_ref().is_none_or(|text| chars(text, 128))),
            ("/notify_url", is_https(&self.notify_url, 255) && !self.notify_url.contains('?')),
            ("/goods_tag", self.goods_tag.as_ref().is_none_or(|text| chars(text, 32))),
            ("/amount/total", (1..=TOTAL_MAX).contains(&self.amount.total)),
            ("/amount/currency", self.amount.currency.as_ref().is_none_or(|currency| currency == "CNY")),
            ("/payer/openid", kind == Kind::Native || self.payer.is_some()),
            ("/payer", kind == Kind::Jsapi || self.payer.is_none()),
            ("/payer/openid", self.payer.as_ref().is_none_or(|payer| chars(&payer.openid, 128))),
        ];
        match fields.iter().find(|(_, good)| !good) {
            Some((field, _)) => Err(Answer::parameter(field, "的值不符合要求")),
            None => Ok(()),
        }
    }

    /// Until when the payer may pay, where the merchant says so.
    pub(super) fn expires(&self) -> Result<Option<Timestamp>, Answer> {
        let Some(text) = &self.time_expire else { return Ok(None) };
        let until = beijing::read_rfc3339(text);
        let until = until.ok_or_else(|| Answer::parameter("/time_expire", "的格式不是rfc3339"))?;
        let now = Timestamp::now();
        if until <= now {
            return Err(Answer::parameter("/time_expire", "早于当前时间"));
        }
        Ok(Some(now.checked_add(PAY_TIME_MIN).map_or(until, |soonest| until.max(soonest))))
    }

    pub(super) fn asked(&self, kind: Kind) -> Details {
        Details::default()
            .with("appid", &self.appid)
            .with("trade_type", kind.trade_type())
            .with("description", &self.description)
            .with("notify_url", &self.notify_url)
            .with_some("time_expire", self.time_expire.as_deref())
            .with_some("attach", self.attach.as_deref())
            .with_some("goods_tag", self.goods_tag.as_deref())
            .with_some("openid", self.payer.as_ref().map(|payer| payer.openid.as_str()))
    }
}
