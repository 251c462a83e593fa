//! The receiver `wecom`: a robot of a group (<https://developer.work.weixin.qq.com/document/path/91770>).
//!
//! It answers 200 and puts the outcome into `errcode`.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{HttpClient, SecretUrl, Way};
use super::limit::Limit;
use super::markup::Dialect;
use super::template::Renderer;
use super::{Integration, Parts, Problems, RateConfig, WecomConfig};
use crate::notification::{Event, Notification};
use crate::notifier::{Notifier, Receipt, Refusal, Retry};
use crate::text::Text;

/// A robot takes 20 messages a minute.
const RATE: RateConfig = RateConfig::new(15, 5);

/// What a message in Markdown holds, in bytes of UTF-8; one more is error 40058.
const TEXT: Limit = Limit::Bytes(4096);

#[derive(Debug)]
struct Wecom {
    url: SecretUrl,
    mention: Vec<String>,
    http: HttpClient,
    renderer: Renderer,
}

pub(super) fn build(config: &WecomConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let url = problems.required_url("webhook_url", config.webhook_url.as_ref());
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Wecom);
    let secrets = url.iter().flat_map(SecretUrl::secrets).collect();
    let http = problems.http(Way::through(&config.proxy), secrets);
    let wecom = url.zip(http).zip(renderer).map(|((url, http), renderer)| Wecom {
        url,
        mention: config.mention.clone(),
        http,
        renderer,
    });
    let wecom = problems.finish(wecom)?;
    Ok(vec![parts.integration(
        wecom,
        config.send_resolved,
        config.rate.or(Some(RATE)),
    )])
}

impl Wecom {
    fn payload(&self, notification: &Notification) -> Value {
        let message = self.renderer.message(notification);
        let mentioned: String = self
            .mention
            .iter()
            .filter(|_| notification.event == Event::Firing)
            .map(|user| format!("<@{user}>"))
            .collect();
        let content = message.titled_text(TEXT.less(&mentioned)) + &mentioned;
        json!({ "msgtype": "markdown", "markdown": { "content": content } })
    }
}

/// Too fast, and busy; all else is a wrong key or message.
fn retry(code: i64) -> Retry {
    match code {
        45_009 | 45_033 => Retry::After(Duration::from_secs(60)),
        -1 => Retry::Later,
        _ => Retry::Never,
    }
}

#[async_trait]
impl Notifier for Wecom {
    fn kind(&self) -> &'static str {
        "wecom"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let payload = self.payload(notification);
        let request = self
            .http
            .json(Method::POST, self.url.expose(), notification.id, &payload);
        let answer = self.http.exchange(request).await?;
        self.http.judge_code(answer, ["errcode", "errmsg"], retry)?;
        Ok(Receipt::default())
    }
}
