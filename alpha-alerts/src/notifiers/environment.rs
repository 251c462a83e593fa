//! What building and telling needs besides the configuration of a receiver.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use url::Url;

use super::Language;
use crate::clock::{Clock, SystemClock};
use crate::notification::Notification;
use crate::secret::Secrets;

/// Makes a link for a notification, such as the signed one that acknowledges it; `None` where there is nothing to link to.
pub type LinkTo = Arc<dyn Fn(&Notification) -> Option<Url> + Send + Sync>;

/// What all integrations share.
#[derive(Clone)]
#[non_exhaustive]
pub struct Environment {
    /// Fetches the secrets that configurations name.
    pub secrets: Arc<dyn Secrets>,
    /// Where people reach this installation.
    pub external_url: Option<Url>,
    /// The language of the built-in templates. Default: English.
    pub language: Language,
    /// The zone of the times in messages. Default: UTC.
    pub time_zone: TimeZone,
    /// Tells the time for signatures that hold one, and for `Retry-After` as a date.
    pub clock: Arc<dyn Clock>,
    /// How long one attempt may take, connecting included. Default: 10 s.
    pub timeout: Duration,
    /// Makes the link that acknowledges. It is shown to the receiver and never logged.
    pub acknowledge: Option<LinkTo>,
    /// Makes the link that silences.
    pub silence: Option<LinkTo>,
    #[cfg(feature = "http-client")]
    pub(super) clients: super::http::Clients,
}

impl Environment {
    /// An environment with the defaults.
    pub fn new(secrets: Arc<dyn Secrets>) -> Self {
        Self {
            secrets,
            external_url: None,
            language: Language::default(),
            time_zone: TimeZone::UTC,
            clock: Arc::new(SystemClock),
            timeout: Duration::from_secs(10),
            acknowledge: None,
            silence: None,
            #[cfg(feature = "http-client")]
            clients: super::http::Clients::default(),
        }
    }

    /// The same where people reach this installation at `url`.
    #[must_use]
    pub fn with_external_url(mut self, url: Option<Url>) -> Self {
        self.external_url = url;
        self
    }

    /// The same in another language.
    #[must_use]
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    /// The same with times of another zone.
    #[must_use]
    pub fn with_time_zone(mut self, time_zone: TimeZone) -> Self {
        self.time_zone = time_zone;
        self
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same with another limit on one attempt.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same with links that acknowledge.
    #[must_use]
    pub fn with_acknowledge(mut self, link: LinkTo) -> Self {
        self.acknowledge = Some(link);
        self
    }

    /// The same with links that silence.
    #[must_use]
    pub fn with_silence(mut self, link: LinkTo) -> Self {
        self.silence = Some(link);
        self
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Environment")
            .field("secrets", &self.secrets)
            .field("external_url", &self.external_url.as_ref().map(Url::as_str))
            .field("language", &self.language)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
