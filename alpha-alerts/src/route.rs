//! The tree that leads each alert to its receivers.

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
        tree.add(config, None);
        Ok(tree)
    }

    fn add(&mut self, config: &RouteConfig, parent: Option<usize>) {
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
            end: 0,
        });
        for child in &config.routes {
            self.add(child, Some(index));
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
