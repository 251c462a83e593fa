//! `alpha alertmanager` in the place of Alertmanager: the same requests and the same tools get the same answers from
//! both, Prometheus fires through it, and it survives what ends Alertmanager's memory.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use tokio::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Alertmanager, Amtool, Prometheus, need};

/// How long anything may take until a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = r#"
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 1s
  routes:
  - receiver: db
    matchers: [team="db"]
    continue: true
  - receiver: other
    matchers: [team=~"db|web"]
receivers:
- name: ops
- name: db
- name: other
inhibit_rules:
- source_matchers: [severity="critical"]
  target_matchers: [severity="warning"]
  equal: [cluster]
"#;

/// A running `alpha alertmanager`.
struct Alpha {
    process: Child,
    port: u16,
    log: Receiver<String>,
    folder: TempDir,
}

impl Alpha {
    fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("am.yml"), config).unwrap();
        Self::start_in(folder, &[])
    }

    fn start_in(folder: TempDir, further: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_alpha"))
            .arg("alertmanager")
            .arg(format!(
                "--config.file={}",
                folder.path().join("am.yml").display()
            ))
            .arg("-storage.path")
            .arg(folder.path().join("data"))
            .args(["--web.listen-address", "127.0.0.1:0", "--cluster.listen-address="])
            .args(further)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (send, log) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut started = Self {
            process,
            port: 0,
            log,
            folder,
        };
        let line = started.logged("Listening on");
        let address = line.split("address=").nth(1).unwrap();
        started.port = address.rsplit(':').next().unwrap().trim().parse().unwrap();
        started
    }

    /// The next line of the log that holds `text`.
    fn logged(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push_str(&(line + "\n")),
                Err(error) => panic!("no line with {text:?} ({error}), only\n{seen}"),
            }
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("am.yml")
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        request(self.port, method, path, "application/json", body)
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Kills it without warning; its data stay.
    fn kill(mut self) -> TempDir {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Alpha {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Status and body of a request. With version 1.0 the answer comes in one piece and ends with the connection.
fn request(port: u16, method: &str, path: &str, kind: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

/// Asks again until `found` finds what it looks for.
fn eventually<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An instant so many seconds from now.
fn at(seconds: i64) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let at = i64::try_from(now).unwrap() + seconds;
    jiff::Timestamp::from_second(at).unwrap().to_string()
}

/// The bodies that are posted as alerts, to both.
fn posted_alerts() -> Vec<String> {
    let mut bodies: Vec<String> = [
        "",
        "null",
        "[]",
        "{}",
        "[{}]",
        "\"x\"",
        "[1]",
        "[",
        r#"[{"labels":{"a":1}}]"#,
        r#"[{"labels":null}]"#,
        r#"[{"labels":{}}]"#,
        r#"[{"labels":{"a":""}}]"#,
        r#"[{"labels":{"a":null}}]"#,
        r#"[{"labels":{"alertname":"unknown field"},"foo":1}]"#,
        r#"[{"labels":{"a":"1","empty":""}},{"labels":{}}]"#,
        r#"[{"labels":{"a":"2"},"generatorURL":"not a uri"}]"#,
        r#"[{"labels":{"a":"2"},"generatorURL":"foo"}]"#,
        r#"[{"labels":{"a":"2"},"generatorURL":":x"}]"#,
        r#"[{"labels":{"a":"3"},"generatorURL":""}]"#,
        r#"[{"labels":{"a":"4"},"generatorURL":"/foo"}]"#,
        r#"[{"labels":{"a":"5"},"generatorURL":"http://x/a b"}]"#,
        r#"[{"labels":{"a":"6"},"generatorURL":"http://x/?a=b&c={x}"}]"#,
        "[{},{}]",
        r#"[{"generatorURL":"no uri"}]"#,
        r#"[{"labels":{"":"x"}}]"#,
        r#"[{"labels":{"a":"7"},"annotations":{"":"x"}}]"#,
        r#"[{"labels":{"a":"8"},"annotations":{"s":""}}]"#,
        r#"[{"labels":{"a":"9"},"annotations":null}]"#,
        r#"[{"labels":{"a":"10"},"annotations":{"s":1}}]"#,
        r#"[{"labels":{"t":"10"},"startsAt":null}]"#,
        r#"[{"labels":{"b":"2","a":"é\n\"","c":"😀"}}]"#,
        r#"[{"labels":{"a":"inhibits","severity":"critical","cluster":"x"}}]"#,
        r#"[{"labels":{"a":"inhibited","severity":"warning","cluster":"x"}}]"#,
        r#"[{"labels":{"alertname":"two receivers","team":"db"}}]"#,
    ]
    .map(str::to_owned)
    .into();
    let times = [
        json!({ "startsAt": at(600) }),
        json!({ "startsAt": at(100) }),
        json!({ "startsAt": at(0), "endsAt": at(-60) }),
        json!({ "endsAt": at(-60) }),
        json!({ "startsAt": at(600), "endsAt": at(900) }),
        json!({ "startsAt": "0001-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z" }),
        json!({ "startsAt": "yesterday" }),
        json!({ "startsAt": 5 }),
        json!({ "startsAt": "2026-01-01" }),
        json!({ "startsAt": "2026-01-01T00:00:00" }),
        json!({ "startsAt": "2026-01-01T00:00:00+08:00" }),
        json!({ "startsAt": "2026-01-01T00:00:00.123456789Z" }),
        json!({ "endsAt": "2026-13-01T00:00:00Z" }),
        json!({ "startsAt": at(-100), "endsAt": at(-100) }),
    ];
    bodies.extend(times.into_iter().enumerate().map(|(index, mut alert)| {
        alert["labels"] = json!({ "time": index.to_string() });
        json!([alert]).to_string()
    }));
    bodies
}

/// The bodies that are posted as silences, to both.
fn posted_silences() -> Vec<String> {
    let whole = || {
        json!({
            "matchers": [{ "name": "a", "value": "1", "isRegex": false, "isEqual": true }],
            "startsAt": at(0), "endsAt": at(3600), "createdBy": "me", "comment": "c",
        })
    };
    let changes = [
        ("comment", json!("as it is")),
        ("matchers", json!([])),
        ("matchers", Value::Null),
        (
            "matchers",
            json!([{ "name": "a", "value": "", "isRegex": false }]),
        ),
        (
            "matchers",
            json!([{ "name": "a", "value": ".*", "isRegex": true }]),
        ),
        (
            "matchers",
            json!([{ "name": "a", "value": "(", "isRegex": true }]),
        ),
        ("matchers", json!([{ "name": "a", "isRegex": true }])),
        (
            "matchers",
            json!([{ "name": "", "value": "x", "isRegex": false }]),
        ),
        ("matchers", json!([{ "name": "a", "value": "x" }])),
        ("matchers", json!([{ "value": "x" }])),
        (
            "matchers",
            json!([{ "name": "b", "value": "x", "isRegex": false, "isEqual": false }]),
        ),
        ("endsAt", json!(at(-10))),
        ("endsAt", Value::Null),
        ("startsAt", Value::Null),
        ("startsAt", json!(at(7200))),
        ("startsAt", json!(at(-3600))),
        ("startsAt", json!(at(1800))),
        ("createdBy", Value::Null),
        ("createdBy", json!("")),
        ("comment", Value::Null),
        ("comment", json!("")),
        ("id", json!("6f9619ff-8b86-d011-b42d-00c04fc964ff")),
        ("id", json!("")),
    ];
    let mut bodies: Vec<String> = ["", "null", "[]", "{}", "{"].map(str::to_owned).into();
    bodies.extend(changes.into_iter().map(|(key, value)| {
        let mut silence = whole();
        silence[key] = value;
        silence.to_string()
    }));
    bodies
}

/// What is asked of both, after everything was posted.
const QUESTIONS: [&str; 27] = [
    "/api/v2/alerts",
    "/api/v2/alerts/",
    "/api/v2/alerts?filter=a%3D%221%22",
    "/api/v2/alerts?filter=a%3D1",
    "/api/v2/alerts?filter=a%3D~%22.%2B%22&filter=severity!%3D%22critical%22",
    "/api/v2/alerts?filter=",
    "/api/v2/alerts?active=maybe",
    "/api/v2/alerts?active=false",
    "/api/v2/alerts?silenced=false&inhibited=false",
    "/api/v2/alerts?inhibited=false",
    "/api/v2/alerts?receiver=(",
    "/api/v2/alerts?receiver=op",
    "/api/v2/alerts?receiver=o.*",
    "/api/v2/alerts?receiver=d.",
    "/api/v2/alerts/groups",
    "/api/v2/alerts/groups?receiver=db",
    "/api/v2/alerts/groups?filter=alertname%3D%22two%20receivers%22",
    "/api/v2/alerts/groups?silenced=false",
    "/api/v2/receivers",
    "/api/v2/silences",
    "/api/v2/silences?filter=b%3D%22x%22",
    "/api/v2/silence/xx",
    "/api/v2/silence/6f9619ff-8b86-d011-b42d-00c04fc964ff",
    "/api/v2/nope",
    "/-/healthy",
    "/-/ready",
    "/nope",
];

/// The answer without what differs from run to run, and without the words of Go's decoders and regular expressions.
fn comparable(body: &str) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                // Newer versions than Debian's say this too.
                map.remove("mutedBy");
                // 405 lists the methods in the order of a Go map, which is another each time.
                if [Some(&json!(400)), Some(&json!(405))].contains(&map.get("code")) {
                    map.remove("message");
                }
                for (key, value) in map {
                    match key.as_str() {
                        "updatedAt" | "silenceID" | "id" => *value = "varies".into(),
                        "silencedBy" => *value = value.as_array().unwrap().len().into(),
                        "startsAt" | "endsAt" => round(value),
                        _ => strip(value),
                    }
                }
            }
            Value::Array(list) => {
                list.iter_mut().for_each(strip);
                // Alertmanager's order within a group, and among equal silences, is a matter of luck.
                list.sort_by_key(Value::to_string);
            }
            _ => {}
        }
    }
    // Defaults are the moment of the request, and the two are not asked in the same one.
    fn round(value: &mut Value) {
        let at: jiff::Timestamp = value.as_str().unwrap().parse().unwrap();
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        if at.as_second().abs_diff(now) < 1000 {
            *value = "near now".into();
        } else {
            // The same instant may be told in another zone.
            *value = at.to_string().into();
        }
    }
    let Ok(mut value) = serde_json::from_str::<Value>(body) else {
        return body.into();
    };
    strip(&mut value);
    match value.as_str() {
        Some(words)
            if words.contains("matcher") || words.contains("regexp") || words.contains("receiver param") =>
        {
            "about a matcher or an expression".into()
        }
        _ => value,
    }
}

#[test]
fn the_same_requests_get_the_same_answers_as_from_alertmanager() {
    let theirs = need!(Alertmanager::start(CONFIG));
    let ours = Alpha::start(CONFIG);
    let their_port = port_of(&theirs.url());
    let mut differences = Vec::new();
    let mut compare = |method: &str, path: &str, kind: &str, body: &str| {
        let (their_status, their_body) = request(their_port, method, path, kind, body);
        let (our_status, our_body) = request(ours.port, method, path, kind, body);
        let same = their_status == our_status && comparable(&their_body) == comparable(&our_body);
        if !same {
            differences.push(format!(
                "{method} {path} {kind} {body}\n  theirs: {their_status} {their_body}\n  ours:   {our_status} {our_body}"
            ));
        }
    };
    let json = "application/json";
    for body in posted_alerts() {
        compare("POST", "/api/v2/alerts", json, &body);
    }
    for kind in [
        "text/plain",
        "application/octet-stream",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
    ] {
        compare("POST", "/api/v2/alerts", kind, "[]");
        compare("POST", "/api/v2/silences", kind, "{}");
    }
    for body in posted_silences() {
        compare("POST", "/api/v2/silences", json, &body);
    }
    // Both have told their groups once by then.
    std::thread::sleep(Duration::from_millis(1500));
    for path in QUESTIONS {
        compare("GET", path, json, "");
    }
    for (method, path) in [
        ("PUT", "/api/v2/alerts"),
        ("DELETE", "/api/v2/status"),
        ("POST", "/-/healthy"),
        ("GET", "/-/reload"),
        ("POST", "/-/reload"),
        ("DELETE", "/api/v2/silence/xx"),
    ] {
        compare(method, path, json, "");
    }
    assert!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn where_the_versions_differ_the_newer_one_counts() {
    let ours = Alpha::start(CONFIG);
    assert_eq!(
        ours.ask("POST", "/api/v2/alerts", r#"[{"labels":{"名":"值"}}]"#)
            .0,
        200
    );
    let unknown = "/api/v2/silence/6f9619ff-8b86-d011-b42d-00c04fc964ff";
    assert_eq!(ours.ask("DELETE", unknown, "").0, 404);
    assert_eq!(ours.ask("GET", "/api/v1/alerts", "").0, 410);
    // One alert of a wrong type takes no other with it.
    let mixed = r#"[{"labels":{"kept":"1"}},{"labels":{"a":1}},{"labels":{"kept":"2"}}]"#;
    assert_eq!(ours.ask("POST", "/api/v2/alerts", mixed).0, 400);
    let kept = ours.ask("GET", "/api/v2/alerts?filter=kept%3D~%22.%2B%22", "").1;
    assert_eq!(kept.matches("fingerprint").count(), 2, "{kept}");
    let metrics = ours.ask("GET", "/metrics", "").1;
    assert!(
        metrics.contains("alpha_alerts_received_total{status=\"firing\"} 3"),
        "{metrics}"
    );
}

/// What `amtool` prints, without times, identities and what a version says of itself.
fn without_what_varies(text: &str) -> String {
    let words = text.lines().map(|line| {
        let words = line.split_whitespace().filter(|word| {
            let is_time = word.contains(':') && word.starts_with(|first: char| first.is_ascii_digit());
            let is_date = word.len() == 10 && word.matches('-').count() == 2;
            let is_id = word.len() == 36 && word.matches('-').count() == 4;
            !(is_time || is_date || is_id)
        });
        words.collect::<Vec<_>>().join(" ")
    });
    words.collect::<Vec<_>>().join("\n")
}

#[test]
fn amtool_is_answered_as_by_alertmanager() {
    let theirs = need!(Alertmanager::start(CONFIG));
    let amtool = need!(Amtool::find());
    let ours = Alpha::start(CONFIG);
    let run = |url: &str, arguments: &[&str]| {
        let url = format!("--alertmanager.url={url}");
        // The version is ours, which `amtool` would remark on in front of everything.
        let first = [url.as_str(), "--no-version-check"];
        amtool.run(first.iter().chain(arguments).copied())
    };
    for arguments in [
        &[
            "alert",
            "add",
            "alertname=Slow",
            "team=db",
            "node=a",
            "--annotation=summary=slow",
        ][..],
        &["alert", "add", "alertname=Gone", "team=web", "node=b"],
        &["alert", "query"],
        &["alert", "query", "team=db"],
        &["alert", "query", "alertname=~S.*", "-o", "extended"],
        &["alert", "query", "--receiver=other"],
        &[
            "silence",
            "add",
            "alertname=Slow",
            "--author=mei",
            "--comment=maintenance",
            "--duration=2h",
        ],
        &["silence", "query"],
        &["silence", "query", "alertname=Slow"],
        &["silence", "query", "--quiet", "nothing=here"],
        &["alert", "query"],
        &["alert", "query", "--silenced"],
        &["config", "routes", "show"],
        &["config", "routes", "test", "team=db"],
        &["config", "routes", "test", "team=web"],
        &["config", "routes", "test", "--verify.receivers=ops", "team=none"],
        &["config", "routes", "test", "--verify.receivers=db", "team=none"],
        &["cluster", "show"],
    ] {
        let (their, our) = (run(&theirs.url(), arguments), run(&ours.url(), arguments));
        assert_eq!(their.is_ok(), our.is_ok(), "{arguments:?}: {their:?} {our:?}");
        let text = |said: Result<String, String>| without_what_varies(&said.unwrap_or_else(|said| said));
        assert_eq!(text(their), text(our), "{arguments:?}");
    }
    for url in [theirs.url(), ours.url()] {
        let ids = run(&url, &["silence", "query", "--quiet"]).unwrap();
        let id = ids.trim();
        run(&url, &["silence", "expire", id]).unwrap();
        assert_eq!(run(&url, &["silence", "query", "--quiet"]).unwrap().trim(), "");
        assert!(
            run(&url, &["silence", "query", "--expired", "--quiet"])
                .unwrap()
                .contains(id)
        );
    }
}

/// What a webhook was told, one body after the other, and whether `broken` is to be scraped as 1.
struct Endpoint {
    url: String,
    told: Receiver<Value>,
    is_broken: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Endpoint {
    /// Listens on a free port: `/metrics` is scraped, everything else is a webhook.
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (send, told) = mpsc::channel();
        let is_broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let broken = std::sync::Arc::clone(&is_broken);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).unwrap();
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                    head.push_str(&line);
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let answer = if head.starts_with("GET /metrics") {
                    format!(
                        "broken {}\n",
                        u8::from(broken.load(std::sync::atomic::Ordering::SeqCst))
                    )
                } else {
                    let _ = send.send(serde_json::from_slice(&body).unwrap());
                    String::new()
                };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                    answer.len()
                );
                let _ = stream.into_inner().write_all(answer.as_bytes());
            }
        });
        Self { url, told, is_broken }
    }
}

#[test]
fn prometheus_fires_and_resolves_through_it() {
    let endpoint = Endpoint::start();
    let ours = Alpha::start(&format!(
        "route: {{receiver: hook, group_wait: 100ms, group_interval: 1s}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: '{}/hook'}}]}}]\n",
        endpoint.url
    ));
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [rules.yml]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]}}\n\
         scrape_configs: [{{job_name: test, static_configs: [{{targets: ['{}']}}]}}]\n",
        ours.port,
        endpoint.url.trim_start_matches("http://")
    );
    let rules = "groups: [{name: test, rules: [{alert: Broken, expr: 'broken == 1', labels: {severity: critical}, \
                 annotations: {summary: 'it is broken'}}]}]\n";
    let _prometheus = need!(Prometheus::start(&config, &[("rules.yml", rules)]));
    let fired = endpoint.told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(fired["status"], "firing");
    assert_eq!(fired["version"], "4");
    let alert = &fired["alerts"][0];
    assert_eq!(alert["labels"]["alertname"], "Broken");
    assert_eq!(alert["annotations"]["summary"], "it is broken");
    assert!(
        alert["generatorURL"].as_str().unwrap().contains("/graph?"),
        "{alert}"
    );
    endpoint
        .is_broken
        .store(false, std::sync::atomic::Ordering::SeqCst);
    let resolved = endpoint.told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(resolved["status"], "resolved");
    assert_eq!(resolved["alerts"][0]["fingerprint"], alert["fingerprint"]);
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let ours = Alpha::start(CONFIG);
    assert_eq!(
        ours.ask("POST", "/api/v2/alerts", r#"[{"labels":{"alertname":"Kept"}}]"#)
            .0,
        200
    );
    let silence = json!({
        "matchers": [{ "name": "alertname", "value": "Kept", "isRegex": false }],
        "startsAt": at(0), "endsAt": at(3600), "createdBy": "me", "comment": "c",
    });
    assert_eq!(ours.ask("POST", "/api/v2/silences", &silence.to_string()).0, 200);
    let again = Alpha::start_in(ours.kill(), &[]);
    let alerts = again.ask("GET", "/api/v2/alerts", "").1;
    assert!(
        alerts.contains("\"Kept\"") && alerts.contains("\"suppressed\""),
        "{alerts}"
    );
    assert_eq!(
        again
            .ask("GET", "/api/v2/silences", "")
            .1
            .matches("\"active\"")
            .count(),
        1
    );
}

#[test]
fn a_broken_file_changes_nothing_and_is_told() {
    let ours = Alpha::start(CONFIG);
    let receivers = || ours.ask("GET", "/api/v2/receivers", "").1;
    let before = receivers();
    std::fs::write(
        ours.config_file(),
        "route: {receiver: nobody}\nreceivers: [{name: ops}]\n",
    )
    .unwrap();
    let (status, body) = ours.ask("POST", "/-/reload", "");
    assert_eq!(status, 500);
    assert!(
        body.contains("failed to reload config") && body.contains("nobody"),
        "{body}"
    );
    ours.logged("the old configuration stays in force");
    assert_eq!(receivers(), before);
    std::fs::write(
        ours.config_file(),
        "route: {receiver: new}\nreceivers: [{name: new}]\n",
    )
    .unwrap();
    ours.signal("HUP");
    eventually(|| (receivers().trim() == r#"[{"name":"new"}]"#).then_some(()));
    let status = ours.ask("GET", "/api/v2/status", "").1;
    assert!(status.contains("new"), "{status}");
}

#[test]
fn it_stops_gracefully_and_starts_below_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("am.yml"), CONFIG).unwrap();
    let mut ours = Alpha::start_in(
        folder,
        &[
            "--web.external-url=http://alerts.example.org/am/",
            "-data.retention=48h",
            "--enable-feature=",
        ],
    );
    assert_eq!(ours.ask("GET", "/am/-/ready", ""), (200, "OK".to_owned()));
    assert_eq!(ours.ask("GET", "/-/ready", "").0, 404);
    ours.signal("TERM");
    assert!(ours.process.wait().unwrap().success());
}

#[test]
fn wrong_flags_are_refused_and_the_version_is_told() {
    let alpha = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_alpha"))
            .args(arguments)
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code().unwrap(), said)
    };
    let (code, said) = alpha(&["alertmanager", "-version"]);
    assert_eq!(
        (code, said.contains(env!("CARGO_PKG_VERSION"))),
        (0, true),
        "{said}"
    );
    for (arguments, words) in [
        (&["--web.config.file=x"][..], "is not understood"),
        (&["--enable-feature=nonsense"], "unknown option `nonsense`"),
        (
            &[
                "--config.file=/nowhere/am.yml",
                "--web.listen-address=127.0.0.1:0",
            ],
            "/nowhere/am.yml cannot be read",
        ),
        (
            &["--web.listen-address=127.0.0.1:99999"],
            "could not listen on 127.0.0.1:99999",
        ),
        (&["--log.level=loud"], "loud"),
        (&["--frobnicate"], "frobnicate"),
    ] {
        let arguments = [&["alertmanager"], arguments].concat();
        let (code, said) = alpha(&arguments);
        assert_eq!(code, 2, "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let promtool = need!(testbed::program(&["promtool"], &[], "prometheus"));
    let ours = Alpha::start(CONFIG);
    ours.ask("POST", "/api/v2/alerts", r#"[{"labels":{"a":"1"}}]"#);
    let metrics = ours.ask("GET", "/metrics", "").1;
    assert_eq!(lint(&promtool, &metrics), "", "{metrics}");
}

fn lint(promtool: &Path, metrics: &str) -> String {
    let mut process = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process
        .stdin
        .take()
        .unwrap()
        .write_all(metrics.as_bytes())
        .unwrap();
    let output = process.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
