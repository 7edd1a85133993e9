//! Who calls: the `Authorization` header signs the method, the address, a time,
//! a nonce and the body, each ended by a newline.

use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode, header};
use jiff::Timestamp;

use super::Caller;
use super::answer::Answer;
use crate::networks::Wechat;

const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// How far a request's clock may be from ours.
const WINDOW_SECONDS: u64 = 300;
const NONCE_LENGTH_MAX: usize = 64;
const SERIAL: HeaderName = HeaderName::from_static("wechatpay-serial");

/// The parts of an `Authorization` header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Authorization {
    pub(super) mchid: String,
    pub(super) nonce: String,
    pub(super) signature: String,
    pub(super) timestamp: String,
    pub(super) serial: String,
}

impl Authorization {
    /// Reads `WECHATPAY2-SHA256-RSA2048 mchid="..",nonce_str="..",...`: the five
    /// parts in any order, each once.
    pub(super) fn read(header: &str) -> Option<Self> {
        let mut parts = header.strip_prefix(SCHEME)?.strip_prefix(' ')?;
        let mut read = Self::default();
        loop {
            let (name, rest) = parts.trim_start_matches(' ').split_once("=\"")?;
            let (value, rest) = rest.split_once('"')?;
            let slot = match name {
                "mchid" => &mut read.mchid,
                "nonce_str" => &mut read.nonce,
                "signature" => &mut read.signature,
                "timestamp" => &mut read.timestamp,
                "serial_no" => &mut read.serial,
                _ => return None,
            };
            if value.is_empty() || !slot.is_empty() {
                return None;
            }
            value.clone_into(slot);
            match rest.strip_prefix(',') {
                Some(rest) => parts = rest,
                None if rest.is_empty() => break,
                None => return None,
            }
        }
        let all = [&read.mchid, &read.nonce, &read.signature, &read.timestamp, &read.serial];
        all.iter().all(|part| !part.is_empty()).then_some(read)
    }
}

/// Verifies who sent exactly these bytes.
pub(super) fn verify<'a>(parts: &Parts, body: &[u8], wechat: &'a Wechat) -> Result<Caller<'a>, Answer> {
    let malformed =
        || Answer::sign_error("Http头Authorization值格式错误，请参考《微信支付商户REST API签名规则》");
    let value = one(&parts.headers, header::AUTHORIZATION).ok_or_else(malformed)?;
    let sent = Authorization::read(value).ok_or_else(malformed)?;
    // One spelling only: the signed text is the header's, the check is the number's.
    let seconds: i64 = sent.timestamp.parse().map_err(|_| malformed())?;
    if seconds.to_string() != sent.timestamp || sent.nonce.len() > NONCE_LENGTH_MAX {
        return Err(malformed());
    }
    if Timestamp::now().as_second().abs_diff(seconds) > WINDOW_SECONDS {
        return Err(Answer::sign_error("Http头Authorization中的timestamp与发起请求的时间不得超过5分钟"));
    }
    let merchant = wechat.merchants.get(&sent.mchid);
    let merchant = merchant.ok_or_else(|| Answer::sign_error("商户号不存在，请检查mchid"))?;
    let key = merchant.keys.get(&sent.serial);
    let key = key.ok_or_else(|| Answer::sign_error("商户证书序列号有误。请使用签名私钥匹配的证书序列号"))?;
    let address = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let head = format!("{}\n{address}\n{}\n{}\n", parts.method, sent.timestamp, sent.nonce);
    let text = [head.as_bytes(), body, b"\n"].concat();
    if !key.verifies(&text, &sent.signature) {
        return Err(Answer::sign_error("错误的签名，验签失败"));
    }
    Ok(Caller { mchid: sent.mchid, merchant })
}

/// The other headers that the network insists on.
pub(super) fn check_headers(parts: &Parts, wechat: &Wechat) -> Result<(), Answer> {
    let text = |name| one(&parts.headers, name).unwrap_or_default().to_ascii_lowercase();
    let accept = text(header::ACCEPT);
    if !accept.split(',').any(|kind| matches!(media(kind), "application/json" | "*/*")) {
        return Err(Answer::invalid(StatusCode::NOT_ACCEPTABLE, "Http头Accept必须包含application/json"));
    }
    let is_post = parts.method == http::Method::POST;
    if is_post && media(&text(header::CONTENT_TYPE)) != "application/json" {
        let message = "Http头Content-Type必须是application/json";
        return Err(Answer::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    if text(header::USER_AGENT).is_empty() {
        return Err(Answer::invalid(StatusCode::BAD_REQUEST, "Http头缺少User-Agent"));
    }
    match parts.headers.contains_key(&SERIAL) {
        true if one(&parts.headers, SERIAL) != Some(&wechat.key_id) => {
            Err(Answer::parameter("Wechatpay-Serial", "不是微信支付公钥ID"))
        }
        _ => Ok(()),
    }
}

/// A media type without its parameters.
fn media(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

fn one(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
