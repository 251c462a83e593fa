//! Secrets are named in a configuration, never written into it.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::text;

/// Where a secret is kept: `{ env = "PGPASSWORD" }` or `{ file = "/run/secrets/pg" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// The name of an environment variable.
    Env(String),
    /// A file that holds the secret and nothing else; the final line break is not part of it.
    File(PathBuf),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(formatter, "environment variable {name}"),
            Self::File(path) => write!(formatter, "file {}", path.display()),
        }
    }
}

/// Fetches secrets. The library reads neither the environment nor files of its own accord.
pub trait Secrets: fmt::Debug + Send + Sync {
    /// The secret itself.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] where it is not there, with the name of the place, never its content.
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString>;
}

/// Knows no secrets.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString> {
        Err(Error::new(
            ErrorKind::InvalidConfig,
            text!(
                "no secrets are available here, so {place} cannot be read",
                place = reference.to_string()
            ),
        ))
    }
}
