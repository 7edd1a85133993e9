use serde_json::{Value, json};

use super::*;

fn exchange(traffic: &Arc<Traffic>, body: &[u8]) -> Exchange {
    let headers = HeaderMap::from_iter([("a".parse().unwrap(), "1".parse().unwrap())]);
    let what = ("POST", "/gateway.do?a=1");
    Exchange::new(traffic, ("request", NetworkName::Alipay), what, Said::new(&headers, body))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_exchange_is_a_line_with_or_without_an_answer() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let traffic = Traffic::create(file.path()).unwrap();
    // The caller went away.
    drop(exchange(&traffic, "\u{94f6}".as_bytes()));
    exchange(&traffic, b"\xff").answered(StatusCode::OK, &HeaderMap::new(), b"success");
    let common = json!({"direction": "request", "network": "Alipay", "method": "POST",
        "target": "/gateway.do?a=1", "headers": [["a", "1"]]});
    let with = |more: Value| {
        let mut all = common.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let answer = json!({"status": 200, "headers": [], "body": "success"});
    let expected = [
        with(json!({"body": "\u{94f6}", "answer": null})),
        with(json!({"bodyBase64": "/w==", "answer": answer})),
    ];
    assert_eq!(lines(file.path()), expected);
}

#[test]
fn a_full_record_ends_with_a_whole_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let traffic = Traffic::bounded(file.path(), 400).unwrap();
    for body in [&b"1"[..], &[b'2'; 400], b"3"] {
        drop(exchange(&traffic, body));
    }
    // What comes after a gap would look like all there was.
    let bodies: Vec<_> = lines(file.path()).iter().map(|line| line["body"].clone()).collect();
    assert_eq!(bodies, ["1"]);
}
