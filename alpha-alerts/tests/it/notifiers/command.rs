//! Programs as receivers.

use std::time::Duration;

use alpha_alerts::notifier::{Receipt, Refusal, Retry};
use alpha_alerts::notifiers::*;
use alpha_alerts::testing::notifier::{environment, sample};
use alpha_alerts::{Event, Period, Severity};

use super::{notifier, secret};

const TOKEN: &str = "t0p-s3cr3t";

async fn run(script: &str) -> Result<Receipt, Refusal> {
    let notifier = notifier(&environment(), |config| {
        let mut command = CommandConfig::default();
        command.program = "/bin/sh".into();
        command.arguments = vec!["-c".to_owned(), script.to_owned()];
        command.secret_environment = [("TOKEN".to_owned(), secret(TOKEN).unwrap())].into();
        command.timeout = Some(Period(Duration::from_secs(2)));
        config.command.push(command);
    });
    assert!(!format!("{notifier:?}").contains(TOKEN));
    notifier.notify(&sample(Severity::P0, Event::Firing)).await
}

#[tokio::test]
async fn it_reads_the_notification_and_its_secrets_where_nobody_sees_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("told");
    let script = format!(
        "cat > {path}; printf '%s %s %s' \"$TOKEN\" \"$ALPHA_NOTIFICATION_ID\" \"$CARGO_MANIFEST_DIR\" > {path}.environment; \
         tr '\\0' ' ' < /proc/$$/cmdline > {path}.arguments",
        path = path.display()
    );
    run(&script).await.unwrap();
    let told: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(told["event"], "firing");
    assert_eq!(told["notification"]["severity"], "P0");
    assert!(told["title"].as_str().unwrap().contains("ChainHalted"));
    let environment = std::fs::read_to_string(path.with_extension("environment")).unwrap();
    assert_eq!(
        environment,
        format!("{TOKEN} 7b3c0a1e-5f2d-4c6b-9a8d-0123456789ab ")
    );
    assert!(
        !std::fs::read_to_string(path.with_extension("arguments"))
            .unwrap()
            .contains(TOKEN)
    );
}

#[tokio::test]
async fn exit_codes_decide() {
    for (code, expected) in [
        (1, Retry::Later),
        (75, Retry::Later),
        (64, Retry::Never),
        (78, Retry::Never),
    ] {
        let refusal = run(&format!("echo \"no $TOKEN\" >&2; exit {code}"))
            .await
            .unwrap_err();
        assert_eq!((refusal.retry, refusal.is_certain), (expected, true));
        assert_eq!(
            refusal.reason.to_string(),
            format!("the program ended with {code}: no [secret]")
        );
    }
    let refusal = run("kill -9 $$").await.unwrap_err();
    assert!(!refusal.is_certain);
}

#[tokio::test]
async fn neither_much_output_nor_unread_input_blocks_it() {
    run("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_program_that_hangs_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late");
    let notifier = notifier(&environment(), |config| {
        let mut command = CommandConfig::default();
        command.program = "/bin/sh".into();
        command.arguments = vec!["-c".to_owned(), format!("sleep 3; touch {}", path.display())];
        command.timeout = Some(Period(Duration::from_millis(300)));
        config.command.push(command);
    });
    let started = tokio::time::Instant::now();
    let refusal = notifier
        .notify(&sample(Severity::P0, Event::Firing))
        .await
        .unwrap_err();
    assert!(!refusal.is_certain && refusal.retry == Retry::Later);
    assert!(started.elapsed() < Duration::from_secs(3), "it was waited for");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!path.exists(), "it went on");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_refused_for_good() {
    let notifier = notifier(&environment(), |config| {
        let mut command = CommandConfig::default();
        command.program = "/nonexistent/program".into();
        config.command.push(command);
    });
    let refusal = notifier
        .notify(&sample(Severity::P0, Event::Firing))
        .await
        .unwrap_err();
    assert_eq!(refusal.retry, Retry::Never);
}
