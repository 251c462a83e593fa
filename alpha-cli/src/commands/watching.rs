//! A running monitor with its history and its configuration file, which `alpha watch` and `alpha serve` share.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use alpha_probes::history::{self as probe_history, History, Sample};
use alpha_probes::monitor::Monitor;
use alpha_probes::{Check, CheckId, CheckReport, Resources, Text, text};

use super::Failure;
use super::setup::{Setup, named, tell, warn_of_history};
use crate::config::{self, Loaded};
use crate::history;
use crate::terminal::Terminal;

/// How often what was seen is written down, and the configuration file is looked at.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// How often what the next process has to know is written down, and old values are rolled up.
const COMPACT_EVERY: u64 = 60;

/// A running monitor and what belongs to it.
pub(super) struct Watching {
    pub(super) setup: Setup,
    pub(super) monitor: Monitor,
    names: Vec<String>,
    history: Option<Arc<dyn History>>,
    /// Results that are not written down yet.
    seen: Vec<Arc<CheckReport>>,
    beats: u64,
    file_changed: Option<SystemTime>,
}

impl Watching {
    /// A monitor of the checks whose names match `names`, which goes on where the last process ended.
    pub(super) async fn start(
        setup: Setup,
        names: &[String],
        terminal: &mut Terminal,
    ) -> Result<Self, Failure> {
        let history = setup.history(terminal).await;
        let states = match &history {
            Some(history) => history::states(&**history).await.unwrap_or_else(|error| {
                warn_of_history(&error, setup.language, terminal);
                HashMap::new()
            }),
            None => HashMap::new(),
        };
        let monitor = Monitor::builder(setup.checks.clone())
            .with_clock(Arc::clone(&setup.resources.clock))
            .with_limits(setup.limits())
            .with_states(states)
            .build()?;
        if let Some(history) = &history {
            restore_series(&monitor, &**history, &setup.checks, &setup.resources).await;
        }
        let file_changed = setup.file.as_deref().and_then(changed);
        Ok(Self {
            setup,
            monitor,
            names: names.to_vec(),
            history,
            seen: Vec::new(),
            beats: 0,
            file_changed,
        })
    }

    /// Notes a result, to be written down at the next beat.
    pub(super) fn note(&mut self, report: Arc<CheckReport>) {
        self.seen.push(report);
    }

    /// Whether the configuration file is another than at the last look.
    pub(super) fn file_has_changed(&mut self) -> bool {
        let now = self.setup.file.as_deref().and_then(changed);
        let has_changed = now.is_some() && now != self.file_changed;
        if has_changed {
            self.file_changed = now;
        }
        has_changed
    }

    /// Writes down what was seen, to be called every [`BEAT`].
    pub(super) async fn beat(&mut self, terminal: &mut Terminal) {
        self.beats += 1;
        if self.beats.is_multiple_of(COMPACT_EVERY) {
            self.keep(terminal).await;
        } else if let Some(history) = self.history.clone() {
            let samples = self.samples();
            if let Err(error) = history.append(&samples).await {
                warn_of_history(&error, self.setup.language, terminal);
            }
        } else {
            self.seen.clear();
        }
    }

    /// Writes down everything that the next process has to know.
    pub(super) async fn keep(&mut self, terminal: &mut Terminal) {
        let Some(history) = self.history.clone() else {
            return;
        };
        let samples = self.samples();
        let now = self.setup.resources.clock.now();
        if let Err(error) = history::keep(&*history, &samples, &self.monitor.states(), now).await {
            warn_of_history(&error, self.setup.language, terminal);
        }
    }

    fn samples(&mut self) -> Vec<Sample> {
        self.seen
            .drain(..)
            .flat_map(|report| Sample::of(&report).collect::<Vec<_>>())
            .collect()
    }

    /// Reads the configuration again, and changes nothing yet; none where there is no file.
    ///
    /// # Errors
    /// What remains to be said once every mistake was told.
    pub(super) fn read_again(&mut self, terminal: &mut Terminal) -> Result<Option<Loaded>, Text> {
        let Some(file) = &self.setup.file else {
            return Ok(None);
        };
        config::load(file, &self.setup.resources)
            .map(Some)
            .map_err(|mistakes| tell(&mistakes, self.setup.language, terminal).text)
    }

    /// Goes on with another configuration.
    ///
    /// # Errors
    /// Why its checks cannot be watched; the old ones go on then.
    pub(super) fn replace(&mut self, loaded: Loaded) -> Result<(), Text> {
        let checks = named(&loaded.checks, &self.names);
        self.monitor
            .replace(checks.clone())
            .map_err(|error| error.to_text())?;
        self.setup.checks = checks;
        self.setup.config = loaded.config;
        Ok(())
    }

    /// Tells how reading the configuration again went.
    pub(super) fn tell_reload(&self, outcome: &Result<(), Text>, terminal: &mut Terminal) {
        let file = self.setup.file.as_deref().unwrap_or(Path::new("")).display();
        match outcome {
            Ok(()) => tracing::info!(%file, "the configuration was read again"),
            Err(problem) => {
                tracing::error!(%file, %problem, "the old configuration goes on");
                terminal.error(
                    self.setup.language,
                    &text!(
                        "{problem}; the old configuration goes on",
                        problem = problem.clone()
                    ),
                );
            }
        }
    }
}

async fn restore_series(monitor: &Monitor, history: &dyn History, checks: &[Check], resources: &Resources) {
    let ids = checks.iter().map(|check| &check.id);
    for id in ids {
        if let Err(error) = restore_one(monitor, history, id, resources).await {
            tracing::warn!(check = %id, %error, "the past of a check is not known");
        }
    }
}

async fn restore_one(
    monitor: &Monitor,
    history: &dyn History,
    id: &CheckId,
    resources: &Resources,
) -> alpha_probes::Result<()> {
    let mut windows = Vec::new();
    monitor.restore_series(id, |buffer| {
        windows = buffer
            .windows()
            .map(|(name, span)| (name.to_owned(), span))
            .collect()
    });
    if windows.is_empty() {
        return Ok(());
    }
    let mut past = alpha_probes::series::SeriesBuffer::new(windows);
    probe_history::restore(&mut past, history, id, resources.clock.now()).await?;
    monitor.restore_series(id, |buffer| *buffer = past);
    Ok(())
}

fn changed(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file)
        .and_then(|metadata| metadata.modified())
        .ok()
}
