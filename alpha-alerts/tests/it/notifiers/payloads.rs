//! What the plan's channels are sent for P0 to P3, and that it is what their services publish as their schema.

use alpha_alerts::notifiers::*;
use alpha_alerts::testing::notifier::{environment, sample};
use alpha_alerts::testing::receiver::{Answer, ScriptedReceiver};
use alpha_alerts::{Event, Notification, Severity};
use serde_json::Value;

use super::{notifier, secret};

/// What a receiver is sent for each severity, and when a P0 is over.
async fn told(fill: impl Fn(&mut ReceiverConfig, &ScriptedReceiver)) -> Vec<(String, Value)> {
    let receiver = ScriptedReceiver::start().await;
    receiver.otherwise(Answer::status(202).with_body(""));
    let notifier = notifier(&environment(), |config| fill(config, &receiver));
    let mut told = Vec::new();
    let firing = Severity::ALL.map(|severity| (severity, Event::Firing));
    for (severity, event) in firing.into_iter().chain([(Severity::P0, Event::Resolved)]) {
        notifier.notify(&sample(severity, event)).await.unwrap();
        told.push((format!("{severity} {event:?}"), receiver.take().remove(0).json()));
    }
    told
}

fn shown(told: &[(String, Value)]) -> String {
    let payloads = told
        .iter()
        .map(|(name, payload)| format!("== {name}\n{payload:#}\n"));
    payloads.collect()
}

#[tokio::test]
async fn slack() {
    let told = told(|config, receiver| {
        let mut slack = SlackConfig::default();
        slack.webhook_url = secret(receiver.url("/services/T/B/x").as_str());
        slack.channel = Some("#alerts".to_owned());
        config.slack.push(slack);
    })
    .await;
    // The plan's colours (M6), and the time as Slack wants it.
    let colors: Vec<&Value> = told
        .iter()
        .map(|(_, payload)| &payload["attachments"][0]["color"])
        .collect();
    assert_eq!(colors, ["danger", "warning", "good", "#439FE0", "good"]);
    for (_, payload) in &told {
        let attachment = &payload["attachments"][0];
        assert_eq!(attachment["ts"], 1_767_261_725);
        assert!(
            attachment["footer"].is_string(),
            "`ts` is refused without a footer"
        );
    }
    insta::assert_snapshot!(shown(&told));
}

#[tokio::test]
async fn slack_with_blocks() {
    let told = told(|config, receiver| {
        let mut slack = SlackConfig::default();
        slack.webhook_url = secret(receiver.url("/services/T/B/x").as_str());
        slack.blocks = true;
        config.slack.push(slack);
    })
    .await;
    insta::assert_snapshot!(shown(&told[..1]));
}

#[tokio::test]
async fn pagerduty() {
    let told = told(|config, receiver| {
        let mut pagerduty = PagerdutyConfig::default();
        pagerduty.routing_key = secret("0123456789abcdef0123456789abcdef");
        pagerduty.url = Some(receiver.url("/v2/enqueue"));
        config.pagerduty.push(pagerduty);
    })
    .await;
    for (name, event) in &told {
        events_v2(name, event);
    }
    let severities: Vec<&Value> = told
        .iter()
        .map(|(_, event)| &event["payload"]["severity"])
        .collect();
    assert_eq!(severities[..4], ["critical", "error", "warning", "info"]);
    insta::assert_snapshot!(shown(&told));
}

/// The schema of `POST /v2/enqueue` as PagerDuty publishes it: which keys there are, which must be there, of which type.
fn events_v2(name: &str, event: &Value) {
    let object = event.as_object().unwrap();
    let allowed = [
        "routing_key",
        "event_action",
        "dedup_key",
        "payload",
        "client",
        "client_url",
        "links",
        "images",
    ];
    assert!(object.keys().all(|key| allowed.contains(&key.as_str())), "{name}");
    assert_eq!(event["routing_key"].as_str().unwrap().len(), 32);
    let action = event["event_action"].as_str().unwrap();
    assert!(["trigger", "acknowledge", "resolve"].contains(&action));
    assert!(event["dedup_key"].as_str().unwrap().len() <= 255);
    if action != "trigger" {
        return;
    }
    let payload = event["payload"].as_object().unwrap();
    let allowed = [
        "summary",
        "source",
        "severity",
        "timestamp",
        "component",
        "group",
        "class",
        "custom_details",
    ];
    assert!(
        payload.keys().all(|key| allowed.contains(&key.as_str())),
        "{name}"
    );
    assert!(!payload["summary"].as_str().unwrap().is_empty());
    assert!(!payload["source"].as_str().unwrap().is_empty());
    assert!(["critical", "error", "warning", "info"].contains(&payload["severity"].as_str().unwrap()));
    assert!(
        payload["timestamp"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .is_ok()
    );
    assert!(payload["custom_details"].is_object());
    for link in event["links"].as_array().unwrap() {
        assert!(link["href"].is_string() && link["text"].is_string());
    }
}

#[tokio::test]
async fn sendgrid() {
    let told = told(|config, receiver| {
        let mut sendgrid = SendgridConfig::default();
        sendgrid.api_key = secret("SG.0123456789");
        sendgrid.url = Some(receiver.url("/v3/mail/send"));
        sendgrid.from = "Alpha <alerts@example.org>".to_owned();
        sendgrid.to = ["li@example.org", "ann@example.org", "li@example.org"]
            .map(str::to_owned)
            .to_vec();
        config.sendgrid.push(sendgrid);
    })
    .await;
    for (_, mail) in &told {
        mail_send(mail);
    }
    insta::assert_snapshot!(shown(&told[..1]));
}

/// The schema of `POST /v3/mail/send` as SendGrid publishes it.
fn mail_send(mail: &Value) {
    let object = mail.as_object().unwrap();
    let allowed = [
        "personalizations",
        "from",
        "subject",
        "content",
        "headers",
        "custom_args",
    ];
    assert!(object.keys().all(|key| allowed.contains(&key.as_str())));
    let personalizations = mail["personalizations"].as_array().unwrap();
    assert!((1..=1000).contains(&personalizations.len()));
    let mut seen = std::collections::BTreeSet::new();
    for personalization in personalizations {
        let to = personalization["to"].as_array().unwrap();
        assert_eq!(to.len(), 1, "nobody sees another's address");
        assert!(
            seen.insert(to[0]["email"].as_str().unwrap()),
            "an address comes once"
        );
    }
    assert!(mail["from"]["email"].is_string());
    let content = mail["content"].as_array().unwrap();
    // Plain text has to come first.
    assert_eq!(
        (&content[0]["type"], &content[1]["type"]),
        (&"text/plain".into(), &"text/html".into())
    );
    let reserved = [
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-transfer-encoding",
        "content-type",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    ];
    for (name, value) in mail["headers"].as_object().unwrap() {
        assert!(!reserved.contains(&&*name.to_ascii_lowercase()) && value.is_string());
    }
    for value in mail["custom_args"].as_object().unwrap().values() {
        assert!(value.is_string());
    }
}

#[tokio::test]
async fn webhook() {
    let told = told(|config, receiver| {
        let mut webhook = WebhookConfig::default();
        webhook.url = Some(receiver.url("/hook"));
        config.webhook.push(webhook);
    })
    .await;
    insta::assert_snapshot!(shown(&told));
}

#[tokio::test]
async fn the_chat_services() {
    let receiver = ScriptedReceiver::start().await;
    let url = receiver.url("/hook/0123456789");
    let hook = || secret(url.as_str());
    let environment = environment().with_language(Language::Zh);
    let integrations = super::built(&environment, |config| {
        let mut dingtalk = DingtalkConfig::default();
        (dingtalk.webhook_url, dingtalk.mention) = (hook(), vec!["13800000000".to_owned()]);
        config.dingtalk.push(dingtalk);
        let mut feishu = FeishuConfig::default();
        feishu.webhook_url = hook();
        config.feishu.push(feishu);
        let mut wecom = WecomConfig::default();
        wecom.webhook_url = hook();
        config.wecom.push(wecom);
        let mut telegram = TelegramConfig::default();
        (telegram.token, telegram.chat) = (secret("1:2"), "-100".to_owned());
        telegram.url = Some(receiver.url("/"));
        config.telegram.push(telegram);
        let mut discord = DiscordConfig::default();
        discord.webhook_url = hook();
        config.discord.push(discord);
        let mut teams = TeamsConfig::default();
        teams.webhook_url = hook();
        config.teams.push(teams);
        let mut matrix = MatrixConfig::default();
        (matrix.homeserver, matrix.room) = (Some(receiver.url("/")), "!r:x".to_owned());
        matrix.access_token = secret("token");
        config.matrix.push(matrix);
        let mut ntfy = NtfyConfig::default();
        (ntfy.server, ntfy.topic) = (Some(receiver.url("/")), secret("topic"));
        config.ntfy.push(ntfy);
    });
    let mut told = Vec::new();
    for integration in integrations {
        // Those with a code in the answer find none; what was sent is what counts here.
        let _ = integration.notifier.notify(&late()).await;
        told.push((integration.id.to_string(), receiver.take().remove(0).json()));
    }
    insta::assert_snapshot!(shown(&told));
}

/// It fired at 10:02, was over at 10:09, and nobody heard of it until now.
fn late() -> Notification {
    let mut notification = sample(Severity::P0, Event::Resolved);
    let end: jiff::Timestamp = "2026-01-01T10:09:00Z".parse().unwrap();
    notification.alerts[0].ends_at = end;
    notification.created_at = end;
    notification.late = Some(alpha_alerts::Lateness {
        since: "2026-01-01T10:02:05Z".parse().unwrap(),
        because: "HTTP 500".to_owned(),
        merged: 1,
    });
    notification
}
