//! Secrets are named in a configuration, never written into it.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::text;

/// Where a secret is kept: `{ env = "SLACK_URL" }` or `{ file = "/run/secrets/slack" }`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// The name of an environment variable.
    Env(String),
    /// A file that holds the secret and nothing else; the final line break is not part of it.
    File(PathBuf),
    /// The secret itself, as Alertmanager's own configuration files hold them. Cannot be written in Alpha's.
    #[serde(skip)]
    Given(SecretString),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(formatter, "environment variable {name}"),
            Self::File(path) => write!(formatter, "file {}", path.display()),
            Self::Given(_) => formatter.write_str("configuration"),
        }
    }
}

/// Fetches secrets. The library reads neither the environment nor files of its own accord.
pub trait Secrets: fmt::Debug + Send + Sync {
    /// The secret itself; a [`SecretRef::Given`] is its own answer.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] where it is not there, with the name of the place, never its content.
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString>;
}

/// Knows only the secrets that are given in place.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString> {
        match reference {
            SecretRef::Given(secret) => Ok(secret.clone()),
            SecretRef::Env(_) | SecretRef::File(_) => Err(Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "no secrets are available here, so {place} cannot be read",
                    place = reference.to_string()
                ),
            )),
        }
    }
}
