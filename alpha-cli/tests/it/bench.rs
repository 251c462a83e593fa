//! `alpha bench` from end to end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::command::{Run, alpha, written};

/// A server that answers every request with 200 after a set time and remembers the paths.
struct Server {
    address: SocketAddr,
    paths: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let paths = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&paths);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let paths = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, delay, &paths));
            }
        });
        Self { address, paths }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn paths(&self) -> Vec<String> {
        self.paths.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, delay: Duration, paths: &Mutex<Vec<String>>) {
    let mut buffer = [0; 4096];
    // A load sends each request in one piece and waits for its answer.
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let request = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        paths.lock().unwrap().push(path);
        std::thread::sleep(delay);
        if stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .is_err()
        {
            return;
        }
    }
}

/// Whether an open load ended well, or was late because this machine was busy with other tests.
fn is_done(code: i32) -> bool {
    matches!(code, 0 | 4)
}

fn fast() -> Server {
    Server::start(Duration::ZERO)
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.output).unwrap_or_else(|error| panic!("{error}: {}{}", run.output, run.errors))
}

/// Writes a result of so many requests to `name` in `folder`.
fn result(folder: &std::path::Path, name: &str, server: &Server, more: &[&str]) -> String {
    let file = folder.join(name).to_str().unwrap().to_owned();
    let url = server.url();
    let mut arguments = vec![
        "bench",
        "run",
        &url,
        "--model",
        "closed",
        "--connections",
        "2",
        "--out",
        &file,
    ];
    arguments.extend(more);
    let run = alpha(&arguments);
    assert_eq!(run.code, 0, "{}{}", run.output, run.errors);
    file
}

#[test]
fn a_closed_and_an_open_load_print_one_object_with_the_published_keys() {
    let server = fast();
    let loads: [&[&str]; 2] = [
        &["--model", "closed", "--connections", "64", "--duration", "1s"],
        &["--model", "open", "--rate", "1000", "--duration", "1s"],
    ];
    for load in loads {
        let url = server.url();
        let run = alpha(&[&["bench", "run", &url, "--json"], load].concat());
        assert_eq!(run.output.lines().count(), 1, "{}", run.output);
        let report = json(&run);
        assert!(report["verdict"].is_string() && report["errors"].is_object());
        let requests = report["requests"].as_f64().unwrap();
        assert!(requests > 0.0, "{}", run.output);
        for rate in ["throughput_per_second", "offered_per_second"] {
            assert!(report[rate].as_f64().unwrap() > 0.0, "{rate}");
        }
        for times in ["latency_seconds", "service_seconds", "lag_seconds"] {
            let keys: Vec<&String> = report[times].as_object().unwrap().keys().collect();
            let expected = ["max", "mean", "p50", "p90", "p95", "p99", "p99_9"];
            let mut sorted = keys.clone();
            sorted.sort();
            assert_eq!(sorted, expected, "{times}");
            assert!(report[times].as_object().unwrap().values().all(Value::is_number));
        }
        let latency = &report["latency_seconds"];
        assert!(latency["p50"].as_f64().unwrap() > 0.0 && latency["p50"].as_f64() <= latency["max"].as_f64());
        if load.contains(&"open") {
            assert_eq!(report["offered_per_second"], 1000.0);
        }
    }
}

#[test]
fn the_exit_code_tells_how_the_load_was_judged() {
    let server = fast();
    let url = server.url();
    let ended = |more: &[&str]| {
        let few = ["bench", "run", &url, "--model", "closed", "--requests", "200"];
        alpha(&[&few, more].concat())
    };
    assert_eq!(ended(&["--threshold", "errors < 50%"]).code, 0);
    let breach = ended(&["--threshold", "p50 < 1us"]);
    assert_eq!(breach.code, 1, "{}", breach.output);
    assert_eq!(ended(&["--threshold", "p95 < soon"]).code, 2);
    let undecided = ended(&["--threshold", "p99.9 < 60s"]);
    assert_eq!(
        undecided.code, 3,
        "two hundred requests say nothing about one in a thousand"
    );
    let saturated = alpha(&[
        "bench",
        "run",
        &url,
        "--rate",
        "3000000",
        "--duration",
        "1s",
        "--json",
    ]);
    assert_eq!(saturated.code, 4, "{}", saturated.output);
    assert_eq!(json(&saturated)["verdict"], "generator_saturated");
    let dead = format!("http://127.0.0.1:{}/", testbed::free_port());
    let refused = alpha(&["bench", "run", &dead, "--requests", "3", "--json"]);
    assert_eq!(
        (refused.code, &json(&refused)["errors"]["refused"]),
        (1, &3.into())
    );
    assert_eq!(alpha(&["bench", "run", "http://does-not-exist.invalid/"]).code, 2);
    assert_eq!(alpha(&["bench", "run"]).code, 2);
}

#[test]
fn a_scenario_runs_and_a_typo_in_one_is_told_before_anything_is_sent() {
    let server = fast();
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), "users.csv", "id\n1\n2\n");
    let text = format!(
        "url = \"{}\"\ntables = {{ users = \"users.csv\" }}\n[[request]]\npath = \"/users/${{column:users.id}}\"\n[[load]]\nname = \"a\"\nmodel = {{ closed = {{ connections = 1 }} }}\nrequests = 4\n[[load]]\nname = \"b\"\nmodel = {{ closed = {{ connections = 1 }} }}\nrequests = 3\n",
        server.url()
    );
    let good = written(folder.path(), "good.toml", &text);
    let run = alpha(&["bench", "run", "--scenario", &good, "--json"]);
    assert_eq!(run.code, 0, "{}{}", run.output, run.errors);
    let runs: Vec<_> = json(&run)["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["name"].clone(), run["requests"].clone()))
        .collect();
    assert_eq!(runs, [("a".into(), 4.into()), ("b".into(), 3.into())]);
    assert_eq!(server.paths()[..3], ["/users/1", "/users/2", "/users/1"]);
    let typo = written(
        folder.path(),
        "typo.toml",
        &text.replace("requests = 3", "reqests = 3"),
    );
    let run = alpha(&["bench", "run", "--scenario", &typo]);
    assert_eq!((run.code, run.output.as_str()), (2, ""));
    for expected in ["typo.toml", "line 12", "unknown field `reqests`", "`requests`"] {
        assert!(
            run.errors.contains(expected),
            "{expected} is not told: {}",
            run.errors
        );
    }
    assert_eq!(server.paths().len(), 7, "nothing was sent");
}

#[test]
fn a_target_that_may_be_somebody_elses_is_refused_unless_it_is_owned() {
    // TEST-NET-1 (RFC 5737) is nobody's, so that a load on it hurts nobody either.
    let foreign = [
        "bench",
        "run",
        "http://192.0.2.1/",
        "--requests",
        "1",
        "--timeout",
        "200ms",
    ];
    let refused = alpha(&foreign);
    assert_eq!(refused.code, 2);
    assert!(
        refused.errors.contains("192.0.2.1") && refused.errors.contains("--i-own-this-target"),
        "{}",
        refused.errors
    );
    let owned = alpha(&[&foreign[..], &["--i-own-this-target"]].concat());
    assert_eq!(owned.code, 1, "it ran, and nothing answered: {}", owned.errors);
    for command in [
        &["bench", "compare", "http://127.0.0.1:1/", "http://192.0.2.1/"][..],
        &[
            "bench",
            "find-max",
            "http://192.0.2.1/",
            "--threshold",
            "p95 < 1s",
        ],
    ] {
        assert_eq!(alpha(command).code, 2, "{command:?}");
    }
}

#[test]
fn a_result_is_written_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let file = result(
        folder.path(),
        "a.json",
        &fast(),
        &["--requests", "300", "--threshold", "p95 < 9s"],
    );
    for (format, expected) in [
        ("text", "p95"),
        ("markdown", "| p95"),
        ("html", "<svg"),
        ("csv", "start_seconds,"),
        ("junit", "<testcase"),
        ("hgrm", "1/(1-Percentile)"),
        ("prometheus", "# TYPE"),
    ] {
        let run = alpha(&["bench", "report", &file, "--format", format]);
        assert_eq!(run.code, 0, "{format}: {}", run.errors);
        assert!(run.output.contains(expected), "{format}: {}", run.output);
        let out = folder.path().join(format);
        let out = out.to_str().unwrap();
        assert_eq!(
            alpha(&["bench", "report", &file, "--format", format, "--out", out]).code,
            0
        );
        assert_eq!(std::fs::read_to_string(out).unwrap(), run.output, "{format}");
    }
    let chinese = alpha(&["--lang", "zh", "bench", "report", &file]);
    assert!(
        chinese.output.contains("闭环") && chinese.output.contains("响应"),
        "{}",
        chinese.output
    );
    let broken = written(folder.path(), "broken.json", "{}");
    assert_eq!(alpha(&["bench", "report", &broken]).code, 2);
    assert_eq!(alpha(&["bench", "report", "no/such/file"]).code, 2);
    let nowhere = alpha(&[
        "bench",
        "run",
        "http://127.0.0.1:1/",
        "--out",
        "no/such/folder/a.json",
    ]);
    assert!(
        nowhere.code == 2 && nowhere.errors.contains("no/such/folder"),
        "{}",
        nowhere.errors
    );
}

#[test]
fn the_highest_rate_is_looked_for_and_its_limit_named() {
    // What a slow target takes dwarfs by how much a generator is late on a machine that is busy with other tests.
    let server = Server::start(Duration::from_millis(500));
    let url = server.url();
    let search = |more: &[&str]| {
        let bounds = [
            "bench",
            "find-max",
            &url,
            "--from",
            "100",
            "--up-to",
            "200",
            "--duration",
            "500ms",
            "--json",
        ];
        alpha(&[&bounds, more].concat())
    };
    let found = search(&["--threshold", "p50 < 5s"]);
    assert_eq!(found.code, 0, "{}{}", found.output, found.errors);
    let found = json(&found);
    assert_eq!(
        (&found["per_second"], &found["limit"]),
        (&200.0.into(), &"bound".into())
    );
    assert!(found["steps"].as_array().unwrap().len() >= 2);
    let none = search(&["--threshold", "p50 < 1us"]);
    assert_eq!((none.code, &json(&none)["per_second"]), (1, &Value::Null));
    assert_eq!(search(&[]).code, 2, "a search without a threshold has no end");
}

#[test]
fn a_log_is_played_back_with_its_paths_and_its_distances() {
    let server = fast();
    let folder = tempfile::tempdir().unwrap();
    let log = written(
        folder.path(),
        "access.log",
        "10.0.0.1 - - [25/Nov/2026:17:16:49 +0000] \"GET /a HTTP/1.1\" 200 1\n10.0.0.1 - - [25/Nov/2026:17:16:52 +0000] \"GET /c?x=1 HTTP/1.1\" 200 1\n10.0.0.1 - - [25/Nov/2026:17:16:50 +0000] \"GET /b HTTP/1.1\" 200 1\n10.0.0.1 - - [25/Nov/2026:17:16:50 +0000] \"DELETE /b HTTP/1.1\" 200 1\n",
    );
    let url = server.url();
    let replay = ["bench", "run", &url, "--model", "replay"];
    let run = alpha(&[&replay[..], &["--log", &log, "--speed", "10", "--json"]].concat());
    assert!(is_done(i32::from(run.code)), "{}{}", run.output, run.errors);
    assert_eq!(server.paths(), ["/a", "/b", "/c?x=1"]);
    assert!(
        run.errors.contains("1 requests of the log are left out"),
        "{}",
        run.errors
    );
    let report = json(&run);
    assert_eq!(report["requests"], 3);
    let measured = report["measured_seconds"].as_f64().unwrap();
    assert!(
        (0.44..0.46).contains(&measured),
        "three requests over three seconds at ten times the speed: {measured}"
    );
    assert_eq!(alpha(&replay).code, 2, "a replay without a log");
    let empty = written(folder.path(), "empty.log", "\n");
    let refused = alpha(&[&replay[..], &["--log", &empty]].concat());
    assert!(
        refused.code == 2 && refused.errors.contains("no request"),
        "{}",
        refused.errors
    );
}

#[test]
fn results_of_one_time_are_added_up_and_those_of_different_times_are_not() {
    let server = fast();
    let folder = tempfile::tempdir().unwrap();
    let load = ["--duration", "1s"];
    let [first, second] = std::thread::scope(|scope| {
        ["a.json", "b.json"]
            .map(|name| scope.spawn(|| result(folder.path(), name, &server, &load)))
            .map(|run| run.join().unwrap())
    });
    let merged = folder.path().join("merged.json");
    let merged = merged.to_str().unwrap();
    let run = alpha(&["bench", "merge", &first, &second, "--json", "--out", merged]);
    assert_eq!(run.code, 0, "{}", run.errors);
    let read = |file: &str| serde_json::from_str::<Value>(&std::fs::read_to_string(file).unwrap()).unwrap();
    let count = |report: &Value| report["requests"].as_u64().unwrap();
    assert_eq!(count(&json(&run)), count(&read(&first)) + count(&read(&second)));
    assert_eq!(read(merged), json(&run));
    let mut later = read(&second);
    later["started_at"] = "2036-01-01T00:00:00Z".into();
    let later = written(folder.path(), "later.json", &later.to_string());
    let refused = alpha(&["bench", "merge", &first, &later]);
    assert!(
        refused.code == 2 && refused.errors.contains("was over before another began"),
        "{}",
        refused.errors
    );
    assert_eq!(
        alpha(&["bench", "merge", &first]).code,
        2,
        "one result is not merged"
    );
}

#[test]
fn a_rate_that_cannot_be_reached_is_a_case_of_the_self_test() {
    let run = alpha(&["bench", "selftest", "--case", "saturated", "--json"]);
    assert_eq!(run.code, 0, "{}", run.output);
    assert_eq!(json(&run)[0]["case"], "saturated");
    let unknown = alpha(&["bench", "selftest", "--case", "lucky"]);
    assert!(
        unknown.code == 2 && unknown.errors.contains("healthy_spinning"),
        "{}",
        unknown.errors
    );
}

/// The program itself, with a state folder of its own.
fn program(state: &std::path::Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_alpha"))
        .args(arguments)
        .env("XDG_STATE_HOME", state)
        .env("LC_ALL", "C.UTF-8")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn five_kept_runs_are_a_baseline_that_a_candidate_is_judged_by() {
    let folder = tempfile::tempdir().unwrap();
    let (baseline, slower) = (
        Server::start(Duration::from_millis(3)),
        Server::start(Duration::from_millis(60)),
    );
    let run = |server: &Server, more: &[&str]| {
        let url = server.url();
        let load = [
            "bench",
            "run",
            &url,
            "--model",
            "closed",
            "--connections",
            "2",
            "--requests",
            "40",
        ];
        let (code, _, errors) = ended(program(folder.path(), &[&load, more].concat()));
        assert_eq!(code, 0, "{errors}");
    };
    let [same, worse] =
        ["same.json", "worse.json"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    run(&baseline, &["--out", &same]);
    run(&slower, &["--out", &worse]);
    let judged = |candidate: &str, rule: &str| {
        let compare = ["bench", "compare", "kept", candidate, "--rule", rule, "--json"];
        let (code, output, errors) = ended(program(folder.path(), &compare));
        (
            code,
            serde_json::from_str::<Value>(&output).unwrap_or_else(|_| panic!("{errors}")),
        )
    };
    for _ in 0..4 {
        run(&baseline, &["--save", "kept"]);
    }
    let (code, comparison) = judged(&same, "p50 +100 %");
    assert_eq!(code, 3, "four baselines are too few");
    assert_eq!(
        comparison["judgement"]["not_comparable"]["too_few_baselines"]["have"],
        4
    );
    run(&baseline, &["--save", "kept"]);
    let (code, comparison) = judged(&worse, "p50 +50 %");
    assert_eq!(
        (code, &comparison["judgement"]),
        (1, &"breach".into()),
        "{comparison}"
    );
    let (code, comparison) = judged(&same, "p50 +900 %");
    assert_eq!(
        (code, &comparison["judgement"]),
        (0, &"safe".into()),
        "{comparison}"
    );
    let unknown = ended(program(folder.path(), &["bench", "compare", "never-kept", &same]));
    assert!(
        unknown.0 == 2 && unknown.2.contains("never-kept"),
        "{}",
        unknown.2
    );
}

#[test]
fn two_urls_run_in_turn_and_too_few_seconds_decide_nothing() {
    let server = fast();
    let url = server.url();
    let run = alpha(&[
        "bench",
        "compare",
        &url,
        &url,
        "--seconds",
        "1",
        "--model",
        "closed",
        "--json",
    ]);
    assert_eq!(run.code, 3, "{}{}", run.output, run.errors);
    let comparison = json(&run);
    assert_eq!(comparison["method"], "interleaved");
    assert_eq!(
        comparison["rules"][0]["judgement"]["not_comparable"]["too_few_pairs"]["have"],
        1
    );
    assert_eq!(
        comparison["rules"][1]["judgement"], "safe",
        "the errors of a candidate need no baseline"
    );
}

#[test]
fn an_interrupt_ends_the_load_and_keeps_what_there_is() {
    let server = fast();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept.json");
    let url = server.url();
    let arguments = [
        "bench",
        "run",
        &url,
        "--rate",
        "200",
        "--duration",
        "10m",
        "--json",
        "--save",
        "never",
        "--out",
        file.to_str().unwrap(),
    ];
    let child = program(folder.path(), &arguments);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let begin = tokio::time::Instant::now();
    while server.paths().len() < 100 {
        assert!(begin.elapsed() < Duration::from_secs(30), "no load came");
        std::thread::sleep(Duration::from_millis(20));
    }
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let (code, output, errors) = ended(child);
    assert!(begin.elapsed() < Duration::from_secs(40), "it did not stop");
    assert!(is_done(code), "what was measured is good: {errors}");
    let report: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(report["cut_short"], true);
    assert!(
        report["findings"]
            .as_array()
            .unwrap()
            .contains(&"cut_short".into())
    );
    assert!(
        report["requests"].as_u64().unwrap() >= 99,
        "{}",
        report["requests"]
    );
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(kept, report);
    assert!(errors.contains("cut short is no baseline"), "{errors}");
}

#[test]
fn a_process_that_runs_out_of_files_says_that_the_generator_was_the_limit() {
    let server = fast();
    let url = server.url();
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 30; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_alpha"),
        ])
        .args([
            "bench",
            "run",
            &url,
            "--model",
            "closed",
            "--connections",
            "64",
            "--duration",
            "500ms",
            "--json",
        ])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        report["errors"]["files_exhausted"].as_u64() > Some(0),
        "{}",
        report["errors"]
    );
    assert_eq!(
        (output.status.code(), &report["verdict"]),
        (Some(4), &"generator_saturated".into())
    );
}
