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

use crate::inhibit::Inhibitor;
use crate::notifiers::{Language, ReceiverConfig};
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
            heartbeats: Vec::new(),
            external_url: None,
            language: Language::default(),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each in a sentence that names the place; empty where nothing is.
    pub fn check(&self) -> Vec<Text> {
        let mut problems = Vec::new();
        problems.extend(RouteTree::new(&self.route).err().unwrap_or_default());
        problems.extend(Inhibitor::new(&self.inhibit_rules).err().unwrap_or_default());
        problems.extend(TimeIntervals::new(&self.time_intervals).err().unwrap_or_default());
        let receivers = self.check_receivers(&mut problems);
        let intervals: HashSet<&str> = self
            .time_intervals
            .iter()
            .map(|interval| interval.name.as_str())
            .collect();
        self.route.visit(&mut |path, route| {
            if let Some(name) = route.receiver.as_deref()
                && !name.is_empty()
                && !receivers.contains(name)
            {
                problems.push(text!(
                    "{path} names the receiver {name}, which is not defined",
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
        if self.resolve_timeout.0.is_zero() {
            problems.push(text!("resolve_timeout must be longer than nothing"));
        }
        if let Some(name) = self.delivery.fallback.as_deref()
            && !receivers.contains(name)
        {
            problems.push(text!(
                "delivery.fallback names the receiver {name}, which is not defined",
                name = name
            ));
        }
        problems.extend(self.delivery.check());
        problems.extend(heartbeat::check(&self.heartbeats));
        problems
    }

    /// The names of the receivers. A name without any is reported by the routes that use it.
    fn check_receivers<'a>(&'a self, problems: &mut Vec<Text>) -> HashSet<&'a str> {
        let mut names = HashSet::new();
        for (index, receiver) in self.receivers.iter().enumerate() {
            let name = receiver.name.as_str();
            if name.is_empty() {
                problems.push(text!("receivers[{index}] needs a name", index = index));
            } else if !names.insert(name) {
                problems.push(text!("two receivers are named {name}", name = name));
            }
        }
        names
    }
}
