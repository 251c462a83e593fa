//! The one loop: commands in, changes out, notifications on their way.
//!
//! Commands queue for one writer, which takes all that wait, works out what follows from them in memory, commits it as
//! one transaction and only then answers: while one commit waits for the disk the next batch gathers. A courier takes what
//! the commits have put into the outbox to the receivers.

mod courier;
mod line;
mod metrics;
mod sleep;
mod writer;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SystemClock};
use crate::command::Command;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::notifier::Notifier;
use crate::notifiers::Environment;
use crate::rules::{OwnNotifier, Rules};
use crate::state::State;
use crate::store::Store;
use crate::text;
use crate::text::Text;

use courier::{Courier, DeliveryPolicy};
pub use metrics::{LATENCY_BOUNDS_SECONDS, Latency, Metrics, Outcomes};
use sleep::ClockSteps;
use writer::{PRUNE_EVERY, Request, Writer};

/// So many commands may wait for the writer; more are refused at once rather than answered late.
const QUEUE: usize = 4096;

/// How long the right to write lasts on a store that others share; renewed four times as often.
const LEASE: Duration = Duration::from_secs(2);

/// Takes commands and sees to it that everybody hears what they have to hear.
///
/// Cheap to clone: all clones speak to the same loop. It stops with [`Dispatcher::stop`]; dropping every clone stops it too,
/// without waiting.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    environment: Environment,
    own: Vec<OwnNotifier>,
    tasks: std::sync::Mutex<Vec<JoinHandle<()>>>,
    /// Stops the writer first, so that what it commits last can still be delivered or given back.
    stop: CancellationToken,
}

/// Puts a [`Dispatcher`] together.
#[derive(Debug)]
pub struct DispatcherBuilder {
    config: Config,
    store: Arc<dyn Store>,
    environment: Environment,
    clock: Arc<dyn Clock>,
    own: Vec<OwnNotifier>,
    seed: Option<u64>,
    prune_every: Duration,
}

impl DispatcherBuilder {
    /// A notifier of the program's own for a receiver of the configuration, beside those that the configuration names.
    #[must_use]
    pub fn with_notifier(mut self, receiver: &str, notifier: Arc<dyn Notifier>) -> Self {
        self.own.push(OwnNotifier {
            receiver: receiver.to_owned(),
            notifier,
        });
        self
    }

    /// How often what is over for longer than it is kept is forgotten. Default: one hour.
    #[must_use]
    pub fn with_prune_every(mut self, interval: Duration) -> Self {
        self.prune_every = interval;
        self
    }

    /// Another clock than this machine's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// A seed for jitter and identities, so that a test can repeat a run.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Builds everything, loads the state and begins.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with everything that is wrong with the configuration, and whatever the store says.
    pub async fn start(self) -> Result<Dispatcher> {
        let (rules, integrations) =
            Rules::compile(&self.config, &self.environment, &self.own).map_err(invalid)?;
        let rules = Arc::new(rules);
        let mut random = self
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let holder = format!("{:016x}{:016x}", random.u64(..), random.u64(..));
        let stop = CancellationToken::new();
        let stop_courier = CancellationToken::new();
        let metrics = Arc::new(Metrics::default());
        let (requests, queue) = mpsc::channel(QUEUE);
        let (errands, errands_to_do) = mpsc::unbounded_channel();
        let (integrations_to, integrations) = watch::channel(Arc::new(integrations));
        let (policy_to, policy) = watch::channel(Arc::new(DeliveryPolicy::new(&rules)));
        let shared = Arc::new(Shared {
            // Filled when the lead is taken, or by the first look at what the leading instance stored.
            state: RwLock::new(State::new(rules, random.u64(..))),
            store: self.store.clone(),
            clock: self.clock.clone(),
            metrics: metrics.clone(),
            environment: self.environment,
            own: self.own,
            tasks: std::sync::Mutex::default(),
            stop: stop.clone(),
        });
        let courier = Courier {
            store: self.store.clone(),
            clock: self.clock.clone(),
            worker: holder.clone(),
            integrations,
            policy,
            metrics: metrics.clone(),
            random: fastrand::Rng::with_seed(random.u64(..)),
        };
        let mut writer = Writer {
            shared: shared.clone(),
            holder,
            queue,
            errands,
            integrations: integrations_to,
            policy: policy_to,
            fence: None,
            leads_until: self.clock.now(),
            stop_courier: stop_courier.clone(),
            steps: ClockSteps::new(self.clock.now()),
            prune_every: self.prune_every,
            random,
        };
        // A single instance leads when this returns, and one that follows shows what the leading one stored.
        writer.begin().await?;
        let tasks = vec![
            tokio::spawn(writer.run()),
            tokio::spawn(courier.run(errands_to_do, stop_courier)),
        ];
        *shared.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
        Ok(Dispatcher { shared, requests })
    }
}

impl Dispatcher {
    /// A dispatcher of `config` that keeps everything in `store`; receivers are built with what `environment` has.
    pub fn builder(config: Config, store: Arc<dyn Store>, environment: Environment) -> DispatcherBuilder {
        DispatcherBuilder {
            config,
            store,
            clock: Arc::new(SystemClock),
            environment,
            own: Vec::new(),
            seed: None,
            prune_every: PRUNE_EVERY,
        }
    }

    /// Carries out a command. When this returns, it survives the death of the process at any moment.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Conflict`] where what the command names is not there or does not allow it;
    /// [`ErrorKind::Unavailable`] where it could not be made durable: nothing was accepted, so try again.
    pub async fn execute(&self, command: Command) -> Result<()> {
        self.read(|state| state.check(&command, self.shared.clock.now()))?;
        let (reply, answer) = oneshot::channel();
        let request = Request::Execute { command, reply };
        self.requests.try_send(request).map_err(|_| busy())?;
        answer.await.map_err(|_| busy())?
    }

    /// Looks at everything that is so now. What is looked at may be a moment ahead of what is durable.
    ///
    /// `look` must be quick: the writer waits for it.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with another configuration. What was told stays told.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with everything that is wrong with it; the old one stays in force then.
    pub async fn reload(&self, config: &Config) -> Result<()> {
        let (rules, integrations) =
            Rules::compile(config, &self.shared.environment, &self.shared.own).map_err(invalid)?;
        let (reply, answer) = oneshot::channel();
        let request = Request::Reload {
            rules: Arc::new(rules),
            integrations: Arc::new(integrations),
            reply,
        };
        self.requests.send(request).await.map_err(|_| busy())?;
        answer.await.map_err(|_| busy())?
    }

    /// Where everything is kept, for what became of notifications and the audit log.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// The time as the dispatcher sees it.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// What it counts of itself.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Stops taking commands, finishes what is under way, gives the rest back to the outbox and resigns.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        let tasks = std::mem::take(&mut *self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(failure) = task.await {
                tracing::error!(%failure, "a part of the dispatcher came to a bad end");
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn busy() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        text!("the dispatcher is overloaded or stopping, so nothing was accepted: try again"),
    )
}

fn invalid(problems: Vec<Text>) -> Error {
    Error::new(ErrorKind::InvalidConfig, Text::list(problems))
}
