//! Logs whose requests are played back at their own times.

use jiff::Timestamp;
use jiff::fmt::strtime;

use crate::error::{Error, Result};
use crate::request::Request;
use crate::schedule::Replay;
use crate::template::Inputs;
use crate::text;

/// The table that [`ReplayLog::requests`] fills its paths from.
const TABLE_COLUMN: &str = "replay.path";

/// A number of seconds since 1970 beyond this one is one of milliseconds: it would lie after the year 5000.
const LARGEST_SECONDS: f64 = 1e11;

/// The requests of a log with their times, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayLog {
    offsets_seconds: Vec<f64>,
    /// Paths by arrival, or nothing where the log holds times only.
    paths: Vec<String>,
    left_out: usize,
}

impl ReplayLog {
    /// Reads a log of one request a line.
    ///
    /// A line is one of an access log (`[25/Nov/2026:17:16:49 +0000] "GET /path HTTP/1.1"` stands somewhere in it), or
    /// begins with a time (RFC 3339, or seconds or milliseconds since 1970), which a method and a path, or a path alone,
    /// may follow. Empty lines and those that begin with `#` say nothing. Requests other than `GET` are left out: a log
    /// holds no bodies, and playing back what changes something is no measurement.
    ///
    /// Where the times are whole seconds, the requests of a second are spread evenly over it; all at its begin would be
    /// bursts that never happened.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for a line without a time, a path that cannot be sent, paths in
    /// some lines only, and a log without a request.
    pub fn parse(log: &str) -> Result<Self> {
        let mut lines: Vec<(f64, Option<String>)> = Vec::new();
        let mut left_out = 0;
        for (index, line) in log.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            let (at, method, path) = read_line(line)
                .ok_or_else(|| Error::invalid(text!("line {line} of the log has no time", line = number)))?;
            if method.is_some_and(|method| method != "GET") {
                left_out += 1;
                continue;
            }
            let is_bad =
                |path: &&str| !path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte == 127);
            if let Some(path) = path.filter(is_bad) {
                return Err(Error::invalid(text!(
                    "line {line} of the log has the path `{path}`, which cannot be sent",
                    line = number,
                    path = path.escape_default().to_string()
                )));
            }
            lines.push((at, path.map(str::to_owned)));
        }
        if lines.is_empty() {
            return Err(Error::invalid(text!("the log holds no request to play back")));
        }
        lines.sort_by(|a, b| a.0.total_cmp(&b.0));
        spread_within_seconds(&mut lines);
        let first = lines[0].0;
        let offsets_seconds = lines.iter().map(|(at, _)| at - first).collect();
        let count = lines.len();
        let paths: Vec<String> = lines.into_iter().filter_map(|(_, path)| path).collect();
        if !paths.is_empty() && paths.len() < count {
            return Err(Error::invalid(text!(
                "{have} of the {all} lines of the log have a path; all or none must have one",
                have = paths.len(),
                all = count
            )));
        }
        Ok(Self {
            offsets_seconds,
            paths,
            left_out,
        })
    }

    /// The times, played back `speed` times as fast as they happened.
    pub fn replay(&self, speed: f64) -> Replay {
        Replay {
            offsets_seconds: self.offsets_seconds.clone(),
            speed,
        }
    }

    /// The requests in the order of the times, whose paths are put into `inputs`; nothing if the log holds times only.
    pub fn requests(&self, inputs: &mut Inputs) -> Vec<Request> {
        if self.paths.is_empty() {
            return Vec::new();
        }
        let tails = self.paths.iter().map(|path| path[1..].to_owned());
        inputs.columns.insert(TABLE_COLUMN.to_owned(), tails.collect());
        let mut request = Request::get(format!("/${{column:{TABLE_COLUMN}}}"));
        request.name = Some("GET of the log".to_owned());
        vec![request]
    }

    /// How many requests it has.
    pub fn len(&self) -> usize {
        self.offsets_seconds.len()
    }

    /// Whether it has none, which [`parse`](Self::parse) refuses.
    pub fn is_empty(&self) -> bool {
        self.offsets_seconds.is_empty()
    }

    /// How many lines were left out because their method is not `GET`.
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

/// The time of a line in seconds since 1970, its method and its path.
fn read_line(line: &str) -> Option<(f64, Option<&str>, Option<&str>)> {
    if let Some(found) = read_access_line(line) {
        return Some(found);
    }
    let mut words = line.split_whitespace();
    let time = words.next()?;
    let at = match time.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => {
            if number > LARGEST_SECONDS {
                number / 1000.0
            } else {
                number
            }
        }
        _ => seconds(time.parse().ok()?),
    };
    Some(match (words.next(), words.next()) {
        (Some(path), None) if path.starts_with('/') => (at, None, Some(path)),
        (method, path) => (at, method, path),
    })
}

/// A line of the common or combined log format of Apache and nginx.
fn read_access_line(line: &str) -> Option<(f64, Option<&str>, Option<&str>)> {
    let (_, rest) = line.split_once('[')?;
    let (time, rest) = rest.split_once(']')?;
    let at = strtime::parse("%d/%b/%Y:%H:%M:%S %z", time)
        .ok()?
        .to_timestamp()
        .ok()?;
    let mut words = rest.trim_start().strip_prefix('"')?.split(['"', ' ']);
    let (method, path) = (words.next(), words.next());
    // What is no HTTP at all, such as the first bytes of a TLS handshake, has no path.
    Some((seconds(at), method, path.filter(|path| !path.is_empty())))
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// Spreads what stands at the same whole second over that second, if all times are whole seconds.
fn spread_within_seconds(lines: &mut [(f64, Option<String>)]) {
    if lines.iter().any(|(at, _)| at.fract() != 0.0) {
        return;
    }
    for second in lines.chunk_by_mut(|a, b| a.0 == b.0) {
        let count = second.len() as f64;
        for (index, (at, _)) in second.iter_mut().enumerate() {
            *at += index as f64 / count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(log: &str) -> Vec<f64> {
        ReplayLog::parse(log).unwrap().offsets_seconds
    }

    #[test]
    fn an_access_log_is_played_back_with_its_paths_and_without_what_changes_something() {
        let log = r#"10.0.0.1 - - [25/Nov/2026:17:16:51 +0000] "GET /b?x=1 HTTP/1.1" 200 12 "-" "curl"
10.0.0.1 - bob [25/Nov/2026:18:16:49 +0100] "GET /a HTTP/1.1" 200 12
10.0.0.1 - - [25/Nov/2026:17:16:49 +0000] "GET /c HTTP/2.0" 200 12
10.0.0.1 - - [25/Nov/2026:17:16:50 +0000] "POST /items HTTP/1.1" 201 12
"#;
        let log = ReplayLog::parse(log).unwrap();
        assert_eq!(
            log.offsets_seconds,
            [0.0, 0.5, 2.0],
            "two in one second are spread over it"
        );
        assert_eq!(log.paths, ["/a", "/c", "/b?x=1"]);
        assert_eq!((log.len(), log.left_out()), (3, 1));
        let mut inputs = Inputs::default();
        let requests = log.requests(&mut inputs);
        assert_eq!(requests[0].path, "/${column:replay.path}");
        assert_eq!(&inputs.columns["replay.path"][..], ["a", "c", "b?x=1"]);
        assert_eq!(log.replay(2.0).speed, 2.0);
    }

    #[test]
    fn a_line_may_begin_with_any_usual_time() {
        assert_eq!(
            offsets("# times\n2026-11-25T17:16:49.5Z\n\n2026-11-25T18:16:50+01:00\n"),
            [0.0, 0.5]
        );
        assert_eq!(offsets("1764090000.25 GET /a\n1764090001 /b"), [0.0, 0.75]);
        assert_eq!(offsets("1764090000250\n1764090000750"), [0.0, 0.5]);
    }

    #[test]
    fn a_log_that_cannot_be_played_back_says_where() {
        let refused = |log: &str| ReplayLog::parse(log).unwrap_err().to_string();
        insta::assert_snapshot!(refused("1\nyesterday GET /"), @"line 2 of the log has no time");
        insta::assert_snapshot!(refused("1 GET http://elsewhere/"), @"line 1 of the log has the path `http://elsewhere/`, which cannot be sent");
        insta::assert_snapshot!(refused("1 GET /a\n2"), @"1 of the 2 lines of the log have a path; all or none must have one");
        insta::assert_snapshot!(refused("1 POST /a"), @"the log holds no request to play back");
        insta::assert_snapshot!(refused(""), @"the log holds no request to play back");
    }
}
