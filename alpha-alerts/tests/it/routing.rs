//! Routes, matchers, silences and groups beside the real Alertmanager: the same answer to the same question.

use std::collections::{BTreeMap, BTreeSet};

use alpha_alerts::config::RouteConfig;
use alpha_alerts::matcher::parse_list;
use alpha_alerts::{Labels, RouteTree};
use axum::Json;
use axum::extract::Path;
use axum::routing::post;
use serde_json::{Value, json};
use testbed::{Alertmanager, Amtool, need};

const TREES: usize = 300;
const NAMES: [&str; 5] = ["alertname", "chain", "severity", "team", "zone"];
const VALUES: [&str; 6] = ["a", "b", "P0", "P1", "eu-1", "节点"];
/// Expressions in Go's syntax, some of which other engines read otherwise.
const PATTERNS: [&str; 14] = [
    "P0|P1", "P.", ".*", ".+", "[a-c]", "(?i)p0", "eu-\\d+", "", "a|", "\\w+", "[^P]+", "a{1}", "\\pL+",
    "(a|b)",
];

fn pick<'a>(random: &mut fastrand::Rng, from: &[&'a str]) -> &'a str {
    from[random.usize(..from.len())]
}

/// A matcher as text, on any label with any operator.
fn matcher(random: &mut fastrand::Rng) -> String {
    let name = pick(random, &NAMES);
    let operator = pick(random, &["=", "!=", "=~", "!~"]);
    let value = if operator.ends_with('~') {
        pick(random, &PATTERNS)
    } else if random.u8(..5) == 0 {
        ""
    } else {
        pick(random, &VALUES)
    };
    format!("{name}{operator}\"{}\"", value.replace('\\', "\\\\"))
}

/// A node whose receivers are numbered, so that each can be told from all others.
fn node(random: &mut fastrand::Rng, depth: usize, receivers: &mut Vec<String>) -> Value {
    let mut node = json!({ "matchers": [] });
    for _ in 0..random.usize(..3) {
        let text = matcher(random);
        node["matchers"].as_array_mut().unwrap().push(text.into());
    }
    // Some inherit their receiver.
    if random.u8(..4) > 0 {
        let receiver = format!("r{}", receivers.len());
        node["receiver"] = receiver.clone().into();
        receivers.push(receiver);
    }
    if random.bool() {
        node["continue"] = true.into();
    }
    if random.u8(..3) == 0 {
        let names: Vec<&str> = NAMES.iter().filter(|_| random.bool()).copied().collect();
        // In Alertmanager's files an empty list is none at all.
        if !names.is_empty() {
            node["group_by"] = json!(names);
        }
    }
    if depth < 4 {
        let children = random.usize(..=3);
        node["routes"] = (0..children)
            .map(|_| node_below(random, depth, receivers))
            .collect();
    }
    node
}

fn node_below(random: &mut fastrand::Rng, depth: usize, receivers: &mut Vec<String>) -> Value {
    node(random, depth + 1, receivers)
}

fn labels(random: &mut fastrand::Rng) -> Labels {
    let with_value = |name: &&'static str| (*name, pick(random, &VALUES));
    let names: Vec<&str> = NAMES.into_iter().collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(with_value).collect();
    Labels::new(pairs.into_iter().filter(|_| fastrand::Rng::bool(random)))
}

/// A root with a child for each tree, which takes the alerts whose label `tree` has its number, and all receivers.
fn forest(random: &mut fastrand::Rng) -> (Value, Vec<String>) {
    let mut receivers = vec!["root".to_owned()];
    let trees: Vec<Value> = (0..TREES)
        .map(|index| {
            let mut tree = node(random, 1, &mut receivers);
            tree["matchers"] = json!([format!("tree=\"{index}\"")]);
            tree["continue"] = false.into();
            tree
        })
        .collect();
    (json!({ "receiver": "root", "routes": trees }), receivers)
}

fn tree_of(route: &Value) -> RouteTree {
    let config: RouteConfig = serde_json::from_value(route.clone()).unwrap();
    RouteTree::new(&config).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn receivers_of(names: impl IntoIterator<Item = String>) -> Value {
    names.into_iter().map(|name| json!({ "name": name })).collect()
}

/// JSON is YAML.
fn config(route: &Value, receivers: Value) -> String {
    json!({ "route": route, "receivers": receivers }).to_string()
}

fn alert(labels: &Labels) -> Value {
    json!({ "labels": labels })
}

#[test]
fn generated_trees_lead_where_amtool_says() {
    let amtool = need!(Amtool::find());
    let mut random = fastrand::Rng::with_seed(20_260_101);
    let mut lengths = BTreeSet::new();
    for index in 0..TREES {
        let mut receivers = vec!["root".to_owned()];
        let mut route = node(&mut random, 1, &mut receivers);
        route["receiver"] = "root".into();
        route["matchers"] = json!([]);
        route["continue"] = false.into();
        let file = amtool.file("tree.yml", &config(&route, receivers_of(receivers)));
        let tree = tree_of(&route);
        let labels = labels(&mut random);
        let pairs = labels.iter().map(|(name, value)| format!("{name}=\"{value}\""));
        let mut arguments: Vec<String> = ["config", "routes", "test", "--config.file"]
            .map(str::to_owned)
            .to_vec();
        arguments.push(file.display().to_string());
        arguments.extend(pairs);
        let printed = amtool.run(&arguments).unwrap();
        let matching = tree.matching(&labels);
        let found: Vec<&str> = matching.iter().map(|route| &*route.receiver).collect();
        let expected: Vec<&str> = printed.trim().split(',').collect();
        // A receiver that several routes lead to is named once.
        let mut unique = found.clone();
        let mut seen = BTreeSet::new();
        unique.retain(|receiver| seen.insert(*receiver));
        assert!(
            expected == found || expected == unique,
            "tree {index} with {labels}: amtool {expected:?}, here {found:?}\n{route:#}\n{tree}"
        );
        assert_eq!(
            tree.explain(&labels).receivers(),
            found,
            "tree {index} with {labels}"
        );
        lengths.insert(found.len());
    }
    assert!(
        lengths.len() > 2,
        "the trees are too simple to show anything: {lengths:?}"
    );
}

#[test]
fn thousands_of_alerts_are_routed_and_grouped_as_alertmanager_does() {
    let mut random = fastrand::Rng::with_seed(7);
    let (route, receivers) = forest(&mut random);
    let alertmanager = need!(Alertmanager::start(&config(&route, receivers_of(receivers))));
    let tree = tree_of(&route);
    let alerts: BTreeMap<String, Labels> = (0..TREES * 10)
        .map(|index| {
            let own = labels(&mut random);
            let number = (index % TREES).to_string();
            Labels::new(own.iter().chain([("tree", number.as_str())]))
        })
        .map(|labels| (labels.fingerprint().to_string(), labels))
        .collect();
    let posted: Vec<Value> = alerts.values().map(alert).collect();
    let (status, _) = alertmanager.request("POST", "/api/v2/alerts", &Value::from(posted).to_string());
    assert_eq!(status, 200);

    let (_, listed) = alertmanager.request("GET", "/api/v2/alerts", "");
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        listed.len(),
        alerts.len(),
        "every fingerprint is the one computed here"
    );
    for alert in &listed {
        let labels = &alerts[alert["fingerprint"].as_str().unwrap()];
        let matching = tree.matching(labels);
        let found: Vec<&str> = matching.iter().map(|route| &*route.receiver).collect();
        let told = alert["receivers"].as_array().unwrap();
        let told: Vec<&str> = told
            .iter()
            .map(|receiver| receiver["name"].as_str().unwrap())
            .collect();
        assert_eq!(told, found, "{labels}");
    }

    // The groups: the same alerts together, under the same labels.
    let mut expected: Vec<(String, String, BTreeSet<String>)> = Vec::new();
    let mut groups: BTreeMap<(usize, u64), BTreeSet<String>> = BTreeMap::new();
    for (fingerprint, labels) in &alerts {
        for route in tree.matching(labels) {
            let key = (route.index, route.group_fingerprint(labels).0);
            groups.entry(key).or_default().insert(fingerprint.clone());
        }
    }
    for ((index, _), members) in groups {
        let route = &tree.routes()[index];
        let some = &alerts[members.first().unwrap()];
        let group_labels = serde_json::to_string(&route.group_labels(some)).unwrap();
        expected.push((route.receiver.to_string(), group_labels, members));
    }
    let (_, told) = alertmanager.request("GET", "/api/v2/alerts/groups", "");
    let told: Vec<Value> = serde_json::from_str(&told).unwrap();
    let mut told: Vec<(String, String, BTreeSet<String>)> = told
        .iter()
        .map(|group| {
            let members = group["alerts"].as_array().unwrap().iter();
            let members = members.map(|alert| alert["fingerprint"].as_str().unwrap().to_owned());
            let labels: Labels = serde_json::from_value(group["labels"].clone()).unwrap();
            (
                group["receiver"]["name"].as_str().unwrap().to_owned(),
                serde_json::to_string(&labels).unwrap(),
                members.collect(),
            )
        })
        .collect();
    expected.sort();
    told.sort();
    assert_eq!(told.len(), expected.len());
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!(told, expected);
    }
}

/// A webhook that keeps the group keys it is told.
#[tokio::test]
async fn group_keys_are_those_that_alertmanager_sends() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<(String, Value)>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hook = move |Path(name): Path<String>, Json(body): Json<Value>| {
        let sent = sender.send((name, body));
        async move { sent.map_err(|error| error.to_string()) }
    };
    let app = axum::Router::new().route("/{name}", post(hook));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let route = json!({
        "receiver": "root",
        "group_by": ["alertname"],
        "group_wait": "0s",
        "routes": [
            {
                "receiver": "first",
                "matchers": ["severity=\"P0\"", "chain=~\"a|b\"", "chain!=\"\"", "{zone!=\"c\\\"\\\\\\n\"}"],
                "continue": true,
                "routes": [{ "receiver": "deep", "matchers": ["team!~\"x.*\""], "group_by": ["..."] }],
            },
            { "receiver": "second", "matchers": ["severity=~\"P0|P1\""], "group_by": ["team", "severity"] },
        ],
    });
    let receivers: Value = ["root", "first", "deep", "second"]
        .map(|name| json!({ "name": name, "webhook_configs": [{ "url": format!("http://{address}/{name}") }] }))
        .into_iter()
        .collect();
    let config = config(&route, receivers);
    let alertmanager = need!(
        tokio::task::spawn_blocking(move || Alertmanager::start(&config))
            .await
            .unwrap()
    );
    let tree = tree_of(&route);
    let alerts = [
        vec![("alertname", "plain"), ("severity", "P0"), ("chain", "a")],
        vec![
            ("alertname", "with \"quotes\" and \\"),
            ("severity", "P0"),
            ("chain", "b"),
            ("team", "x1"),
        ],
        vec![
            ("alertname", "tab\tline\nbell\u{7}nul\u{1}del\u{7f}"),
            ("severity", "P1"),
        ],
        vec![
            ("alertname", "节点 é 🚀"),
            ("severity", "P1"),
            ("team", "\u{a0}\u{200b}\u{feff}"),
        ],
        vec![("alertname", "e\u{301}"), ("severity", "P3")],
        vec![("severity", "P3")],
    ]
    .map(Labels::new);
    let body = Value::from(alerts.iter().map(alert).collect::<Vec<_>>()).to_string();
    let posted = tokio::task::spawn_blocking(move || {
        let status = alertmanager.request("POST", "/api/v2/alerts", &body).0;
        (alertmanager, status)
    });
    let (_alertmanager, status) = posted.await.unwrap();
    assert_eq!(status, 200);
    let expected: BTreeSet<(String, String)> = alerts
        .iter()
        .flat_map(|labels| {
            tree.matching(labels)
                .into_iter()
                .map(move |route| (route, labels))
        })
        .map(|(route, labels)| {
            let key = route.group_key(&route.group_labels(labels));
            (route.receiver.to_string(), key.to_string())
        })
        .collect();
    let mut told = BTreeSet::new();
    let all = async {
        while told.len() < expected.len() {
            let (name, body) = receiver.recv().await.unwrap();
            told.insert((name, body["groupKey"].as_str().unwrap().to_owned()));
        }
    };
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(20), all).await;
    server.abort();
    assert_eq!(told, expected);
    in_time.unwrap();
}

/// Percent-encodes all but letters and digits.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Matchers of all shapes against alerts with values of all shapes. What Alertmanager reads, it and Alpha read alike.
#[test]
fn matchers_match_what_alertmanager_matches() {
    let alertmanager = need!(Alertmanager::start(&config(
        &json!({ "receiver": "root" }),
        receivers_of(["root".to_owned()])
    )));
    let values = [
        "", "a", "b", "ab", "aa", "A", "P0", "12", "1", "١", "é", "节", "a b", "a-b", "-", "[", "]", "^",
        "a\nb", "\\", "\"", "{", "}", "a{2}", "{,2}", "&", "~", "_", ".", "a.b", "\t", "🚀", "α", "<a>", "/",
        ",",
    ];
    let alerts: Vec<Labels> = values
        .iter()
        .enumerate()
        .map(|(index, value)| {
            let index = index.to_string();
            Labels::new(
                [("alertname", "x"), ("index", index.as_str()), ("v", value)]
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty()),
            )
        })
        .collect();
    let body = Value::from(alerts.iter().map(alert).collect::<Vec<_>>()).to_string();
    assert_eq!(alertmanager.request("POST", "/api/v2/alerts", &body).0, 200);

    let mut random = fastrand::Rng::with_seed(3);
    let atoms = [
        "a",
        "b",
        "P",
        "0",
        "1",
        "é",
        "节",
        ".",
        "\\d",
        "\\D",
        "\\w",
        "\\W",
        "\\s",
        "\\S",
        "\\b",
        "[ab]",
        "[^a]",
        "[a-c0-9]",
        "[\\d-]",
        "[[]",
        "[]a]",
        "[a&&b]",
        "[~~-]",
        "[[:alpha:]]",
        "[[:^alpha:]_]",
        "[\\]\\\\]",
        "[a\\-z]",
        "[+--]",
        "\\pL",
        "\\PL",
        "\\p{Greek}",
        "[\\p{Lu}a]",
        "\\.",
        "\\-",
        "\\{",
        "{",
        "}",
        "{2}",
        "{,2}",
        "{1,}",
        "\\Qa.b\\E",
        "\\Q[\\E",
        "\\x41",
        "\\x{1F680}",
        "\\101",
        "\\0",
        "\\t",
        "\\/",
        "\\<",
        "(a)",
        "(?:a|b)",
        "(?i)b",
        "(?i:A)",
        "(?s).",
        "(?P<n>a)",
        "^",
        "$",
        "\\A",
        "\\z",
        "\\Z",
        "*",
        "+",
        "?",
        "*?",
        "|",
        "(",
        ")",
        "[",
        "\\",
        "\\C",
        "\\1",
        " ",
        "&",
        "~",
        "#",
        "\"",
    ];
    let pieces = [
        "v",
        "=",
        "=~",
        "!=",
        "!~",
        "a",
        "\"",
        "\\",
        "\\n",
        "\\\"",
        ",",
        " ",
        "{",
        "}",
        "é",
        "b",
        "alertname",
        "=\"a\"",
    ];
    let mut compared = 0;
    let mut refused_there_only = Vec::new();
    for round in 0..1500 {
        let text = if round % 3 == 0 {
            let count = random.usize(1..8);
            let tail: String = (0..count).map(|_| pick(&mut random, &pieces)).collect();
            format!("v{tail}")
        } else {
            let count = random.usize(1..4);
            let pattern: String = (0..count).map(|_| pick(&mut random, &atoms)).collect();
            let escaped = pattern.replace('\\', "\\\\").replace('"', "\\\"");
            format!("v{}\"{escaped}\"", pick(&mut random, &["=~", "!~"]))
        };
        let (status, body) =
            alertmanager.request("GET", &format!("/api/v2/alerts?filter={}", encoded(&text)), "");
        let here = alpha_alerts::matcher::Matcher::parse(&text);
        if status != 200 {
            if here.is_ok() {
                refused_there_only.push(text);
            }
            continue;
        }
        let matcher = here.unwrap_or_else(|error| panic!("Alertmanager reads {text:?}: {}", error.to_text()));
        let told: Vec<Value> = serde_json::from_str(&body).unwrap();
        let told: BTreeSet<String> = told
            .iter()
            .map(|alert| alert["fingerprint"].as_str().unwrap().to_owned())
            .collect();
        let found: BTreeSet<String> = alerts
            .iter()
            .filter(|labels| matcher.matches(labels))
            .map(|labels| labels.fingerprint().to_string())
            .collect();
        assert_eq!(told, found, "{text} was read as {matcher}");
        compared += 1;
    }
    assert!(compared > 700, "only {compared} matchers were comparable");
    // Alpha reads a little more: the newer syntax, and what other engines allow. It must not become much more.
    assert!(
        refused_there_only.len() < 150,
        "{} refused by Alertmanager only, such as {:?}",
        refused_there_only.len(),
        &refused_there_only[..20]
    );
}

/// Lists of matchers as routes hold them; `amtool` shows what it read.
#[test]
fn lists_of_matchers_are_read_as_amtool_reads_them() {
    let amtool = need!(Amtool::find());
    for text in [
        "{a=\"b\",c=~\"d|e\"}",
        "a=b, c!=d ,",
        "{a=b",
        "a=b}",
        "a=\"x,y\",b=z",
        "a=\"\\\"x\\\",\\\\\",b=z",
        "a=x\\,b=y",
        " a = \" x \" ",
        "a:b_1=c",
        "a=\"节点\\n\"",
    ] {
        let route = json!({ "receiver": "r", "routes": [{ "matchers": [text] }] });
        let file = amtool.file("list.yml", &config(&route, receivers_of(["r".to_owned()])));
        let arguments = [
            "config",
            "routes",
            "show",
            "--config.file",
            &file.display().to_string(),
        ]
        .map(str::to_owned);
        let shown = amtool.run(&arguments);
        match parse_list(text) {
            Ok(_) => {
                let here = tree_of(&route).to_string();
                let there = shown.unwrap_or_else(|error| panic!("{text}: {error}"));
                let there = there.split_once("\n.\n").unwrap().1.replacen("└── ", "", 1);
                // amtool indents all but the root once more.
                let there = there.replace("    └── ", "└── ");
                assert_eq!(here.trim_end(), there.trim_end(), "{text}");
            }
            Err(error) => assert!(shown.is_err(), "{text}: {error}"),
        }
    }
}

/// What its API refuses, a silence's check refuses, and nothing else.
#[test]
fn silences_are_taken_where_alertmanager_takes_them() {
    let alertmanager = need!(Alertmanager::start(&config(
        &json!({ "receiver": "root" }),
        receivers_of(["root".to_owned()])
    )));
    let now: jiff::Timestamp = {
        let (_, status) = alertmanager.request("GET", "/api/v2/status", "");
        let status: Value = serde_json::from_str(&status).unwrap();
        status["uptime"].as_str().unwrap().parse().unwrap()
    };
    use jiff::ToSpan as _;
    for (matchers, from, to) in [
        ("a=b", 0, 60),
        ("a=b,c=", 0, 60),
        ("a!=b", 0, 60),
        ("a=", 0, 60),
        ("a=~.*,b=", 0, 60),
        ("a!~.+", 0, 60),
        ("a=~\"(b|)\"", 0, 60),
        ("a=b", 60, 60),
        ("a=b", 60, 30),
        ("a=b", -60, -30),
        ("a=b", -60, 60),
        ("a=b", 600, 660),
    ] {
        let silence = alpha_alerts::Silence {
            id: uuid::Uuid::nil(),
            matchers: parse_list(matchers).unwrap(),
            starts_at: now + i64::from(from).minutes(),
            ends_at: now + i64::from(to).minutes(),
            updated_at: now,
            created_by: "ada".to_owned(),
            comment: "why".to_owned(),
            annotations: Labels::default(),
            recurrence: None,
        };
        let posted = json!({
            "matchers": silence.matchers,
            "startsAt": silence.starts_at,
            "endsAt": silence.ends_at,
            "createdBy": silence.created_by,
            "comment": silence.comment,
        });
        let (status, answer) = alertmanager.request("POST", "/api/v2/silences", &posted.to_string());
        let check = silence.check(now).map_err(|error| error.to_string());
        assert_eq!(
            status == 200,
            check.is_ok(),
            "{matchers} {from} {to}: {status} {answer} {check:?}"
        );
    }
}
