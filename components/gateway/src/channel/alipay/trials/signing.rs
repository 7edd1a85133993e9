use proptest::prelude::*;

use super::super::sign::{of_notification, of_request};
use super::{signing, verifying};
use crate::channel::rsa::VerifyingKey;

/// The key of the app certificate that alipay-sdk-java-all tests with
/// (v2/src/test/resources/fixture/appCertPublicKey_2021003126695331.crt).
const SDK_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAjF+gZ86+u9GriNBL3cmr
x7CG3mgsgS6ydJLjzAyACRfBunB3VadxsDhtIJ0t8DQcaDVCkvkL5IOozuSC/B9i
Bw8YtadTLVRGkD9f1+RrcyvXR7/qU2M88RhGvj/DCgFHkYZa7hVYn+r+jhpQ2Y9K
7owVL3/YEO/cxZvV8R05uMw7zZwAaJlPn6JBXYP8HXWAQLp2A4NGKAh6mPELKNcb
9J+P82GvrNf0Km3dj7ELAx349ral+qD1DCEbC3C2g+MHw/++ZEt9EkqR9nWi2YE/
z5B0LKXstUDRiCPQe8Heb6pXdkWhK76L+OP9iZZAGHGS262ZgOuvZMo+jDFM1at6
4wIDAQAB
-----END PUBLIC KEY-----
";

/// RSACheckTest of alipay-sdk-java-all, sign_type RSA2 and charset utf-8.
#[test]
fn the_sdk_s_signatures_verify() {
    let key = VerifyingKey::from_pem(SDK_KEY.as_bytes()).unwrap();
    let method = ("method", "koubei.marketing.data.indicator.query");
    let (app_id, sign_type) = (("app_id", "2019090366875133"), ("sign_type", "RSA2"));
    let plain = "NQHIJKRCoCJCUXqzzK8WUtA/58m4/e3NGLutUFxFUD8udlauzRCgCINxDqs3atXrJ8KeSxpf8IU8nrnK7qzCQiYdj2XjfkXDrZllPEXlrelHitj9qpPqMXlAbP1HArNlBTpaGmq6hwvf/W50O/8kOjPEpmdpFcYZrlR/aA3uwdiOXHGNfd6p2wA7JjHiLQtPXGVm2oLLp+HDEtdhqxs66Br4bTQZPrQNKJrhqRcqwTzA5ZyDMQK724ECTYBI/+8PEvFCpi4Ny6piO78clFE/bSAuKCdhbivBzWDYkvmQymq0M86W3usljVENbnOyBatl7/y4f7S53Ht/yBmO/f+gYg==";
    let text = of_request([method, app_id, sign_type, ("left_out", "")]).unwrap();
    assert!(key.verifies(text.as_bytes(), plain));
    let utf8 = "LhPRG5h6xo8Pk1tFIbiCt2S81S3jvDs5is9yO8uH87kVY0vpnOuxGgauKim9SnFGGxGmhQY4TJSrASlW6NsML2qIaxqsSFTNVUbct7MgdBBKqkoORNOq1gpLIymyI+G88qDaodOXkEAtUNYm4I6r1wkJVvdumrmRoHg8GcLpP//3J3hNELIJB2SC5SJ2pe4als+Psmjpd5xyK/qgDXf2qTmBooA0z673xqxjtd8H1FBlUCnGmTG3ClnGatmfjxIL0HF+PLyrmqzDO8UOjod0Kh2SwxH7zQikhr4VUihQ04MrP08nsGKjIPvZFAZiW7dnchVr4I/Tid0cbuthjmoWyw==";
    let extra = ("extra", "\u{4e2d}\u{6587}\u{6d4b}\u{8bd5}");
    let text = of_request([sign_type, extra, method, app_id]).unwrap();
    assert!(key.verifies(text.as_bytes(), utf8));
    assert!(!key.verifies(text.as_bytes(), plain));
}

#[test]
fn names_are_sorted_and_nothing_is_escaped() {
    // A name that another one begins with comes first, also where the joined texts would not.
    let params = [("a-b", "3"), ("ab", "4"), ("a", "1&2=3+4%20"), ("B", "\u{5927}"), ("empty", "")];
    assert_eq!(of_request(params).unwrap(), "B=\u{5927}&a=1&2=3+4%20&a-b=3&ab=4");
    assert_eq!(of_request([]).unwrap(), "");
    for odd in [
        [("a", "1"), ("a", "1")],
        [("a", "1"), ("", "2")],
        [("a", "1"), ("b=2&c", "3")],
        [("a", "1"), ("b\u{e4}", "3")],
    ] {
        assert!(of_request(odd).is_none(), "{odd:?}");
    }
}

#[test]
fn a_notification_is_signed_without_the_signature() {
    let params = [("sign", "x"), ("sign_type", "RSA2"), ("b", "2"), ("a", ""), ("signed", "y")];
    assert_eq!(of_notification(params, false).unwrap(), "b=2&signed=y");
    assert_eq!(of_notification(params, true).unwrap(), "a=&b=2&signed=y");
    assert_eq!(of_request(params).unwrap(), "b=2&sign=x&sign_type=RSA2&signed=y");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_signed_verifies_and_no_change_of_it(
        params in proptest::collection::btree_map("[a-z_]{1,12}", "[^&]{1,20}", 1..8),
        place in any::<proptest::sample::Index>(),
        bit in 0..8u8,
    ) {
        let text = of_request(params.iter().map(|(n, v)| (n.as_str(), v.as_str()))).unwrap();
        let signature = signing().sign(text.as_bytes()).unwrap();
        prop_assert!(verifying().verifies(text.as_bytes(), &signature));
        let mut other = text.into_bytes();
        let place = place.index(other.len());
        other[place] ^= 1 << bit;
        prop_assert!(!verifying().verifies(&other, &signature));
    }
}
