//! Whether a moment belongs to a named time interval.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::config::{DayOfMonthRange, IntervalConfig, TimeIntervalConfig};
use crate::text;
use crate::text::Text;

/// The named time intervals of a configuration. What belongs to one is decided as Alertmanager decides it.
#[derive(Clone, Debug, Default)]
pub struct TimeIntervals {
    by_name: HashMap<String, Vec<Interval>>,
}

#[derive(Clone, Debug)]
struct Interval {
    config: IntervalConfig,
    zone: TimeZone,
}

impl TimeIntervals {
    /// Intervals by their names.
    ///
    /// # Errors
    /// Everything that is wrong: a name that is empty or not unique, an unknown time zone, a time of the day that ends
    /// before it starts.
    pub fn new(configs: &[TimeIntervalConfig]) -> Result<Self, Vec<Text>> {
        let mut problems = Vec::new();
        let mut by_name = HashMap::new();
        for (index, config) in configs.iter().enumerate() {
            if config.name.is_empty() {
                problems.push(text!("time_intervals[{index}] needs a name", index = index));
            }
            let mut intervals = Vec::new();
            for interval in &config.time_intervals {
                for times in &interval.times {
                    if times.start_time >= times.end_time {
                        problems.push(text!(
                            "the time interval {name} has times from {start} to {end}: the end must be later on the same day, so write two ranges",
                            name = &config.name,
                            start = times.start_time.to_string(),
                            end = times.end_time.to_string()
                        ));
                    }
                }
                match zone(interval.location.as_deref()) {
                    Ok(zone) => intervals.push(Interval {
                        config: interval.clone(),
                        zone,
                    }),
                    Err(location) => problems.push(text!(
                        "the time interval {name} has the location {location}, which is no known time zone",
                        name = &config.name,
                        location = location
                    )),
                }
            }
            if by_name.insert(config.name.clone(), intervals).is_some() {
                problems.push(text!("two time intervals are named {name}", name = &config.name));
            }
        }
        if problems.is_empty() {
            Ok(Self { by_name })
        } else {
            Err(problems)
        }
    }

    /// Whether `now` belongs to the interval of this name. An unknown name contains no moment;
    /// [`Config::check`](crate::Config::check) reports it.
    pub fn contains(&self, name: &str, now: Timestamp) -> bool {
        self.by_name
            .get(name)
            .is_some_and(|intervals| intervals.iter().any(|interval| interval.contains(now)))
    }
}

/// The time zone of this name, or the name where there is none.
fn zone(location: Option<&str>) -> Result<TimeZone, &str> {
    match location {
        None | Some("" | "UTC") => Ok(TimeZone::UTC),
        Some("Local") => Ok(TimeZone::system()),
        Some(name) => TimeZone::get(name).map_err(|_| name),
    }
}

impl Interval {
    fn contains(&self, now: Timestamp) -> bool {
        let config = &self.config;
        let local = self.zone.to_datetime(now);
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        let weekday = local.weekday().to_sunday_zero_offset();
        let month = local.month().unsigned_abs();
        let year = i32::from(local.year());
        any(&config.times, |times| {
            (i32::from(times.start_time.0)..i32::from(times.end_time.0)).contains(&minute)
        }) && any(&config.days_of_month, |days| {
            days.within(local).contains(&local.day())
        }) && any(&config.months, |months| {
            (months.first..=months.last).contains(&month)
        }) && any(&config.weekdays, |days| {
            (days.first..=days.last).contains(&weekday.unsigned_abs())
        }) && any(&config.years, |years| (years.first..=years.last).contains(&year))
    }
}

/// Whether one satisfies the condition, or there is none to satisfy.
fn any<T>(ranges: &[T], condition: impl Fn(&T) -> bool) -> bool {
    ranges.is_empty() || ranges.iter().any(condition)
}

impl DayOfMonthRange {
    /// The days it means in the month of `local`; an empty range where the month has none of them.
    fn within(self, local: DateTime) -> RangeInclusive<i8> {
        let length = local.date().days_in_month();
        let day = |day: i8| if day < 0 { length + day + 1 } else { day };
        day(self.first)..=day(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(json: serde_json::Value, now: &str) -> bool {
        let config: IntervalConfig = serde_json::from_value(json).unwrap();
        let named = TimeIntervalConfig {
            name: "x".to_owned(),
            time_intervals: vec![config],
        };
        TimeIntervals::new(&[named])
            .unwrap()
            .contains("x", now.parse().unwrap())
    }

    /// The examples of Alertmanager's documentation and of its own test.
    #[test]
    fn alertmanagers_own_examples() {
        let business_hours = serde_json::json!({
            "times": [{ "start_time": "09:00", "end_time": "17:00" }],
            "weekdays": ["monday:friday"],
        });
        for (now, expected) in [
            ("2020-04-22T08:59:59Z", false),
            ("2020-04-22T09:00:00Z", true),
            ("2020-04-22T16:59:59Z", true),
            ("2020-04-22T17:00:00Z", false),
            ("2020-04-25T12:00:00Z", false),
            ("2020-04-26T12:00:00Z", false),
        ] {
            assert_eq!(contains(business_hours.clone(), now), expected, "{now}");
        }
        let seasons = serde_json::json!({
            "months": ["december:december", "1:3"],
            "days_of_month": ["1:10", "-7:-1"],
            "years": ["2020:2023"],
        });
        for (now, expected) in [
            ("2020-12-01T00:00:00Z", true),
            ("2020-12-11T00:00:00Z", false),
            ("2020-12-25T00:00:00Z", true),
            ("2021-01-24T23:59:59Z", false),
            ("2020-02-22T12:00:00Z", false),
            ("2020-02-23T12:00:00Z", true),
            ("2020-05-01T00:00:00Z", false),
            ("2024-01-01T00:00:00Z", false),
        ] {
            assert_eq!(contains(seasons.clone(), now), expected, "{now}");
        }
        assert!(contains(serde_json::json!({}), "2026-01-01T00:00:00Z"));
    }

    #[test]
    fn days_that_a_month_lacks_are_in_none() {
        let days = |range: &str, now: &str| contains(serde_json::json!({ "days_of_month": [range] }), now);
        assert!(!days("30:31", "2026-02-28T00:00:00Z"));
        assert!(days("25:31", "2026-02-28T00:00:00Z"));
        assert!(days("-1", "2024-02-29T00:00:00Z"));
        assert!(!days("-1", "2024-02-28T00:00:00Z"));
        assert!(days("-31:-28", "2026-02-01T00:00:00Z"));
        assert!(!days("-31:-29", "2026-02-01T00:00:00Z"));
        assert!(days("10:-10", "2026-02-19T00:00:00Z"));
        assert!(!days("10:-10", "2026-02-20T00:00:00Z"));
    }

    #[test]
    fn a_location_moves_the_day_with_its_clock() {
        let json = serde_json::json!({
            "times": [{ "start_time": "00:00", "end_time": "24:00" }],
            "weekdays": ["saturday"],
            "location": "Asia/Shanghai",
        });
        assert!(!contains(json.clone(), "2026-01-02T15:59:00Z"));
        assert!(contains(json.clone(), "2026-01-02T16:00:00Z"));
        assert!(!contains(json, "2026-01-03T16:00:00Z"));
        let summer = serde_json::json!({
            "times": [{ "start_time": "09:00", "end_time": "10:00" }],
            "location": "Europe/Berlin",
        });
        assert!(contains(summer.clone(), "2026-01-02T08:30:00Z"));
        assert!(contains(summer, "2026-07-02T07:30:00Z"));
    }

    #[test]
    fn an_interval_contains_what_one_of_its_parts_contains() {
        let config: TimeIntervalConfig = serde_json::from_value(serde_json::json!({
            "name": "off",
            "time_intervals": [{ "weekdays": ["sunday"] }, { "times": [{ "start_time": "22:00", "end_time": "24:00" }] }],
        }))
        .unwrap();
        let intervals = TimeIntervals::new(&[config]).unwrap();
        let at = |now: &str| intervals.contains("off", now.parse().unwrap());
        assert!(at("2026-01-04T12:00:00Z"));
        assert!(at("2026-01-05T23:00:00Z"));
        assert!(!at("2026-01-05T12:00:00Z"));
        assert!(!intervals.contains("unknown", "2026-01-04T12:00:00Z".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let config: TimeIntervalConfig = serde_json::from_value(serde_json::json!({
            "name": "night",
            "time_intervals": [{ "times": [{ "start_time": "22:00", "end_time": "06:00" }], "location": "Nowhere" }],
        }))
        .unwrap();
        let problems = TimeIntervals::new(&[config]).unwrap_err();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "the time interval night has times from 22:00 to 06:00: the end must be later on the same day, so write two ranges",
                "the time interval night has the location Nowhere, which is no known time zone",
            ]
        );
    }
}
