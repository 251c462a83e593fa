//! Asking for TLS in the middle of another protocol.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::dial::{Phase, Progress, blame, closed_early};
use crate::error::{Error, ErrorKind, Result};
use crate::text;
use crate::text::Text;

/// 1 KiB: how long a line of an answer may be; SMTP allows 512 bytes, IMAP servers send longer ones.
const MAX_LINE: usize = 1024;

/// How many lines an answer may have.
const MAX_LINES: usize = 100;

/// A protocol that begins in the clear and changes to TLS when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartTls {
    /// Mail submission and relay, RFC 3207; ports 25 and 587.
    Smtp,
    /// Mailboxes, RFC 9051 section 6.2.1; port 143.
    Imap,
    /// Mailboxes, RFC 2595 section 4; port 110.
    Pop3,
    /// PostgreSQL's `SSLRequest`; port 5432.
    Postgres,
}

impl StartTls {
    /// Asks for TLS; afterwards the next byte is the handshake's.
    ///
    /// # Errors
    /// `Malformed` where the answer is none of the protocol or TLS is refused.
    pub(super) async fn ask<S>(self, stream: &mut S, progress: &mut Progress) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        progress.phase = Phase::Greeting;
        let mut talk = Talk { stream, progress };
        match self {
            Self::Smtp => {
                talk.reply_of_smtp(b'2').await?;
                talk.say(b"EHLO alpha-probes.invalid\r\n").await?;
                talk.reply_of_smtp(b'2').await?;
                talk.say(b"STARTTLS\r\n").await?;
                talk.reply_of_smtp(b'2').await
            }
            Self::Imap => {
                let greeting = talk.line().await?;
                talk.require(greeting.starts_with("* OK"), &greeting)?;
                talk.say(b"a1 STARTTLS\r\n").await?;
                for _ in 0..MAX_LINES {
                    let line = talk.line().await?;
                    if let Some(status) = line.strip_prefix("a1 ") {
                        return talk.require(status.starts_with("OK"), &line);
                    }
                }
                Err(talk.endless())
            }
            Self::Pop3 => {
                let greeting = talk.line().await?;
                talk.require(greeting.starts_with("+OK"), &greeting)?;
                talk.say(b"STLS\r\n").await?;
                let line = talk.line().await?;
                talk.require(line.starts_with("+OK"), &line)
            }
            Self::Postgres => {
                // Length 8 and the code 80877103, https://www.postgresql.org/docs/current/protocol-message-formats.html
                talk.say(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
                match talk.byte().await? {
                    b'S' => Ok(()),
                    b'N' => Err(talk.refused("N")),
                    other => Err(talk.refused(&char::from(other).to_string())),
                }
            }
        }
    }
}

struct Talk<'a, S> {
    stream: &'a mut S,
    progress: &'a Progress,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Talk<'_, S> {
    async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = self.stream.write_all(bytes).await;
        sent.map_err(|error| self.broken(&error))
    }

    /// The next byte, and not one more: the one after it may be the handshake's.
    async fn byte(&mut self) -> Result<u8> {
        self.stream.read_u8().await.map_err(|error| self.broken(&error))
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        while line.len() < MAX_LINE {
            match self.byte().await? {
                b'\n' => {
                    let line = String::from_utf8_lossy(&line);
                    return Ok(line.trim_end().to_owned());
                }
                byte => line.push(byte),
            }
        }
        Err(self.endless())
    }

    /// `250-first`, `250 last`: one reply of several lines, which must begin with `class`.
    async fn reply_of_smtp(&mut self, class: u8) -> Result<()> {
        for _ in 0..MAX_LINES {
            let line = self.line().await?;
            self.require(line.as_bytes().first() == Some(&class), &line)?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
        Err(self.endless())
    }

    fn require(&self, is_right: bool, answer: &str) -> Result<()> {
        if is_right {
            Ok(())
        } else {
            Err(self.refused(answer))
        }
    }

    fn refused(&self, answer: &str) -> Error {
        malformed(text!(
            "{address} does not change to TLS: it answered \"{answer}\"",
            address = self.progress.address(),
            answer = answer.chars().take(100).collect::<String>()
        ))
    }

    fn endless(&self) -> Error {
        malformed(text!(
            "{address} does not change to TLS: its answer has no end",
            address = self.progress.address()
        ))
    }

    fn broken(&self, error: &std::io::Error) -> Error {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            return closed_early(self.progress.address());
        }
        let text = text!(
            "the connection to {address} broke: {cause}",
            address = self.progress.address(),
            cause = error.to_string()
        );
        Error::new(blame(error), text)
    }
}

fn malformed(text: Text) -> Error {
    Error::new(ErrorKind::Malformed, text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::duplex;

    use super::*;
    use crate::dial::Endpoint;

    /// What comes of asking a server that says `lines` whatever it is told, and what it was told.
    async fn ask(protocol: StartTls, lines: &[u8]) -> (Result<()>, String) {
        let (mut client, mut server) = duplex(64 * 1024);
        server.write_all(lines).await.unwrap();
        let mut progress = Progress::new(&Endpoint::new("mail.example", 25));
        progress.connect_time = Some(Duration::from_millis(1));
        let outcome = {
            let asked = protocol.ask(&mut client, &mut progress);
            tokio::time::timeout(Duration::from_secs(5), asked).await
        };
        drop(client);
        let mut told = Vec::new();
        server.read_to_end(&mut told).await.unwrap();
        let outcome = outcome.unwrap_or_else(|_| Err(progress.timed_out()));
        (outcome, String::from_utf8_lossy(&told).into_owned())
    }

    #[tokio::test]
    async fn each_protocol_is_asked_in_its_own_words() {
        let (outcome, told) = ask(
            StartTls::Smtp,
            b"220-hello\r\n220 mail\r\n250-mail\r\n250-STARTTLS\r\n250 HELP\r\n220 go\r\n",
        )
        .await;
        outcome.unwrap();
        assert_eq!(told, "EHLO alpha-probes.invalid\r\nSTARTTLS\r\n");
        let (outcome, told) = ask(StartTls::Imap, b"* OK hi\r\n* CAPABILITY X\r\na1 OK begin\r\n").await;
        outcome.unwrap();
        assert_eq!(told, "a1 STARTTLS\r\n");
        ask(StartTls::Pop3, b"+OK hi\r\n+OK begin\r\n").await.0.unwrap();
        ask(StartTls::Postgres, b"S").await.0.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_in_the_words_of_the_server() {
        let mut told = Vec::new();
        let endless = b"250-x\r\n".repeat(200);
        for (protocol, lines) in [
            (StartTls::Smtp, &b"554 no service\r\n"[..]),
            (
                StartTls::Smtp,
                b"220 mail\r\n250 mail\r\n454 TLS not available\r\n",
            ),
            (StartTls::Smtp, &endless),
            (StartTls::Smtp, &[b'2'; 5000]),
            (StartTls::Imap, b"* BYE busy\r\n"),
            (StartTls::Imap, b"* OK hi\r\na1 BAD what\r\n"),
            (StartTls::Pop3, b"-ERR\r\n"),
            (StartTls::Postgres, b"N"),
            (StartTls::Postgres, b"E"),
            (StartTls::Smtp, b"22"),
            (StartTls::Smtp, b"\xff\xfe\r\n"),
        ] {
            told.push(ask(protocol, lines).await.0.unwrap_err().to_string());
        }
        insta::assert_snapshot!(told.join("\n"), @r#"
        mail.example:25 does not change to TLS: it answered "554 no service"
        mail.example:25 does not change to TLS: it answered "454 TLS not available"
        mail.example:25 does not change to TLS: its answer has no end
        mail.example:25 does not change to TLS: its answer has no end
        mail.example:25 does not change to TLS: it answered "* BYE busy"
        mail.example:25 does not change to TLS: it answered "a1 BAD what"
        mail.example:25 does not change to TLS: it answered "-ERR"
        mail.example:25 does not change to TLS: it answered "N"
        mail.example:25 does not change to TLS: it answered "E"
        no greeting from mail.example:25 within 5 s (connected in 1 ms)
        mail.example:25 does not change to TLS: it answered "��"
        "#);
    }
}
