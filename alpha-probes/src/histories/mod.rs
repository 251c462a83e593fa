//! Where a [`History`](crate::history::History) is kept.

mod memory;
mod rollup;
#[cfg(any(feature = "history-sqlite", feature = "history-postgres"))]
mod sql;

pub use memory::{MemoryHistory, MemoryLimits};
#[cfg(feature = "history-postgres")]
pub use sql::PostgresHistory;
#[cfg(feature = "history-sqlite")]
pub use sql::SqliteHistory;

use crate::history::{MAX_LABELS_BYTES, MAX_NAME_BYTES, Query, Sample};
use crate::observation::{Labels, Unit};

/// What tells one series of a check from the others; labels are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct SeriesKey {
    name: String,
    labels: Vec<(String, String)>,
    unit: &'static str,
}

impl SeriesKey {
    /// The key of a sample that may be kept; nothing for one that may not.
    fn of(sample: &Sample) -> Option<Self> {
        let measurement = &sample.measurement;
        let name = measurement.name.as_ref();
        let bytes: usize = measurement
            .labels
            .iter()
            .map(|(key, value)| key.len() + value.len() + 6)
            .sum();
        let fits = name.len() <= MAX_NAME_BYTES && bytes <= MAX_LABELS_BYTES;
        if !fits || name.contains(char::is_control) || !measurement.value.is_finite() {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            labels: sorted(&measurement.labels),
            unit: measurement.unit.as_str(),
        })
    }

    /// Whether `query` asks for it.
    fn is_asked(&self, query: &Query) -> bool {
        let named = query.name.as_ref().is_none_or(|name| *name == self.name);
        named
            && query
                .labels
                .as_ref()
                .is_none_or(|labels| sorted(labels) == self.labels)
    }

    fn to_labels(&self) -> Labels {
        let labels = self.labels.iter();
        labels
            .map(|(key, value)| (key.clone().into(), value.clone()))
            .collect()
    }
}

/// Labels by name, the last where a name comes twice.
fn sorted(labels: &Labels) -> Vec<(String, String)> {
    let map: std::collections::BTreeMap<_, _> = labels
        .iter()
        .map(|(key, value)| (key.to_string(), value.clone()))
        .collect();
    map.into_iter().collect()
}

/// The unit that `word` is written for.
fn unit(word: &str) -> Option<Unit> {
    serde_json::from_value(serde_json::Value::from(word)).ok()
}
