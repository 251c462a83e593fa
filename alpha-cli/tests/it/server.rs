//! A running `alpha serve`, as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use alpha_alerts::testing::receiver::ScriptedReceiver;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::command::{Run, alpha, written};

/// How long anything may take before a test fails. The machine of the tests may be busy with others.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server; killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
    /// What it printed after its first line.
    rest: mpsc::Receiver<String>,
    errors: PathBuf,
}

impl Server {
    /// Starts one with this configuration and waits until it is ready.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// The same with environment variables.
    pub(crate) fn start_with(config: &str, environment: &[(&str, &str)]) -> Self {
        let errors = Path::new(config).with_extension(format!("{}.stderr", testbed::free_port()));
        let mut child = command(config)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let said = || std::fs::read_to_string(&errors).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{line:?} {}", said());
        let (sender, rest) = mpsc::channel();
        std::thread::spawn(move || {
            let mut more = String::new();
            // Ends with the process.
            let _ = output.read_to_string(&mut more);
            let _ = sender.send(more);
        });
        Self {
            child,
            url,
            rest,
            errors,
        }
    }

    /// What it wrote to its error stream so far.
    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }

    /// Waits until its error stream holds `text`.
    pub(crate) fn wait_for_error(&self, text: &str) {
        eventually(text, || self.errors().contains(text).then_some(()));
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, waits, and returns how it ended and what it printed after its first line.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        let status = eventually("the server ended", || self.child.try_wait().unwrap());
        (status, self.rest.recv().unwrap())
    }

    /// Runs `alpha` with these arguments against it.
    pub(crate) fn alpha(&self, arguments: &[&str]) -> Run {
        let mut all = arguments.to_vec();
        all.extend(["--server", &self.url]);
        alpha(&all)
    }

    /// The same, whose answer is JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let run = self.alpha(&all);
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.output, run.errors);
        serde_json::from_str(&run.output).unwrap_or_else(|error| panic!("{error}: {}", run.output))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that serves this configuration.
pub(crate) fn command(config: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alpha"));
    command
        .args(["serve", "--config", config])
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .env_remove("NOTIFY_SOCKET");
    command
}

/// Runs it to its end, which must come by itself, and returns its exit code and its error stream.
pub(crate) fn failing(config: &str) -> (i32, String) {
    let output = command(config).output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Waits until `look` sees something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A folder with a configuration, and a receiver that the configuration tells everything.
pub(crate) struct Place {
    /// Drives the receiver.
    _runtime: Runtime,
    pub(crate) receiver: ScriptedReceiver,
    pub(crate) folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let receiver = runtime.block_on(ScriptedReceiver::start());
        Self {
            _runtime: runtime,
            receiver,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Writes the configuration: one receiver for everything, one person who is paged every second for a P1 until
    /// somebody acknowledges, and `more`.
    pub(crate) fn config(&self, more: &str) -> String {
        let folder = self.folder.path().display();
        let (hook, mei) = (self.receiver.url("/hook"), self.receiver.url("/mei"));
        let steps: String = (0..300)
            .map(|second| {
                format!("[[alerts.escalation.steps]]\nafter = \"{second}s\"\ntargets = [\"everyone\"]\n")
            })
            .collect();
        let text = format!(
            r#"
[history]
sqlite = "{folder}/history.db"

[paging]
instance = "host-1"

[serve]
listen = "127.0.0.1:0"
store.sqlite = "{folder}/alerts.db"

[alerts.route]
receiver = "hook"
group_by = ["alertname", "check"]
group_wait = "0s"
group_interval = "1s"

[alerts.delivery]
backoff_initial = "200ms"
backoff_max = "500ms"

[[alerts.receivers]]
name = "hook"

[[alerts.receivers.webhook]]
url = "{hook}"

[[alerts.on_call.people]]
name = "mei"

[[alerts.on_call.people.contact.webhook]]
url = "{mei}"

[[alerts.on_call.schedules]]
name = "primary"

[[alerts.on_call.schedules.layers]]
name = "always"
rotation = ["mei"]
starts_on = "2026-01-01"

[[alerts.escalation]]
name = "p1"
repeat_every = "10m"

{steps}
{more}
"#
        );
        written(self.folder.path(), "alpha.toml", &text)
    }

    /// A check of a port, every second.
    pub(crate) fn check(name: &str, port: u16) -> String {
        format!("[[check]]\nname = \"{name}\"\nevery = \"1s\"\ntcp.address = \"127.0.0.1:{port}\"\n")
    }

    /// The payloads that came to `path` so far.
    pub(crate) fn told(&self, path: &str) -> Vec<Value> {
        self.receiver
            .received()
            .iter()
            .filter(|received| received.target == path)
            .map(|received| received.json())
            .collect()
    }

    /// Waits for a payload to `path` with this status, such as `resolved`, and returns it.
    pub(crate) fn wait_for(&self, path: &str, status: &str) -> Value {
        eventually(&format!("{path} is told {status}"), || {
            self.told(path).into_iter().find(|told| told["status"] == status)
        })
    }
}
