//! `alpha serve`: the checks continuously, what they find as alerts, and whoever must act is told.

mod feed;
mod metrics;
mod notify;
mod server;
mod store;

use std::sync::Arc;

use alpha_alerts::inbound::{Live, Reload};
use alpha_probes::{CheckId, Text, text};
use async_trait::async_trait;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::setup::setup;
use super::signals::{Signal, Signals};
use super::watching::{BEAT, Watching};
use crate::adapt::{Findings, Policy, alerts_error};
use crate::args::{Global, ServeArgs};
use crate::config::{self, Config};
use crate::exit_code::Exit;
use crate::language::Language;
use crate::terminal::Terminal;

use feed::{Feed, Replacement};
use server::Server;

/// How long requests that are under way at the end are waited for.
const LAST_ANSWERS: std::time::Duration = std::time::Duration::from_secs(10);

/// So many reloads may be asked for at once.
const RELOADS: usize = 8;

/// Runs until it is told to stop.
pub(super) async fn run(
    args: &ServeArgs,
    global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    if config::find(global.config.as_deref()).is_none() {
        return Err(text!(
            "there is no configuration here: name one with --config, or write one with alpha init"
        )
        .into());
    }
    let mut setup = setup(&[], true, global, language, terminal).await?;
    if let Some(listen) = &args.listen {
        setup.config.serve.listen.clone_from(listen);
    }
    let mut signals = Signals::new()?;
    let (ask_reload, mut reloads) = mpsc::channel(RELOADS);
    let mut running = Running::start(setup, Reloads(ask_reload), terminal).await?;
    let language = running.watching.setup.language;
    let listening = text!("alpha listens on {url}", url = running.server.url().as_str());
    terminal.print(&format!("{}\n", listening.translate(&language)));
    notify::tell("READY=1");
    let mut updates = running.watching.monitor.subscribe();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop => break,
                Signal::Reload => _ = running.reload(terminal).await,
            },
            Some(reply) = reloads.recv() => {
                let outcome = running.reload(terminal).await;
                // Whoever asked may be gone.
                let _ = reply.send(outcome);
            }
            _ = beat.tick() => {
                if running.watching.file_has_changed() {
                    _ = running.reload(terminal).await;
                }
                running.watching.beat(terminal).await;
            }
            update = updates.recv() => match update {
                Ok(update) => running.watching.note(update.report),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "results came faster than they were written");
                }
                Err(RecvError::Closed) => break,
            }
        }
    }
    notify::tell("STOPPING=1");
    running.stop(terminal).await;
    Ok(Exit::SUCCESS)
}

/// Everything that runs.
struct Running {
    watching: Watching,
    live: Arc<Live>,
    server: Server,
    replace: mpsc::UnboundedSender<Replacement>,
    host: String,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    _hold: Option<store::Hold>,
}

impl Running {
    async fn start(
        setup: super::setup::Setup,
        reloads: Reloads,
        terminal: &mut Terminal,
    ) -> Result<Self, Failure> {
        // What can fail for the operator's fault comes first: nothing is watched by a server that cannot listen.
        let config = setup.config.clone();
        let language = setup.language;
        let server = Server::bind(&config.serve).await?;
        let (store, hold) = store::open(&config.serve.store).await?;
        let dispatcher = server::dispatcher(&config, store).await?;
        let live = Arc::new(Live::new(dispatcher.clone(), &config.alerts));
        let watching = match Watching::start(setup, &[], terminal).await {
            Ok(watching) => watching,
            Err(failure) => {
                dispatcher.stop().await;
                return Err(failure);
            }
        };
        let host = host_name();
        let mut findings = Findings::new(Policy::new(&config, &host), ids(&watching));
        let now = dispatcher.clock().now();
        dispatcher.read(|state| findings.adopt(state.alerts().map(|(_, alert)| alert), now));
        let (replace, replacements) = mpsc::unbounded_channel();
        let feed = Feed::new(findings, &watching.monitor, dispatcher.clone(), replacements);
        let stop = CancellationToken::new();
        let server = match server.start(&config, &live, reloads, &watching.monitor, language) {
            Ok(server) => server,
            Err(failure) => {
                dispatcher.stop().await;
                return Err(failure);
            }
        };
        let tasks = vec![
            tokio::spawn(feed.run(stop.clone())),
            tokio::spawn({
                let (monitor, stop) = (watching.monitor.clone(), stop.clone());
                async move { monitor.run(stop).await }
            }),
        ];
        Ok(Self {
            watching,
            live,
            server,
            replace,
            host,
            stop,
            tasks,
            _hold: hold,
        })
    }

    /// Reads the configuration again; a broken one is told, and the old one goes on as a whole.
    async fn reload(&mut self, terminal: &mut Terminal) -> Result<(), Text> {
        notify::tell("RELOADING=1");
        let outcome = self.read_again(terminal).await;
        self.watching.tell_reload(&outcome, terminal);
        notify::tell("READY=1");
        outcome
    }

    async fn read_again(&mut self, terminal: &mut Terminal) -> Result<(), Text> {
        let Some(loaded) = self.watching.read_again(terminal)? else {
            return Ok(());
        };
        // The checks are tried out before the dispatcher goes on with its part, so that nothing is half new.
        let trial = alpha_probes::monitor::Monitor::builder(loaded.checks.clone()).build();
        trial.map_err(|error| error.to_text())?;
        if needs_restart(&self.watching.setup.config, &loaded.config) {
            let text = text!(
                "the section serve, and external_url, language and delivery.timeout of alerts, count from the next start on"
            );
            terminal.warning(self.watching.setup.language, &text);
            tracing::warn!("{text}");
        }
        self.live
            .reload(&loaded.config.alerts)
            .await
            .map_err(|error| alerts_error(&error))?;
        let policy = Policy::new(&loaded.config, &self.host);
        self.watching.replace(loaded)?;
        let replacement = Replacement {
            policy,
            checks: ids(&self.watching),
        };
        // The feed ends only when everything does.
        let _ = self.replace.send(replacement);
        Ok(())
    }

    /// Answers what is under way, tells what can be told, gives the rest back, and writes down what the next process has
    /// to know.
    async fn stop(mut self, terminal: &mut Terminal) {
        if timeout(LAST_ANSWERS, self.server.stop()).await.is_err() {
            tracing::warn!("some requests were not answered in time");
        }
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the server came to a bad end");
            }
        }
        self.live.dispatcher().stop().await;
        self.watching.keep(terminal).await;
    }
}

fn ids(watching: &Watching) -> Vec<CheckId> {
    let checks = watching.setup.checks.iter();
    checks.map(|check| check.id.clone()).collect()
}

/// The name of this machine.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// Whether a part of the configuration changed that a reload cannot take up.
fn needs_restart(old: &Config, new: &Config) -> bool {
    let of = |config: &Config| {
        // What was typed outranks the file, so that the address says nothing of a change.
        let mut serve = config.serve.clone();
        serve.listen.clear();
        let alerts = &config.alerts;
        let built_in = (&alerts.external_url, alerts.language, alerts.delivery.timeout);
        serde_json::to_value((serve, built_in)).ok()
    };
    of(old) != of(new)
}

/// Asks the loop that runs everything to read the configuration again, and waits for what it says.
#[derive(Clone, Debug)]
struct Reloads(mpsc::Sender<oneshot::Sender<Result<(), Text>>>);

#[async_trait]
impl Reload for Reloads {
    async fn reload(&self) -> alpha_alerts::Result<()> {
        let stopping = || {
            alpha_alerts::Error::new(
                alpha_alerts::ErrorKind::Unavailable,
                alpha_alerts::text!("the server is stopping"),
            )
        };
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.map_err(|_| stopping())?;
        let outcome = answer.await.map_err(|_| stopping())?;
        outcome.map_err(|problem| {
            alpha_alerts::Error::new(
                alpha_alerts::ErrorKind::InvalidConfig,
                alpha_alerts::Text::plain(problem),
            )
        })
    }
}
