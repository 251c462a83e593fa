//! Silences and maintenance windows: alerts that nobody wants to hear of for a time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::label::Labels;
use crate::matcher::Matcher;

/// Keeps the alerts that all its matchers match from every receiver, for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its identity.
    pub id: Uuid,
    /// Which alerts; at least one, and not all of them match the empty value.
    pub matchers: Vec<Matcher>,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when; expiring it sets this to the present.
    pub ends_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// Further notes, such as the ticket of a maintenance window.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
}
