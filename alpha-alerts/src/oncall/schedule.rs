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
                Some(replaced) if *replaced == entry.person => continue,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oncall::{OnCall, OnCallConfig, Origin, Overrides, PersonConfig, Stint};
    use proptest::prelude::*;

    const PEOPLE: [&str; 3] = ["mei", "ivan", "ana"];

    fn person(name: &str) -> PersonConfig {
        PersonConfig {
            name: name.to_owned(),
            ..PersonConfig::default()
        }
    }

    fn on_call(zone: &str, layers: Vec<LayerConfig>) -> OnCall {
        let mut config = OnCallConfig {
            people: PEOPLE.map(person).into(),
            ..OnCallConfig::default()
        };
        config.schedules = vec![ScheduleConfig {
            name: "primary".to_owned(),
            zone: zone.to_owned(),
            layers,
            ..ScheduleConfig::default()
        }];
        OnCall::new(&config).unwrap()
    }

    fn daily(rotation: &[&str], starts_on: &str, hand_off: &str) -> LayerConfig {
        LayerConfig {
            turn_days: 1,
            hand_off: hand_off.parse().unwrap(),
            ..LayerConfig::weekly("daily", rotation, starts_on.parse().unwrap())
        }
    }

    fn window(days: &[Day], from: &str, until: &str) -> WindowConfig {
        WindowConfig {
            days: days.to_vec(),
            from: from.parse().unwrap(),
            until: until.parse().unwrap(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn starts(on_call: &OnCall, from: &str, to: &str) -> Vec<String> {
        let schedule = on_call.schedule("primary").unwrap();
        let shifts = schedule.shifts(at(from), at(to), &Overrides::new());
        shifts.iter().map(|shift| shift.starts_at.to_string()).collect()
    }

    #[test]
    fn a_hand_off_keeps_its_time_of_day_when_the_clocks_change() {
        // Berlin goes from UTC+1 to UTC+2 on 29 March 2026 and back on 25 October.
        let berlin = on_call("Europe/Berlin", vec![daily(&PEOPLE, "2026-01-01", "09:00")]);
        assert_eq!(
            starts(&berlin, "2026-03-28T08:00:00Z", "2026-03-30T12:00:00Z"),
            [
                "2026-03-28T08:00:00Z",
                "2026-03-29T07:00:00Z",
                "2026-03-30T07:00:00Z"
            ]
        );
        assert_eq!(
            starts(&berlin, "2026-10-24T07:00:00Z", "2026-10-26T12:00:00Z"),
            [
                "2026-10-24T07:00:00Z",
                "2026-10-25T08:00:00Z",
                "2026-10-26T08:00:00Z"
            ]
        );
    }

    #[test]
    fn a_hand_off_in_the_hour_that_is_skipped_or_comes_twice() {
        let berlin = on_call("Europe/Berlin", vec![daily(&PEOPLE, "2026-01-01", "02:30")]);
        // 02:30 does not exist on 29 March: 03:30 in UTC+2.
        assert_eq!(
            starts(&berlin, "2026-03-28T01:30:00Z", "2026-03-30T01:00:00Z"),
            [
                "2026-03-28T01:30:00Z",
                "2026-03-29T01:30:00Z",
                "2026-03-30T00:30:00Z"
            ]
        );
        // 02:30 comes twice on 25 October: the first time, in UTC+2.
        assert_eq!(
            starts(&berlin, "2026-10-24T00:30:00Z", "2026-10-26T02:00:00Z"),
            [
                "2026-10-24T00:30:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-26T01:30:00Z"
            ]
        );
    }

    #[test]
    fn a_zone_that_skips_a_whole_day_skips_its_turn() {
        // Samoa had no 30 December 2011.
        let samoa = on_call("Pacific/Apia", vec![daily(&PEOPLE, "2011-12-28", "09:00")]);
        let on_duty = |text| samoa.on_duty("primary", at(text), &Overrides::new());
        assert_eq!(on_duty("2011-12-29T20:00:00Z"), ["ivan".into()]);
        assert_eq!(on_duty("2011-12-30T20:00:00Z"), ["mei".into()]);
    }

    #[test]
    fn later_layers_outrank_earlier_ones_and_only_within_their_windows() {
        let mut nights = daily(&["ana"], "2026-01-01", "09:00");
        nights.only = vec![window(&[Day::Friday], "22:00", "06:00")];
        let mut ends = daily(&["ivan"], "2026-06-01", "09:00");
        ends.ends_on = Some("2026-06-03".parse().unwrap());
        let on_call = on_call(
            "UTC",
            vec![
                LayerConfig::weekly("base", &["mei"], "2026-01-01".parse().unwrap()),
                nights,
                ends,
            ],
        );
        let on_duty = |text| on_call.on_duty("primary", at(text), &Overrides::new());
        assert_eq!(on_duty("2026-01-01T08:59:59.999Z"), []);
        assert_eq!(on_duty("2026-01-01T09:00:00Z"), ["mei".into()]);
        assert_eq!(on_duty("2026-01-02T21:59:59Z"), ["mei".into()]);
        assert_eq!(on_duty("2026-01-02T22:00:00Z"), ["ana".into()]);
        assert_eq!(on_duty("2026-01-03T05:59:59Z"), ["ana".into()]);
        assert_eq!(on_duty("2026-01-03T06:00:00Z"), ["mei".into()]);
        assert_eq!(on_duty("2026-06-01T09:00:00Z"), ["ivan".into()]);
        assert_eq!(on_duty("2026-06-03T09:00:00Z"), ["mei".into()]);

        let duty = on_call.duty("primary", at("2026-01-02T23:00:00Z"), &Overrides::new());
        assert_eq!(&*duty.turn.unwrap().layer, "daily");
        assert_eq!(
            on_call.on_duty("unknown", at("2026-01-02T23:00:00Z"), &Overrides::new()),
            []
        );
    }

    fn replacing(id: u128, person: &str, replaces: Option<&str>, from: &str, to: &str) -> Override {
        Override {
            id: Uuid::from_u128(id),
            schedule: "primary".to_owned(),
            person: person.into(),
            replaces: replaces.map(Into::into),
            starts_at: at(from),
            ends_at: at(to),
            created_at: at("2026-01-01T00:00:00Z")
                + jiff::SignedDuration::from_secs(i64::try_from(id).unwrap()),
            created_by: "lead".to_owned(),
            reason: String::new(),
            swapped_with: None,
        }
    }

    #[test]
    fn of_overrides_that_overlap_the_one_made_later_counts() {
        let on_call = on_call("UTC", vec![daily(&["mei"], "2026-01-01", "09:00")]);
        let overrides: Overrides = [
            replacing(2, "ana", None, "2026-02-01T12:00:00Z", "2026-02-01T14:00:00Z"),
            replacing(1, "ivan", None, "2026-02-01T10:00:00Z", "2026-02-01T16:00:00Z"),
            replacing(
                3,
                "mei",
                Some("ivan"),
                "2026-02-01T15:00:00Z",
                "2026-02-01T18:00:00Z",
            ),
        ]
        .into_iter()
        .collect();
        let on_duty = |text| on_call.on_duty("primary", at(text), &overrides);
        for (text, person) in [
            ("2026-02-01T09:59:59Z", "mei"),
            ("2026-02-01T10:00:00Z", "ivan"),
            ("2026-02-01T12:00:00Z", "ana"),
            ("2026-02-01T14:00:00Z", "ivan"),
            ("2026-02-01T15:00:00Z", "mei"),
        ] {
            assert_eq!(on_duty(text), [person.into()], "{text}");
        }
        let shift = on_call.duty("primary", at("2026-02-01T15:30:00Z"), &overrides);
        assert_eq!(shift.overrides, [Uuid::from_u128(1), Uuid::from_u128(3)]);
    }

    #[test]
    fn a_swap_is_made_and_taken_back_as_a_whole() {
        let on_call = on_call("UTC", vec![daily(&PEOPLE, "2026-01-01", "09:00")]);
        let stint = |person: &str, day: i8| Stint {
            person: person.into(),
            starts_at: instant(&TimeZone::UTC, Date::constant(2026, 1, day), nine()),
            ends_at: instant(&TimeZone::UTC, Date::constant(2026, 1, day + 1), nine()),
        };
        let origin = Origin {
            at: at("2025-12-31T00:00:00Z"),
            by: "mei".to_owned(),
            reason: "a wedding".to_owned(),
        };
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let swap = Override::swap(ids, "primary", [stint("mei", 1), stint("ivan", 2)], &origin);
        for half in &swap {
            half.check(&on_call).unwrap();
        }
        let mut overrides: Overrides = swap.iter().cloned().collect();
        let first = at("2026-01-01T12:00:00Z");
        let second = at("2026-01-02T12:00:00Z");
        assert_eq!(on_call.on_duty("primary", first, &overrides), ["ivan".into()]);
        assert_eq!(on_call.on_duty("primary", second, &overrides), ["mei".into()]);

        assert_eq!(overrides.remove(ids[1]).len(), 2);
        assert_eq!(overrides, Overrides::new());
        assert_eq!(on_call.on_duty("primary", first, &overrides), ["mei".into()]);
        assert_eq!(overrides.remove(ids[1]), []);
    }

    #[test]
    fn an_override_that_makes_no_sense_is_refused() {
        use crate::error::ErrorKind;

        let on_call = on_call("UTC", vec![daily(&PEOPLE, "2026-01-01", "09:00")]);
        let good = replacing(1, "mei", None, "2026-02-01T10:00:00Z", "2026-02-01T16:00:00Z");
        good.check(&on_call).unwrap();
        let kind = |entry: Override| entry.check(&on_call).unwrap_err().kind();
        let backwards = replacing(1, "mei", None, "2026-02-01T10:00:00Z", "2026-02-01T10:00:00Z");
        assert_eq!(kind(backwards), ErrorKind::InvalidInput);
        let oneself = replacing(
            1,
            "mei",
            Some("mei"),
            "2026-02-01T10:00:00Z",
            "2026-02-01T11:00:00Z",
        );
        assert_eq!(kind(oneself), ErrorKind::InvalidInput);
        let stranger = Override {
            person: "nobody".into(),
            ..good.clone()
        };
        assert_eq!(kind(stranger), ErrorKind::NotFound);
        let elsewhere = Override {
            schedule: "secondary".to_owned(),
            ..good
        };
        assert_eq!(kind(elsewhere), ErrorKind::NotFound);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let mut config = OnCallConfig {
            people: vec![person("mei"), person("mei"), person("a/b")],
            ..OnCallConfig::default()
        };
        config.schedules = vec![
            ScheduleConfig {
                name: "primary".to_owned(),
                zone: "Mars/Olympus".to_owned(),
                calendar: Some("none".to_owned()),
                layers: vec![LayerConfig {
                    turn_days: 0,
                    ..LayerConfig::weekly("base", &["ivan", "role/none"], "2026-01-01".parse().unwrap())
                }],
            },
            ScheduleConfig {
                name: "empty".to_owned(),
                ..ScheduleConfig::default()
            },
        ];
        let problems = OnCall::new(&config).unwrap_err();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(problems.join("\n"));
    }

    const START: &str = "2026-03-20T00:00:00Z";
    const HOURS: i64 = 21 * 24;

    fn layer() -> impl Strategy<Value = LayerConfig> {
        let hours =
            || (0..24_i8, 0..4_i8).prop_map(|(hour, quarter)| Time::constant(hour, quarter * 15, 0, 0));
        let day = prop_oneof![
            Just(Day::Working),
            Just(Day::Rest),
            Just(Day::Sunday),
            Just(Day::Wednesday)
        ];
        let window = (prop::collection::vec(day, 0..3), hours(), hours())
            .prop_map(|(days, from, until)| WindowConfig { days, from, until });
        (
            prop::sample::subsequence(PEOPLE.to_vec(), 1..=3),
            0..20_i32,
            hours(),
            1..9_u16,
            prop::collection::vec(window, 0..3),
        )
            .prop_map(|(rotation, day, hand_off, turn_days, only)| LayerConfig {
                hand_off,
                turn_days,
                only,
                ..LayerConfig::weekly(
                    "layer",
                    &rotation,
                    Date::constant(2026, 3, 15) + Span::new().days(day),
                )
            })
    }

    fn overriding() -> impl Strategy<Value = Override> {
        let person = || prop::sample::select(PEOPLE.to_vec());
        (
            1..50_u128,
            person(),
            prop::option::of(person()),
            0..HOURS * 60,
            1..3000_i64,
        )
            .prop_map(|(id, person, replaces, start, minutes)| {
                let mut entry = replacing(id, person, replaces, START, START);
                entry.starts_at = at(START) + Span::new().minutes(start);
                entry.ends_at = entry.starts_at + Span::new().minutes(minutes);
                entry
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn shifts_and_gaps_tile_the_time(
            layers in prop::collection::vec(layer(), 1..4),
            entries in prop::collection::vec(overriding(), 0..5),
            zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
        ) {
            let on_call = on_call(zone, layers);
            let schedule = on_call.schedule("primary").unwrap();
            let overrides: Overrides = entries.into_iter().collect();
            let (from, to) = (at(START), at(START) + Span::new().hours(HOURS));
            let mut spans: Vec<(Timestamp, Timestamp, Vec<PersonName>)> = schedule
                .shifts(from, to, &overrides)
                .into_iter()
                .map(|shift| (shift.starts_at, shift.ends_at, shift.people))
                .collect();
            prop_assert!(spans.iter().all(|(_, _, people)| !people.is_empty()));
            let gaps = schedule.gaps(from, to, &overrides);
            spans.extend(gaps.into_iter().map(|gap| (gap.starts_at, gap.ends_at, Vec::new())));
            spans.sort();
            // They follow each other without a hole and without overlap.
            prop_assert_eq!(spans.first().unwrap().0, from);
            prop_assert_eq!(spans.last().unwrap().1, to);
            for pair in spans.windows(2) {
                prop_assert_eq!(pair[0].1, pair[1].0);
            }
            // And whoever has a shift is on duty in it, from its first to its last nanosecond and between.
            for (start, end, people) in spans {
                prop_assert!(start < end);
                let middle = start + end.duration_since(start) / 2;
                for instant in [start, middle, end - Span::new().nanoseconds(1)] {
                    prop_assert_eq!(&on_call.on_duty("primary", instant, &overrides), &people);
                }
            }
        }

        #[test]
        fn an_override_takes_effect_exactly_while_it_lasts(
            layers in prop::collection::vec(layer(), 1..4),
            entry in overriding(),
            minute in 0..HOURS * 60,
        ) {
            let on_call = on_call("Europe/Berlin", layers);
            let one: Overrides = [entry.clone()].into_iter().collect();
            let nanosecond = Span::new().nanoseconds(1);
            let instants = [
                entry.starts_at - nanosecond,
                entry.starts_at,
                entry.ends_at - nanosecond,
                entry.ends_at,
                at(START) + Span::new().minutes(minute),
            ];
            for instant in instants {
                let without = on_call.on_duty("primary", instant, &Overrides::new());
                let is_in_time = entry.starts_at <= instant && instant < entry.ends_at;
                let applies = is_in_time && entry.replaces.as_ref().is_none_or(|replaced| without.contains(replaced));
                let expected = if applies { vec![entry.person.clone()] } else { without };
                prop_assert_eq!(on_call.on_duty("primary", instant, &one), expected);
            }
        }

        #[test]
        fn the_next_hand_over_is_the_first_change(
            layers in prop::collection::vec(layer(), 1..3),
            minute in 0..HOURS * 60,
        ) {
            let on_call = on_call("America/New_York", layers);
            let schedule = on_call.schedule("primary").unwrap();
            let none = Overrides::new();
            let now = at(START) + Span::new().minutes(minute);
            let horizon = now + Span::new().hours(40 * 24);
            let before = schedule.duty_at(now, &none).people;
            let first = (1..40 * 24 * 4)
                .map(|quarter| {
                    // Quarters of an hour of the clock: every change of these schedules is at one.
                    let seconds = (now.as_second() / 900 + quarter) * 900;
                    Timestamp::from_second(seconds).unwrap()
                })
                .find(|instant| schedule.duty_at(*instant, &none).people != before);
            let found = schedule.next_handover(now, &none);
            match first {
                Some(first) => prop_assert_eq!(found.unwrap().at, first),
                None => prop_assert!(found.is_none_or(|handover| handover.at >= horizon - Span::new().hours(1))),
            }
        }
    }
}
