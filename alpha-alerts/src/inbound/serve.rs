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
