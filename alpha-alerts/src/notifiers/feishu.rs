//! The receiver `feishu`: a bot of a Feishu or Lark group
//! (<https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>).
//!
//! It answers 200 and puts the outcome into `code`.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use reqwest::Method;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::http::{HttpClient, SecretUrl, Way};
use super::limit::Limit;
use super::markup::Dialect;
use super::template::Renderer;
use super::{FeishuConfig, Integration, Parts, Problems, RateConfig};
use crate::notification::{Event, Notification};
use crate::notifier::{Notifier, Receipt, Refusal, Retry};
use crate::severity::Severity;
use crate::text::Text;

/// A bot takes 100 messages a minute and 5 a second.
const RATE: RateConfig = RateConfig::new(90, 3);

/// A request may have 20 KB; JSON writes a line break as two bytes.
const TEXT: Limit = Limit::Bytes(12_000);
const TITLE: Limit = Limit::Bytes(600);

/// What mentions everybody.
const EVERYBODY: &str = "\n<at id=all></at>";

#[derive(Debug)]
struct Feishu {
    url: SecretUrl,
    secret: Option<SecretString>,
    mentions_all_on_p0: bool,
    http: HttpClient,
    renderer: Renderer,
}

pub(super) fn build(config: &FeishuConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let url = problems.required_url("webhook_url", config.webhook_url.as_ref());
    let secret = problems.secret("secret", config.secret.as_ref());
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Feishu);
    let secrets = url.iter().flat_map(SecretUrl::secrets).chain(secret.clone());
    let http = problems.http(Way::through(&config.proxy), secrets.collect());
    let feishu = url.zip(http).zip(renderer).map(|((url, http), renderer)| Feishu {
        url,
        secret,
        mentions_all_on_p0: config.mention_all_on_p0,
        http,
        renderer,
    });
    let feishu = problems.finish(feishu)?;
    Ok(vec![parts.integration(
        feishu,
        config.send_resolved,
        config.rate.or(Some(RATE)),
    )])
}

/// `base64(HMAC-SHA256("{seconds}\n{secret}", ""))`: what is signed is the key, and the message is empty.
fn sign(secret: &str, second: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, format!("{second}\n{secret}").as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hmac::sign(&key, b""))
}

/// The colours that the head of a card knows.
fn template(notification: &Notification) -> &'static str {
    match (notification.event, notification.severity) {
        (Event::Resolved, _) => "green",
        (_, Severity::P0) => "red",
        (_, Severity::P1) => "orange",
        (_, Severity::P2) => "yellow",
        (_, Severity::P3) => "blue",
    }
}

impl Feishu {
    fn payload(&self, notification: &Notification) -> Value {
        let message = self.renderer.message(notification);
        let is_p0 = notification.event == Event::Firing && notification.severity == Severity::P0;
        let everybody = if self.mentions_all_on_p0 && is_p0 {
            EVERYBODY
        } else {
            ""
        };
        let text = message.text(TEXT.less(everybody)) + everybody;
        let mut payload = json!({
            "msg_type": "interactive",
            "card": {
                "config": { "wide_screen_mode": true },
                "header": {
                    "title": { "tag": "plain_text", "content": message.title(TITLE) },
                    "template": template(notification),
                },
                "elements": [{ "tag": "div", "text": { "tag": "lark_md", "content": text } }],
            },
        });
        if let Some(secret) = &self.secret {
            let now = self.http.now().as_second();
            payload["timestamp"] = json!(now.to_string());
            payload["sign"] = json!(sign(secret.expose_secret(), now));
        }
        payload
    }
}

/// Too fast, for the tenant, the group or the gateway; all else is a wrong address, signature, keyword or card.
fn retry(code: i64) -> Retry {
    match code {
        11_232 | 230_020 | 99_991_400 => Retry::After(Duration::from_secs(60)),
        _ => Retry::Never,
    }
}

#[async_trait]
impl Notifier for Feishu {
    fn kind(&self) -> &'static str {
        "feishu"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let payload = self.payload(notification);
        let request = self
            .http
            .json(Method::POST, self.url.expose(), notification.id, &payload);
        let answer = self.http.exchange(request).await?;
        // Older servers say `StatusCode` beside `code`, or instead of it.
        let keys = match answer.json() {
            Some(said) if said.get("code").is_none() => ["StatusCode", "StatusMessage"],
            _ => ["code", "msg"],
        };
        self.http.judge_code(answer, keys, retry)?;
        Ok(Receipt::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_python_computes() {
        // From Feishu's own example in Python, with hmac, hashlib and base64.
        assert_eq!(
            sign("secret", 1_767_261_720),
            "ktRoS3eRllQX8wDtGDewzQ/cZudE5i7HXJkzDSmKM3U="
        );
    }
}
