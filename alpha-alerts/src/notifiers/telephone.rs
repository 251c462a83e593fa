//! The receiver `telephone`: calls and short messages through Twilio, or a gateway that speaks its language
//! (<https://www.twilio.com/docs/voice/api/call-resource#create-a-call-resource>).

use async_trait::async_trait;
use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use url::form_urlencoded;

use super::http::{HttpClient, Way, sensitive};
use super::limit::Limit;
use super::markup::Dialect;
use super::template::{Message, Renderer};
use super::{Integration, Parts, Problems, RateConfig, TelephoneConfig, TelephoneMode};
use crate::notification::Notification;
use crate::notifier::{Notifier, Receipt, Refusal};
use crate::text::Text;
use std::sync::Arc;

const GATEWAY: &str = "https://api.twilio.com";

/// A number dials one call a second.
const RATE: RateConfig = RateConfig::new(30, 3);

/// What is read aloud: longer than half a minute nobody listens.
const SPOKEN: Limit = Limit::Characters(400);

/// What a short message holds before the gateway refuses it.
const WRITTEN: Limit = Limit::Characters(1500);

#[derive(Debug)]
struct Telephone {
    url: Url,
    authorization: HeaderValue,
    from: String,
    to: String,
    mode: TelephoneMode,
    http: HttpClient,
    renderer: Arc<Renderer>,
}

pub(super) fn build(config: &TelephoneConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let account = problems.required_text("account", &config.account);
    let token = problems.required_secret("token", config.token.as_ref());
    let from = problems.required_text("from", &config.from);
    if config.to.is_empty() {
        problems.missing("to");
    }
    let url = problems.url("url", config.url.as_ref(), GATEWAY);
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Plain);
    let pair = account.as_ref().zip(token.as_ref()).map(|(account, token)| {
        let pair = format!("{account}:{}", token.expose_secret());
        SecretString::from(base64::engine::general_purpose::STANDARD.encode(pair))
    });
    let authorization = pair
        .as_ref()
        .and_then(|pair| sensitive(&format!("Basic {}", pair.expose_secret())));
    let http = problems.http(
        Way::through(&config.proxy),
        token.into_iter().chain(pair).collect(),
    );
    let url = url
        .zip(account)
        .map(|(url, account)| resource(url, &account, config.mode));
    let all = url.zip(authorization).zip(from).zip(http).zip(renderer);
    let all = problems.finish(all)?;
    let ((((url, authorization), from), http), renderer) = all;
    let renderer = Arc::new(renderer);
    // Each number is told by itself: whoever was reached is not called again because another was busy.
    let integrations = config.to.iter().enumerate().map(|(part, to)| {
        let telephone = Telephone {
            url: url.clone(),
            authorization: authorization.clone(),
            from: from.clone(),
            to: to.clone(),
            mode: config.mode,
            http: http.clone(),
            renderer: Arc::clone(&renderer),
        };
        let rate = config.rate.or(Some(RATE));
        parts.integration_of(part, Arc::new(telephone), config.send_resolved, rate)
    });
    Ok(integrations.collect())
}

fn resource(mut url: Url, account: &str, mode: TelephoneMode) -> Url {
    let file = match mode {
        TelephoneMode::Call => "Calls.json",
        TelephoneMode::Sms => "Messages.json",
    };
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty()
            .extend(["2010-04-01", "Accounts", account, file]);
    }
    url
}

/// What is said, twice, because nobody understands the first words of a call at night.
fn twiml(message: &Message<'_>) -> String {
    let language = message.say("en-US", "cmn-CN");
    let said = Dialect::Html.escape(&message.title(SPOKEN));
    format!(
        r#"<Response><Say language="{language}">{said}</Say><Pause length="1"/><Say language="{language}">{said}</Say></Response>"#
    )
}

impl Telephone {
    fn form(&self, notification: &Notification) -> String {
        let message = self.renderer.message(notification);
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("To", &self.to).append_pair("From", &self.from);
        match self.mode {
            TelephoneMode::Call => form.append_pair("Twiml", &twiml(&message)),
            TelephoneMode::Sms => form.append_pair("Body", &written(&message)),
        };
        form.finish()
    }
}

/// The title, and how to acknowledge.
fn written(message: &Message<'_>) -> String {
    let link = message.acknowledge.as_deref().map(|url| format!("\n{url}"));
    let link = link.filter(|link| WRITTEN.admits(link)).unwrap_or_default();
    message.title(WRITTEN.less(&link)) + &link
}

#[async_trait]
impl Notifier for Telephone {
    fn kind(&self) -> &'static str {
        "telephone"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let form = self.form(notification).into_bytes();
        let request = self
            .http
            .post(
                &self.url,
                notification.id,
                "application/x-www-form-urlencoded",
                form,
            )
            .header(AUTHORIZATION, &self.authorization);
        let answer = self.http.send(request).await?;
        let said = answer.json().unwrap_or_default();
        let sid = said.get("sid").and_then(serde_json::Value::as_str);
        Ok(sid.map(Receipt::with_reference).unwrap_or_default())
    }
}
