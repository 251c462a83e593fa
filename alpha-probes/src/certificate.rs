//! What a server's certificates say, and everything that is wrong with them: each cause by itself, where a TLS library
//! stops at the first.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::extensions::GeneralName;

use crate::dial::{Phase, Progress, invalid};
use crate::error::{Error, ErrorKind, Result};
use crate::observation::Unit;
use crate::resources::Resources;
use crate::text;
use crate::text::Text;

/// How a server proves who it is: the authorities that are trusted, and a handshake that accepts any certificate so
/// that it can be looked at.
///
/// Whoever uses it must ask [`TlsClient::problems`] before saying anything on the connection.
#[derive(Clone, Debug)]
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
}

/// The authorities that this machine trusts, read once.
#[derive(Debug, Default)]
struct NativeRoots(OnceLock<Arc<RootCertStore>>);

impl TlsClient {
    /// A client that trusts the authorities in `ca_file`, or those of this machine where there is none.
    ///
    /// # Errors
    /// `InvalidConfig` where the file cannot be read or holds no certificate.
    pub(crate) fn new(resources: &Resources, ca_file: Option<&Path>, alpn: &[&[u8]]) -> Result<Self> {
        let roots = match ca_file {
            Some(path) => Arc::new(read_roots(path)?),
            None => Arc::clone(
                resources
                    .shared::<NativeRoots>()
                    .0
                    .get_or_init(|| Arc::new(native_roots())),
            ),
        };
        let versions: &[&'static SupportedProtocolVersion] =
            &[&rustls::version::TLS13, &rustls::version::TLS12];
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| invalid(text!("TLS cannot be used: {cause}", cause = error.to_string())))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny))
            .with_no_client_auth();
        // A resumed session shows no certificate, and a probe is there to see it.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self {
            config: Arc::new(config),
            roots,
        })
    }

    /// Shakes hands over `stream`.
    ///
    /// # Errors
    /// `Malformed` where the other side does not speak TLS or no common version, `Unreachable` where it hung up.
    pub(crate) async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        name: ServerName<'static>,
        stream: S,
        progress: &mut Progress,
    ) -> Result<TlsStream<S>> {
        progress.phase = Phase::Handshake;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await.map_err(|error| {
            let address = progress.address();
            let kind = match error.kind() {
                std::io::ErrorKind::InvalidData => ErrorKind::Malformed,
                _ => ErrorKind::Unreachable,
            };
            let cause = match error.kind() {
                std::io::ErrorKind::UnexpectedEof => "closed".to_owned(),
                _ => error.to_string(),
            };
            Error::new(
                kind,
                text!(
                    "the TLS handshake with {address} failed: {cause}",
                    address = address,
                    cause = cause
                ),
            )
        })
    }

    /// Everything that is wrong with the certificates that a server called `name` showed, worst first.
    pub(crate) fn problems(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: Timestamp,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        let Some((leaf, rest)) = chain.split_first() else {
            return vec![Problem::Unreadable("no certificate".to_owned())];
        };
        let seen = match Certificate::read(leaf) {
            Ok(seen) => seen,
            Err(cause) => return vec![Problem::Unreadable(cause)],
        };
        if now > seen.ends {
            problems.push(Problem::Expired(seen.ends));
        } else if now < seen.starts {
            problems.push(Problem::NotYetValid(seen.starts));
        }
        let parsed = match ParsedCertificate::try_from(leaf) {
            Ok(parsed) => parsed,
            Err(error) => {
                problems.push(Problem::Unreadable(error.to_string()));
                return problems;
            }
        };
        if verify_server_name(&parsed, name).is_err() {
            problems.push(Problem::WrongName(seen.names.clone()));
        }
        // Whether the authority is trusted is asked at an instant at which the certificate itself was valid, so that one
        // that expired is not called untrusted too.
        match self.trusts(&parsed, rest, seen.nearest(now)) {
            Ok(()) => {}
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => problems.push(Problem::ChainExpired),
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
                if self.roots.is_empty() =>
            {
                problems.push(Problem::NoAuthorities);
            }
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                let issuer = rest
                    .last()
                    .and_then(|last| Certificate::read(last).ok())
                    .map_or(seen.issuer, |last| last.issuer);
                problems.push(Problem::Untrusted(issuer));
            }
            Err(error) => problems.push(Problem::Unreadable(error.to_string())),
        }
        problems
    }

    /// The last instant at which the chain is still trusted, as far as it is decided by what the server sent.
    ///
    /// Servers send certificates that no path needs, such as an old cross-signature; so each end is tried, and the first
    /// after which the chain is not trusted counts.
    pub(crate) fn chain_ends(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Option<Timestamp> {
        let (leaf, rest) = chain.split_first()?;
        let parsed = ParsedCertificate::try_from(leaf).ok()?;
        let asked = Certificate::read(leaf).ok()?.nearest(now);
        let mut ends: Vec<_> = chain
            .iter()
            .filter_map(|der| Certificate::read(der).ok())
            .map(|certificate| certificate.ends)
            .collect();
        ends.sort_unstable();
        // What ended long ago is asked about at an instant at which the certificate itself was valid.
        let after = |end: Timestamp| asked.max(end + jiff::SignedDuration::from_secs(1));
        ends.into_iter()
            .find(|end| self.trusts(&parsed, rest, after(*end)).is_err())
    }

    fn trusts(
        &self,
        leaf: &ParsedCertificate<'_>,
        rest: &[CertificateDer<'_>],
        at: Timestamp,
    ) -> Result<(), rustls::Error> {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().max(0).unsigned_abs()));
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(leaf, &self.roots, rest, at, algorithms)
    }
}

/// One thing that is wrong with what a server showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It ended then.
    Expired(Timestamp),
    /// It begins then.
    NotYetValid(Timestamp),
    /// It is for these names only.
    WrongName(Vec<String>),
    /// An authority between it and the root has expired.
    ChainExpired,
    /// The chain ends at this authority, which is not trusted.
    Untrusted(String),
    /// Nobody is trusted on this machine.
    NoAuthorities,
    /// It breaks the rules for certificates.
    Unreadable(String),
}

impl Problem {
    /// The problem in a sentence.
    pub(crate) fn text(&self, host: &str, now: Timestamp) -> Text {
        let apart = |at: Timestamp| Unit::Seconds.format(now.duration_since(at).abs().as_secs_f64());
        match self {
            Self::Expired(at) => text!(
                "the certificate of {host} expired {age} ago",
                host = host,
                age = apart(*at)
            ),
            Self::NotYetValid(at) => text!(
                "the certificate of {host} becomes valid only in {age}",
                host = host,
                age = apart(*at)
            ),
            Self::WrongName(names) => text!(
                "the certificate is for {names}, not for {host}",
                names = names.join(", "),
                host = host
            ),
            Self::ChainExpired => text!("an intermediate certificate of {host} has expired", host = host),
            Self::Untrusted(issuer) => text!(
                "the certificate of {host} comes from {issuer}, which is not trusted",
                host = host,
                issuer = issuer
            ),
            Self::NoAuthorities => text!(
                "the certificate of {host} cannot be verified: this machine trusts no authority (package ca-certificates)",
                host = host
            ),
            Self::Unreadable(cause) => text!(
                "the certificate of {host} cannot be accepted: {cause}",
                host = host,
                cause = cause
            ),
        }
    }
}

/// What one certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// DNS names and addresses that it is for.
    pub(crate) names: Vec<String>,
    /// Hexadecimal, as in `0a:1b`.
    pub(crate) serial: String,
    pub(crate) starts: Timestamp,
    pub(crate) ends: Timestamp,
}

/// How many names of a certificate are kept; some have thousands.
const MAX_NAMES: usize = 100;

impl Certificate {
    /// The instant nearest to `now` at which it is valid.
    fn nearest(&self, now: Timestamp) -> Timestamp {
        now.clamp(self.starts, self.ends.max(self.starts))
    }

    /// Reads one.
    ///
    /// # Errors
    /// What kept it from being read.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|error| error.to_string())?;
        let at = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|error| error.to_string())
        };
        let validity = certificate.validity();
        let names = certificate
            .subject_alternative_name()
            .ok()
            .flatten()
            .map(|extension| &extension.value.general_names);
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names
                .into_iter()
                .flatten()
                .filter_map(alternative_name)
                .take(MAX_NAMES)
                .collect(),
            serial: certificate.raw_serial_as_string(),
            starts: at(validity.not_before)?,
            ends: at(validity.not_after)?,
        })
    }
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(|octets| Ipv4Addr::from(octets).to_string())
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(|octets| Ipv6Addr::from(octets).to_string()))
            .ok(),
        _ => None,
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore> {
    let refused = |cause: String| {
        invalid(text!(
            "ca_file: expected a file of PEM certificates, {path} is none: {cause}",
            path = path.display().to_string(),
            cause = cause
        ))
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("no certificate in it".to_owned()));
    }
    Ok(roots)
}

fn native_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "could not read a certificate authority of this machine");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// Verifies that the server holds the key of the certificate it shows, and leaves the certificate to be judged later.
#[derive(Debug)]
struct AcceptAny;

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use testbed::{Authority, CertificateState};

    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    const DAY: i64 = 86_400;

    fn client(authority: &Authority) -> TlsClient {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.root_pem()).unwrap();
        TlsClient::new(&Resources::default(), Some(file.path()), &[]).unwrap()
    }

    fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
        certificates.collect::<Result<_, _>>().unwrap()
    }

    fn localhost() -> ServerName<'static> {
        ServerName::try_from("localhost").unwrap()
    }

    #[test]
    fn several_causes_are_told_together() {
        let (known, stranger) = (Authority::new("known"), Authority::new("stranger"));
        let certificate = stranger.issue_for(&["elsewhere.example"], -10 * DAY, -DAY);
        let now = SystemClock.now();
        let problems = client(&known).problems(&chain(&certificate.chain_pem), &localhost(), now);
        let texts = problems.iter().map(|problem| problem.text("localhost", now));
        insta::assert_snapshot!(Text::list(texts.collect()), @"the certificate of localhost expired 1 d ago; the certificate is for elsewhere.example, not for localhost; the certificate of localhost comes from CN=stranger root, which is not trusted");
    }

    #[test]
    fn a_certificate_that_no_path_needs_does_not_matter() {
        let (known, other) = (Authority::new("known"), Authority::new("other"));
        let needed = known.issue_for(&["localhost"], -DAY, 30 * DAY).chain_pem;
        let superfluous = other.issue(CertificateState::ExpiredIntermediate).chain_pem;
        let chain = chain(&(needed + &superfluous));
        let (client, now) = (client(&known), SystemClock.now());
        assert_eq!(client.problems(&chain, &localhost(), now), []);
        let left = client
            .chain_ends(&chain, now)
            .unwrap()
            .duration_since(now)
            .as_secs();
        assert!((29 * DAY..=30 * DAY).contains(&left), "{left}");
    }

    #[test]
    fn rubbish_is_a_problem_and_no_panic() {
        let client = client(&Authority::new("known"));
        let now = SystemClock.now();
        for chain in [vec![], vec![CertificateDer::from(vec![0x30, 0x82, 0xff])]] {
            let problems = client.problems(&chain, &localhost(), now);
            assert!(
                matches!(problems.as_slice(), [Problem::Unreadable(_)]),
                "{problems:?}"
            );
            assert_eq!(client.chain_ends(&chain, now), None);
        }
    }
}
