//! Everything an operator decides about alerts, as plain data.

mod delivery;
mod heartbeat;
mod inhibit_rule;
mod matchers;
mod route;
mod time_interval;

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::escalation::{Policies, PolicyConfig};
use crate::inhibit::Inhibitor;
use crate::notifiers::{Language, ReceiverConfig};
use crate::oncall::{OnCall, OnCallConfig};
use crate::period::Period;
use crate::route::RouteTree;
use crate::severity::SeverityConfig;
use crate::text;
use crate::text::Text;
use crate::time_interval::TimeIntervals;

pub use delivery::DeliveryConfig;
pub use heartbeat::HeartbeatConfig;
pub use inhibit_rule::InhibitRuleConfig;
pub use matchers::Matchers;
pub use route::RouteConfig;
pub use time_interval::{
    DayOfMonthRange, IntervalConfig, MonthRange, TimeIntervalConfig, TimeOfDay, TimeRange, WeekdayRange,
    YearRange,
};

/// Everything that decides who is told what, and when.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The root of the tree that leads each alert to its receivers.
    pub route: RouteConfig,
    /// Who can be told.
    pub receivers: Vec<ReceiverConfig>,
    /// Which alerts keep which others quiet. Default: none.
    pub inhibit_rules: Vec<InhibitRuleConfig>,
    /// Named times that routes refer to. Default: none.
    pub time_intervals: Vec<TimeIntervalConfig>,
    /// How long an alert fires after it was last told, where its sender did not say when it ends. Default: 5m, as
    /// Alertmanager's.
    pub resolve_timeout: Period,
    /// Which label says how bad an alert is.
    pub severity: SeverityConfig,
    /// How notifications are delivered.
    pub delivery: DeliveryConfig,
    /// Who is on duty when. Each of its people is a receiver as well, named `person/<name>`.
    pub on_call: OnCallConfig,
    /// Whom to page when, until somebody acknowledges. Default: the ready-made policies `p0` to `p3`.
    pub escalation: Vec<PolicyConfig>,
    /// Signs of life that are expected. Default: none.
    pub heartbeats: Vec<HeartbeatConfig>,
    /// Where people reach this installation, for links in notifications. Default: no links.
    pub external_url: Option<Url>,
    /// The language of notifications. Default: English.
    pub language: Language,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            route: RouteConfig::default(),
            receivers: Vec::new(),
            inhibit_rules: Vec::new(),
            time_intervals: Vec::new(),
            resolve_timeout: Period::from_secs(300),
            severity: SeverityConfig::default(),
            delivery: DeliveryConfig::default(),
            on_call: OnCallConfig::default(),
            escalation: Vec::new(),
            heartbeats: Vec::new(),
            external_url: None,
            language: Language::default(),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each in a sentence that names the place; empty where nothing is.
    ///
    /// What only the makers of integrations can tell, such as a secret that is not there, is told by
    /// [`notifiers::build`](crate::notifiers::build).
    pub fn check(&self) -> Vec<Text> {
        let mut problems = Vec::new();
        problems.extend(RouteTree::new(&self.route).err().unwrap_or_default());
        problems.extend(Inhibitor::new(&self.inhibit_rules).err().unwrap_or_default());
        problems.extend(TimeIntervals::new(&self.time_intervals).err().unwrap_or_default());
        let people = self.on_call.receivers();
        let receivers = self.check_receivers(&people, &mut problems);
        let policies = self.check_policies(&receivers, &mut problems);
        self.check_references(&receivers, policies.as_ref(), &mut problems);
        if self.resolve_timeout.0.is_zero() {
            problems.push(text!("resolve_timeout must be longer than nothing"));
        }
        problems.extend(self.delivery.check());
        problems.extend(heartbeat::check(&self.heartbeats));
        problems
    }

    /// The names of the receivers, people included. One without a name is reported by the routes that use it.
    fn check_receivers<'a>(&'a self, people: &'a [ReceiverConfig], problems: &mut Vec<Text>) -> Vec<&'a str> {
        let mut names: Vec<&str> = people.iter().map(|person| person.name.as_str()).collect();
        for (index, receiver) in self.receivers.iter().enumerate() {
            let name = receiver.name.as_str();
            if name.is_empty() {
                problems.push(text!("receivers[{index}] needs a name", index = index));
            } else if names.contains(&name) {
                problems.push(text!("two receivers are named {name}", name = name));
            } else {
                names.push(name);
            }
        }
        names
    }

    /// The policies; none where something is wrong with them or with the people they page.
    fn check_policies(&self, receivers: &[&str], problems: &mut Vec<Text>) -> Option<Policies> {
        let made = OnCall::new(&self.on_call)
            .and_then(|on_call| Policies::new(&self.escalation, &on_call, receivers));
        match made {
            Ok(policies) => Some(policies),
            Err(mut wrong) => {
                problems.append(&mut wrong);
                None
            }
        }
    }

    fn check_references(&self, receivers: &[&str], policies: Option<&Policies>, problems: &mut Vec<Text>) {
        let intervals: HashSet<&str> = self
            .time_intervals
            .iter()
            .map(|interval| interval.name.as_str())
            .collect();
        self.route.visit(&mut |path, route| {
            if let Some(name) = route.receiver.as_deref()
                && !name.is_empty()
                && !receivers.contains(&name)
            {
                problems.push(text!(
                    "{path} names the receiver {name}, which is not defined",
                    path = path,
                    name = name
                ));
            }
            if let (Some(name), Some(policies)) = (route.escalation.as_deref(), policies)
                && !policies.has(name)
            {
                problems.push(text!(
                    "{path} names the escalation policy {name}, which is not defined",
                    path = path,
                    name = name
                ));
            }
            let muted = route.mute_time_intervals.iter();
            for name in muted.chain(&route.active_time_intervals) {
                if !intervals.contains(name.as_str()) {
                    problems.push(text!(
                        "{path} names the time interval {name}, which is not defined",
                        path = path,
                        name = name
                    ));
                }
            }
        });
        if let Some(name) = self.delivery.fallback.as_deref()
            && !receivers.contains(&name)
        {
            problems.push(text!(
                "delivery.fallback names the receiver {name}, which is not defined",
                name = name
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a configuration file would be read, except for the places of errors.
    fn config(json: serde_json::Value) -> Config {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_defaults_are_alertmanagers_and_the_plans() {
        let config =
            config(serde_json::json!({ "route": { "receiver": "ops" }, "receivers": [{ "name": "ops" }] }));
        assert_eq!(config.check(), []);
        assert_eq!(config.resolve_timeout, Period::from_secs(300));
        let delivery = serde_json::to_value(&config.delivery).unwrap();
        insta::assert_json_snapshot!(delivery);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let config = config(serde_json::json!({
            "route": {
                "matchers": ["a=b"],
                "continue": true,
                "mute_time_intervals": ["night"],
                "routes": [
                    { "receiver": "nobody", "group_by": ["a", "a"], "group_interval": "0s" },
                    { "escalation": "p9", "group_by": ["...", "b"], "active_time_intervals": ["weekend"] },
                ],
            },
            "receivers": [{ "name": "ops" }, { "name": "ops" }, {}],
            "inhibit_rules": [{ "equal": ["a", "a"] }],
            "time_intervals": [
                { "name": "weekend", "time_intervals": [{ "location": "Mars/Olympus" }] },
                { "name": "weekend" },
                {},
            ],
            "resolve_timeout": "0s",
            "delivery": { "fallback": "also nobody", "backoff_initial": "5m", "concurrency": 0, "timeout": "0s" },
            "heartbeats": [{ "name": "a b" }, { "name": "backup" }, { "name": "backup", "every": "0s" }],
        }));
        let problems: Vec<String> = config.check().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(problems.join("\n"));
    }

    #[test]
    fn a_person_is_a_receiver() {
        let config = config(serde_json::json!({
            "route": { "receiver": "person/ada", "escalation": "p0" },
            "on_call": { "people": [{ "name": "ada" }] },
        }));
        let problems: Vec<String> = config.check().iter().map(ToString::to_string).collect();
        assert!(
            !problems.iter().any(|problem| problem.contains("receiver")),
            "{problems:?}"
        );
    }

    #[test]
    fn what_is_read_is_written_again() {
        let json = serde_json::json!({
            "route": {
                "receiver": "ops",
                "routes": [{ "matchers": ["severity=\"P0\"", "chain=~\"a|b\""], "group_by": ["..."], "group_wait": "10s" }],
            },
            "inhibit_rules": [{ "source_matchers": ["a=b"], "target_matchers": ["{c=d,e!=f}"], "equal": ["g"] }],
            "time_intervals": [{
                "name": "night",
                "time_intervals": [{
                    "times": [{ "start_time": "22:00", "end_time": "24:00" }],
                    "weekdays": ["Monday:friday", "sunday"],
                    "days_of_month": ["1:7", "-3:-1", "15"],
                    "months": ["january:3", "december"],
                    "years": ["2026:2028", "2030"],
                    "location": "Europe/Berlin",
                }],
            }],
        });
        let written = serde_json::to_value(config(json)).unwrap();
        assert_eq!(written, serde_json::to_value(config(written.clone())).unwrap());
        insta::assert_json_snapshot!([
            &written["route"],
            &written["inhibit_rules"],
            &written["time_intervals"]
        ]);
    }

    #[test]
    fn a_wrong_range_of_time_is_refused_with_what_is_expected() {
        let read = |key: &str, value: &str| {
            let json = serde_json::json!({ key: [value] });
            match serde_json::from_value::<IntervalConfig>(json) {
                Ok(_) => format!("{key} {value}: read"),
                Err(error) => format!("{key} {value}: {error}"),
            }
        };
        let results = [
            read("weekdays", "monday:sunday"),
            read("weekdays", "mon"),
            read("weekdays", "monday:tuesday:friday"),
            read("days_of_month", "0"),
            read("days_of_month", "32"),
            read("days_of_month", "-1:1"),
            read("days_of_month", "31:-31"),
            read("days_of_month", "10:-18"),
            read("days_of_month", "10:-19"),
            read("months", "13"),
            read("months", "may:april"),
            read("years", "2027:2026"),
            read("years", "soon"),
        ];
        insta::assert_snapshot!(results.join("\n"));
        for wrong in ["9:00", "24:01", "12:60", "1200", "+1:00", ""] {
            assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong} was read");
        }
    }
}
