//! The trait at the heart of the crate, and what every kind of probe tells about itself.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::error::Result;
use crate::observation::{Observation, Unit};

/// Asks one question of one target and reports what it saw.
///
/// The contract:
/// - It only observes: nothing it looks at is changed by it.
/// - It answers with measurements and facts, never with a judgement.
/// - A target that does not answer is an observation ([`Observation::failed`]) where being there is the question
///   itself, and an error ([`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable)) where it kept another question
///   from being asked. A refusal, a missing feature or a missing tool is always an error, never a good answer.
/// - It may be dropped at any await point, and is when [`Context::deadline`] has passed; the next call starts afresh.
/// - What it reads from outside is bounded in size, and it is called by one caller at a time.
#[async_trait]
pub trait Probe: fmt::Debug + Send + Sync {
    /// What kind of probe this is.
    fn kind(&self) -> &'static ProbeKind;

    /// Whom it asks, such as `db.example:5432`; probes of one target share its bound on concurrency.
    fn target(&self) -> &str;

    /// Asks once.
    async fn observe(&self, context: &Context<'_>) -> Result<Observation>;
}

/// What a probe is told when it is asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The wall clock.
    pub clock: &'a dyn Clock,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

impl<'a> Context<'a> {
    /// A context that ends at `deadline`.
    pub fn new(clock: &'a dyn Clock, deadline: Instant) -> Self {
        Self { clock, deadline }
    }
}

#[async_trait]
impl<P: Probe + ?Sized> Probe for Arc<P> {
    fn kind(&self) -> &'static ProbeKind {
        (**self).kind()
    }

    fn target(&self) -> &str {
        (**self).target()
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        (**self).observe(context).await
    }
}

/// What all probes of one kind have in common; the source of the reference, the metrics' help and the default rules.
#[derive(Debug)]
pub struct ProbeKind {
    /// The table name in the configuration, also the name of its runbook: `http`.
    pub name: &'static str,
    /// What it looks at, in a line.
    pub summary: &'static str,
    /// What it measures.
    pub metrics: &'static [Metric],
    /// Whether it may also yield measurements that are not in `metrics`, because the user or the target names them.
    pub is_open: bool,
    /// How it is judged when the check says nothing else.
    pub rules: &'static [DefaultRule],
}

/// One thing a kind of probe measures.
#[derive(Debug)]
pub struct Metric {
    /// As in [`Measurement::name`](crate::Measurement::name).
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Whether it goes up and down, or only up.
    pub shape: Shape,
    /// One line for the reference and for Prometheus.
    pub help: &'static str,
}

/// How a measurement moves with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Up and down.
    Gauge,
    /// Only up, until the target restarts.
    Counter,
}

impl Metric {
    /// A measurement that goes up and down.
    pub const fn gauge(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self {
            name,
            unit,
            shape: Shape::Gauge,
            help,
        }
    }

    /// A measurement that only goes up, until the target restarts.
    pub const fn counter(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self {
            name,
            unit,
            shape: Shape::Counter,
            help,
        }
    }
}

/// How bad it is when a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// [`Status::Warning`](crate::Status::Warning).
    Warning,
    /// [`Status::Critical`](crate::Status::Critical).
    Critical,
}

/// A rule that a kind of probe brings along.
#[derive(Debug)]
pub struct DefaultRule {
    /// How bad it is.
    pub level: Level,
    /// The condition under which it applies, in the language of [`condition`](crate::condition).
    pub when: &'static str,
    /// How long or how often it must apply before it counts (`3 of 5`, `2m`); at once where empty.
    pub sustained: &'static str,
    /// The reason, an English template; `{name}` stands for a measurement or a fact of the observation.
    pub says: &'static str,
    /// What to do about it, an English sentence.
    pub remedy: &'static str,
}

/// All kinds of probe that this build knows.
pub fn kinds() -> Vec<&'static ProbeKind> {
    crate::check::kinds()
}
