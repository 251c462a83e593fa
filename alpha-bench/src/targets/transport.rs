//! How bytes travel: TCP, and TLS over it.

use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::failure::{Failure, FailureClass};
use crate::text;

/// Opens streams of bytes to one place.
pub trait Transport: Clone + Debug + Send + Sync + 'static {
    /// A stream of bytes.
    type Stream: AsyncRead + AsyncWrite + Debug + Unpin + Send + 'static;

    /// Opens a stream.
    fn connect(&self) -> impl Future<Output = Result<Self::Stream, Failure>> + Send;

    /// Whether nothing came and nobody closed since the last answer; must not cost a system call when all is well.
    fn is_quiet(stream: &Self::Stream) -> bool;
}

/// Plain TCP.
#[derive(Clone, Debug)]
pub struct Tcp {
    addresses: Arc<[SocketAddr]>,
}

impl Tcp {
    /// TCP to the host and port of `url`, whose name is resolved now, once: a resolver that is asked for every connection
    /// would be measured along.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) for a URL without a host, [`Unreachable`](ErrorKind::Unreachable) if
    /// the name cannot be resolved.
    pub async fn resolve(url: &Url) -> Result<Self> {
        let port = url.port_or_known_default();
        let (Some(host), Some(port)) = (url.host(), port) else {
            return Err(Error::invalid(text!(
                "the URL {url} names no host",
                url = url.to_string()
            )));
        };
        let unresolved = || {
            Error::new(
                ErrorKind::Unreachable,
                text!("could not resolve the host {host}", host = host.to_string()),
            )
        };
        let addresses: Arc<[SocketAddr]> = match &host {
            url::Host::Ipv4(address) => [SocketAddr::from((*address, port))].into(),
            url::Host::Ipv6(address) => [SocketAddr::from((*address, port))].into(),
            url::Host::Domain(name) => {
                let found = tokio::net::lookup_host((*name, port)).await;
                found.map_err(|cause| unresolved().with_source(cause))?.collect()
            }
        };
        if addresses.is_empty() {
            return Err(unresolved());
        }
        Ok(Self { addresses })
    }

    /// The addresses that the name stands for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Transport for Tcp {
    type Stream = TcpStream;

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let mut last = Failure::new(FailureClass::Dns, "");
        for address in self.addresses.iter() {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // A request is one write; waiting for more would only delay it.
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    fn is_quiet(stream: &TcpStream) -> bool {
        // Tokio answers this from the readiness it knows, without a system call, unless something did arrive.
        matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

#[cfg(feature = "tls")]
pub use tls::Tls;

#[cfg(feature = "tls")]
mod tls {
    use rustls::ClientConfig;
    use rustls::pki_types::ServerName;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::{
        Arc, Debug, Error, ErrorKind, Failure, FailureClass, Result, Tcp, TcpStream, Transport, Url, text,
    };

    /// TLS over TCP.
    #[derive(Clone)]
    pub struct Tls {
        tcp: Tcp,
        connector: TlsConnector,
        name: ServerName<'static>,
    }

    impl Tls {
        /// TLS to the host of `url`, offering `protocols` (ALPN) and trusting what this machine trusts, or only the
        /// authorities in `trusted`, in DER, if there are any.
        ///
        /// # Errors
        /// As [`Tcp::resolve`]; [`Io`](ErrorKind::Io) if no trusted authority is found,
        /// [`InvalidConfig`](ErrorKind::InvalidConfig) if one of `trusted` is none.
        pub async fn resolve(url: &Url, protocols: &[&str], trusted: &[Vec<u8>]) -> Result<Self> {
            let tcp = Tcp::resolve(url).await?;
            let host = url
                .host_str()
                .unwrap_or_default()
                .trim_matches(['[', ']'])
                .to_owned();
            let name = ServerName::try_from(host.clone()).map_err(|cause| {
                Error::invalid(text!("`{host}` cannot be the name of a certificate", host = host))
                    .with_source(cause)
            })?;
            let mut roots = rustls::RootCertStore::empty();
            for authority in trusted {
                roots.add(authority.clone().into()).map_err(|cause| {
                    Error::invalid(text!("a trusted certificate cannot be read")).with_source(cause)
                })?;
            }
            if trusted.is_empty() {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            if roots.is_empty() {
                return Err(Error::new(
                    ErrorKind::Io,
                    text!("this machine trusts no certificate authority"),
                ));
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|cause| {
                    Error::new(ErrorKind::Unsupported, text!("could not set up TLS")).with_source(cause)
                })?
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = protocols
                .iter()
                .map(|protocol| protocol.as_bytes().to_vec())
                .collect();
            Ok(Self {
                tcp,
                connector: TlsConnector::from(Arc::new(config)),
                name,
            })
        }
    }

    impl Debug for Tls {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter
                .debug_struct("Tls")
                .field("tcp", &self.tcp)
                .field("name", &self.name)
                .finish()
        }
    }

    impl Transport for Tls {
        type Stream = TlsStream<TcpStream>;

        async fn connect(&self) -> Result<Self::Stream, Failure> {
            let stream = self.tcp.connect().await?;
            self.connector
                .connect(self.name.clone(), stream)
                .await
                .map_err(|error| {
                    let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
                    let class = if is_tls {
                        FailureClass::Tls
                    } else {
                        FailureClass::of_io(&error)
                    };
                    Failure::new(class, error.to_string())
                })
        }

        fn is_quiet(_: &Self::Stream) -> bool {
            // Session tickets may wait unread, so that arrived bytes say nothing; a close shows at the next request.
            true
        }
    }
}
