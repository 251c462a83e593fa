//! Whether the generator tells the truth on this machine.
//!
//! Four servers whose latency is known are started on loopback and measured over real sockets: one that freezes, one
//! that is slow on some requests by itself, a healthy one, and one that is asked for more than any generator can send.
//! Each is a case in which a well-known tool is wrong by a factor. Noise of a busy machine only ever adds latency, so
//! that a case is tried up to three times and passes when one try does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use crate::LoadTest;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::histogram::{Histogram, Precision};
use crate::report::BenchReport;
use crate::request::Request;
use crate::schedule::LoadModel;
use crate::targets::Http1;
use crate::targets::transport::Tcp;
use crate::template::Inputs;
use crate::text;
use crate::text::Text;
use crate::threshold::Verdict;

/// How often a case is tried.
const TRIES: usize = 3;

/// What a case found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SelfTestCase {
    /// Which case.
    pub case: Case,
    /// The true value in seconds; in [`Case::Saturated`] the rate that was asked for.
    pub truth: f64,
    /// What was measured; in [`Case::Saturated`] the rate that was reached.
    pub measured: f64,
    /// The share by which the measured value may differ.
    pub tolerance: f64,
    /// Whether it does not.
    pub passed: bool,
    /// How often it was tried.
    pub tries: usize,
}

/// A case in which generators are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// The 99th percentile of a server that freezes for 100 ms in every second.
    FrozenP99,
    /// The 99.9th percentile of the same server.
    FrozenP999,
    /// The 99th percentile where every 200th request is slow by itself.
    SlowRequests,
    /// The median of a healthy server.
    Healthy,
    /// The median of a healthy server, spinning before each start.
    HealthySpinning,
    /// A rate that no generator reaches.
    Saturated,
}

impl Case {
    /// The case as a sentence.
    pub fn to_text(self) -> Text {
        match self {
            Self::FrozenP99 => text!("p99 of a server that freezes for 100 ms in every second"),
            Self::FrozenP999 => text!("p99.9 of a server that freezes for 100 ms in every second"),
            Self::SlowRequests => text!("p99 where every 200th request is slow by itself"),
            Self::Healthy => text!("median of a healthy server"),
            Self::HealthySpinning => text!("median of a healthy server, spinning"),
            Self::Saturated => text!("a rate that cannot be reached is told to be so"),
        }
    }
}

/// Runs all cases, which takes about half a minute.
///
/// # Errors
/// [`Io`](ErrorKind::Io) if this machine refuses a socket or a thread.
pub async fn selftest() -> Result<Vec<SelfTestCase>> {
    let mut cases = frozen().await?;
    cases.push(slow_requests().await?);
    cases.push(healthy(Duration::ZERO, Case::Healthy, 0.45).await?);
    cases.push(healthy(Duration::from_micros(100), Case::HealthySpinning, 0.05).await?);
    cases.push(saturated().await?);
    Ok(cases)
}

fn judged(case: Case, truth: f64, measured: f64, tolerance: f64, tries: usize) -> SelfTestCase {
    let passed = (measured - truth).abs() <= truth * tolerance;
    SelfTestCase {
        case,
        truth,
        measured,
        tolerance,
        passed,
        tries,
    }
}

async fn frozen() -> Result<Vec<SelfTestCase>> {
    let mut cases = Vec::new();
    for tries in 1..=TRIES {
        let server = Server::start(Behaviour {
            freeze: Duration::from_millis(100),
            ..Behaviour::default()
        })
        .await?;
        let report = server.put(LoadModel::open(1000.0), 5, Duration::ZERO).await?;
        // A tenth of all requests meets the freeze, at evenly spread instants of it.
        cases = vec![
            judged(Case::FrozenP99, 0.090, report.latency_seconds.p99, 0.01, tries),
            judged(Case::FrozenP999, 0.099, report.latency_seconds.p99_9, 0.01, tries),
        ];
        if cases.iter().all(|case| case.passed) {
            break;
        }
    }
    Ok(cases)
}

async fn slow_requests() -> Result<SelfTestCase> {
    let mut best = None::<SelfTestCase>;
    for tries in 1..=TRIES {
        let slow = Some((200, Duration::from_millis(100)));
        let server = Server::start(Behaviour {
            delay: Duration::from_millis(1),
            slow,
            ..Behaviour::default()
        })
        .await?;
        let report = server.put(LoadModel::open(500.0), 4, Duration::ZERO).await?;
        let truth = server.measured_itself().quantile(0.99).as_secs_f64();
        let case = judged(Case::SlowRequests, truth, report.latency_seconds.p99, 0.5, tries);
        let passed = case.passed;
        best = Some(case);
        if passed {
            break;
        }
    }
    best.ok_or_else(could_not_run)
}

async fn healthy(spin: Duration, case: Case, tolerance: f64) -> Result<SelfTestCase> {
    let mut best = None::<SelfTestCase>;
    for tries in 1..=TRIES {
        let server = Server::start(Behaviour::default()).await?;
        // One user who asks again at once never sleeps, so that no wake-up is in what is measured.
        let truth = server
            .put(LoadModel::closed(1), 1, Duration::ZERO)
            .await?
            .service_seconds
            .p50;
        let report = server.put(LoadModel::open(1000.0), 2, spin).await?;
        let judged = judged(case, truth, report.latency_seconds.p50, tolerance, tries);
        let passed = judged.passed;
        best = Some(judged);
        if passed {
            break;
        }
    }
    best.ok_or_else(could_not_run)
}

async fn saturated() -> Result<SelfTestCase> {
    let asked = 3e6;
    let server = Server::start(Behaviour::default()).await?;
    let report = server.put(LoadModel::open(asked), 1, Duration::ZERO).await?;
    let passed = report.verdict == Verdict::GeneratorSaturated;
    let measured = report.throughput_per_second;
    Ok(SelfTestCase {
        case: Case::Saturated,
        truth: asked,
        measured,
        tolerance: 0.0,
        passed,
        tries: 1,
    })
}

fn could_not_run() -> Error {
    Error::new(ErrorKind::Io, text!("could not run the self-test"))
}

/// How a [`Server`] answers.
#[derive(Clone, Copy, Debug, Default)]
struct Behaviour {
    /// How long it stands still at the begin of every second.
    freeze: Duration,
    /// How long each answer takes.
    delay: Duration,
    /// Every how many requests one takes how long instead.
    slow: Option<(u64, Duration)>,
}

/// A server of known latency on a thread of its own.
struct Server {
    url: Url,
    handled: Arc<Mutex<Histogram>>,
    _stop: DropGuard,
}

impl Server {
    async fn start(behaviour: Behaviour) -> Result<Self> {
        let failed = |cause: std::io::Error| could_not_run().with_source(cause);
        let listener =
            std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let url = format!("http://{address}/")
            .parse()
            .map_err(|_| could_not_run())?;
        let handled = Arc::new(Mutex::new(Histogram::new(Precision::Full)));
        let stop = CancellationToken::new();
        let (token, histogram) = (stop.clone(), Arc::clone(&handled));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        std::thread::Builder::new()
            .name("selftest-server".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    if let Ok(listener) = TcpListener::from_std(listener) {
                        let _ = token
                            .run_until_cancelled(serve(listener, behaviour, histogram))
                            .await;
                    }
                });
            })
            .map_err(failed)?;
        Ok(Self {
            url,
            handled,
            _stop: stop.drop_guard(),
        })
    }

    async fn put(&self, model: LoadModel, seconds: u64, spin: Duration) -> Result<BenchReport> {
        let config = Config::new(model)
            .with_duration(Duration::from_secs(seconds))
            .with_workers(1)
            .with_spin(spin);
        let tcp = Tcp::resolve(&self.url).await?;
        let target = Http1::new(tcp, &self.url, &[Request::get("/")], &Inputs::default(), true)?;
        LoadTest::new(config, target).run().await
    }

    fn measured_itself(&self) -> Histogram {
        self.handled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn serve(listener: TcpListener, behaviour: Behaviour, handled: Arc<Mutex<Histogram>>) {
    let origin = Instant::now();
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    while let Ok((stream, _)) = listener.accept().await {
        let (count, handled) = (Arc::clone(&count), Arc::clone(&handled));
        tokio::spawn(async move {
            // How a connection ends shows on the other side.
            let _ = answer(stream, behaviour, origin, &count, &handled).await;
        });
    }
}

async fn answer(
    mut stream: TcpStream,
    behaviour: Behaviour,
    origin: Instant,
    count: &std::sync::atomic::AtomicU64,
    handled: &Mutex<Histogram>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 2048];
    loop {
        // The generator sends a request in one piece and waits for its answer.
        if stream.read(&mut buffer).await? == 0 {
            return Ok(());
        }
        let begin = Instant::now();
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let delay = match behaviour.slow {
            Some((every, slow)) if number % every == every - 1 => slow,
            _ => behaviour.delay,
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let since = origin.elapsed();
        let phase = since - Duration::from_secs(since.as_secs());
        if phase < behaviour.freeze {
            tokio::time::sleep(behaviour.freeze - phase).await;
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await?;
        handled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .record(begin.elapsed());
    }
}
