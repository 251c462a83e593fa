//! HMAC-SHA256 signatures: of our own links, of Slack's requests, of PagerDuty's webhooks.

use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::hash::hex;

/// A key that signs and verifies.
#[derive(Clone)]
pub(super) struct SigningKey(hmac::Key);

impl SigningKey {
    pub(super) fn new(secret: &SecretString) -> Self {
        Self(hmac::Key::new(
            hmac::HMAC_SHA256,
            secret.expose_secret().as_bytes(),
        ))
    }

    /// The signature over all parts one after the other, in hexadecimal digits.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        hex(context.sign().as_ref())
    }

    /// Whether `signature` is the one over all parts; compared in constant time.
    pub(super) fn verifies(&self, parts: &[&[u8]], signature: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.sign(parts).as_bytes().ct_eq(signature.as_bytes()).into()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SigningKey")
    }
}
