//! A top-up goes over channels that take some, and nobody pays a fee for it.

use super::*;

#[test]
fn who_takes_none_is_left_out_and_says_so() {
    let taking = |name: &str| ChannelSettings { client: Arc::new(Nobody(true)), ..channel(name, &json!({})) };
    let all = || vec![channel("none", &json!({"priority": 0})), taking("one"), taking("two")];
    let top_up = Asked { top_up: true, ..asked(1, 10_000) };
    let decided = chosen(all(), &top_up);
    assert_eq!(names(&decided), ["one", "two"]);
    assert!(decided.iter().all(|decision| decision.fee_minor == 0));
    let said = &decided[0].explanation["candidates"][0];
    assert_eq!(*said, json!({"channel": "none", "refused": "TopUpsMissing"}));
    assert!(chosen(vec![channel("none", &json!({}))], &top_up).is_empty());

    let plain = chosen(all(), &asked(1, 10_000));
    assert_eq!(names(&plain), ["none", "one", "two"]);
    assert!(plain.iter().all(|decision| decision.fee_minor == 50));
    let agreed = Asked { agreed: Some("none"), ..top_up };
    assert!(chosen(all(), &agreed).is_empty(), "not by an agreement, either");
}
