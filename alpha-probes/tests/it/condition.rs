//! The language of conditions against what it promises: Gatus' documented behaviour, units, time, and messages.

use std::borrow::Cow;

use alpha_probes::condition::{Condition, Evidence, Outcome, Quantifier, Series};
use alpha_probes::probe::{DefaultRule, Level, Metric};
use alpha_probes::rule::{Rules, Sustained};
use alpha_probes::{Body, CheckConfig, Labels, Observation, ProbeKind, Unit, text};
use insta::assert_snapshot;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// One past for all measurements: a value every minute, the last one now.
#[derive(Debug, Default)]
struct Past(Vec<f64>);

impl Series for Past {
    fn points(&self, _: &str, _: &Labels, since: Timestamp, out: &mut Vec<(Timestamp, f64)>) {
        for (age, value) in self.0.iter().rev().enumerate().rev() {
            let at = NOW - SignedDuration::from_mins(age as i64);
            if at >= since {
                out.push((at, *value));
            }
        }
    }
}

/// `yes`, `no`, `waiting` or `unknown`, and the sentence.
fn judge(
    source: &str,
    observation: &Observation,
    past: &[f64],
    quantifier: Quantifier,
) -> (&'static str, String) {
    let condition =
        Condition::parse(source).unwrap_or_else(|error| panic!("{}\n{error}", error.pointing_at(source)));
    let past = Past(past.to_vec());
    let evidence = Evidence {
        observation,
        series: &past,
        now: NOW,
    };
    match condition.evaluate(&evidence, quantifier) {
        Outcome::Holds(finding) => ("yes", finding.text().to_string()),
        Outcome::Fails(finding) => ("no", finding.text().to_string()),
        Outcome::Waiting(why) => ("waiting", why.to_string()),
        Outcome::Unknown(why) => ("unknown", why.to_string()),
    }
}

fn answer(source: &str, observation: &Observation) -> &'static str {
    judge(source, observation, &[], Quantifier::All).0
}

fn with_body(text: &str) -> Observation {
    let mut observation = Observation::new();
    observation.body = Some(match serde_json::from_str(text) {
        Ok(document) => Body::Json(document),
        Err(_) => Body::Text(text.to_owned()),
    });
    observation
}

fn with_fact(name: &'static str, value: serde_json::Value) -> Observation {
    let mut observation = Observation::new();
    observation.facts.insert(Cow::Borrowed(name), value);
    observation
}

fn with_header(content_type: &str) -> Observation {
    let mut observation = with_body("{}");
    observation
        .headers
        .push(("content-type".to_owned(), content_type.to_owned()));
    observation
}

fn status(code: f64) -> Observation {
    Observation::new().with("status", code, Unit::Count)
}

fn milliseconds(value: f64) -> Observation {
    Observation::new().with("response_time", value / 1000.0, Unit::Seconds)
}

fn hours(name: &'static str, value: f64) -> Observation {
    Observation::new().with(name, value * 3600.0, Unit::Seconds)
}

/// Every condition of Gatus' documentation, with the values it says pass and fail.
#[test]
fn what_gatus_documents_means_the_same() {
    let table: Vec<(&str, Vec<Observation>, Vec<Observation>)> = vec![
        (
            "[STATUS] == 200",
            vec![status(200.0)],
            vec![status(201.0), status(404.0)],
        ),
        (
            "[STATUS] < 300",
            [200.0, 201.0, 299.0].map(status).into(),
            [301.0, 302.0].map(status).into(),
        ),
        (
            "[STATUS] <= 299",
            [200.0, 201.0, 299.0].map(status).into(),
            [301.0, 302.0].map(status).into(),
        ),
        (
            "[STATUS] > 400",
            [401.0, 402.0, 403.0, 404.0].map(status).into(),
            [400.0, 200.0].map(status).into(),
        ),
        (
            "[STATUS] == any(200, 429)",
            [200.0, 429.0].map(status).into(),
            [201.0, 400.0].map(status).into(),
        ),
        (
            "any(200, 429) == [STATUS]",
            [200.0, 429.0].map(status).into(),
            [201.0, 400.0].map(status).into(),
        ),
        ("[STATUS] == pat(2*)", vec![status(204.0)], vec![status(404.0)]),
        (
            "[CONNECTED] == true",
            vec![Observation::new()],
            vec![Observation::failed(text!("refused"))],
        ),
        (
            "[RESPONSE_TIME] < 500",
            [100.0, 200.0, 300.0, 499.9].map(milliseconds).into(),
            [500.0, 500.4, 501.0].map(milliseconds).into(),
        ),
        (
            "[RESPONSE_TIME] <= 500",
            vec![milliseconds(500.4)],
            vec![milliseconds(501.0)],
        ),
        (
            "[RESPONSE_TIME] < 1s",
            vec![milliseconds(50.0)],
            vec![milliseconds(1000.0)],
        ),
        (
            "[response_time] < 500ms",
            vec![milliseconds(50.0)],
            vec![milliseconds(500.0)],
        ),
        (
            "[IP] == 127.0.0.1",
            vec![with_fact("ip", json!("127.0.0.1"))],
            vec![with_fact("ip", json!("0.0.0.0"))],
        ),
        (
            "[IP] == pat(192.168.*)",
            vec![with_fact("ip", json!("192.168.0.232"))],
            vec![with_fact("ip", json!("10.0.0.1"))],
        ),
        (
            "[BODY] == 1",
            vec![with_body("1")],
            vec![with_body("{}"), with_body("2")],
        ),
        ("[BODY] == test", vec![with_body("test")], vec![with_body("best")]),
        ("[BODY] < 124", vec![with_body("123")], vec![with_body("124")]),
        (
            "[BODY].user.name == john",
            vec![with_body(r#"{"user":{"name":"john"}}"#)],
            vec![with_body(r#"{"user":{}}"#), with_body("john"), with_body("null")],
        ),
        (
            "[BODY].data[0].id == 1",
            vec![with_body(r#"{"data":[{"id":1}]}"#)],
            vec![with_body(r#"{"data":[]}"#)],
        ),
        (
            "[BODY][0].id == 1",
            vec![with_body(r#"[{"id":1}]"#)],
            vec![with_body(r#"{"id":1}"#)],
        ),
        (
            "[BODY].age == [BODY].id",
            vec![with_body(r#"{"age":1,"id":1}"#)],
            vec![with_body(r#"{"age":1,"id":2}"#)],
        ),
        (
            "[BODY].user.firstName != [BODY].user.lastName",
            vec![with_body(r#"{"user":{"firstName":"john","lastName":"doe"}}"#)],
            vec![with_body(r#"{"user":{"firstName":"doe","lastName":"doe"}}"#)],
        ),
        (
            "len([BODY].data) < 5",
            vec![with_body(r#"{"data":[{"id":1}]}"#)],
            vec![with_body(r#"{"data":[1,2,3,4,5]}"#), with_body("{}")],
        ),
        (
            "len([BODY].name) == 8",
            vec![with_body(r#"{"name":"john.doe"}"#)],
            vec![with_body(r#"{"name":"bob"}"#)],
        ),
        (
            "len([BODY].username) > 8",
            vec![with_body(r#"{"username":"john.doe.2"}"#)],
            vec![with_body(r#"{"username":"bob"}"#)],
        ),
        (
            "len([BODY]) == 3",
            vec![with_body("[1,2,3]"), with_body("bob")],
            vec![with_body("[1]")],
        ),
        (
            "len([BODY][0]) == 23",
            vec![with_body(r#"[{"age": 18, "adult": true}]"#)],
            vec![with_body("[1]")],
        ),
        (
            "len([BODY].data) == 3",
            vec![with_body(r#"{"data":"0x1"}"#)],
            vec![with_body(r#"{"data":"0x01"}"#)],
        ),
        (
            "has([BODY].errors) == false",
            vec![with_body(r#"{"name":"john.doe"}"#)],
            vec![with_body(r#"{"errors":[]}"#)],
        ),
        (
            "has([BODY].users) == true",
            vec![with_body(r#"{"users":[]}"#)],
            vec![with_body("{}")],
        ),
        (
            "[BODY].name == pat(john*)",
            vec![with_body(r#"{"name":"john.doe"}"#)],
            vec![with_body(r#"{"name":"bob"}"#)],
        ),
        (
            "[BODY].data == pat(*Whatever*)",
            vec![with_body(r#"{"data":["hello","Whatever"]}"#)],
            vec![with_body(r#"{"data":["hello"]}"#)],
        ),
        (
            "[BODY] == pat(*<div id=\"user\">john.doe</div>*)",
            vec![with_body("<html><div id=\"user\">john.doe</div></html>")],
            vec![with_body("<html><div id=\"user\">jane.doe</div></html>")],
        ),
        (
            "pat(*<h1>Example (Domain)</h1>*) == [BODY]",
            vec![with_body("<h1>Example (Domain)</h1>")],
            vec![with_body("<h1>Example</h1>")],
        ),
        (
            "[BODY].id == any(1, 2)",
            vec![with_body(r#"{"id":1}"#), with_body(r#"{"id":"2"}"#)],
            [3, 4, 5]
                .map(|id| with_body(&json!({ "id": id }).to_string()))
                .into(),
        ),
        (
            "[BODY].ip == any(127.0.0.1, ::1)",
            vec![with_body(r#"{"ip":"::1"}"#)],
            vec![with_body(r#"{"ip":"::2"}"#)],
        ),
        (
            "[BODY].data == 15",
            vec![with_body(r#"{"data":"0xF"}"#)],
            vec![with_body(r#"{"data":"0xE"}"#)],
        ),
        (
            "[BODY].price == 24.99",
            vec![with_body(r#"{"price":24.99}"#)],
            vec![with_body(r#"{"price":24.98}"#)],
        ),
        (
            "[BODY].balance > 100",
            vec![with_body(r#"{"balance":"123.40000000000005"}"#)],
            vec![with_body(r#"{"balance":"99"}"#)],
        ),
        (
            "[BODY].ok == true",
            vec![with_body(r#"{"ok":true}"#)],
            vec![with_body(r#"{"ok":false}"#)],
        ),
        (
            "[BODY].message == hello world",
            vec![with_body(r#"{"message":"hello world"}"#)],
            vec![with_body(r#"{"message":"hello"}"#)],
        ),
        (
            "[BODY].day == 2024-01-02",
            vec![with_body(r#"{"day":"2024-01-02"}"#)],
            vec![with_body(r#"{"day":2021}"#)],
        ),
        (
            "[CERTIFICATE_EXPIRATION] > 48h",
            [49.0, 50.0, 123.0]
                .map(|value| hours("certificate_expiration", value))
                .into(),
            [1.0, 24.0]
                .map(|value| hours("certificate_expiration", value))
                .into(),
        ),
        (
            "[CERTIFICATE_EXPIRATION] > 2419200000",
            vec![hours("certificate_expiration", 60.0 * 24.0)],
            vec![hours("certificate_expiration", 14.0 * 24.0)],
        ),
        (
            "[DOMAIN_EXPIRATION] > 720h",
            vec![hours("domain_expiration", 4000.0)],
            [1.0, 24.0].map(|value| hours("domain_expiration", value)).into(),
        ),
        (
            "[DNS_RCODE] == NOERROR",
            vec![with_fact("dns_rcode", json!("NOERROR"))],
            vec![with_fact("dns_rcode", json!("NXDOMAIN"))],
        ),
        (
            "[HEADER].Content-Type == pat(application/json*)",
            vec![with_header("application/json; charset=utf-8")],
            vec![with_header("text/html")],
        ),
        (
            "age([BODY].updated_at) < 10m",
            vec![
                with_body(r#"{"updated_at":"2027-01-15T07:55:00Z"}"#),
                with_body(r#"{"updated_at":1799999900}"#),
            ],
            vec![with_body(r#"{"updated_at":"2027-01-15T07:45:00Z"}"#)],
        ),
        (
            "[BODY].items[*].state == up",
            vec![with_body(r#"{"items":[{"state":"up"},{"state":"up"}]}"#)],
            vec![
                with_body(r#"{"items":[{"state":"up"},{"state":"down"}]}"#),
                with_body(r#"{"items":[]}"#),
            ],
        ),
    ];
    for (source, passing, failing) in table {
        for observation in passing {
            assert_eq!(answer(source, &observation), "yes", "{source} on {observation:?}");
        }
        for observation in failing {
            assert_eq!(answer(source, &observation), "no", "{source} on {observation:?}");
        }
    }
}

fn server() -> Observation {
    let mut observation = Observation::new()
        .with("connections", 85.0, Unit::Count)
        .with("connections_max", 100.0, Unit::Count)
        .with("received", 5e9, Unit::Bytes)
        .with("requests", 0.0, Unit::Count)
        .with("errors", 0.0, Unit::Count)
        .with("running", 1.0, Unit::Boolean)
        .with(
            "certificate_not_after",
            1_800_000_000.0 + 86_400.0,
            Unit::UnixSeconds,
        );
    for (mount, device, used) in [
        ("/", "sda1", 0.5),
        ("/data", "sdb1", 0.91),
        ("/backup", "sdc1", 0.85),
    ] {
        let labels = vec![
            ("mount".into(), mount.to_owned()),
            ("device".into(), device.to_owned()),
        ];
        observation.push("used", used, Unit::Ratio, labels.clone());
        if mount != "/backup" {
            observation.push("inodes_used", 0.1, Unit::Ratio, labels);
        }
    }
    for (device, busy) in [("sda1", 0.2), ("sdb1", 0.1), ("sdc1", 0.99)] {
        observation.push(
            "busy",
            busy,
            Unit::Ratio,
            vec![("device".into(), device.to_owned())],
        );
    }
    observation.facts.insert(
        "container".into(),
        json!({ "state": "running", "image": { "tag": "v1" } }),
    );
    observation.facts.insert("version".into(), json!("16.2"));
    observation
}

#[test]
fn an_alarm_asks_for_any_and_a_requirement_for_all() {
    for (source, quantifier, expected) in [
        ("[used] > 80%", Quantifier::Any, "yes"),
        ("[used] > 80%", Quantifier::All, "no"),
        ("[used] < 95%", Quantifier::All, "yes"),
        ("[used] > 95%", Quantifier::Any, "no"),
        (r#"[used{mount="/"}] > 80%"#, Quantifier::Any, "no"),
        (
            r#"[used{mount!="/",mount!="/data"}] > 80%"#,
            Quantifier::Any,
            "yes",
        ),
        ("!([used] < 80%)", Quantifier::Any, "yes"),
        // The disk that is busy is not the one that is full: both must be true of one device.
        ("[used] > 90% && [busy] > 90%", Quantifier::Any, "no"),
        ("[used] > 80% && [busy] > 90%", Quantifier::Any, "yes"),
        // One file system tells no inodes; that says nothing about the others.
        ("[used] > 95% || [inodes_used] > 95%", Quantifier::Any, "no"),
        ("[used] > 80% && [inodes_used] > 80%", Quantifier::Any, "no"),
        ("[used] < 95% && [inodes_used] < 95%", Quantifier::All, "yes"),
        ("[used] < 90% && [inodes_used] < 95%", Quantifier::All, "no"),
    ] {
        assert_eq!(
            judge(source, &server(), &[], quantifier).0,
            expected,
            "{source} for {quantifier:?}"
        );
    }
}

#[test]
fn a_finding_names_the_worst_with_its_value_and_limit() {
    let say = |source: &str, quantifier| judge(source, &server(), &[0.0, 30.0, 60.0], quantifier).1;
    let any = Quantifier::Any;
    assert_snapshot!(say("[used] > 80%", any), @r#"used{mount="/data",device="sdb1"} is 91 %, limit > 80 %"#);
    assert_snapshot!(say("[used] < 80%", Quantifier::All), @r#"used{mount="/data",device="sdb1"} is 91 %, required < 80 %"#);
    assert_snapshot!(say("[connections] / [connections_max] > 80%", any), @"connections / connections_max is 85 %, limit > 80 %");
    assert_snapshot!(say("80% < [connections] / [connections_max]", any), @"connections / connections_max is 85 %, limit > 80 %");
    assert_snapshot!(say("[received] > 4GB", any), @"received is 5 GB, limit > 4 GB");
    assert_snapshot!(say("[received] > 4000000000", any), @"received is 5 GB, limit > 4 GB");
    assert_snapshot!(say("[connections] > [connections_max]", any), @"connections is 85, limit > connections_max (100)");
    assert_snapshot!(say("[CONNECTED]", any), @"connected is yes, limit == yes");
    assert_snapshot!(say("![running]", Quantifier::All), @"running is yes, required != yes");
    assert_snapshot!(say("[version] == any(15.1, 16.1)", any), @"version is 16.2, limit == any(15.1, 16.1)");
    assert_snapshot!(say("rate([requests], 5m) > 0.1/s", any), @"rate(requests, 5m) is 0.5/s, limit > 0.1/s");
    assert_snapshot!(say("[certificate_not_after] - now() < 14d", any), @"certificate_not_after - now() is 1 d, limit < 14 d");
    let slow = milliseconds(750.0);
    assert_snapshot!(judge("[RESPONSE_TIME] < 500", &slow, &[], Quantifier::All).1, @"response_time is 750 ms, required < 500 ms");
    let page = with_body(&format!("<html>{}</html>", "x".repeat(200)));
    assert_snapshot!(judge("[BODY] == pat(*ok*)", &page, &[], Quantifier::All).1, @"[BODY] is <html>xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…, required == pat(*ok*)");
    assert_snapshot!(judge("[BODY].status == UP", &with_body("{}"), &[], Quantifier::All).1, @"[BODY].status is missing, required == UP");
}

#[test]
fn what_is_missing_is_unknown_and_says_what_there_is() {
    let say = |source: &str| judge(source, &server(), &[], Quantifier::All).1;
    assert_snapshot!(say("[memory] < 80%"), @"[memory] is not there, only connections, connections_max, received, requests, errors, running, certificate_not_after, used, inodes_used, busy, container, version");
    assert_snapshot!(say(r#"[used{mount="/x"}] < 80%"#), @r#"nothing matches [used{mount="/x"}], only used{mount="/",device="sda1"}, used{mount="/data",device="sdb1"}, used{mount="/backup",device="sdc1"}"#);
    assert_snapshot!(say("[errors] / [requests] < 5%"), @"[requests] is zero and cannot divide");
    assert_snapshot!(say("[connections] < 5m"), @"count cannot be compared with seconds");
    assert_snapshot!(say("[container.state] > 15"), @r#""running" is no number"#);
    assert_snapshot!(say("[BODY].status == UP"), @"there is no document that [BODY].status could look into");
    let down = Observation::failed(text!("connection refused"));
    assert_snapshot!(judge("[STATUS] == 200", &down, &[], Quantifier::All).1, @"[status] is not known: connection refused");
    // Whether something missing differs cannot be told either; yes would be good news from nothing.
    assert_eq!(answer("[BODY].status != down", &with_body("{}")), "unknown");
}

#[test]
fn unknown_counts_only_where_it_could_change_the_answer() {
    for (source, expected) in [
        ("[memory] > 1 && [connections] > 99", "no"),
        ("[memory] > 1 && [connections] > 1", "unknown"),
        ("[memory] > 1 || [connections] > 1", "yes"),
        ("[memory] > 1 || [connections] > 99", "unknown"),
        ("!([memory] > 1)", "unknown"),
        ("[requests] > 0 && [errors] / [requests] > 5%", "no"),
        (
            "[connections] > 1 || [connections] > 99 && [connections] > 100",
            "yes",
        ),
        (
            "([connections] > 1 || [connections] > 99) && [connections] > 100",
            "no",
        ),
    ] {
        assert_eq!(answer(source, &server()), expected, "{source}");
    }
}

#[test]
fn facts_are_compared_as_texts_and_reached_into() {
    for (source, expected) in [
        ("[container.state] == running", "yes"),
        ("[container].image.tag == v1", "yes"),
        ("[container.image.tag] != v1", "no"),
        ("[version] == pat(16.*)", "yes"),
        ("[version] >= 16", "yes"),
        ("has([container.exit_code])", "no"),
        ("has([container.state]) && has([used])", "yes"),
        ("[container.state] == \"running\"", "yes"),
    ] {
        assert_eq!(answer(source, &server()), expected, "{source}");
    }
}

#[test]
fn functions_over_time_look_at_their_window() {
    let rising: Vec<f64> = (0..=60).map(|minute| f64::from(minute) * 60.0).collect();
    let observation = Observation::new().with("x", 3600.0, Unit::Count);
    for (source, past, expected) in [
        ("rate([x], 5m) == 1/s", rising.clone(), "yes"),
        ("delta([x], 10m) == 600", rising.clone(), "yes"),
        ("avg([x], 10m) == 3300", rising.clone(), "yes"),
        ("min([x], 10m) == 3000", rising.clone(), "yes"),
        ("max([x], 10m) == 3600", rising.clone(), "yes"),
        ("p50([x], 10m) == 3300", rising.clone(), "yes"),
        ("p95([x], 10m) == 3570", rising.clone(), "yes"),
        (
            "forecast([x], 24h) > 89999 && forecast([x], 24h) < 90001",
            rising.clone(),
            "yes",
        ),
        (
            "forecast([x], 1h, 30m) > 7199 && forecast([x], 1h, 30m) < 7201",
            rising.clone(),
            "yes",
        ),
        ("changed([x]) == 0s", rising.clone(), "yes"),
        ("changed([x]) > 60s", vec![1.0, 3.0, 3.0, 3.0], "yes"),
        ("changed([x]) > 3m", vec![1.0, 3.0, 3.0, 3.0], "no"),
        // It looks back further than an hour because the limit asks for it.
        ("changed([x]) > 2h", vec![3.0; 200], "yes"),
        ("changed([x]) > 60s", vec![3.0], "waiting"),
        ("rate([x], 5m) > 0", vec![3.0], "waiting"),
        ("p95([x], 2m) > 0", rising.clone(), "waiting"),
        ("forecast([x], 24h) > 0", vec![1.0; 9], "waiting"),
        ("forecast([x], 24h) > 0 || [x] > 1", vec![1.0; 9], "yes"),
        ("forecast([x], 24h) > 0 && [y] > 1", vec![1.0; 9], "unknown"),
    ] {
        let (found, why) = judge(source, &observation, &past, Quantifier::Any);
        assert_eq!(found, expected, "{source}: {why}");
    }
    let why = judge("p95([x], 2m) > 0", &observation, &rising, Quantifier::Any).1;
    assert_snapshot!(why, @"p95([x], 2m) needs 5 values, there are 3 so far");
    let windows = Condition::parse("forecast([X], 24h) > 1 && changed([y]) > 2h")
        .unwrap()
        .windows();
    assert_eq!(
        windows
            .iter()
            .map(|(name, window)| (name.as_str(), window.as_secs()))
            .collect::<Vec<_>>(),
        [("x", 86_400), ("y", 10_800)]
    );
}

/// The two lines of source and caret, and the message.
fn refusal(source: &str) -> String {
    match Condition::parse(source) {
        Ok(condition) => panic!("{source} was read as {condition}"),
        Err(error) => format!("{}\n{}", error.pointing_at(source), error.message),
    }
}

#[test]
fn what_is_wrong_is_pointed_at() {
    assert_snapshot!(refusal("[cpu] >"), @"
    [cpu] >
           ^
    expected a value, found the end
    ");
    assert_snapshot!(refusal("[STATUS] ? 201"), @"
    [STATUS] ? 201
             ^
    expected a comparison such as `== 200`, found `?`
    ");
    assert_snapshot!(refusal("[STATUS] = = 201"), @"
    [STATUS] = = 201
             ^
    expected `==`, found `=`
    ");
    assert_snapshot!(refusal("1 == 2"), @"
    1 == 2
    ^
    neither side names a measurement; names stand in brackets: `[status]`
    ");
    assert_snapshot!(refusal("connections / max > 80%"), @"
    connections / max > 80%
    ^
    neither side names a measurement; names stand in brackets: `[status]`
    ");
    assert_snapshot!(refusal("[STATUS] == 200 || 204"), @"
    [STATUS] == 200 || 204
                       ^
    expected a comparison such as `[status] == 200`, found only a value
    ");
    assert_snapshot!(refusal("[STATUS] == 200 || DEGRADED"), @"
    [STATUS] == 200 || DEGRADED
                       ^
    expected a comparison; names stand in brackets: `[DEGRADED]`
    ");
    assert_snapshot!(refusal("cpu"), @"
    cpu
    ^
    expected a comparison; names stand in brackets: `[cpu]`
    ");
    assert_snapshot!(refusal("[cpu] > eighty"), @"
    [cpu] > eighty
            ^
    expected a number after `>`, found `eighty`
    ");
    assert_snapshot!(refusal("[RESPONSE_TIME] < 10GB"), @"
    [RESPONSE_TIME] < 10GB
                      ^
    seconds cannot be compared with bytes
    ");
    assert_snapshot!(refusal("[a] > 1 && "), @"
    [a] > 1 && 
               ^
    expected a value, found the end
    ");
    assert_snapshot!(refusal("([a] > 1"), @"
    ([a] > 1
            ^
    expected `)`, found the end
    ");
    assert_snapshot!(refusal("[a] > 1 )"), @"
    [a] > 1 )
            ^
    expected `&&`, `||` or the end, found `)`
    ");
    assert_snapshot!(refusal("[a > 1"), @"
    [a > 1
       ^
    expected `]`, found `>`
    ");
    assert_snapshot!(refusal("[used{mount=/}] > 1"), @"
    [used{mount=/}] > 1
                ^
    expected a value in quotes, found `/}]`
    ");
    assert_snapshot!(refusal("raet([a], 5m) > 1"), @"
    raet([a], 5m) > 1
    ^
    there is no function `raet`, did you mean `rate`?
    ");
    assert_snapshot!(refusal("rate([a]) > 1"), @"
    rate([a]) > 1
            ^
    expected `,`, found `)`
    ");
    assert_snapshot!(refusal("rate([a], 5) > 1"), @"
    rate([a], 5) > 1
              ^
    expected a span of time such as `5m`, at most 90d, found `5)`
    ");
    assert_snapshot!(refusal("1 < [a] < 2"), @"
    1 < [a] < 2
            ^
    comparisons cannot be chained: join two with `&&`
    ");
    assert_snapshot!(refusal("[a] == \"open"), @r#"
    [a] == "open
           ^
    this quote is not closed
    "#);
    assert_snapshot!(refusal("[BODY] == pat(*[*)"), @r"
    [BODY] == pat(*[*)
                  ^
    this pattern has a class that is empty or not closed; put `\` before a `[` that is meant itself
    ");
    assert_snapshot!(refusal("[状态] == 好 && [b] >"), @"
    [状态] == 好 && [b] >
                      ^
    expected a value, found the end
    ");
    assert_snapshot!(refusal("changed([a], 1h) > 2h"), @"
    changed([a], 1h) > 2h
    ^
    this looks back less far than the limit it is compared with, so that it could never be reached
    ");
    assert_snapshot!(refusal("now() + now() > [a]"), @"
    now() + now() > [a]
          ^
    unix_seconds + unix_seconds means nothing
    ");
    assert!(refusal(&"(".repeat(100)).contains("nest at most 32 deep"));
    assert!(refusal(&format!("[a] == {}", "x".repeat(5000))).contains("at most 4096 bytes"));
    assert!(refusal(&format!("[a] == 1{}", " && [a] == 1".repeat(100))).contains("at most 64 values"));
}

static KIND: ProbeKind = ProbeKind {
    name: "web",
    summary: "a web server",
    metrics: &[
        Metric::gauge("response_time", Unit::Seconds, "how long it took"),
        Metric::gauge("used", Unit::Ratio, "the share in use"),
        Metric::gauge("size", Unit::Bytes, "how large it is"),
        Metric::gauge("running", Unit::Boolean, "whether it runs"),
        Metric::counter("requests", Unit::Count, "how many came"),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Warning,
            when: "[used] > 80%",
            sustained: "2m",
            says: "{mount} is {used} full, limit {limit}",
            remedy: "make room on {mount}",
        },
        DefaultRule {
            level: Level::Critical,
            when: "[used] > 90%",
            sustained: "",
            says: "{mount} is {used} full, {nothing} is left",
            remedy: "",
        },
    ],
};

#[test]
fn names_and_units_are_checked_against_the_probe() {
    let refusal = |source: &str| match Condition::parse(source).unwrap().check_names(&KIND) {
        Ok(()) => "accepted".to_owned(),
        Err(error) => format!("{}\n{}", error.pointing_at(source), error.message),
    };
    assert_snapshot!(refusal("[respnse_time] > 5s"), @"
    [respnse_time] > 5s
    ^
    the probe `web` measures no `respnse_time`, did you mean `[response_time]`?
    ");
    assert_snapshot!(refusal("[size] > 14d"), @"
    [size] > 14d
             ^
    bytes cannot be compared with seconds
    ");
    assert_snapshot!(refusal("[used] > 80"), @"
    [used] > 80
             ^
    this is a share from 0 to 1: write `80%`
    ");
    assert_snapshot!(refusal("[used] == full"), @"
    [used] == full
              ^
    expected ratio, found the text `full`
    ");
    assert_snapshot!(refusal("[size]"), @"
    [size]
    ^
    this is bytes and says neither yes nor no: compare it with a number
    ");
    assert_snapshot!(refusal("[STATUS] == 200"), @"
    [STATUS] == 200
    ^
    the probe `web` measures no `status`, only response_time, used, size, running, requests
    ");
    assert_snapshot!(refusal("[running] == up"), @"
    [running] == up
                 ^
    expected `true` or `false`, found `up`
    ");
    assert_snapshot!(refusal("rate([size], 5m) > 1MB/s"), @"
    rate([size], 5m) > 1MB/s
         ^
    `[size]` goes up and down, `rate` is for counters: use `delta`
    ");
    assert_snapshot!(refusal("rate([requests], 5m) > 1MB/s"), @"
    rate([requests], 5m) > 1MB/s
                           ^
    per_second cannot be compared with bytes_per_second
    ");
    assert_snapshot!(refusal("[size] + [response_time] > 1"), @"
    [size] + [response_time] > 1
           ^
    bytes + seconds means nothing
    ");
    assert_snapshot!(refusal("[memory] > 5"), @"
    [memory] > 5
    ^
    the probe `web` measures no `memory`, only response_time, used, size, running, requests
    ");
    for source in [
        "[RESPONSE_TIME] < 300",
        "[Response_Time] < 300ms",
        "[running]",
        "![running] || [used] > 0.9",
        "rate([requests], 5m) > 100/s",
        "[size] / 10GB > 80%",
        "[IP] == 127.0.0.1",
        "[some_fact] == up",
        "[BODY].status == UP",
        "forecast([size], 24h) > 10GB",
    ] {
        assert_eq!(refusal(source), "accepted", "{source}");
    }
}

fn full_disk() -> Observation {
    let mut observation = Observation::new();
    for (mount, used) in [("/", 0.5), ("/data", 0.93)] {
        observation.push(
            "used",
            used,
            Unit::Ratio,
            vec![("mount".into(), mount.to_owned())],
        );
    }
    observation
}

#[test]
fn default_rules_speak_their_own_sentence() {
    let rules = Rules::defaults(&KIND);
    assert_eq!(
        rules.raised.iter().map(|rule| rule.level).collect::<Vec<_>>(),
        [Level::Critical, Level::Warning]
    );
    let (observation, past) = (full_disk(), Past::default());
    let evidence = Evidence {
        observation: &observation,
        series: &past,
        now: NOW,
    };
    let spoken: Vec<_> = rules
        .raised
        .iter()
        .map(|rule| match rule.condition.evaluate(&evidence, Quantifier::Any) {
            Outcome::Holds(finding) => (
                rule.reason(&observation, &finding).to_string(),
                rule.advice(&observation, &finding)
                    .map(|advice| advice.to_string()),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        spoken,
        [
            // A placeholder that nothing fills must not reach a person.
            (r#"used{mount="/data"} is 93 %, limit > 90 %"#.to_owned(), None),
            (
                "/data is 93 % full, limit > 80 %".to_owned(),
                Some("make room on /data".to_owned())
            ),
        ]
    );
    assert_eq!(
        rules.raised[1].sustained,
        Sustained::For(std::time::Duration::from_secs(120))
    );
}

fn config(keys: serde_json::Value) -> CheckConfig {
    serde_json::from_value(keys).expect("a check")
}

#[test]
fn a_check_replaces_the_defaults_it_speaks_about() {
    let sources = |config: serde_json::Value| {
        let rules = Rules::compile(&self::config(config), &KIND).unwrap();
        let all = rules.required.iter().chain(&rules.raised);
        all.map(|rule| rule.source.to_string())
            .collect::<Vec<_>>()
            .join(" | ")
    };
    assert_eq!(sources(json!({})), "[used] > 90% | [used] > 80%");
    assert_eq!(
        sources(json!({ "warn": "[used] > 70%" })),
        "[used] > 90% | [used] > 70%"
    );
    assert_eq!(
        sources(json!({ "crit": "[used] > 95%" })),
        "[used] > 95% | [used] > 80%"
    );
    assert_eq!(
        sources(json!({ "conditions": ["[RESPONSE_TIME] < 300"] })),
        "[RESPONSE_TIME] < 300 | [used] > 80%"
    );
    assert_eq!(sources(json!({ "defaults": false })), "");
    let rules = Rules::compile(
        &config(json!({ "warn": "[used] > 70%", "clear": "[used] < 60%", "for": "3 of 5" })),
        &KIND,
    )
    .unwrap();
    assert!(
        rules
            .raised
            .iter()
            .all(|rule| rule.sustained == Sustained::Of { times: 3, runs: 5 })
    );
    assert_eq!(
        rules
            .raised
            .iter()
            .map(|rule| rule.clear.is_some())
            .collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn all_problems_of_a_check_are_told_at_once() {
    let config = config(json!({
        "conditions": ["[STATUS] ==", "[size] > 1GB", "[sise] > 1GB"],
        "warn": "[used] > 14d",
        "clear": "[used",
        "for": "6 of 5",
    }));
    let problems = Rules::compile(&config, &KIND).unwrap_err();
    let told: Vec<_> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.key, problem.error))
        .collect();
    assert_snapshot!(told.join("\n"), @r#"
    for: expected `3 of 5` (at most 64 runs) or a duration such as `2m`, found "6 of 5"
    conditions.0: expected a value, found the end, at column 12 of "[STATUS] =="
    conditions.2: the probe `web` measures no `sise`, did you mean `[size]`?, at column 1 of "[sise] > 1GB"
    warn: ratio cannot be compared with seconds, at column 10 of "[used] > 14d"
    clear: expected `]`, found the end, at column 6 of "[used"
    "#);
    let lonely = Rules::compile(&self::config(json!({ "clear": "[used] < 1%" })), &KIND).unwrap_err();
    assert_eq!(lonely[0].key, "clear");
}

#[test]
fn a_time_to_last_is_read() {
    let seconds = |seconds| Ok(Sustained::For(std::time::Duration::from_secs(seconds)));
    assert_eq!(Sustained::parse("2m"), seconds(120));
    assert_eq!(
        Sustained::parse(" 3  of 5 "),
        Ok(Sustained::Of { times: 3, runs: 5 })
    );
    assert_eq!(Sustained::parse(""), Ok(Sustained::AtOnce));
    assert_eq!(Sustained::parse("0s"), Ok(Sustained::AtOnce));
    for wrong in [
        "3",
        "0 of 5",
        "6 of 5",
        "3 of 65",
        "3 of",
        "of",
        "-2m",
        "3 of 5 of 6",
        "soon",
    ] {
        assert!(Sustained::parse(wrong).is_err(), "{wrong} was read");
    }
}

/// Every default rule compiles, and every placeholder of its sentences is something its kind can fill: a metric, or a
/// word that its source files spell out as the name of a fact or a label.
#[test]
fn the_default_rules_of_all_kinds_compile_and_their_sentences_can_be_filled() {
    let mut sources = String::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/probes"
    ))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => sources.push_str(&std::fs::read_to_string(path).unwrap()),
            }
        }
    }
    for kind in alpha_probes::probe::kinds() {
        for rule in kind.rules {
            let condition = Condition::parse(rule.when)
                .unwrap_or_else(|error| panic!("{}: {}\n{error}", kind.name, error.pointing_at(rule.when)));
            condition
                .check_names(kind)
                .unwrap_or_else(|error| panic!("{}: {}\n{error}", kind.name, error.pointing_at(rule.when)));
            Sustained::parse(rule.sustained).unwrap_or_else(|error| panic!("{}: {error}", kind.name));
            for template in [rule.says, rule.remedy] {
                for name in template
                    .split('{')
                    .skip(1)
                    .map(|part| part.split('}').next().unwrap())
                {
                    let is_known = ["subject", "value", "limit"].contains(&name)
                        || kind.metrics.iter().any(|metric| metric.name == name)
                        || sources.contains(&format!("\"{name}\""));
                    assert!(
                        is_known,
                        "{}: nothing fills {{{name}}} of \"{template}\"",
                        kind.name
                    );
                }
            }
        }
    }
}

/// Every example of the reference is accepted, and what it calls wrong is refused.
#[test]
fn the_examples_of_the_reference_are_true() {
    let reference = include_str!("../../../docs/reference/conditions.md");
    let (mut accepted, mut refused) = (0, 0);
    let mut block = None;
    for line in reference.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language),
            (Some(_), Some(_)) => block = None,
            (None, Some("condition")) if !line.is_empty() => {
                let parsed = Condition::parse(line);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                accepted += 1;
            }
            (None, Some("wrong")) if !line.is_empty() => {
                assert!(Condition::parse(line).is_err(), "{line} was accepted");
                refused += 1;
            }
            (None, None) if line.starts_with("| `") => {
                // The first cell of a table shows a condition where it compares something.
                let cell = line
                    .trim_start_matches("| `")
                    .split('`')
                    .next()
                    .unwrap()
                    .replace("\\|", "|");
                if ["==", "!=", "<", ">"]
                    .iter()
                    .any(|operator| cell.contains(&format!(" {operator} ")))
                {
                    let parsed = Condition::parse(&cell);
                    assert!(parsed.is_ok(), "{cell}: {}", parsed.unwrap_err());
                    accepted += 1;
                }
            }
            _ => {}
        }
    }
    assert!(
        accepted > 30 && refused > 5,
        "{accepted} accepted, {refused} refused"
    );
}

#[test]
fn brackets_may_be_left_out_around_a_simple_name() {
    for (bare, bracketed) in [
        ("used > 80%", "[used] > 80%"),
        ("80% < used", "[used] > 80%"),
        ("STATUS == 200", "[STATUS] == 200"),
        ("container.state == running", "[container.state] == running"),
        (
            "policy == \"noeviction\" && has(used)",
            "[policy] == noeviction && has([used])",
        ),
        ("min(ready, 10m) > 0", "min([ready], 10m) > 0"),
        ("state == pat(run*)", "[state] == pat(run*)"),
        // Where something is asked already, a word is a text.
        ("UP == [BODY].status", "[BODY].status == UP"),
    ] {
        let written = |source: &str| Condition::parse(source).unwrap().to_string();
        assert_eq!(written(bare), written(bracketed));
    }
}

/// Pieces of the language, so that random conditions get past the first character.
fn fragments() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[a]".to_owned()),
        Just("[BODY].a[0][\"b c\"]".to_owned()),
        Just("[RESPONSE_TIME]".to_owned()),
        Just("[used{mount=\"/\"}]".to_owned()),
        Just("rate([a], 5m)".to_owned()),
        Just("len([BODY].x)".to_owned()),
        Just("pat(*x*)".to_owned()),
        Just("any(1, b, \"c\")".to_owned()),
        Just("\"quo\\\"ted\"".to_owned()),
        Just("now()".to_owned()),
        prop_oneof![
            Just("80%"),
            Just("5m"),
            Just("10GB"),
            Just("1"),
            Just("0x1F"),
            Just("true"),
            Just("text")
        ]
        .prop_map(str::to_owned),
        prop_oneof![
            Just("=="),
            Just("!="),
            Just("<"),
            Just(">="),
            Just("&&"),
            Just("||"),
            Just("!"),
            Just("("),
            Just(")")
        ]
        .prop_map(str::to_owned),
        prop_oneof![Just("+"), Just("-"), Just("*"), Just("/"), Just(",")].prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.join(" "))
}

/// `[a] == 1 && ...`: mostly right, so that the round trip has something to go round.
fn likely() -> impl Strategy<Value = String> {
    let left = prop_oneof![
        Just("[a]"),
        Just("[BODY].a[0][\"b c\"]"),
        Just("[RESPONSE_TIME]"),
        Just("[used{mount=\"/\"}]"),
        Just("rate([a], 90s)"),
        Just("forecast([a], 24h, 1h)"),
        Just("changed([a])"),
        Just("([a] + [b]) * 2 - [c] / 3"),
        Just("len([BODY].x)"),
    ];
    let operator = prop_oneof![Just("=="), Just("!="), Just("<"), Just(">=")];
    let right = prop_oneof![
        Just("5"),
        Just("5m"),
        Just("text (x)"),
        Just("pat(*x*)"),
        Just("any(1, b)"),
        Just("[b]"),
        "[ -~]{0,12}".prop_map(|text| Box::leak(text.into_boxed_str()) as &str)
    ];
    let comparison =
        (left, operator, right).prop_map(|(left, operator, right)| format!("{left} {operator} {right}"));
    let joined = (
        prop::collection::vec(comparison, 1..4),
        prop_oneof![Just(" && "), Just(" || ")],
        any::<bool>(),
    );
    joined.prop_map(|(parts, join, is_negated)| {
        let joined = parts.join(join);
        if is_negated {
            format!("!({joined})")
        } else {
            joined
        }
    })
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_written_again_means_the_same(
        source in prop_oneof![any::<String>(), "[ -~]{0,60}", fragments(), likely()],
        value in any::<f64>(),
    ) {
        let Ok(condition) = Condition::parse(&source) else { return Ok(()) };
        let written = condition.to_string();
        let again = Condition::parse(&written)
            .map_err(|error| TestCaseError::fail(format!("{source} became {written}: {error}")))?;
        prop_assert_eq!(again.to_string(), written.clone());
        let mut observation = with_body(r#"{"a":[{"b c":"text"}],"x":[1]}"#)
            .with("a", value, Unit::Count)
            .with("b", 1.0, Unit::Count)
            .with("response_time", value, Unit::Seconds);
        observation.push("used", 0.5, Unit::Ratio, vec![("mount".into(), "/".to_owned())]);
        let _ = condition.check_names(&KIND);
        for quantifier in [Quantifier::Any, Quantifier::All] {
            let past = Past(vec![value; 20]);
            let evidence = Evidence { observation: &observation, series: &past, now: NOW };
            let (first, second) = (condition.evaluate(&evidence, quantifier), again.evaluate(&evidence, quantifier));
            prop_assert_eq!(told(first), told(second), "{} became {}", source, written);
        }
    }
}

fn told(outcome: Outcome<'_>) -> String {
    match outcome {
        Outcome::Holds(finding) => format!("yes: {}", finding.text()),
        Outcome::Fails(finding) => format!("no: {}", finding.text()),
        Outcome::Waiting(why) => format!("waiting: {why}"),
        Outcome::Unknown(why) => format!("unknown: {why}"),
    }
}
