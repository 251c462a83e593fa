//! Schedules: layers of rotations, and who is on duty at an instant.

use std::sync::Arc;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::calendar::{Calendar, days_between};
use super::{Override, PersonName};

/// Who is on duty when: layers, of which the later ones outrank the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ScheduleConfig {
    /// What targets and overrides call it: `primary` in `schedule/primary`.
    pub name: String,
    /// The time zone its times of day are in, such as `Asia/Shanghai`. Default: `UTC`.
    pub zone: String,
    /// The calendar that says which days are worked. Default: Monday to Friday.
    pub calendar: Option<String>,
    /// The layers; at each instant the last one that has somebody says who is on duty.
    pub layers: Vec<LayerConfig>,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            zone: "UTC".to_owned(),
            calendar: None,
            layers: Vec::new(),
        }
    }
}

/// A rotation: people who take turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LayerConfig {
    /// What it is called in explanations.
    #[serde(default)]
    pub name: String,
    /// Who takes turns, in order: people by name, or `role/devops` for everybody of a role at once.
    pub rotation: Vec<String>,
    /// The day of the first hand-off: there the first of the rotation begins, and nobody is on duty before.
    #[schemars(with = "String")]
    pub starts_on: Date,
    /// The day on which the layer ends, at the hand-off time. Default: never.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub ends_on: Option<Date>,
    /// The time of day at which a turn ends and the next begins. Default: `09:00`.
    #[serde(default = "nine")]
    #[schemars(with = "String")]
    pub hand_off: Time,
    /// How many days a turn lasts: 1 for daily, 7 for weekly. Default: 7.
    #[serde(default = "week")]
    pub turn_days: u16,
    /// The time zone of this layer, where it is not the schedule's.
    #[serde(default)]
    pub zone: Option<String>,
    /// When the layer applies at all: within any of these windows. Default: always.
    #[serde(default)]
    pub only: Vec<WindowConfig>,
}

/// A part of the day on some days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WindowConfig {
    /// The days on which it begins. Default: every day.
    pub days: Vec<Day>,
    /// When it begins. Default: `00:00`.
    #[schemars(with = "String")]
    pub from: Time,
    /// When it ends; on the next day where that is not after `from`. Default: `00:00`, the end of the day.
    #[schemars(with = "String")]
    pub until: Time,
}

/// A day of the week, or what the calendar says about a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Mondays.
    Monday,
    /// Tuesdays.
    Tuesday,
    /// Wednesdays.
    Wednesday,
    /// Thursdays.
    Thursday,
    /// Fridays.
    Friday,
    /// Saturdays.
    Saturday,
    /// Sundays.
    Sunday,
    /// Days that are worked, make-up working days included.
    Working,
    /// Weekends and holidays.
    Rest,
}

/// A schedule, ready to be asked.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub(super) name: String,
    pub(super) zone: TimeZone,
    pub(super) layers: Vec<Layer>,
}

/// A layer, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) turns: Vec<Vec<PersonName>>,
    pub(super) zone: TimeZone,
    pub(super) calendar: Arc<Calendar>,
    pub(super) starts_on: Date,
    pub(super) ends_on: Option<Date>,
    pub(super) hand_off: Time,
    pub(super) turn_days: i32,
    pub(super) windows: Vec<WindowConfig>,
}

/// Who is on duty, and why they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// Who; nobody in a gap.
    pub people: Vec<PersonName>,
    /// The layer that said so first, and which of its turns it is, counted from 0.
    pub turn: Option<Turn>,
    /// The overrides that took effect, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Uuid>,
}

/// One turn of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The name of the layer.
    pub layer: Arc<str>,
    /// The place of the layer in its schedule, counted from 0.
    pub layer_index: usize,
    /// The turn, counted from 0.
    pub number: i32,
}

fn nine() -> Time {
    Time::constant(9, 0, 0, 0)
}

fn week() -> u16 {
    7
}

impl LayerConfig {
    /// A layer of weekly turns that change at 09:00, on the weekday of `starts_on`.
    pub fn weekly(name: &str, rotation: &[&str], starts_on: Date) -> Self {
        Self {
            name: name.to_owned(),
            rotation: rotation.iter().map(|person| (*person).to_owned()).collect(),
            starts_on,
            ends_on: None,
            hand_off: nine(),
            turn_days: week(),
            zone: None,
            only: Vec::new(),
        }
    }
}

impl Day {
    /// The day of the week, where it is one.
    pub fn weekday(self) -> Option<Weekday> {
        Some(match self {
            Self::Monday => Weekday::Monday,
            Self::Tuesday => Weekday::Tuesday,
            Self::Wednesday => Weekday::Wednesday,
            Self::Thursday => Weekday::Thursday,
            Self::Friday => Weekday::Friday,
            Self::Saturday => Weekday::Saturday,
            Self::Sunday => Weekday::Sunday,
            Self::Working | Self::Rest => return None,
        })
    }

    /// Whether `date` is such a day.
    pub fn matches(self, date: Date, calendar: &Calendar) -> bool {
        match self {
            Self::Working => calendar.is_working_day(date),
            Self::Rest => !calendar.is_working_day(date),
            weekday => weekday.weekday() == Some(date.weekday()),
        }
    }
}

impl Schedule {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its time zone.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The longest turn of any layer, in days.
    pub(super) fn longest_turn_days(&self) -> i32 {
        self.layers
            .iter()
            .map(|layer| layer.turn_days)
            .max()
            .unwrap_or_default()
    }

    /// Who the layers say is on duty at `at`.
    fn by_layers(&self, at: Timestamp) -> Duty {
        let found = self.layers.iter().enumerate().rev().find_map(|(index, layer)| {
            let number = layer.turn_at(at)?;
            let people = layer.people_of(number);
            (!people.is_empty() && layer.applies_at(at)).then(|| Duty {
                people: people.to_vec(),
                turn: Some(Turn {
                    layer: layer.name.as_str().into(),
                    layer_index: index,
                    number,
                }),
                overrides: Vec::new(),
            })
        });
        found.unwrap_or_default()
    }

    /// Who is on duty at `at`; `overrides` are those of this schedule, in the order in which they take effect.
    pub(super) fn duty(&self, at: Timestamp, overrides: &[&Override]) -> Duty {
        let mut duty = self.by_layers(at);
        for entry in overrides.iter().filter(|entry| entry.covers(at)) {
            match &entry.replaces {
                None => duty.people = vec![entry.person.clone()],
                Some(replaced) => {
                    let Some(place) = duty.people.iter().position(|person| person == replaced) else {
                        continue;
                    };
                    if duty.people.contains(&entry.person) {
                        duty.people.remove(place);
                    } else {
                        duty.people[place] = entry.person.clone();
                    }
                }
            }
            duty.overrides.push(entry.id);
        }
        duty
    }

    /// Every instant between `from` and `to` at which the layers may change their answer, and some around, unsorted.
    pub(super) fn boundaries(&self, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let mut boundaries = Vec::new();
        for layer in &self.layers {
            layer.add_boundaries(from, to, &mut boundaries);
        }
        boundaries
    }
}

/// How far the date of a day may be from the local date of an instant that its windows still touch: a window may reach
/// into the next day, and a zone may skip a day, as Samoa did on 30 December 2011.
const REACH_DAYS: i32 = 2;

impl Layer {
    /// Who has the turn with this number; nobody where the rotation is empty.
    fn people_of(&self, number: i32) -> &[PersonName] {
        let count = i32::try_from(self.turns.len()).unwrap_or(i32::MAX);
        let place = number.checked_rem_euclid(count);
        place
            .and_then(|place| self.turns.get(usize::try_from(place).ok()?))
            .map_or(&[], Vec::as_slice)
    }

    /// Which turn it is at `at`, counted from 0; none before the first and after the end.
    fn turn_at(&self, at: Timestamp) -> Option<i32> {
        let date = local_date(&self.zone, at);
        if let Some(end) = self.ends_on
            && at >= instant(&self.zone, end, self.hand_off)
        {
            return None;
        }
        // The date says which turn it is up to the hand-off of that day, and up to the odd day that a zone skips.
        let guess = days_between(self.starts_on, date).div_euclid(self.turn_days);
        (guess - REACH_DAYS..=guess + 1)
            .rev()
            .find(|number| self.turn_start(*number) <= at)
            .filter(|number| *number >= 0)
    }

    fn turn_start(&self, number: i32) -> Timestamp {
        let days = i64::from(number) * i64::from(self.turn_days);
        let date = self.starts_on.saturating_add(Span::new().days(days));
        instant(&self.zone, date, self.hand_off)
    }

    /// Whether one of the windows contains `at`.
    fn applies_at(&self, at: Timestamp) -> bool {
        if self.windows.is_empty() {
            return true;
        }
        let date = local_date(&self.zone, at);
        days_around(date, date).any(|day| self.windows_of(day).any(|(start, end)| start <= at && at < end))
    }

    /// The windows that begin on `day`, as instants. A window whose times of day do not exist on the night that the
    /// clocks go forward is empty.
    fn windows_of(&self, day: Date) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.windows.iter().filter_map(move |window| {
            let is_such_a_day =
                window.days.is_empty() || window.days.iter().any(|kind| kind.matches(day, &self.calendar));
            is_such_a_day.then(|| {
                let last = if window.until > window.from {
                    day
                } else {
                    day.saturating_add(Span::new().days(1))
                };
                (
                    instant(&self.zone, day, window.from),
                    instant(&self.zone, last, window.until),
                )
            })
        })
    }

    fn add_boundaries(&self, from: Timestamp, to: Timestamp, boundaries: &mut Vec<Timestamp>) {
        let (first, last) = (local_date(&self.zone, from), local_date(&self.zone, to));
        boundaries.extend(self.ends_on.map(|end| instant(&self.zone, end, self.hand_off)));
        let turn_of = |date| days_between(self.starts_on, date).div_euclid(self.turn_days);
        boundaries.extend((turn_of(first).max(0)..=turn_of(last) + 1).map(|number| self.turn_start(number)));
        if !self.windows.is_empty() {
            for day in days_around(first, last) {
                boundaries.extend(self.windows_of(day).flat_map(|(start, end)| [start, end]));
            }
        }
    }
}

/// The days from `first` to `last`, and those near them whose windows may touch them.
fn days_around(first: Date, last: Date) -> impl Iterator<Item = Date> {
    let start = first.saturating_sub(Span::new().days(REACH_DAYS));
    let end = last.saturating_add(Span::new().days(1));
    start
        .series(Span::new().days(1))
        .take_while(move |day| *day <= end)
}

pub(super) fn local_date(zone: &TimeZone, at: Timestamp) -> Date {
    zone.to_datetime(at).date()
}

/// The instant of a time of day. One that the clocks skip is as much later as they skip, and of one that comes twice
/// the first counts, as RFC 5545 has it.
pub(super) fn instant(zone: &TimeZone, date: Date, time: Time) -> Timestamp {
    let at_the_end_of_time = if date.year() < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    zone.to_timestamp(date.to_datetime(time))
        .unwrap_or(at_the_end_of_time)
}
