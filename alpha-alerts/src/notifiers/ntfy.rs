//! The receiver `ntfy`: a topic, published as JSON (<https://docs.ntfy.sh/publish/#publish-as-json>).

use async_trait::async_trait;
use base64::Engine as _;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::http::{HttpClient, Way, sensitive};
use super::limit::Limit;
use super::markup::Dialect;
use super::template::Renderer;
use super::{Integration, NtfyConfig, Parts, Problems, RateConfig};
use crate::notification::{Event, Notification};
use crate::notifier::{Notifier, Receipt, Refusal};
use crate::severity::Severity;
use crate::text;
use crate::text::Text;

const SERVER: &str = "https://ntfy.sh";

/// The public server gives 60 at once and then one every five seconds.
const RATE: RateConfig = RateConfig::new(12, 20);

const TITLE: Limit = Limit::Bytes(200);

/// A server turns longer messages into attached files, unless it is told otherwise.
const MESSAGE: Limit = Limit::Bytes(4000);

/// How many buttons a message may have.
const ACTIONS: usize = 3;

#[derive(Debug)]
struct Ntfy {
    server: Url,
    topic: SecretString,
    authorization: Option<HeaderValue>,
    http: HttpClient,
    renderer: Renderer,
}

pub(super) fn build(config: &NtfyConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let server = problems.url("server", config.server.as_ref(), SERVER);
    let topic = problems.required_secret("topic", config.topic.as_ref());
    let mut secrets: Vec<SecretString> = topic.iter().cloned().collect();
    let mut authorization = None;
    if let Some(token) = problems.secret("token", config.token.as_ref()) {
        authorization = sensitive(&format!("Bearer {}", token.expose_secret()));
        secrets.push(token);
    }
    if let Some(account) = &config.basic_auth
        && let Some(password) = problems.secret("basic_auth", Some(&account.password))
    {
        let pair = format!("{}:{}", account.username, password.expose_secret());
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        authorization = sensitive(&format!("Basic {pair}"));
        secrets.extend([password, SecretString::from(pair)]);
    }
    if config.token.is_some() && config.basic_auth.is_some() {
        problems.add(text!("`token` and `basic_auth` exclude each other"));
    }
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Plain);
    let http = problems.http(Way::through(&config.proxy).trusting(&config.ca_file), secrets);
    let all = server.zip(topic).zip(http).zip(renderer);
    let ntfy = all.map(|(((server, topic), http), renderer)| Ntfy {
        server,
        topic,
        authorization,
        http,
        renderer,
    });
    let ntfy = problems.finish(ntfy)?;
    Ok(vec![parts.integration(
        ntfy,
        config.send_resolved,
        config.rate.or(Some(RATE)),
    )])
}

/// 5 rings and shakes until somebody looks; 2 makes no sound.
fn priority(notification: &Notification) -> u8 {
    match (notification.event, notification.severity) {
        (Event::Firing, Severity::P0) => 5,
        (Event::Firing, Severity::P1) => 4,
        (Event::Firing, Severity::P2) => 3,
        _ => 2,
    }
}

fn tag(notification: &Notification) -> &'static str {
    match (notification.event, notification.severity) {
        (Event::Resolved, _) => "white_check_mark",
        (Event::Acknowledged, _) => "eyes",
        (Event::Firing, Severity::P0 | Severity::P1) => "rotating_light",
        (Event::Firing, Severity::P2 | Severity::P3) => "warning",
    }
}

impl Ntfy {
    fn payload(&self, notification: &Notification) -> Value {
        let message = self.renderer.message(notification);
        let view = |label: &str, url: Option<&str>| {
            let url = url.filter(|url| url.starts_with("https://") || url.starts_with("http://"))?;
            Some(json!({ "action": "view", "label": label, "url": url }))
        };
        let actions = [
            view(message.say("Acknowledge", "认领"), message.acknowledge.as_deref()),
            view(message.say("Silence", "静默"), message.silence.as_deref()),
            view(message.say("Runbook", "处置手册"), message.runbook()),
        ];
        json!({
            "topic": self.topic.expose_secret(),
            "title": message.title(TITLE),
            "message": message.text(MESSAGE),
            "priority": priority(notification),
            "tags": [tag(notification)],
            "actions": actions.into_iter().flatten().take(ACTIONS).collect::<Vec<_>>(),
        })
    }
}

#[async_trait]
impl Notifier for Ntfy {
    fn kind(&self) -> &'static str {
        "ntfy"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let payload = self.payload(notification);
        let mut request = self
            .http
            .json(Method::POST, &self.server, notification.id, &payload);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let answer = self.http.send(request).await?;
        let said = answer.json().unwrap_or_default();
        let id = said.get("id").and_then(Value::as_str);
        Ok(id.map(Receipt::with_reference).unwrap_or_default())
    }
}
