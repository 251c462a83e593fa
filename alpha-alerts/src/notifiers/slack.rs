//! The receiver `slack`: an incoming webhook.
//!
//! The time of an attachment is `ts`, whole seconds since 1970, and is shown only beside a `footer`: Slack's own SDK refuses
//! the one without the other. Errors are plain text (`invalid_payload`, `channel_is_archived`), sometimes JSON.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{HttpClient, SecretUrl, Way, seconds};
use super::limit::Limit;
use super::markup::Dialect;
use super::template::{Message, Renderer};
use super::{Integration, Parts, Problems, RateConfig, SlackConfig};
use crate::notification::{Event, Notification};
use crate::notifier::{Notifier, Receipt, Refusal};
use crate::severity::Severity;
use crate::text;
use crate::text::Text;

/// Slack allows about one message a second and short bursts, and disables for good who keeps going beyond.
const RATE: RateConfig = RateConfig::new(50, 5);

/// As Alertmanager cuts titles.
const TITLE: Limit = Limit::Characters(1024);

/// What a section of Block Kit holds; attachments are cut there too, because Slack folds longer ones.
const TEXT: Limit = Limit::Characters(3000);

/// What a footer holds.
const FOOTER: Limit = Limit::Characters(300);

/// What the address of a button holds.
const BUTTON_URL: Limit = Limit::Characters(3000);

/// What Slack's interaction calls the button that acknowledges; its value is the number of the incident, or the group's key.
const ACKNOWLEDGE: &str = "alpha_acknowledge";

/// The same where the button only opens a page: Slack tells its app about such buttons too, and to open is not to confirm.
const OPEN_ACKNOWLEDGE: &str = "alpha_acknowledge_link";

#[derive(Debug)]
struct Slack {
    url: SecretUrl,
    http: HttpClient,
    renderer: Renderer,
    channel: Option<String>,
    username: Option<String>,
    icon_emoji: Option<String>,
    has_blocks: bool,
    is_interactive: bool,
}

pub(super) fn build(config: &SlackConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let url = problems.required_url("webhook_url", config.webhook_url.as_ref());
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Slack);
    let secrets = url.iter().flat_map(SecretUrl::secrets).collect();
    let http = problems.http(Way::through(&config.proxy), secrets);
    let slack = url.zip(http).zip(renderer).map(|((url, http), renderer)| Slack {
        url,
        http,
        renderer,
        channel: config.channel.clone(),
        username: config.username.clone(),
        icon_emoji: config.icon_emoji.clone(),
        has_blocks: config.blocks,
        is_interactive: config.interactive,
    });
    let slack = problems.finish(slack)?;
    Ok(vec![parts.integration(
        slack,
        config.send_resolved,
        config.rate.or(Some(RATE)),
    )])
}

/// The plan's colours (M6).
fn color(notification: &Notification) -> &'static str {
    match (notification.event, notification.severity) {
        (Event::Resolved, _) | (_, Severity::P2) => "good",
        (_, Severity::P0) => "danger",
        (_, Severity::P1) => "warning",
        (_, Severity::P3) => "#439FE0",
    }
}

impl Slack {
    fn payload(&self, notification: &Notification) -> Value {
        let message = self.renderer.message(notification);
        let mut payload = if self.has_blocks {
            self.with_blocks(notification, &message)
        } else {
            with_attachment(notification, &message)
        };
        for (key, value) in [
            ("channel", &self.channel),
            ("username", &self.username),
            ("icon_emoji", &self.icon_emoji),
        ] {
            if let Some(value) = value {
                payload[key] = json!(value);
            }
        }
        payload
    }

    fn with_blocks(&self, notification: &Notification, message: &Message<'_>) -> Value {
        let title = TITLE.cut(&message.title(TITLE), Dialect::Slack);
        let mut blocks = vec![json!({
            "type": "section",
            "text": { "type": "mrkdwn", "text": message.text(TEXT) },
        })];
        let buttons = self.buttons(notification, message);
        if !buttons.is_empty() {
            blocks.push(json!({ "type": "actions", "block_id": "alpha", "elements": buttons }));
        }
        let at = notification.created_at;
        let time = format!("<!date^{}^{{date_short}} {{time_secs}}|{at}>", at.as_second());
        blocks.push(json!({
            "type": "context",
            "elements": [{ "type": "mrkdwn", "text": format!("{} · {time}", footer(notification)) }],
        }));
        json!({
            "text": title,
            "attachments": [{ "color": color(notification), "fallback": title, "blocks": blocks }],
        })
    }

    fn buttons(&self, notification: &Notification, message: &Message<'_>) -> Vec<Value> {
        let button = |action: &str, label: &str, value: String, url: Option<&str>| {
            let mut button = json!({
                "type": "button",
                "action_id": action,
                "text": { "type": "plain_text", "text": label },
                "value": value,
            });
            if let Some(url) = url {
                button["url"] = json!(url);
            }
            button
        };
        let usable = |url: &Option<String>| url.clone().filter(|url| BUTTON_URL.admits(url));
        let mut buttons = Vec::new();
        if notification.event == Event::Firing {
            let link = usable(&message.acknowledge).filter(|_| !self.is_interactive);
            if link.is_some() || self.is_interactive {
                let value = notification
                    .incident
                    .map_or_else(|| notification.group.to_string(), |id| id.to_string());
                let value = Limit::Characters(2000).cut(&value, Dialect::Plain);
                let label = message.say("Acknowledge", "认领");
                let action = if link.is_some() {
                    OPEN_ACKNOWLEDGE
                } else {
                    ACKNOWLEDGE
                };
                let mut acknowledge = button(action, label, value, link.as_deref());
                acknowledge["style"] = json!("primary");
                buttons.push(acknowledge);
            }
        }
        let id = notification.id.to_string();
        if let Some(url) = usable(&message.silence) {
            buttons.push(button(
                "alpha_silence",
                message.say("Silence", "静默"),
                id.clone(),
                Some(&url),
            ));
        }
        if let Some(url) = message
            .runbook()
            .filter(|url| is_web(url) && BUTTON_URL.admits(url))
        {
            buttons.push(button(
                "alpha_runbook",
                message.say("Runbook", "处置手册"),
                id,
                Some(url),
            ));
        }
        buttons
    }
}

fn with_attachment(notification: &Notification, message: &Message<'_>) -> Value {
    let title = TITLE.cut(&message.title(TITLE), Dialect::Slack);
    let mut attachment = json!({
        "color": color(notification),
        "fallback": title,
        "title": title,
        "text": message.text(TEXT),
        "mrkdwn_in": ["text"],
        "footer": footer(notification),
        "ts": notification.created_at.as_second(),
    });
    if let Some(url) = message.runbook().filter(|url| is_web(url)) {
        attachment["title_link"] = json!(url);
    }
    json!({ "attachments": [attachment] })
}

fn footer(notification: &Notification) -> String {
    let footer = format!("Alpha · {} · {}", notification.receiver, notification.severity);
    FOOTER.cut(&footer, Dialect::Slack)
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

#[async_trait]
impl Notifier for Slack {
    fn kind(&self) -> &'static str {
        "slack"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let payload = self.payload(notification);
        let request = self
            .http
            .json(Method::POST, self.url.expose(), notification.id, &payload);
        let answer = self.http.exchange(request).await?;
        let said = answer.json();
        let wait = said
            .as_ref()
            .and_then(|said| seconds(&said.get("retry_after")?.to_string()));
        let answer = match self.http.judge(answer) {
            Ok(answer) => answer,
            // The wait stands in the body too, for proxies that drop headers they do not know.
            Err(refusal) if refusal.retry == crate::notifier::Retry::Later && refusal.status == Some(429) => {
                return Err(match wait {
                    Some(wait) => refusal.retry_after(wait),
                    None => refusal,
                });
            }
            Err(refusal) => return Err(refusal),
        };
        let failed = said.filter(|said| said.get("ok") == Some(&Value::Bool(false)));
        let Some(failed) = failed else {
            return Ok(Receipt::default());
        };
        let error = failed.get("error").and_then(Value::as_str).unwrap_or("unknown");
        let reason = text!("Slack refused it: {error}", error = self.http.excerpt(error));
        let refusal = match error {
            "rate_limited" | "ratelimited" | "internal_error" | "fatal_error" | "service_unavailable" => {
                Refusal::transient(reason)
            }
            _ => Refusal::permanent(reason),
        };
        let refusal = refusal.with_status(answer.status);
        Err(match wait {
            Some(wait) if refusal.retry == crate::notifier::Retry::Later => refusal.retry_after(wait),
            _ => refusal,
        })
    }
}
