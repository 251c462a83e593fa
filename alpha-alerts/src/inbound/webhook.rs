//! The webhooks that Alertmanager (version 4) and Grafana send: another installation's alerts come in here.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Inbound;
use super::access::Inlet;
use super::body::read_body;
use super::config::InletKind;
use super::posted::Instant;
use super::refusal::Refusal;
use crate::alert::Alert;
use crate::command::Command;
use crate::label::Labels;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    alerts: Vec<Value>,
    /// How many the sender left out.
    #[serde(default)]
    truncated_alerts: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebhookAlert {
    status: Status,
    labels: Labels,
    #[serde(default)]
    annotations: Labels,
    starts_at: Option<Instant>,
    ends_at: Option<Instant>,
    #[serde(default, rename = "generatorURL")]
    generator_url: Box<str>,
    /// Grafana's.
    #[serde(default, rename = "dashboardURL")]
    dashboard_url: String,
    #[serde(default, rename = "panelURL")]
    panel_url: String,
    #[serde(default, rename = "silenceURL")]
    silence_url: String,
    #[serde(default)]
    value_string: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

/// `POST /inlet/NAME`: 200 once the alerts are durable. Good alerts are kept where others are refused, with 400.
pub(super) async fn receive(
    State(inbound): State<Arc<Inbound>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let inlet = Inlet::of_request(&inbound.inlets, InletKind::Webhook, request.headers())
        .filter(|inlet| inlet.name == name)
        .ok_or_else(|| Refusal::coded(401, "the token of this inlet is needed".to_owned()))?;
    let body = read_body(request, &inbound.limits).await?;
    let now = inbound.backend.now();
    let (alerts, refused) = read_webhook(&body, inlet, now)?;
    inbound.measurements.received(&alerts, refused.len(), now);
    if !alerts.is_empty() {
        inbound.backend.execute(Command::Alerts(alerts)).await?;
    }
    if refused.is_empty() {
        return Ok(StatusCode::OK.into_response());
    }
    tracing::warn!(
        inlet = inlet.name,
        refused = refused.len(),
        reason = refused[0],
        "refused alerts"
    );
    Err(Refusal::coded(400, refused.join("; ")))
}

/// The good alerts of a webhook, and why others are refused.
fn read_webhook(body: &[u8], inlet: &Inlet, now: Timestamp) -> Result<(Vec<Alert>, Vec<String>), Refusal> {
    let text = String::from_utf8_lossy(body);
    let webhook: Webhook =
        serde_json::from_str(&text).map_err(|error| Refusal::unreadable("webhook", &error))?;
    if webhook.truncated_alerts > 0 {
        tracing::warn!(
            inlet = inlet.name,
            left_out = webhook.truncated_alerts,
            "the sender left alerts out: raise its `max_alerts`"
        );
    }
    let mut alerts = Vec::with_capacity(webhook.alerts.len());
    let mut refused = Vec::new();
    for (index, element) in webhook.alerts.into_iter().enumerate() {
        match WebhookAlert::deserialize(element) {
            Ok(posted) => match posted.into_alert(inlet, now) {
                Some(alert) => alerts.push(alert),
                None => refused.push(format!("alert {index} has no label")),
            },
            Err(error) => refused.push(format!("alert {index}: {error}")),
        }
    }
    Ok((alerts, refused))
}

impl WebhookAlert {
    fn into_alert(self, inlet: &Inlet, now: Timestamp) -> Option<Alert> {
        let labels = Labels::new(self.labels.iter().filter(|(_, value)| !value.is_empty()));
        if labels.is_empty() {
            return None;
        }
        let further = [
            ("dashboard_url", &self.dashboard_url),
            ("panel_url", &self.panel_url),
            ("silence_url", &self.silence_url),
            ("values", &self.value_string),
        ];
        let further = further
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, value.as_str()));
        let annotations = Labels::new(further.chain(self.annotations.iter()));
        let starts_at = self.starts_at.and_then(|instant| instant.0).unwrap_or(now);
        // A webhook comes when something changes and else only every few hours, so that silence does not mean an end.
        let mut alert = Alert::firing(inlet.labelled(&labels), starts_at).with_annotations(annotations);
        if matches!(self.status, Status::Resolved) {
            let ends_at = self.ends_at.and_then(|instant| instant.0).unwrap_or(now);
            alert = alert.resolved(ends_at.clamp(starts_at, now.max(starts_at)));
        }
        alert.updated_at = now;
        alert.generator_url = self.generator_url;
        Some(alert)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbound::InletConfig;
    use crate::secret::{NoSecrets, SecretRef};

    fn inlet() -> Inlet {
        let config = InletConfig {
            name: "grafana".to_owned(),
            kind: InletKind::Webhook,
            token: SecretRef::Given("t".into()),
            labels: [("origin", "grafana"), ("team", "db")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        Inlet::new(&config, &NoSecrets).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn alertmanagers_webhook_becomes_alerts() {
        let body = r#"{"version":"4","groupKey":"{}:{}","truncatedAlerts":0,"status":"firing","receiver":"alpha",
            "groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://am:9093",
            "alerts":[
              {"status":"firing","labels":{"alertname":"X","team":"web"},"annotations":{"summary":"s"},
               "startsAt":"2026-01-01T11:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://g","fingerprint":"00"},
              {"status":"resolved","labels":{"alertname":"Y"},"annotations":{},
               "startsAt":"2026-01-01T11:00:00Z","endsAt":"2026-01-01T11:30:00Z","generatorURL":"","fingerprint":"01"}]}"#;
        let (alerts, refused) = read_webhook(body.as_bytes(), &inlet(), now()).unwrap();
        assert!(refused.is_empty());
        assert_eq!(
            alerts[0].labels,
            Labels::new([("alertname", "X"), ("origin", "grafana"), ("team", "web")])
        );
        assert_eq!(alerts[0].ends_at, Timestamp::MAX);
        assert_eq!(&*alerts[0].generator_url, "http://g");
        assert_eq!(alerts[1].ends_at, "2026-01-01T11:30:00Z".parse().unwrap());
    }

    #[test]
    fn grafanas_webhook_says_more() {
        let body = r#"{"receiver":"alpha","status":"firing","orgId":1,"title":"t","message":"m",
            "alerts":[{"status":"firing","labels":{"alertname":"X","grafana_folder":"f"},"annotations":{"summary":"s"},
              "startsAt":"2026-01-01T11:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://g","fingerprint":"00",
              "silenceURL":"http://g/silence","dashboardURL":"","panelURL":"","values":{"B":22},
              "valueString":"[ var='B' value=22 ]"}]}"#;
        let (alerts, _) = read_webhook(body.as_bytes(), &inlet(), now()).unwrap();
        assert_eq!(
            alerts[0].annotations,
            Labels::new([
                ("silence_url", "http://g/silence"),
                ("summary", "s"),
                ("values", "[ var='B' value=22 ]")
            ])
        );
    }

    #[test]
    fn one_bad_alert_takes_no_other_with_it() {
        let body = r#"{"alerts":[{"status":"firing","labels":{}},{"status":"burning","labels":{"a":"1"}},
            {"status":"firing","labels":{"a":"2"}},7]}"#;
        let (alerts, refused) = read_webhook(body.as_bytes(), &inlet(), now()).unwrap();
        assert_eq!((alerts.len(), refused.len()), (1, 3));
        assert!(read_webhook(b"{}", &inlet(), now()).is_err());
    }
}
