//! A mail server on this machine that takes down what it is handed and answers as it was scripted.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How the server answers one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// With this line, such as `451 4.3.0 try again later`.
    Line(String),
    /// Not at all, while the connection stays open.
    Hang,
    /// By closing the connection.
    Close,
}

impl Reply {
    /// An answer with this line.
    pub fn line(line: &str) -> Self {
        Self::Line(line.to_owned())
    }
}

/// A mail as it was handed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedMail {
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// What was sent to log in, decoded by nobody.
    pub login: Vec<String>,
    /// Headers and body, the dots of the transport undone.
    pub data: String,
}

impl ReceivedMail {
    /// The value of a header, unfolded; empty where there is none.
    pub fn header(&self, name: &str) -> String {
        let head = self.data.split("\r\n\r\n").next().unwrap_or_default();
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let value = unfolded.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        });
        value.unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Shared {
    script: Mutex<BTreeMap<String, VecDeque<Reply>>>,
    extensions: Mutex<Vec<String>>,
    received: Mutex<Vec<ReceivedMail>>,
}

/// A mail server on a free port of loopback, without encryption. It ends when it is dropped.
#[derive(Debug)]
pub struct ScriptedMailServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl ScriptedMailServer {
    /// Starts it; until it is scripted it takes every mail.
    ///
    /// # Panics
    /// Where loopback has no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            extensions: Mutex::new(vec!["AUTH PLAIN LOGIN".to_owned(), "8BITMIME".to_owned()]),
            ..Shared::default()
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            server,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next commands `verb` are answered like this, one after the other. `.` is the end of the data, and the empty
    /// verb the greeting.
    pub fn script(&self, verb: &str, replies: impl IntoIterator<Item = Reply>) {
        let mut script = self.shared.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.entry(verb.to_owned()).or_default().extend(replies);
    }

    /// What came so far; the next call begins anew.
    pub fn take(&self) -> Vec<ReceivedMail> {
        let mut received = self
            .shared
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut received)
    }
}

impl Drop for ScriptedMailServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A connection that breaks is what some tests are about.
            let _ = converse(BufReader::new(stream), &shared).await;
        });
    }
}

/// One conversation, until either side has enough.
async fn converse(mut stream: BufReader<TcpStream>, shared: &Shared) -> io::Result<()> {
    let mut mail = ReceivedMail::default();
    answer(&mut stream, shared, "", "220 double ready").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let usual = match verb.as_str() {
            "EHLO" => {
                let extensions = shared.extensions.lock().unwrap_or_else(PoisonError::into_inner);
                let lines = extensions.iter().map(|extension| format!("250-{extension}\r\n"));
                format!("250-double\r\n{}250 HELP", lines.collect::<String>())
            }
            "AUTH" => {
                mail.login.push(line.to_owned());
                "235 welcome".to_owned()
            }
            "MAIL" => {
                mail.from = address(line);
                "250 ok".to_owned()
            }
            "RCPT" => {
                mail.to.push(address(line));
                "250 ok".to_owned()
            }
            "DATA" => "354 go on".to_owned(),
            "QUIT" => "221 bye".to_owned(),
            _ => "250 ok".to_owned(),
        };
        let told = answer(&mut stream, shared, &verb, &usual).await?;
        if verb == "DATA" && told.starts_with('3') {
            mail.data = read_data(&mut stream).await?;
            let told = answer(&mut stream, shared, ".", "250 taken").await?;
            let login = mail.login.clone();
            let taken = std::mem::take(&mut mail);
            mail.login = login;
            if told.starts_with('2') {
                let mut received = shared.received.lock().unwrap_or_else(PoisonError::into_inner);
                received.push(taken);
            }
        }
    }
}

/// Answers `verb` as scripted, else with `usual`.
async fn answer(
    stream: &mut BufReader<TcpStream>,
    shared: &Shared,
    verb: &str,
    usual: &str,
) -> io::Result<String> {
    let scripted = {
        let mut script = shared.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.get_mut(verb).and_then(VecDeque::pop_front)
    };
    let line = match scripted {
        None => usual.to_owned(),
        Some(Reply::Line(line)) => line,
        Some(Reply::Hang) => std::future::pending().await,
        Some(Reply::Close) => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    stream.flush().await?;
    Ok(line)
}

/// What stands between the angle brackets.
fn address(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(address, _)| address.to_owned())
}

async fn read_data(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut data = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.strip_prefix('.') {
            Some("\r\n") => return Ok(data),
            Some(rest) => data.push_str(rest),
            None => data.push_str(&line),
        }
    }
}
