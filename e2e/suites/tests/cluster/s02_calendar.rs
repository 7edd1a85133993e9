//! Settlement dates follow the tenant's time zone, cut-off and calendar, are
//! stored with each payment, and change with an edit of the tenant.

use std::time::Duration;

use jiff::civil::{Date, Weekday};
use jiff::{ToSpan, Zoned};
use payplane_e2e::{books, env, kubectl, merchant::App, tenant};
use serde_json::{Value, json};

use crate::s03_payments::ready;

/// The tenant's local time, never within minutes of midnight, when two dates could be right.
pub(crate) fn local(zone: &str) -> Zoned {
    loop {
        let now = now(zone);
        let minute = i32::from(now.hour()) * 60 + i32::from(now.minute());
        if (2..24 * 60 - 3).contains(&minute) {
            return now;
        }
        std::thread::sleep(Duration::from_secs(10));
    }
}

fn now(zone: &str) -> Zoned {
    Zoned::now().in_tz(zone).expect("the zone is known")
}

fn is_weekend(date: Date) -> bool {
    matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// The first Monday to Friday after a date.
fn next_weekday(date: Date) -> Date {
    (1..8).map(|ahead| date + ahead.days()).find(|day| !is_weekend(*day)).expect("a week has weekdays")
}

/// Edits the tenant, waits until the edit is in force, pays, and gives back the
/// settlement date that PostgreSQL holds.
fn settles(app: &App, name: &str, spec: Value) -> Date {
    kubectl::patch(&["ptn", &app.tenant], &json!({"spec": spec})).expect("accepted");
    tenant::await_condition(&["ptn", &app.tenant], "Ready", "True", Duration::from_secs(60));
    let order = format!("{name}-{}", env::seed());
    let paid = app.pay(&order, 100, "CNY").expect("paid");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
    let row = format!("select settlement_date from gateway.orders where order_number = '{order}'");
    let stored = books::sql(&app.tenant, &row);
    assert_eq!(paid["settlementDate"], stored.trim(), "the receipt says what is stored");
    stored.trim().parse().expect("a date")
}

#[test]
fn settlement_dates_follow_cutoff_holidays_and_working_weekends() {
    if !env::cluster() {
        return;
    }
    let app = ready("alpha", 60);
    let alpha = kubectl::get(&["ptn", "alpha"]).expect("it is there");
    let zone = alpha["spec"]["timezone"].as_str().expect("a zone").to_owned();
    let local = local(&zone);
    let (today, minute) = (local.date(), i32::from(local.hour()) * 60 + i32::from(local.minute()) - 1);
    let plain = |calendar: Value| json!({"settlementCutoff": "00:00", "calendar": calendar});
    let first = next_weekday(today);
    assert_eq!(settles(&app, "plain", plain(json!(null))), first);
    let holiday = plain(json!({"holidays": [first.to_string()]}));
    assert_eq!(settles(&app, "holiday", holiday), next_weekday(first), "{first} is a holiday");
    // Every weekday until Saturday rests, and Saturday works.
    let is_saturday = |day: &Date| day.weekday() == Weekday::Saturday;
    let saturday = (1..8).map(|ahead| today + ahead.days()).find(is_saturday).expect("a week has one");
    let week = today.series(1.day()).take_while(|day| *day < saturday);
    let until: Vec<_> = week.filter(|day| !is_weekend(*day)).map(|day| day.to_string()).collect();
    let weekend = plain(json!({"holidays": until, "workingWeekends": [saturday.to_string()]}));
    assert_eq!(settles(&app, "weekend", weekend), saturday);
    // From the cut-off on a payment belongs to the next day.
    let passed = format!("{:02}:{:02}", minute / 60, minute % 60);
    let cut = json!({"settlementCutoff": passed, "calendar": null});
    assert_eq!(settles(&app, "cutoff", cut), next_weekday(today + 1.day()), "cut off at {passed} in {zone}");
    let ahead = json!({"settlementCutoff": "23:59", "calendar": null});
    assert_eq!(settles(&app, "before", ahead), first, "before the cut-off");
    let _ = settles(&app, "restored", plain(json!(null)));
}
