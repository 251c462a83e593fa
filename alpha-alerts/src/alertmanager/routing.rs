//! Routes, inhibition and time intervals.

use std::collections::HashMap;

use serde_saphyr::Location;

use super::document::{Mapping, Value};
use super::duration;
use crate::config::{
    InhibitRuleConfig, IntervalConfig, Matchers, RouteConfig, TimeIntervalConfig, TimeRange,
};
use crate::matcher::{self, Matcher, Operator};
use crate::text;

/// Names that routes use, with the first place of each, to be looked for when everything has been read.
#[derive(Debug, Default)]
pub(super) struct References {
    pub(super) receivers: HashMap<String, Location>,
    pub(super) intervals: HashMap<String, Location>,
}

pub(super) fn route(value: &Value<'_>, references: &mut References) -> RouteConfig {
    let mut keys = value.mapping();
    let mut route = RouteConfig::default();
    if let Some(receiver) = keys.take("receiver") {
        route.receiver = receiver.text().filter(|name| !name.is_empty()).map(str::to_owned);
        if let Some(name) = &route.receiver {
            references
                .receivers
                .entry(name.clone())
                .or_insert(receiver.location);
        }
    }
    route.matchers = condition(&mut keys, "match", "match_re", "matchers");
    route.r#continue = keys.truth("continue").unwrap_or_default();
    // In Alertmanager's files an empty list is none at all: the parent's counts.
    route.group_by = keys
        .take("group_by")
        .map(|names| names.texts())
        .filter(|names| !names.is_empty());
    let mut period = |key| keys.take(key)?.parsed(duration::parse);
    route.group_wait = period("group_wait");
    route.group_interval = period("group_interval");
    route.repeat_interval = period("repeat_interval");
    for (key, names) in [
        ("mute_time_intervals", &mut route.mute_time_intervals),
        ("active_time_intervals", &mut route.active_time_intervals),
    ] {
        for name in keys.take(key).iter().flat_map(Value::list) {
            if let Some(text) = name.text() {
                references
                    .intervals
                    .entry(text.to_owned())
                    .or_insert(name.location);
                names.push(text.to_owned());
            }
        }
    }
    let children = keys
        .take("routes")
        .map(|routes| routes.list())
        .unwrap_or_default();
    route.routes = children
        .iter()
        .map(|child| self::route(child, references))
        .collect();
    keys.finish();
    route
}

/// The three ways to write conditions: equal values, expressions, and matchers, all of which must hold.
fn condition(keys: &mut Mapping<'_>, equal: &str, expression: &str, matchers: &str) -> Matchers {
    let mut all = Vec::new();
    let mut add = |value: &Value<'_>, matcher: crate::Result<Vec<Matcher>>| match matcher {
        Ok(mut matchers) => all.append(&mut matchers),
        Err(error) => value.problem(text!(
            "{path}: {error}",
            path = &value.path,
            error = error.to_text()
        )),
    };
    for (name, value) in keys
        .take(equal)
        .map(|value| value.mapping().rest())
        .unwrap_or_default()
    {
        if let Some(text) = value.text() {
            add(
                &value,
                Matcher::new(name, Operator::Equal, text).map(|matcher| vec![matcher]),
            );
        }
    }
    for (name, value) in keys
        .take(expression)
        .map(|value| value.mapping().rest())
        .unwrap_or_default()
    {
        if value.is_null() {
            value.problem(text!("{path} needs an expression", path = &value.path));
        } else if let Some(text) = value.text() {
            // As Alertmanager writes it, because the group key shows it.
            let anchored = format!("^(?:{text})$");
            add(
                &value,
                Matcher::new(name, Operator::Matches, &anchored).map(|matcher| vec![matcher]),
            );
        }
    }
    for value in keys.take(matchers).iter().flat_map(Value::list) {
        if let Some(text) = value.text() {
            add(&value, matcher::parse_list(text));
        }
    }
    Matchers(all)
}

pub(super) fn inhibit_rule(value: &Value<'_>) -> InhibitRuleConfig {
    let mut keys = value.mapping();
    let mut rule = InhibitRuleConfig {
        name: keys.text("name").map(str::to_owned),
        source_matchers: condition(&mut keys, "source_match", "source_match_re", "source_matchers"),
        target_matchers: condition(&mut keys, "target_match", "target_match_re", "target_matchers"),
        equal: keys.take("equal").map(|names| names.texts()).unwrap_or_default(),
    };
    rule.equal.sort();
    rule.equal.dedup();
    keys.finish();
    rule
}

pub(super) fn time_interval(value: &Value<'_>) -> TimeIntervalConfig {
    let mut keys = value.mapping();
    let interval = TimeIntervalConfig {
        name: keys.text("name").unwrap_or_default().to_owned(),
        time_intervals: keys
            .take("time_intervals")
            .iter()
            .flat_map(Value::list)
            .map(|value| interval(&value))
            .collect(),
    };
    keys.finish();
    interval
}

fn interval(value: &Value<'_>) -> IntervalConfig {
    let mut keys = value.mapping();
    let interval = IntervalConfig {
        times: keys
            .take("times")
            .iter()
            .flat_map(Value::list)
            .filter_map(|value| times(&value))
            .collect(),
        weekdays: ranges(&mut keys, "weekdays"),
        days_of_month: ranges(&mut keys, "days_of_month"),
        months: ranges(&mut keys, "months"),
        years: ranges(&mut keys, "years"),
        location: keys.text("location").map(str::to_owned),
    };
    keys.finish();
    interval
}

fn ranges<T: std::str::FromStr<Err = String>>(keys: &mut Mapping<'_>, key: &str) -> Vec<T> {
    let values = keys.take(key);
    let values = values.iter().flat_map(Value::list);
    values.filter_map(|value| value.parsed(str::parse)).collect()
}

fn times(value: &Value<'_>) -> Option<TimeRange> {
    let mut keys = value.mapping();
    let mut time = |key: &str| match keys.take(key) {
        Some(time) => time.parsed(str::parse),
        None => {
            value.problem(text!("{path} needs {key}", path = &value.path, key = key));
            None
        }
    };
    let (start_time, end_time) = (time("start_time"), time("end_time"));
    keys.finish();
    Some(TimeRange {
        start_time: start_time?,
        end_time: end_time?,
    })
}
