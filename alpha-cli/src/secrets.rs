//! Secrets from the environment and from files.

use std::fs;
use std::io::Read;

use alpha_probes::{Error, ErrorKind, SecretRef, Secrets, text};
use secrecy::SecretString;

/// Fetches secrets from the environment of this process and from files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalSecrets;

/// A secret longer than this is a mistake in the path.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

impl Secrets for LocalSecrets {
    fn resolve(&self, reference: &SecretRef) -> alpha_probes::Result<SecretString> {
        let unreadable = |cause: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "the secret in {place} cannot be read: {cause}",
                    place = reference.to_string(),
                    cause = cause.to_string()
                ),
            )
        };
        let secret = match reference {
            SecretRef::Env(name) => std::env::var(name).map_err(|error| unreadable(&error))?,
            SecretRef::File(path) => {
                let mut text = String::new();
                let file = fs::File::open(path).map_err(|error| unreadable(&error))?;
                file.take(MAX_SECRET_BYTES)
                    .read_to_string(&mut text)
                    .map_err(|error| unreadable(&error))?;
                text.truncate(text.trim_end_matches(['\r', '\n']).len());
                text
            }
        };
        if secret.is_empty() {
            return Err(unreadable(&"it is empty"));
        }
        Ok(secret.into())
    }
}
