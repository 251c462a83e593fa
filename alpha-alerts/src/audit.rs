//! The audit log: who changed what, chained by hashes so that a later change shows.

use jiff::Timestamp;
use ring::digest;
use serde::{Deserialize, Serialize};

/// One act of a person, or of Alpha itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its place, counted from 1 without gaps.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Who: a person, `alpha`, or an address.
    pub actor: String,
    /// What was done, such as `silence.put`.
    pub action: String,
    /// To what, and how. Never a secret.
    pub detail: String,
    /// The hash of the entry before, empty for the first.
    pub previous: String,
    /// SHA-256 over the other fields, in hexadecimal digits.
    pub hash: String,
}

/// The end of a chain, to which the next entry is added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditChain {
    /// The place of the last entry.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
}

impl AuditChain {
    /// The next entry, which is now the last.
    pub fn append(&mut self, at: Timestamp, actor: &str, action: &str, detail: String) -> AuditEntry {
        let mut entry = AuditEntry {
            sequence: self.sequence + 1,
            at,
            actor: actor.to_owned(),
            action: action.to_owned(),
            detail,
            previous: std::mem::take(&mut self.hash),
            hash: String::new(),
        };
        entry.hash = entry.computed_hash();
        self.sequence = entry.sequence;
        self.hash.clone_from(&entry.hash);
        entry
    }
}

impl AuditEntry {
    /// SHA-256 over the fields, each with its length before it, so that no two different entries hash the same text.
    fn computed_hash(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        let (sequence, at) = (self.sequence.to_string(), self.at.to_string());
        for field in [
            &sequence,
            &at,
            &self.actor,
            &self.action,
            &self.detail,
            &self.previous,
        ] {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field.as_bytes());
        }
        crate::hash::hex(context.finish().as_ref())
    }
}

/// The place of the first entry that was changed, removed or put in; `None` where the chain is whole.
pub fn first_break<'a>(entries: impl IntoIterator<Item = &'a AuditEntry>) -> Option<u64> {
    let mut last: Option<&AuditEntry> = None;
    for entry in entries {
        let follows =
            last.is_none_or(|last| entry.sequence == last.sequence + 1 && entry.previous == last.hash);
        if !follows || entry.hash != entry.computed_hash() {
            return Some(entry.sequence);
        }
        last = Some(entry);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_anywhere_shows() {
        let mut chain = AuditChain::default();
        let entries: Vec<AuditEntry> = (0..5)
            .map(|index| {
                chain.append(
                    Timestamp::UNIX_EPOCH,
                    "mei",
                    "silence.put",
                    format!("number {index}"),
                )
            })
            .collect();
        assert_eq!(first_break(&entries), None);

        let mut changed = entries.clone();
        changed[2].detail = "nothing to see".to_owned();
        assert_eq!(first_break(&changed), Some(3));
        changed[2].hash = changed[2].computed_hash();
        assert_eq!(first_break(&changed), Some(4));

        let mut shortened = entries;
        shortened.remove(1);
        assert_eq!(first_break(&shortened), Some(3));
    }
}
