//! Who is on duty: people, roles, schedules of layers, overrides and swaps, calendars of holidays.
//!
//! Everything here is pure: the configuration, an instant and the overrides go in, people come out.

mod calendar;
mod handover;
mod icalendar;
mod meeting;
mod overrides;
mod person;
mod ready_made;
mod schedule;
mod shift;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use calendar::{Calendar, CalendarConfig, HolidayConfig};
pub use handover::{HandoverReport, IncidentLine, MaintenanceLine, SilenceLine};
pub use icalendar::{CalendarEvent, icalendar};
use meeting::Series;
pub use meeting::{Meeting, MeetingConfig, Repeat};
pub use overrides::{Origin, Override, Overrides, Stint};
pub(crate) use person::is_name;
pub use person::{PersonConfig, PersonName, RoleConfig};
use schedule::Layer;
pub use schedule::{Day, Duty, LayerConfig, Schedule, ScheduleConfig, Turn, WindowConfig};
pub use shift::{Gap, Handover, Shift};

use crate::config::Matchers;
use crate::error::{Error, ErrorKind, Result};
use crate::label::Labels;
use crate::notifiers::ReceiverConfig;
use crate::text;
use crate::text::Text;

/// The label whose value says which component an alert is about, and with it which role owns it (M25).
pub const COMPONENT_LABEL: &str = "component";

/// People, roles, schedules and calendars.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OnCallConfig {
    /// Who can be paged.
    pub people: Vec<PersonConfig>,
    /// What they are responsible for (M25).
    pub roles: Vec<RoleConfig>,
    /// Which days are worked.
    pub calendars: Vec<CalendarConfig>,
    /// Who is on duty when (M22).
    pub schedules: Vec<ScheduleConfig>,
    /// Meetings of the team (M24).
    pub meetings: Vec<MeetingConfig>,
}

impl OnCallConfig {
    /// Every person as a receiver, called `person/<name>`.
    pub fn receivers(&self) -> Vec<ReceiverConfig> {
        self.people.iter().map(PersonConfig::receiver).collect()
    }
}

/// People, roles and schedules, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct OnCall {
    people: Vec<PersonName>,
    roles: Vec<Role>,
    schedules: Vec<Schedule>,
    calendars: HashMap<String, Arc<Calendar>>,
    meetings: Vec<Series>,
}

/// A role, ready to be asked.
#[derive(Clone, Debug)]
struct Role {
    name: String,
    people: Vec<PersonName>,
    components: Vec<String>,
    matchers: Matchers,
}

impl Role {
    fn owns(&self, component: Option<&str>, labels: &Labels) -> bool {
        let is_named =
            component.is_some_and(|component| self.components.iter().any(|owned| owned == component));
        is_named || (!self.matchers.is_empty() && self.matchers.iter().all(|matcher| matcher.matches(labels)))
    }
}

impl OnCall {
    /// What the configuration describes.
    ///
    /// # Errors
    /// Everything that is wrong with it: names that are empty, doubled or unknown, zones that do not exist, empty
    /// rotations, turns without length.
    pub fn new(config: &OnCallConfig) -> Result<Self, Vec<Text>> {
        let mut problems = Vec::new();
        check_names(
            &text!("person"),
            config.people.iter().map(|person| &person.name),
            &mut problems,
        );
        check_names(
            &text!("role"),
            config.roles.iter().map(|role| &role.name),
            &mut problems,
        );
        check_names(
            &text!("calendar"),
            config.calendars.iter().map(|calendar| &calendar.name),
            &mut problems,
        );
        check_names(
            &text!("schedule"),
            config.schedules.iter().map(|schedule| &schedule.name),
            &mut problems,
        );

        for person in config
            .people
            .iter()
            .filter(|person| !person.contact.name.is_empty())
        {
            problems.push(text!(
                "the contact of {person} has the name {name}: expected none, its name is person/{person}",
                person = &person.name,
                name = &person.contact.name
            ));
        }
        check_names(
            &text!("meeting"),
            config.meetings.iter().map(|meeting| &meeting.name),
            &mut problems,
        );
        let people: Vec<PersonName> = config
            .people
            .iter()
            .map(|person| person.name.as_str().into())
            .collect();
        let mut on_call = Self {
            people,
            ..Self::default()
        };
        for role in &config.roles {
            for person in role.people.iter().filter(|person| !on_call.knows(person)) {
                problems.push(text!(
                    "role {role} names {person}, who is not among the people",
                    role = &role.name,
                    person = person
                ));
            }
            on_call.roles.push(Role {
                name: role.name.clone(),
                people: role.people.iter().map(|person| person.as_str().into()).collect(),
                components: role.components.clone(),
                matchers: role.matchers.clone(),
            });
        }
        for calendar in &config.calendars {
            // A wrong one is told once, not again by everything that uses it.
            let ready = Calendar::new(calendar).unwrap_or_else(|found| {
                problems.extend(found);
                Calendar::default()
            });
            on_call.calendars.insert(calendar.name.clone(), Arc::new(ready));
        }
        for schedule in &config.schedules {
            let ready = on_call.compiled(schedule, &mut problems);
            on_call.schedules.push(ready);
        }
        let series = |meeting| Series::new(meeting, &on_call.calendars, &mut problems);
        on_call.meetings = config.meetings.iter().map(series).collect();
        if problems.is_empty() {
            Ok(on_call)
        } else {
            Err(problems)
        }
    }

    fn compiled(&self, config: &ScheduleConfig, problems: &mut Vec<Text>) -> Schedule {
        let calendar = match &config.calendar {
            None => Arc::default(),
            Some(name) => self.calendars.get(name).cloned().unwrap_or_else(|| {
                problems.push(text!(
                    "schedule {schedule} uses the calendar {calendar}, which does not exist",
                    schedule = &config.name,
                    calendar = name
                ));
                Arc::default()
            }),
        };
        if config.layers.is_empty() {
            problems.push(text!(
                "schedule {schedule} has no layers",
                schedule = &config.name
            ));
        }
        let zone = zone_of(&config.zone, problems);
        let layers = config.layers.iter().map(|layer| {
            if layer.rotation.is_empty() {
                problems.push(text!(
                    "layer {layer} of schedule {schedule} has nobody in its rotation",
                    layer = &layer.name,
                    schedule = &config.name
                ));
            }
            if layer.turn_days == 0 {
                problems.push(text!(
                    "layer {layer} of schedule {schedule} has turns of 0 days: expected at least 1",
                    layer = &layer.name,
                    schedule = &config.name
                ));
            }
            let turns = layer.rotation.iter().map(|entry| {
                let people = self.rotation_entry(entry);
                if people.is_empty() {
                    problems.push(text!(
                        "`{entry}` in the rotation of layer {layer} of schedule {schedule} is neither a person nor a role with people",
                        entry = entry,
                        layer = &layer.name,
                        schedule = &config.name
                    ));
                }
                people
            });
            Layer {
                name: layer.name.clone(),
                turns: turns.collect(),
                zone: layer.zone.as_ref().map_or_else(|| zone.clone(), |name| zone_of(name, problems)),
                calendar: Arc::clone(&calendar),
                starts_on: layer.starts_on,
                ends_on: layer.ends_on,
                hand_off: layer.hand_off,
                turn_days: i32::from(layer.turn_days).max(1),
                windows: layer.only.clone(),
            }
        });
        let layers = layers.collect();
        Schedule {
            name: config.name.clone(),
            zone,
            layers,
        }
    }

    fn rotation_entry(&self, entry: &str) -> Vec<PersonName> {
        match entry.strip_prefix("role/") {
            Some(role) => self.in_role(role).to_vec(),
            None if self.knows(entry) => vec![entry.into()],
            None => Vec::new(),
        }
    }

    fn knows(&self, person: &str) -> bool {
        self.people.iter().any(|known| known.as_str() == person)
    }

    /// Everybody.
    pub fn people(&self) -> &[PersonName] {
        &self.people
    }

    /// The person with this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none.
    pub fn person(&self, name: &str) -> Result<&PersonName> {
        let person = self.people.iter().find(|person| person.as_str() == name);
        person.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                text!("there is no person {name}", name = name),
            )
        })
    }

    /// The schedule with this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none.
    pub fn schedule(&self, name: &str) -> Result<&Schedule> {
        let schedule = self.schedules.iter().find(|schedule| schedule.name == name);
        schedule.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                text!("there is no schedule {name}", name = name),
            )
        })
    }

    /// All schedules.
    pub fn schedules(&self) -> &[Schedule] {
        &self.schedules
    }

    /// The calendar with this name.
    pub fn calendar(&self, name: &str) -> Option<&Calendar> {
        self.calendars.get(name).map(Arc::as_ref)
    }

    /// The meetings that begin from `from` until before `to`, in order.
    pub fn meetings(&self, from: Timestamp, to: Timestamp) -> Vec<Meeting> {
        let mut meetings: Vec<Meeting> = self
            .meetings
            .iter()
            .flat_map(|series| series.between(from, to))
            .collect();
        meetings.sort_by(|left, right| (left.starts_at, &left.name).cmp(&(right.starts_at, &right.name)));
        meetings
    }

    /// Whether there is a role with this name.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|known| known.name == role)
    }

    /// Who has a role; nobody where there is no such role.
    pub fn in_role(&self, role: &str) -> &[PersonName] {
        let role = self.roles.iter().find(|known| known.name == role);
        role.map_or(&[], |role| role.people.as_slice())
    }

    /// The role that owns what an alert with these labels is about: the first one that names its component or whose
    /// matchers all match it (M25).
    pub fn owner(&self, labels: &Labels) -> Option<&str> {
        let component = labels.get(COMPONENT_LABEL);
        let role = self.roles.iter().find(|role| role.owns(component, labels));
        role.map(|role| role.name.as_str())
    }

    /// Who is on duty at `at`; nobody in a gap, or where there is no such schedule.
    pub fn on_duty(&self, schedule: &str, at: Timestamp, overrides: &Overrides) -> Vec<PersonName> {
        self.duty(schedule, at, overrides).people
    }

    /// Who is on duty at `at`, and why; nobody where there is no such schedule.
    pub fn duty(&self, schedule: &str, at: Timestamp, overrides: &Overrides) -> Duty {
        let schedule = self.schedule(schedule);
        schedule.map_or_else(|_| Duty::default(), |schedule| schedule.duty_at(at, overrides))
    }
}

fn zone_of(name: &str, problems: &mut Vec<Text>) -> TimeZone {
    TimeZone::get(name).unwrap_or_else(|_| {
        problems.push(text!(
            "`{zone}` is no time zone: expected a name such as Asia/Shanghai",
            zone = name
        ));
        TimeZone::UTC
    })
}

/// Names must be there, be sayable and be unique among their kind.
fn check_names<'a>(kind: &Text, names: impl Iterator<Item = &'a String> + Clone, problems: &mut Vec<Text>) {
    for (index, name) in names.clone().enumerate() {
        if !is_name(name) {
            problems.push(text!(
                "`{name}` is no name for a {kind}: expected letters, digits, `.`, `_` and `-`",
                name = name,
                kind = kind.clone()
            ));
        }
        if names.clone().take(index).any(|earlier| earlier == name) {
            problems.push(text!(
                "there is more than one {kind} called {name}",
                kind = kind.clone(),
                name = name
            ));
        }
    }
}
