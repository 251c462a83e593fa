//! Secrets from the environment and from files.

use std::fs;
use std::io::Read;
use std::path::Path;

use alpha_probes::{Error, ErrorKind, SecretRef, Secrets, text};
use secrecy::SecretString;

/// Fetches secrets from the environment of this process and from files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalSecrets;

/// A secret longer than this is a mistake in the path.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

impl Secrets for LocalSecrets {
    fn resolve(&self, reference: &SecretRef) -> alpha_probes::Result<SecretString> {
        let secret = match reference {
            SecretRef::Env(name) => of_environment(name),
            SecretRef::File(path) => of_file(path),
        };
        secret.map_err(|cause| {
            Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "the secret in {place} cannot be read: {cause}",
                    place = reference.to_string(),
                    cause = cause
                ),
            )
        })
    }
}

impl alpha_alerts::Secrets for LocalSecrets {
    fn resolve(&self, reference: &alpha_alerts::SecretRef) -> alpha_alerts::Result<SecretString> {
        let secret = match reference {
            alpha_alerts::SecretRef::Env(name) => of_environment(name),
            alpha_alerts::SecretRef::File(path) => of_file(path),
            alpha_alerts::SecretRef::Given(secret) => Ok(secret.clone()),
        };
        secret.map_err(|cause| {
            alpha_alerts::Error::new(
                alpha_alerts::ErrorKind::InvalidConfig,
                alpha_alerts::text!(
                    "the secret in {place} cannot be read: {cause}",
                    place = reference.to_string(),
                    cause = cause
                ),
            )
        })
    }
}

fn of_environment(name: &str) -> Result<SecretString, String> {
    checked(std::env::var(name).map_err(|error| error.to_string())?)
}

fn of_file(path: &Path) -> Result<SecretString, String> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_SECRET_BYTES).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    checked(text)
}

fn checked(secret: String) -> Result<SecretString, String> {
    if secret.is_empty() {
        Err("it is empty".to_owned())
    } else {
        Ok(secret.into())
    }
}
