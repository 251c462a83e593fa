//! The receiver `discord`: a webhook (<https://docs.discord.com/developers/resources/webhook#execute-webhook>).

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{HttpClient, SecretUrl, Way, seconds};
use super::limit::Limit;
use super::markup::Dialect;
use super::template::{Renderer, color};
use super::{DiscordConfig, Integration, Parts, Problems, RateConfig};
use crate::notification::Notification;
use crate::notifier::{Notifier, Receipt, Refusal, Retry};
use crate::text::Text;

/// A webhook takes 30 messages a minute and 5 in two seconds.
const RATE: RateConfig = RateConfig::new(24, 4);

const TITLE: Limit = Limit::Characters(256);
const DESCRIPTION: Limit = Limit::Characters(4096);

#[derive(Debug)]
struct Discord {
    url: SecretUrl,
    username: Option<String>,
    http: HttpClient,
    renderer: Renderer,
}

pub(super) fn build(config: &DiscordConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let url = problems.required_url("webhook_url", config.webhook_url.as_ref());
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Discord);
    let secrets = url.iter().flat_map(SecretUrl::secrets).collect();
    let http = problems.http(Way::through(&config.proxy), secrets);
    let discord = url
        .zip(http)
        .zip(renderer)
        .map(|((url, http), renderer)| Discord {
            url: waiting(url),
            username: config.username.clone(),
            http,
            renderer,
        });
    let discord = problems.finish(discord)?;
    Ok(vec![parts.integration(
        discord,
        config.send_resolved,
        config.rate.or(Some(RATE)),
    )])
}

/// With `wait` Discord answers when the message is stored; without it, before it knows whether it will be.
fn waiting(url: SecretUrl) -> SecretUrl {
    let mut url = url.expose().clone();
    url.query_pairs_mut().append_pair("wait", "true");
    SecretUrl::new(url)
}

impl Discord {
    fn payload(&self, notification: &Notification) -> Value {
        let message = self.renderer.message(notification);
        let color = color(notification.severity, notification.event);
        let mut payload = json!({
            "embeds": [{
                "title": TITLE.cut(&message.title(TITLE), Dialect::Discord),
                "description": message.text(DESCRIPTION),
                "color": i64::from_str_radix(color.trim_start_matches('#'), 16).unwrap_or_default(),
                "timestamp": notification.created_at.to_string(),
            }],
            "allowed_mentions": { "parse": [] },
        });
        if let Some(username) = &self.username {
            payload["username"] = json!(username);
        }
        payload
    }
}

#[async_trait]
impl Notifier for Discord {
    fn kind(&self) -> &'static str {
        "discord"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let payload = self.payload(notification);
        let request = self
            .http
            .json(Method::POST, self.url.expose(), notification.id, &payload);
        let answer = self.http.exchange(request).await?;
        let said = answer.json().unwrap_or_default();
        // Seconds with a fraction; the header says the same rounded up.
        let wait = said
            .get("retry_after")
            .and_then(|wait| seconds(&wait.to_string()));
        self.http.judge(answer).map_err(|refusal| match wait {
            Some(wait) if refusal.retry != Retry::Never => refusal.retry_after(wait),
            _ => refusal,
        })?;
        let id = said.get("id").and_then(Value::as_str);
        Ok(id.map(Receipt::with_reference).unwrap_or_default())
    }
}
