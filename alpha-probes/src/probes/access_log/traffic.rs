//! What the lines of an access log add up to, in bounded memory.

use std::collections::HashMap;

use hdrhistogram::Histogram;
use jiff::Timestamp;

use super::format::{Entry, Format};

/// The most paths that are counted at once.
const MOST_PATHS: usize = 1024;

/// The most bytes of a path that tell it from others.
const LONGEST_PATH: usize = 200;

/// An hour in milliseconds: longer requests count as this long.
const LONGEST_REQUEST: u64 = 3_600_000;

/// What was seen since the last look.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) requests: u64,
    pub(super) server_errors: u64,
    pub(super) client_errors: u64,
    pub(super) bytes: u64,
    pub(super) malformed: u64,
    /// Lines from before the time that is looked at.
    pub(super) older: u64,
    pub(super) first_at: Option<Timestamp>,
    durations: Option<Histogram<u64>>,
    paths: HashMap<Box<str>, Visits>,
}

/// Requests of one path; a lower bound, off by at most a thousandth of all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Visits {
    pub(super) requests: u64,
    pub(super) server_errors: u64,
}

impl Traffic {
    /// Takes in a line; one written before `since` is only noted.
    pub(super) fn add(&mut self, format: &Format, line: &[u8], since: Option<Timestamp>) {
        let line = String::from_utf8_lossy(line);
        let Some(entry) = format.read(&line) else {
            self.malformed += 1;
            return;
        };
        if let (Some(since), Some(at)) = (since, entry.at)
            && at < since
        {
            self.older += 1;
            return;
        }
        self.first_at = self.first_at.or(entry.at);
        self.requests += 1;
        self.server_errors += u64::from(entry.status >= 500);
        self.client_errors += u64::from((400..500).contains(&entry.status));
        self.bytes = self.bytes.saturating_add(entry.bytes.unwrap_or(0));
        if let Some(seconds) = entry.duration {
            // nginx writes milliseconds; three significant digits are within 0.1 %.
            let fresh = || Histogram::new_with_bounds(1, LONGEST_REQUEST, 3).ok();
            if self.durations.is_none() {
                self.durations = fresh();
            }
            if let Some(durations) = &mut self.durations {
                durations.saturating_record((seconds * 1e3).round() as u64);
            }
        }
        self.visit(&entry);
    }

    /// Counts a path by the algorithm of Misra and Gries ("Finding repeated elements", 1982): where there is no room
    /// for another, all lose one.
    fn visit(&mut self, entry: &Entry<'_>) {
        let Some(path) = entry.path else { return };
        let mut end = path.len().min(LONGEST_PATH);
        while !path.is_char_boundary(end) {
            end -= 1;
        }
        let path = &path[..end];
        let is_error = u64::from(entry.status >= 500);
        if let Some(visits) = self.paths.get_mut(path) {
            visits.requests += 1;
            visits.server_errors += is_error;
        } else if self.paths.len() < MOST_PATHS {
            let visits = Visits {
                requests: 1,
                server_errors: is_error,
            };
            self.paths.insert(path.into(), visits);
        } else {
            self.paths.retain(|_, visits| {
                visits.requests -= 1;
                visits.server_errors = visits.server_errors.min(visits.requests);
                visits.requests > 0
            });
        }
    }

    /// How long requests took, in seconds, at a share of them such as 0.95.
    pub(super) fn duration_at(&self, share: f64) -> Option<f64> {
        let durations = self.durations.as_ref()?;
        Some(durations.value_at_quantile(share) as f64 / 1e3)
    }

    /// The paths with the most requests.
    pub(super) fn top(&self, count: usize) -> Vec<(&str, Visits)> {
        let mut paths: Vec<_> = self
            .paths
            .iter()
            .map(|(path, visits)| (&**path, *visits))
            .collect();
        paths.sort_unstable_by(|(one, a), (other, b)| b.requests.cmp(&a.requests).then(one.cmp(other)));
        paths.truncate(count);
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(lines: impl IntoIterator<Item = String>) -> Traffic {
        let format = Format::parse("$request_uri $status $request_time").unwrap();
        let mut traffic = Traffic::default();
        for line in lines {
            traffic.add(&format, line.as_bytes(), None);
        }
        traffic
    }

    #[test]
    fn a_frequent_path_stands_out_among_very_many_rare_ones() {
        let lines = (0..50_000).map(|index| match index % 10 {
            0 => "/often 200 0.1".to_owned(),
            _ => format!("/rare/{index} 200 0.1"),
        });
        let traffic = traffic(lines);
        let (path, visits) = traffic.top(1)[0];
        assert_eq!(path, "/often");
        assert!((4950..=5000).contains(&visits.requests), "{visits:?}");
        assert!(traffic.paths.len() <= MOST_PATHS);
    }

    #[test]
    fn errors_and_durations_add_up() {
        let lines = (1..=100).map(|index| {
            let status = match index {
                ..=3 => 502,
                4..=10 => 404,
                _ => 200,
            };
            format!("/ {status} {:.3}", f64::from(index) / 1000.0)
        });
        let traffic = traffic(lines.chain(["nonsense".to_owned()]));
        assert_eq!(
            (
                traffic.requests,
                traffic.server_errors,
                traffic.client_errors,
                traffic.malformed
            ),
            (100, 3, 7, 1)
        );
        assert_eq!(
            (traffic.duration_at(0.5), traffic.duration_at(1.0)),
            (Some(0.05), Some(0.1))
        );
        assert_eq!(
            traffic.top(5),
            [(
                "/",
                Visits {
                    requests: 100,
                    server_errors: 3
                }
            )]
        );
    }
}
