//! Reading an answer just far enough to know where it ends.

use std::mem::MaybeUninit;

use tokio::io::AsyncReadExt;

use super::Http1Connection;
use crate::failure::{Failure, FailureClass};
use crate::request::Prepared;
use crate::targets::transport::Transport;

/// To what a read buffer may grow; the head of an answer has to fit.
const LARGEST_BUFFER: usize = 64 * 1024;

/// How many headers an answer may have.
const MOST_HEADERS: usize = 100;

/// How much of a body is kept to be checked; a longer one fails its check.
const LARGEST_CHECKED_BODY: usize = 4 * 1024 * 1024;

/// How long a body may be that is only counted; an endless one ends here or with the timeout.
const LARGEST_BODY: u64 = 1024 * 1024 * 1024;

/// What the head of an answer says about its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: usize,
    framing: Framing,
    keep_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl<T: Transport> Http1Connection<T> {
    /// Reads one answer and judges it.
    pub(super) async fn read_answer(
        &mut self,
        request: &Prepared,
        received: &mut u64,
    ) -> Result<(), Failure> {
        let head = loop {
            let head = self.read_head(request, received).await?;
            if head.status >= 200 || head.status == 101 {
                break head;
            }
        };
        let keeps = request.check.needs_body();
        self.body.clear();
        let length = match head.framing {
            Framing::Length(length) => self.read_exactly(length, keeps, received).await?,
            Framing::Chunked => self.read_chunks(keeps, received).await?,
            Framing::UntilClose => self.read_until_close(keeps, received).await?,
        };
        if self.filled > 0 {
            return Err(Failure::new(
                FailureClass::Overlong,
                "bytes came after the end of the answer",
            ));
        }
        self.reusable = head.keep_alive && head.framing != Framing::UntilClose;
        request.check.judge_status(head.status)?;
        request.check.judge_body(length, &self.body)
    }

    /// Reads more into the buffer; zero is the end of the stream.
    async fn fill(&mut self, received: &mut u64) -> Result<usize, Failure> {
        if self.filled == self.buffer.len() {
            if self.buffer.len() >= LARGEST_BUFFER {
                return Err(Failure::new(
                    FailureClass::TooLarge,
                    "the head or a chunk line is larger than 64 KiB",
                ));
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let count = self.stream.read(&mut self.buffer[self.filled..]).await?;
        self.filled += count;
        *received += count as u64;
        Ok(count)
    }

    /// Takes `count` bytes off the front of the buffer.
    fn consume(&mut self, count: usize) {
        if count < self.filled {
            self.buffer.copy_within(count..self.filled, 0);
        }
        self.filled -= count;
    }

    async fn read_head(&mut self, request: &Prepared, received: &mut u64) -> Result<Head, Failure> {
        loop {
            if self.filled > 0
                && let Some(head) = parse_head(&self.buffer[..self.filled], &request.method)?
            {
                self.consume(head.length);
                return Ok(head);
            }
            if self.fill(received).await? == 0 {
                return Err(if self.filled == 0 {
                    Failure::new(FailureClass::Closed, "")
                } else {
                    Failure::new(FailureClass::Truncated, "the connection ended within the head")
                });
            }
        }
    }

    async fn read_exactly(&mut self, length: u64, keeps: bool, received: &mut u64) -> Result<u64, Failure> {
        if length > LARGEST_BODY {
            return Err(Failure::new(
                FailureClass::TooLarge,
                "the body is longer than 1 GiB",
            ));
        }
        let mut left = length;
        loop {
            let usable = self.filled.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.keep(usable, keeps)?;
            self.consume(usable);
            left -= usable as u64;
            if left == 0 {
                return Ok(length);
            }
            // A long body is read in larger pieces; it costs fewer calls than the first buffer would.
            if left > self.buffer.len() as u64 && self.buffer.len() < LARGEST_BUFFER {
                self.buffer.resize(LARGEST_BUFFER, 0);
            }
            if self.fill(received).await? == 0 {
                return Err(Failure::new(
                    FailureClass::Truncated,
                    "the body is shorter than its content-length",
                ));
            }
        }
    }

    async fn read_chunks(&mut self, keeps: bool, received: &mut u64) -> Result<u64, Failure> {
        let malformed = |detail: &'static str| Failure::new(FailureClass::Malformed, detail);
        let ended = || {
            Failure::new(
                FailureClass::Truncated,
                "the connection ended within a chunked body",
            )
        };
        let mut total = 0;
        loop {
            let (line, size) = loop {
                match httparse::parse_chunk_size(&self.buffer[..self.filled]) {
                    Ok(httparse::Status::Complete(found)) => break found,
                    Ok(httparse::Status::Partial) => {}
                    Err(_) => return Err(malformed("a chunk size is not a number")),
                }
                if self.fill(received).await? == 0 {
                    return Err(ended());
                }
            };
            self.consume(line);
            if size == 0 {
                return self.read_trailers(received).await.map(|()| total);
            }
            total += size;
            if size > LARGEST_BODY || total > LARGEST_BODY {
                return Err(Failure::new(
                    FailureClass::TooLarge,
                    "the body is longer than 1 GiB",
                ));
            }
            self.read_exactly(size, keeps, received)
                .await
                .map_err(|failure| match failure.class {
                    FailureClass::Truncated => ended(),
                    _ => failure,
                })?;
            while self.filled < 2 {
                if self.fill(received).await? == 0 {
                    return Err(ended());
                }
            }
            if &self.buffer[..2] != b"\r\n" {
                return Err(malformed("a chunk is longer than its size"));
            }
            self.consume(2);
        }
    }

    /// Reads lines until an empty one.
    async fn read_trailers(&mut self, received: &mut u64) -> Result<(), Failure> {
        loop {
            if let Some(end) = self.buffer[..self.filled]
                .windows(2)
                .position(|pair| pair == b"\r\n")
            {
                self.consume(end + 2);
                if end == 0 {
                    return Ok(());
                }
                continue;
            }
            if self.fill(received).await? == 0 {
                return Err(Failure::new(
                    FailureClass::Truncated,
                    "the connection ended within a chunked body",
                ));
            }
        }
    }

    async fn read_until_close(&mut self, keeps: bool, received: &mut u64) -> Result<u64, Failure> {
        let mut total = 0;
        loop {
            total += self.filled as u64;
            if total > LARGEST_BODY {
                return Err(Failure::new(
                    FailureClass::TooLarge,
                    "the body is longer than 1 GiB",
                ));
            }
            self.keep(self.filled, keeps)?;
            self.filled = 0;
            if self.fill(received).await? == 0 {
                return Ok(total);
            }
        }
    }

    /// Keeps the first `count` bytes of the buffer for the checks.
    fn keep(&mut self, count: usize, keeps: bool) -> Result<(), Failure> {
        if keeps {
            if self.body.len() + count > LARGEST_CHECKED_BODY {
                return Err(Failure::new(
                    FailureClass::TooLarge,
                    "the body to be checked is longer than 4 MiB",
                ));
            }
            self.body.extend_from_slice(&self.buffer[..count]);
        }
        Ok(())
    }
}

/// Reads the head of an answer; answers nothing while it is incomplete.
fn parse_head(buffer: &[u8], method: &str) -> Result<Option<Head>, Failure> {
    let malformed = |detail: &'static str| Failure::new(FailureClass::Malformed, detail);
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        buffer,
        &mut headers,
    );
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(malformed("the head is not HTTP/1")),
    };
    let status = response.code.unwrap_or_default();
    let mut keep_alive = response.version == Some(1);
    let (mut content_length, mut chunked) = (None, false);
    for header in response.headers.iter() {
        match header.name.len() {
            10 if header.name.eq_ignore_ascii_case("connection") => {
                keep_alive = match header.value {
                    value if value.eq_ignore_ascii_case(b"close") => false,
                    value if value.eq_ignore_ascii_case(b"keep-alive") => true,
                    _ => keep_alive,
                };
            }
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                let value = parse_length(header.value)
                    .ok_or_else(|| malformed("the content-length is not a number"))?;
                if content_length
                    .replace(value)
                    .is_some_and(|before| before != value)
                {
                    return Err(malformed("two content-lengths contradict each other"));
                }
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                chunked = header.value.to_ascii_lowercase().ends_with(b"chunked");
            }
            _ => {}
        }
    }
    let framing = match content_length {
        _ if method == "HEAD" || status < 200 || status == 204 || status == 304 => Framing::Length(0),
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    Ok(Some(Head {
        status,
        length,
        framing,
        keep_alive,
    }))
}

fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        value
            .iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0')),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Result<Option<Head>, Failure> {
        parse_head(text.as_bytes(), "GET")
    }

    #[test]
    fn the_end_of_a_body_follows_from_its_head() {
        let framing = |text: &str| head(text).unwrap().unwrap().framing;
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"),
            Framing::Length(12)
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n"),
            Framing::Chunked
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"),
            Framing::Chunked
        );
        assert_eq!(framing("HTTP/1.0 200 OK\r\n\r\n"), Framing::UntilClose);
        assert_eq!(
            framing("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
            Framing::Length(0)
        );
        assert_eq!(head("HTTP/1.1 200 O"), Ok(None));
        assert!(
            !head("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                .unwrap()
                .unwrap()
                .keep_alive
        );
        for bad in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        ] {
            assert_eq!(head(bad).unwrap_err().class, FailureClass::Malformed, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), valid_start: bool) {
            let mut text = if valid_start { b"HTTP/1.1 200 OK\r\n".to_vec() } else { Vec::new() };
            text.extend(bytes);
            let _ = parse_head(&text, "GET");
        }
    }
}
