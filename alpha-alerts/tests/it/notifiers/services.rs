//! What is particular to a service: codes inside a 200, waits inside a body, signatures, one integration for each person.

use std::time::Duration;

use alpha_alerts::notifier::Retry;
use alpha_alerts::notifiers::*;
use alpha_alerts::testing::notifier::{environment, sample};
use alpha_alerts::testing::receiver::{Answer, ScriptedReceiver};
use alpha_alerts::{Event, Severity};
use serde_json::json;

use super::{built, notifier, secret};

/// Tells a P1 and returns what came of it: `None` where it was taken.
async fn told(
    answer: Answer,
    fill: impl Fn(&mut ReceiverConfig, &ScriptedReceiver),
) -> Option<(Retry, bool, String)> {
    let receiver = ScriptedReceiver::start().await;
    receiver.script([answer]);
    let notifier = notifier(&environment(), |config| fill(config, &receiver));
    let told = notifier.notify(&sample(Severity::P1, Event::Firing)).await;
    told.err()
        .map(|refusal| (refusal.retry, refusal.is_certain, refusal.reason.to_string()))
}

fn dingtalk(config: &mut ReceiverConfig, receiver: &ScriptedReceiver) {
    let mut dingtalk = DingtalkConfig::default();
    dingtalk.webhook_url = secret(receiver.url("/robot/send?access_token=0123456789").as_str());
    config.dingtalk.push(dingtalk);
}

fn feishu(config: &mut ReceiverConfig, receiver: &ScriptedReceiver) {
    let mut feishu = FeishuConfig::default();
    feishu.webhook_url = secret(receiver.url("/open-apis/bot/v2/hook/0123456789").as_str());
    config.feishu.push(feishu);
}

fn wecom(config: &mut ReceiverConfig, receiver: &ScriptedReceiver) {
    let mut wecom = WecomConfig::default();
    wecom.webhook_url = secret(receiver.url("/cgi-bin/webhook/send?key=0123456789").as_str());
    config.wecom.push(wecom);
}

fn slack(config: &mut ReceiverConfig, receiver: &ScriptedReceiver) {
    let mut slack = SlackConfig::default();
    slack.webhook_url = secret(receiver.url("/services/T000/B000/0123456789").as_str());
    config.slack.push(slack);
}

#[tokio::test]
async fn a_code_inside_a_200_is_a_refusal() {
    let minutes = |minutes: u64| Retry::After(Duration::from_secs(60 * minutes));
    let code = |key: &str, message: &str, code: i64| Answer::json(&json!({ key: code, message: "why not" }));
    for (number, expected) in [
        (310_000, Retry::Never),
        (130_101, minutes(10)),
        (-1, Retry::Later),
    ] {
        let (retry, is_certain, reason) = told(code("errcode", "errmsg", number), dingtalk).await.unwrap();
        assert_eq!((retry, is_certain), (expected, true), "{number}");
        assert_eq!(reason, format!("error {number}: why not"));
    }
    for (number, expected) in [(40_058, Retry::Never), (45_009, minutes(1)), (-1, Retry::Later)] {
        let (retry, ..) = told(code("errcode", "errmsg", number), wecom).await.unwrap();
        assert_eq!(retry, expected, "{number}");
    }
    for (number, expected) in [(19_021, Retry::Never), (11_232, minutes(1))] {
        let (retry, ..) = told(code("code", "msg", number), feishu).await.unwrap();
        assert_eq!(retry, expected, "{number}");
        let (retry, ..) = told(code("StatusCode", "StatusMessage", number), feishu)
            .await
            .unwrap();
        assert_eq!(retry, expected, "{number} as older servers say it");
    }
    assert_eq!(told(code("StatusCode", "StatusMessage", 0), feishu).await, None);
}

#[tokio::test]
async fn a_code_inside_a_400_keeps_its_meaning() {
    let limited = Answer::status(400).with_body(r#"{"code":11232,"msg":"frequency limited"}"#);
    let (retry, ..) = told(limited, feishu).await.unwrap();
    assert_eq!(retry, Retry::After(Duration::from_secs(60)));
    let busy = Answer::status(503)
        .with_header("retry-after", "7")
        .with_body(r#"{"errcode":99,"errmsg":"?"}"#);
    let (retry, ..) = told(busy, dingtalk).await.unwrap();
    assert_eq!(retry, Retry::After(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_answer_that_cannot_be_understood_leaves_it_open() {
    for fill in [dingtalk, feishu, wecom] {
        let (retry, is_certain, _) = told(Answer::status(200).with_body("<html>"), fill).await.unwrap();
        assert_eq!((retry, is_certain), (Retry::Later, false));
    }
}

#[tokio::test]
async fn slack_says_why_in_plain_text_and_how_long_in_the_body() {
    for (status, body) in [
        (400, "invalid_payload"),
        (403, "action_prohibited"),
        (404, "channel_not_found"),
        (410, "channel_is_archived"),
    ] {
        let (retry, _, reason) = told(Answer::status(status).with_body(body), slack).await.unwrap();
        assert_eq!((retry, reason), (Retry::Never, format!("HTTP {status}: {body}")));
    }
    let (retry, _, reason) = told(Answer::status(500).with_body("rollup_error"), slack)
        .await
        .unwrap();
    assert_eq!((retry, &*reason), (Retry::Later, "HTTP 500: rollup_error"));
    let limited = r#"{"retry_after":1,"ok":false,"error":"rate_limited"}"#;
    let (retry, ..) = told(Answer::status(429).with_body(limited), slack).await.unwrap();
    assert_eq!(retry, Retry::After(Duration::from_secs(1)));
    let (retry, ..) = told(Answer::status(200).with_body(limited), slack).await.unwrap();
    assert_eq!(retry, Retry::After(Duration::from_secs(1)));
    let refused = r#"{"ok":false,"error":"invalid_blocks"}"#;
    let (retry, ..) = told(Answer::status(200).with_body(refused), slack).await.unwrap();
    assert_eq!(retry, Retry::Never);
}

#[tokio::test]
async fn waits_of_sendgrid_telegram_discord_and_matrix() {
    let after = |milliseconds| Some(Retry::After(Duration::from_millis(milliseconds)));
    let retry = |told: Option<(Retry, bool, String)>| told.map(|(retry, ..)| retry);
    // The environment's clock shows 1767261725.
    let answer = Answer::status(429).with_header("X-RateLimit-Reset", "1767261755");
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut sendgrid = SendgridConfig::default();
        sendgrid.api_key = secret("SG.0123456789");
        sendgrid.url = Some(receiver.url("/v3/mail/send"));
        sendgrid.from = "alerts@example.org".to_owned();
        sendgrid.to = vec!["li@example.org".to_owned()];
        config.sendgrid.push(sendgrid);
    };
    assert_eq!(retry(told(answer, fill).await), after(30_000));

    let answer = Answer::status(429).with_body(
        r#"{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":9}}"#,
    );
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut telegram = TelegramConfig::default();
        telegram.token = secret("123:0123456789");
        telegram.chat = "@ops".to_owned();
        telegram.url = Some(receiver.url("/"));
        config.telegram.push(telegram);
    };
    assert_eq!(retry(told(answer, fill).await), after(9_000));

    let answer = Answer::status(429)
        .with_header("retry-after", "1")
        .with_body(r#"{"message":"You are being rate limited.","retry_after":0.65,"global":false}"#);
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut discord = DiscordConfig::default();
        discord.webhook_url = secret(receiver.url("/api/webhooks/1/0123456789").as_str());
        config.discord.push(discord);
    };
    assert_eq!(retry(told(answer, fill).await), after(650));

    let answer = Answer::status(429).with_body(r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":2500}"#);
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut matrix = MatrixConfig::default();
        matrix.homeserver = Some(receiver.url("/"));
        matrix.access_token = secret("0123456789");
        matrix.room = "!a:example.org".to_owned();
        config.matrix.push(matrix);
    };
    assert_eq!(retry(told(answer, fill).await), after(2_500));
}

#[tokio::test]
async fn pagerduty_speaks_of_one_incident_from_trigger_to_resolve() {
    let receiver = ScriptedReceiver::start().await;
    receiver.otherwise(Answer::status(202).with_body(r#"{"status":"success"}"#));
    let notifier = notifier(&environment(), |config| {
        let mut pagerduty = PagerdutyConfig::default();
        pagerduty.routing_key = secret("0123456789abcdef0123456789abcdef");
        pagerduty.url = Some(receiver.url("/v2/enqueue"));
        config.pagerduty.push(pagerduty);
    });
    let mut notification = sample(Severity::P0, Event::Firing);
    notification.group = r#"{}:{alertname="X"}"#.into();
    for (event, action) in [
        (Event::Firing, "trigger"),
        (Event::Acknowledged, "acknowledge"),
        (Event::Resolved, "resolve"),
    ] {
        notification.event = event;
        let receipt = notifier.notify(&notification).await.unwrap();
        let told = receiver.take().remove(0).json();
        assert_eq!(told["event_action"], action);
        // Read from Alertmanager.
        let key = "25fb0bff77cf7f8850f1cb3aeea9e63be0fbd3e78a8c0ef038392ade26e7d3a6";
        assert_eq!(told["dedup_key"], key);
        assert_eq!(receipt.reference.as_deref(), Some(key));
    }
}

#[tokio::test]
async fn an_event_that_is_too_large_for_pagerduty_loses_its_details_only() {
    let receiver = ScriptedReceiver::start().await;
    let notifier = notifier(&environment(), |config| {
        let mut pagerduty = PagerdutyConfig::default();
        pagerduty.routing_key = secret("0123456789abcdef0123456789abcdef");
        pagerduty.url = Some(receiver.url("/"));
        config.pagerduty.push(pagerduty);
    });
    let flood = alpha_alerts::testing::notifier::flood(200);
    notifier.notify(&flood).await.unwrap();
    let payload = &receiver.take()[0].json()["payload"];
    assert_eq!(payload["custom_details"].as_object().unwrap().len(), 1);
    assert!(
        payload["summary"]
            .as_str()
            .unwrap()
            .starts_with("[P0 FIRING:200] 链停止")
    );
}

#[tokio::test]
async fn everybody_on_the_telephone_is_an_integration() {
    let receiver = ScriptedReceiver::start().await;
    let integrations = built(&environment(), |config| {
        let mut telephone = TelephoneConfig::default();
        telephone.url = Some(receiver.url("/"));
        telephone.account = "AC1".to_owned();
        telephone.token = secret("0123456789");
        telephone.from = "+1".to_owned();
        telephone.to = vec!["+2".to_owned(), "+3".to_owned()];
        config.telephone.push(telephone);
    });
    let ids: Vec<&str> = integrations
        .iter()
        .map(|integration| integration.id.as_str())
        .collect();
    assert_eq!(ids, ["ops/telephone/0", "ops/telephone/0.1"]);
    assert!(integrations.iter().all(|integration| !integration.send_resolved));
    let mut notification = sample(Severity::P0, Event::Firing);
    notification.alerts[0].labels = alpha_alerts::Labels::new([("alertname", "<Dial>+900</Dial>")]);
    notification.group_labels = Default::default();
    for integration in &integrations {
        integration.notifier.notify(&notification).await.unwrap();
    }
    let told = receiver.take();
    assert_eq!(told[0].target, "/2010-04-01/Accounts/AC1/Calls.json");
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&told[1].body).into_owned().collect();
    assert_eq!(form[0], ("To".to_owned(), "+3".to_owned()));
    assert!(
        form[2].1.contains("&lt;Dial&gt;+900&lt;/Dial&gt;"),
        "{}",
        form[2].1
    );
}

#[tokio::test]
async fn a_button_of_slack_acknowledges_by_its_app_or_opens_a_link() {
    let receiver = ScriptedReceiver::start().await;
    let mut notification = sample(Severity::P0, Event::Firing);
    notification.incident = Some(alpha_alerts::incident::IncidentId(17));
    for (is_interactive, action) in [(true, "alpha_acknowledge"), (false, "alpha_acknowledge_link")] {
        let notifier = notifier(&environment(), |config| {
            slack(config, &receiver);
            config.slack[0].blocks = true;
            config.slack[0].interactive = is_interactive;
        });
        notifier.notify(&notification).await.unwrap();
        let told = receiver.take().remove(0).json();
        let button = &told["attachments"][0]["blocks"][1]["elements"][0];
        assert_eq!(
            (&button["action_id"], &button["value"]),
            (&json!(action), &json!("17"))
        );
        assert_eq!(button.get("url").is_none(), is_interactive);
    }
}

#[tokio::test]
async fn a_proxy_is_gone_through() {
    let proxy = ScriptedReceiver::start().await;
    let notifier = notifier(&environment(), |config| {
        let mut webhook = WebhookConfig::default();
        webhook.url = Some("http://receiver.invalid/hook".parse().unwrap());
        webhook.proxy = Some(proxy.url("/"));
        config.webhook.push(webhook);
    });
    notifier
        .notify(&sample(Severity::P3, Event::Firing))
        .await
        .unwrap();
    assert_eq!(proxy.received()[0].target, "http://receiver.invalid/hook");
}

#[tokio::test]
async fn certificates_are_verified_before_anything_is_sent() {
    use testbed::CertificateState;
    let locations = "location /hook { return 204; }";
    let nginx = testbed::need!(testbed::Nginx::start(
        &testbed::NginxConfig::default()
            .with_locations(locations)
            .with_access_log()
    ));
    let tell = async |state: CertificateState, ca_file: Option<std::path::PathBuf>| {
        let notifier = notifier(&environment(), |config| {
            let mut webhook = WebhookConfig::default();
            webhook.url = Some(nginx.tls_url(state, "/hook").parse().unwrap());
            webhook.ca_file = ca_file;
            config.webhook.push(webhook);
        });
        notifier.notify(&sample(Severity::P3, Event::Firing)).await
    };
    let bad = [
        CertificateState::Expired,
        CertificateState::WrongName,
        CertificateState::Untrusted,
    ];
    let trusting = bad.map(|state| (state, Some(nginx.ca_path())));
    for (state, ca_file) in trusting.into_iter().chain([(CertificateState::Valid, None)]) {
        let refusal = tell(state, ca_file).await.unwrap_err();
        assert!(
            refusal.is_certain && refusal.retry == Retry::Later,
            "{state:?}: {refusal:?}"
        );
        assert!(
            refusal.reason.to_string().contains("certificate"),
            "{state:?}: {refusal:?}"
        );
    }
    let logged = std::fs::read_to_string(nginx.access_log()).unwrap_or_default();
    assert!(!logged.contains("/hook"), "{logged}");
    tell(CertificateState::Valid, Some(nginx.ca_path()))
        .await
        .unwrap();
}
