//! What the inbound APIs need of whatever carries out commands and knows the live state.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::alert::Alert;
use crate::audit::AuditEntry;
use crate::command::Command;
use crate::error::Result;
use crate::exposition::Exposition;
use crate::incident::{Incident, IncidentId};
use crate::label::{Fingerprint, Labels};
use crate::notification::GroupKey;
use crate::oncall::{HandoverReport, OnCall, Overrides};
use crate::silence::Silence;
use crate::store::Trail;

/// Carries out commands and shows the live state; the dispatcher is one.
///
/// Reading methods show one consistent moment each and neither block nor wait. None of them changes anything.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync {
    /// The present instant, by the clock that decisions are made by.
    fn now(&self) -> Timestamp;

    /// Carries out `command`; when this returns, what follows from it survives the death of the process.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) where nothing was accepted, so that the sender tries again;
    /// [`NotFound`](crate::ErrorKind::NotFound) where it is about something that is not there.
    async fn execute(&self, command: Command) -> Result<()>;

    /// How long an alert fires after it was last told, where its sender did not say when it ends.
    fn resolve_timeout(&self) -> Duration;

    /// The alerts that `keep` keeps, in any order.
    fn alerts(&self, keep: &mut dyn FnMut(&Alert) -> bool) -> Vec<AlertView>;

    /// How many alerts fire, by whether somebody is told of them. Copies nothing, so that it can be asked often.
    fn counts(&self) -> AlertCounts;

    /// All groups that hold an alert, in any order.
    fn groups(&self) -> Vec<GroupView>;

    /// All silences that are remembered, in any order.
    fn silences(&self) -> Vec<Silence>;

    /// One silence.
    fn silence(&self, id: Uuid) -> Option<Silence>;

    /// The names of all receivers, in the order of the configuration.
    fn receivers(&self) -> Vec<Arc<str>>;

    /// The configuration as an Alertmanager file without secrets, which `amtool` reads for its routes.
    fn configuration(&self) -> String;

    /// All incidents that are remembered, in any order.
    fn incidents(&self) -> Vec<Incident>;

    /// One incident.
    fn incident(&self, id: IncidentId) -> Option<Incident>;

    /// Whether a heartbeat of this name is expected.
    fn expects_heartbeat(&self, name: &str) -> bool;

    /// What became of everything that concerned these groups.
    async fn trail(&self, groups: &[GroupKey]) -> Result<Trail>;

    /// The audit log after position `after`, the oldest first, at most `limit`.
    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>>;

    /// Shows `look` who is on call by the schedules, and what overrides them.
    fn on_call(&self, look: &mut dyn FnMut(&OnCall, &Overrides));

    /// All hand-over reports that are remembered, in any order.
    fn handovers(&self) -> Vec<HandoverReport>;

    /// Adds its own measurements, such as notifications by integration and outcome, to `exposition`.
    async fn measure(&self, exposition: &mut Exposition);
}

/// How many alerts fire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlertCounts {
    /// Those that are told.
    pub active: u64,
    /// Those that a silence or another alert keeps quiet.
    pub suppressed: u64,
}

/// A live alert and what is decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertView {
    /// The alert.
    pub alert: Alert,
    /// Whom its routes lead to.
    pub receivers: Vec<Arc<str>>,
    /// The active silences that match it.
    pub silenced_by: Vec<Uuid>,
    /// The alert that inhibits it.
    pub inhibited_by: Vec<Fingerprint>,
    /// The time intervals that mute it.
    pub muted_by: Vec<String>,
}

/// A group of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Its identity.
    pub key: GroupKey,
    /// The labels it is grouped by.
    pub labels: Labels,
    /// Who is told.
    pub receiver: Arc<str>,
    /// Its alerts.
    pub alerts: Vec<Fingerprint>,
}

/// Reads the configuration again; the answer to `POST /-/reload`.
#[async_trait]
pub trait Reload: fmt::Debug + Send + Sync {
    /// Reads it again and uses it from now on.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) where it is wrong; the old one stays in use then.
    async fn reload(&self) -> Result<()>;
}
