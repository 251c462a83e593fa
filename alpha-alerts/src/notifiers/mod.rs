//! The receivers: Slack, PagerDuty, e-mail and so on, one adapter a file.
//!
//! [`build`] turns the configuration of a receiver into [`Integration`]s. Those that speak HTTP share one client, which verifies
//! certificates, follows no redirects, reads a few kilobytes of an answer, and judges statuses by one table.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::notification::IntegrationId;
use crate::notifier::Notifier;
use crate::secret::SecretRef;
use crate::text;
use crate::text::Text;

#[cfg(feature = "command")]
mod command;
mod config;
#[cfg(feature = "dingtalk")]
mod dingtalk;
#[cfg(feature = "discord")]
mod discord;
#[cfg(feature = "email")]
mod email;
mod environment;
#[cfg(feature = "feishu")]
mod feishu;
#[cfg(feature = "http-client")]
#[cfg_attr(
    not(feature = "full"),
    allow(dead_code, reason = "each kind needs some of it")
)]
mod http;
#[cfg_attr(
    not(feature = "full"),
    allow(dead_code, reason = "each kind needs some of it")
)]
mod limit;
mod log;
#[cfg(any(feature = "email", feature = "sendgrid"))]
#[cfg_attr(
    not(feature = "full"),
    allow(dead_code, reason = "each kind needs some of it")
)]
mod mail;
#[cfg_attr(
    not(feature = "full"),
    allow(dead_code, reason = "each kind needs some of it")
)]
mod markup;
#[cfg(feature = "matrix")]
mod matrix;
#[cfg(feature = "ntfy")]
mod ntfy;
#[cfg(feature = "pagerduty")]
mod pagerduty;
#[cfg(feature = "sendgrid")]
mod sendgrid;
#[cfg(feature = "slack")]
mod slack;
#[cfg(feature = "teams")]
mod teams;
#[cfg(feature = "telegram")]
mod telegram;
#[cfg(feature = "telephone")]
mod telephone;
#[cfg_attr(
    not(feature = "full"),
    allow(dead_code, reason = "each kind needs some of it")
)]
mod template;
#[cfg(feature = "webhook")]
mod webhook;
#[cfg(feature = "wecom")]
mod wecom;

pub use config::*;
pub use environment::{Environment, LinkTo};

use markup::Dialect;
use template::Renderer;

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

/// Makes the integrations of a receiver. Nothing is sent.
///
/// # Errors
/// All problems: keys that are missing, secrets that are not there, templates that cannot be read, kinds that this build lacks.
pub fn build(receiver: &ReceiverConfig, environment: &Environment) -> Result<Vec<Integration>, Vec<Text>> {
    let mut integrations = Vec::new();
    let mut problems = Vec::new();
    let mut add = |built: Result<Vec<Integration>, Vec<Text>>| match built {
        Ok(built) => integrations.extend(built),
        Err(found) => problems.extend(found),
    };
    macro_rules! kinds {
        ($($kind:ident $feature:literal),* $(,)?) => {$(
            for (index, config) in receiver.$kind.iter().enumerate() {
                let parts = Parts::new(&receiver.name, $feature, index, environment);
                #[cfg(feature = $feature)]
                add($kind::build(config, &parts));
                #[cfg(not(feature = $feature))]
                add(parts.unsupported(config));
            }
        )*};
    }
    kinds! {
        slack "slack",
        pagerduty "pagerduty",
        email "email",
        sendgrid "sendgrid",
        webhook "webhook",
        telegram "telegram",
        discord "discord",
        teams "teams",
        matrix "matrix",
        ntfy "ntfy",
        dingtalk "dingtalk",
        feishu "feishu",
        wecom "wecom",
        telephone "telephone",
        command "command",
    }
    for (index, config) in receiver.log.iter().enumerate() {
        add(log::build(
            config,
            &Parts::new(&receiver.name, "log", index, environment),
        ));
    }
    if problems.is_empty() {
        Ok(integrations)
    } else {
        Err(problems)
    }
}

/// What one configuration of a kind is built with.
struct Parts<'a> {
    receiver: &'a str,
    kind: &'static str,
    index: usize,
    environment: &'a Environment,
}

#[cfg_attr(
    not(feature = "full"),
    allow(dead_code, reason = "each kind needs some of it")
)]
impl<'a> Parts<'a> {
    fn new(receiver: &'a str, kind: &'static str, index: usize, environment: &'a Environment) -> Self {
        Self {
            receiver,
            kind,
            index,
            environment,
        }
    }

    /// The refusal of a kind whose feature is off.
    #[cfg_attr(feature = "full", allow(dead_code, reason = "nothing is unsupported"))]
    fn unsupported<C>(&self, _: &C) -> Result<Vec<Integration>, Vec<Text>> {
        Err(vec![self.problem(text!(
            "this build lacks the feature `{feature}`",
            feature = self.kind
        ))])
    }

    /// A problem with the name of the integration that has it.
    fn problem(&self, problem: Text) -> Text {
        text!(
            "{integration}: {problem}",
            integration = self.id(0).to_string(),
            problem = problem
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

    /// The only integration of this configuration.
    fn integration(
        &self,
        notifier: impl Notifier + 'static,
        send_resolved: bool,
        rate: Option<RateConfig>,
    ) -> Integration {
        self.integration_of(0, Arc::new(notifier), send_resolved, rate)
    }

    /// The `part`-th integration of this configuration.
    fn integration_of(
        &self,
        part: usize,
        notifier: Arc<dyn Notifier>,
        send_resolved: bool,
        rate: Option<RateConfig>,
    ) -> Integration {
        Integration {
            id: self.id(part),
            notifier,
            send_resolved,
            rate,
        }
    }
}

/// Collects all problems of one configuration.
struct Problems<'a> {
    parts: &'a Parts<'a>,
    found: Vec<Text>,
}

#[cfg_attr(
    not(feature = "full"),
    allow(dead_code, reason = "each kind needs some of it")
)]
impl<'a> Problems<'a> {
    fn new(parts: &'a Parts<'a>) -> Self {
        Self {
            parts,
            found: Vec::new(),
        }
    }

    fn add(&mut self, problem: Text) {
        self.found.push(self.parts.problem(problem));
    }

    #[allow(
        dead_code,
        reason = "which of these an integration needs depends on the features"
    )]
    fn missing(&mut self, key: &'static str) {
        self.add(text!("`{key}` is missing", key = key));
    }

    /// The end of a build: what is built, unless something is wrong.
    fn finish<T>(self, built: Option<T>) -> Result<T, Vec<Text>> {
        match built {
            Some(built) if self.found.is_empty() => Ok(built),
            _ => Err(self.found),
        }
    }

    /// A renderer for texts in `dialect`.
    fn renderer(
        &mut self,
        templates: &TemplateConfig,
        language: Option<Language>,
        dialect: Dialect,
    ) -> Option<Renderer> {
        Renderer::new(self.parts.environment, templates, language, dialect)
            .map_err(|problems| problems.into_iter().for_each(|problem| self.add(problem)))
            .ok()
    }

    /// `value`, which may not be empty.
    #[allow(
        dead_code,
        reason = "which of these an integration needs depends on the features"
    )]
    fn required_text(&mut self, key: &'static str, value: &str) -> Option<String> {
        if value.trim().is_empty() {
            self.missing(key);
            return None;
        }
        Some(value.to_owned())
    }

    /// A secret that has to be there.
    #[allow(
        dead_code,
        reason = "which of these an integration needs depends on the features"
    )]
    fn required_secret(&mut self, key: &'static str, reference: Option<&SecretRef>) -> Option<SecretString> {
        if reference.is_none() {
            self.missing(key);
        }
        self.secret(key, reference)
    }

    /// A secret that has to be there if it is named.
    #[allow(
        dead_code,
        reason = "which of these an integration needs depends on the features"
    )]
    fn secret(&mut self, key: &'static str, reference: Option<&SecretRef>) -> Option<SecretString> {
        let found = self.parts.environment.secrets.resolve(reference?);
        let trimmed = found.map(|secret| {
            let text = secret.expose_secret();
            match text.trim() {
                trimmed if trimmed.len() == text.len() => secret,
                trimmed => SecretString::from(trimmed),
            }
        });
        match trimmed {
            Ok(secret) if secret.expose_secret().is_empty() => {
                self.add(text!("the secret of `{key}` is empty", key = key));
                None
            }
            Ok(secret) => Some(secret),
            Err(error) => {
                self.add(text!("`{key}`: {error}", key = key, error = error.to_text()));
                None
            }
        }
    }

    /// An address that is kept as a secret and has to be there.
    #[cfg(feature = "http-client")]
    #[allow(
        dead_code,
        reason = "which of these an integration needs depends on the features"
    )]
    fn required_url(&mut self, key: &'static str, reference: Option<&SecretRef>) -> Option<http::SecretUrl> {
        let secret = self.required_secret(key, reference)?;
        let url = url::Url::parse(secret.expose_secret()).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            self.add(text!(
                "the secret of `{key}` is no address that begins with https:// or http://",
                key = key
            ));
        }
        url.map(http::SecretUrl::new)
    }

    /// An address of the web, or `otherwise`.
    #[cfg(feature = "http-client")]
    #[allow(
        dead_code,
        reason = "which of these an integration needs depends on the features"
    )]
    fn url(&mut self, key: &'static str, url: Option<&url::Url>, otherwise: &str) -> Option<url::Url> {
        let url = url.cloned().or_else(|| url::Url::parse(otherwise).ok());
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            self.add(text!(
                "`{key}` needs an address that begins with https:// or http://",
                key = key
            ));
        }
        url
    }

    /// A client that never repeats `secrets`.
    #[cfg(feature = "http-client")]
    fn http(&mut self, way: http::Way<'_>, secrets: Vec<SecretString>) -> Option<http::HttpClient> {
        http::HttpClient::new(self.parts.environment, way, secrets)
            .map_err(|problem| self.add(problem))
            .ok()
    }
}

/// `said` without `secrets`.
#[cfg_attr(
    not(feature = "full"),
    allow(dead_code, reason = "each kind needs some of it")
)]
fn redacted(said: &str, secrets: &[SecretString]) -> String {
    secrets
        .iter()
        .map(ExposeSecret::expose_secret)
        .filter(|secret| !secret.is_empty())
        .fold(said.to_owned(), |said, secret| said.replace(secret, "[secret]"))
}
