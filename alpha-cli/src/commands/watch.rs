//! `alpha watch`: the checks continuously, with a live view on a terminal and a JSON line a result elsewhere.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use alpha_probes::history::{self as probe_history, History, Sample};
use alpha_probes::monitor::{Monitor, Update};
use alpha_probes::{Check, CheckId, CheckReport, Resources, text};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::setup::{Setup, setup, warn_of_history};
use crate::args::{Global, WatchArgs};
use crate::config;
use crate::exit_code::Exit;
use crate::history;
use crate::language::Language;
use crate::render;
use crate::terminal::Terminal;

/// How often the live view is drawn, what was seen is written down, and the configuration file is looked at.
const BEAT: Duration = Duration::from_secs(1);

/// How often what the next process has to know is written down, and old values are rolled up.
const COMPACT_EVERY: u64 = 60;

/// Runs until it is interrupted; the exit code is the last verdict.
pub(super) async fn run(
    args: WatchArgs,
    global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let setup = setup(&args.names, global, language, terminal).await?;
    if setup.checks.is_empty() {
        return Err(text!("there is nothing to check: the configuration has no checks").into());
    }
    let mut watch = Watch::start(setup, &args.names, terminal).await?;
    let is_live = terminal.is_output_terminal() && !global.json;
    let stop = CancellationToken::new();
    let monitor = watch.monitor.clone();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { monitor.run(stop).await }
    });
    let mut updates = watch.monitor.subscribe();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let until = args.duration.map(|duration| Instant::now() + duration.0);
    let mut signals = Signals::new()?;
    if is_live {
        terminal.print("\x1b[?1049h\x1b[?25l");
    }
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop => break,
                Signal::Reload => watch.reload(terminal),
            },
            () = at(until) => break,
            _ = beat.tick() => {
                watch.beat(terminal).await;
                if is_live {
                    watch.draw(terminal);
                }
            }
            update = updates.recv() => match update {
                Ok(update) => {
                    if !is_live {
                        print_line(&update, terminal);
                    }
                    watch.seen.push(update.report);
                }
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "results came faster than they were written"),
                Err(RecvError::Closed) => break,
            }
        }
    }
    stop.cancel();
    let _ = running.await;
    if is_live {
        terminal.print("\x1b[?25h\x1b[?1049l");
    }
    watch.keep(terminal).await;
    let report = watch.monitor.snapshot();
    let verdict = render::verdict(&report, watch.setup.language, terminal);
    terminal.print_error(&verdict);
    Ok(report.verdict.into())
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn print_line(update: &Update, terminal: &mut Terminal) {
    if let Ok(json) = serde_json::to_string(&*update.report) {
        terminal.print(&format!("{json}\n"));
    }
}

/// The signals a watch listens to.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| text!("could not listen to signals: {cause}", cause = error.to_string()))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}

/// What a signal asks for.
enum Signal {
    Stop,
    Reload,
}

/// A running monitor and what belongs to it.
struct Watch {
    setup: Setup,
    names: Vec<String>,
    monitor: Monitor,
    history: Option<Arc<dyn History>>,
    /// Results that are not written down yet.
    seen: Vec<Arc<CheckReport>>,
    beats: u64,
    file_changed: Option<SystemTime>,
}

impl Watch {
    async fn start(setup: Setup, names: &[String], terminal: &mut Terminal) -> Result<Self, Failure> {
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
        let names = names.to_vec();
        Ok(Self {
            setup,
            names,
            monitor,
            history,
            seen: Vec::new(),
            beats: 0,
            file_changed,
        })
    }

    /// What has to be done every second.
    async fn beat(&mut self, terminal: &mut Terminal) {
        self.beats += 1;
        if let Some(file) = &self.setup.file {
            let now = changed(file);
            if now.is_some() && now != self.file_changed {
                self.file_changed = now;
                self.reload(terminal);
            }
        }
        if self.beats.is_multiple_of(COMPACT_EVERY) {
            self.keep(terminal).await;
        } else if let Some(history) = &self.history {
            let samples: Vec<Sample> = self
                .seen
                .drain(..)
                .flat_map(|report| Sample::of(&report).collect::<Vec<_>>())
                .collect();
            if let Err(error) = history.append(&samples).await {
                warn_of_history(&error, self.setup.language, terminal);
            }
        } else {
            self.seen.clear();
        }
    }

    /// Writes down everything that the next process has to know.
    async fn keep(&mut self, terminal: &mut Terminal) {
        let Some(history) = &self.history else { return };
        let samples: Vec<Sample> = self
            .seen
            .drain(..)
            .flat_map(|report| Sample::of(&report).collect::<Vec<_>>())
            .collect();
        let now = self.setup.resources.clock.now();
        if let Err(error) = history::keep(&**history, &samples, &self.monitor.states(), now).await {
            warn_of_history(&error, self.setup.language, terminal);
        }
    }

    /// Reads the configuration again; a broken one is told, and the old one goes on.
    fn reload(&mut self, terminal: &mut Terminal) {
        let Some(file) = &self.setup.file else { return };
        let language = self.setup.language;
        let replaced = match config::load(file, &self.setup.resources) {
            Ok(loaded) => {
                let checks = super::setup::named(&loaded.checks, &self.names);
                self.setup.config = loaded.config;
                self.monitor.replace(checks).map_err(|error| error.to_text())
            }
            Err(mistakes) => Err(super::setup::tell(&mistakes, language, terminal).text),
        };
        match replaced {
            Ok(()) => tracing::info!(file = %file.display(), "the configuration was read again"),
            Err(problem) => {
                tracing::error!(file = %file.display(), problem = %problem, "the old configuration goes on");
                terminal.error(
                    language,
                    &text!("{problem}; the old configuration goes on", problem = problem),
                );
            }
        }
    }

    fn draw(&self, terminal: &mut Terminal) {
        let report = self.monitor.snapshot();
        let now = self.setup.resources.clock.now();
        let table = render::table(&report, now, self.setup.language, terminal);
        let verdict = render::verdict(&report, self.setup.language, terminal);
        // One line is left for the verdict; what does not fit is the least urgent.
        let lines: Vec<&str> = table.lines().take(terminal.height().saturating_sub(2)).collect();
        terminal.print(&format!("\x1b[H\x1b[J{verdict}{}", lines.join("\n")));
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
