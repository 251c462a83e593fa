//! How records are written into the store and read back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Group;
use crate::error::{Error, ErrorKind, Result};
use crate::group::Told;
use crate::label::Fingerprint;
use crate::notification::IntegrationId;
use crate::store::{Changes, Key, Kind, Suppression};
use crate::text;

/// The name of the one record that holds the end of the audit log.
pub(super) const AUDIT: &str = "audit";

/// What is stored of a group; its members follow from the alerts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct GroupRecord {
    pub(super) flushed_at: Timestamp,
    pub(super) told: BTreeMap<IntegrationId, Told>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) suppressed: BTreeMap<Fingerprint, Suppression>,
}

impl Group {
    /// What is stored of it; `None` before it was flushed for the first time.
    pub(super) fn to_record(&self) -> Option<GroupRecord> {
        self.clone().into_record()
    }

    pub(super) fn into_record(self) -> Option<GroupRecord> {
        Some(GroupRecord {
            flushed_at: self.flushed_at?,
            told: self.told,
            suppressed: self.suppressed,
        })
    }
}

pub(super) fn decode<T: DeserializeOwned>(key: &Key, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        Error::new(
            ErrorKind::Corrupt,
            text!(
                "the stored {kind} {id} cannot be understood",
                kind = key.kind.name(),
                id = &*key.id
            ),
        )
        .with_source(error)
    })
}

impl Changes {
    /// Writes a record.
    pub(super) fn put<T: Serialize>(&mut self, kind: Kind, id: impl Into<Box<str>>, value: &T) {
        let body = serde_json::to_vec(value).expect("records have text keys and no failing parts");
        self.puts.push((Key { kind, id: id.into() }, body.into()));
    }

    /// Removes a record.
    pub(super) fn delete(&mut self, kind: Kind, id: impl Into<Box<str>>) {
        self.deletes.push(Key { kind, id: id.into() });
    }
}
