//! The settlement date of a payment: computed once, stored with it.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};

/// The tenant's calendar as the YAML gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CalendarConfig {
    /// IANA zone, e.g. `Asia/Shanghai`.
    pub timezone: String,
    /// Local time `HH:MM` from which a payment belongs to the next day;
    /// `00:00` keeps to calendar days.
    pub cutoff: String,
    /// Weekdays on which nothing settles.
    #[serde(default)]
    pub holidays: Vec<Date>,
    /// Saturdays and Sundays on which settlement works.
    #[serde(default)]
    pub working_weekends: Vec<Date>,
}

#[derive(Debug, Snafu)]
pub enum CalendarError {
    #[snafu(display("time zone {zone:?} is not in the IANA database"))]
    Zone { zone: String, source: jiff::Error },
    #[snafu(display("settlement cut-off {cutoff:?} is not a time of the form HH:MM"))]
    Cutoff { cutoff: String, source: jiff::Error },
    #[snafu(display(
        "fewer than {SETTLEMENT_DAYS_MAX} working days in the {DAYS_SEARCHED_MAX} days after {day}"
    ))]
    NoWorkingDay { day: Date },
}

/// The greatest n of T+n.
pub const SETTLEMENT_DAYS_MAX: i16 = 30;
/// More than 30 working days and the longest public holidays take: the search must end.
const DAYS_SEARCHED_MAX: i32 = 90;

/// A calendar whose zone and cut-off are known to be good.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    cutoff: Time,
    holidays: BTreeSet<Date>,
    working_weekends: BTreeSet<Date>,
}

impl Calendar {
    pub fn new(config: &CalendarConfig) -> Result<Self, CalendarError> {
        let zone = TimeZone::get(&config.timezone).context(ZoneSnafu { zone: &config.timezone })?;
        let cutoff =
            Time::strptime("%H:%M", &config.cutoff).context(CutoffSnafu { cutoff: &config.cutoff })?;
        Ok(Self {
            zone,
            cutoff,
            holidays: config.holidays.iter().copied().collect(),
            working_weekends: config.working_weekends.iter().copied().collect(),
        })
    }

    /// The local date of an instant.
    #[must_use]
    pub fn date(&self, at: Timestamp) -> Date {
        self.local(at).date()
    }

    /// The local date and time of an instant.
    #[must_use]
    pub fn local(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(at)
    }

    /// The settlement day to which a payment at this instant belongs: its local
    /// date, or the next one from the cut-off on.
    #[must_use]
    pub fn settlement_day(&self, at: Timestamp) -> Date {
        let local = self.local(at);
        let after_cutoff = self.cutoff != Time::midnight() && local.time() >= self.cutoff;
        if after_cutoff { local.date().saturating_add(jiff::Span::new().days(1)) } else { local.date() }
    }

    /// The dates on which a payment at this instant may settle, by the n of T+n: its
    /// settlement day or the next working day after it, and the nth working day after it.
    pub fn settlement_dates(&self, at: Timestamp) -> Result<Vec<Date>, CalendarError> {
        let day = self.settlement_day(at);
        let days = (0..=DAYS_SEARCHED_MAX).map(|ahead| day.saturating_add(jiff::Span::new().days(ahead)));
        let mut working = days.filter(|date| self.is_working_day(*date)).peekable();
        let mut dates = Vec::from_iter(working.peek().copied());
        let after = working.skip_while(|date| *date == day);
        dates.extend(after.take(SETTLEMENT_DAYS_MAX.unsigned_abs().into()));
        let enough = dates.len() > usize::from(SETTLEMENT_DAYS_MAX.unsigned_abs());
        enough.then_some(dates).ok_or(CalendarError::NoWorkingDay { day })
    }

    fn is_working_day(&self, date: Date) -> bool {
        match date.weekday() {
            Weekday::Saturday | Weekday::Sunday => self.working_weekends.contains(&date),
            _ => !self.holidays.contains(&date),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shanghai() -> Calendar {
        Calendar::new(&CalendarConfig {
            timezone: "Asia/Shanghai".into(),
            cutoff: "23:00".into(),
            holidays: (1..=7).map(|d| Date::constant(2026, 10, d)).collect(),
            working_weekends: vec![Date::constant(2026, 10, 10)],
        })
        .unwrap()
    }

    #[test]
    fn settlement_goes_by_zone_cutoff_holidays_and_working_weekends() {
        for (at, date) in [
            ("2026-09-29T22:59:59+08:00", "2026-09-30"),
            // From the cut-off on, the next day, whose next working day follows the holiday.
            ("2026-09-29T23:00:00+08:00", "2026-10-08"),
            ("2026-09-30T10:00:00+08:00", "2026-10-08"),
            // The Saturday is worked, the Sunday is not.
            ("2026-10-09T10:00:00+08:00", "2026-10-10"),
            ("2026-10-10T10:00:00+08:00", "2026-10-12"),
            // 16:30 UTC is past midnight in Shanghai.
            ("2026-11-24T16:30:00Z", "2026-11-26"),
        ] {
            let got = shanghai().settlement_dates(at.parse().unwrap()).unwrap();
            assert_eq!(got[1].to_string(), date, "{at}");
        }
    }

    #[test]
    fn the_nth_working_day_is_the_merchants() {
        let of = |at: &str| shanghai().settlement_dates(at.parse().unwrap()).unwrap();
        let texts = |dates: &[Date]| dates.iter().map(ToString::to_string).collect::<Vec<_>>();
        let friday = of("2026-09-25T10:00:00+08:00");
        assert_eq!(texts(&friday[..4]), ["2026-09-25", "2026-09-28", "2026-09-29", "2026-09-30"]);
        assert_eq!(texts(&friday[4..6]), ["2026-10-08", "2026-10-09"]);
        // On a day that is not worked T+0 and T+1 are the next one.
        let sunday = of("2026-09-27T10:00:00+08:00");
        assert_eq!(texts(&sunday[..3]), ["2026-09-28", "2026-09-28", "2026-09-29"]);
        assert_eq!(friday.len(), 31);
    }

    #[test]
    fn a_calendar_without_working_days_is_refused() {
        let holidays = (0..400).map(|n| Date::constant(2026, 9, 1).saturating_add(jiff::Span::new().days(n)));
        let config = CalendarConfig {
            timezone: "UTC".into(),
            cutoff: "00:00".into(),
            holidays: holidays.collect(),
            working_weekends: vec![],
        };
        let said = Calendar::new(&config).unwrap().settlement_dates("2026-09-29T10:00:00Z".parse().unwrap());
        assert!(said.unwrap_err().to_string().contains("fewer than 30 working days"));
    }

    #[test]
    fn a_bad_zone_or_cutoff_is_named() {
        let good = CalendarConfig {
            timezone: "UTC".into(),
            cutoff: "00:00".into(),
            holidays: vec![],
            working_weekends: vec![],
        };
        let zone = Calendar::new(&CalendarConfig { timezone: "Mars/Base".into(), ..good.clone() });
        assert!(zone.unwrap_err().to_string().contains("Mars/Base"));
        let cutoff = Calendar::new(&CalendarConfig { cutoff: "25:00".into(), ..good });
        assert!(cutoff.unwrap_err().to_string().contains("25:00"));
    }
}
