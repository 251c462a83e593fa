//! The receiver `webhook`: Alertmanager's payload of version 4, so that whatever reads its webhooks reads these.
//!
//! What has no place in that payload goes into headers: `Idempotency-Key`, and the event in `X-Alpha-Event`, because an
//! acknowledged group still fires.

use async_trait::async_trait;
use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::http::{HttpClient, SecretUrl, Way, sensitive};
use super::template::event_name;
use super::{Integration, Parts, Problems, TemplateConfig, WebhookConfig};
use crate::alert::Alert;
use crate::hash::hex;
use crate::label::{Fingerprint, Labels};
use crate::notification::Notification;
use crate::notifier::{Notifier, Receipt, Refusal};
use crate::text;
use crate::text::Text;

/// The end of an alert that fires: Go's zero time.
const NO_END: &str = "0001-01-01T00:00:00Z";

#[derive(Debug)]
struct Webhook {
    url: SecretUrl,
    headers: HeaderMap,
    signer: Option<Signer>,
    max_alerts: usize,
    external_url: String,
    http: HttpClient,
}

/// Signs bodies.
struct Signer {
    key: hmac::Key,
    header: HeaderName,
    timestamp_header: Option<HeaderName>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Signer")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

pub(super) fn build(config: &WebhookConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let url = match (&config.url, &config.secret_url) {
        (url @ Some(_), None) => problems.url("url", url.as_ref(), "").map(SecretUrl::new),
        (None, secret @ Some(_)) => problems.required_url("secret_url", secret.as_ref()),
        (None, None) => {
            problems.missing("url");
            None
        }
        (Some(_), Some(_)) => {
            problems.add(text!("`url` and `secret_url` exclude each other"));
            None
        }
    };
    if config.templates != TemplateConfig::default() || config.language.is_some() {
        problems.add(text!(
            "`templates` and `language` have no place in Alertmanager's payload"
        ));
    }
    let mut secrets: Vec<SecretString> = url.iter().flat_map(SecretUrl::secrets).collect();
    let headers = headers(config, &mut problems, &mut secrets);
    let signer = signer(config, &mut problems, &mut secrets);
    let http = problems.http(Way::through(&config.proxy).trusting(&config.ca_file), secrets);
    let external_url = parts.environment.external_url.as_ref();
    let webhook = url.zip(http).map(|(url, http)| Webhook {
        url,
        headers,
        signer,
        max_alerts: config.max_alerts,
        external_url: external_url
            .map_or_else(String::new, |url| url.as_str().trim_end_matches('/').to_owned()),
        http,
    });
    let webhook = problems.finish(webhook)?;
    Ok(vec![parts.integration(
        webhook,
        config.send_resolved,
        config.rate,
    )])
}

fn headers(
    config: &WebhookConfig,
    problems: &mut Problems<'_>,
    secrets: &mut Vec<SecretString>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |problems: &mut Problems<'_>, name: &str, value: Option<HeaderValue>| match (
        HeaderName::try_from(name),
        value,
    ) {
        (Ok(name), Some(value)) => {
            headers.insert(name, value);
        }
        _ => problems.add(text!("`{name}` and its value make no header", name = name)),
    };
    for (name, value) in &config.headers {
        add(problems, name, HeaderValue::from_str(value).ok());
    }
    for (name, reference) in &config.secret_headers {
        if let Some(secret) = problems.secret("secret_headers", Some(reference)) {
            add(problems, name, sensitive(secret.expose_secret()));
            secrets.push(secret);
        }
    }
    let authorization = AUTHORIZATION.as_str();
    if let Some(token) = problems.secret("bearer_token", config.bearer_token.as_ref()) {
        add(
            problems,
            authorization,
            sensitive(&format!("Bearer {}", token.expose_secret())),
        );
        secrets.push(token);
    }
    if let Some(account) = &config.basic_auth
        && let Some(password) = problems.secret("basic_auth", Some(&account.password))
    {
        let pair = format!("{}:{}", account.username, password.expose_secret());
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        add(problems, authorization, sensitive(&format!("Basic {pair}")));
        secrets.extend([password, SecretString::from(pair)]);
    }
    if config.bearer_token.is_some() && config.basic_auth.is_some() {
        problems.add(text!("`bearer_token` and `basic_auth` exclude each other"));
    }
    headers
}

fn signer(
    config: &WebhookConfig,
    problems: &mut Problems<'_>,
    secrets: &mut Vec<SecretString>,
) -> Option<Signer> {
    let signature = config.signature.as_ref()?;
    let secret = problems.secret("signature", Some(&signature.secret))?;
    let mut header = |name: &str| {
        let header = HeaderName::try_from(name).ok();
        if header.is_none() {
            problems.add(text!("`{name}` is no name of a header", name = name));
        }
        header
    };
    let timestamp_header = match &signature.timestamp_header {
        Some(name) => Some(header(name)?),
        None => None,
    };
    let signer = Signer {
        key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()),
        header: header(&signature.header)?,
        timestamp_header,
    };
    secrets.push(secret);
    Some(signer)
}

impl Signer {
    /// The headers that sign `body` at `second`.
    fn sign(&self, body: &[u8], second: i64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut context = hmac::Context::with_key(&self.key);
        if let Some(name) = &self.timestamp_header {
            context.update(format!("{second}:").as_bytes());
            headers.insert(name, HeaderValue::from(second));
        }
        context.update(body);
        if let Ok(value) = HeaderValue::from_str(&hex(context.sign().as_ref())) {
            headers.insert(&self.header, value);
        }
        headers
    }
}

/// Version 4 of the payload, in Alertmanager's order of fields.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<PayloadAlert<'a>>,
    group_labels: &'a Labels,
    common_labels: Labels,
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PayloadAlert<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: Fingerprint,
}

fn status(is_resolved: bool) -> &'static str {
    if is_resolved { "resolved" } else { "firing" }
}

impl Webhook {
    fn payload<'a>(&'a self, notification: &'a Notification) -> Payload<'a> {
        let total = notification.alerts.len();
        let sent = match self.max_alerts {
            0 => total,
            limit => limit.min(total),
        };
        let now = notification.created_at;
        let alert = |alert: &'a Alert| {
            let is_resolved = alert.is_resolved_at(now);
            PayloadAlert {
                status: status(is_resolved),
                labels: &alert.labels,
                annotations: &alert.annotations,
                starts_at: alert.starts_at.to_string(),
                ends_at: if is_resolved {
                    alert.ends_at.to_string()
                } else {
                    NO_END.to_owned()
                },
                generator_url: &alert.generator_url,
                fingerprint: alert.fingerprint(),
            }
        };
        Payload {
            receiver: &notification.receiver,
            status: status(notification.firing().next().is_none()),
            alerts: notification.alerts.iter().take(sent).map(alert).collect(),
            group_labels: &notification.group_labels,
            common_labels: notification.common_labels(),
            common_annotations: notification.common_annotations(),
            external_url: &self.external_url,
            version: "4",
            group_key: notification.group.as_str(),
            truncated_alerts: total - sent,
        }
    }
}

#[async_trait]
impl Notifier for Webhook {
    fn kind(&self) -> &'static str {
        "webhook"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let body = serde_json::to_vec(&self.payload(notification)).map_err(|error| {
            Refusal::permanent(text!(
                "the payload cannot be written: {error}",
                error = error.to_string()
            ))
        })?;
        let signature = self
            .signer
            .as_ref()
            .map(|signer| signer.sign(&body, self.http.now().as_second()))
            .unwrap_or_default();
        let request = self
            .http
            .post(self.url.expose(), notification.id, "application/json", body)
            .header("x-alpha-event", event_name(notification.event))
            .headers(self.headers.clone())
            .headers(signature);
        self.http.send(request).await?;
        Ok(Receipt::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_openssl() {
        let signer = |timestamp_header| Signer {
            key: hmac::Key::new(hmac::HMAC_SHA256, b"secret"),
            header: HeaderName::from_static("x-alpha-signature"),
            timestamp_header,
        };
        // printf '{"a":1}' | openssl dgst -sha256 -hmac secret
        let headers = signer(None).sign(br#"{"a":1}"#, 1_767_261_720);
        assert_eq!(
            headers["x-alpha-signature"],
            "aa9e2e3575f5d7098b6caccd790888c36d5fdb63342a73bada2d6a51747a8494"
        );
        // printf '1767261720:{"a":1}' | openssl dgst -sha256 -hmac secret
        let headers = signer(Some(HeaderName::from_static("x-time"))).sign(br#"{"a":1}"#, 1_767_261_720);
        assert_eq!(
            headers["x-alpha-signature"],
            "a9f928cfbcd08766691a1ce47cbb9a07f7cf5c953a08315b2391c83f569270fb"
        );
        assert_eq!(headers["x-time"], "1767261720");
    }
}
