//! The receivers: Slack, PagerDuty, e-mail and so on, one adapter a file.
//!
//! [`build`] turns the configuration of a receiver into [`Integration`]s. Those that speak HTTP share one client, which verifies
//! certificates, follows no redirects, reads a few kilobytes of an answer, and judges statuses by one table.

use std::sync::Arc;

use crate::notification::IntegrationId;
use crate::notifier::Notifier;
use crate::text;
use crate::text::Text;

mod config;
mod environment;

pub use config::*;
pub use environment::{Environment, LinkTo};

/// One way of one receiver, ready to be told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Integration {
    /// Its identity, `receiver/kind/index`. A configuration that reaches several people one by one is several integrations:
    /// the first has this identity, the others `receiver/kind/index.n`.
    pub id: IntegrationId,
    /// What tells it.
    pub notifier: Arc<dyn Notifier>,
    /// Whether the end of a group is told too.
    pub send_resolved: bool,
    /// How often it may be told something.
    pub rate: Option<RateConfig>,
}

/// What one configuration of a kind is built from.
pub(crate) struct Parts<'a> {
    receiver: &'a str,
    kind: &'static str,
    index: usize,
    environment: &'a Environment,
}

/// Makes the integrations of a receiver. Nothing is sent.
///
/// # Errors
/// All problems: keys that are missing, secrets that are not there, templates that cannot be read, kinds that this build lacks.
pub fn build(receiver: &ReceiverConfig, environment: &Environment) -> Result<Vec<Integration>, Vec<Text>> {
    let mut integrations = Vec::new();
    let mut problems = Vec::new();
    macro_rules! kinds {
        ($($kind:ident),* $(,)?) => {$(
            for (index, config) in receiver.$kind.iter().enumerate() {
                let parts = Parts {
                    receiver: &receiver.name,
                    kind: stringify!($kind),
                    index,
                    environment,
                };
                let _ = config;
                let built: Result<Vec<Integration>, Vec<Text>> = Err(vec![parts.unsupported(stringify!($kind))]);
                match built {
                    Ok(built) => integrations.extend(built),
                    Err(found) => problems.extend(found),
                }
            }
        )*};
    }
    kinds! {
        slack,
        pagerduty,
        email,
        sendgrid,
        webhook,
        telegram,
        discord,
        teams,
        matrix,
        ntfy,
        dingtalk,
        feishu,
        wecom,
        telephone,
        command,
        log,
    }
    if problems.is_empty() {
        Ok(integrations)
    } else {
        Err(problems)
    }
}

impl Parts<'_> {
    fn unsupported(&self, feature: &'static str) -> Text {
        text!(
            "{integration}: this build lacks the feature `{feature}`",
            integration = self.id(0).to_string(),
            feature = feature
        )
    }

    /// The identity of the `part`-th integration that this configuration makes.
    fn id(&self, part: usize) -> IntegrationId {
        let Self {
            receiver,
            kind,
            index,
            ..
        } = self;
        match part {
            0 => format!("{receiver}/{kind}/{index}").into(),
            part => format!("{receiver}/{kind}/{index}.{part}").into(),
        }
    }
}
