//! The receiver `dingtalk`: a robot of a group (<https://open.dingtalk.com/document/orgapp/custom-robots-send-group-messages>).
//!
//! It answers 200 and puts the outcome into `errcode`.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use reqwest::Method;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::http::{HttpClient, SecretUrl, Way};
use super::limit::Limit;
use super::markup::Dialect;
use super::template::Renderer;
use super::{DingtalkConfig, Integration, Parts, Problems, RateConfig};
use crate::notification::{Event, Notification};
use crate::notifier::{Notifier, Receipt, Refusal, Retry};
use crate::severity::Severity;
use crate::text::Text;

/// Above 20 messages a minute the robot is mute for ten.
const RATE: RateConfig = RateConfig::new(15, 5);

/// How long it is mute.
const MUTE: Duration = Duration::from_secs(600);

/// A request may have 20,000 bytes; JSON writes a line break as two.
const TEXT: Limit = Limit::Bytes(12_000);
const TITLE: Limit = Limit::Bytes(256);

#[derive(Debug)]
struct Dingtalk {
    url: SecretUrl,
    secret: Option<SecretString>,
    mention: Vec<String>,
    mentions_all_on_p0: bool,
    http: HttpClient,
    renderer: Renderer,
}

pub(super) fn build(config: &DingtalkConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let url = problems.required_url("webhook_url", config.webhook_url.as_ref());
    let secret = problems.secret("secret", config.secret.as_ref());
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Dingtalk);
    let secrets = url.iter().flat_map(SecretUrl::secrets).chain(secret.clone());
    let http = problems.http(Way::through(&config.proxy), secrets.collect());
    let dingtalk = url
        .zip(http)
        .zip(renderer)
        .map(|((url, http), renderer)| Dingtalk {
            url,
            secret,
            mention: config.mention.clone(),
            mentions_all_on_p0: config.mention_all_on_p0,
            http,
            renderer,
        });
    let dingtalk = problems.finish(dingtalk)?;
    Ok(vec![parts.integration(
        dingtalk,
        config.send_resolved,
        config.rate.or(Some(RATE)),
    )])
}

/// `base64(HMAC-SHA256(secret, "{milliseconds}\n{secret}"))`.
fn sign(secret: &str, millisecond: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{millisecond}\n{secret}").as_bytes());
    base64::engine::general_purpose::STANDARD.encode(tag)
}

impl Dingtalk {
    fn signed_url(&self) -> Url {
        let mut url = self.url.expose().clone();
        if let Some(secret) = &self.secret {
            let now = self.http.now().as_millisecond();
            url.query_pairs_mut()
                .append_pair("timestamp", &now.to_string())
                .append_pair("sign", &sign(secret.expose_secret(), now));
        }
        url
    }

    fn payload(&self, notification: &Notification) -> Value {
        let message = self.renderer.message(notification);
        let is_firing = notification.event == Event::Firing;
        let mentioned: &[String] = if is_firing { &self.mention } else { &[] };
        // Only who is named in the text too is mentioned.
        let names: String = mentioned.iter().map(|number| format!(" @{number}")).collect();
        let text = message.titled_text(TEXT.less(&names)) + &names;
        let everybody = self.mentions_all_on_p0 && is_firing && notification.severity == Severity::P0;
        json!({
            "msgtype": "markdown",
            "markdown": { "title": TITLE.cut(&message.title(TITLE), Dialect::Dingtalk), "text": text },
            "at": { "atMobiles": mentioned, "isAtAll": everybody },
        })
    }
}

/// Too fast, and busy; all else is a wrong token, signature, keyword or address.
fn retry(code: i64) -> Retry {
    match code {
        130_101 | 410_100 => Retry::After(MUTE),
        -1 => Retry::Later,
        _ => Retry::Never,
    }
}

#[async_trait]
impl Notifier for Dingtalk {
    fn kind(&self) -> &'static str {
        "dingtalk"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let payload = self.payload(notification);
        let request = self
            .http
            .json(Method::POST, &self.signed_url(), notification.id, &payload);
        let answer = self.http.exchange(request).await?;
        self.http.judge_code(answer, ["errcode", "errmsg"], retry)?;
        Ok(Receipt::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_python_computes() {
        // From DingTalk's own example in Python, with hmac, hashlib and base64.
        assert_eq!(
            sign("SEC-secret", 1_767_261_720_000),
            "vgemc/XDAeHw2le/ODB6c/UvIIpINIA0c+YTOLHiw14="
        );
    }
}
