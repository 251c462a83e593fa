//! Finds the silences of an alert without trying each.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Silence, SilenceState};
use crate::label::Labels;
use crate::matcher::Operator;

/// Silences, found by one of the values they ask for.
#[derive(Clone, Debug, Default)]
pub struct Silences {
    by_id: HashMap<Uuid, Silence>,
    /// By label and value, those that ask for exactly this value. Each silence stands in one place only.
    pub(super) by_value: HashMap<Box<str>, HashMap<Box<str>, Vec<Uuid>>>,
    /// Those that ask for no exact value.
    pub(super) others: Vec<Uuid>,
}

impl Silences {
    /// Adds a silence, or replaces the one with its identity, which is given back.
    pub fn put(&mut self, silence: Silence) -> Option<Silence> {
        let replaced = self.remove(silence.id);
        let exact = silence
            .matchers
            .iter()
            .filter(|matcher| matcher.operator() == Operator::Equal && !matcher.value().is_empty());
        // The rarest value tells most: of `severity="P1"` and `instance="node-7"` rather the instance.
        let rarest = exact.min_by_key(|matcher| {
            self.by_value
                .get(matcher.name())
                .and_then(|values| values.get(matcher.value()))
                .map_or(0, Vec::len)
        });
        match rarest {
            Some(matcher) => self
                .by_value
                .entry(matcher.name().into())
                .or_default()
                .entry(matcher.value().into())
                .or_default()
                .push(silence.id),
            None => self.others.push(silence.id),
        }
        self.by_id.insert(silence.id, silence);
        replaced
    }

    /// Takes a silence out.
    pub fn remove(&mut self, id: Uuid) -> Option<Silence> {
        let silence = self.by_id.remove(&id)?;
        let is_other = |known: &Uuid| *known != id;
        for matcher in &silence.matchers {
            let Some(values) = self.by_value.get_mut(matcher.name()) else {
                continue;
            };
            if let Some(ids) = values.get_mut(matcher.value()) {
                ids.retain(is_other);
                if ids.is_empty() {
                    values.remove(matcher.value());
                }
            }
            if values.is_empty() {
                self.by_value.remove(matcher.name());
            }
        }
        self.others.retain(is_other);
        Some(silence)
    }

    /// The silence with this identity.
    pub fn get(&self, id: Uuid) -> Option<&Silence> {
        self.by_id.get(&id)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.by_id.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The silences that keep an alert with these labels quiet at `now`, in no order.
    pub fn silencing(&self, labels: &Labels, now: Timestamp) -> impl Iterator<Item = &Silence> {
        let by_value = labels
            .iter()
            .filter_map(|(name, value)| self.by_value.get(name)?.get(value))
            .flatten();
        by_value
            .chain(&self.others)
            .filter_map(|id| self.by_id.get(id))
            .filter(move |silence| silence.matches(labels) && silence.state_at(now) == SilenceState::Active)
    }
}
