//! The dispatcher and its outbox killed with `kill -9` at random moments: nothing that was accepted is lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use alpha_alerts::notifier::{Notifier, Receipt, Refusal};
use alpha_alerts::notifiers::Environment;
use alpha_alerts::silence::Silence;
use alpha_alerts::stores::SqliteStore;
use alpha_alerts::{Alert, Command, Config, Dispatcher, Labels, NoSecrets, Notification, text};
use async_trait::async_trait;
use serde_json::json;

const KILLS: usize = 200;

/// A receiver that says on the standard output what it was told, as one whole line, before it answers. Now and then it
/// refuses, or the answer is lost on the way back.
#[derive(Debug)]
struct Printing(std::sync::Mutex<fastrand::Rng>);

#[async_trait]
impl Notifier for Printing {
    fn kind(&self) -> &'static str {
        "printing"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let (fate, delay) = {
            let mut random = self.0.lock().unwrap();
            (random.u8(0..10), random.u64(0..3))
        };
        tokio::time::sleep(Duration::from_millis(delay)).await;
        if fate == 0 {
            return Err(Refusal::transient(text!("HTTP {status}", status = 503_u16)));
        }
        let names: Vec<&str> = notification.alerts.iter().map(Alert::name).collect();
        let verb = if fate == 1 { "unsure" } else { "told" };
        say(&format!("{verb} {} {}", notification.id, names.join(",")));
        if fate == 1 {
            return Err(Refusal::uncertain(text!("the answer was lost")));
        }
        Ok(Receipt::default())
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

fn config() -> Config {
    serde_json::from_value(json!({
        "route": { "receiver": "ops", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1h" },
        "receivers": [{ "name": "ops" }],
        "delivery": { "backoff_initial": "10ms", "backoff_max": "20ms", "timeout": "2s" },
    }))
    .unwrap()
}

/// Takes `alert NAME`, `silence UUID` and `end` from the standard input, and says `accepted …` for each that is durable.
#[tokio::test]
#[ignore = "run by other tests"]
async fn child() {
    let path = std::env::var_os("ALPHA_ALERTS").unwrap();
    let seed: u64 = std::env::var("ALPHA_ALERTS_SEED").unwrap().parse().unwrap();
    let store = Arc::new(SqliteStore::open(path).await.unwrap());
    let notifier = Printing(std::sync::Mutex::new(fastrand::Rng::with_seed(seed)));
    let environment = Environment::new(Arc::new(NoSecrets));
    let dispatcher = Dispatcher::builder(config(), store, environment)
        .with_notifier("ops", Arc::new(notifier))
        .start()
        .await
        .unwrap();
    say(&format!(
        "ready {}",
        dispatcher.read(|state| state.silences().iter().count())
    ));
    let (lines_to, mut lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines_to.send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        let now = dispatcher.clock().now();
        let command = match line.split_once(' ') {
            Some(("alert", name)) => {
                let labels = Labels::new([("alertname", name), ("severity", "P1")]);
                Command::Alerts(vec![Alert::firing(labels, now)])
            }
            Some(("silence", id)) => Command::PutSilence(silence(id, now)),
            _ => break,
        };
        // Not one after the other, so that many share a commit.
        let dispatcher = dispatcher.clone();
        tokio::spawn(async move {
            if dispatcher.execute(command).await.is_ok() {
                say(&format!("accepted {line}"));
            }
        });
    }
    // Until the outbox is empty.
    loop {
        if dispatcher.store().next_due().await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    dispatcher.stop().await;
    say("done");
}

fn silence(id: &str, now: jiff::Timestamp) -> Silence {
    serde_json::from_value(json!({
        "id": id,
        "matchers": [{ "name": "alertname", "value": format!("silenced {id}"), "isRegex": false }],
        "starts_at": now, "ends_at": now + Duration::from_secs(86_400), "updated_at": now,
        "created_by": "test", "comment": "kept or not",
    }))
    .unwrap()
}

struct Run {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Run {
    fn start(path: &Path, seed: u64) -> Self {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored", "--nocapture"])
            .env("ALPHA_ALERTS", path)
            .env("ALPHA_ALERTS_SEED", seed.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (lines_to, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // A line that was cut off by the kill has no end, and is no line.
            let mut out = out;
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                if line.ends_with('\n') && lines_to.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { child, lines }
    }

    fn write(&mut self, line: &str) {
        // The child may have been killed.
        let _ = writeln!(self.child.stdin.as_mut().unwrap(), "{line}");
    }
}

/// What the receiver and the sender know after all runs.
#[derive(Default)]
struct Ledger {
    accepted: BTreeSet<String>,
    silences: BTreeSet<String>,
    /// For each alert the notifications that told it, with how often each came.
    told: HashMap<String, BTreeMap<String, usize>>,
    /// The notifications that were told in the present run, and answered.
    answered: BTreeSet<String>,
}

impl Ledger {
    fn note(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("accepted alert ") {
            self.accepted.insert(name.to_owned());
        } else if let Some(id) = line.strip_prefix("accepted silence ") {
            self.silences.insert(id.to_owned());
        } else if let Some((verb, id, names)) = told(line) {
            assert!(
                !self.answered.contains(id),
                "{id} was answered and told again without a kill between"
            );
            if verb == "told" {
                self.answered.insert(id.to_owned());
            }
            for name in names.split(',') {
                *self
                    .told
                    .entry(name.to_owned())
                    .or_default()
                    .entry(id.to_owned())
                    .or_default() += 1;
            }
        }
    }
}

fn told(line: &str) -> Option<(&str, &str, &str)> {
    let mut words = line.splitn(3, ' ');
    let verb = words.next().filter(|verb| matches!(*verb, "told" | "unsure"))?;
    Some((verb, words.next()?, words.next()?))
}

#[test]
fn nothing_accepted_is_lost_by_kill_minus_nine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.db");
    let seed =
        std::env::var("ALPHA_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("ALPHA_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut ledger = Ledger::default();
    let mut next = 0;
    for kill in 0..KILLS {
        let mut run = Run::start(&path, random.u64(..));
        ledger.answered.clear();
        // Some are killed while they start, most in the middle of the work.
        let is_early = random.u8(0..10) == 0;
        if !is_early {
            let kept: usize = loop {
                let line = run.lines.recv().expect("the child came up");
                ledger.note(&line);
                if let Some(count) = line.strip_prefix("ready ") {
                    break count.parse().unwrap();
                }
            };
            let acknowledged = ledger.silences.len();
            assert!(
                kept >= acknowledged,
                "{kept} silences of {acknowledged} before kill {kill}"
            );
        }
        let count = random.usize(5..40);
        for _ in 0..count {
            run.write(&format!("alert A{next}"));
            next += 1;
        }
        if random.u8(0..4) == 0 {
            run.write(&format!("silence 00000000-0000-4000-8000-{kill:012}"));
        }
        // Killed when so many lines came, of those that are accepted and those that are told, and a moment later.
        for _ in 0..random.usize(0..2 * count) {
            match run.lines.recv_timeout(Duration::from_millis(200)) {
                Ok(line) => ledger.note(&line),
                Err(_) => break,
            }
        }
        std::thread::sleep(Duration::from_micros(random.u64(0..2000)));
        run.child.kill().unwrap();
        run.child.wait().unwrap();
        for line in run.lines.iter() {
            ledger.note(&line);
        }
    }
    ledger.answered.clear();
    let mut last = Run::start(&path, random.u64(..));
    last.write("end");
    for line in last.lines.iter() {
        ledger.note(&line);
    }
    assert!(last.child.wait().unwrap().success());

    assert!(
        ledger.accepted.len() > 5 * KILLS,
        "only {} were accepted",
        ledger.accepted.len()
    );
    let lost: Vec<&String> = ledger
        .accepted
        .iter()
        .filter(|name| !ledger.told.contains_key(*name))
        .collect();
    assert!(lost.is_empty(), "lost with ALPHA_TEST_SEED={seed}: {lost:?}");
    // What came twice came with the same identity, so that whoever looks at it has it once.
    let twice: Vec<_> = ledger
        .told
        .iter()
        .filter(|(_, notifications)| notifications.len() > 1)
        .collect();
    assert!(
        twice.is_empty(),
        "told under several identities with ALPHA_TEST_SEED={seed}: {twice:?}"
    );
    let repeated: usize = ledger
        .told
        .values()
        .flat_map(BTreeMap::values)
        .map(|count| count - 1)
        .sum();
    println!(
        "{KILLS} kills: {} accepted, 0 lost, {repeated} told again under the same identity",
        ledger.accepted.len()
    );
}
