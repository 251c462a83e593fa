//! The probe `command`: what a program of the user says, by the convention of monitoring plugins.
//!
//! The convention (<https://www.monitoring-plugins.org/doc/guidelines.html>): the exit code is 0 for ok, 1 for a
//! warning, 2 for critical and 3 for unknown; the output is a line of text and, behind a `|`, performance data.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::program::Program;
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::secret::{SecretRef, Secrets};
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "command",
    summary: "What a program of yours says, by the convention of monitoring plugins",
    metrics: &[
        Metric::gauge(
            "exit_code",
            Unit::Count,
            "0 for ok, 1 for a warning, 2 for critical",
        ),
        Metric::gauge("run_time", Unit::Seconds, "How long the program ran"),
    ],
    is_open: true,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "exit_code == 2",
            sustained: "",
            says: "{output}",
            remedy: "Do what the documentation of the program says about this finding.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "exit_code == 1",
            sustained: "",
            says: "{output}",
            remedy: "Do what the documentation of the program says about this finding.",
        },
    ],
};

/// The most measurements that one output may hold.
const MOST_MEASUREMENTS: usize = 200;

/// The most characters of the text that are kept.
const LONGEST_TEXT: usize = 500;

/// The table `command` of a check.
///
/// The program is run without a shell, in a group of its own that is killed as a whole when the time is up. It finds
/// `PATH`, `LC_ALL=C` and what is listed here in its environment, and nothing of Alpha's own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CommandConfig {
    /// The program and its arguments, one each: `["/usr/lib/nagios/plugins/check_disk", "-w", "20%"]`.
    pub run: Vec<String>,
    /// Variables for its environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Variables for its environment that are secrets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, SecretRef>,
    /// The folder it starts in. Default: Alpha's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
}

impl ProbeConfig for CommandConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let Some(name) = self.run.first().filter(|name| !name.is_empty()) else {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "run: expected a program and its arguments, such as [\"/usr/bin/true\"], found nothing"
                ),
            ));
        };
        for name in self.env.keys().chain(self.secret_env.keys()) {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    text!("env: \"{name}\" is no name for a variable", name = name),
                ));
            }
        }
        if self.run.iter().any(|word| word.contains('\0')) {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                text!("run: no argument can hold the character NUL"),
            ));
        }
        for reference in self.secret_env.values() {
            resources.secrets.resolve(reference)?;
        }
        Ok(Arc::new(Command {
            target: name.clone(),
            config: self.clone(),
            secrets: Arc::clone(&resources.secrets),
        }))
    }
}

#[derive(Debug)]
struct Command {
    target: String,
    config: CommandConfig,
    secrets: Arc<dyn Secrets>,
}

/// One entry of performance data: `'label'=value[UOM];[warn];[crit];[min];[max]`.
#[derive(Clone, Debug, PartialEq)]
struct PerformanceDatum {
    label: String,
    value: f64,
    unit: Unit,
}

/// Reads performance data; entries that cannot be read are left out, and counted.
fn parse_performance_data(text: &str) -> (Vec<PerformanceDatum>, usize) {
    let (mut data, mut strange) = (Vec::new(), 0);
    let mut rest = text.trim();
    while !rest.is_empty() && data.len() < MOST_MEASUREMENTS {
        let Some((label, after)) = parse_label(rest) else {
            // No label: whatever stands here up to the next blank is none of it.
            strange += 1;
            rest = rest
                .split_once(char::is_whitespace)
                .map_or("", |(_, rest)| rest)
                .trim_start();
            continue;
        };
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let (fields, after) = after.split_at(end);
        rest = after.trim_start();
        match parse_value(fields.split(';').next().unwrap_or_default()) {
            // `U` says that the plugin could not tell, which is no entry but no mistake either.
            Some(None) => {}
            Some(Some((value, unit))) if !label.is_empty() => {
                data.push(PerformanceDatum { label, value, unit })
            }
            _ => strange += 1,
        }
    }
    (data, strange)
}

/// Reads a label and the `=` after it. A label with blanks stands in single quotes; two of them stand for one.
fn parse_label(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('\'') else {
        let (label, rest) = text.split_once('=')?;
        return (!label.contains(char::is_whitespace)).then(|| (label.to_owned(), rest));
    };
    let mut label = String::new();
    loop {
        let (part, after) = rest.split_once('\'')?;
        label.push_str(part);
        match after.strip_prefix('\'') {
            Some(after) => {
                label.push('\'');
                rest = after;
            }
            None => return Some((label, after.strip_prefix('=')?)),
        }
    }
}

/// Reads a number with its unit of measurement, in the unit's base.
fn parse_value(text: &str) -> Option<Option<(f64, Unit)>> {
    if text == "U" {
        return Some(None);
    }
    let is_number = |letter: char| letter.is_ascii_digit() || "+-.,eE".contains(letter);
    let mut end = text.find(|letter| !is_number(letter)).unwrap_or(text.len());
    // An `E` at the end is no exponent but the beginning of a unit.
    while end > 0 && !text[..end].ends_with(|last: char| last.is_ascii_digit() || last == '.') {
        end -= 1;
    }
    let value: f64 = text[..end].replace(',', ".").parse().ok()?;
    let (scale, unit) = match &text[end..] {
        "s" => (1.0, Unit::Seconds),
        "ms" => (1e-3, Unit::Seconds),
        "us" | "µs" => (1e-6, Unit::Seconds),
        "ns" => (1e-9, Unit::Seconds),
        "%" => (0.01, Unit::Ratio),
        "B" => (1.0, Unit::Bytes),
        // Plugins mean the powers of 1024 that older systems mean.
        "KB" | "kB" | "KiB" => (1024.0, Unit::Bytes),
        "MB" | "MiB" => (1_048_576.0, Unit::Bytes),
        "GB" | "GiB" => (1_073_741_824.0, Unit::Bytes),
        "TB" | "TiB" => (1_099_511_627_776.0, Unit::Bytes),
        "PB" | "PiB" => (1_125_899_906_842_624.0, Unit::Bytes),
        _ => (1.0, Unit::Count),
    };
    value.is_finite().then_some(Some((value * scale, unit)))
}

/// Takes an output apart: the first line of text, and all performance data, which may go on behind a `|` of a later
/// line.
fn split_output(output: &str) -> (String, String) {
    let mut lines = output.lines();
    let first = lines.next().unwrap_or_default();
    let (text, data) = first.split_once('|').unwrap_or((first, ""));
    let mut data = data.to_owned();
    let mut is_data = false;
    for line in lines {
        let part = match line.split_once('|') {
            Some((_, part)) if !is_data => {
                is_data = true;
                part
            }
            _ if is_data => line,
            _ => continue,
        };
        data.push(' ');
        data.push_str(part);
    }
    (shown(text), data)
}

/// A text without what moves the cursor of a terminal, and not too long.
fn shown(text: &str) -> String {
    let letters = text
        .trim()
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    letters.take(LONGEST_TEXT).collect()
}

/// A label as the name of a measurement: lower-case words joined by `_`.
fn name_of(label: &str) -> Option<String> {
    let mut name = String::new();
    for letter in label.chars() {
        if letter.is_ascii_alphanumeric() {
            name.push(letter.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_end_matches('_');
    match name.chars().next()? {
        first if first.is_ascii_digit() => Some(format!("value_{name}")),
        _ if KIND.metrics.iter().any(|metric| metric.name == name) => Some(format!("value_{name}")),
        _ => Some(name.to_owned()),
    }
}

#[async_trait]
impl Probe for Command {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        // A little is kept for killing and judging.
        let latest = context.deadline.checked_sub(Duration::from_millis(100));
        let mut program = Program::new(
            &self.target,
            &self.config.run[1..],
            latest.unwrap_or(context.deadline),
        );
        program.directory = self.config.directory.as_deref();
        for (name, value) in &self.config.env {
            program.environment.push((name.clone(), value.into()));
        }
        for (name, reference) in &self.config.secret_env {
            let secret = self.secrets.resolve(reference)?;
            program
                .environment
                .push((name.clone(), secret.expose_secret().into()));
        }
        let started = tokio::time::Instant::now();
        let answer = program.run().await?;
        let run_time = started.elapsed();
        let output = String::from_utf8_lossy(&answer.output);
        let (text, data) = split_output(&output);
        let code = match answer.status.code() {
            Some(code @ 0..=2) => code,
            code => {
                let errors = String::from_utf8_lossy(&answer.errors);
                let said = [text, shown(errors.lines().next().unwrap_or_default())];
                let said = said.into_iter().find(|said| !said.is_empty()).unwrap_or_default();
                let how = match (code, answer.status.signal()) {
                    (Some(code), _) => text!("exit code {code}", code = code),
                    (None, signal) => text!("signal {signal}", signal = signal.unwrap_or_default()),
                };
                return Err(Error::new(
                    ErrorKind::Malformed,
                    text!(
                        "{program} could not tell ({how}): {said}",
                        program = &self.target,
                        how = how,
                        said = said
                    ),
                ));
            }
        };
        let (data, strange) = parse_performance_data(&data);
        let mut observation = Observation::new()
            .with("exit_code", f64::from(code), Unit::Count)
            .with_seconds("run_time", run_time)
            .with_fact("output", text);
        for datum in data {
            // A label without letters, such as the `/` of a disk, leaves only itself to tell it by.
            let name = name_of(&datum.label);
            let is_known = name
                .as_ref()
                .is_none_or(|name| observation.measurement(name).is_some());
            let name = name.unwrap_or_else(|| "value".to_owned());
            let labels = if is_known {
                vec![("label".into(), datum.label)]
            } else {
                Vec::new()
            };
            observation.push(name, datum.value, datum.unit, labels);
        }
        if strange > 0 {
            observation = observation.with_fact("unreadable_data", strange);
        }
        if answer.is_cut {
            observation = observation.with_fact("output_cut", true);
        }
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datum(label: &str, value: f64, unit: Unit) -> PerformanceDatum {
        PerformanceDatum {
            label: label.to_owned(),
            value,
            unit,
        }
    }

    #[test]
    fn performance_data_is_read_as_the_guidelines_write_it() {
        let (data, strange) = parse_performance_data(
            "/=2643MB;5948;5958;0;5968 'a ''b'' c'=50% time=0,25s;;;0 x=U load=1.5 big=1e3c",
        );
        let expected = [
            datum("/", 2643.0 * 1_048_576.0, Unit::Bytes),
            datum("a 'b' c", 0.5, Unit::Ratio),
            datum("time", 0.25, Unit::Seconds),
            datum("load", 1.5, Unit::Count),
            datum("big", 1000.0, Unit::Count),
        ];
        assert_eq!((data.as_slice(), strange), (&expected[..], 0));
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_the_rest_is_read() {
        let (data, strange) = parse_performance_data("nonsense a=b =1 'open=1 good=1");
        assert_eq!((data, strange), (vec![datum("good", 1.0, Unit::Count)], 4));
    }

    #[test]
    fn data_may_go_on_in_later_lines() {
        let (text, data) = split_output("DISK OK | /=1\nlong text\nmore | /boot=2\n/home=3\n");
        assert_eq!(text, "DISK OK");
        assert_eq!(parse_performance_data(&data).0.len(), 3);
    }

    #[test]
    fn labels_become_names() {
        for (label, name) in [
            ("/boot", Some("boot")),
            ("Load 5", Some("load_5")),
            ("5m", Some("value_5m")),
            ("/", None),
        ] {
            assert_eq!(name_of(label).as_deref(), name);
        }
        assert_eq!(name_of("exit_code").as_deref(), Some("value_exit_code"));
    }

    proptest! {
        #[test]
        fn any_output_is_taken_apart_without_harm(output in "\\PC{0,200}") {
            let (_, data) = split_output(&output);
            let (data, _) = parse_performance_data(&data);
            prop_assert!(data.iter().all(|datum| datum.value.is_finite()));
        }

        #[test]
        fn what_is_written_is_read(label in "[a-z' =/]{1,12}", value in -1e9..1e9_f64) {
            let text = format!("'{}'={value};1;2", label.replace('\'', "''"));
            let (data, strange) = parse_performance_data(&text);
            prop_assert_eq!(strange, 0);
            prop_assert_eq!(data, vec![datum(&label, value, Unit::Count)]);
        }
    }
}
