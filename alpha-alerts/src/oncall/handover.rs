//! Hand-over reports (M23): what happened on a shift, for whoever takes over.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::PersonName;
use crate::incident::Acknowledgement;

/// What happened on a shift, and what the next person has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverReport {
    /// Its identity.
    pub id: Uuid,
    /// The schedule.
    pub schedule: String,
    /// When the shift began.
    pub starts_at: Timestamp,
    /// When it ended, or when the report was written.
    pub ends_at: Timestamp,
    /// Who was on duty.
    pub outgoing: Vec<PersonName>,
    /// Who takes over.
    pub incoming: Vec<PersonName>,
    /// Who wrote it, or had it written.
    #[serde(default)]
    pub created_by: String,
    /// Who has read it and took over.
    #[serde(default)]
    pub accepted: Option<Acknowledgement>,
}

impl HandoverReport {
    /// Notes who took over; the first one counts.
    pub fn accept(&mut self, at: Timestamp, by: &str) {
        self.accepted.get_or_insert_with(|| Acknowledgement {
            at,
            by: by.to_owned(),
        });
    }
}
