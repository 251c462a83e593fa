//! The receiver `command`: a program, with the notification as JSON on its standard input.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command as Process};

use super::limit::Limit;
use super::markup::Dialect;
use super::template::{Renderer, event_name, one_line};
use super::{CommandConfig, Integration, Parts, Problems, redacted};
use crate::notification::Notification;
use crate::notifier::{Notifier, Receipt, Refusal};
use crate::text;
use crate::text::Text;

/// How much of what the program says is kept; the rest is read and dropped, so that it never blocks.
const OUTPUT_LIMIT: u64 = 8 * 1024;

/// How many characters of that a refusal quotes.
const EXCERPT: Limit = Limit::Characters(200);

/// The text in the JSON.
const TEXT: Limit = Limit::Bytes(16_000);

/// After these exit codes of `sysexits.h` the same input fails again: usage, data, permission, configuration.
const USELESS: [i32; 4] = [64, 65, 77, 78];

/// What the program finds of this process' environment; anything may be secret in the rest.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];

struct Command {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    secret_environment: Vec<(String, SecretString)>,
    timeout: Duration,
    renderer: Renderer,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Command")
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

pub(super) fn build(config: &CommandConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    if config.program.as_os_str().is_empty() {
        problems.missing("program");
    }
    let secrets = config.secret_environment.iter();
    let secret_environment = secrets
        .filter_map(|(name, reference)| {
            Some((
                name.clone(),
                problems.secret("secret_environment", Some(reference))?,
            ))
        })
        .collect();
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Plain);
    let command = renderer.map(|renderer| Command {
        program: config.program.clone(),
        arguments: config.arguments.clone(),
        environment: config.environment.clone().into_iter().collect(),
        secret_environment,
        timeout: config
            .timeout
            .map_or(parts.environment.timeout, |period| period.0),
        renderer,
    });
    let command = problems.finish(command)?;
    Ok(vec![parts.integration(
        command,
        config.send_resolved,
        config.rate,
    )])
}

impl Command {
    fn input(&self, notification: &Notification) -> Value {
        let message = self.renderer.message(notification);
        let mut input = json!({
            "notification": notification,
            "event": event_name(notification.event),
            "title": message.title(TEXT),
            "text": message.text(TEXT),
        });
        if let Some(url) = &message.acknowledge {
            input["acknowledge_url"] = json!(url);
        }
        input
    }

    fn start(&self, notification: &Notification) -> std::io::Result<Child> {
        let secrets = self.secret_environment.iter();
        Process::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(
                INHERITED
                    .into_iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(secrets.map(|(name, value)| (name, value.expose_secret())))
            .env("ALPHA_NOTIFICATION_ID", notification.id.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    /// Feeds the program and waits for its end: its exit code, `None` after a signal, and what it said.
    async fn finish(&self, mut child: Child, input: Vec<u8>) -> std::io::Result<(Option<i32>, String)> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that does not read its input may have succeeded all the same: its exit code decides.
                let _ = stdin.write_all(&input).await;
            }
        };
        let (status, (), said, complaint) =
            tokio::join!(child.wait(), feed, bounded(stdout), bounded(stderr));
        let said = if complaint.trim().is_empty() {
            said
        } else {
            complaint
        };
        Ok((status?.code(), said))
    }

    fn excerpt(&self, said: &str) -> String {
        let secrets: Vec<SecretString> = self
            .secret_environment
            .iter()
            .map(|(_, secret)| secret.clone())
            .collect();
        EXCERPT.cut(&one_line(&redacted(said, &secrets)), Dialect::Plain)
    }
}

/// The beginning of what comes, read to its end.
async fn bounded(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else {
        return String::new();
    };
    let mut kept = Vec::new();
    // What cannot be read of a program's words is not worth failing for.
    let _ = (&mut stream).take(OUTPUT_LIMIT).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}

#[async_trait]
impl Notifier for Command {
    fn kind(&self) -> &'static str {
        "command"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let input = self.input(notification).to_string().into_bytes();
        let child = self.start(notification).map_err(|error| {
            let reason = text!(
                "the program cannot be started: {error}",
                error = error.to_string()
            );
            match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                    Refusal::permanent(reason)
                }
                _ => Refusal::transient(reason),
            }
        })?;
        let finished = tokio::time::timeout(self.timeout, self.finish(child, input)).await;
        let Ok(finished) = finished else {
            // Dropping the child has killed it.
            return Err(Refusal::uncertain(text!("the program did not end in time")));
        };
        let (code, said) = finished.map_err(|error| {
            Refusal::uncertain(text!("the program was lost: {error}", error = error.to_string()))
        })?;
        match code {
            Some(0) => Ok(Receipt::default()),
            Some(code) => {
                let said = self.excerpt(&said);
                let reason = text!("the program ended with {code}: {said}", code = code, said = said);
                Err(if USELESS.contains(&code) {
                    Refusal::permanent(reason)
                } else {
                    Refusal::transient(reason)
                })
            }
            None => Err(Refusal::uncertain(text!("the program was killed"))),
        }
    }
}
