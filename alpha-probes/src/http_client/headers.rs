//! The headers of a request, and who may see which.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::dial::invalid;
use crate::error::Result;
use crate::secret::{SecretRef, Secrets};
use crate::text;

const USER_AGENT: &str = concat!("alpha-probes/", env!("CARGO_PKG_VERSION"));

/// An account with its password, sent as HTTP basic authentication.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The account.
    pub username: String,
    /// Its password.
    pub password: SecretRef,
}

/// What a request says to be let in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Credentials<'a> {
    /// An account with its password.
    pub(crate) basic: Option<&'a BasicAuth>,
    /// A token.
    pub(crate) bearer: Option<&'a SecretRef>,
    /// Headers whose values are secret.
    pub(crate) headers: Option<&'a BTreeMap<String, SecretRef>>,
}

/// The headers of a request; the secret ones are marked, so that neither `Debug` nor a redirect gives them away.
///
/// # Errors
/// `InvalidConfig` naming the key and the header, never its value.
pub(crate) fn request_headers(
    plain: &BTreeMap<String, String>,
    credentials: Credentials<'_>,
    secrets: &dyn Secrets,
) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in plain {
        headers.insert(header_name(name)?, header_value(name, value, false)?);
    }
    for (name, reference) in credentials.headers.into_iter().flatten() {
        let secret = secrets.resolve(reference)?;
        headers.insert(
            header_name(name)?,
            header_value(name, secret.expose_secret(), true)?,
        );
    }
    if credentials.basic.is_some() && credentials.bearer.is_some() {
        return Err(invalid(text!(
            "basic_auth and bearer_token exclude each other: keep one"
        )));
    }
    if let Some(basic) = credentials.basic {
        let password = secrets.resolve(&basic.password)?;
        headers.insert(
            header::AUTHORIZATION,
            basic_value(&basic.username, password.expose_secret())?,
        );
    }
    if let Some(reference) = credentials.bearer {
        let token = secrets.resolve(reference)?;
        let value = format!("Bearer {}", token.expose_secret());
        headers.insert(
            header::AUTHORIZATION,
            header_value("Authorization", &value, true)?,
        );
    }
    Ok(headers)
}

/// Takes the account and the password out of `url` and sends them as basic authentication.
pub(super) fn move_userinfo(url: &mut Url, headers: &mut HeaderMap) -> Result<()> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let value = basic_value(
        &decode(url.username()),
        &decode(url.password().unwrap_or_default()),
    )?;
    headers.entry(header::AUTHORIZATION).or_insert(value);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(())
}

/// Adds what every request has.
pub(super) fn complete(mut headers: HeaderMap, url: &Url) -> Result<HeaderMap> {
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    headers
        .entry(header::HOST)
        .or_insert(header_value("Host", authority, false)?);
    headers
        .entry(header::USER_AGENT)
        .or_insert(HeaderValue::from_static(USER_AGENT));
    headers
        .entry(header::ACCEPT)
        .or_insert(HeaderValue::from_static("*/*"));
    Ok(headers)
}

/// The headers that another host than the configured one may see.
pub(super) fn for_strangers(headers: &HeaderMap) -> HeaderMap {
    let is_private = |name: &HeaderName, value: &HeaderValue| {
        value.is_sensitive()
            || matches!(
                *name,
                header::AUTHORIZATION | header::COOKIE | header::PROXY_AUTHORIZATION
            )
    };
    headers
        .iter()
        .filter(|(name, value)| !is_private(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn basic_value(username: &str, password: &str) -> Result<HeaderValue> {
    let value = format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{username}:{password}"))
    );
    header_value("Authorization", &value, true)
}

fn header_name(name: &str) -> Result<HeaderName> {
    name.parse()
        .map_err(|_| invalid(text!("\"{name}\" is no name for a header", name = name)))
}

fn header_value(name: &str, value: &str, is_secret: bool) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        invalid(text!(
            "the value of the header {name} has characters that no header may have",
            name = name
        ))
    })?;
    value.set_sensitive(is_secret);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Vault;

    impl Secrets for Vault {
        fn resolve(&self, _: &SecretRef) -> Result<secrecy::SecretString> {
            Ok("s3cret".into())
        }
    }

    fn place() -> SecretRef {
        SecretRef::Env("TOKEN".to_owned())
    }

    #[test]
    fn secrets_are_sent_and_not_shown() {
        let secret = BTreeMap::from([("X-Key".to_owned(), place())]);
        let bearer = place();
        let credentials = Credentials {
            bearer: Some(&bearer),
            headers: Some(&secret),
            ..Credentials::default()
        };
        let plain = BTreeMap::from([("X-Plain".to_owned(), "seen".to_owned())]);
        let headers = request_headers(&plain, credentials, &Vault).unwrap();
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-key"], "s3cret");
        assert!(!format!("{headers:?}").contains("s3cret"));
        let seen = for_strangers(&headers);
        assert_eq!(
            seen.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["x-plain"]
        );
    }

    #[test]
    fn an_account_in_the_address_becomes_a_header() {
        let mut url = Url::parse("http://us%40er:pass%3Aword@host/path").unwrap();
        let mut headers = HeaderMap::new();
        move_userinfo(&mut url, &mut headers).unwrap();
        assert_eq!(url.as_str(), "http://host/path");
        let expected = format!("Basic {}", BASE64_STANDARD.encode("us@er:pass:word"));
        assert_eq!(headers["authorization"], expected.as_str());
        assert!(headers["authorization"].is_sensitive());
    }

    #[test]
    fn the_host_header_is_as_in_the_address() {
        for (url, host) in [
            ("http://example.org/", "example.org"),
            ("http://example.org:8080/", "example.org:8080"),
            ("https://example.org:443/", "example.org"),
            ("http://[::1]:80/", "[::1]"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(complete(HeaderMap::new(), &url).unwrap()["host"], host);
        }
    }

    #[test]
    fn a_wrong_header_is_named_without_its_value() {
        let plain = BTreeMap::from([("X-Key".to_owned(), "s3cret\nX: y".to_owned())]);
        let error = request_headers(&plain, Credentials::default(), &Vault).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the value of the header X-Key has characters that no header may have"
        );
    }
}
