//! An alert log on a virtual clock: who would have been told what, and when.
//!
//! The state is the real one; only time and delivery are not: every receiver takes everything at once.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::command::Command;
use crate::incident::Incident;
use crate::notification::Notification;
use crate::rules::Rules;
use crate::state::State;
use crate::store::{Changes, Suppressed};

/// What would have happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Simulation {
    /// Everything that would have been told, in order.
    pub notifications: Vec<Notification>,
    /// Everything that would have been kept back, in order.
    pub suppressed: Vec<Suppressed>,
    /// The incidents at the end.
    pub incidents: Vec<Incident>,
}

/// Plays `events`, in the order of their times, and then lets time pass until `until`.
pub fn simulate(
    rules: Arc<Rules>,
    events: impl IntoIterator<Item = (Timestamp, Command)>,
    until: Timestamp,
    seed: u64,
) -> Simulation {
    let mut state = State::new(rules, seed);
    let mut simulation = Simulation::default();
    let mut events: Vec<(Timestamp, Command)> = events.into_iter().collect();
    events.sort_by_key(|(at, _)| *at);
    for (at, command) in events {
        simulation.pass(&mut state, at);
        let mut changes = Changes::default();
        state.apply(at, &command, &mut changes);
        state.tick(at, &mut changes);
        simulation.note(changes);
    }
    simulation.pass(&mut state, until);
    simulation.incidents = state.incidents().cloned().collect();
    simulation
}

impl Simulation {
    /// Lets time pass until just before `until`, from one thing that is due to the next.
    fn pass(&mut self, state: &mut State, until: Timestamp) {
        while let Some(due) = state.next_due().filter(|due| *due < until) {
            let mut changes = Changes::default();
            state.tick(due, &mut changes);
            self.note(changes);
        }
    }

    fn note(&mut self, changes: Changes) {
        self.notifications.extend(changes.notifications);
        self.suppressed.extend(changes.suppressions);
    }
}
