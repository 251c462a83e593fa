//! What the two ways of sending mail share.

use super::Problems;
use crate::hash::sha256_hex;
use crate::notification::Notification;
use crate::text;

/// Somebody's address, with a name perhaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) name: Option<String>,
    pub(super) email: String,
}

impl Address {
    /// Reads `alerts@example.org` and `Alpha <alerts@example.org>`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, email) = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
            Some((name, email)) => (name.trim().trim_matches('"'), email.trim()),
            None => ("", text),
        };
        let (local, domain) = email.rsplit_once('@')?;
        let is_bare = |part: &str| {
            !part.is_empty()
                && !part.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,;@".contains(c))
        };
        let is_address = is_bare(local) && is_bare(domain) && !name.contains(char::is_control);
        is_address.then(|| Self {
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            email: email.to_owned(),
        })
    }

    /// Whether SendGrid takes it as a sender.
    #[cfg(feature = "sendgrid")]
    pub(super) fn is_plain(&self) -> bool {
        let name = self.name.as_deref().unwrap_or_default();
        self.email.is_ascii() && name.is_ascii() && !name.contains([';', ','])
    }

    /// What stands behind the `@`.
    pub(super) fn domain_of(email: &str) -> &str {
        email.rsplit_once('@').map_or("localhost", |(_, domain)| domain)
    }
}

/// The message that all mails about a group refer to, so that mail programs show them as one thread. It was never sent.
pub(super) fn thread_id(notification: &Notification, from: &str) -> String {
    let group = sha256_hex(notification.group.as_str());
    format!("<{}.group@{}>", &group[..32], Address::domain_of(from))
}

impl Problems<'_> {
    /// An address of mail.
    pub(super) fn address(&mut self, key: &'static str, value: &str) -> Option<Address> {
        let address = Address::parse(value);
        if address.is_none() {
            self.add(text!(
                "`{key}` needs an address such as alerts@example.org, found `{value}`",
                key = key,
                value = value
            ));
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_with_a_name_or_without() {
        let address = |name: Option<&str>, email: &str| {
            Some(Address {
                name: name.map(str::to_owned),
                email: email.to_owned(),
            })
        };
        assert_eq!(Address::parse("a@b.c"), address(None, "a@b.c"));
        assert_eq!(Address::parse("Alpha <a@b.c>"), address(Some("Alpha"), "a@b.c"));
        assert_eq!(
            Address::parse("\"Alpha, Ops\" <a@b.c>"),
            address(Some("Alpha, Ops"), "a@b.c")
        );
        for wrong in [
            "",
            "a",
            "a@",
            "@b",
            "a b@c",
            "a@b\r\nBcc: x@y",
            "x\ny <a@b>",
            "a@b, c@d",
        ] {
            assert_eq!(Address::parse(wrong), None, "{wrong:?}");
        }
    }
}
