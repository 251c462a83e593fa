//! What the outside asks of the dispatcher.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::alert::Alert;
use crate::incident::IncidentId;
use crate::oncall::{HandoverReport, Override};
use crate::silence::Silence;

/// One thing to do. Valid in itself: whoever makes one has checked it and chosen its identity, so that an instance that
/// does not lead can accept it, and the one that leads can carry it out later with the same result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// Alerts that fire or are over.
    Alerts(Vec<Alert>),
    /// A silence, new or changed.
    PutSilence(Silence),
    /// The end of a silence.
    ExpireSilence {
        /// Which.
        id: Uuid,
        /// Who ends it.
        by: String,
    },
    /// Somebody takes care of an incident.
    Acknowledge {
        /// Which.
        incident: IncidentId,
        /// Who.
        by: String,
    },
    /// Somebody gives an incident back: paging goes on.
    Unacknowledge {
        /// Which.
        incident: IncidentId,
        /// Who.
        by: String,
    },
    /// Somebody says that an incident is over.
    Resolve {
        /// Which.
        incident: IncidentId,
        /// Who.
        by: String,
    },
    /// Somebody writes something down.
    Note {
        /// The incident.
        incident: IncidentId,
        /// Who.
        by: String,
        /// What.
        text: String,
    },
    /// A sign of life.
    Heartbeat {
        /// The name of the heartbeat.
        name: String,
        /// What it says.
        signal: Signal,
        /// When it came.
        at: Timestamp,
    },
    /// Changes of who is on duty, all of them or none: one override, or the two of a swap.
    PutOverrides(Vec<Override>),
    /// Takes back an override, and with it the other half of a swap.
    RemoveOverride {
        /// Which.
        id: Uuid,
        /// Who takes it back.
        by: String,
    },
    /// A hand-over report, new or with further notes.
    PutHandover(Box<HandoverReport>),
    /// The next person has read a hand-over report and takes over.
    AcceptHandover {
        /// Which.
        id: Uuid,
        /// Who.
        by: String,
    },
}

/// What a heartbeat says; the words of healthchecks' ping URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Started; the success must follow within the grace time.
    Start,
    /// Done.
    Success,
    /// Failed.
    Failure,
}
