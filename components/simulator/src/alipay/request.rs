//! A request: public parameters in the address or in the form, a signature over
//! all of them, and the business in `biz_content`.

use http::Method as Verb;
use http::request::Parts;

use super::answer::Answer;
use crate::beijing;
use crate::form::{Fields, read_into, signed_text};
use crate::networks::Alipay;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Precreate,
    Query,
    Close,
    Cancel,
    Refund,
    RefundQuery,
}

impl Method {
    fn read(name: &str) -> Option<Self> {
        Some(match name {
            "alipay.trade.precreate" => Self::Precreate,
            "alipay.trade.query" => Self::Query,
            "alipay.trade.close" => Self::Close,
            "alipay.trade.cancel" => Self::Cancel,
            "alipay.trade.refund" => Self::Refund,
            "alipay.trade.fastpay.refund.query" => Self::RefundQuery,
            _ => return None,
        })
    }

    /// The name of the answer's node.
    pub(super) fn node(self) -> &'static str {
        match self {
            Self::Precreate => "alipay_trade_precreate_response",
            Self::Query => "alipay_trade_query_response",
            Self::Close => "alipay_trade_close_response",
            Self::Cancel => "alipay_trade_cancel_response",
            Self::Refund => "alipay_trade_refund_response",
            Self::RefundQuery => "alipay_trade_fastpay_refund_query_response",
        }
    }
}

/// A verified request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) app_id: String,
    pub(super) seller_id: String,
    pub(super) method: Method,
    pub(super) notify_url: Option<String>,
    pub(super) biz_content: String,
}

/// A request that is not looked at any further.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) node: String,
    pub(super) answer: Answer,
    /// Is the application known?
    pub(super) known: bool,
}

impl Call {
    pub(super) fn read(parts: &Parts, body: &[u8], alipay: &Alipay) -> Result<Self, Unread> {
        let fields = fields(parts, body).ok_or_else(|| Unread {
            node: "error_response".to_owned(),
            answer: Answer::invalid("isv.invalid-parameter", "参数无效"),
            known: false,
        })?;
        let text = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        let method = Method::read(text("method"));
        let node = method.map_or("error_response", Method::node).to_owned();
        let merchant = alipay.merchants.get(text("app_id"));
        let unread = |answer| Unread { node: node.clone(), answer, known: merchant.is_some() };
        for (name, code, message) in REQUIRED {
            if text(name).is_empty() {
                return Err(unread(Answer::missing(code, message)));
            }
        }
        let merchant =
            merchant.ok_or_else(|| unread(Answer::invalid("isv.invalid-app-id", "无效的AppID参数")))?;
        for (name, good, code, message) in CHECKED {
            if !good(text(name)) {
                return Err(unread(Answer::invalid(code, message)));
            }
        }
        if !merchant.key.verifies(signed_text(&fields, &["sign"]).as_bytes(), text("sign")) {
            return Err(unread(Answer::invalid("isv.invalid-signature", "无效签名")));
        }
        let method = method.ok_or_else(|| unread(Answer::invalid("isv.invalid-method", "不存在的方法名")))?;
        Ok(Self {
            app_id: text("app_id").to_owned(),
            seller_id: merchant.seller_id.clone(),
            method,
            notify_url: Some(text("notify_url")).filter(|url| !url.is_empty()).map(str::to_owned),
            biz_content: text("biz_content").to_owned(),
        })
    }
}

const REQUIRED: [(&str, &str, &str); 8] = [
    ("method", "isv.missing-method", "缺少方法名参数"),
    ("app_id", "isv.missing-app-id", "缺少AppID参数"),
    ("sign", "isv.missing-signature", "缺少签名参数"),
    ("sign_type", "isv.missing-signature-type", "缺少签名类型参数"),
    ("timestamp", "isv.missing-timestamp", "缺少时间戳参数"),
    ("version", "isv.missing-version", "缺少版本参数"),
    ("charset", "isv.missing-parameter", "缺少字符集参数"),
    ("biz_content", "isv.missing-parameter", "缺少业务参数"),
];

type Check = (&'static str, fn(&str) -> bool, &'static str, &'static str);

const CHECKED: [Check; 5] = [
    ("sign_type", |v| v == "RSA2", "isv.invalid-signature-type", "无效签名类型"),
    ("timestamp", |v| beijing::read_spaced(v).is_some(), "isv.invalid-timestamp", "非法的时间戳参数"),
    ("version", |v| v == "1.0", "isv.invalid-version", "非法的版本参数"),
    ("charset", |v| v.eq_ignore_ascii_case("utf-8"), "isv.invalid-charset", "字符集错误"),
    ("format", |v| v.is_empty() || v.eq_ignore_ascii_case("json"), "isv.invalid-format", "无效数据格式"),
];

/// The parameters of the address and of the form; each stands once.
fn fields(parts: &Parts, body: &[u8]) -> Option<Fields> {
    let mut fields = Fields::new();
    read_into(&mut fields, parts.uri.query().unwrap_or_default().as_bytes()).ok()?;
    if parts.method == Verb::POST && !body.is_empty() {
        let kind = parts.headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return None;
        }
        read_into(&mut fields, body).ok()?;
    }
    Some(fields)
}
