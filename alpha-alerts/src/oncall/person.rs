//! People, and the roles that own components (M25).

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Matchers;
use crate::notification::shared_name;
use crate::notifiers::ReceiverConfig;

shared_name! {
    /// The short name of a person, such as `mei`; what overrides, acknowledgements and rotations name.
    PersonName
}

/// Somebody who can be paged. As a receiver they are called `person/<name>`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PersonConfig {
    /// What the rest of the configuration calls them: `mei`. Letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// What people call them, if not by `name`.
    pub full_name: Option<String>,
    /// How to reach them: the same keys as a receiver's, without its name.
    pub contact: ReceiverConfig,
}

/// A role of the team (M25): people who own components together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RoleConfig {
    /// What targets and rotations call it: `devops` in `role/devops`.
    pub name: String,
    /// What people call it, such as `DevOps engineer`.
    pub title: Option<String>,
    /// What it is there for.
    pub duties: Option<String>,
    /// Who has it, by name.
    pub people: Vec<String>,
    /// The components it owns: values of the label `component`.
    pub components: Vec<String>,
    /// What it owns besides: alerts that all of these match. Default: nothing.
    pub matchers: Matchers,
}

impl PersonConfig {
    /// The person as a receiver called `person/<name>`.
    pub fn receiver(&self) -> ReceiverConfig {
        ReceiverConfig {
            name: receiver_of(&self.name).to_string(),
            ..self.contact.clone()
        }
    }
}

impl PersonName {
    /// The person as a receiver: `person/<name>`.
    pub fn receiver(&self) -> Arc<str> {
        receiver_of(self.as_str())
    }
}

fn receiver_of(person: &str) -> Arc<str> {
    format!("person/{person}").into()
}

/// Whether `name` can stand after the slash of a target.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|letter| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-'))
}
