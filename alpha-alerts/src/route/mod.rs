//! The tree that leads each alert to its receivers.

mod explain;

use std::fmt::Write as _;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use crate::config::RouteConfig;
use crate::label::{Fingerprint, Labels};
use crate::matcher::Matcher;
use crate::notification::GroupKey;
use crate::text;
use crate::text::Text;

pub use explain::{Explanation, Outcome, Visit};

/// How many label names are looked up once for all matchers of a tree; further ones are looked up by each matcher.
const SLOTS: usize = 16;

/// The routes of a configuration, ready to match. Who gets an alert is decided as Alertmanager decides it.
#[derive(Clone, Debug)]
pub struct RouteTree {
    /// Parents before children, the root first; what is below a node stands right behind it.
    nodes: Vec<Node>,
    routes: Vec<Route>,
    /// The labels that matchers look at, sorted.
    names: Vec<Box<str>>,
}

#[derive(Clone, Debug)]
struct Node {
    /// Each with the position of its label in `names`.
    conditions: Vec<(usize, Matcher)>,
    continues: bool,
    /// How far below the root.
    depth: usize,
    /// Where what is below this node ends.
    end: usize,
}

/// A node of the tree with everything it says or has from its parents.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Route {
    /// Its position in [`RouteTree::routes`]; two routes may have the same `key`, but not the same index.
    pub index: usize,
    /// The matchers that lead to it, as Alertmanager writes them: `{}/{severity="P0"}`.
    pub key: Arc<str>,
    /// Who is told.
    pub receiver: Arc<str>,
    /// What makes a group.
    pub group_by: GroupBy,
    /// How long a new group waits for further alerts.
    pub group_wait: Duration,
    /// How long a group that changed waits after it was told.
    pub group_interval: Duration,
    /// After how long a group that did not change is told again.
    pub repeat_interval: Duration,
    /// The time intervals during which nobody is told.
    pub mute_time_intervals: Vec<String>,
    /// The time intervals outside of which nobody is told; where there are none, somebody always is.
    pub active_time_intervals: Vec<String>,
    /// The escalation policy.
    pub escalation: Option<String>,
    /// How much of the end of `key` is this node's own.
    own_length: usize,
}

/// What makes a group of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Equal values of these labels, which are sorted; without any, all alerts are one group.
    Labels(Arc<[Box<str>]>),
    /// Each alert is a group of its own: `["..."]`.
    Everything,
}

impl GroupBy {
    fn contains(&self, name: &str) -> bool {
        match self {
            Self::Labels(names) => names.iter().any(|wanted| **wanted == *name),
            Self::Everything => true,
        }
    }
}

impl Route {
    /// The labels of an alert that decide which group of this route it belongs to.
    pub fn group_labels(&self, labels: &Labels) -> Labels {
        match &self.group_by {
            GroupBy::Everything => labels.clone(),
            GroupBy::Labels(_) => labels.filtered(|name| self.group_by.contains(name)),
        }
    }

    /// The fingerprint of [`group_labels`](Self::group_labels), without making them: finds the group of an alert
    /// together with [`index`](Self::index).
    pub fn group_fingerprint(&self, labels: &Labels) -> Fingerprint {
        let mut hasher = fnv::FnvHasher::default();
        for (name, value) in labels.iter().filter(|(name, _)| self.group_by.contains(name)) {
            for part in [name, value] {
                hasher.write(part.as_bytes());
                hasher.write(&[0xff]);
            }
        }
        Fingerprint(hasher.finish())
    }

    /// The identity of the group with these labels, as Alertmanager writes it: `{}/{severity="P0"}:{alertname="X"}`.
    pub fn group_key(&self, group_labels: &Labels) -> GroupKey {
        GroupKey::from(format!("{}:{group_labels}", self.key))
    }
}

impl RouteTree {
    /// The tree of a configuration.
    ///
    /// # Errors
    /// Everything that is wrong, with its place, such as `route.routes[2]`.
    pub fn new(config: &RouteConfig) -> Result<Self, Vec<Text>> {
        let mut problems = Vec::new();
        check_root(config, &mut problems);
        config.visit(&mut |path, route| check_node(path, route, &mut problems));
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut names: Vec<Box<str>> = Vec::new();
        config
            .visit(&mut |_, route| names.extend(route.matchers.iter().map(|matcher| matcher.name().into())));
        names.sort_unstable();
        names.dedup();
        let mut tree = Self {
            nodes: Vec::new(),
            routes: Vec::new(),
            names,
        };
        tree.add(config, None, 0);
        Ok(tree)
    }

    fn add(&mut self, config: &RouteConfig, parent: Option<usize>, depth: usize) {
        let index = self.nodes.len();
        let mut matchers = config.matchers.to_vec();
        matchers.sort_by(|left, right| {
            let rank = |matcher: &Matcher| matcher.operator();
            (left.name(), left.value(), rank(left)).cmp(&(right.name(), right.value(), rank(right)))
        });
        self.routes.push(self.route(config, &matchers, parent, index));
        let conditions = matchers
            .into_iter()
            .map(|matcher| {
                let slot = self.names.partition_point(|name| **name < *matcher.name());
                (slot, matcher)
            })
            .collect();
        self.nodes.push(Node {
            conditions,
            continues: config.r#continue,
            depth,
            end: 0,
        });
        for child in &config.routes {
            self.add(child, Some(index), depth + 1);
        }
        self.nodes[index].end = self.nodes.len();
    }

    fn route(
        &self,
        config: &RouteConfig,
        matchers: &[Matcher],
        parent: Option<usize>,
        index: usize,
    ) -> Route {
        let parent = parent.map(|index| &self.routes[index]);
        let mut key = parent
            .map(|parent| format!("{}/", parent.key))
            .unwrap_or_default();
        let inherited_length = key.len();
        key.push('{');
        for (position, matcher) in matchers.iter().enumerate() {
            let separator = if position == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(key, "{separator}{matcher}");
        }
        key.push('}');
        let group_by = match &config.group_by {
            None => parent.map_or_else(
                || GroupBy::Labels(Arc::default()),
                |parent| parent.group_by.clone(),
            ),
            Some(names) if names.iter().any(|name| name == "...") => GroupBy::Everything,
            Some(names) => {
                let mut names: Vec<Box<str>> = names.iter().map(|name| name.as_str().into()).collect();
                names.sort_unstable();
                GroupBy::Labels(names.into())
            }
        };
        let period = |own: Option<crate::Period>, inherited: Option<Duration>, default: u64| {
            own.map(|period| period.0)
                .or(inherited)
                .unwrap_or(Duration::from_secs(default))
        };
        Route {
            index,
            own_length: key.len() - inherited_length,
            key: key.into(),
            receiver: match (&config.receiver, parent) {
                (Some(receiver), _) => receiver.as_str().into(),
                (None, Some(parent)) => parent.receiver.clone(),
                (None, None) => Arc::default(),
            },
            group_by,
            group_wait: period(config.group_wait, parent.map(|parent| parent.group_wait), 30),
            group_interval: period(
                config.group_interval,
                parent.map(|parent| parent.group_interval),
                300,
            ),
            repeat_interval: period(
                config.repeat_interval,
                parent.map(|parent| parent.repeat_interval),
                4 * 3600,
            ),
            mute_time_intervals: config.mute_time_intervals.clone(),
            active_time_intervals: config.active_time_intervals.clone(),
            escalation: config
                .escalation
                .clone()
                .or_else(|| parent.and_then(|parent| parent.escalation.clone())),
        }
    }

    /// All routes, the root first, parents before their children.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The routes that take an alert with these labels, in the order of the tree. Never empty: the root takes what nobody
    /// else does.
    pub fn matching(&self, labels: &Labels) -> Vec<&Route> {
        let mut found = Vec::new();
        self.descend(0, &self.values(labels), labels, &mut found);
        found
    }

    /// The values of the labels that matchers look at. Both sides are sorted, so that one pass finds them all.
    fn values<'a>(&self, labels: &'a Labels) -> [&'a str; SLOTS] {
        let mut values = [""; SLOTS];
        let mut labels = labels.iter().peekable();
        for (slot, name) in values.iter_mut().zip(&self.names) {
            while labels.next_if(|(known, _)| *known < &**name).is_some() {}
            if let Some((_, value)) = labels.next_if(|(known, _)| *known == &**name) {
                *slot = value;
            }
        }
        values
    }

    fn descend<'a>(
        &'a self,
        index: usize,
        values: &[&str; SLOTS],
        labels: &Labels,
        found: &mut Vec<&'a Route>,
    ) -> bool {
        let node = &self.nodes[index];
        if node.failing(values, labels).is_some() {
            return false;
        }
        let before = found.len();
        let mut child = index + 1;
        while child < node.end {
            if self.descend(child, values, labels, found) && !self.nodes[child].continues {
                break;
            }
            child = self.nodes[child].end;
        }
        if found.len() == before {
            found.push(&self.routes[index]);
        }
        true
    }
}

impl Node {
    /// The first condition that the labels do not satisfy.
    fn failing(&self, values: &[&str; SLOTS], labels: &Labels) -> Option<&Matcher> {
        self.conditions
            .iter()
            .find(|(slot, matcher)| {
                let value = match values.get(*slot) {
                    Some(value) => value,
                    None => labels.get(matcher.name()).unwrap_or_default(),
                };
                !matcher.matches_value(value)
            })
            .map(|(_, matcher)| matcher)
    }
}

fn check_root(root: &RouteConfig, problems: &mut Vec<Text>) {
    if root.receiver.is_none() {
        problems.push(text!(
            "route needs a receiver, which takes whatever no child takes"
        ));
    }
    if !root.matchers.is_empty() {
        problems.push(text!(
            "route must not have matchers, because every alert enters there"
        ));
    }
    if root.r#continue {
        problems.push(text!(
            "route must not have `continue`, because it has no siblings"
        ));
    }
    if !root.mute_time_intervals.is_empty() || !root.active_time_intervals.is_empty() {
        problems.push(text!(
            "route must not have time intervals, because an alert that no child takes would be told to nobody"
        ));
    }
}

fn check_node(path: &str, route: &RouteConfig, problems: &mut Vec<Text>) {
    if route.receiver.as_deref() == Some("") {
        problems.push(text!("{path}.receiver is empty", path = path));
    }
    let names = route.group_by.as_deref().unwrap_or_default();
    if names.len() > 1 && names.iter().any(|name| name == "...") {
        problems.push(text!(
            "{path}.group_by has `...`, which stands for all labels, and others beside it",
            path = path
        ));
    }
    for (position, name) in names.iter().enumerate() {
        if name.is_empty() || names[..position].contains(name) {
            problems.push(text!(
                "{path}.group_by names the label \"{name}\", which is empty or named twice",
                path = path,
                name = name
            ));
        }
    }
    for (key, period) in [
        ("group_interval", route.group_interval),
        ("repeat_interval", route.repeat_interval),
    ] {
        if period.is_some_and(|period| period.0.is_zero()) {
            problems.push(text!(
                "{path}.{key} must be longer than nothing",
                path = path,
                key = key
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn tree(json: serde_json::Value) -> RouteTree {
        RouteTree::new(&serde_json::from_value(json).unwrap()).unwrap()
    }

    /// The tree of Alertmanager's own test of routes, which shows each of the rules.
    fn alertmanagers() -> RouteTree {
        tree(serde_json::json!({
            "receiver": "notify-def",
            "routes": [
                {
                    "matchers": ["owner=\"team-A\""],
                    "receiver": "notify-A",
                    "routes": [
                        { "matchers": ["env=\"testing\""], "receiver": "notify-testing", "group_by": ["..."] },
                        {
                            "matchers": ["env=\"production\""],
                            "receiver": "notify-productionA",
                            "group_wait": "1m",
                            "continue": true,
                        },
                        {
                            "matchers": ["env=~\"produ.*\"", "job=~\".*\""],
                            "receiver": "notify-productionB",
                            "group_wait": "30s",
                            "group_interval": "5m",
                            "repeat_interval": "1h",
                            "group_by": ["job"],
                        },
                    ],
                },
                {
                    "matchers": ["owner=~\"team-(B|C)\""],
                    "group_by": ["foo", "bar"],
                    "group_wait": "2m",
                    "receiver": "notify-BC",
                },
                {
                    "matchers": ["group_by=\"role\""],
                    "group_by": ["role"],
                    "routes": [
                        {
                            "matchers": ["env=\"testing\""],
                            "receiver": "notify-testing",
                            "routes": [{ "matchers": ["wait=\"long\""], "group_wait": "2m" }],
                        },
                    ],
                },
            ],
        }))
    }

    #[test]
    fn alertmanagers_own_examples() {
        let tree = alertmanagers();
        let found = |labels: &[(&str, &str)]| -> Vec<String> {
            let labels = Labels::new(labels.iter().copied());
            let describe = |route: &Route| {
                format!(
                    "{} by {:?} {}s/{}s/{}s {}",
                    route.receiver,
                    route.group_by,
                    route.group_wait.as_secs(),
                    route.group_interval.as_secs(),
                    route.repeat_interval.as_secs(),
                    route.key
                )
            };
            tree.matching(&labels).into_iter().map(describe).collect()
        };
        insta::assert_debug_snapshot!([
            found(&[("owner", "team-A")]),
            found(&[("owner", "team-A"), ("env", "unset")]),
            found(&[("owner", "team-C")]),
            found(&[("owner", "team-A"), ("env", "testing")]),
            found(&[("owner", "team-A"), ("env", "production")]),
            found(&[("group_by", "role")]),
            found(&[("env", "testing"), ("group_by", "role")]),
            found(&[("env", "testing"), ("group_by", "role"), ("wait", "long")]),
            found(&[]),
        ]);
    }

    #[test]
    fn groups_are_keyed_as_alertmanager_keys_them() {
        let tree = tree(serde_json::json!({
            "receiver": "ops",
            "routes": [{
                // Sorted, whatever the order in which they are written.
                "matchers": ["severity=\"P0\"", "chain=~\"a|b\"", "chain!=\"c\\\"\""],
                "group_by": ["cluster", "alertname"],
            }],
        }));
        let labels = Labels::new([
            ("severity", "P0"),
            ("chain", "a"),
            ("alertname", "Node\"Down\"\n"),
            ("instance", "node-1"),
        ]);
        let route = tree.matching(&labels)[0];
        let group_labels = route.group_labels(&labels);
        assert_eq!(group_labels, Labels::new([("alertname", "Node\"Down\"\n")]));
        assert_eq!(route.group_fingerprint(&labels), group_labels.fingerprint());
        assert_eq!(
            route.group_key(&group_labels).as_str(),
            r#"{}/{chain=~"a|b",chain!="c\"",severity="P0"}:{alertname="Node\"Down\"\n"}"#
        );
        let root = &tree.routes()[0];
        assert_eq!(root.group_key(&root.group_labels(&labels)).as_str(), "{}:{}");
    }

    #[test]
    fn three_dots_make_a_group_of_each_alert_until_a_child_says_otherwise() {
        let tree = tree(serde_json::json!({
            "receiver": "ops",
            "group_by": ["..."],
            "routes": [
                { "matchers": ["a=b"] },
                { "matchers": ["a=c"], "group_by": ["a"] },
                { "matchers": ["a=d"], "group_by": [] },
            ],
        }));
        let group = |value: &str| {
            let labels = Labels::new([("a", value), ("z", "1")]);
            let route = tree.matching(&labels)[0];
            route.group_key(&route.group_labels(&labels)).to_string()
        };
        assert_eq!(group("b"), r#"{}/{a="b"}:{a="b", z="1"}"#);
        assert_eq!(group("c"), r#"{}/{a="c"}:{a="c"}"#);
        assert_eq!(group("d"), r#"{}/{a="d"}:{}"#);
    }

    #[test]
    fn more_names_than_slots_are_matched_all_the_same() {
        let names: Vec<String> = (0..2 * SLOTS).map(|index| format!("label_{index:02}")).collect();
        let children: Vec<_> = names
            .iter()
            .map(|name| serde_json::json!({ "receiver": name, "matchers": [format!("{name}=x")], "continue": true }))
            .collect();
        let tree = tree(serde_json::json!({ "receiver": "ops", "routes": children }));
        let labels = Labels::new(names.iter().map(|name| (name.as_str(), "x")));
        let found: Vec<_> = tree
            .matching(&labels)
            .iter()
            .map(|route| route.receiver.to_string())
            .collect();
        assert_eq!(found, names);
    }

    #[test]
    fn an_explanation_names_what_stood_in_the_way() {
        let tree = alertmanagers();
        let labels = Labels::new([("owner", "team-A"), ("env", "production")]);
        let explanation = tree.explain(&labels);
        assert_eq!(
            explanation.receivers(),
            ["notify-productionA", "notify-productionB"]
        );
        let lines: Vec<String> = explanation.lines().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(lines.join("\n"));
        insta::assert_snapshot!(tree.to_string());
    }

    /// The plan's table of channels (M6) as a tree that can be copied.
    #[test]
    fn the_shipped_example_gives_everybody_what_the_plan_says() {
        let file: toml::Table = toml::from_str(include_str!("../../../docs/examples/routing.toml")).unwrap();
        let config: Config = file["alerts"].clone().try_into().unwrap();
        assert_eq!(config.check(), []);
        let tree = RouteTree::new(&config.route).unwrap();
        let kinds = |severity: &str| {
            let labels = Labels::new([("alertname", "X"), ("severity", severity)]);
            let mut kinds = Vec::new();
            for route in tree.matching(&labels) {
                let receiver = config
                    .receivers
                    .iter()
                    .find(|receiver| *receiver.name == *route.receiver);
                let receiver = serde_json::to_value(receiver.unwrap()).unwrap();
                let ways = receiver.as_object().unwrap().keys().filter(|key| *key != "name");
                kinds.extend(ways.map(|way| format!("{} by {way}", route.receiver)));
            }
            format!("{severity}: {}", kinds.join(", "))
        };
        let who = ["P0", "P1", "P2", "P3", "unheard of"].map(kinds).join("\n");
        insta::assert_snapshot!(format!("{who}\n\n{tree}"));
    }
}
