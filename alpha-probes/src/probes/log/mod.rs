//! The probe `log`: lines of a log that match patterns.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod follower;
mod generation;
mod preset;
pub(crate) mod tail;

pub use follower::{Follower, Position, Round};
pub use preset::LogPreset;

use tail::Tail;

use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "log",
    summary: "Lines of a log that match patterns; follows every kind of rotation and reads each line once",
    metrics: &[
        Metric::gauge(
            "matches",
            Unit::Count,
            "Lines that matched since the last look, by pattern",
        ),
        Metric::gauge(
            "match_rate",
            Unit::PerSecond,
            "Lines that matched in a second, by pattern; not at the first look",
        ),
        Metric::gauge(
            "fatal_matches",
            Unit::Count,
            "Those that the preset knows for an emergency; absent without a preset",
        ),
        Metric::gauge("lines", Unit::Count, "Lines read since the last look"),
        Metric::gauge(
            "line_rate",
            Unit::PerSecond,
            "Lines in a second; not at the first look",
        ),
        Metric::gauge("present", Unit::Boolean, "Whether the log exists"),
        Metric::gauge(
            "lag",
            Unit::Bytes,
            "Bytes that are there and were not read yet, because one look is bounded",
        ),
        Metric::gauge(
            "rotations",
            Unit::Count,
            "Times the log was rotated since the last look",
        ),
        Metric::gauge(
            "gaps",
            Unit::Count,
            "Times since the last look that lines may have been lost, because a file was gone before it was read",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "has(fatal_matches) == true && fatal_matches > 0",
            sustained: "",
            says: "{fatal_matches} new lines tell of an emergency: {fatal}",
            remedy: "Stop a node that signs, and start it again only by its runbook: after a failed task or a corrupt database at once is too early.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "matches > 0",
            sustained: "",
            says: "{matches} new lines match {pattern}",
            remedy: "Read the lines around them: the last one is among the facts of this check.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "present == false",
            sustained: "5m",
            says: "there is no log at {path}",
            remedy: "See whether the program that writes it runs, and whether the path is right.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "gaps > 0",
            sustained: "",
            says: "lines of the log may have been lost: a file was gone before it was read",
            remedy: "Let logrotate keep at least one old file beside the log, or look more often.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "lag > 0",
            sustained: "10m",
            says: "the log grows faster than it is read, by {lag} so far",
            remedy: "Raise max_bytes or look more often; or let the program write less.",
        },
    ],
};

/// 64 KiB: what is read of the end of a log that was never looked at.
pub(crate) const FIRST_LOOK: u64 = 64 * 1024;

/// 64 MiB: what is read in one look.
pub(crate) const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The most characters of a line that are shown.
const SHOWN: usize = 300;

/// What nobody should read in an alert: values of words that name secrets.
const SECRETS: &str = r#"(?i)((?:pass(?:word|wd|phrase)?|secret|token|authorization|api[_-]?key|mnemonic|seed)["']?\s*[=:]\s*["']?)(?:bearer\s+|basic\s+)?[^\s"',;&]+"#;

/// The table `log` of a check.
///
/// A look reads what came since the last one. With `position_file` that also holds between two runs of `alpha check`
/// and across a restart; without it the first look reads the last `first_look_bytes`, so that a single check says
/// something.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LogConfig {
    /// The log. Rotated files are looked for beside it, under its name followed by a number, a date or `.old`, and
    /// `.gz`.
    pub path: PathBuf,
    /// What a line must contain, a regular expression, as the one pattern `pattern`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Several patterns, by names that become the label `pattern`. A line counts for each it matches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub patterns: BTreeMap<String, String>,
    /// Adds the patterns by which the log of a well-known program tells of trouble: `substrate`. A line of those that are
    /// an emergency is critical by itself. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<LogPreset>,
    /// Lines that match this count for no pattern. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// Where the place reached is kept between two processes: a small file that only this check uses. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position_file: Option<PathBuf>,
    /// How much of the end of a log that was never looked at is read. Default: 65536; 0 begins at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_look_bytes: Option<u64>,
    /// About how much is read in one look; the rest waits for the next, and is told as `lag`. Default: 67108864.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Whether the last matching line of each pattern is shown, at most 300 characters, without what looks like a
    /// password, token or key. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_lines: Option<bool>,
    /// Regular expressions of what else is left out of lines that are shown. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
}

/// Compiles a pattern of the configuration. It works on bytes, so that broken UTF-8 hides nothing, and takes a time
/// that grows with the line and not faster.
fn compile(key: &str, pattern: &str) -> Result<Regex> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(1 << 20)
        .build()
        .map_err(|cause| refused(key, pattern, &cause))
}

fn refused(key: &str, pattern: &str, cause: &regex::Error) -> Error {
    // The message of a syntax error spans several lines; its last one says what is wrong.
    let cause = cause.to_string();
    let why = cause
        .lines()
        .last()
        .unwrap_or_default()
        .trim()
        .trim_start_matches("error: ")
        .to_owned();
    Error::new(
        ErrorKind::InvalidConfig,
        text!(
            "{key}: expected a regular expression, found \"{pattern}\": {why}",
            key = key,
            pattern = pattern,
            why = why
        ),
    )
}

/// Says that a path is missing or relative.
pub(crate) fn check_path(key: &str, path: &std::path::Path) -> Result<()> {
    if path.is_absolute() && path.file_name().is_some() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidConfig,
        text!(
            "{key}: expected the absolute path of a file, found \"{found}\"",
            key = key,
            found = path.display().to_string()
        ),
    ))
}

impl ProbeConfig for LogConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        check_path("path", &self.path)?;
        if let Some(file) = &self.position_file {
            check_path("position_file", file)?;
        }
        let one = self.pattern.iter().map(|pattern| ("pattern".to_owned(), pattern));
        let several = self
            .patterns
            .iter()
            .map(|(name, pattern)| (name.clone(), pattern));
        let (mut names, mut patterns): (Vec<String>, Vec<&str>) = one
            .chain(several)
            .map(|(name, pattern)| (name, pattern.as_str()))
            .unzip();
        let known = self.preset.map_or(&[][..], LogPreset::patterns);
        if names.is_empty() && known.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                text!("pattern: expected what a line must contain, such as \"ERROR\", found nothing"),
            ));
        }
        for (name, pattern) in names.iter().zip(&patterns) {
            let key = if self.pattern.as_deref() == Some(*pattern) {
                "pattern".to_owned()
            } else {
                format!("patterns.{name}")
            };
            compile(&key, pattern)?;
        }
        // Who names a pattern as the preset does means it instead.
        let known: Vec<_> = known
            .iter()
            .filter(|known| !names.iter().any(|name| name == known.name))
            .collect();
        let fatal = known
            .iter()
            .filter(|known| known.is_fatal)
            .map(|known| known.name);
        let fatal: Vec<_> = fatal.collect();
        names.extend(known.iter().map(|known| known.name.to_owned()));
        patterns.extend(known.iter().map(|known| known.pattern));
        let patterns = RegexSetBuilder::new(&patterns)
            .unicode(false)
            .size_limit(4 << 20)
            .build()
            .map_err(|cause| refused("patterns", "", &cause))?;
        let mut redact = vec![compile("redact", SECRETS)?];
        for pattern in &self.redact {
            redact.push(compile("redact", pattern)?);
        }
        let ignore = self
            .ignore
            .as_deref()
            .map(|pattern| compile("ignore", pattern))
            .transpose()?;
        Ok(Arc::new(Log {
            target: self.path.display().to_string(),
            tail: Tail::new(
                &self.path,
                self.position_file.as_deref(),
                self.first_look_bytes.unwrap_or(FIRST_LOOK),
            ),
            names,
            fatal: self.preset.map(|_| fatal),
            search: Arc::new(Search { patterns, ignore }),
            redact: self.show_lines.unwrap_or(true).then_some(redact),
            max_bytes: self.max_bytes.unwrap_or(MAX_BYTES),
        }))
    }
}

#[derive(Debug)]
struct Log {
    target: String,
    tail: Tail<Tally>,
    names: Vec<String>,
    /// The names of the patterns that are an emergency, where there is a preset.
    fatal: Option<Vec<&'static str>>,
    search: Arc<Search>,
    /// What is left out of lines; nothing where lines are not shown at all.
    redact: Option<Vec<Regex>>,
    max_bytes: u64,
}

#[derive(Debug)]
struct Search {
    patterns: RegexSet,
    ignore: Option<Regex>,
}

/// Matches by pattern, and the last line of each.
#[derive(Debug, Default)]
struct Tally(BTreeMap<usize, (u64, Vec<u8>)>);

impl Search {
    fn add(&self, tally: &mut Tally, line: &[u8]) {
        let matches = self.patterns.matches(line);
        if !matches.matched_any() || self.ignore.as_ref().is_some_and(|ignore| ignore.is_match(line)) {
            return;
        }
        for index in matches {
            let (count, last) = tally.0.entry(index).or_default();
            *count += 1;
            last.clear();
            last.extend_from_slice(line);
        }
    }
}

/// A line as it may be shown: without secrets, without what moves the cursor of a terminal, and not too long.
///
/// Secrets go first: the cut could otherwise leave a part of one that is not known as such any more.
fn shown(line: &[u8], redact: &[Regex]) -> String {
    let mut line = line.to_vec();
    for (index, pattern) in redact.iter().enumerate() {
        let replacement: &[u8] = if index == 0 {
            b"${1}[redacted]"
        } else {
            b"[redacted]"
        };
        line = pattern.replace_all(&line, replacement).into_owned();
    }
    let text = String::from_utf8_lossy(&line);
    let mut letters = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut shown: String = letters.by_ref().take(SHOWN).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Adds what is told of every log.
pub(crate) fn report_round(observation: Observation, round: &Round) -> Observation {
    observation
        .with_bool("present", round.is_present)
        .with("lag", round.lag as f64, Unit::Bytes)
        .with("rotations", round.rotations as f64, Unit::Count)
        .with("gaps", round.gaps as f64, Unit::Count)
}

#[async_trait]
impl Probe for Log {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let search = Arc::clone(&self.search);
        let add = move |tally: &mut Tally, line: &[u8]| search.add(tally, line);
        let mut news = self.tail.news(context.clock.now(), self.max_bytes, add).await?;
        let mut observation = report_round(Observation::new(), &news.round)
            .with_fact("path", self.target.as_str())
            .with("lines", news.round.lines as f64, Unit::Count);
        if let Some(elapsed) = news.elapsed {
            observation = observation.with("line_rate", news.round.lines as f64 / elapsed, Unit::PerSecond);
        }
        if news.round.is_first {
            observation = observation.with_fact("first_look", true);
        }
        let mut fatal = (0, Vec::new());
        for (index, name) in self.names.iter().enumerate() {
            let (count, last) = news.tally.0.remove(&index).unwrap_or_default();
            let labels = || vec![("pattern".into(), name.clone())];
            observation.push("matches", count as f64, Unit::Count, labels());
            if let Some(elapsed) = news.elapsed {
                observation.push("match_rate", count as f64 / elapsed, Unit::PerSecond, labels());
            }
            if let Some(redact) = self.redact.as_ref().filter(|_| count > 0) {
                observation = observation.with_fact(format!("last_{name}"), shown(&last, redact));
            }
            let is_fatal = self.fatal.iter().flatten().any(|known| known == name);
            if is_fatal && count > 0 {
                fatal.0 += count;
                fatal.1.push(name.as_str());
            }
        }
        if self.fatal.is_some() {
            observation = observation.with("fatal_matches", fatal.0 as f64, Unit::Count);
        }
        if fatal.0 > 0 {
            observation = observation.with_fact("fatal", fatal.1.join(", "));
        }
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(patterns: &[(&str, &str)]) -> LogConfig {
        LogConfig {
            path: "/var/log/app.log".into(),
            patterns: patterns
                .iter()
                .map(|(name, pattern)| ((*name).to_owned(), (*pattern).to_owned()))
                .collect(),
            ..LogConfig::default()
        }
    }

    fn wrong(config: &LogConfig) -> String {
        config.build(&Resources::default()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        insta::assert_snapshot!(wrong(&config(&[])), @r#"pattern: expected what a line must contain, such as "ERROR", found nothing"#);
        insta::assert_snapshot!(wrong(&config(&[("bad", "a(")])), @r#"patterns.bad: expected a regular expression, found "a(": unclosed group"#);
        let relative = LogConfig {
            path: "app.log".into(),
            ..config(&[("a", "a")])
        };
        insta::assert_snapshot!(wrong(&relative), @r#"path: expected the absolute path of a file, found "app.log""#);
    }

    #[test]
    fn a_line_counts_for_each_pattern_unless_it_is_ignored() {
        let search = Search {
            patterns: RegexSetBuilder::new(["(?i)error", "disk", "错误"])
                .unicode(false)
                .build()
                .unwrap(),
            ignore: Some(compile("ignore", "harmless").unwrap()),
        };
        let mut tally = Tally::default();
        for line in [
            &b"ERROR: disk full \xff"[..],
            b"error again",
            b"harmless error",
            b"fine",
            "错误".as_bytes(),
        ] {
            search.add(&mut tally, line);
        }
        let counts: Vec<_> = tally
            .0
            .iter()
            .map(|(index, (count, _))| (*index, *count))
            .collect();
        assert_eq!(counts, [(0, 2), (1, 1), (2, 1)]);
        assert_eq!(tally.0[&0].1, b"error again");
    }

    #[test]
    fn secrets_and_escapes_do_not_reach_the_reader() {
        let redact = [
            compile("redact", SECRETS).unwrap(),
            compile("redact", r"\d{4}-\d{4}").unwrap(),
        ];
        let line = "login password=hunter2, Authorization: Bearer abc.def, \"api_key\": \"k1\" card 1234-5678 \x1b[31m";
        let shown = shown(line.as_bytes(), &redact);
        insta::assert_snapshot!(shown.trim_end(), @r#"login password=[redacted], Authorization: [redacted], "api_key": "[redacted]" card [redacted]  [31m"#);
    }

    #[test]
    fn a_long_line_is_cut_where_a_letter_ends() {
        let shown = shown("é".repeat(1000).as_bytes(), &[]);
        assert_eq!(shown.chars().count(), SHOWN + 1);
    }
}
