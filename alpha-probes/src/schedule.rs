//! When each check runs: a grid per check, without drift, spread over time.
//!
//! A check runs at `phase + k × every` after the start of the schedule. The phase comes from a hash of the check's
//! name, so that checks are spread evenly, and one check keeps its place whatever else is added, removed or late.
//! Nothing here reads a clock: all times are handed in as the time since the schedule began.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::check::CheckId;

/// Every check runs for the first time within two seconds after it was added, however rarely it runs otherwise:
/// whoever starts Alpha wants to see what is, and the first run stands for that of the interval already under way.
pub const START_SPREAD: Duration = Duration::from_secs(2);

/// A run later than this was not delayed by other runs; the process was stopped or the machine slept.
const STALLED_AFTER: Duration = Duration::from_secs(2);

/// What became due while the process was stopped is spread over as long as this, so that waking up is no burst.
const CATCH_UP_SPREAD: Duration = Duration::from_secs(10);

/// The shortest interval: a check that asks for less runs this often.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// A hash of bytes that is the same on every machine, in every process and in every release: FNV-1a with the
/// finalizer of SplitMix64, because FNV alone spreads short names that differ in their last letter badly.
pub(crate) fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

/// The runs of a set of checks, which are known here by their position in it.
#[derive(Debug)]
pub struct Schedule {
    slot: Duration,
    grids: Vec<Grid>,
    due: BinaryHeap<Reverse<(Duration, usize)>>,
    missed: u64,
}

/// The instants at which one check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grid {
    hash: u64,
    phase: Duration,
    every: Duration,
    next: Duration,
}

impl Schedule {
    /// A schedule without checks; phases are multiples of `slot`, so that many checks share one wake-up.
    pub fn new(slot: Duration) -> Self {
        Self {
            slot,
            grids: Vec::new(),
            due: BinaryHeap::new(),
            missed: 0,
        }
    }

    /// Adds a check at the next position; it runs soon after `now` for the first time, then on its grid.
    pub fn add(&mut self, id: &CheckId, every: Duration, now: Duration) {
        let mut grid = Grid::new(id, every, self.slot);
        grid.next = grid.first(now, self.slot);
        self.insert(grid);
    }

    /// Replaces the checks. Each new one comes with its position before, where it had one; such a check keeps its
    /// phase, and its next run where the interval is the same.
    pub fn replace<'a>(
        &mut self,
        checks: impl IntoIterator<Item = (&'a CheckId, Duration, Option<usize>)>,
        now: Duration,
    ) {
        let before = std::mem::take(&mut self.grids);
        self.due.clear();
        for (id, every, position) in checks {
            let mut grid = Grid::new(id, every, self.slot);
            grid.next = match position.map(|position| before[position]) {
                Some(old) if old.every == grid.every => old.next,
                Some(_) => grid.after(now),
                None => grid.first(now, self.slot),
            };
            self.insert(grid);
        }
    }

    fn insert(&mut self, grid: Grid) {
        self.due.push(Reverse((grid.next, self.grids.len())));
        self.grids.push(grid);
    }

    /// When to wake up for the next run: the slot in which it is due.
    pub fn next_wake(&self) -> Option<Duration> {
        self.due
            .peek()
            .map(|Reverse((next, _))| round_up(*next, self.slot))
    }

    /// Takes the runs that are due at `now`, as position and the instant each was due, and schedules the following.
    ///
    /// No run is made up for: of several due runs of one check only one is taken, the others are missed. After a
    /// stall of the whole process the overdue runs are not taken at once but spread over the next seconds, or left to
    /// the grid where that comes sooner.
    pub fn take_due(&mut self, now: Duration, due: &mut Vec<(usize, Duration)>) {
        while let Some(Reverse((next, position))) = self.due.peek().copied() {
            if next > now {
                break;
            }
            self.due.pop();
            let grid = &mut self.grids[position];
            let on_grid = grid.after(now);
            self.missed += grid.window(now) - grid.window(next);
            if now - next <= STALLED_AFTER {
                grid.next = on_grid;
                due.push((position, next));
            } else {
                let soon = round_up(now + share(CATCH_UP_SPREAD, grid.hash), self.slot);
                self.missed += u64::from(on_grid <= soon);
                grid.next = soon.min(on_grid);
            }
            self.due.push(Reverse((grid.next, position)));
        }
    }

    /// How many intervals have passed without a run of their check.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

impl Grid {
    fn new(id: &CheckId, every: Duration, slot: Duration) -> Self {
        let every = every.max(SHORTEST_INTERVAL);
        let hash = stable_hash(id.as_str().as_bytes());
        let phase = round_down(share(every, hash), slot);
        Self {
            hash,
            phase,
            every,
            next: phase,
        }
    }

    /// The first run of a check that is added at `now`.
    fn first(&self, now: Duration, slot: Duration) -> Duration {
        let soon = round_down(now + share(START_SPREAD.min(self.every), self.hash), slot).max(now);
        let on_grid = if now <= self.phase {
            self.phase
        } else {
            self.after(now)
        };
        soon.min(on_grid)
    }

    /// The first instant of the grid after `now`.
    fn after(&self, now: Duration) -> Duration {
        let Some(since_phase) = now.checked_sub(self.phase) else {
            return self.phase;
        };
        let into = since_phase.as_nanos() % self.every.as_nanos();
        now + self.every - nanos(into)
    }

    /// The number of the interval that `now` lies in; that before the first instant of the grid is 0.
    fn window(&self, now: Duration) -> u64 {
        let since_phase = now.checked_sub(self.phase);
        since_phase.map_or(0, |since| (since.as_nanos() / self.every.as_nanos()) as u64 + 1)
    }
}

/// The share of `whole` that `hash` points at, evenly over all hashes.
fn share(whole: Duration, hash: u64) -> Duration {
    let whole = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    nanos((u128::from(whole) * u128::from(hash)) >> 64)
}

fn round_down(time: Duration, slot: Duration) -> Duration {
    time - nanos(time.as_nanos() % slot.as_nanos())
}

fn round_up(time: Duration, slot: Duration) -> Duration {
    match time.as_nanos() % slot.as_nanos() {
        0 => time,
        over => time + slot - nanos(over),
    }
}

/// At most 584 years, which no schedule reaches.
fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLOT: Duration = Duration::from_millis(100);

    fn id(number: usize) -> CheckId {
        format!("check-{number}").parse().unwrap()
    }

    fn schedule(intervals: &[Duration]) -> Schedule {
        let mut schedule = Schedule::new(SLOT);
        for (number, every) in intervals.iter().enumerate() {
            schedule.add(&id(number), *every, Duration::ZERO);
        }
        schedule
    }

    /// Wakes up when asked to, as late as `lateness` says, until `end`; all runs as position, due and taken.
    fn play(
        schedule: &mut Schedule,
        end: Duration,
        mut lateness: impl FnMut() -> Duration,
    ) -> Vec<(usize, Duration, Duration)> {
        let mut runs = Vec::new();
        let mut now = Duration::ZERO;
        while let Some(wake) = schedule.next_wake().filter(|wake| *wake < end) {
            now = now.max(wake) + lateness();
            let mut due = Vec::new();
            schedule.take_due(now, &mut due);
            runs.extend(due.into_iter().map(|(position, due)| (position, due, now)));
        }
        runs
    }

    fn intervals() -> impl Strategy<Value = Vec<Duration>> {
        proptest::collection::vec((100_u64..120_000).prop_map(Duration::from_millis), 1..20)
    }

    proptest! {
        #[test]
        fn every_check_runs_exactly_once_an_interval(intervals in intervals()) {
            let mut schedule = schedule(&intervals);
            let grids = schedule.grids.clone();
            let end = Duration::from_secs(400);
            let runs = play(&mut schedule, end, || Duration::ZERO);
            for (position, grid) in grids.iter().enumerate() {
                let own: Vec<_> = runs.iter().filter(|run| run.0 == position).collect();
                let windows: Vec<_> = own.iter().map(|run| grid.window(run.1)).collect();
                let first = grid.window(own[0].1);
                let last = first + own.len() as u64;
                prop_assert_eq!(windows, (first..last).collect::<Vec<_>>());
                prop_assert!(grid.window(end) <= last, "the grid is followed to the end");
                prop_assert!(own[0].2 <= START_SPREAD.max(grid.phase.min(START_SPREAD)) + SLOT);
            }
            prop_assert_eq!(schedule.missed(), 0);
        }

        #[test]
        fn lateness_never_adds_up(intervals in intervals(), late in proptest::collection::vec(0_u64..90, 50)) {
            let mut schedule = schedule(&intervals);
            let grids = schedule.grids.clone();
            let mut late = late.into_iter().cycle();
            let runs = play(&mut schedule, Duration::from_secs(400), || Duration::from_millis(late.next().unwrap()));
            for (position, due, taken) in runs {
                let grid = grids[position];
                let is_first = due == grid.next;
                prop_assert!(is_first || (due - grid.phase).as_nanos().is_multiple_of(grid.every.as_nanos()));
                prop_assert!(taken - due < SLOT + Duration::from_millis(90));
            }
        }

        #[test]
        fn waking_up_is_no_burst(stop in 3_u64..100_000, count in 500_usize..1500) {
            let every = Duration::from_secs(60);
            let mut schedule = schedule(&vec![every; count]);
            let before = play(&mut schedule, Duration::from_secs(120), || Duration::ZERO);
            let usual = before.len() / 1200 + 1;
            let woken = Duration::from_secs(120) + Duration::from_secs(stop);
            let mut due = Vec::new();
            schedule.take_due(woken, &mut due);
            let mut most = due.len();
            let mut total = due.len();
            let mut now = woken;
            while let Some(wake) = schedule.next_wake().filter(|wake| *wake <= woken + CATCH_UP_SPREAD) {
                now = now.max(wake);
                due.clear();
                schedule.take_due(now, &mut due);
                most = most.max(due.len());
                total += due.len();
            }
            // At worst all of them within ten seconds, evenly; those that were due in the last two seconds at once.
            let even = count / 100 + usual;
            prop_assert!(most <= 6 * even + count / 25, "{} at once, {} in all", most, total);
            prop_assert!(total <= count + usual * 100);
        }

        #[test]
        fn a_replaced_set_keeps_its_phases(intervals in intervals(), at in 1_u64..300, kept in proptest::collection::vec(any::<bool>(), 20)) {
            let mut schedule = schedule(&intervals);
            let now = Duration::from_secs(at);
            play(&mut schedule, now, || Duration::ZERO);
            let before = schedule.grids.clone();
            let ids: Vec<CheckId> = (0..intervals.len()).map(id).collect();
            let staying: Vec<usize> = (0..intervals.len()).rev().filter(|position| kept[*position]).collect();
            let added = id(1000);
            let checks = staying.iter().map(|&position| (&ids[position], intervals[position], Some(position)));
            schedule.replace(checks.chain([(&added, Duration::from_secs(3600), None)]), now);
            for (position, &old) in staying.iter().enumerate() {
                prop_assert_eq!(schedule.grids[position], before[old]);
            }
            let new = schedule.grids[staying.len()];
            prop_assert!(new.next >= now && new.next <= now + START_SPREAD);
        }
    }

    #[test]
    fn phases_are_spread_evenly() {
        let schedule = schedule(&vec![Duration::from_secs(10); 10_000]);
        let mut slots = [0_u32; 100];
        for grid in &schedule.grids {
            slots[(grid.phase.as_millis() / 100) as usize] += 1;
        }
        // A hundred a slot on average; a fair die leaves these bounds once in many thousand slots.
        assert!(slots.iter().all(|count| (60..=145).contains(count)), "{slots:?}");
    }

    #[test]
    fn what_was_missed_is_counted_and_not_made_up_for() {
        let mut schedule = schedule(&[Duration::from_secs(10)]);
        play(&mut schedule, Duration::from_secs(30), || Duration::ZERO);
        let runs = {
            let mut due = Vec::new();
            schedule.take_due(Duration::from_secs(90), &mut due);
            due.len()
        };
        assert_eq!(runs, 0);
        let after = play(&mut schedule, Duration::from_secs(120), || Duration::ZERO);
        assert!((2..=4).contains(&after.len()), "{after:?}");
        assert!(
            (5..=7).contains(&schedule.missed()),
            "{} missed",
            schedule.missed()
        );
    }

    #[test]
    fn a_changed_interval_stays_on_the_new_grid() {
        let mut schedule = schedule(&[Duration::from_secs(3600)]);
        let (now, every) = (Duration::from_secs(100), Duration::from_secs(7));
        schedule.replace([(&id(0), every, Some(0))], now);
        let grid = schedule.grids[0];
        assert!(grid.next > now && grid.next <= now + every);
        assert_eq!((grid.next - grid.phase).as_nanos() % every.as_nanos(), 0);
    }

    #[test]
    fn an_interval_of_nothing_does_not_spin() {
        let mut schedule = schedule(&[Duration::ZERO]);
        assert_eq!(
            play(&mut schedule, Duration::from_secs(1), || Duration::ZERO).len(),
            10
        );
    }
}
