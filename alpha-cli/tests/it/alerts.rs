//! The commands that need no server, and what those that need one say when there is none.

use std::path::Path;

use serde_json::Value;

use crate::command::{Run, alpha, written};

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/alpha-social.toml");
    path.to_str().unwrap().to_owned()
}

fn with_example(arguments: &[&str]) -> Run {
    let example = example();
    let mut all = arguments.to_vec();
    all.extend(["--config", &example]);
    alpha(&all)
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.output).unwrap_or_else(|error| panic!("{error}: {}{}", run.output, run.errors))
}

#[test]
fn the_plans_channels_by_severity() {
    for (severity, receiver, policy) in [
        ("P0", "every-channel", "p0"),
        ("P1", "every-channel", "p1"),
        ("P2", "slack-and-email", "p2"),
        ("P3", "slack", "p3"),
    ] {
        let label = format!("severity={severity}");
        let run = with_example(&["alert", "route", "test", "alertname=X", &label, "--json"]);
        let answer = json(&run);
        assert_eq!(answer["severity"], severity);
        assert_eq!(answer["receivers"], Value::from(vec![receiver]), "{severity}");
        assert_eq!(answer["routes"][0]["escalation"], policy);
    }
    let run = with_example(&["alert", "route", "test", "alertname=X", "severity=P3"]);
    insta::assert_snapshot!(run.output);
}

#[test]
fn a_log_is_played_on_a_virtual_clock() {
    let folder = tempfile::tempdir().unwrap();
    let log = written(
        folder.path(),
        "log.jsonl",
        concat!(
            r#"{"at":"2026-01-05T02:00:00Z","alerts":[{"labels":{"alertname":"SubstrateChainCritical","severity":"P0","chain":"alpha-social","component":"chain"},"startsAt":"2026-01-05T02:00:00Z","endsAt":"2026-01-05T03:00:00Z"}]}"#,
            "\n",
            r#"{"at":"2026-01-05T02:00:05Z","alerts":[{"labels":{"alertname":"SubstrateNodeWarning","severity":"P2","chain":"alpha-social","component":"node"},"startsAt":"2026-01-05T02:00:05Z","endsAt":"2026-01-05T03:00:00Z"}]}"#,
            "\n\n",
            r#"{"at":"2026-01-05T02:07:00Z","acknowledge":1,"by":"mei"}"#,
            "\n"
        ),
    );
    let run = with_example(&["alert", "simulate", &log, "--after", "10m", "--json"]);
    assert_eq!(run.code, 0, "{}", run.errors);
    let simulation = json(&run);
    let told = simulation["notifications"].as_array().unwrap();
    let at = |told: &Value| told["created_at"].as_str().unwrap().to_owned();
    let channels: Vec<&str> = told
        .iter()
        .filter(|told| told["receiver"] == "every-channel" && at(told) == "2026-01-05T02:00:00Z")
        .map(|told| told["integration"].as_str().unwrap().split('/').nth(1).unwrap())
        .collect();
    assert_eq!(
        channels,
        ["slack", "pagerduty", "email"],
        "P0 by every channel at once (M6)"
    );
    // Everybody is paged at once and every five minutes until somebody takes it (M24).
    let pages = |person: &str| {
        let receiver = format!("person/{person}");
        let firing = told
            .iter()
            .filter(|told| told["receiver"] == receiver.as_str() && told["event"] == "firing");
        let mut times: Vec<String> = firing.map(at).collect();
        times.dedup();
        times
    };
    assert_eq!(pages("mei"), ["2026-01-05T02:00:00Z", "2026-01-05T02:05:00Z"]);
    assert_eq!(pages("bo"), pages("mei"));
    assert!(
        simulation["suppressed"].to_string().contains("inhibition"),
        "the node's warning is explained by the chain"
    );
    assert_eq!(simulation["incidents"][0]["acknowledged"]["by"], "mei");
    let table = with_example(&["alert", "simulate", &log]);
    assert!(table.output.contains("inhibited by alert"), "{}", table.output);
    let chinese = with_example(&["alert", "simulate", &log, "--lang", "zh"]);
    assert!(chinese.output.contains("抑制"), "{}", chinese.output);
}

#[test]
fn a_log_that_is_not_understood_is_told_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = written(
        folder.path(),
        "log.jsonl",
        "{\"at\":\"soon\",\"alerts\":[]}\n\n{\"at\":\"2026-01-01T00:00:00Z\"}\n{\"at\":\"2026-01-01T00:00:00Z\",\"alerts\":[{}]}\nnonsense\n",
    );
    let run = with_example(&["alert", "simulate", &log]);
    assert_eq!(run.code, 2);
    for line in ["line 1:", "line 3: expected alerts", "line 4:", "line 5:"] {
        assert!(run.errors.contains(line), "{line} {}", run.errors);
    }
    assert!(!run.errors.contains("line 2:"), "{}", run.errors);
    let missing = with_example(&["alert", "simulate", "no/such/log"]);
    assert!(missing.errors.contains("no/such/log"), "{}", missing.errors);
}

#[test]
fn who_is_on_duty_by_the_plans_rota() {
    // A Monday at 10:00 in Shanghai, a Saturday night, and the Spring Festival.
    for (at, person) in [
        ("2026-01-12T02:00:00Z", "ivan"),
        ("2026-01-10T16:00:00Z", "mei"),
        ("2026-02-17T04:00:00Z", "mei"),
    ] {
        let run = with_example(&["oncall", "now", "--offline", "--at", at, "--json"]);
        assert_eq!(run.code, 0, "{}", run.errors);
        let answer = json(&run);
        assert_eq!(answer[0]["schedule"], "primary");
        assert_eq!(answer[0]["duty"]["people"][0], person, "{at}");
        assert!(answer[0]["next"]["at"].is_string());
    }
    let span = ["--from", "2026-02-13T00:00:00Z", "--days", "14", "--offline"];
    let gaps = with_example(&[&["oncall", "gaps"], &span[..]].concat());
    assert_eq!(gaps.code, 0, "{}{}", gaps.output, gaps.errors);
    assert!(
        gaps.output.contains("somebody is always on duty"),
        "{}",
        gaps.output
    );
    let shifts = json(&with_example(
        &[&["oncall", "schedule", "primary", "--json"], &span[..]].concat(),
    ));
    let keys: Vec<&String> = shifts[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ends_at", "people", "schedule", "starts_at", "turn"]);
    let calendar = with_example(&[&["oncall", "ical"], &span[..]].concat()).output;
    assert!(calendar.starts_with("BEGIN:VCALENDAR\r\n") && calendar.ends_with("END:VCALENDAR\r\n"));
    assert!(
        calendar.contains("primary: mei") && calendar.contains("stand-up"),
        "{calendar}"
    );
    let unknown = with_example(&["oncall", "schedule", "secondary", "--offline"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.errors.contains("secondary"), "{}", unknown.errors);
}

#[test]
fn a_gap_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(
        folder.path(),
        "alpha.toml",
        "[alerts.route]\nreceiver = \"person/mei\"\n[[alerts.on_call.people]]\nname = \"mei\"\n[[alerts.on_call.people.contact.log]]\n\
         [[alerts.on_call.schedules]]\nname = \"primary\"\n[[alerts.on_call.schedules.layers]]\nname = \"days\"\nrotation = [\"mei\"]\n\
         starts_on = \"2026-01-01\"\n[[alerts.on_call.schedules.layers.only]]\nfrom = \"09:00\"\nuntil = \"18:00\"\n",
    );
    let arguments = [
        "oncall",
        "gaps",
        "--offline",
        "--config",
        &config,
        "--from",
        "2026-01-05T00:00:00Z",
        "--days",
        "2",
    ];
    let run = alpha(&arguments);
    assert_eq!(run.code, 1, "{}{}", run.output, run.errors);
    let gaps = json(&alpha(&[&arguments[..], &["--json"]].concat()));
    assert_eq!(gaps.as_array().unwrap().len(), 3, "{gaps}");
    assert_eq!(gaps[0]["ends_at"], "2026-01-05T09:00:00Z");
    let now = alpha(&[
        "oncall",
        "now",
        "--offline",
        "--config",
        &config,
        "--at",
        "2026-01-05T03:00:00Z",
    ]);
    assert_eq!(now.code, 1);
    assert!(now.output.contains("nobody"), "{}", now.output);
}

#[test]
fn without_a_server_it_is_told_how_to_start_one() {
    let url = format!("http://127.0.0.1:{}", testbed::free_port());
    for arguments in [
        &["alert", "list"][..],
        &["alert", "show", "abc"],
        &["alert", "why", "17"],
        &["alert", "ack", "17"],
        &["alert", "resolve", "17"],
        &["alert", "send", "X"],
        &["alert", "silence", "add", "a=b", "-m", "x"],
        &["alert", "silence", "list"],
        &["alert", "silence", "expire", "abc"],
        &["incident", "list"],
        &["incident", "show", "17"],
        &["incident", "note", "17", "x"],
        &["incident", "export", "17"],
        &[
            "oncall",
            "override",
            "primary",
            "mei",
            "--until",
            "2030-01-01T00:00",
        ],
        &["oncall", "handover", "list"],
    ] {
        let run = alpha(&[arguments, &["--server", &url]].concat());
        assert_eq!(run.code, 2, "{arguments:?}");
        assert!(
            run.errors.contains("alpha serve --config"),
            "{arguments:?}: {}",
            run.errors
        );
        assert!(run.output.is_empty(), "{arguments:?}: {}", run.output);
    }
    let chinese = alpha(&["alert", "list", "--server", &url, "--lang", "zh"]);
    assert!(chinese.errors.contains("没有服务应答"), "{}", chinese.errors);
}

#[test]
fn duties_work_without_a_server_and_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let port = testbed::free_port();
    let text = std::fs::read_to_string(example()).unwrap();
    let text = text.replace("127.0.0.1:9093", &format!("127.0.0.1:{port}"));
    let config = written(folder.path(), "alpha.toml", &text);
    let run = alpha(&["oncall", "now", "--config", &config]);
    assert_eq!(run.code, 0, "{}", run.errors);
    assert!(run.errors.contains("overrides are not known"), "{}", run.errors);
    assert!(run.output.contains("primary"), "{}", run.output);
}

#[test]
fn config_check_tells_what_is_wrong_with_the_alerts_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(
        folder.path(),
        "alpha.toml",
        "[[check]]\nname = \"a\"\ntcp.address = \"127.0.0.1:1\"\nlabels = { severity = \"P7\", job = \"x\" }\n\n\
         [[paging.rules]]\nchecks = [\"b*\"]\nkinds = [\"tpc\"]\n\n[serve.store]\nsqlite = \"a\"\npostgres.env = \"B\"\n\n\
         [alerts]\nresolve_timeout = \"0s\"\n\n[alerts.route]\nreceiver = \"ops\"\n",
    );
    let run = alpha(&["config", "check", "--config", &config]);
    assert_eq!(run.code, 2);
    for expected in [
        "the severity \"P7\" is none",
        "the label job is Alpha's own",
        "no check is named b*",
        "there is no kind of probe tpc",
        "did you mean \"tcp\"?",
        "serve.store names two stores",
        "names the receiver ops, which is not defined",
        "resolve_timeout must be longer than nothing",
    ] {
        assert!(
            run.errors.contains(expected),
            "{expected} is not told: {}",
            run.errors
        );
    }
}
