//! Who may be asked now: bounds in all and per target, and a lane of their own for those that hang.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::check::CheckId;

/// How many probes run at the same time in each lane, and of one target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) quick: usize,
    pub(super) hanging: usize,
    pub(super) per_target: usize,
}

/// Where a probe runs.
///
/// Probes that answer at once and probes that hang do not share a bound, or a few dozen dead targets would use up the
/// bound in all and delay every check of a target that is well. A probe that hung the last time begins in the lane of
/// those that hang, and one that begins to hang is moved there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Quick,
    Hanging,
}

/// A check that wants to be asked.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) id: CheckId,
    pub(super) target: Arc<str>,
    pub(super) lane: Lane,
    /// When it should have been asked.
    pub(super) due: Instant,
}

/// The waiting and the number of the running.
#[derive(Debug)]
pub(super) struct Admission {
    bounds: Bounds,
    quick: Queue,
    hanging: Queue,
    /// Only targets that something runs for.
    targets: HashMap<Arc<str>, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    running: usize,
    waiting: VecDeque<Ticket>,
}

impl Admission {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            quick: Queue::default(),
            hanging: Queue::default(),
            targets: HashMap::new(),
        }
    }

    /// Puts a check in line: first for its target, then for its lane.
    pub(super) fn request(&mut self, ticket: Ticket) {
        let target = self.targets.entry(Arc::clone(&ticket.target)).or_default();
        if target.running < self.bounds.per_target {
            target.running += 1;
            self.lane(ticket.lane).waiting.push_back(ticket);
        } else {
            target.waiting.push_back(ticket);
        }
    }

    /// The next check that may be asked now; it holds its place until [`release`](Self::release).
    pub(super) fn next(&mut self) -> Option<Ticket> {
        [Lane::Quick, Lane::Hanging].into_iter().find_map(|lane| {
            if self.is_full(lane) {
                return None;
            }
            let queue = self.lane(lane);
            let ticket = queue.waiting.pop_front()?;
            queue.running += 1;
            Some(ticket)
        })
    }

    /// Gives back the place of a check that was asked.
    pub(super) fn release(&mut self, target: &Arc<str>, lane: Lane) {
        self.lane(lane).running -= 1;
        let Some(queue) = self.targets.get_mut(target) else {
            return;
        };
        if let Some(next) = queue.waiting.pop_front() {
            self.lane(next.lane).waiting.push_back(next);
        } else {
            queue.running -= 1;
            if queue.running == 0 {
                self.targets.remove(target);
            }
        }
    }

    /// Moves a running check to the lane of those that hang, where that has room.
    pub(super) fn demote(&mut self) -> bool {
        let has_room = !self.is_full(Lane::Hanging);
        if has_room {
            self.quick.running -= 1;
            self.hanging.running += 1;
        }
        has_room
    }

    /// Whether nothing more may run in this lane.
    pub(super) fn is_full(&self, lane: Lane) -> bool {
        match lane {
            Lane::Quick => self.quick.running >= self.bounds.quick,
            Lane::Hanging => self.hanging.running >= self.bounds.hanging,
        }
    }

    /// How many probes run in this lane.
    pub(super) fn running(&self, lane: Lane) -> usize {
        match lane {
            Lane::Quick => self.quick.running,
            Lane::Hanging => self.hanging.running,
        }
    }

    /// How many checks wait.
    pub(super) fn waiting(&self) -> usize {
        let of_targets: usize = self.targets.values().map(|queue| queue.waiting.len()).sum();
        self.quick.waiting.len() + self.hanging.waiting.len() + of_targets
    }

    fn lane(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Quick => &mut self.quick,
            Lane::Hanging => &mut self.hanging,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds {
        quick: 4,
        hanging: 3,
        per_target: 2,
    };

    fn ticket(number: usize, target: &str, lane: Lane) -> Ticket {
        Ticket {
            id: format!("check-{number}").parse().unwrap(),
            target: target.into(),
            lane,
            due: Instant::now(),
        }
    }

    fn admitted(admission: &mut Admission) -> Vec<Ticket> {
        std::iter::from_fn(|| admission.next()).collect()
    }

    #[test]
    fn a_target_that_hangs_delays_nobody_else() {
        let mut admission = Admission::new(BOUNDS);
        for number in 0..10 {
            admission.request(ticket(number, "slow", Lane::Hanging));
        }
        admission.request(ticket(10, "well", Lane::Quick));
        let running = admitted(&mut admission);
        let targets: Vec<_> = running.iter().map(|ticket| &*ticket.target).collect();
        assert_eq!(targets, ["well", "slow", "slow"]);
        assert_eq!(admission.waiting(), 8);
    }

    #[test]
    fn one_that_begins_to_hang_makes_room() {
        let mut admission = Admission::new(BOUNDS);
        for number in 0..8 {
            admission.request(ticket(number, &format!("target-{number}"), Lane::Quick));
        }
        assert_eq!(admitted(&mut admission).len(), 4);
        assert!(admission.demote() && admission.demote() && admission.demote());
        assert!(!admission.demote(), "the lane of those that hang is full");
        assert_eq!(admitted(&mut admission).len(), 3);
    }

    proptest! {
        #[test]
        fn bounds_hold_and_everybody_comes_to_turn(
            requests in proptest::collection::vec((0_usize..5, any::<bool>()), 1..200),
            releases in proptest::collection::vec(0_usize..100, 1..50),
        ) {
            let mut admission = Admission::new(BOUNDS);
            let mut running: Vec<Ticket> = Vec::new();
            let mut releases = releases.into_iter().cycle();
            let mut seen = 0;
            let wanted = requests.len();
            let mut requests = requests.into_iter().enumerate();
            while seen < wanted {
                if let Some((number, (target, hangs))) = requests.next() {
                    let lane = if hangs { Lane::Hanging } else { Lane::Quick };
                    admission.request(ticket(number, &format!("target-{target}"), lane));
                }
                let started = admitted(&mut admission);
                seen += started.len();
                running.extend(started);
                for target in 0..5 {
                    let of_target = running.iter().filter(|ticket| *ticket.target == *format!("target-{target}"));
                    prop_assert!(of_target.count() <= BOUNDS.per_target);
                }
                let quick = running.iter().filter(|ticket| ticket.lane == Lane::Quick).count();
                prop_assert!(quick <= BOUNDS.quick && running.len() - quick <= BOUNDS.hanging);
                prop_assert!(!running.is_empty(), "{} of {} came to turn", seen, wanted);
                let done = running.swap_remove(releases.next().unwrap() % running.len());
                admission.release(&done.target, done.lane);
            }
            for ticket in running.drain(..) {
                admission.release(&ticket.target, ticket.lane);
            }
            prop_assert!(admission.targets.is_empty() && admission.waiting() == 0);
        }
    }
}
