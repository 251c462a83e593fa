//! One conversation with a server: connect, log in, `PING`, `INFO`.
//!
//! Each look has a connection of its own. A kept one would save little and hide what new clients meet: that the server
//! lets nobody in any more, or that the password was changed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, RedisResult, Value};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::RedisProbe;
use crate::dial::{Phase, Progress, closed_early, dial};
use crate::error::{Error, ErrorKind, Result};
use crate::observation::Unit;
use crate::text;

/// 1 MiB: how much a server may say in one conversation. `INFO` takes about 6 kB, and 100 bytes more a replica.
const MAX_ANSWER: usize = 1 << 20;

/// What a stream says when the server has said too much.
const TOO_LONG: &str = "the answer is too long";

impl RedisProbe {
    /// What `INFO` says, and how long a `PING` took.
    pub(super) async fn ask(&self, now: Timestamp, progress: &mut Progress) -> Result<(String, Duration)> {
        let stream = dial(&self.endpoint, progress).await?;
        let Some((client, name)) = &self.tls else {
            return self.converse(stream, progress).await;
        };
        let stream = client.handshake(name.clone(), stream, progress).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        if let Some(problem) = client.problems(chain, name, now).first() {
            let text = problem.text(&self.endpoint.host, now);
            return Err(Error::new(ErrorKind::Unreachable, text));
        }
        self.converse(stream, progress).await
    }

    async fn converse<S>(&self, stream: S, progress: &mut Progress) -> Result<(String, Duration)>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        progress.phase = Phase::Answer;
        let refused = |error: RedisError| self.refusal(&error, progress);
        let stream = Bounded {
            inner: stream,
            left: MAX_ANSWER,
        };
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        // The probe has a deadline of its own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (mut connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(refused)?;
        let commands = async {
            self.log_in(&mut connection).await?;
            let started = Instant::now();
            let pinged = redis::cmd("PING").query_async::<Value>(&mut connection).await;
            let ping_time = started.elapsed();
            if let Err(error) = pinged
                && !matches!(error.code(), Some("LOADING" | "MASTERDOWN" | "BUSY"))
            {
                return Err(error);
            }
            // A server that reads its data, or has lost its primary, still says how it is.
            let answer: Vec<u8> = redis::cmd("INFO").query_async(&mut connection).await?;
            Ok((String::from_utf8_lossy(&answer).into_owned(), ping_time))
        };
        // The driver ends first only where the connection does, and then the command that waits says why.
        let driven = async {
            driver.await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            answer = commands => answer.map_err(refused),
            () = driven => unreachable!("it waits for ever"),
        }
    }

    async fn log_in(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let Some(password) = &self.password else {
            return Ok(());
        };
        let mut command = Cmd::new();
        command.arg("AUTH");
        // Redis before 6 knows the password alone.
        if let Some(username) = &self.username {
            command.arg(username);
        }
        command.arg(password.expose_secret());
        command.query_async(connection).await
    }

    /// What it means that a command failed.
    fn refusal(&self, error: &RedisError, progress: &Progress) -> Error {
        let address = progress.address();
        let said = || match (error.code(), error.detail()) {
            (Some("ERR") | None, Some(detail)) => detail.to_owned(),
            (Some(code), Some(detail)) => format!("{code} {detail}"),
            (Some(code), None) => code.to_owned(),
            (None, None) => error.to_string(),
        };
        let detail = error.detail().unwrap_or_default();
        let user = self.username.as_deref().unwrap_or("default").to_owned();
        if is_too_long(error) {
            let limit = Unit::Bytes.format(MAX_ANSWER as f64);
            let text = text!(
                "{address} answered with more than {limit}",
                address = address,
                limit = limit
            );
            return Error::new(ErrorKind::Malformed, text);
        }
        match error.code() {
            Some("NOAUTH") => Error::new(
                ErrorKind::Denied,
                text!("Redis at {address} wants a password", address = address),
            ),
            Some("ERR") if detail.contains("max number of clients") => Error::new(
                ErrorKind::Unreachable,
                text!(
                    "Redis at {address} has too many clients and lets nobody in",
                    address = address
                ),
            ),
            Some("BUSY") => Error::new(
                ErrorKind::Unreachable,
                text!(
                    "Redis at {address} runs a script and answers nothing else meanwhile",
                    address = address
                ),
            ),
            Some(_) => Error::new(
                ErrorKind::Denied,
                text!(
                    "Redis at {address} refused the user {user}: {said}",
                    address = address,
                    user = user,
                    said = said()
                ),
            ),
            None if error.is_io_error() || error.is_connection_dropped() => closed_early(address),
            None => Error::new(
                ErrorKind::Malformed,
                text!(
                    "{address} does not speak the protocol of Redis",
                    address = address
                ),
            ),
        }
    }
}

fn is_too_long(error: &RedisError) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.to_string() == TOO_LONG {
            return true;
        }
        cause = error.source();
    }
    error.to_string() == TOO_LONG
}

/// A stream that ends with an error when more than so many bytes were read.
#[derive(Debug)]
struct Bounded<S> {
    inner: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other(TOO_LONG))),
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
