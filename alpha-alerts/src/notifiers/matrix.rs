//! The receiver `matrix`: a message in a room (<https://spec.matrix.org/latest/client-server-api/>).
//!
//! The notification's id is the transaction's, so that the server drops a message that comes twice.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::http::{HttpClient, Way, sensitive};
use super::limit::Limit;
use super::markup::Dialect;
use super::template::Renderer;
use super::{Integration, MatrixConfig, Parts, Problems};
use crate::notification::Notification;
use crate::notifier::{Notifier, Receipt, Refusal, Retry};
use crate::text::Text;

/// An event may have 65,536 bytes with everything in it: JSON may double each of the two forms of the text.
const PLAIN: Limit = Limit::Bytes(8_000);
const FORMATTED: Limit = Limit::Bytes(14_000);

#[derive(Debug)]
struct Matrix {
    homeserver: Url,
    room: String,
    token: SecretString,
    http: HttpClient,
    renderer: Renderer,
}

pub(super) fn build(config: &MatrixConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let homeserver = problems.url("homeserver", config.homeserver.as_ref(), "");
    let token = problems.required_secret("access_token", config.access_token.as_ref());
    let room = problems.required_text("room", &config.room);
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Html);
    let http = problems.http(
        Way::through(&config.proxy).trusting(&config.ca_file),
        token.iter().cloned().collect(),
    );
    let all = homeserver.zip(room).zip(token).zip(http).zip(renderer);
    let matrix = all.map(|((((homeserver, room), token), http), renderer)| Matrix {
        homeserver,
        room,
        token,
        http,
        renderer,
    });
    let matrix = problems.finish(matrix)?;
    Ok(vec![parts.integration(matrix, config.send_resolved, config.rate)])
}

impl Matrix {
    fn url(&self, notification: &Notification) -> Url {
        let mut url = self.homeserver.clone();
        let transaction = notification.id.to_string();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend([
                "_matrix",
                "client",
                "v3",
                "rooms",
                &self.room,
                "send",
                "m.room.message",
                &transaction,
            ]);
        }
        url
    }

    fn payload(&self, notification: &Notification) -> Value {
        let message = self.renderer.message(notification);
        let title = message.title(Limit::Characters(300));
        let formatted = message.titled_text(FORMATTED).replace('\n', "<br>");
        json!({
            "msgtype": "m.text",
            "body": format!("{title}\n{}", message.plain_text(PLAIN.less(&title))),
            "format": "org.matrix.custom.html",
            "formatted_body": formatted,
            // Without this a value that holds `@room` would ring for everybody.
            "m.mentions": {},
        })
    }
}

#[async_trait]
impl Notifier for Matrix {
    fn kind(&self) -> &'static str {
        "matrix"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let payload = self.payload(notification);
        let url = self.url(notification);
        let mut request = self.http.json(Method::PUT, &url, notification.id, &payload);
        if let Some(token) = sensitive(&format!("Bearer {}", self.token.expose_secret())) {
            request = request.header(AUTHORIZATION, token);
        }
        let answer = self.http.exchange(request).await?;
        let said = answer.json().unwrap_or_default();
        let wait = said
            .get("retry_after_ms")
            .and_then(Value::as_u64)
            .map(Duration::from_millis);
        self.http.judge(answer).map_err(|refusal| match wait {
            Some(wait) if refusal.retry == Retry::Later => refusal.retry_after(wait),
            _ => refusal,
        })?;
        let event = said.get("event_id").and_then(Value::as_str);
        Ok(event.map(Receipt::with_reference).unwrap_or_default())
    }
}
