//! Every receiver that speaks HTTP passes the conformance suite.

use alpha_alerts::notifiers::*;
use alpha_alerts::testing::notifier::{Subject, conformance};
use alpha_alerts::testing::receiver::{Answer, Received, ScriptedReceiver};
use serde_json::{Value, json};

use super::{notifier, secret};

/// Part of every secret of these tests.
const TOKEN: &str = "t0p-s3cr3t-token-0123456789abcdef";
const SIGNING: &str = "SEC0ther-s3cr3t-fedcba9876543210";

fn subject<'a>(
    fill: impl Fn(&mut ReceiverConfig, &ScriptedReceiver) + Send + Sync + 'a,
    accepted: Answer,
    check: impl Fn(&Received) + Send + Sync + 'a,
) -> Subject<'a> {
    Subject {
        build: Box::new(move |receiver, environment| notifier(environment, |config| fill(config, receiver))),
        accepted,
        secrets: vec![TOKEN.to_owned(), SIGNING.to_owned()],
        check: Box::new(check),
    }
}

fn hook(receiver: &ScriptedReceiver) -> Option<alpha_alerts::SecretRef> {
    secret(
        receiver
            .url(&format!("/services/T000/{TOKEN}?key={TOKEN}"))
            .as_str(),
    )
}

fn units(value: &Value) -> usize {
    value.as_str().unwrap().encode_utf16().count()
}

fn bytes(value: &Value) -> usize {
    value.as_str().unwrap().len()
}

#[tokio::test]
async fn slack() {
    let check = |received: &Received| {
        let attachment = &received.json()["attachments"][0];
        assert!((1..=3000).contains(&units(&attachment["text"])));
        assert!((1..=1024).contains(&units(&attachment["title"])));
        assert!((1..=300).contains(&units(&attachment["footer"])));
        assert!(attachment["ts"].is_i64());
        assert_eq!(attachment.get("timestamp"), None);
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut slack = SlackConfig::default();
        slack.webhook_url = hook(receiver);
        config.slack.push(slack);
    };
    conformance(&subject(fill, Answer::status(200), check)).await;
}

#[tokio::test]
async fn slack_with_blocks() {
    let check = |received: &Received| {
        let payload = received.json();
        let blocks = payload["attachments"][0]["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50);
        assert!((1..=1024).contains(&units(&payload["text"])));
        for block in blocks {
            match block["type"].as_str().unwrap() {
                "section" => assert!((1..=3000).contains(&units(&block["text"]["text"]))),
                "actions" => {
                    assert!(block["elements"].as_array().unwrap().len() <= 25);
                    assert!(units(&block["block_id"]) <= 255);
                    for button in block["elements"].as_array().unwrap() {
                        assert!(units(&button["value"]) <= 2000);
                        assert!(units(&button["text"]["text"]) <= 75);
                        assert!(units(&button["url"]) <= 3000);
                    }
                }
                "context" => assert!(block["elements"].as_array().unwrap().len() <= 10),
                other => panic!("a block of type {other}"),
            }
        }
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut slack = SlackConfig::default();
        slack.webhook_url = hook(receiver);
        slack.blocks = true;
        config.slack.push(slack);
    };
    conformance(&subject(fill, Answer::status(200), check)).await;
}

#[tokio::test]
async fn pagerduty() {
    let check = |received: &Received| {
        assert!(received.body.len() <= 512_000, "{} bytes", received.body.len());
        let event = received.json();
        assert!((1..=255).contains(&units(&event["dedup_key"])));
        if event["event_action"] == "trigger" {
            assert!((1..=1024).contains(&units(&event["payload"]["summary"])));
        }
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut pagerduty = PagerdutyConfig::default();
        pagerduty.routing_key = secret(TOKEN);
        pagerduty.url = Some(receiver.url("/v2/enqueue"));
        config.pagerduty.push(pagerduty);
    };
    let accepted =
        Answer::status(202).with_body(r#"{"status":"success","message":"Event processed","dedup_key":"x"}"#);
    conformance(&subject(fill, accepted, check)).await;
}

#[tokio::test]
async fn sendgrid() {
    let check = |received: &Received| {
        let mail = received.json();
        assert!((1..=998).contains(&bytes(&mail["subject"])));
        assert!(!mail["subject"].as_str().unwrap().contains('\n'));
        assert!(mail["custom_args"].to_string().len() < 10_000);
        assert!(received.body.len() < 30_000_000);
        for content in mail["content"].as_array().unwrap() {
            assert!(bytes(&content["value"]) >= 1);
        }
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut sendgrid = SendgridConfig::default();
        sendgrid.api_key = secret(TOKEN);
        sendgrid.url = Some(receiver.url("/v3/mail/send"));
        sendgrid.from = "Alpha <alerts@example.org>".to_owned();
        sendgrid.to = vec!["li@example.org".to_owned(), "ann@example.org".to_owned()];
        config.sendgrid.push(sendgrid);
    };
    conformance(&subject(fill, Answer::status(202).with_body(""), check)).await;
}

#[tokio::test]
async fn webhook() {
    let check = |received: &Received| {
        let payload = received.json();
        let alerts = payload["alerts"].as_array().unwrap().len();
        let truncated = payload["truncatedAlerts"].as_u64().unwrap();
        assert!(alerts <= 100);
        assert!([1, 3, 10_000].contains(&(alerts + usize::try_from(truncated).unwrap())));
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut webhook = WebhookConfig::default();
        webhook.secret_url = hook(receiver);
        webhook.bearer_token = secret(TOKEN);
        webhook.signature = Some(SignatureConfig::new(secret(SIGNING).unwrap()));
        webhook.secret_headers = [("x-api-key".to_owned(), secret(SIGNING).unwrap())].into();
        webhook.max_alerts = 100;
        config.webhook.push(webhook);
    };
    conformance(&subject(fill, Answer::status(200), check)).await;
}

#[tokio::test]
async fn telegram() {
    let check = |received: &Received| {
        let payload = received.json();
        let text = payload["text"].as_str().unwrap();
        assert!((1..=4096).contains(&units(&payload["text"])));
        for tag in ["b", "code", "a"] {
            let opened =
                text.matches(&format!("<{tag}>")).count() + text.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, text.matches(&format!("</{tag}>")).count(), "{text}");
        }
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut telegram = TelegramConfig::default();
        telegram.token = secret(&format!("123456:{TOKEN}"));
        telegram.chat = "-100123".to_owned();
        telegram.url = Some(receiver.url("/"));
        config.telegram.push(telegram);
    };
    let accepted = Answer::json(&json!({ "ok": true, "result": { "message_id": 7 } }));
    conformance(&subject(fill, accepted, check)).await;
}

#[tokio::test]
async fn discord() {
    let check = |received: &Received| {
        let payload = received.json();
        let embed = &payload["embeds"][0];
        assert!((1..=256).contains(&units(&embed["title"])));
        assert!((1..=4096).contains(&units(&embed["description"])));
        assert_eq!(payload["allowed_mentions"], json!({ "parse": [] }));
        assert!(received.target.ends_with("wait=true"));
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut discord = DiscordConfig::default();
        discord.webhook_url = hook(receiver);
        config.discord.push(discord);
    };
    conformance(&subject(fill, Answer::json(&json!({ "id": "7" })), check)).await;
}

#[tokio::test]
async fn teams() {
    let check = |received: &Received| {
        assert!(received.body.len() <= 28 * 1024, "{} bytes", received.body.len());
        let card = &received.json()["attachments"][0];
        assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut teams = TeamsConfig::default();
        teams.webhook_url = hook(receiver);
        config.teams.push(teams);
    };
    conformance(&subject(fill, Answer::status(202), check)).await;
}

#[tokio::test]
async fn matrix() {
    let check = |received: &Received| {
        assert!(received.body.len() <= 60_000, "{} bytes", received.body.len());
        assert_eq!(received.method, "PUT");
        assert!(
            received
                .target
                .starts_with("/_matrix/client/v3/rooms/!abc:example.org/send/m.room.message/")
        );
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut matrix = MatrixConfig::default();
        matrix.homeserver = Some(receiver.url("/"));
        matrix.access_token = secret(TOKEN);
        matrix.room = "!abc:example.org".to_owned();
        config.matrix.push(matrix);
    };
    conformance(&subject(fill, Answer::json(&json!({ "event_id": "$1" })), check)).await;
}

#[tokio::test]
async fn ntfy() {
    let check = |received: &Received| {
        let payload = received.json();
        assert!((1..=200).contains(&bytes(&payload["title"])));
        assert!((1..=4096).contains(&bytes(&payload["message"])));
        assert!((1..=5).contains(&payload["priority"].as_u64().unwrap()));
        assert!(payload["actions"].as_array().unwrap().len() <= 3);
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut ntfy = NtfyConfig::default();
        ntfy.server = Some(receiver.url("/"));
        ntfy.topic = secret(TOKEN);
        ntfy.token = secret(SIGNING);
        config.ntfy.push(ntfy);
    };
    conformance(&subject(fill, Answer::json(&json!({ "id": "x" })), check)).await;
}

#[tokio::test]
async fn dingtalk() {
    let check = |received: &Received| {
        assert!(received.body.len() <= 20_000, "{} bytes", received.body.len());
        assert!(
            received.target.contains("&timestamp=1767261725000&sign="),
            "{}",
            received.target
        );
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut dingtalk = DingtalkConfig::default();
        dingtalk.webhook_url = hook(receiver);
        dingtalk.secret = secret(SIGNING);
        config.dingtalk.push(dingtalk);
    };
    let accepted = Answer::json(&json!({ "errcode": 0, "errmsg": "ok" }));
    conformance(&subject(fill, accepted, check)).await;
}

#[tokio::test]
async fn feishu() {
    let check = |received: &Received| {
        assert!(received.body.len() <= 20_000, "{} bytes", received.body.len());
        assert_eq!(received.json()["timestamp"], "1767261725");
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut feishu = FeishuConfig::default();
        feishu.webhook_url = hook(receiver);
        feishu.secret = secret(SIGNING);
        config.feishu.push(feishu);
    };
    let accepted = Answer::json(&json!({ "code": 0, "msg": "success", "data": {} }));
    conformance(&subject(fill, accepted, check)).await;
}

#[tokio::test]
async fn wecom() {
    let check = |received: &Received| {
        assert!((1..=4096).contains(&bytes(&received.json()["markdown"]["content"])));
    };
    let fill = |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut wecom = WecomConfig::default();
        wecom.webhook_url = hook(receiver);
        config.wecom.push(wecom);
    };
    let accepted = Answer::json(&json!({ "errcode": 0, "errmsg": "ok" }));
    conformance(&subject(fill, accepted, check)).await;
}

async fn telephone(mode: TelephoneMode, field: &'static str, limit: usize) {
    let check = move |received: &Received| {
        let form: std::collections::BTreeMap<String, String> =
            url::form_urlencoded::parse(&received.body).into_owned().collect();
        assert_eq!(
            (&*form["To"], &*form["From"]),
            ("+4915100000001", "+4915100000000")
        );
        assert!((1..=limit).contains(&form[field].encode_utf16().count()));
    };
    let fill = move |config: &mut ReceiverConfig, receiver: &ScriptedReceiver| {
        let mut telephone = TelephoneConfig::default();
        telephone.url = Some(receiver.url("/"));
        telephone.account = "AC123".to_owned();
        telephone.token = secret(TOKEN);
        telephone.from = "+4915100000000".to_owned();
        telephone.to = vec!["+4915100000001".to_owned()];
        telephone.mode = mode;
        config.telephone.push(telephone);
    };
    let accepted = Answer::status(201).with_body(r#"{"sid":"CA1"}"#);
    conformance(&subject(fill, accepted, check)).await;
}

#[tokio::test]
async fn telephone_call() {
    telephone(TelephoneMode::Call, "Twiml", 4000).await;
}

#[tokio::test]
async fn telephone_message() {
    telephone(TelephoneMode::Sms, "Body", 1600).await;
}
