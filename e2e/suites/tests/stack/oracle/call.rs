//! What an exchange was about.

use serde_json::Value;

/// The name of a call: the address of WeChat Pay's and of a bank's, the method of Alipay's, type and subtype
/// of UnionPay's.
pub(super) fn name(exchange: &Value) -> String {
    let text = |name: &str| exchange[name].as_str().unwrap_or_default();
    let (target, body) = (text("target"), text("body"));
    match text("network") {
        "WechatPay" => {
            let path = target.split('?').next().unwrap_or_default();
            // Our numbers are the only long parts, and the only ones with digits behind `v3`.
            let part = |part: &str| if is_number(part) { "*".to_owned() } else { part.to_owned() };
            let parts: Vec<_> = path.split('/').map(part).collect();
            format!("{} {}", text("method"), parts.join("/"))
        }
        "Alipay" => field(target, "method"),
        "BankDirect" => target.to_owned(),
        _ => format!("unionpay {}/{}", field(body, "txnType"), field(body, "txnSubType")),
    }
}

fn is_number(part: &str) -> bool {
    part != "v3" && part.bytes().any(|byte| byte.is_ascii_digit())
}

/// A field of a form whose value needs no escape.
fn field(form: &str, name: &str) -> String {
    let fields = form.split(['?', '&']).filter_map(|field| field.split_once('='));
    let found = fields.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.to_owned()).unwrap_or_default()
}
