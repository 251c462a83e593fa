//! Who validates now, who does next, and with which keys.

use parity_scale_codec::{Compact, Decode};

use super::account::Account;
use super::node::Node;
use super::storage::{self, Presence};
use crate::error::Result;

/// The validators of this session and the next.
#[derive(Debug)]
pub(crate) struct Session {
    /// Those of this session, in the order in which the lists of authorities have their keys.
    pub(crate) validators: Vec<Account>,
    /// Those of the next session with their keys.
    pub(crate) queued: Vec<(Account, Vec<u8>)>,
    /// Places in `validators` that are barred from taking part, for having misbehaved.
    pub(crate) disabled: Vec<usize>,
}

impl Session {
    /// Reads them at the block of hash `at`.
    ///
    /// # Errors
    /// [`ErrorKind::NotApplicable`](crate::ErrorKind::NotApplicable) where the chain has no sessions.
    pub(crate) async fn read(node: &Node, at: &str) -> Result<Self> {
        node.required_item("Session", "Validators").await?;
        let (validators, queued, disabled) = tokio::try_join!(
            node.storage("Session", "Validators", at),
            node.storage("Session", "QueuedKeys", at),
            node.storage("Session", "DisabledValidators", at),
        )?;
        let validators = Vec::<[u8; 32]>::decode(&mut validators.unwrap_or_default().as_slice());
        let validators = validators.map_err(|_| node.not_understood("Session.Validators"))?;
        let queued = queued_keys(&queued.unwrap_or_default())
            .ok_or_else(|| node.not_understood("Session.QueuedKeys"))?;
        Ok(Self {
            validators: validators.into_iter().map(Account).collect(),
            queued,
            disabled: match disabled {
                Some(bytes) => disabled_places(node, &bytes).await?,
                None => Vec::new(),
            },
        })
    }

    /// The place of `account` among the validators of this session.
    pub(crate) fn place(&self, account: &Account) -> Option<usize> {
        self.validators.iter().position(|validator| validator == account)
    }

    /// Whether `account` is a validator of the next session.
    pub(crate) fn is_queued(&self, account: &Account) -> bool {
        self.queued.iter().any(|(validator, _)| validator == account)
    }
}

/// Splits `Vec<(AccountId, Keys)>` without knowing which keys the runtime has: all entries are of one size.
fn queued_keys(bytes: &[u8]) -> Option<Vec<(Account, Vec<u8>)>> {
    let mut rest = bytes;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let Compact(count) = Compact::<u32>::decode(&mut rest).ok()?;
    let count = usize::try_from(count).ok()?;
    if count == 0 {
        return rest.is_empty().then(Vec::new);
    }
    let size = rest.len() / count;
    if size <= 32 || !rest.len().is_multiple_of(count) {
        return None;
    }
    rest.chunks_exact(size)
        .map(|entry| Some((Account(entry[..32].try_into().ok()?), entry[32..].to_vec())))
        .collect()
}

async fn disabled_places(node: &Node, bytes: &[u8]) -> Result<Vec<usize>> {
    let metadata = node.metadata().await?;
    let Presence::Item(kind) = metadata.presence("Session", "DisabledValidators") else {
        return Ok(Vec::new());
    };
    metadata
        .value(kind, bytes)
        .and_then(|list| storage::leading_numbers(&list))
        .map(|places| {
            places
                .into_iter()
                .filter_map(|place| usize::try_from(place).ok())
                .collect()
        })
        .ok_or_else(|| node.not_understood("Session.DisabledValidators"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_keys_are_split_without_knowing_the_keys() {
        let mut bytes = vec![2 << 2];
        for validator in [1_u8, 2] {
            bytes.extend([validator; 32]);
            bytes.extend([validator + 10; 96]);
        }
        let queued = queued_keys(&bytes).unwrap();
        assert_eq!(queued.len(), 2);
        assert_eq!(queued[1], (Account([2; 32]), vec![12; 96]));
        assert_eq!(queued_keys(&[]), Some(vec![]));
        assert_eq!(queued_keys(&[0]), Some(vec![]));
        assert_eq!(queued_keys(&bytes[..bytes.len() - 1]), None);
        assert_eq!(queued_keys(&[8, 1, 2, 3, 4]), None);
    }
}
