//! The seven faults that the maintenance plan's own daily check misses, each planted and found.

use alpha_probes::testing::{NodeDouble, SLOT, Script};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::command::{alpha, written};

/// What `alpha check` found: the exit code, and the one check.
fn found(check: &str) -> (u8, Value) {
    let folder = tempfile::tempdir().unwrap();
    let config = written(
        folder.path(),
        "alpha.toml",
        &format!("[[check]]\nname = \"planted\"\n{check}\n"),
    );
    let run = alpha(&["check", "--no-history", "--json", "--config", &config]);
    let report: Value = serde_json::from_str(&run.output).unwrap_or_else(|_| panic!("{}", run.errors));
    (run.code, report["checks"][0].clone())
}

/// Asserts that the check is critical, that its reason says `expected`, and that the exit code says so too.
fn assert_critical(check: &str, expected: &str) {
    let (code, found) = found(check);
    assert_eq!((code, &found["status"]), (2, &Value::from("critical")), "{found}");
    assert!(found["reason"].as_str().unwrap().contains(expected), "{found}");
}

/// A scripted node of a chain of four validators whose last block is `age` slots old.
fn node(runtime: &Runtime, age: u64, change: impl FnOnce(&mut Script)) -> NodeDouble {
    #[expect(clippy::disallowed_methods, reason = "the node lives in the time of the test")]
    let now = jiff::Timestamp::now().as_millisecond() as u64;
    let mut script = Script::relay();
    script.run_until(now / SLOT.as_millis() as u64 - age, &[]);
    change(&mut script);
    runtime.block_on(NodeDouble::start(script))
}

#[test]
fn a_healthy_node_is_no_fault() {
    let runtime = Runtime::new().unwrap();
    let node = node(&runtime, 0, |_| {});
    for check in [
        format!("substrate.node = {{ node = \"{}\" }}", node.url()),
        format!("substrate.chain = {{ nodes = [\"{}\"] }}", node.url()),
        format!("substrate.peers = {{ node = \"{}\" }}", node.url()),
    ] {
        let (code, found) = found(&check);
        assert_eq!(code, 0, "{found}");
    }
}

#[test]
fn the_node_is_down() {
    let url = format!("http://127.0.0.1:{}", testbed::free_port());
    assert_critical(&format!("substrate.node = {{ node = \"{url}\" }}"), "refused");
}

#[test]
fn the_chain_is_stalled_while_it_calls_itself_synced() {
    let runtime = Runtime::new().unwrap();
    let node = node(&runtime, 50, |script| script.is_syncing = false);
    assert_critical(
        &format!("substrate.chain = {{ nodes = [\"{}\"] }}", node.url()),
        "no new block for 5 min",
    );
}

#[test]
fn peers_are_few_although_the_method_that_counted_them_is_gone() {
    let runtime = Runtime::new().unwrap();
    let node = node(&runtime, 0, |script| script.peers.clear());
    assert_eq!(node.calls("system_networkState"), 0);
    let (code, found) = found(&format!("substrate.peers = {{ node = \"{}\" }}", node.url()));
    assert_ne!(code, 0, "{found}");
    assert!(found["reason"].as_str().unwrap().contains("peer"), "{found}");
    assert_eq!(
        node.calls("system_networkState"),
        0,
        "the method is gone since 2021"
    );
}

#[test]
fn the_node_answers_on_one_port_only_and_the_other_is_told() {
    let runtime = Runtime::new().unwrap();
    let node = node(&runtime, 0, |_| {});
    assert_eq!(
        found(&format!("substrate.node = {{ node = \"{}\" }}", node.url())).0,
        0
    );
    let legacy = format!("http://127.0.0.1:{}", testbed::free_port());
    assert_critical(&format!("substrate.node = {{ node = \"{legacy}\" }}"), "refused");
}

#[test]
fn a_container_is_crash_looping() {
    let docker = testbed::need!(testbed::Docker::start());
    let container = docker.run(&["--restart", "always"], &["sh", "-c", "sleep 0.2; exit 3"]);
    container.settle_where("{{.RestartCount}}", |count| {
        count.parse::<u32>().is_ok_and(|count| count >= 2)
    });
    let (code, found) = found(&format!("container.name = \"{}\"", container.name()));
    assert_eq!(code, 2, "{found}");
    assert!(found["reason"].as_str().unwrap().contains("restart"), "{found}");
}

#[test]
fn a_container_is_up_and_unhealthy() {
    let docker = testbed::need!(testbed::Docker::start());
    let health = [
        "--health-cmd",
        "exit 1",
        "--health-interval",
        "200ms",
        "--health-retries",
        "1",
    ];
    let container = docker.run(&health, &["sleep", "300"]);
    container.settle("{{.State.Health.Status}}", "unhealthy");
    assert_critical(
        &format!("container.name = \"{}\"", container.name()),
        "its health check fails",
    );
}

#[test]
fn the_exit_code_tells_what_was_found() {
    let dead = format!("tcp.address = \"127.0.0.1:{}\"", testbed::free_port());
    assert_eq!(found(&dead).0, 2);
    assert_eq!(
        found("memory = {}\ndefaults = false\nwarn = \"[used] >= 0%\"").0,
        1
    );
    assert_eq!(
        found("memory = {}\ndefaults = false\nwarn = \"[used] > 100%\"").0,
        0
    );
    assert_eq!(
        found("container = { name = \"x\", host = \"unix:///no/such.sock\" }").0,
        3
    );
}
