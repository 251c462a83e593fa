//! `alpha serve` from end to end: a real process, a port that dies, a receiver that listens.

use std::net::TcpListener;
use std::time::Duration;

use alpha_alerts::testing::receiver::Answer;
use serde_json::Value;

use crate::command::{alpha, written};
use crate::server::{Place, Server, eventually, failing};

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn metric(server: &Server, name: &str) -> Option<f64> {
    let page = fetched(&server.url, "/metrics");
    page.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The client of these tests shares its process with no command that would have installed one.
fn install_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn fetched(url: &str, path: &str) -> String {
    install_tls_provider();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = format!("{}{path}", url.trim_end_matches('/'));
    runtime.block_on(async move { reqwest::get(address).await.unwrap().text().await.unwrap() })
}

#[test]
fn a_port_that_dies_is_told_paged_acknowledged_and_resolved() {
    let place = Place::new();
    let (listening, port) = listener();
    let server = Server::start(&place.config(&Place::check("api", port)));
    assert_eq!(fetched(&server.url, "/-/ready"), "OK");
    eventually("the check is asked", || {
        metric(&server, "alpha_check_status{check=\"api\",status=\"ok\"}").filter(|value| *value == 1.0)
    });
    assert_eq!(place.receiver.received().len(), 0, "nothing was wrong");

    drop(listening);
    let told = place.wait_for("/hook", "firing");
    let alert = &told["alerts"][0];
    for (label, value) in [
        ("alertname", "TcpCritical"),
        ("check", "api"),
        ("severity", "P1"),
        ("component", "network"),
        ("instance", "host-1"),
        ("status", "critical"),
        ("kind", "tcp"),
    ] {
        assert_eq!(alert["labels"][label], value, "{alert}");
    }
    let summary = alert["annotations"]["summary"].as_str().unwrap();
    assert!(
        summary.contains("api") && summary.contains("refused"),
        "{summary}"
    );
    assert_eq!(alert["annotations"]["runbook_url"], "docs/runbooks/tcp.md");

    // The person is paged again and again.
    eventually("mei is paged three times", || {
        (place.told("/mei").len() >= 3).then_some(())
    });
    let incidents = server.json(&["incident", "list"]);
    assert_eq!(incidents[0]["state"], "triggered", "{incidents}");
    assert_eq!(incidents[0]["severity"], "P1");
    let number = incidents[0]["id"].to_string();

    // Acknowledging stops that within a second.
    let taken = server.json(&["alert", "ack", &number, "--by", "mei"]);
    assert_eq!(taken["acknowledged"]["by"], "mei", "{taken}");
    let firing = || {
        let told = place.told("/mei");
        told.iter().filter(|told| told["status"] == "firing").count()
    };
    std::thread::sleep(Duration::from_secs(1));
    let paged = firing();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(firing(), paged, "paging went on after the acknowledgement");

    let listed = server.json(&["alert", "list"]);
    let fingerprint = listed[0]["fingerprint"].as_str().unwrap().to_owned();
    let shown = server.json(&["alert", "show", &fingerprint[..6]]);
    assert_eq!(shown["severity"], "P1");
    let why = server.alpha(&["alert", "why", &fingerprint]);
    assert!(
        why.output.contains("hook/webhook/0") && why.output.contains("sent"),
        "{}",
        why.output
    );
    let why = server.json(&["alert", "why", &number]);
    assert!(why["notifications"].as_array().unwrap().len() >= 4, "{why}");

    server.json(&[
        "incident",
        "note",
        &number,
        "lesson: watch the port",
        "--by",
        "mei",
    ]);
    let listening = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let told = place.wait_for("/hook", "resolved");
    assert_eq!(told["alerts"][0]["labels"]["check"], "api");
    eventually("the incident is over", || {
        let all = server.json(&["incident", "list", "--all"]);
        (all[0]["state"] == "resolved").then_some(())
    });
    assert_eq!(server.json(&["alert", "list"]), Value::Array(Vec::new()));
    let post_mortem = server.alpha(&["incident", "export", &number]);
    assert!(
        post_mortem.output.contains("watch the port"),
        "{}",
        post_mortem.output
    );
    let base = place.folder.path().join("knowledge");
    let export = server.json(&["incident", "export", &number, "--into", base.to_str().unwrap()]);
    assert!(export["written"].as_array().unwrap().len() >= 3, "{export}");
    drop(listening);

    let (status, rest) = server.stop();
    assert!(status.success());
    assert_eq!(rest, "", "more than one line was printed");
}

#[test]
fn what_another_check_explains_is_named_and_not_told_on_its_own() {
    let place = Place::new();
    let (listening, port) = listener();
    let checks = format!(
        "{}\n[[check]]\nname = \"page\"\nevery = \"1s\"\ntcp.address = \"127.0.0.1:{port}\"\ndepends_on = [\"node\"]\n",
        Place::check("node", port)
    );
    // What fails together is judged together.
    let config = place.config(&checks);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("group_wait = \"0s\"", "group_wait = \"4s\""),
    )
    .unwrap();
    let server = Server::start(&config);
    drop(listening);
    place.wait_for("/hook", "firing");
    std::thread::sleep(Duration::from_secs(3));
    let told = place.told("/hook");
    let checks: Vec<&str> = told
        .iter()
        .flat_map(|told| told["alerts"].as_array().unwrap())
        .filter(|alert| alert["status"] == "firing")
        .map(|alert| alert["labels"]["check"].as_str().unwrap())
        .collect();
    assert_eq!(checks, ["node"], "{told:?}");
    assert_eq!(told[0]["alerts"][0]["annotations"]["explains"], "page");
    drop(server);
}

#[test]
fn a_changed_configuration_counts_at_once_and_a_broken_one_not_at_all() {
    let place = Place::new();
    let (_listening, port) = listener();
    let config = place.config(&Place::check("api", port));
    let server = Server::start(&config);
    let good = std::fs::read_to_string(&config).unwrap();

    // By the change of the file alone.
    written(
        place.folder.path(),
        "alpha.toml",
        &good.replace("receiver = \"hook\"", "receiver = \"nobody\""),
    );
    server.wait_for_error("nobody");
    server.wait_for_error("the old configuration goes on");
    let sent = server.alpha(&["alert", "send", "Test", "--severity", "P2"]);
    assert_eq!(sent.code, 0, "{}", sent.errors);
    place.wait_for("/hook", "firing");

    // By a signal.
    let dead = testbed::free_port();
    let more = format!("{good}\n{}", Place::check("second", dead));
    written(place.folder.path(), "alpha.toml", &more);
    server.signal("HUP");
    eventually("the new check is told", || {
        place
            .told("/hook")
            .into_iter()
            .find(|told| told["alerts"][0]["labels"]["check"] == "second")
    });

    // By the API, which says how it went.
    written(place.folder.path(), "alpha.toml", "[serve\n");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let reload = || {
        let url = format!("{}-/reload", server.url);
        install_tls_provider();
        runtime.block_on(async move { reqwest::Client::new().post(url).send().await.unwrap().status() })
    };
    assert_eq!(reload(), 500);
    // A check that is gone is an alert that is over.
    written(place.folder.path(), "alpha.toml", &good);
    assert_eq!(reload(), 200);
    eventually("the check that is gone is resolved", || {
        place
            .told("/hook")
            .into_iter()
            .find(|told| told["status"] == "resolved" && told["alerts"][0]["labels"]["check"] == "second")
    });
    assert!(server.stop().0.success());
}

#[test]
fn a_kill_loses_nothing_and_a_restart_repeats_nothing() {
    let place = Place::new();
    let config = place.config("");
    place.receiver.otherwise(Answer::status(503));
    let server = Server::start(&config);
    assert_eq!(
        server
            .alpha(&["alert", "send", "DiskFull", "disk=a", "--for", "1h"])
            .code,
        0
    );
    eventually("the receiver refuses it", || {
        (!place.receiver.received().is_empty()).then_some(())
    });
    server.kill();

    place.receiver.otherwise(Answer::status(200));
    let refused = place.receiver.received().len();
    let server = Server::start(&config);
    eventually("it is told after the restart", || {
        (place.receiver.received().len() > refused).then_some(())
    });
    server.kill();

    let server = Server::start(&config);
    let alerts = server.json(&["alert", "list"]);
    assert_eq!(alerts[0]["name"], "DiskFull");
    std::thread::sleep(Duration::from_secs(2));
    let received = place.receiver.received();
    let told: std::collections::BTreeSet<&String> = received[refused..]
        .iter()
        .filter(|received| received.target == "/hook")
        .map(|received| &received.headers["idempotency-key"])
        .collect();
    assert_eq!(told.len(), 1, "told again after the second restart: {told:?}");
    assert!(server.stop().0.success());
}

#[test]
fn a_stop_answers_what_is_under_way_and_gives_the_rest_back() {
    let place = Place::new();
    let config = place.config("");
    place.receiver.otherwise(Answer::hang());
    let server = Server::start(&config);
    assert_eq!(server.alpha(&["alert", "send", "Slow", "--for", "1h"]).code, 0);
    eventually("the receiver was asked", || {
        (!place.receiver.received().is_empty()).then_some(())
    });
    let (status, _) = server.stop();
    assert!(status.success());
    let asked = place.receiver.received().len();
    place.receiver.otherwise(Answer::status(200));
    let server = Server::start(&config);
    eventually("it is told by the next process", || {
        (place.receiver.received().len() > asked).then_some(())
    });
    drop(server);
}

#[test]
fn what_is_wrong_is_told_before_anything_starts() {
    let place = Place::new();
    let (_held, port) = listener();
    let good = std::fs::read_to_string(place.config("")).unwrap();
    for (change, to, expected) in [
        (
            "receiver = \"hook\"",
            "receiver = \"hok\"",
            "names the receiver hok, which is not defined",
        ),
        ("[serve]", "[serve]\nlissten = \"x\"", "unknown key \"lissten\""),
        (
            "listen = \"127.0.0.1:0\"",
            &format!("listen = \"127.0.0.1:{port}\""),
            "could not listen on 127.0.0.1",
        ),
        (
            "[paging]",
            "[[serve.inbound.access.tokens]]\nname = \"a\"\ntoken.env = \"ALPHA_TEST_NO_SUCH_TOKEN\"\n[paging]",
            "ALPHA_TEST_NO_SUCH_TOKEN",
        ),
    ] {
        let config = written(place.folder.path(), "bad.toml", &good.replace(change, to));
        let (code, errors) = failing(&config);
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
    let none = alpha(&["serve", "--config", "no/such/alpha.toml"]);
    assert_eq!(none.code, 2);
    assert!(none.errors.contains("no/such/alpha.toml"), "{}", none.errors);
}

#[test]
fn one_store_has_one_server() {
    let place = Place::new();
    let config = place.config("");
    let server = Server::start(&config);
    let (code, errors) = failing(&config);
    assert_eq!(code, 2);
    assert!(errors.contains("another server uses the store"), "{errors}");
    drop(server);
    Server::start(&config);
}

#[test]
fn two_servers_share_a_database_and_one_takes_over() {
    let place = Place::new();
    let database = testbed::need!(testbed::Postgres::start());
    let config = |name: &str| {
        let text = std::fs::read_to_string(place.config("")).unwrap();
        let sqlite = format!("store.sqlite = \"{}/alerts.db\"", place.folder.path().display());
        let text = text.replace(&sqlite, "store.postgres.env = \"ALPHA_TEST_DATABASE\"");
        let text = text.replace("history.db", &format!("{name}.db"));
        written(place.folder.path(), &format!("{name}.toml"), &text)
    };
    let url = database.url();
    let environment = [("ALPHA_TEST_DATABASE", url.as_str())];
    let first = Server::start_with(&config("first"), &environment);
    let second = Server::start_with(&config("second"), &environment);
    assert_eq!(metric(&first, "alpha_leader"), Some(1.0));
    assert_eq!(metric(&second, "alpha_leader"), Some(0.0));

    // Through the one that does not lead.
    assert_eq!(second.alpha(&["alert", "send", "A", "--for", "1h"]).code, 0);
    eventually("A is told", || (place.told("/hook").len() == 1).then_some(()));
    first.kill();
    let begun = tokio::time::Instant::now();
    assert_eq!(second.alpha(&["alert", "send", "B", "--for", "1h"]).code, 0);
    eventually("the other leads", || {
        metric(&second, "alpha_leader").filter(|leads| *leads == 1.0)
    });
    let took = begun.elapsed();
    eventually("B is told", || (place.told("/hook").len() == 2).then_some(()));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let keys: std::collections::BTreeSet<String> = place
        .receiver
        .received()
        .iter()
        .filter(|received| received.target == "/hook")
        .map(|received| received.headers["idempotency-key"].clone())
        .collect();
    assert_eq!(keys.len(), 2, "one of them was told twice");
}

#[test]
fn a_token_is_wanted_where_there_is_one() {
    let place = Place::new();
    let token = written(place.folder.path(), "token", "let-me-in\n");
    let wrong = written(place.folder.path(), "wrong", "let-me\n");
    let access = format!("[[serve.inbound.access.tokens]]\nname = \"ops\"\ntoken.file = \"{token}\"\n");
    let server = Server::start(&place.config(&access));
    let refused = server.alpha(&["alert", "list", "--token-file", &wrong]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.errors.contains("wants another token"),
        "{}",
        refused.errors
    );
    assert!(!refused.errors.contains("let-me"), "{}", refused.errors);
    assert_eq!(server.alpha(&["alert", "list", "--token-file", &token]).code, 0);
}

#[test]
fn silences_duties_and_the_hand_over_of_a_shift() {
    let place = Place::new();
    let config = place.config("");
    let server = Server::start(&config);
    assert_eq!(
        server.json(&["alert", "silence", "list"]),
        Value::Array(Vec::new())
    );
    let made = server.json(&[
        "alert",
        "silence",
        "add",
        "component=api",
        "-m",
        "upgrade",
        "--by",
        "mei",
        "--for",
        "2h",
    ]);
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["state"], "active");
    assert_eq!(
        server
            .alpha(&["alert", "send", "Slow", "component=api", "--for", "1h"])
            .code,
        0
    );
    assert_eq!(
        server.json(&["alert", "list"]),
        Value::Array(Vec::new()),
        "it is silenced"
    );
    let all = server.json(&["alert", "list", "--all"]);
    assert_eq!(all[0]["silenced_by"][0], id.as_str(), "{all}");
    let fingerprint = all[0]["fingerprint"].as_str().unwrap();
    let why = eventually("why it was not told", || {
        let run = server.alpha(&["alert", "why", fingerprint]);
        run.output.contains("suppressed").then_some(run.output)
    });
    assert!(why.contains("silenced by") && why.contains(&id), "{why}");
    let why = server
        .alpha(&["alert", "why", fingerprint, "--lang", "zh"])
        .output;
    assert!(why.contains("未发送"), "{why}");
    assert!(place.told("/hook").is_empty());
    let expired = server.json(&["alert", "silence", "expire", &id[..8]]);
    assert_eq!(expired["state"], "expired");
    place.wait_for("/hook", "firing");
    assert_eq!(server.alpha(&["alert", "silence", "expire", &id[..8]]).code, 2);
    let resolved = server.json(&["alert", "resolve", fingerprint]);
    assert_eq!(resolved["name"], "Slow");
    place.wait_for("/hook", "resolved");

    // Overrides count for whoever asks through the server.
    let on_duty = |server: &Server| {
        let run = server.alpha(&["oncall", "now", "--config", &config, "--json"]);
        serde_json::from_str::<Value>(&run.output).unwrap_or_else(|_| panic!("{}", run.errors))
    };
    assert_eq!(on_duty(&server)[0]["duty"]["people"][0], "mei");
    let unknown = server.alpha(&[
        "oncall",
        "override",
        "primary",
        "nobody",
        "--until",
        "2099-01-01T00:00",
    ]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.errors.contains("nobody"), "{}", unknown.errors);
    let made = server.json(&[
        "oncall",
        "override",
        "primary",
        "mei",
        "--until",
        "2099-01-01T00:00",
        "-m",
        "ill",
    ]);
    let override_id = made[0]["id"].as_str().unwrap().to_owned();
    assert!(on_duty(&server)[0]["duty"]["overrides"].is_array());
    assert_eq!(
        server
            .alpha(&["oncall", "override", "--remove", &override_id[..8]])
            .code,
        0
    );

    let report = server.json(&[
        "oncall",
        "handover",
        "write",
        "primary",
        "--note",
        "the mail server moves",
        "--by",
        "mei",
        "--config",
        &config,
    ]);
    let report_id = report["id"].as_str().unwrap();
    assert!(report["incidents"][0]["title"].is_string(), "{report}");
    let shown = server
        .alpha(&["oncall", "handover", "show", &report_id[..8]])
        .output;
    assert!(shown.contains("the mail server moves"), "{shown}");
    assert_eq!(
        server
            .alpha(&["oncall", "handover", "accept", report_id, "--by", "mei"])
            .code,
        0
    );
    let listed = server.json(&["oncall", "handover", "list"]);
    assert_eq!(listed[0]["accepted"]["by"], "mei", "{listed}");
    assert!(server.stop().0.success());
}

#[test]
fn what_gathers_while_a_receiver_is_down_is_merged_and_why_says_so() {
    let place = Place::new();
    place.receiver.otherwise(Answer::status(503));
    let server = Server::start(&place.config(""));
    let send = |disk: &str| {
        let run = server.alpha(&["alert", "send", "DiskFull", disk, "--for", "1h"]);
        assert_eq!(run.code, 0, "{}", run.errors);
    };
    send("disk=a");
    eventually("the receiver refuses the first", || {
        (!place.receiver.received().is_empty()).then_some(())
    });
    send("disk=b");
    let why = || {
        let listed = server.json(&["alert", "list", "disk=a"]);
        let fingerprint = listed[0]["fingerprint"].as_str().unwrap().to_owned();
        server.alpha(&["alert", "why", &fingerprint]).output
    };
    eventually("the first is taken in by a newer one", || {
        why().contains("merged").then_some(())
    });
    place.receiver.otherwise(Answer::status(200));
    let told = eventually("one message tells both", || {
        place
            .told("/hook")
            .into_iter()
            .find(|told| told["alerts"].as_array().is_some_and(|alerts| alerts.len() == 2))
    });
    assert_eq!(told["status"], "firing");
    eventually("it is sent", || {
        let why = why();
        (why.contains("merged") && why.contains("sent")).then_some(())
    });
}
