//! Shifts and gaps of a schedule, and when the next hand-over is.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::schedule::{Duty, Schedule, Turn};
use super::{Overrides, PersonName};

/// A time during which the same people are on duty for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// The schedule.
    pub schedule: String,
    /// Who is on duty.
    pub people: Vec<PersonName>,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when; that instant is no longer part of it.
    pub ends_at: Timestamp,
    /// The turn of the layer that said so first; none where only overrides put somebody there.
    pub turn: Option<Turn>,
    /// The overrides that took effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Uuid>,
}

/// A time during which nobody is on duty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The schedule.
    pub schedule: String,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when; that instant is no longer part of it.
    pub ends_at: Timestamp,
}

/// The instant at which other people are on duty than before; either side is empty at the edge of a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// When.
    pub at: Timestamp,
    /// Who was on duty until then.
    pub outgoing: Vec<PersonName>,
    /// Who is on duty from then on.
    pub incoming: Vec<PersonName>,
}

/// How far ahead the next hand-over is looked for, in growing steps, in days. After eleven years without one there is
/// none worth waiting for.
const HORIZONS_DAYS: [i64; 5] = [1, 8, 64, 512, 4096];

impl Schedule {
    /// Who is on duty at `at`, and why.
    pub fn duty_at(&self, at: Timestamp, overrides: &Overrides) -> Duty {
        let just_after = at
            .saturating_add(SignedDuration::from_nanos(1))
            .unwrap_or(Timestamp::MAX);
        self.duty(at, &overrides.touching(&self.name, at, just_after))
    }

    /// The shifts that touch the time from `from` until before `to`, cut to it, in order and without overlap. What they
    /// leave out are the [gaps](Self::gaps).
    pub fn shifts(&self, from: Timestamp, to: Timestamp, overrides: &Overrides) -> Vec<Shift> {
        self.spans(from, to, overrides)
            .filter(|(_, _, duty)| !duty.people.is_empty())
            .map(|(starts_at, ends_at, duty)| Shift {
                schedule: self.name.clone(),
                people: duty.people,
                starts_at,
                ends_at,
                turn: duty.turn,
                overrides: duty.overrides,
            })
            .collect()
    }

    /// When nobody is on duty from `from` until before `to`, in order.
    pub fn gaps(&self, from: Timestamp, to: Timestamp, overrides: &Overrides) -> Vec<Gap> {
        self.spans(from, to, overrides)
            .filter(|(_, _, duty)| duty.people.is_empty())
            .map(|(starts_at, ends_at, _)| Gap {
                schedule: self.name.clone(),
                starts_at,
                ends_at,
            })
            .collect()
    }

    /// When after `at` other people are on duty than at `at`; `None` where that does not happen within eleven years.
    pub fn next_handover(&self, at: Timestamp, overrides: &Overrides) -> Option<Handover> {
        let outgoing = self.duty_at(at, overrides).people;
        HORIZONS_DAYS.into_iter().find_map(|days| {
            let horizon = at.saturating_add(SignedDuration::from_hours(24 * days)).ok()?;
            let (starts_at, _, duty) = self
                .spans(at, horizon, overrides)
                .find(|(_, _, duty)| duty.people != outgoing)?;
            Some(Handover {
                at: starts_at,
                outgoing: outgoing.clone(),
                incoming: duty.people,
            })
        })
    }

    /// The whole of the time from `from` until before `to` in spans of the same duty.
    fn spans(
        &self,
        from: Timestamp,
        to: Timestamp,
        overrides: &Overrides,
    ) -> impl Iterator<Item = (Timestamp, Timestamp, Duty)> {
        let overrides = overrides.touching(&self.name, from, to);
        let mut starts = Vec::new();
        if from < to {
            starts = self.boundaries(from, to);
            starts.extend(
                overrides
                    .iter()
                    .flat_map(|entry| [entry.starts_at, entry.ends_at]),
            );
            starts.retain(|start| from < *start && *start < to);
            starts.push(from);
            starts.sort_unstable();
            starts.dedup();
        }
        let mut spans: Vec<(Timestamp, Duty)> = Vec::new();
        for start in starts {
            let duty = self.duty(start, &overrides);
            let goes_on = spans.last().is_some_and(|(_, before)| before.is_same_as(&duty));
            if !goes_on {
                spans.push((start, duty));
            }
        }
        let ends: Vec<Timestamp> = spans
            .iter()
            .skip(1)
            .map(|(start, _)| *start)
            .chain([to])
            .collect();
        spans
            .into_iter()
            .zip(ends)
            .map(|((start, duty), end)| (start, end, duty))
    }
}

impl Duty {
    /// Whether it is the same shift; one gap is like another, whatever overrides made it.
    fn is_same_as(&self, other: &Self) -> bool {
        self == other || (self.people.is_empty() && other.people.is_empty())
    }
}
