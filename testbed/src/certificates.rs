//! Certificates as servers really show them: good ones and each way to be bad.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

const DAY: i64 = 86_400;

/// The names a good certificate of loopback has.
pub const LOOPBACK_NAMES: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// What is right or wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateState {
    /// For loopback, from a known authority, good for 90 days.
    Valid,
    /// Ended three days ago.
    Expired,
    /// Begins in three days.
    NotYetValid,
    /// For `elsewhere.example` only.
    WrongName,
    /// Ends in two and a half days.
    ExpiringSoon,
    /// From an authority that nobody knows.
    Untrusted,
    /// Good itself, but its intermediate authority ends in two and a half days.
    ExpiringIntermediate,
    /// Good itself, but its intermediate authority ended three days ago.
    ExpiredIntermediate,
}

impl CertificateState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Valid,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongName,
        Self::ExpiringSoon,
        Self::Untrusted,
        Self::ExpiringIntermediate,
        Self::ExpiredIntermediate,
    ];

    /// A word for file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongName => "wrong_name",
            Self::ExpiringSoon => "expiring_soon",
            Self::Untrusted => "untrusted",
            Self::ExpiringIntermediate => "expiring_intermediate",
            Self::ExpiredIntermediate => "expired_intermediate",
        }
    }
}

/// A certificate with everything a server needs to show it.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    /// The certificate followed by its intermediate authority, PEM.
    pub chain_pem: String,
    /// The private key, PEM.
    pub key_pem: String,
}

/// A root authority and an intermediate one below it, both made anew.
#[derive(Debug)]
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
    ending: CertifiedIssuer<'static, KeyPair>,
    ended: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority called `name`.
    ///
    /// # Panics
    /// Where no key can be generated.
    pub fn new(name: &str) -> Self {
        let root = CertifiedIssuer::self_signed(authority(&format!("{name} root"), 3650 * DAY), key())
            .expect("a root signs itself");
        let below = |name: &str, lasts| {
            CertifiedIssuer::signed_by(authority(name, lasts), key(), &root)
                .expect("a root signs an intermediate")
        };
        let intermediate = below(&format!("{name} intermediate"), 365 * DAY);
        let ending = below(&format!("{name} ending intermediate"), 5 * DAY / 2);
        let ended = below(&format!("{name} ended intermediate"), -3 * DAY);
        Self {
            root,
            intermediate,
            ending,
            ended,
        }
    }

    /// The root certificate, PEM: what a client has to trust.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// A certificate for loopback in this state. [`CertificateState::Untrusted`] comes from another authority.
    pub fn issue(&self, state: CertificateState) -> ServerCertificate {
        let (starts, ends) = (-DAY, 90 * DAY);
        match state {
            CertificateState::Valid => self.issue_for(LOOPBACK_NAMES, starts, ends),
            CertificateState::Expired => self.issue_for(LOOPBACK_NAMES, -90 * DAY, -3 * DAY),
            CertificateState::NotYetValid => self.issue_for(LOOPBACK_NAMES, 3 * DAY, ends),
            CertificateState::WrongName => self.issue_for(&["elsewhere.example"], starts, ends),
            CertificateState::ExpiringSoon => self.issue_for(LOOPBACK_NAMES, starts, 5 * DAY / 2),
            CertificateState::Untrusted => Self::new("stranger").issue(CertificateState::Valid),
            CertificateState::ExpiringIntermediate => issue(&self.ending, LOOPBACK_NAMES, starts, ends),
            CertificateState::ExpiredIntermediate => issue(&self.ended, LOOPBACK_NAMES, starts, ends),
        }
    }

    /// A certificate for `names`, valid between two offsets from now in seconds.
    ///
    /// # Panics
    /// Where a name is none.
    pub fn issue_for(&self, names: &[&str], starts: i64, ends: i64) -> ServerCertificate {
        issue(&self.intermediate, names, starts, ends)
    }
}

fn issue(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    names: &[&str],
    starts: i64,
    ends: i64,
) -> ServerCertificate {
    let names = names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut params = CertificateParams::new(names.clone()).expect("the names are names");
    params
        .distinguished_name
        .push(DnType::CommonName, names[0].clone());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, starts, ends);
    let key = key();
    let certificate = params.signed_by(&key, issuer).expect("an authority signs");
    ServerCertificate {
        chain_pem: certificate.pem() + &issuer.pem(),
        key_pem: key.serialize_pem(),
    }
}

fn authority(name: &str, lasts: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, -100 * DAY, lasts);
    params
}

#[expect(
    clippy::disallowed_methods,
    reason = "a certificate is valid or not beside the real time"
)]
fn set_validity(params: &mut CertificateParams, starts: i64, ends: i64) {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970");
    let at = |offset: i64| {
        let seconds = now.as_secs().saturating_add_signed(offset);
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = at(starts);
    params.not_after = at(ends);
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key can be generated")
}
