//! The receiver `teams`: a workflow of Power Automate ("When a Teams webhook request is received") that posts an Adaptive Card.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{HttpClient, SecretUrl, Way};
use super::limit::Limit;
use super::markup::Dialect;
use super::template::Renderer;
use super::{Integration, Parts, Problems, RateConfig, TeamsConfig};
use crate::notification::{Event, Notification};
use crate::notifier::{Notifier, Receipt, Refusal};
use crate::severity::Severity;
use crate::text;
use crate::text::Text;

/// Teams takes 4 messages a second and 60 in 30 seconds; workflows have limits of their own below that.
const RATE: RateConfig = RateConfig::new(50, 4);

/// A message may have 28 KB; JSON writes a line break as two bytes.
const TEXT: Limit = Limit::Bytes(12_000);
const TITLE: Limit = Limit::Bytes(1000);

#[derive(Debug)]
struct Teams {
    url: SecretUrl,
    http: HttpClient,
    renderer: Renderer,
}

pub(super) fn build(config: &TeamsConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let url = problems.required_url("webhook_url", config.webhook_url.as_ref());
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Teams);
    let secrets = url.iter().flat_map(SecretUrl::secrets).collect();
    let http = problems.http(Way::through(&config.proxy), secrets);
    let teams = url.zip(http).zip(renderer);
    let teams = teams.map(|((url, http), renderer)| Teams { url, http, renderer });
    let teams = problems.finish(teams)?;
    Ok(vec![parts.integration(
        teams,
        config.send_resolved,
        config.rate.or(Some(RATE)),
    )])
}

/// The colours that an Adaptive Card knows.
fn color(notification: &Notification) -> &'static str {
    match (notification.event, notification.severity) {
        (Event::Resolved, _) => "Good",
        (_, Severity::P0) => "Attention",
        (_, Severity::P1 | Severity::P2) => "Warning",
        (_, Severity::P3) => "Accent",
    }
}

impl Teams {
    fn payload(&self, notification: &Notification) -> Value {
        let message = self.renderer.message(notification);
        let open = |title: &str, url: Option<&str>| {
            let url = url.filter(|url| url.starts_with("https://") || url.starts_with("http://"))?;
            Some(json!({ "type": "Action.OpenUrl", "title": title, "url": url }))
        };
        let actions = [
            open(message.say("Acknowledge", "认领"), message.acknowledge.as_deref()),
            open(message.say("Silence", "静默"), message.silence.as_deref()),
            open(message.say("Runbook", "处置手册"), message.runbook()),
        ];
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        {
                            "type": "TextBlock",
                            "text": TITLE.cut(&message.title(TITLE), Dialect::Teams),
                            "weight": "Bolder",
                            "size": "Medium",
                            "color": color(notification),
                            "wrap": true,
                        },
                        { "type": "TextBlock", "text": message.text(TEXT), "wrap": true },
                    ],
                    "actions": actions.into_iter().flatten().collect::<Vec<_>>(),
                    "msteams": { "width": "Full" },
                },
            }],
        })
    }
}

#[async_trait]
impl Notifier for Teams {
    fn kind(&self) -> &'static str {
        "teams"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let payload = self.payload(notification);
        let request = self
            .http
            .json(Method::POST, self.url.expose(), notification.id, &payload);
        let answer = self.http.send(request).await?;
        // The connectors that workflows replaced answer 200 and say in words that Teams throttled them.
        if answer
            .body
            .contains("Microsoft Teams endpoint returned HTTP error 429")
        {
            let reason = text!(
                "Teams took too much: {said}",
                said = self.http.excerpt(&answer.body)
            );
            return Err(Refusal::transient(reason).with_status(answer.status));
        }
        Ok(Receipt::default())
    }
}
