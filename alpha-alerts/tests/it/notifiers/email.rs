//! E-mail against a mail server that answers as it is scripted.

use std::time::Duration;

use alpha_alerts::notifier::{Refusal, Retry};
use alpha_alerts::notifiers::*;
use alpha_alerts::testing::mail::{Reply, ScriptedMailServer};
use alpha_alerts::testing::notifier::{environment, flood, sample};
use alpha_alerts::{Event, Severity};

use super::{built, secret};

const PASSWORD: &str = "s3cr3t-passw0rd";

fn fill(config: &mut ReceiverConfig, server: &ScriptedMailServer) {
    let mut email = EmailConfig::default();
    email.host = server.address().ip().to_string();
    email.port = Some(server.address().port());
    email.tls = EmailTls::None;
    email.from = "Alpha <alerts@example.org>".to_owned();
    email.to = vec!["Li Wei <li@example.org>".to_owned(), "ann@example.org".to_owned()];
    email.hello = Some("alpha.example.org".to_owned());
    config.email.push(email);
}

async fn refusal(verb: &str, reply: Reply) -> Refusal {
    let server = ScriptedMailServer::start().await;
    // A connection of the pool is asked anew after a failure, so the fault stays.
    server.script(verb, vec![reply; 4]);
    let integrations = built(&environment(), |config| {
        fill(config, &server);
        config.email[0].auth = Some(BasicAuth {
            username: "alpha".to_owned(),
            password: secret(PASSWORD).unwrap(),
        });
    });
    let told = integrations[0]
        .notifier
        .notify(&sample(Severity::P1, Event::Firing))
        .await;
    let refusal = told.unwrap_err();
    let shown = format!("{refusal:?} {:?}", integrations[0]);
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert_eq!(server.take(), []);
    refusal
}

#[tokio::test]
async fn each_person_gets_a_mail_that_threads() {
    let server = ScriptedMailServer::start().await;
    let integrations = built(&environment(), |config| fill(config, &server));
    let ids: Vec<&str> = integrations
        .iter()
        .map(|integration| integration.id.as_str())
        .collect();
    assert_eq!(ids, ["ops/email/0", "ops/email/0.1"]);
    let mut resolved = sample(Severity::P0, Event::Resolved);
    resolved.id = alpha_alerts::NotificationId(uuid::Uuid::from_u128(2));
    for notification in [sample(Severity::P0, Event::Firing), resolved] {
        for integration in &integrations {
            integration.notifier.notify(&notification).await.unwrap();
        }
    }
    let mails = server.take();
    let to: Vec<&[String]> = mails.iter().map(|mail| &*mail.to).collect();
    assert_eq!(
        to,
        [
            ["li@example.org"],
            ["ann@example.org"],
            ["li@example.org"],
            ["ann@example.org"]
        ]
    );
    let threads: std::collections::BTreeSet<String> =
        mails.iter().map(|mail| mail.header("References")).collect();
    assert_eq!(
        threads.len(),
        1,
        "all mails about a group refer to the same message: {threads:?}"
    );
    assert_eq!(mails[0].header("In-Reply-To"), mails[0].header("References"));
    assert_eq!(
        mails[0].header("Message-ID"),
        "<7b3c0a1e-5f2d-4c6b-9a8d-0123456789ab@example.org>"
    );
    assert_ne!(mails[0].header("Message-ID"), mails[2].header("Message-ID"));
    assert_eq!(mails[0].header("Date"), "Thu, 01 Jan 2026 10:02:05 +0000");
    assert_eq!(mails[0].header("Importance"), "high");
}

#[tokio::test]
async fn what_the_plan_mails() {
    let server = ScriptedMailServer::start().await;
    let integrations = built(&environment(), |config| fill(config, &server));
    let mut shown = String::new();
    for severity in Severity::ALL {
        integrations[0]
            .notifier
            .notify(&sample(severity, Event::Firing))
            .await
            .unwrap();
        let data = server.take().remove(0).data;
        // The boundary between the parts is drawn anew for each mail.
        let boundary = data
            .split("boundary=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap();
        shown.push_str(&format!(
            "== {severity}\n{}\n",
            data.replace(boundary, "BOUNDARY").replace("\r\n", "\n")
        ));
    }
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn codes_decide_whether_to_try_again() {
    for verb in ["", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        let refused = refusal(verb, Reply::line("451 4.3.0 try again later")).await;
        assert_eq!(
            (refused.retry, refused.is_certain),
            (Retry::Later, true),
            "{verb}: {refused:?}"
        );
        assert_eq!(refused.status, Some(451));
    }
    for verb in ["AUTH", "MAIL", "RCPT", "."] {
        let refused = refusal(verb, Reply::line("550 5.1.1 no such user s3cr3t-passw0rd")).await;
        assert_eq!(
            (refused.retry, refused.is_certain),
            (Retry::Never, true),
            "{verb}: {refused:?}"
        );
        assert_eq!(refused.status, Some(550));
        assert!(refused.reason.to_string().contains("no such user [secret]"));
    }
}

#[tokio::test]
async fn silence_and_broken_connections_leave_it_open() {
    for reply in [Reply::Hang, Reply::Close] {
        let started = tokio::time::Instant::now();
        let refused = refusal(".", reply.clone()).await;
        assert_eq!(
            (refused.retry, refused.is_certain),
            (Retry::Later, false),
            "{reply:?}: {refused:?}"
        );
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn nobody_listening_is_certain() {
    let server = ScriptedMailServer::start().await;
    let integrations = built(&environment(), |config| fill(config, &server));
    drop(server);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let told = integrations[0]
        .notifier
        .notify(&sample(Severity::P1, Event::Firing))
        .await;
    let refused = told.unwrap_err();
    assert_eq!(
        (refused.retry, refused.is_certain),
        (Retry::Later, true),
        "{refused:?}"
    );
}

#[tokio::test]
async fn without_encryption_where_it_is_required_nothing_is_sent() {
    let server = ScriptedMailServer::start().await;
    let integrations = built(&environment(), |config| {
        fill(config, &server);
        config.email[0].tls = EmailTls::Starttls;
    });
    let told = integrations[0]
        .notifier
        .notify(&sample(Severity::P1, Event::Firing))
        .await;
    assert_eq!(told.unwrap_err().retry, Retry::Never);
    assert_eq!(server.take(), []);
}

#[tokio::test]
async fn a_flood_in_chinese_is_a_mail_that_can_be_read() {
    let server = ScriptedMailServer::start().await;
    let integrations = built(&environment().with_language(Language::Zh), |config| {
        fill(config, &server)
    });
    integrations[0].notifier.notify(&flood(10_000)).await.unwrap();
    let mail = server.take().remove(0);
    assert!(mail.data.len() < 500_000, "{} bytes", mail.data.len());
    assert!(mail.data.lines().all(|line| line.len() <= 998));
}
