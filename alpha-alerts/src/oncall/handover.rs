//! Hand-over reports (M23): what happened on a shift, for whoever takes over.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::PersonName;

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
}
