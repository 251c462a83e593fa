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
