use std::time::Duration;

use alpha_probes::ErrorKind;
use alpha_probes::probes::CommandConfig;
use serde_json::json;

use crate::support::{ask, ask_within, probe, value_of};

fn sh(script: &str) -> std::sync::Arc<dyn alpha_probes::Probe> {
    probe::<CommandConfig>(json!({ "run": ["sh", "-c", script], "env": { "GIVEN": "yes" } }))
}

#[tokio::test]
async fn a_plugin_is_understood() {
    let seen = ask(&*sh(
        "echo \"DISK $GIVEN | /=2643MB;5948;5958;0;5968 '/boot x'=68%\"; exit 1",
    ))
    .await
    .unwrap();
    assert_eq!(seen.value("exit_code"), Some(1.0));
    assert_eq!(seen.facts["output"], "DISK yes");
    assert_eq!(seen.value("boot_x"), Some(0.68));
    assert_eq!(value_of(&seen, "value", "/"), Some(2643.0 * 1_048_576.0));
}

#[tokio::test]
async fn what_a_plugin_could_not_tell_is_an_error_with_its_words() {
    for (script, expected) in [
        (
            "echo 'no route'; exit 3",
            "sh could not tell (exit code 3): no route",
        ),
        (
            "echo broken >&2; exit 127",
            "sh could not tell (exit code 127): broken",
        ),
        ("kill -9 $$", "sh could not tell (signal 9): "),
    ] {
        let error = ask(&*sh(script)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Malformed, expected)
        );
    }
    let missing = probe::<CommandConfig>(json!({ "run": ["/no/such/program"] }));
    assert_eq!(ask(&*missing).await.unwrap_err().kind(), ErrorKind::NotApplicable);
}

#[tokio::test]
async fn a_plugin_that_hangs_or_floods_is_bounded() {
    let error = ask_within(&*sh("sleep 600"), Duration::from_millis(500))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let seen = ask(&*sh("head -c 10000000 /dev/zero | tr '\\0' x"))
        .await
        .unwrap();
    assert_eq!(seen.facts["output_cut"], true);
    assert!(seen.facts["output"].as_str().unwrap().len() <= 500);
}
