//! A history in memory, which ends with the process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::rollup::{Rollup, raw_point};
use super::{SeriesKey, unit};
use crate::check::CheckId;
use crate::error::Result;
use crate::history::{
    Appended, Compaction, History, MAX_SERIES, Point, Query, Resolution, Retention, Sample, Trace,
};
use crate::observation::Unit;

/// How much a [`MemoryHistory`] keeps of each series, however long its retention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryLimits {
    /// Values, 16 bytes each. Default: 128.
    pub raw: usize,
    /// Roll-ups per minute, some 100 bytes and 8 more for each different size of value. Default: 60.
    pub minutes: usize,
    /// Roll-ups per hour. Default: 48.
    pub hours: usize,
    /// Roll-ups per day. Default: 62.
    pub days: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self {
            raw: 128,
            minutes: 60,
            hours: 48,
            days: 62,
        }
    }
}

impl MemoryLimits {
    /// These many values and no roll-ups: 16 bytes a value.
    pub fn values(raw: usize) -> Self {
        Self {
            raw,
            minutes: 0,
            hours: 0,
            days: 0,
        }
    }

    /// The same limits with so many roll-ups of that resolution, or values.
    #[must_use]
    pub fn with(mut self, resolution: Resolution, count: usize) -> Self {
        match resolution {
            Resolution::Raw => self.raw = count,
            Resolution::Minute => self.minutes = count,
            Resolution::Hour => self.hours = count,
            Resolution::Day => self.days = count,
        }
        self
    }

    fn of(&self, resolution: Resolution) -> usize {
        match resolution {
            Resolution::Raw => self.raw,
            Resolution::Minute => self.minutes,
            Resolution::Hour => self.hours,
            Resolution::Day => self.days,
        }
    }
}

/// A history in fixed memory per series, which ends with the process.
#[derive(Debug, Default)]
pub struct MemoryHistory {
    limits: MemoryLimits,
    retention: Retention,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    checks: HashMap<CheckId, BTreeMap<SeriesKey, Series>>,
    states: BTreeMap<CheckId, (Timestamp, Value)>,
    rolled_up: u64,
}

/// All that is kept of one series, oldest first.
#[derive(Debug, Default)]
struct Series {
    raw: VecDeque<(i64, f64)>,
    /// By the start of their step, one queue a rolled resolution.
    rolled: [VecDeque<(i64, Rollup)>; 3],
}

impl MemoryHistory {
    /// An empty history.
    pub fn new(limits: MemoryLimits, retention: Retention) -> Self {
        Self {
            limits,
            retention,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    /// Whether the value is new.
    fn add(&mut self, at: i64, value: f64, limits: &MemoryLimits) -> bool {
        let index = self.raw.partition_point(|(before, _)| *before < at);
        if self.raw.get(index).is_some_and(|(there, _)| *there == at) {
            return false;
        }
        self.raw.insert(index, (at, value));
        shorten(&mut self.raw, limits.raw);
        for (resolution, queue) in Resolution::ROLLED.into_iter().zip(&mut self.rolled) {
            let start = resolution.start_of(at);
            let index = queue.partition_point(|(before, _)| *before < start);
            match queue.get_mut(index) {
                Some((there, rollup)) if *there == start => rollup.add(at, value),
                _ => queue.insert(index, (start, Rollup::new(at, value))),
            }
            shorten(queue, limits.of(resolution));
        }
        true
    }

    fn points(&self, resolution: Resolution, from: i64, until: i64, limit: usize) -> Vec<Point> {
        let range = |length: usize, first: usize, end: usize| {
            let end = end.min(length).max(first);
            first.max(end.saturating_sub(limit))..end
        };
        let rolled = match resolution {
            Resolution::Raw => {
                let first = self.raw.partition_point(|(at, _)| *at < from);
                let end = self.raw.partition_point(|(at, _)| *at < until);
                let values = self.raw.range(range(self.raw.len(), first, end));
                return values.map(|&(at, value)| raw_point(at, value)).collect();
            }
            Resolution::Minute => &self.rolled[0],
            Resolution::Hour => &self.rolled[1],
            Resolution::Day => &self.rolled[2],
        };
        let first = rolled.partition_point(|(start, _)| *start < from);
        let end = rolled.partition_point(|(start, _)| *start < until);
        let rollups = rolled.range(range(rolled.len(), first, end));
        rollups.map(|(start, rollup)| rollup.to_point(*start)).collect()
    }

    fn is_empty(&self) -> bool {
        self.raw.is_empty() && self.rolled.iter().all(VecDeque::is_empty)
    }
}

fn shorten<T>(queue: &mut VecDeque<T>, limit: usize) {
    while queue.len() > limit {
        queue.pop_front();
    }
}

fn drop_before<T>(queue: &mut VecDeque<(i64, T)>, cutoff: i64) -> u64 {
    let count = queue.partition_point(|(at, _)| *at < cutoff);
    queue.drain(..count);
    count as u64
}

#[async_trait]
impl History for MemoryHistory {
    fn name(&self) -> &str {
        "memory"
    }

    async fn append(&self, batch: &[Sample]) -> Result<Appended> {
        let mut kept = self.kept();
        let mut appended = Appended::default();
        for sample in batch {
            let series = SeriesKey::of(sample).and_then(|key| {
                let check = kept.checks.entry(sample.check.clone()).or_default();
                let has_room = check.len() < MAX_SERIES || check.contains_key(&key);
                has_room.then(|| check.entry(key).or_default())
            });
            let Some(series) = series else {
                appended.refused += 1;
                continue;
            };
            appended.kept += 1;
            let is_new = series.add(sample.at.as_microsecond(), sample.measurement.value, &self.limits);
            kept.rolled_up += u64::from(is_new);
        }
        Ok(appended)
    }

    async fn points(&self, query: &Query) -> Result<Vec<Trace>> {
        let kept = self.kept();
        let (from, until) = (query.from.as_microsecond(), query.until.as_microsecond());
        let traces = kept
            .checks
            .get(&query.check)
            .into_iter()
            .flatten()
            .filter(|(key, _)| key.is_asked(query))
            .map(|(key, series)| Trace {
                name: key.name.clone(),
                labels: key.to_labels(),
                unit: unit(key.unit).unwrap_or(Unit::Count),
                points: series.points(query.resolution, from, until, query.limit),
            })
            .filter(|trace| !trace.points.is_empty());
        Ok(traces.collect())
    }

    async fn load_states(&self) -> Result<Vec<(CheckId, Value)>> {
        let kept = self.kept();
        let states = kept.states.iter();
        Ok(states
            .map(|(check, (_, state))| (check.clone(), state.clone()))
            .collect())
    }

    async fn store_states(&self, states: &[(CheckId, Value)], now: Timestamp) -> Result<()> {
        let states = states.iter().cloned();
        self.kept()
            .states
            .extend(states.map(|(check, state)| (check, (now, state))));
        Ok(())
    }

    async fn compact(&self, now: Timestamp) -> Result<Compaction> {
        let mut kept = self.kept();
        let mut dropped = 0;
        kept.checks.retain(|_, check| {
            check.retain(|_, series| {
                dropped += drop_before(&mut series.raw, self.retention.cutoff(Resolution::Raw, now));
                for (resolution, queue) in Resolution::ROLLED.into_iter().zip(&mut series.rolled) {
                    dropped += drop_before(queue, self.retention.cutoff(resolution, now));
                }
                !series.is_empty()
            });
            !check.is_empty()
        });
        let oldest = self.retention.state_cutoff(now);
        kept.states
            .retain(|_, (stored_at, _)| stored_at.as_microsecond() >= oldest);
        Ok(Compaction {
            rolled_up: std::mem::take(&mut kept.rolled_up),
            dropped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Labels, Measurement};

    #[tokio::test]
    async fn memory_is_bounded_whatever_the_retention() {
        let limits = MemoryLimits::values(5).with(Resolution::Minute, 2);
        let history = MemoryHistory::new(limits, Retention::default());
        let check: CheckId = "disk".parse().unwrap();
        let batch: Vec<_> = (0..1000)
            .map(|second| Sample {
                check: check.clone(),
                at: Timestamp::from_second(second).unwrap(),
                measurement: Measurement {
                    name: "used".into(),
                    value: second as f64,
                    unit: Unit::Bytes,
                    labels: Labels::new(),
                },
            })
            .collect();
        history.append(&batch).await.unwrap();
        let count = async |resolution| {
            let query = Query::new(check.clone(), Timestamp::MIN, Timestamp::MAX, resolution);
            let traces = history.points(&query).await.unwrap();
            traces.iter().map(|trace| trace.points.len()).sum::<usize>()
        };
        assert_eq!(count(Resolution::Raw).await, 5);
        assert_eq!(count(Resolution::Minute).await, 2);
        assert_eq!(count(Resolution::Hour).await, 0);
    }
}
