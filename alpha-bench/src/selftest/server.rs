//! Servers whose latency is known, on a thread of their own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::could_not_run;
use crate::engine::{Pacer, cores};
use crate::error::Result;
use crate::histogram::{Histogram, Precision};

/// How long a server that freezes stands still in every second.
const FREEZE: Duration = Duration::from_millis(100);

/// How far into a second the freeze begins. Half a millisecond off the even instants, at which requests are meant to
/// start, there is never a doubt which of them meet it.
const FREEZE_PHASE: Duration = Duration::from_micros(200_500);

/// How long a request takes where every [`SLOW_EVERY`]th takes [`SLOW`].
const DELAY: Duration = Duration::from_millis(1);
const SLOW: Duration = Duration::from_millis(100);
const SLOW_EVERY: u64 = 200;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// How a [`Server`] answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Behaviour {
    /// At once.
    Healthy,
    /// At once, but nothing for [`FREEZE`] in every second from this instant on.
    Freezes(Instant),
    /// After [`DELAY`], and every [`SLOW_EVERY`]th after [`SLOW`], without holding up another.
    SlowByItself,
}

/// A server of known latency.
pub(super) struct Server {
    url: Url,
    address: SocketAddr,
    known: Arc<Mutex<Known>>,
    _stop: DropGuard,
}

/// What a server knows about itself.
struct Known {
    handled: Histogram,
    count: u64,
    freezes: Vec<(Instant, Instant)>,
}

impl Server {
    pub(super) fn start(behaviour: Behaviour) -> Result<Self> {
        let failed = |cause: std::io::Error| could_not_run().with_source(cause);
        let listener =
            std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let url = format!("http://{address}/")
            .parse()
            .map_err(|_| could_not_run())?;
        let known = Arc::new(Mutex::new(Known {
            handled: Histogram::new(Precision::Full),
            count: 0,
            freezes: Vec::new(),
        }));
        let stop = CancellationToken::new();
        let (token, shared) = (stop.clone(), Arc::clone(&known));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        std::thread::Builder::new()
            .name("selftest-server".to_owned())
            .spawn(move || {
                take_core(Core::OfTheServer);
                runtime.block_on(async {
                    if let Ok(listener) = TcpListener::from_std(listener) {
                        let _ = token
                            .run_until_cancelled(serve(listener, behaviour, shared))
                            .await;
                    }
                });
            })
            .map_err(failed)?;
        Ok(Self {
            url,
            address,
            known,
            _stop: stop.drop_guard(),
        })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// How long it took over each request by its own stopwatch.
    pub(super) fn handled(&self) -> Histogram {
        lock(&self.known).handled.clone()
    }

    /// When it really stood still.
    pub(super) fn freezes(&self) -> Vec<(Instant, Instant)> {
        lock(&self.known).freezes.clone()
    }

    /// The median of what a client sees that is nothing but a loop on a thread of its own: it spins until each start and
    /// blocks for the answer, from when it really sent. It is the floor that this machine and this server allow at this rate.
    pub(super) async fn asked_by_hand(&self, rate: u32, length: Duration) -> Result<Duration> {
        let address = self.address;
        let (answer, asked) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("selftest-by-hand".to_owned())
            .spawn(move || {
                let _ = answer.send(ask_by_hand(address, rate, length));
            })
            .map_err(|cause| could_not_run().with_source(cause))?;
        asked
            .await
            .map_err(|cause| could_not_run().with_source(cause))?
            .map_err(|cause| could_not_run().with_source(cause))
    }
}

fn ask_by_hand(address: SocketAddr, rate: u32, length: Duration) -> std::io::Result<Duration> {
    take_core(Core::OfTheGenerator);
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (mut seen, mut buffer) = (Histogram::new(Precision::Full), [0; 256]);
    let start = Instant::now();
    for number in 0.. {
        let intended = Duration::from_secs(number) / rate;
        if intended >= length {
            break;
        }
        while start.elapsed() < intended {
            std::hint::spin_loop();
        }
        let sent = start.elapsed();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: by-hand\r\n\r\n")?;
        // The answer is sent in one piece.
        if stream.read(&mut buffer)? < ANSWER.len() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        seen.record(start.elapsed() - sent);
    }
    Ok(seen.quantile(0.5))
}

/// Whose core a thread goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Core {
    OfTheGenerator,
    OfTheServer,
}

/// Keeps the present thread on its side's core, where there are two: the generator takes the first, the server the last.
/// On one core the answers to a whole freeze are written before the first of them is read, which is no fault of either.
fn take_core(core: Core) {
    let cores = cores::allowed().unwrap_or_default();
    if let [first, .., last] = cores.as_slice() {
        // Where it is refused, the scheduler decides as it would have without.
        let _ = cores::pin_this_thread(match core {
            Core::OfTheGenerator => *first,
            Core::OfTheServer => *last,
        });
    }
}

fn lock(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, behaviour: Behaviour, known: Arc<Mutex<Known>>) {
    if let Behaviour::Freezes(start) = behaviour {
        tokio::spawn(freeze(start, Arc::clone(&known)));
    }
    while let Ok((stream, _)) = listener.accept().await {
        let known = Arc::clone(&known);
        tokio::spawn(async move {
            // How a connection ends shows on the other side.
            let _ = answer(stream, behaviour, &known).await;
        });
    }
}

/// Makes the whole server stand still, as a stop signal or a long garbage collection does.
async fn freeze(start: Instant, known: Arc<Mutex<Known>>) {
    let Ok(mut pacer) = Pacer::precise(Duration::ZERO) else {
        return;
    };
    for second in 0.. {
        pacer
            .wait_until(start + FREEZE_PHASE + Duration::from_secs(second))
            .await;
        let begin = Instant::now();
        std::thread::sleep(FREEZE);
        lock(&known).freezes.push((begin, Instant::now()));
    }
}

async fn answer(mut stream: TcpStream, behaviour: Behaviour, known: &Mutex<Known>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut pacer = Pacer::precise(Duration::ZERO)?;
    let mut buffer = [0; 2048];
    loop {
        // The generator sends a request in one piece and waits for its answer.
        if stream.read(&mut buffer).await? == 0 {
            return Ok(());
        }
        if matches!(behaviour, Behaviour::SlowByItself) {
            let begin = Instant::now();
            let number = {
                let mut known = lock(known);
                known.count += 1;
                known.count
            };
            let delay = if number % SLOW_EVERY == 0 { SLOW } else { DELAY };
            pacer.wait_until(begin + delay).await;
            stream.write_all(ANSWER).await?;
            lock(known).handled.record(begin.elapsed());
        } else {
            stream.write_all(ANSWER).await?;
        }
    }
}
