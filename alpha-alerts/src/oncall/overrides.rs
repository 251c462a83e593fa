//! Overrides and swaps: who is on duty instead of whom the layers say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{OnCall, PersonName};
use crate::error::{Error, ErrorKind, Result};
use crate::text;

/// Puts a person on duty for a time, whatever the layers of the schedule say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Its identity.
    pub id: Uuid,
    /// The schedule.
    pub schedule: String,
    /// Who is on duty.
    pub person: PersonName,
    /// In whose place: it then takes effect only while that person would be on duty. `None`: in place of everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<PersonName>,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when; that instant is no longer part of it.
    pub ends_at: Timestamp,
    /// When it was made. Of two that overlap the one that was made later counts.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The other half, where it is half of a swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped_with: Option<Uuid>,
}

/// A time that one person serves, as one side of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stint {
    /// Who serves it so far.
    pub person: PersonName,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when; that instant is no longer part of it.
    pub ends_at: Timestamp,
}

/// Who makes a change, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Override {
    /// The two halves of a swap: each person serves the other's stint. Make both with one command, so that there is
    /// never only one of them.
    pub fn swap(ids: [Uuid; 2], schedule: &str, stints: [Stint; 2], origin: &Origin) -> [Self; 2] {
        let [first, second] = stints;
        let (first_person, second_person) = (first.person.clone(), second.person.clone());
        let half = |id, swapped_with, stint: Stint, person| Self {
            id,
            schedule: schedule.to_owned(),
            person,
            replaces: Some(stint.person),
            starts_at: stint.starts_at,
            ends_at: stint.ends_at,
            created_at: origin.at,
            created_by: origin.by.clone(),
            reason: origin.reason.clone(),
            swapped_with: Some(swapped_with),
        };
        [
            half(ids[0], ids[1], first, second_person),
            half(ids[1], ids[0], second, first_person),
        ]
    }

    /// Whether it applies at `at`.
    pub fn covers(&self, at: Timestamp) -> bool {
        self.starts_at <= at && at < self.ends_at
    }

    /// Whether it makes sense to the configuration.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where it ends before it begins or replaces somebody by themselves, [`ErrorKind::NotFound`] where the schedule or a
    /// person is unknown.
    pub fn check(&self, on_call: &OnCall) -> Result<()> {
        if self.ends_at <= self.starts_at {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                text!(
                    "the override ends at {end}, which is not after its start at {start}",
                    end = self.ends_at.to_string(),
                    start = self.starts_at.to_string()
                ),
            ));
        }
        if self.replaces.as_ref() == Some(&self.person) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                text!(
                    "the override puts {person} in the place of {person}",
                    person = self.person.to_string()
                ),
            ));
        }
        on_call.schedule(&self.schedule)?;
        for person in [Some(&self.person), self.replaces.as_ref()].into_iter().flatten() {
            on_call.person(person.as_str())?;
        }
        Ok(())
    }
}

/// All overrides and swaps that are known: a part of the dispatcher's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    by_id: BTreeMap<Uuid, Override>,
}

impl Overrides {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, or replaces the one with its id.
    pub fn put(&mut self, entry: Override) {
        self.by_id.insert(entry.id, entry);
    }

    /// Removes one, and with it the other half of a swap; what was removed.
    pub fn remove(&mut self, id: Uuid) -> Vec<Override> {
        let Some(removed) = self.by_id.remove(&id) else {
            return Vec::new();
        };
        let other = removed.swapped_with.and_then(|other| self.by_id.remove(&other));
        std::iter::once(removed).chain(other).collect()
    }

    /// Removes those that ended at `before` or earlier; what was removed. Reports about the time before then show the
    /// layers alone.
    pub fn forget_ended(&mut self, before: Timestamp) -> Vec<Override> {
        let ended: Vec<Uuid> = self
            .iter()
            .filter(|entry| entry.ends_at <= before)
            .map(|entry| entry.id)
            .collect();
        ended.iter().filter_map(|id| self.by_id.remove(id)).collect()
    }

    /// The one with this id.
    pub fn get(&self, id: Uuid) -> Option<&Override> {
        self.by_id.get(&id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Override> {
        self.by_id.values()
    }

    /// Those of `schedule` that touch the time from `from` until before `to`, in the order in which they take effect.
    pub(super) fn touching(&self, schedule: &str, from: Timestamp, to: Timestamp) -> Vec<&Override> {
        let mut touching: Vec<&Override> = self
            .iter()
            .filter(|entry| entry.schedule == schedule && entry.starts_at < to && entry.ends_at > from)
            .collect();
        touching.sort_by_key(|entry| (entry.created_at, entry.id));
        touching
    }
}

impl FromIterator<Override> for Overrides {
    fn from_iter<I: IntoIterator<Item = Override>>(entries: I) -> Self {
        Self {
            by_id: entries.into_iter().map(|entry| (entry.id, entry)).collect(),
        }
    }
}
