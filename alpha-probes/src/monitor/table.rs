//! What the monitor knows of every check, and what follows from one more result. No I/O and no waiting happens here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::admission::{Admission, Bounds, Lane, Ticket};
use super::stats::{Lateness, MonitorStats};
use super::{HANGS_AFTER, Update};
use crate::check::{Check, CheckId};
use crate::dependency::Dependencies;
use crate::error::{Error, ErrorKind, Result};
use crate::judge::{CheckState, Judgement, Moment, judge};
use crate::report::CheckReport;
use crate::rule::Rules;
use crate::schedule::Schedule;
use crate::series::SeriesBuffer;
use crate::status::Status;
use crate::suite::{Asked, Present};
use crate::text;

/// How many children of recovered parents are asked again in one slot, so that the recovery of a parent of thousands
/// delays nothing else.
const RECHECKS_A_SLOT: usize = 64;

/// For how long after a stall the monitor calls itself overloaded.
const OVERLOADED_FOR: Duration = Duration::from_secs(60);

/// A span in which the monitor itself was not run.
#[derive(Clone, Copy, Debug)]
struct Stall {
    until: Instant,
    late: Duration,
}

/// Everything the monitor knows.
#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<Entry>,
    positions: HashMap<CheckId, usize>,
    dependencies: Dependencies,
    slot: Duration,
    schedule: Schedule,
    /// When the schedule began.
    origin: Instant,
    admission: Admission,
    /// The probes that are being asked, by number.
    running: HashMap<u64, Running>,
    /// The same in the order in which they began, as long as they are not known to hang.
    quick: VecDeque<(Instant, u64)>,
    /// Children of recovered parents, to be asked again.
    rechecks: VecDeque<CheckId>,
    lateness: Lateness,
    stall: Option<Stall>,
    runs: u64,
    missed: u64,
    overrun: u64,
    stalls: u64,
    next_number: u64,
}

/// What is known of one check.
#[derive(Debug)]
struct Entry {
    check: Arc<Check>,
    target: Arc<str>,
    /// Tells this check from another of the same name, before or after it.
    epoch: u64,
    state: CheckState,
    series: SeriesBuffer,
    latest: Option<Arc<CheckReport>>,
    /// When the probe was asked for the latest report.
    asked_at: Option<Instant>,
    judged_at: Option<Instant>,
    /// When the check last turned from critical to something certain and better.
    recovered_at: Option<Instant>,
    stage: Stage,
    /// Whether the probe hung the last time.
    hangs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Idle,
    Waiting { since: Instant },
    Running,
}

#[derive(Debug)]
struct Running {
    target: Arc<str>,
    lane: Lane,
}

/// A probe to be asked now.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) check: Arc<Check>,
    epoch: u64,
    started: Instant,
}

impl Entry {
    fn new(check: Check, epoch: u64) -> Self {
        Self {
            target: check.probe.target().into(),
            series: SeriesBuffer::new(windows(&check.rules)),
            check: Arc::new(check),
            epoch,
            state: CheckState::new(),
            latest: None,
            asked_at: None,
            judged_at: None,
            recovered_at: None,
            stage: Stage::Idle,
            hangs: false,
        }
    }

    fn status(&self) -> Option<Status> {
        self.latest.as_ref().map(|report| report.status)
    }

    /// Whether `check` asks the same of the same, so that what is known of this one holds for it.
    fn is_same(&self, check: &Check) -> bool {
        self.check.probe.kind().name == check.probe.kind().name && *self.target == *check.probe.target()
    }

    /// Goes on as `check`.
    fn become_check(&mut self, check: Check) {
        let before: Vec<_> = windows(&self.check.rules).collect();
        if !windows(&check.rules).eq(before) {
            self.series = SeriesBuffer::new(windows(&check.rules));
        }
        self.check = Arc::new(check);
    }
}

/// What the conditions of a check look back on.
pub(super) fn windows(rules: &Rules) -> impl Iterator<Item = (String, Duration)> + '_ {
    let conditions = rules
        .required
        .iter()
        .chain(&rules.raised)
        .flat_map(|rule| std::iter::once(&rule.condition).chain(&rule.clear));
    conditions.flat_map(|condition| condition.windows())
}

impl Table {
    /// A table of `checks` whose schedule begins at `now`.
    pub(super) fn new(checks: Vec<Check>, bounds: Bounds, slot: Duration, now: Instant) -> Result<Self> {
        let mut table = Self {
            entries: Vec::new(),
            positions: HashMap::new(),
            dependencies: Dependencies::default(),
            slot,
            schedule: Schedule::new(slot),
            origin: now,
            admission: Admission::new(bounds),
            running: HashMap::new(),
            quick: VecDeque::new(),
            rechecks: VecDeque::new(),
            lateness: Lateness::default(),
            stall: None,
            runs: 0,
            missed: 0,
            overrun: 0,
            stalls: 0,
            next_number: 0,
        };
        table.replace(checks, now)?;
        Ok(table)
    }

    /// Replaces the checks; one of a name, kind and target that were there before keeps what is known of it.
    pub(super) fn replace(&mut self, checks: Vec<Check>, now: Instant) -> Result<()> {
        let dependencies = Dependencies::new(&checks)?;
        let mut before: Vec<Option<Entry>> =
            std::mem::take(&mut self.entries).into_iter().map(Some).collect();
        self.entries.reserve_exact(checks.len());
        let mut kept = Vec::with_capacity(checks.len());
        let mut positions = HashMap::with_capacity(checks.len());
        for (position, check) in checks.into_iter().enumerate() {
            positions.insert(check.id.clone(), position);
            let old = self.positions.get(&check.id).copied();
            let same = old.filter(|old| before[*old].as_ref().is_some_and(|entry| entry.is_same(&check)));
            kept.push(same);
            let entry = match same.and_then(|old| before[old].take()) {
                Some(mut entry) => {
                    entry.become_check(check);
                    entry
                }
                None => Entry::new(check, self.number()),
            };
            self.entries.push(entry);
        }
        let checks = self.entries.iter().zip(kept);
        let grids = checks.map(|(entry, old)| (&entry.check.id, entry.check.every, old));
        self.schedule.replace(grids, now - self.origin);
        self.positions = positions;
        self.dependencies = dependencies;
        Ok(())
    }

    /// Begins the schedule at `now`, with nothing running.
    pub(super) fn restart(&mut self, bounds: Bounds, now: Instant) {
        self.origin = now;
        self.schedule = Schedule::new(self.slot);
        for entry in &mut self.entries {
            self.schedule
                .add(&entry.check.id, entry.check.every, Duration::ZERO);
            entry.stage = Stage::Idle;
        }
        self.admission = Admission::new(bounds);
        self.running.clear();
        self.quick.clear();
        self.rechecks.clear();
    }

    /// Hands in what was known of the checks before this process began.
    pub(super) fn restore(&mut self, mut states: HashMap<CheckId, CheckState>) {
        for entry in &mut self.entries {
            if let Some(state) = states.remove(&entry.check.id) {
                entry.state = state;
            }
        }
    }

    /// Hands in the recent values of one check.
    pub(super) fn restore_series(&mut self, id: &CheckId, fill: impl FnOnce(&mut SeriesBuffer)) {
        if let Some(&position) = self.positions.get(id) {
            fill(&mut self.entries[position].series);
        }
    }

    /// When to wake up: with the next due check, and with every slot while something runs, to see what hangs.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let due = self.schedule.next_wake().map(|wake| self.origin + wake);
        let busy = !self.running.is_empty() || !self.rechecks.is_empty();
        let slot = busy.then(|| {
            let since = now - self.origin;
            let into = since.as_nanos() % self.slot.as_nanos();
            now + self.slot - Duration::from_nanos(into as u64)
        });
        due.into_iter().chain(slot).min()
    }

    /// Notes that the monitor woke up this late.
    pub(super) fn note_stall(&mut self, late: Duration, now: Instant) {
        self.stalls += 1;
        self.stall = Some(Stall { until: now, late });
    }

    /// Puts in line what is due.
    pub(super) fn tick(&mut self, clock_now: Timestamp, now: Instant) -> Vec<Update> {
        let mut updates = Vec::new();
        let mut due = Vec::new();
        self.schedule.take_due(now - self.origin, &mut due);
        for (position, due) in due {
            let due = self.origin + due;
            match self.entries[position].stage {
                Stage::Idle => self.request(position, due),
                Stage::Running => self.overrun += 1,
                Stage::Waiting { since } => {
                    self.missed += 1;
                    updates.push(self.not_asked(position, now - since, clock_now, now));
                }
            }
        }
        for _ in 0..RECHECKS_A_SLOT {
            let Some(id) = self.rechecks.pop_front() else {
                break;
            };
            if let Some(&position) = self.positions.get(&id)
                && self.entries[position].stage == Stage::Idle
            {
                self.request(position, now);
            }
        }
        while let Some(&(started, number)) = self.quick.front()
            && now - started >= HANGS_AFTER
        {
            if let Some(running) = self.running.get_mut(&number) {
                if !self.admission.demote() {
                    break;
                }
                running.lane = Lane::Hanging;
            }
            self.quick.pop_front();
        }
        updates
    }

    fn request(&mut self, position: usize, due: Instant) {
        let entry = &mut self.entries[position];
        entry.stage = Stage::Waiting { since: due };
        self.admission.request(Ticket {
            id: entry.check.id.clone(),
            target: Arc::clone(&entry.target),
            lane: if entry.hangs { Lane::Hanging } else { Lane::Quick },
            due,
        });
    }

    /// The next probe to ask, where the bounds allow one.
    pub(super) fn next_run(&mut self, now: Instant) -> Option<Run> {
        loop {
            let ticket = self.admission.next()?;
            let position = self.positions.get(&ticket.id).copied();
            let waiting =
                position.filter(|&position| matches!(self.entries[position].stage, Stage::Waiting { .. }));
            let Some(position) = waiting else {
                // The check was removed while it waited.
                self.admission.release(&ticket.target, ticket.lane);
                continue;
            };
            let number = self.number();
            self.running.insert(
                number,
                Running {
                    target: ticket.target,
                    lane: ticket.lane,
                },
            );
            if ticket.lane == Lane::Quick {
                self.quick.push_back((now, number));
            }
            self.lateness.push(now - ticket.due);
            self.runs += 1;
            let entry = &mut self.entries[position];
            entry.stage = Stage::Running;
            return Some(Run {
                number,
                check: Arc::clone(&entry.check),
                epoch: entry.epoch,
                started: now,
            });
        }
    }

    /// Takes in what came of a run; nothing where the check was removed in the meantime.
    pub(super) fn finish(&mut self, run: &Run, asked: Asked, now: Instant) -> Option<Update> {
        if let Some(running) = self.running.remove(&run.number) {
            self.admission.release(&running.target, running.lane);
        }
        let position = *self.positions.get(&run.check.id)?;
        let entry = &mut self.entries[position];
        if entry.epoch != run.epoch {
            return None;
        }
        entry.stage = Stage::Idle;
        entry.hangs = asked.elapsed >= HANGS_AFTER;
        entry.asked_at = Some(run.started);
        let stall = self.stall.filter(|stall| run.started < stall.until);
        Some(self.judge(position, asked, stall, now))
    }

    /// The result of a check that was due again before its turn had come.
    fn not_asked(&mut self, position: usize, waited: Duration, clock_now: Timestamp, now: Instant) -> Update {
        let entry = &self.entries[position];
        let lane = if entry.hangs { Lane::Hanging } else { Lane::Quick };
        let waited = crate::Unit::Seconds.format(waited.as_secs_f64());
        let error = if self.admission.is_full(lane) {
            Error::new(
                ErrorKind::Overloaded,
                text!("this check has waited {waited} for its turn", waited = waited),
            )
        } else {
            Error::new(
                ErrorKind::Timeout,
                text!(
                    "this check has waited {waited} for others of {target}, which hang",
                    waited = waited,
                    target = &*entry.target
                ),
            )
        };
        let asked = Asked {
            outcome: Err(error),
            observed_at: clock_now,
            elapsed: Duration::ZERO,
        };
        self.judge(position, asked, None, now)
    }

    /// Judges one result. After a stall nothing gets worse by it: a result that would be worse than the one before is
    /// unknown, because the delay may have been ours.
    fn judge(&mut self, position: usize, mut asked: Asked, stall: Option<Stall>, now: Instant) -> Update {
        let entry = &mut self.entries[position];
        let moment = Moment {
            now: asked.observed_at,
            elapsed: entry.judged_at.map(|before| now - before),
        };
        entry.judged_at = Some(now);
        let state_before = stall.map(|_| entry.state.clone());
        let mut judgement = entry.judge(&asked, moment);
        if let (Some(stall), Some(state)) = (stall, state_before) {
            let before = state.status().unwrap_or(Status::Ok);
            if judgement.status.rank() > before.rank() && judgement.status != Status::Unknown {
                let late = crate::Unit::Seconds.format(stall.late.as_secs_f64());
                let error = text!("it was {late} late while this check ran", late = late);
                asked.outcome = Err(Error::new(ErrorKind::Overloaded, error));
                entry.state = state;
                judgement = entry.judge(&asked, moment);
            }
        }
        if let Ok(observation) = &asked.outcome {
            entry.series.append(observation, asked.observed_at);
        }
        let changed_from = judgement.changed_from;
        let has_recovered = changed_from == Some(Status::Critical)
            && matches!(judgement.status, Status::Ok | Status::Warning);
        let mut report = CheckReport::new(&entry.check, asked, judgement);
        if has_recovered {
            entry.recovered_at = Some(now);
        }
        // The cause is looked for with this result in place.
        let status = report.status;
        report.suppressed_by = self.root_cause(position, status);
        let report = Arc::new(report);
        self.entries[position].latest = Some(Arc::clone(&report));
        if has_recovered {
            let children = self.dependencies.children(position).iter();
            let failing = children.filter(|&&child| {
                self.entries[child]
                    .status()
                    .is_some_and(|status| status != Status::Ok)
            });
            let ids = failing.map(|&child| self.entries[child].check.id.clone());
            self.rechecks.extend(ids);
        }
        Update { report, changed_from }
    }

    /// The failure that explains the check at `position`, whose status is `own`.
    fn root_cause(&self, position: usize, own: Status) -> Option<CheckId> {
        let status = |at: usize| {
            if at == position {
                Some(own)
            } else {
                self.entries[at].status()
            }
        };
        let cause = self.dependencies.root_cause(position, status).or_else(|| {
            // A parent that recovered explains a failure that was seen before.
            let asked_at = self.entries[position].asked_at?;
            let mut parents = self.dependencies.parents(position).iter().copied();
            let recovered = |parent: usize| self.entries[parent].recovered_at.is_some_and(|at| at > asked_at);
            parents.find(|&parent| own != Status::Ok && recovered(parent))
        });
        cause.map(|cause| self.entries[cause].check.id.clone())
    }

    /// The latest reports, in the order of the set; of a check that has not been asked yet, that it has not.
    pub(super) fn reports(&self, clock_now: Timestamp) -> Vec<CheckReport> {
        let report = |(position, entry): (usize, &Entry)| match &entry.latest {
            Some(latest) => CheckReport {
                suppressed_by: self.root_cause(position, latest.status),
                ..CheckReport::clone(latest)
            },
            None => CheckReport::not_asked_yet(&entry.check, clock_now),
        };
        self.entries.iter().enumerate().map(report).collect()
    }

    /// What is remembered of each check.
    pub(super) fn states(&self) -> HashMap<CheckId, CheckState> {
        let entries = self.entries.iter();
        entries
            .map(|entry| (entry.check.id.clone(), entry.state.clone()))
            .collect()
    }

    pub(super) fn stats(&self, now: Instant) -> MonitorStats {
        let [p50, p99, max] = self.lateness.percentiles();
        let stalled_lately = self.stall.is_some_and(|stall| now - stall.until < OVERLOADED_FOR);
        MonitorStats {
            checks: self.entries.len(),
            runs: self.runs,
            missed: self.missed + self.schedule.missed(),
            overrun: self.overrun,
            running: self.admission.running(Lane::Quick),
            hanging: self.admission.running(Lane::Hanging),
            waiting: self.admission.waiting(),
            lateness_p50: p50,
            lateness_p99: p99,
            lateness_max: max,
            stalls: self.stalls,
            overloaded: stalled_lately || p99 > super::OVERLOADED_ABOVE,
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

impl Entry {
    fn judge(&mut self, asked: &Asked, moment: Moment) -> Judgement {
        let series = Present {
            past: Some(&self.series),
            observation: asked.outcome.as_ref().ok(),
            at: asked.observed_at,
        };
        judge(
            &self.check.rules,
            &mut self.state,
            asked.outcome.as_ref(),
            &series,
            moment,
        )
    }
}
