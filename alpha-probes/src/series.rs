//! What conditions look back on: the recent values of one check, in fixed memory.
//!
//! Only measurements that a condition asks for over a span of time are kept, each for that span and no longer. A span
//! of any length holds at most [`MAX_POINTS`] values: where a check runs more often than that, the span is cut into
//! equal slots and the last value of a slot stands for it. That keeps the newest value exact, keeps counters countable,
//! and is a fair sample for averages and percentiles; a peak shorter than a slot may be missed.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::condition::Series;
use crate::observation::{Labels, Observation};

/// The most values kept of one measurement over one span: 8 KiB of memory.
pub const MAX_POINTS: usize = 512;

/// The most measurements of one check that are looked back on, each set of labels counted on its own.
///
/// A target that invents labels without end costs this much and no more; the longest silent makes room for the new.
pub const MAX_TRACKS: usize = 256;

/// The recent values of one check that its conditions look back on.
#[derive(Debug, Default)]
pub struct SeriesBuffer {
    /// What is kept, by name and span in microseconds; one entry each.
    spans: Vec<(String, i64)>,
    tracks: Vec<Track>,
    /// Where the last value went: a probe names its measurements in the same order each time.
    cursor: usize,
}

/// One measurement over one span.
#[derive(Debug)]
struct Track {
    /// Index into `spans`.
    span: usize,
    labels: Labels,
    /// Microseconds since 1970 and the value, oldest first, at most one a slot.
    points: VecDeque<(i64, f64)>,
}

impl SeriesBuffer {
    /// A buffer for what [`Condition::windows`](crate::condition::Condition::windows) lists, of all conditions of one
    /// check; a name may come with several spans. Names compare without case.
    pub fn new(windows: impl IntoIterator<Item = (String, Duration)>) -> Self {
        let mut spans: Vec<_> = windows
            .into_iter()
            .map(|(name, span)| {
                (
                    name.to_ascii_lowercase(),
                    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4),
                )
            })
            .collect();
        // The shortest first: it is the finest, and the first that is long enough is the one to read.
        spans.sort();
        spans.dedup();
        Self {
            spans,
            ..Self::default()
        }
    }

    /// Whether no condition looks back, so that nothing is ever kept.
    pub fn is_unused(&self) -> bool {
        self.spans.is_empty()
    }

    /// What is kept and for how long, for filling a new buffer from a history.
    pub fn windows(&self) -> impl Iterator<Item = (&str, Duration)> {
        let micros = |span: i64| Duration::from_micros(span.unsigned_abs());
        self.spans
            .iter()
            .map(move |(name, span)| (name.as_str(), micros(*span)))
    }

    /// Keeps what is looked back on of what was just seen.
    pub fn append(&mut self, observation: &Observation, at: Timestamp) {
        if self.is_unused() {
            return;
        }
        for measurement in &observation.measurements {
            self.push(&measurement.name, &measurement.labels, at, measurement.value);
        }
    }

    /// Keeps one value, where it is looked back on and is a number.
    ///
    /// After the clock was set back, the values from what is now the future are dropped: they would be counted as
    /// recent for as long as it takes time to pass them again.
    pub fn push(&mut self, name: &str, labels: &Labels, at: Timestamp, value: f64) {
        if !value.is_finite() {
            return;
        }
        let at = at.as_microsecond();
        for span in 0..self.spans.len() {
            if self.spans[span].0.eq_ignore_ascii_case(name) {
                let length = self.spans[span].1;
                self.track(span, labels).push(length, at, value);
            }
        }
    }

    /// The memory behind the values, in bytes; never above [`MAX_TRACKS`] times [`MAX_POINTS`] values.
    pub fn memory_bytes(&self) -> usize {
        let point = size_of::<(i64, f64)>();
        self.tracks
            .iter()
            .map(|track| track.points.capacity() * point)
            .sum()
    }

    /// The track of these labels, made where there is none yet.
    fn track(&mut self, span: usize, labels: &Labels) -> &mut Track {
        let is_it = |track: &Track| track.span == span && track.labels == *labels;
        let next = if self.cursor + 1 < self.tracks.len() {
            self.cursor + 1
        } else {
            0
        };
        let found = match self.tracks.get(next) {
            Some(track) if is_it(track) => Some(next),
            _ => self.tracks.iter().position(is_it),
        };
        self.cursor = found.unwrap_or_else(|| self.add(span, labels.clone()));
        &mut self.tracks[self.cursor]
    }

    /// Adds a track, in the place of the longest silent one where all places are taken.
    fn add(&mut self, span: usize, labels: Labels) -> usize {
        let track = Track {
            span,
            labels,
            points: VecDeque::new(),
        };
        if self.tracks.len() < MAX_TRACKS {
            self.tracks.push(track);
            return self.tracks.len() - 1;
        }
        let silent = |index: &usize| self.tracks[*index].newest();
        let index = (0..self.tracks.len()).min_by_key(silent).unwrap_or_default();
        self.tracks[index] = track;
        index
    }
}

impl Series for SeriesBuffer {
    fn points(&self, name: &str, labels: &Labels, since: Timestamp, out: &mut Vec<(Timestamp, f64)>) {
        let since = since.as_microsecond();
        let mut best: Option<&Track> = None;
        for track in &self.tracks {
            let (of, span) = &self.spans[track.span];
            if !of.eq_ignore_ascii_case(name) || track.labels != *labels {
                continue;
            }
            // Spans are in ascending order, so that a later one that is also long enough is only coarser.
            let reaches =
                |track: &Track, span: i64| track.newest().is_none_or(|newest| newest - since <= span);
            let better = match best {
                None => true,
                Some(best) => {
                    let best_span = self.spans[best.span].1;
                    match (reaches(best, best_span), reaches(track, *span)) {
                        (true, true) => *span < best_span,
                        (false, true) => true,
                        (true, false) => false,
                        (false, false) => *span > best_span,
                    }
                }
            };
            if better {
                best = Some(track);
            }
        }
        let Some(track) = best else { return };
        let first = track.points.partition_point(|(at, _)| *at < since);
        out.extend(track.points.range(first..).map(|&(at, value)| {
            let at = Timestamp::from_microsecond(at).unwrap_or(Timestamp::MAX);
            (at, value)
        }));
    }
}

impl Track {
    fn push(&mut self, span: i64, at: i64, value: f64) {
        // Two slots fewer than values: the oldest and the newest slot may both be partly in the span.
        let slot = (span / (MAX_POINTS as i64 - 2)).max(0) + 1;
        while self.points.back().is_some_and(|(last, _)| *last > at) {
            self.points.pop_back();
        }
        match self.points.back_mut() {
            Some(last) if last.0.div_euclid(slot) == at.div_euclid(slot) => *last = (at, value),
            _ => self.points.push_back((at, value)),
        }
        while self.points.front().is_some_and(|(first, _)| at - *first > span) {
            self.points.pop_front();
        }
    }

    fn newest(&self) -> Option<i64> {
        self.points.back().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Unit;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    fn buffer(windows: &[(&str, Duration)]) -> SeriesBuffer {
        SeriesBuffer::new(windows.iter().map(|(name, span)| ((*name).to_owned(), *span)))
    }

    fn points(buffer: &SeriesBuffer, name: &str, labels: &Labels, since: i64) -> Vec<(i64, f64)> {
        let mut out = Vec::new();
        buffer.points(name, labels, at(since), &mut out);
        out.into_iter()
            .map(|(at, value)| (at.as_second(), value))
            .collect()
    }

    fn mount(name: &str) -> Labels {
        vec![("mount".into(), name.to_owned())]
    }

    #[test]
    fn only_what_is_looked_back_on_is_kept_and_only_for_so_long() {
        let mut buffer = buffer(&[("used", minutes(1))]);
        for second in (0..=120).step_by(20) {
            let mut observation = Observation::new().with("other", 7.0, Unit::Count);
            observation.push("used", second as f64, Unit::Ratio, mount("/"));
            observation.push("used", 1000.0 + second as f64, Unit::Ratio, mount("/data"));
            buffer.append(&observation, at(second));
        }
        assert_eq!(
            points(&buffer, "used", &mount("/"), 0),
            [(60, 60.0), (80, 80.0), (100, 100.0), (120, 120.0)]
        );
        assert_eq!(points(&buffer, "USED", &mount("/data"), 119), [(120, 1120.0)]);
        assert!(points(&buffer, "other", &Labels::new(), 0).is_empty());
        assert!(points(&buffer, "used", &Labels::new(), 0).is_empty());
    }

    #[test]
    fn a_short_window_stays_fine_beside_a_long_one_of_the_same_measurement() {
        let mut buffer = buffer(&[("used", minutes(7 * 24 * 60)), ("used", minutes(5))]);
        for run in 0..10_000 {
            buffer.push("used", &Labels::new(), at(run * 10), run as f64);
        }
        let now = 9_999 * 10;
        assert_eq!(points(&buffer, "used", &Labels::new(), now - 300).len(), 31);
        let long = points(&buffer, "used", &Labels::new(), now - 7 * 86_400);
        assert!((60..=MAX_POINTS).contains(&long.len()), "{}", long.len());
        assert!(long[0].0 < 1200, "the long window begins at {:?}", long[0]);
        assert_eq!(*long.last().unwrap(), (now, 9_999.0));
    }

    #[test]
    fn a_window_longer_than_any_kept_gets_all_there_is() {
        let mut buffer = buffer(&[("used", minutes(1)), ("used", minutes(2))]);
        for second in 0..300 {
            buffer.push("used", &Labels::new(), at(second), 0.0);
        }
        assert_eq!(points(&buffer, "used", &Labels::new(), -1000).len(), 121);
    }

    #[test]
    fn a_clock_set_back_takes_the_future_with_it() {
        let mut buffer = buffer(&[("used", minutes(10))]);
        for second in [100, 200, 300, 150] {
            buffer.push("used", &Labels::new(), at(second), second as f64);
        }
        assert_eq!(
            points(&buffer, "used", &Labels::new(), 0),
            [(100, 100.0), (150, 150.0)]
        );
    }

    #[test]
    fn what_is_no_number_is_not_kept() {
        let mut buffer = buffer(&[("used", minutes(10))]);
        for value in [f64::NAN, f64::INFINITY, 1.0] {
            buffer.push("used", &Labels::new(), at(1), value);
        }
        assert_eq!(points(&buffer, "used", &Labels::new(), 0), [(1, 1.0)]);
    }

    #[test]
    fn labels_without_end_make_room_for_one_another() {
        let mut buffer = buffer(&[("used", minutes(10))]);
        for index in 0..2 * MAX_TRACKS {
            buffer.push("used", &mount(&index.to_string()), at(index as i64), 1.0);
            buffer.push("used", &mount("kept"), at(index as i64), 2.0);
        }
        assert_eq!(buffer.tracks.len(), MAX_TRACKS);
        let kept = points(&buffer, "used", &mount("kept"), 0);
        assert_eq!(
            (kept[0].0, kept.last().unwrap().0),
            (1, 2 * MAX_TRACKS as i64 - 1)
        );
        assert!(points(&buffer, "used", &mount("0"), 0).is_empty());
    }

    proptest! {
        #[test]
        fn memory_is_bounded_order_is_kept_and_the_newest_value_is_exact(
            span in 0_u64..10_000_000,
            steps in prop::collection::vec((-50_i64..1000, -1e9..1e9), 1..2000),
        ) {
            let mut buffer = buffer(&[("used", Duration::from_millis(span))]);
            let mut now = 0;
            for (step, value) in &steps {
                now += step;
                buffer.push("used", &Labels::new(), at(now), *value);
            }
            let kept = points(&buffer, "used", &Labels::new(), i64::from(i32::MIN));
            prop_assert!(kept.len() <= MAX_POINTS);
            prop_assert!(buffer.memory_bytes() <= MAX_POINTS * 16);
            prop_assert!(kept.is_sorted_by_key(|(at, _)| *at));
            prop_assert_eq!(*kept.last().unwrap(), (now, steps.last().unwrap().1));
            prop_assert!((now - kept[0].0) as u64 <= span / 1000);
        }
    }
}
