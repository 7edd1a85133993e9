use proptest::prelude::*;

use super::super::answer::{find, verified};
use super::{body, signing, verifying};
use crate::channel::rsa::VerifyingKey;

const CREATE: &str = "alipay_trade_create_response";
const NODE: &str = "{\"code\":\"10000\",\"msg\":\"Success\"}";

fn cut(body: &str) -> Option<String> {
    let (node, signature) = find(body.as_bytes(), CREATE)?;
    (signature == "S==").then(|| String::from_utf8(node.to_vec()).unwrap())
}

/// AlipaySignatureTest of alipay-sdk-java-all: what its network's nodes may look like.
#[test]
fn a_node_is_cut_out_as_it_came() {
    let nodes = [
        NODE,
        r#"{"code":"10000","nested":{"a":1,"b":"2","array":["1","2","3"]},"out_trade_no":"2015"}"#,
        r#"{"out_{trade}_{no}":"201{5}0320010101001{}"}"#,
        r#"{"co{de":"100}00","ms}g":"Suc}cess","ne{sted":{"a":1,"array":["{1"]},"trade_no}":"20{1"}"#,
        r#"{"msg":"Suc\"}cess","array":["\"{1"],"{no}":"201{5\"}","trade_no}":"20\"19062{3"}"#,
        r#"{"code":"10000\\",   "\\out_trade_no\\": "\\\\2015\\\\",   "trade_no": "2019"   }"#,
        r#"{"code":"10000","alipay_trade_create_response":"test","sign":"other","error_response":1}"#,
        r#"{"qr_code":"https:\/\/qr.alipay.com\/bav","u":"\u5927 \ud83d\ude00"}"#,
        r#""eyJjb2RlIjoiMTAwMDAifQ==""#,
    ];
    for node in nodes {
        let body = format!("{{\"{CREATE}\":{node},\"sign\":\"S==\"}}");
        assert_eq!(cut(&body).as_deref(), Some(node));
        let spaced = format!(" {{ \"sign\" : \"S==\" , \"{CREATE}\"  :   {node}  , \"x\":[1] }}\n");
        assert_eq!(cut(&spaced).as_deref(), Some(node));
        let refused = format!("{{\"error_response\":{node},\"sign\":\"S==\"}}");
        assert_eq!(cut(&refused).as_deref(), Some(node));
    }
}

#[test]
fn an_answer_has_one_node_and_one_signature() {
    let (node, sign) = (format!("\"{CREATE}\":{NODE}"), "\"sign\":\"S==\"");
    let forged = format!("\"{CREATE}\":{{\"code\":\"10000\",\"forged\":1}}");
    let bodies = [
        // should_get_exception_when_has_duplication_response_node of JsonConverterTest.
        format!("{{{node},{forged},{sign}}}"),
        format!("{{{forged},{node},{sign}}}"),
        format!("{{{node},\"error_response\":{NODE},{sign}}}"),
        format!("{{{node},{sign},{sign}}}"),
        format!("{{{node}}}"),
        format!("{{{sign}}}"),
        format!("{{{node},\"sign\":7}}"),
        format!("{{{node},\"sign\":null}}"),
        format!("{{\"alipay_trade_query_response\":{NODE},{sign}}}"),
        format!("{{{node},{sign}"),
        format!("{{{node},{sign}}} {{}}"),
        format!("{{{node},{sign},}}"),
        format!("{{{node}{sign}}}"),
        format!("[{{{node},{sign}}}]"),
        format!("{{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,{node},{sign}}}"),
        "<html>".to_owned(),
        String::new(),
    ];
    for body in bodies {
        assert_eq!(cut(&body), None, "{body}");
    }
    // Escaped, a name is the same name.
    let escaped = format!("{{{node},\"alipay_trade_create_\\u0072esponse\":{NODE},{sign}}}");
    assert_eq!(cut(&escaped), None);
}

#[test]
fn only_what_the_network_signed_is_read() {
    let good = body(CREATE, NODE);
    assert_eq!(verified(good.as_bytes(), "alipay.trade.create", verifying()).unwrap(), NODE.as_bytes());
    assert!(verified(good.as_bytes(), "alipay.trade.query", verifying()).is_none());
    for end in 0..good.len() {
        assert!(verified(&good.as_bytes()[..end], "alipay.trade.create", verifying()).is_none());
    }
    let other = good.replace("Success", "success");
    assert!(verified(other.as_bytes(), "alipay.trade.create", verifying()).is_none());
    for odd in ["[\"10000\"]", "[]", "\"e30=\"", "1", "null"] {
        let answer = body(CREATE, odd);
        assert!(verified(answer.as_bytes(), "alipay.trade.create", verifying()).is_none(), "{odd}");
    }
    // A number's own text, not what it stands for.
    let signature = signing().sign(b"{\"code\":\"10000\",\"a\":1.0}").unwrap();
    let body = format!("{{\"{CREATE}\":{{\"code\":\"10000\",\"a\":1}},\"sign\":\"{signature}\"}}");
    assert!(verified(body.as_bytes(), "alipay.trade.create", verifying()).is_none());
}

/// Made with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out t.key`,
/// `openssl pkey -in t.key -pubout`, `printf '%s' "$NODE" | openssl dgst -sha256 -sign t.key | base64 -w0`.
#[test]
fn slashes_may_be_signed_before_or_after_they_are_escaped() {
    const KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAo5EQRmIK2zjL5DQVbikT
Fo/XqQMWA8HXM/BWBGFaIglqS/NQwomqHb9BrcMoy1t168SMDgOrOtFhgJx3tJ/2
f7Ac60TjzLmk4rXsTUk85LpUR5UOPyyUNK4KhFw718VnU5bLRk/gK2mTp/aAuAfh
aDzJYBjVAtRtUlrPUxvxSmIeFb7hmSz8rtRcp6ApPyFxIJ9vcm+Bpfj14ciq2ij4
2opU6pdS/07ZGZhOzeiru8blXGakb9NiMXDntyPErJmvQMWGMqIqXN/hWHIP2Kh6
hftKzhsrmUs88zNwKmEcMq+C3La9lbXLZgmJInm0/MqQXt3LN7pRVh5bRuHOenUp
lwIDAQAB
-----END PUBLIC KEY-----
";
    const OVER_ESCAPED: &str = "OjX1+M3PqLcXwmihctF+cltBQ1XnvL0Tab/jJKYPJ2ube6hO2WT3YkYvkvm5B/7lQR46WZx7C8fFIj0kpn3JATsFtnlJvWd+Qd8hUlWvp+stXk5UbMHTkrAskONy+A1VIZPLPQlk19Ogk+VbcI9+m+FOelO4jNWAv0QWRtqtM+5A8QFKg+YNG+BBfVDTg3J4iKXua1VzP7KBYsev2hafCMgKeMFSAkDtieGRsHQyzpY7jatIeZ72uNpG2+mmI4tZfedBYiSMnjPPrtmql1uvD4BxWwcdNsWIMatPyAUpwnC0EUPSatZw1dGdwqHIlpLHIJx9ax6HV4mjYzXgCJ8c5w==";
    const OVER_PLAIN: &str = "ociqZ+4CLyhg8dFubo/f8LYBAYSVX/u3AmUQyFqjbdifhVrQne4zcQBMiTGFLU26QAOnDTDjspGJGAhZOJPrfyZU8eLjDFXXfkWXvR/T++lD+QG2Z01IcgJNTTFj6qOWOQv7JCOS+brkvs2Nftcsut/HdfYclVFktDtYx20n4yLTakXnfr7UCSs+BrBnNlwyaNC7y1gFPz0AP0oF93vMe0OOoh0u25Y+Rc0lSi3ee9mpCkHRk5mJBBJ/pUezlk0tNfOQ2BZRCr+uW6mU2FDX7ur4H3t1+PgiE9U5UOBIGDhI7ObykaR3siLsnXqOER7AoGAtNAzJBb/Gd2+QIrD8fA==";
    let key = VerifyingKey::from_pem(KEY.as_bytes()).unwrap();
    let plain = r#"{"code":"10000","msg":"Success","out_trade_no":"6823789339978248","qr_code":"https://qr.alipay.com/bavh4wjlxf12tper3a"}"#;
    let escaped = plain.replace('/', "\\/");
    let read = |node: &str, signature: &str| {
        let body = format!("{{\"alipay_trade_precreate_response\":{node},\"sign\":\"{signature}\"}}");
        let text = verified(body.as_bytes(), "alipay.trade.precreate", &key)?;
        Some(String::from_utf8(text.into_owned()).unwrap())
    };
    assert_eq!(read(&escaped, OVER_ESCAPED).unwrap(), escaped);
    assert_eq!(read(&escaped, OVER_PLAIN).unwrap(), plain);
    assert_eq!(read(plain, OVER_PLAIN).unwrap(), plain);
    assert_eq!(read(plain, OVER_ESCAPED), None);
    assert_eq!(read(&escaped.replace("bavh", "bavH"), OVER_PLAIN), None);
}

proptest! {
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\":,a-z_\\\\ ]{0,60}") {
        let _ = (find(&bytes, CREATE), find(text.as_bytes(), CREATE));
        let wrapped = format!("{{\"{CREATE}\":{text},\"sign\":\"S==\"}}");
        let _ = verified(wrapped.as_bytes(), "alipay.trade.create", verifying());
    }

    #[test]
    fn no_changed_byte_verifies(place in any::<proptest::sample::Index>(), bit in 0..8u8) {
        static GOOD: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let good = GOOD.get_or_init(|| body(CREATE, NODE));
        let mut other = good.clone().into_bytes();
        let place = place.index(other.len());
        other[place] ^= 1 << bit;
        let read = verified(&other, "alipay.trade.create", verifying());
        prop_assert!(read.is_none_or(|text| *text == *NODE.as_bytes()));
    }
}
