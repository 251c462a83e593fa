//! The tree that leads alerts to receivers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Matchers;
use crate::period::Period;

/// A node of the routing tree. Which alerts it takes, and for whom; what it leaves out it has from its parent.
///
/// An alert enters at the root, which takes every alert, and goes down into the first child that matches, and into its
/// siblings after that where the child says `continue`. Where no child matches, the node itself takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RouteConfig {
    /// Who is told. The root must say; default elsewhere: the parent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// Which alerts. Default: all. The root must have none.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub matchers: Matchers,
    /// Whether the siblings after this node are asked although it matched. Default: false. The root must not say so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub r#continue: bool,
    /// The labels whose values make one group; `["..."]` makes a group of each alert. Default: the parent's; at the root
    /// none, so that all its alerts are one group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// How long a new group waits for further alerts before it is told. Default: the parent's; at the root 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_wait: Option<Period>,
    /// How long a group that changed waits after it was told. Default: the parent's; at the root 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_interval: Option<Period>,
    /// After how long a group that did not change is told again. Default: the parent's; at the root 4h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_interval: Option<Period>,
    /// The time intervals during which nobody is told. Not inherited. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mute_time_intervals: Vec<String>,
    /// The time intervals outside of which nobody is told. Not inherited. Default: none, which means always.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub active_time_intervals: Vec<String>,
    /// The escalation policy that goes on paging until somebody acknowledges. Default: the parent's; at the root none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalation: Option<String>,
    /// The children.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteConfig>,
}

impl RouteConfig {
    /// The root of a tree, or a child that says who is told.
    pub fn to(receiver: impl Into<String>) -> Self {
        Self {
            receiver: Some(receiver.into()),
            ..Self::default()
        }
    }

    /// Calls `visitor` with each node and its place, such as `route.routes[2]`, parents first.
    pub(crate) fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, &'a Self)) {
        self.visit_from("route", visitor);
    }

    fn visit_from<'a>(&'a self, path: &str, visitor: &mut dyn FnMut(&str, &'a Self)) {
        visitor(path, self);
        for (index, child) in self.routes.iter().enumerate() {
            child.visit_from(&format!("{path}.routes[{index}]"), visitor);
        }
    }
}
