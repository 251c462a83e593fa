//! The receiver `sendgrid`: e-mail by the API v3 (<https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send>).
//!
//! It has no idempotency key: after a crash a mail may come twice. Both carry the notification's id, and the references that
//! make mail programs show them as one thread.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::http::{HttpClient, Way, sensitive, until};
use super::limit::Limit;
use super::mail::{Address, thread_id};
use super::markup::Dialect;
use super::template::Renderer;
use super::{Integration, Parts, Problems, SendgridConfig};
use crate::notification::Notification;
use crate::notifier::{Notifier, Receipt, Refusal, Retry};
use crate::text;
use crate::text::Text;

const SEND: &str = "https://api.sendgrid.com/v3/mail/send";

/// What a request takes.
const RECIPIENTS: usize = 1000;

/// What a line of a mail holds (RFC 5322, 2.1.1), with room for its encoding.
const SUBJECT: Limit = Limit::Bytes(300);

/// A mail that people read; SendGrid takes 30 MB.
const TEXT: Limit = Limit::Bytes(100_000);

#[derive(Debug)]
struct Sendgrid {
    url: Url,
    api_key: SecretString,
    from: Address,
    to: BTreeSet<String>,
    http: HttpClient,
    renderer: Renderer,
}

pub(super) fn build(config: &SendgridConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let api_key = problems.required_secret("api_key", config.api_key.as_ref());
    let from = problems.address("from", &config.from);
    if from.as_ref().is_some_and(|from| !from.is_plain()) {
        problems.add(text!("`from` may hold only ASCII, and neither `;` nor `,`"));
    }
    let to: BTreeSet<String> = config
        .to
        .iter()
        .filter_map(|to| Some(problems.address("to", to)?.email))
        .collect();
    if to.is_empty() || to.len() > RECIPIENTS {
        problems.add(text!("`to` takes 1 to {limit} addresses", limit = RECIPIENTS));
    }
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Html);
    let http = problems.http(Way::through(&config.proxy), api_key.iter().cloned().collect());
    let url = problems.url("url", config.url.as_ref(), SEND);
    let all = api_key.zip(from).zip(http).zip(renderer).zip(url);
    let sendgrid = all.map(|((((api_key, from), http), renderer), url)| Sendgrid {
        url,
        api_key,
        from,
        to,
        http,
        renderer,
    });
    let sendgrid = problems.finish(sendgrid)?;
    Ok(vec![parts.integration(
        sendgrid,
        config.send_resolved,
        config.rate,
    )])
}

impl Sendgrid {
    fn payload(&self, notification: &Notification) -> Value {
        let message = self.renderer.message(notification);
        let thread = thread_id(notification, &self.from.email);
        let mut from = json!({ "email": self.from.email });
        if let Some(name) = &self.from.name {
            from["name"] = json!(name);
        }
        // One personalization for each address: nobody sees the others.
        let personalizations = self.to.iter().map(|email| json!({ "to": [{ "email": email }] }));
        json!({
            "personalizations": personalizations.collect::<Vec<_>>(),
            "from": from,
            "subject": message.title(SUBJECT),
            "content": [
                { "type": "text/plain", "value": message.plain_text(TEXT) },
                { "type": "text/html", "value": message.html(TEXT) },
            ],
            "headers": { "References": thread, "In-Reply-To": thread, "Auto-Submitted": "auto-generated" },
            "custom_args": {
                "notification": notification.id.to_string(),
                "severity": notification.severity.name(),
            },
        })
    }
}

#[async_trait]
impl Notifier for Sendgrid {
    fn kind(&self) -> &'static str {
        "sendgrid"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let payload = self.payload(notification);
        let mut request = self.http.json(Method::POST, &self.url, notification.id, &payload);
        if let Some(token) = sensitive(&format!("Bearer {}", self.api_key.expose_secret())) {
            request = request.header(reqwest::header::AUTHORIZATION, token);
        }
        let answer = self.http.exchange(request).await?;
        // The instant at which it takes mails again, in seconds since 1970; there is no Retry-After.
        let reset = answer
            .headers
            .get("x-ratelimit-reset")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .and_then(|second| Timestamp::from_second(second).ok());
        let message_id = answer
            .headers
            .get("x-message-id")
            .and_then(|value| value.to_str().ok().map(str::to_owned));
        match (self.http.judge(answer), reset) {
            (Ok(_), _) => Ok(message_id.map(Receipt::with_reference).unwrap_or_default()),
            (Err(refusal), Some(reset)) if refusal.status == Some(429) && refusal.retry == Retry::Later => {
                Err(refusal.retry_after(until(reset, self.http.now())))
            }
            (Err(refusal), _) => Err(refusal),
        }
    }
}
