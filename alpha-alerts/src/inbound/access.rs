//! Who may ask: bearer tokens and passwords, compared in constant time.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use super::config::{InletConfig, InletKind};
use super::refusal::Refusal;
use crate::error::Result;
use crate::label::Labels;
use crate::secret::Secrets;

/// A secret that is only ever compared: its digest, so that neither length nor content shows in the time it takes.
#[derive(Clone)]
pub(super) struct Fingerprinted([u8; 32]);

impl Fingerprinted {
    pub(super) fn new(secret: &SecretString) -> Self {
        Self(sha256(secret.expose_secret().as_bytes()))
    }

    pub(super) fn matches(&self, presented: &[u8]) -> Choice {
        self.0.ct_eq(&sha256(presented))
    }
}

impl std::fmt::Debug for Fingerprinted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Fingerprinted")
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Who may use the API.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    tokens: Vec<(String, Fingerprinted)>,
    users: Vec<(String, Fingerprinted)>,
}

/// Who asked, as a request carries it once access was granted.
#[derive(Clone, Debug)]
struct Caller(Arc<str>);

/// Who asked: the name of the token or the user, or `api` where everybody may ask.
pub(super) fn caller(request: &Request) -> String {
    match request.extensions().get::<Caller>() {
        Some(Caller(name)) => name.to_string(),
        None => "api".to_owned(),
    }
}

impl Access {
    pub(super) fn new(config: &super::config::AccessConfig, secrets: &dyn Secrets) -> Result<Self> {
        let mut access = Self::default();
        for token in &config.tokens {
            let secret = Fingerprinted::new(&secrets.resolve(&token.token)?);
            access.tokens.push((token.name.clone(), secret));
        }
        for user in &config.users {
            let secret = Fingerprinted::new(&secrets.resolve(&user.password)?);
            access.users.push((user.name.clone(), secret));
        }
        Ok(access)
    }

    /// Whether everybody may ask.
    pub(super) fn is_open(&self) -> bool {
        self.tokens.is_empty() && self.users.is_empty()
    }

    /// Who presents these headers; nobody where they are wrong.
    fn identify(&self, headers: &HeaderMap) -> Option<&str> {
        match Presented::of(headers)? {
            Presented::Token(token) => matching(&self.tokens, |_| true, token.as_bytes()),
            Presented::Password { user, password } => {
                matching(&self.users, |name| name == user, password.as_bytes())
            }
        }
    }
}

/// The name of the secret that was presented. All are compared, so that the time does not tell which came close.
fn matching<'a>(
    known: &'a [(String, Fingerprinted)],
    is_eligible: impl Fn(&str) -> bool,
    presented: &[u8],
) -> Option<&'a str> {
    let mut found = None;
    for (name, secret) in known {
        let is_match = secret.matches(presented) & Choice::from(u8::from(is_eligible(name)));
        if bool::from(is_match) {
            found = Some(name.as_str());
        }
    }
    found
}

/// What an `Authorization` header presents.
enum Presented {
    Token(String),
    Password { user: String, password: String },
}

impl Presented {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, credentials) = value.split_once(' ')?;
        let credentials = credentials.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Token(credentials.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        Some(Self::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// Lets only those pass who may ask.
pub(super) async fn guard(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let Some(name) = access.identify(request.headers()) else {
        return Refusal::coded(
            401,
            "a bearer token or a user with a password is needed".to_owned(),
        )
        .into_response();
    };
    let caller = Caller(name.into());
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// An inlet with its own token.
#[derive(Clone, Debug)]
pub(super) struct Inlet {
    pub(super) name: String,
    kind: InletKind,
    token: Fingerprinted,
    /// Put onto every alert that comes in here.
    pub(super) labels: BTreeMap<String, String>,
}

impl Inlet {
    pub(super) fn new(config: &InletConfig, secrets: &dyn Secrets) -> Result<Self> {
        Ok(Self {
            name: config.name.clone(),
            kind: config.kind,
            token: Fingerprinted::new(&secrets.resolve(&config.token)?),
            labels: config.labels.clone(),
        })
    }

    /// The inlet that this token opens.
    pub(super) fn opened_by<'a>(inlets: &'a [Self], kind: InletKind, token: &[u8]) -> Option<&'a Self> {
        let mut found = None;
        for inlet in inlets {
            let is_match = inlet.token.matches(token) & Choice::from(u8::from(inlet.kind == kind));
            if bool::from(is_match) {
                found = Some(inlet);
            }
        }
        found
    }

    /// The inlet that a request's `Authorization` opens: a bearer token, or a password of any user.
    pub(super) fn of_request<'a>(
        inlets: &'a [Self],
        kind: InletKind,
        headers: &HeaderMap,
    ) -> Option<&'a Self> {
        let token = match Presented::of(headers)? {
            Presented::Token(token) => token,
            Presented::Password { password, .. } => password,
        };
        Self::opened_by(inlets, kind, token.as_bytes())
    }

    /// `labels` with those of the inlet; what the sender says itself counts.
    pub(super) fn labelled(&self, labels: &Labels) -> Labels {
        let own = self
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        Labels::new(own.chain(labels.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn access() -> Access {
        let secret = |text: &str| Fingerprinted::new(&SecretString::from(text));
        Access {
            tokens: vec![("ci".to_owned(), secret("t1")), ("cli".to_owned(), secret("t2"))],
            users: vec![("mei".to_owned(), secret("p1")), ("jo".to_owned(), secret("p1"))],
        }
    }

    fn identify(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        access().identify(&headers).map(str::to_owned)
    }

    #[test]
    fn tokens_and_passwords_name_their_owner() {
        assert_eq!(identify("Bearer t2").as_deref(), Some("cli"));
        assert_eq!(identify("bearer t1").as_deref(), Some("ci"));
        assert_eq!(
            identify(&format!("Basic {}", STANDARD.encode("jo:p1"))).as_deref(),
            Some("jo")
        );
        for wrong in [
            "Bearer t3",
            "Bearer",
            "Bearer p1",
            "Digest t1",
            "t1",
            &format!("Basic {}", STANDARD.encode("mei:t1")),
            &format!("Basic {}", STANDARD.encode("nobody:p1")),
            "Basic ***",
        ] {
            assert_eq!(identify(wrong), None, "{wrong}");
        }
        assert_eq!(access().identify(&HeaderMap::new()), None);
    }

    #[test]
    fn no_secret_shows() {
        assert!(!format!("{:?}", access()).contains("t1"));
    }
}
