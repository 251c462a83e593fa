//! The HTTP server: bounded in connections and time, with TLS where there is a certificate, and a graceful stop.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::{InboundConfig, TlsConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::text;

/// How connections are served.
#[derive(Clone)]
pub struct Serving {
    max_connections: usize,
    idle_timeout: Duration,
    tls: Option<TlsAcceptor>,
}

impl Serving {
    /// What `config` says about connections. Reads the certificate.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] where the certificate or its key cannot be read or do not belong together.
    pub fn new(config: &InboundConfig) -> Result<Self> {
        Ok(Self {
            max_connections: config.max_connections,
            idle_timeout: config.idle_timeout.0,
            tls: config.tls.as_ref().map(acceptor).transpose()?,
        })
    }
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Serving")
            .field("max_connections", &self.max_connections)
            .field("idle_timeout", &self.idle_timeout)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor> {
    let refused = |path: &std::path::Path| {
        let path = path.display().to_string();
        move |error: rustls_pki_types::pem::Error| {
            let message = text!(
                "could not read the certificate or key {path}",
                path = path.as_str()
            );
            Error::new(ErrorKind::InvalidConfig, message).with_source(error)
        }
    };
    let chain = CertificateDer::pem_file_iter(&config.certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(refused(&config.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(refused(&config.key))?;
    let unusable = |error: rustls::Error| {
        let message = text!(
            "the certificate {path} cannot be used",
            path = config.certificate.display().to_string()
        );
        Error::new(ErrorKind::InvalidConfig, message).with_source(error)
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

/// Serves `router` on `listener` until `shutdown` is ready, then takes no further request and returns once everything
/// that is under way is answered. Whoever cannot wait for that drops the future, which closes what is still open.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    serving: Serving,
    shutdown: impl Future<Output = ()> + Send,
) {
    let stop = CancellationToken::new();
    // Dropping this future ends the connections too.
    let abort = CancellationToken::new();
    let _abort_on_drop = abort.clone().drop_guard();
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(serving.max_connections));
    let mut shutdown = pin!(shutdown);
    loop {
        let accepting = async {
            // Holding a place before accepting leaves what is too much in the queue of the kernel.
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accepting => accepted,
        };
        let Some((place, accepted)) = accepted else { break };
        match accepted {
            Ok((stream, _)) => {
                // Answers are small and awaited; holding them back to fill a packet only delays them.
                let _ = stream.set_nodelay(true);
                let (router, serving) = (router.clone(), serving.clone());
                let (stop, abort) = (stop.clone(), abort.clone());
                connections.spawn(async move {
                    let connection = connection(stream, router, serving, stop);
                    _ = abort.run_until_cancelled(connection).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely; spinning would not free any.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    stop.cancel();
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: tokio::net::TcpStream,
    router: Router,
    serving: Serving,
    stop: CancellationToken,
) {
    let Some(tls) = &serving.tls else {
        return requests(stream, router, serving.idle_timeout, stop).await;
    };
    match tokio::time::timeout(serving.idle_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, router, serving.idle_timeout, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS connection came about"),
        Err(_) => tracing::debug!("no TLS connection came about in time"),
    }
}

async fn requests<S>(stream: S, router: Router, idle_timeout: Duration, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::{Notify, mpsc};
    use tokio::task::JoinHandle;
    use tokio_rustls::TlsConnector;

    use super::*;

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        running: JoinHandle<()>,
        /// Says that a request for `/slow` has come.
        begun: mpsc::UnboundedReceiver<()>,
        /// Lets one request for `/slow` be answered.
        answer: Arc<Notify>,
    }

    async fn server(config: &InboundConfig) -> Server {
        let (send, begun) = mpsc::unbounded_channel();
        let answer = Arc::new(Notify::new());
        let waiting = Arc::clone(&answer);
        let slow = move || {
            let (send, waiting) = (send.clone(), Arc::clone(&waiting));
            async move {
                send.send(()).unwrap();
                waiting.notified().await;
                "late"
            }
        };
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/slow", get(slow));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = Serving::new(config).unwrap();
        let running = tokio::spawn(serve(listener, router, serving, stop.clone().cancelled_owned()));
        Server {
            address,
            stop,
            running,
            begun,
            answer,
        }
    }

    const CLOSE: &str = "Connection: close\r\n";

    async fn send(stream: &mut (impl AsyncWrite + Unpin), path: &str, headers: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }

    async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn what_is_under_way_is_answered_before_it_stops() {
        let mut server = server(&InboundConfig::default()).await;
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        let mut busy = TcpStream::connect(server.address).await.unwrap();
        send(&mut busy, "/slow", "").await;
        server.begun.recv().await.unwrap();
        server.stop.cancel();
        assert_eq!(rest(&mut idle).await, "");
        assert!(!server.running.is_finished());
        server.answer.notify_one();
        let answer = rest(&mut busy).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("late"),
            "{answer}"
        );
        server.running.await.unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
    }

    #[tokio::test]
    async fn more_connections_than_allowed_wait_for_their_turn() {
        let config = InboundConfig {
            max_connections: 1,
            ..InboundConfig::default()
        };
        let mut server = server(&config).await;
        let mut first = TcpStream::connect(server.address).await.unwrap();
        send(&mut first, "/slow", CLOSE).await;
        server.begun.recv().await.unwrap();
        let mut second = TcpStream::connect(server.address).await.unwrap();
        send(&mut second, "/slow", CLOSE).await;
        server.answer.notify_one();
        assert!(rest(&mut first).await.ends_with("late"));
        // Only now that the first is gone the second one's request comes.
        server.begun.recv().await.unwrap();
        assert!(server.begun.try_recv().is_err());
        server.answer.notify_one();
        assert!(rest(&mut second).await.ends_with("late"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_closed() {
        let server = server(&InboundConfig::default()).await;
        let mut silent = TcpStream::connect(server.address).await.unwrap();
        silent.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        let begun = tokio::time::Instant::now();
        let answer = rest(&mut silent).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
        assert!(begun.elapsed() >= Duration::from_secs(120));
    }

    #[tokio::test]
    async fn with_a_certificate_it_speaks_https() {
        let authority = testbed::Authority::new("test");
        let certificate = authority.issue(testbed::CertificateState::Valid);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, pem: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        let tls = |certificate, key| InboundConfig {
            tls: Some(TlsConfig { certificate, key }),
            ..InboundConfig::default()
        };
        let config = tls(
            path("certificate.pem", &certificate.chain_pem),
            path("key.pem", &certificate.key_pem),
        );
        let server = server(&config).await;

        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(client))
            .connect(name, stream)
            .await
            .unwrap();
        send(&mut stream, "/", CLOSE).await;
        let answer = rest(&mut stream).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"),
            "{answer}"
        );

        let wrong = tls(
            folder.path().join("certificate.pem"),
            folder.path().join("nothing.pem"),
        );
        let error = Serving::new(&wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("nothing.pem"), "{error}");
    }
}
