//! Fees by the day of the order.

use super::*;

fn dated() -> ChannelSettings {
    let rule = |basis_points: i64| json!({"currency": "CNY", "basisPoints": basis_points, "fixedMinor": 0});
    let mut fee = rule(100);
    fee["changes"] = json!([
        {"from": "2027-02-01", "basisPoints": 300, "fixedMinor": 0},
        {"from": "2027-01-01", "basisPoints": 200, "fixedMinor": 5, "maxMinor": 20},
    ]);
    channel("sim", &json!({"fees": [fee]}))
}

#[test]
fn a_fee_changes_on_its_day_and_an_order_keeps_its_own() {
    for (on, amount, fee, since) in [
        (Date::constant(2026, 12, 31), 1_000, 10, None),
        (Date::constant(2027, 1, 1), 500, 15, Some("2027-01-01")),
        (Date::constant(2027, 1, 31), 1_000, 20, Some("2027-01-01")),
        (Date::constant(2027, 2, 1), 1_000, 30, Some("2027-02-01")),
        (Date::constant(2030, 1, 1), 1_000, 30, Some("2027-02-01")),
    ] {
        let decided = chosen(vec![dated()], &Asked { on, ..asked(1, amount) });
        assert_eq!(decided[0].fee_minor, fee, "{on}");
        let said = &decided[0].explanation["candidates"][0];
        assert_eq!(said.get("feeSince").and_then(Value::as_str), since, "{said}");
        // Decided again, however much later, by newer settings.
        let again = decide_again(&settings(vec![dated()]), "sim", ("card", cny(amount), on), 7);
        assert_eq!(again.fee_minor, fee, "{on}");
    }
}

#[test]
fn a_cost_changes_on_its_day_as_well() {
    let changes = json!([{"from": "2027-01-01", "basisPoints": 500, "fixedMinor": 0}]);
    let costs = json!([{"currency": "CNY", "basisPoints": 0, "fixedMinor": 0, "changes": changes}]);
    let channels = || vec![channel("dated", &json!({"costs": costs})), channel("steady", &json!({}))];
    for (on, first) in [(Date::constant(2026, 12, 31), "dated"), (Date::constant(2027, 1, 1), "steady")] {
        assert_eq!(names(&chosen(channels(), &Asked { on, ..asked(1, 10_000) }))[0], first, "{on}");
    }
}
