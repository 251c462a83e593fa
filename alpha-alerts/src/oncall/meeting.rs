//! Meetings of the team (M24): when they take place.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use super::schedule::{instant, local_date};
use super::{Day, zone_of};
use crate::period::Period;
use crate::text;
use crate::text::{Text, Translate};

/// A meeting that comes again and again. On days of rest it does not take place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MeetingConfig {
    /// Its short name, which calendars know it by: `standup`.
    pub name: String,
    /// What people call it. Default: `name`.
    #[serde(default)]
    pub summary: Option<String>,
    /// On which days.
    pub repeat: Repeat,
    /// At what time of day: `09:30`.
    #[schemars(with = "String")]
    pub at: Time,
    /// How long. Default: 1h.
    #[serde(default = "hour")]
    pub duration: Period,
    /// The time zone of `at`. Default: `UTC`.
    #[serde(default = "utc")]
    pub zone: String,
    /// The calendar that says which days are worked. Default: Monday to Friday.
    #[serde(default)]
    pub calendar: Option<String>,
}

/// On which days a meeting takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Repeat {
    /// On every working day, make-up working days included.
    WorkingDays,
    /// Every week on a day of the week.
    Weekly(Day),
    /// Every month on the nth such day of the week, counted from 1; from the end where it is negative, so that -1 is the
    /// last.
    Monthly {
        /// The day of the week.
        weekday: Day,
        /// Which: 1 to 5, or -1 to -5.
        nth: i8,
    },
}

/// One meeting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meeting {
    /// The short name of the series.
    pub name: String,
    /// What people call it.
    pub summary: String,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
}

/// A meeting that comes again and again, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Series {
    config: MeetingConfig,
    zone: TimeZone,
    calendar: Arc<Calendar>,
}

fn hour() -> Period {
    Period::from_secs(3600)
}

fn utc() -> String {
    "UTC".to_owned()
}

impl MeetingConfig {
    /// The meetings of the maintenance plan (M24): a stand-up of 15 minutes at 9:30 on working days, an hour on Mondays
    /// at 14:00, two hours on the last Friday of the month at 15:00, and a tech talk on the second Friday, for which the
    /// plan names no time: an hour at 15:00.
    pub fn ready_made(zone: &str, calendar: Option<&str>, translations: &dyn Translate) -> Vec<Self> {
        let meeting = |name: &str, summary: &Text, repeat, (hour, minute), minutes: u64| Self {
            name: name.to_owned(),
            summary: Some(summary.translate(translations)),
            repeat,
            at: Time::constant(hour, minute, 0, 0),
            duration: Period::from_secs(minutes * 60),
            zone: zone.to_owned(),
            calendar: calendar.map(str::to_owned),
        };
        let friday = |nth| Repeat::Monthly {
            weekday: Day::Friday,
            nth,
        };
        vec![
            meeting("standup", &text!("Stand-up"), Repeat::WorkingDays, (9, 30), 15),
            meeting(
                "weekly",
                &text!("Weekly meeting"),
                Repeat::Weekly(Day::Monday),
                (14, 0),
                60,
            ),
            meeting("monthly", &text!("Monthly review"), friday(-1), (15, 0), 120),
            meeting("tech-talk", &text!("Tech talk"), friday(2), (15, 0), 60),
        ]
    }
}

impl Series {
    pub(super) fn new(
        config: &MeetingConfig,
        calendars: &HashMap<String, Arc<Calendar>>,
        problems: &mut Vec<Text>,
    ) -> Self {
        let calendar = config.calendar.as_ref().map_or_else(Arc::default, |name| {
            calendars.get(name).cloned().unwrap_or_else(|| {
                problems.push(text!(
                    "meeting {meeting} uses the calendar {calendar}, which does not exist",
                    meeting = &config.name,
                    calendar = name
                ));
                Arc::default()
            })
        });
        let weekday = match config.repeat {
            Repeat::WorkingDays => None,
            Repeat::Weekly(weekday) => Some(weekday),
            Repeat::Monthly { weekday, nth } => {
                if !(1..=5).contains(&nth.unsigned_abs()) {
                    problems.push(text!(
                        "meeting {meeting} takes place on the day number {nth} of its month: expected 1 to 5 or -1 to -5",
                        meeting = &config.name,
                        nth = i32::from(nth)
                    ));
                }
                Some(weekday)
            }
        };
        if weekday.is_some_and(|weekday| weekday.weekday().is_none()) {
            problems.push(text!(
                "meeting {meeting} names a day of the week, not working or rest",
                meeting = &config.name
            ));
        }
        if config.duration.0.is_zero() {
            problems.push(text!("meeting {meeting} has no duration", meeting = &config.name));
        }
        Self {
            config: config.clone(),
            zone: zone_of(&config.zone, problems),
            calendar,
        }
    }

    /// The meetings that begin from `from` until before `to`, in order.
    pub(super) fn between(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Meeting> {
        let last = local_date(&self.zone, to);
        let duration = SignedDuration::try_from(self.config.duration.0).unwrap_or(SignedDuration::MAX);
        local_date(&self.zone, from)
            .series(Span::new().days(1))
            .take_while(move |date| from < to && *date <= last)
            .filter(|date| self.takes_place_on(*date))
            .map(move |date| {
                let starts_at = instant(&self.zone, date, self.config.at);
                Meeting {
                    name: self.config.name.clone(),
                    summary: self
                        .config
                        .summary
                        .clone()
                        .unwrap_or_else(|| self.config.name.clone()),
                    starts_at,
                    ends_at: starts_at.saturating_add(duration).unwrap_or(Timestamp::MAX),
                }
            })
            .filter(move |meeting| from <= meeting.starts_at && meeting.starts_at < to)
    }

    fn takes_place_on(&self, date: Date) -> bool {
        if !self.calendar.is_working_day(date) {
            return false;
        }
        match self.config.repeat {
            Repeat::WorkingDays => true,
            Repeat::Weekly(weekday) => weekday.matches(date, &self.calendar),
            Repeat::Monthly { weekday, nth } => weekday
                .weekday()
                .and_then(|weekday| date.nth_weekday_of_month(nth, weekday).ok())
                .is_some_and(|day| day == date),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oncall::{CalendarConfig, OnCall, OnCallConfig};
    use crate::text::English;

    #[test]
    fn the_meetings_of_the_plan_in_a_month_with_make_up_days() {
        let mut config = OnCallConfig {
            calendars: vec![CalendarConfig::china()],
            ..OnCallConfig::default()
        };
        config.meetings = MeetingConfig::ready_made("Asia/Shanghai", Some("china"), &English);
        let on_call = OnCall::new(&config).unwrap();
        // February 2026 in Shanghai.
        let from = "2026-01-31T16:00:00Z".parse().unwrap();
        let to = "2026-02-28T16:00:00Z".parse().unwrap();
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let lines: Vec<String> = on_call
            .meetings(from, to)
            .iter()
            .map(|meeting| {
                let minutes = meeting.ends_at.duration_since(meeting.starts_at).as_mins();
                let start = zone
                    .to_datetime(meeting.starts_at)
                    .strftime("%a %d %H:%M")
                    .to_string();
                format!("{start} {} {minutes} min", meeting.summary)
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let mut config = OnCallConfig::default();
        let mut wrong = MeetingConfig::ready_made("UTC", Some("none"), &English).remove(2);
        wrong.repeat = Repeat::Monthly {
            weekday: Day::Working,
            nth: 0,
        };
        wrong.duration = Period::from_secs(0);
        config.meetings = vec![wrong];
        let problems = OnCall::new(&config).unwrap_err();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(problems.join("\n"));
    }
}
