//! Calendars of holidays: which days are worked and which are days of rest.

use std::collections::{BTreeMap, HashSet};

use jiff::civil::{Date, Weekday};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Day;
use crate::text;
use crate::text::Text;

/// Which days are worked. Without one, Monday to Friday are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CalendarConfig {
    /// What schedules and meetings call it, such as `china`.
    pub name: String,
    /// The days of rest of an ordinary week. Default: Saturday and Sunday.
    pub weekend: Vec<Day>,
    /// Days of rest on which an ordinary week would be worked.
    pub holidays: Vec<HolidayConfig>,
    /// Days that are worked although they fall on a weekend or into a holiday, as China's make-up working days (调休) do.
    #[schemars(with = "Vec<String>")]
    pub working_days: Vec<Date>,
}

impl Default for CalendarConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            weekend: vec![Day::Saturday, Day::Sunday],
            holidays: Vec::new(),
            working_days: Vec::new(),
        }
    }
}

/// Days of rest with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HolidayConfig {
    /// What it is called.
    #[serde(default)]
    pub name: String,
    /// The first day: `2026-10-01`.
    #[schemars(with = "String")]
    pub from: Date,
    /// The last day. Default: the first.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub until: Option<Date>,
    /// Whether it comes again on the same dates every year from then on. Default: no.
    #[serde(default)]
    pub yearly: bool,
}

/// The longest that one holiday may be, in days; longer is a mistyped year.
const LONGEST_HOLIDAY_DAYS: i32 = 366;

/// A calendar, ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    weekend: HashSet<Weekday>,
    holidays: BTreeMap<Date, String>,
    yearly: Vec<Yearly>,
    working: HashSet<Date>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Yearly {
    name: String,
    first: Date,
    days: i32,
}

impl Default for Calendar {
    fn default() -> Self {
        Self {
            weekend: [Weekday::Saturday, Weekday::Sunday].into(),
            holidays: BTreeMap::new(),
            yearly: Vec::new(),
            working: HashSet::new(),
        }
    }
}

impl Calendar {
    /// A calendar from its configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(config: &CalendarConfig) -> Result<Self, Vec<Text>> {
        let mut problems = Vec::new();
        let mut calendar = Self {
            weekend: HashSet::new(),
            working: config.working_days.iter().copied().collect(),
            ..Self::default()
        };
        for day in &config.weekend {
            match day.weekday() {
                Some(weekday) => {
                    calendar.weekend.insert(weekday);
                }
                None => problems.push(text!(
                    "the weekend of calendar {calendar} names days of the week, not working or rest",
                    calendar = &config.name
                )),
            }
        }
        for holiday in &config.holidays {
            let until = holiday.until.unwrap_or(holiday.from);
            let days = days_between(holiday.from, until) + 1;
            if !(1..=LONGEST_HOLIDAY_DAYS).contains(&days) {
                problems.push(text!(
                    "holiday {holiday} of calendar {calendar} lasts from {from} until {until}: expected 1 to 366 days",
                    holiday = &holiday.name,
                    calendar = &config.name,
                    from = holiday.from.to_string(),
                    until = until.to_string()
                ));
                continue;
            }
            if holiday.yearly {
                calendar.yearly.push(Yearly {
                    name: holiday.name.clone(),
                    first: holiday.from,
                    days,
                });
            } else {
                let names = holiday
                    .from
                    .series(jiff::Span::new().days(1))
                    .take(usize::try_from(days).unwrap_or(0));
                calendar
                    .holidays
                    .extend(names.map(|day| (day, holiday.name.clone())));
            }
        }
        if problems.is_empty() {
            Ok(calendar)
        } else {
            Err(problems)
        }
    }

    /// Whether `date` is worked: neither weekend nor holiday, or a make-up working day.
    pub fn is_working_day(&self, date: Date) -> bool {
        self.working.contains(&date)
            || !(self.weekend.contains(&date.weekday()) || self.holiday(date).is_some())
    }

    /// The name of the holiday that `date` falls into, worked or not.
    pub fn holiday(&self, date: Date) -> Option<&str> {
        let once = self.holidays.get(&date).map(String::as_str);
        once.or_else(|| {
            let yearly = self.yearly.iter().find(|yearly| yearly.contains(date));
            yearly.map(|yearly| yearly.name.as_str())
        })
    }
}

impl Yearly {
    /// Whether `date` is within one of its occurrences, which may reach into the next year. One that begins on
    /// 29 February comes only in leap years.
    fn contains(&self, date: Date) -> bool {
        [date.year() - 1, date.year()].into_iter().any(|year| {
            let start = Date::new(year, self.first.month(), self.first.day());
            start
                .is_ok_and(|start| start >= self.first && (0..self.days).contains(&days_between(start, date)))
        })
    }
}

/// How many days `to` is after `from`.
pub(super) fn days_between(from: Date, to: Date) -> i32 {
    (to - from).get_days()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(holidays: Vec<HolidayConfig>) -> Result<Calendar, Vec<Text>> {
        Calendar::new(&CalendarConfig {
            name: "test".to_owned(),
            holidays,
            ..CalendarConfig::default()
        })
    }

    fn holiday(from: &str, until: &str, yearly: bool) -> HolidayConfig {
        HolidayConfig {
            name: from.to_owned(),
            from: from.parse().unwrap(),
            until: Some(until.parse().unwrap()),
            yearly,
        }
    }

    #[test]
    fn a_yearly_holiday_may_reach_into_the_next_year_and_does_not_begin_before_it_began() {
        let calendar = calendar(vec![holiday("2024-12-24", "2025-01-02", true)]).unwrap();
        for (date, rests) in [
            ("2023-12-25", false),
            ("2024-01-01", false),
            ("2024-12-24", true),
            ("2025-01-02", true),
            ("2025-01-03", false),
            ("2030-12-31", true),
            ("2031-01-01", true),
        ] {
            let date: Date = date.parse().unwrap();
            assert_eq!(calendar.holiday(date).is_some(), rests, "{date}");
        }
    }

    #[test]
    fn the_29th_of_february_comes_in_leap_years() {
        let calendar = calendar(vec![holiday("2024-02-29", "2024-02-29", true)]).unwrap();
        assert!(calendar.holiday("2028-02-29".parse().unwrap()).is_some());
        assert!(calendar.holiday("2027-02-28".parse().unwrap()).is_none());
        assert!(calendar.holiday("2027-03-01".parse().unwrap()).is_none());
    }

    #[test]
    fn a_mistyped_year_is_told() {
        for (from, until) in [("2026-10-01", "2062-10-07"), ("2026-10-07", "2026-10-01")] {
            let problems = calendar(vec![holiday(from, until, false)]).unwrap_err();
            assert_eq!(
                problems[0].to_string(),
                format!(
                    "holiday {from} of calendar test lasts from {from} until {until}: expected 1 to 366 days"
                )
            );
        }
    }
}
