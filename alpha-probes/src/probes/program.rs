//! Runs a program for an answer: without a shell, without our environment, within a time and a size.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{Error, ErrorKind, Result};
use crate::text;

/// Where programs are looked for, whatever the environment of this process says.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a program that has ended may keep its output open through a child of its own.
const DRAIN: Duration = Duration::from_millis(200);

/// A program about to be run.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// Its name or path.
    pub(crate) name: &'a str,
    /// What it is given.
    pub(crate) arguments: &'a [String],
    /// What it finds in its environment besides `PATH` and `LC_ALL=C`.
    pub(crate) environment: Vec<(String, OsString)>,
    /// Where it starts.
    pub(crate) directory: Option<&'a Path>,
    /// When it and all it started are killed.
    pub(crate) deadline: Instant,
    /// How many bytes are kept of each of its two outputs.
    pub(crate) limit: usize,
}

/// What a program said.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "command"),
    allow(dead_code, reason = "other probes ask for less than the probe of commands")
)]
pub(crate) struct Answer {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Standard output, cut at the limit.
    pub(crate) output: Vec<u8>,
    /// Standard error, cut at the limit.
    pub(crate) errors: Vec<u8>,
    /// Whether either was cut.
    pub(crate) is_cut: bool,
}

impl<'a> Program<'a> {
    /// A program that is asked a short question.
    pub(crate) fn new(name: &'a str, arguments: &'a [String], deadline: Instant) -> Self {
        Self {
            name,
            arguments,
            environment: Vec::new(),
            directory: None,
            deadline,
            limit: 64 * 1024,
        }
    }

    /// Runs it to its end. Dropping the future kills it and everything it started.
    ///
    /// # Errors
    /// [`ErrorKind::NotApplicable`] where there is no such program, [`ErrorKind::Denied`] where it may not be run,
    /// [`ErrorKind::Timeout`] where it did not end in time.
    pub(crate) async fn run(self) -> Result<Answer> {
        let mut command = Command::new(self.name);
        command
            .args(self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = self.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().map_err(|cause| {
            let kind = match cause.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotApplicable,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::Io,
            };
            Error::new(kind, text!("could not run {program}", program = self.name)).with_source(cause)
        })?;
        let mut group = Group(child.id());
        let (mut output, mut errors) = (Kept::new(self.limit), Kept::new(self.limit));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let reading = async {
            tokio::join!(output.read(stdout), errors.read(stderr));
        };
        let mut reading = Box::pin(reading);
        let ended = timeout_at(self.deadline, async {
            tokio::select! {
                () = &mut reading => (child.wait().await, true),
                status = child.wait() => (status, timeout(DRAIN, &mut reading).await.is_ok()),
            }
        })
        .await;
        drop(reading);
        let (status, is_drained) = ended.map_err(|_| {
            Error::new(
                ErrorKind::Timeout,
                text!(
                    "{program} did not end in time and was killed",
                    program = self.name
                ),
            )
        })?;
        let status = status.map_err(|cause| {
            Error::new(
                ErrorKind::Io,
                text!("could not run {program}", program = self.name),
            )
            .with_source(cause)
        })?;
        if is_drained {
            // Nobody holds the output any more; the number of the group may already belong to somebody else.
            group.0 = None;
        }
        Ok(Answer {
            status,
            is_cut: output.is_cut || errors.is_cut,
            output: output.bytes,
            errors: errors.bytes,
        })
    }
}

/// A group of processes that is killed when dropped.
#[derive(Debug)]
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.and_then(|leader| i32::try_from(leader).ok()) {
            // It fails where the group has ended by itself, which is as good.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// The first bytes of a stream.
#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    limit: usize,
    is_cut: bool,
}

impl Kept {
    fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            is_cut: false,
        }
    }

    /// Reads to the end, so that the program never waits for us, and keeps what fits.
    async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let room = self.limit - self.bytes.len();
            self.is_cut |= length > room;
            self.bytes.extend_from_slice(&buffer[..length.min(room)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        vec!["-c".to_owned(), script.to_owned()]
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[tokio::test]
    async fn it_runs_in_an_environment_of_its_own() {
        let script = sh("env | sort; echo oops >&2; exit 3");
        let mut program = Program::new("sh", &script, soon());
        program.environment.push(("GIVEN".to_owned(), "yes".into()));
        let answer = program.run().await.unwrap();
        let output = String::from_utf8(answer.output).unwrap();
        let names: Vec<_> = output
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            names
                .into_iter()
                .filter(|name| !["PWD", "_", "SHLVL", "OLDPWD"].contains(name))
                .collect::<Vec<_>>(),
            ["GIVEN", "LC_ALL", "PATH"]
        );
        assert_eq!(answer.errors, b"oops\n");
        assert_eq!(answer.status.code(), Some(3));
    }

    #[tokio::test]
    async fn an_endless_output_is_cut_and_the_program_still_ends() {
        let script = sh("head -c 300000 /dev/zero");
        let mut program = Program::new("sh", &script, soon());
        program.limit = 1000;
        let answer = program.run().await.unwrap();
        assert_eq!((answer.output.len(), answer.is_cut), (1000, true));
    }

    #[tokio::test]
    async fn a_timeout_kills_the_grandchildren_too() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let script = sh(&format!("sleep 600 & echo $! > {}; wait", pid_file.display()));
        let program = Program::new("sh", &script, Instant::now() + Duration::from_millis(500));
        assert_eq!(program.run().await.unwrap_err().kind(), ErrorKind::Timeout);
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        let stat = Path::new("/proc").join(pid.trim()).join("stat");
        let ends = async {
            while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), ends)
            .await
            .expect("the grandchild ends");
    }

    #[tokio::test]
    async fn a_daemon_that_keeps_the_output_open_holds_nobody_up() {
        let script = sh("sleep 600 & echo done");
        let answer = Program::new("sh", &script, soon()).run().await.unwrap();
        assert_eq!(answer.output, b"done\n");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = Program::new("no-such-program", &[], soon())
            .run()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotApplicable);
        assert_eq!(error.to_string(), "could not run no-such-program");
    }
}
