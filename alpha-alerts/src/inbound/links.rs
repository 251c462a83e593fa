//! Signed links: whoever is paged acknowledges with one touch, without an account.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::config::AcknowledgeLinksConfig;
use super::signature::SigningKey;
use crate::error::{Error, ErrorKind, Result};
use crate::incident::IncidentId;
use crate::notification::Notification;
use crate::secret::Secrets;
use crate::text;

/// Makes and checks the links that acknowledge an incident. Each names the incident, whom it was sent to and until when
/// it is good, signed with HMAC-SHA256 over all three; whoever has it can use it until then.
#[derive(Clone)]
pub struct AcknowledgeLinks {
    key: SigningKey,
    base: Url,
    valid_for: Duration,
}

impl AcknowledgeLinks {
    /// Links below `base`, where people reach this server.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] where the key is not there, or too short to be one.
    pub fn new(config: &AcknowledgeLinksConfig, base: Url, secrets: &dyn Secrets) -> Result<Self> {
        Ok(Self {
            key: signing_key(config, secrets)?,
            base,
            valid_for: config.valid_for.0,
        })
    }

    /// The link for the incident that `notification` belongs to; `None` where it belongs to none.
    pub fn link(&self, notification: &Notification, now: Timestamp) -> Option<Url> {
        let incident = notification.incident?;
        let claim = Claim {
            incident,
            by: notification.receiver.to_string(),
            until: now
                .saturating_add(self.valid_for)
                .unwrap_or(Timestamp::MAX)
                .as_second(),
        };
        let mut link = self.base.clone();
        link.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .extend(["acknowledge", &incident.to_string()]);
        link.query_pairs_mut()
            .append_pair("by", &claim.by)
            .append_pair("until", &claim.until.to_string())
            .append_pair("signature", &claim.signature(&self.key));
        Some(link)
    }
}

impl fmt::Debug for AcknowledgeLinks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AcknowledgeLinks")
            .field("base", &self.base.as_str())
            .field("valid_for", &self.valid_for)
            .finish_non_exhaustive()
    }
}

pub(super) fn signing_key(config: &AcknowledgeLinksConfig, secrets: &dyn Secrets) -> Result<SigningKey> {
    use secrecy::ExposeSecret as _;
    let key = secrets.resolve(&config.key)?;
    if key.expose_secret().len() < 16 {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            text!("the key of the links that acknowledge is shorter than 16 bytes"),
        ));
    }
    Ok(SigningKey::new(&key))
}

/// What a link says.
pub(super) struct Claim {
    pub(super) incident: IncidentId,
    pub(super) by: String,
    /// Unix seconds.
    pub(super) until: i64,
}

impl Claim {
    fn text(&self) -> String {
        // The free text comes last, so that no two claims have the same text.
        format!("acknowledge\n{}\n{}\n{}", self.incident, self.until, self.by)
    }

    fn signature(&self, key: &SigningKey) -> String {
        key.sign(&[self.text().as_bytes()])
    }

    /// Whether `signature` is ours. Says nothing about the time.
    pub(super) fn is_signed_by(&self, key: &SigningKey, signature: &str) -> bool {
        key.verifies(&[self.text().as_bytes()], signature)
    }
}
