//! The receiver `telegram`: a bot (<https://core.telegram.org/bots/api#sendmessage>).

use async_trait::async_trait;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::http::{HttpClient, SecretUrl, Way, seconds};
use super::limit::Limit;
use super::markup::Dialect;
use super::template::Renderer;
use super::{Integration, Parts, Problems, RateConfig, TelegramConfig};
use crate::notification::Notification;
use crate::notifier::{Notifier, Receipt, Refusal, Retry};
use crate::severity::Severity;
use crate::text;
use crate::text::Text;

const SERVER: &str = "https://api.telegram.org";

/// A group takes 20 messages a minute (<https://core.telegram.org/bots/faq>).
const RATE: RateConfig = RateConfig::new(15, 5);

/// What a message holds; Telegram counts after the tags are gone, Alpha with them, to be safe.
const TEXT: Limit = Limit::Characters(4096);

#[derive(Debug)]
struct Telegram {
    /// Holds the token in its path.
    url: SecretUrl,
    chat: Value,
    topic: Option<i64>,
    is_quiet_on_p3: bool,
    http: HttpClient,
    renderer: Renderer,
}

pub(super) fn build(config: &TelegramConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let token = problems.required_secret("token", config.token.as_ref());
    let chat = problems.required_text("chat", &config.chat);
    let server = problems.url("url", config.url.as_ref(), SERVER);
    let url = token.as_ref().zip(server).and_then(|(token, mut url)| {
        let bot = format!("bot{}", token.expose_secret());
        url.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .extend([&bot, "sendMessage"]);
        Some(SecretUrl::new(url))
    });
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Telegram);
    let secrets: Vec<SecretString> = url.iter().flat_map(SecretUrl::secrets).chain(token).collect();
    let http = problems.http(Way::through(&config.proxy), secrets);
    let telegram = url.zip(chat).zip(http).zip(renderer);
    let telegram = telegram.map(|(((url, chat), http), renderer)| Telegram {
        url,
        chat: chat
            .parse::<i64>()
            .map_or_else(|_| json!(chat), |number| json!(number)),
        topic: config.topic,
        is_quiet_on_p3: config.quiet_p3,
        http,
        renderer,
    });
    let telegram = problems.finish(telegram)?;
    Ok(vec![parts.integration(
        telegram,
        config.send_resolved,
        config.rate.or(Some(RATE)),
    )])
}

impl Telegram {
    fn payload(&self, notification: &Notification) -> Value {
        let message = self.renderer.message(notification);
        let mut payload = json!({
            "chat_id": self.chat,
            "text": message.titled_text(TEXT),
            "parse_mode": "HTML",
            "link_preview_options": { "is_disabled": true },
            "disable_notification": self.is_quiet_on_p3 && notification.severity == Severity::P3,
        });
        if let Some(topic) = self.topic {
            payload["message_thread_id"] = json!(topic);
        }
        payload
    }
}

#[async_trait]
impl Notifier for Telegram {
    fn kind(&self) -> &'static str {
        "telegram"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let payload = self.payload(notification);
        let request = self
            .http
            .json(Method::POST, self.url.expose(), notification.id, &payload);
        let answer = self.http.exchange(request).await?;
        let said = answer.json().unwrap_or_default();
        let wait = said
            .pointer("/parameters/retry_after")
            .and_then(|wait| seconds(&wait.to_string()));
        let answer = self.http.judge(answer).map_err(|refusal| match wait {
            Some(wait) if refusal.retry != Retry::Never => refusal.retry_after(wait),
            _ => refusal,
        })?;
        if said.get("ok") == Some(&Value::Bool(false)) {
            let description = said
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let reason = text!(
                "Telegram refused it: {error}",
                error = self.http.excerpt(description)
            );
            return Err(Refusal::permanent(reason).with_status(answer.status));
        }
        let message_id = said.pointer("/result/message_id").map(Value::to_string);
        Ok(message_id.map(Receipt::with_reference).unwrap_or_default())
    }
}
