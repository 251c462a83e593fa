//! Speaks to a running `alpha serve`.

use std::path::Path;
use std::time::Duration;

use alpha_alerts::Secrets as _;
use alpha_probes::{Text, text};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use crate::args::ServerArgs;
use crate::config::Config;
use crate::secrets::LocalSecrets;

/// How long an answer may take. A server that is busy with a disk that hangs is not waited for longer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// An answer larger than this is refused: 64 MiB are about a hundred thousand alerts.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// The environment variable that holds a token.
const TOKEN: &str = "ALPHA_TOKEN";

/// A server, and what proves that it may be asked.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
}

/// Why a server did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Nobody answers there.
    Absent(Text),
    /// It is not there, as the server says.
    NotFound(Text),
    /// Anything else.
    Other(Text),
}

impl Refusal {
    /// What to tell the user.
    pub(crate) fn into_text(self) -> Text {
        match self {
            Self::Absent(text) | Self::NotFound(text) | Self::Other(text) => text,
        }
    }
}

impl Client {
    /// The server that the arguments name, else the one that `config` describes.
    ///
    /// # Errors
    /// What is wrong with either, as text.
    pub(crate) fn new(args: &ServerArgs, config: Option<&Config>) -> Result<Self, Text> {
        let base = match (&args.server, config) {
            (Some(url), _) => url.clone(),
            (None, Some(config)) => address_of(config)?,
            (None, None) => {
                return Err(text!(
                    "no server is known: name one with --server, or a configuration with --config"
                ));
            }
        };
        let http = reqwest::Client::builder()
            .user_agent(concat!("alpha/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| text!("could not start: {cause}", cause = error.to_string()))?;
        Ok(Self {
            http,
            base,
            token: token(args.token_file.as_deref(), config)?,
        })
    }

    /// Asks for `path`, whose segments are escaped here.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, Refusal> {
        let request = self.request(Method::GET, path, query)?;
        self.answer(request).await
    }

    /// Sends `body` to `path`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &(impl Serialize + Sync),
    ) -> Result<T, Refusal> {
        let request = self.request(Method::POST, path, &[])?.json(body);
        self.answer(request).await
    }

    /// Removes what is at `path`.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Refusal> {
        let request = self.request(Method::DELETE, path, &[])?;
        self.answer(request).await
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, Refusal> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => _ = segments.pop_if_empty().extend(path),
            Err(()) => {
                return Err(Refusal::Other(text!(
                    "{url} is no address of a server: expected one such as http://127.0.0.1:9093",
                    url = self.base.as_str()
                )));
            }
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        })
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Refusal> {
        let mut response = request.send().await.map_err(|error| self.unanswered(&error))?;
        let status = response.status();
        let mut body: Vec<u8> = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.unanswered(&error))? {
            if body.len() + part.len() > MAX_ANSWER_BYTES {
                return Err(Refusal::Other(text!(
                    "the answer of the server is larger than 64 MiB"
                )));
            }
            body.extend_from_slice(&part);
        }
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(body).map_err(|error| {
            Refusal::Other(text!(
                "{url} does not answer as alpha serve does: {cause}",
                url = self.base.as_str(),
                cause = error.to_string()
            ))
        })
    }

    fn unanswered(&self, error: &reqwest::Error) -> Refusal {
        let url = self.base.as_str();
        if error.is_connect() {
            return Refusal::Absent(text!(
                "no server answers at {url}: start it with alpha serve --config FILE, or name another with --server",
                url = url
            ));
        }
        if error.is_timeout() {
            return Refusal::Absent(text!(
                "the server at {url} did not answer within {seconds} s",
                url = url,
                seconds = TIMEOUT.as_secs()
            ));
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Refusal::Other(text!(
            "the server at {url} could not be asked: {cause}",
            url = url,
            cause = cause.to_string()
        ))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Refusal {
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            return Refusal::Other(text!(
                "the server at {url} wants another token: put it into {variable}, or into a file for --token-file",
                url = self.base.as_str(),
                variable = TOKEN
            ));
        }
        let said = match serde_json::from_slice(body) {
            Ok(Value::String(sentence)) => sentence,
            Ok(Value::Object(mut object)) => match object.remove("message") {
                Some(Value::String(message)) => message,
                _ => status.to_string(),
            },
            _ => status.to_string(),
        };
        let text = text!("the server says: {reason}", reason = said.trim());
        if status == StatusCode::NOT_FOUND {
            Refusal::NotFound(text)
        } else {
            Refusal::Other(text)
        }
    }
}

/// Where a server with this configuration is reached from this machine.
fn address_of(config: &Config) -> Result<Url, Text> {
    let scheme = if config.serve.inbound.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let unusable = || {
        text!(
            "the address {listen} of the configuration does not tell where the server is: name it with --server",
            listen = config.serve.listen.as_str()
        )
    };
    let url = format!(
        "{scheme}://{}{}",
        config.serve.listen, config.serve.inbound.path_prefix
    );
    let mut url: Url = url.parse().map_err(|_| unusable())?;
    if url.port_or_known_default() == Some(0) {
        return Err(unusable());
    }
    let is_anywhere = match url.host() {
        Some(Host::Ipv4(address)) => address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_unspecified(),
        _ => false,
    };
    if is_anywhere {
        url.set_host(Some("localhost")).map_err(|_| unusable())?;
    }
    Ok(url)
}

/// The token: from the environment, from a file, else the first one that the configuration names.
fn token(file: Option<&Path>, config: Option<&Config>) -> Result<Option<SecretString>, Text> {
    use alpha_alerts::SecretRef;
    let reference = if std::env::var_os(TOKEN).is_some_and(|token| !token.is_empty()) {
        SecretRef::Env(TOKEN.to_owned())
    } else if let Some(file) = file {
        SecretRef::File(file.to_owned())
    } else {
        let configured = config.and_then(|config| config.serve.inbound.access.tokens.first());
        let Some(configured) = configured else {
            return Ok(None);
        };
        // Whoever may ask without the token, or is told that one is needed, need not be able to read it.
        return Ok(LocalSecrets.resolve(&configured.token).ok());
    };
    LocalSecrets
        .resolve(&reference)
        .map(Some)
        .map_err(|error| crate::adapt::alerts_error(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_configuration_is_one_to_connect_to() {
        let mut config = Config::default();
        for (listen, expected) in [
            ("127.0.0.1:9093", Some("http://127.0.0.1:9093/")),
            ("0.0.0.0:9093", Some("http://localhost:9093/")),
            ("[::]:9093", Some("http://localhost:9093/")),
            ("127.0.0.1:0", None),
            ("", None),
        ] {
            config.serve.listen = listen.to_owned();
            let address = address_of(&config).ok();
            assert_eq!(address.as_ref().map(Url::as_str), expected, "{listen}");
        }
    }
}
