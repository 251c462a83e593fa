//! `alpha watch` as a program of its own: on a terminal, and while its configuration changes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use tokio::time::Instant;

use serde_json::Value;

use crate::command::written;

/// How long anything may take that a person would wait for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that is ended when the test is.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Alpha's own program, which Cargo builds for these tests.
fn alpha() -> &'static str {
    env!("CARGO_BIN_EXE_alpha")
}

/// A configuration of one check, called `name`, that is always well.
fn config(folder: &Path, name: &str) -> String {
    let text = format!(
        "[history]\nsqlite = \"{}\"\n\n[[check]]\nname = \"{name}\"\nevery = \"500ms\"\ncpu = {{}}\ndefaults = false\ncrit = \"[used] > 1000%\"\n",
        folder.join("history.db").display()
    );
    written(folder, "alpha.toml", &text)
}

/// The lines of a stream, as they come.
fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The first line that is wanted.
fn await_line(what: &str, lines: &Receiver<String>, wanted: impl Fn(&str) -> bool) -> String {
    let until = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if wanted(&line) {
            return line;
        }
        seen.push(line);
    }
    panic!(
        "{what} did not come; the last lines: {:#?}",
        &seen[seen.len().saturating_sub(5)..]
    );
}

fn is_of(name: &str) -> impl Fn(&str) -> bool + '_ {
    move |line| {
        let report: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        report["name"] == name && report["status"] == "ok"
    }
}

#[test]
fn a_changed_configuration_takes_over_while_it_runs_and_a_broken_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "before");
    let mut watch = Running(
        Command::new(alpha())
            .args(["--lang", "en", "watch", "--config", &file])
            .env("XDG_STATE_HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let output = lines(watch.0.stdout.take().unwrap());
    let errors = lines(watch.0.stderr.take().unwrap());
    await_line("a result", &output, is_of("before"));

    written(
        folder.path(),
        "alpha.toml",
        "[[check]]\nname = \"broken\"\nhtpp.url = \"http://127.0.0.1\"\n",
    );
    let said = await_line("that the change is broken", &errors, |line| {
        line.contains("the old configuration goes on")
    });
    assert!(said.contains("error"), "{said}");
    while output.try_recv().is_ok() {}
    await_line("a result of the old configuration", &output, is_of("before"));

    config(folder.path(), "after");
    let is_after = is_of("after");
    await_line("a result of the new configuration", &output, is_after);
    // Nothing of the old one comes any more, once what was under way is through.
    std::thread::sleep(Duration::from_secs(1));
    while output.try_recv().is_ok() {}
    let until = Instant::now() + Duration::from_secs(2);
    while let Ok(line) = output.recv_timeout(until.saturating_duration_since(Instant::now())) {
        let report: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(report["name"], "after", "{line}");
    }
}

#[test]
fn on_a_terminal_it_draws_a_table_with_a_verdict_and_leaves_the_screen_as_it_was() {
    let script = testbed::need!(testbed::program(&["script"], &["/usr/bin"], "bsdutils"));
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "processor");
    // `script` gives what it runs a terminal of its own.
    let command = format!("'{}' --lang en watch --config '{file}' --for 4s", alpha());
    let mut watch = Running(
        Command::new(script)
            .args(["-qec", &command, "/dev/null"])
            .env("XDG_STATE_HOME", folder.path())
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut screen = String::new();
    let mut stdout = watch.0.stdout.take().unwrap();
    stdout.read_to_string(&mut screen).unwrap();
    let status = watch.0.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{screen:?}");
    let (entered, left) = ("\u{1b}[?1049h", "\u{1b}[?1049l");
    let inside = screen
        .split_once(entered)
        .and_then(|(_, rest)| rest.split_once(left));
    let (inside, after) = inside.unwrap_or_else(|| panic!("no second screen in {screen:?}"));
    // The cursor is hidden within and shown again.
    assert!(
        inside.contains("\u{1b}[?25l") && inside.contains("\u{1b}[?25h"),
        "{inside:?}"
    );
    // Drawn again and again, each time from the top, with the check and a verdict.
    let drawings: Vec<_> = inside.split("\u{1b}[H\u{1b}[J").skip(1).collect();
    assert!(drawings.len() >= 3, "{} drawings in {inside:?}", drawings.len());
    let last = drawings.last().unwrap();
    assert!(last.contains("processor"), "{last:?}");
    assert!(last.to_lowercase().contains("ok"), "{last:?}");
    // What stays on the terminal is the verdict, and no line of JSON was ever there.
    assert!(after.to_lowercase().contains("ok"), "{after:?}");
    assert!(!screen.contains("{\"name\""), "{screen:?}");
}
