//! The receiver `email`: SMTP, a mail for each address.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error as SmtpError, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};

use super::limit::Limit;
use super::mail::{Address, thread_id};
use super::markup::Dialect;
use super::template::{Renderer, one_line};
use super::{EmailConfig, EmailTls, Integration, Parts, Problems, redacted};
use crate::notification::Notification;
use crate::notifier::{Notifier, Receipt, Refusal};
use crate::severity::Severity;
use crate::text;
use crate::text::Text;

/// What a line of a mail holds (RFC 5322, 2.1.1), with room for its encoding.
const SUBJECT: Limit = Limit::Bytes(300);

/// A mail that people read.
const TEXT: Limit = Limit::Bytes(100_000);

/// How many characters of what a server said a refusal quotes.
const EXCERPT: Limit = Limit::Characters(200);

type Transport = AsyncSmtpTransport<Tokio1Executor>;

struct Email {
    transport: Transport,
    timeout: Duration,
    secrets: Vec<SecretString>,
    from: Mailbox,
    to: Mailbox,
    reply_to: Option<Mailbox>,
    renderer: Arc<Renderer>,
}

impl std::fmt::Debug for Email {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Email")
            .field("to", &self.to.email.to_string())
            .finish_non_exhaustive()
    }
}

pub(super) fn build(config: &EmailConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let host = problems.required_text("host", &config.host);
    let from = problems.mailbox("from", &config.from);
    let reply_to = config
        .reply_to
        .as_ref()
        .and_then(|address| problems.mailbox("reply_to", address));
    let to: Vec<Mailbox> = config
        .to
        .iter()
        .filter_map(|to| problems.mailbox("to", to))
        .collect();
    if config.to.is_empty() {
        problems.missing("to");
    }
    let account = config.auth.as_ref().and_then(|account| {
        let password = problems.secret("auth", Some(&account.password))?;
        Some((account.username.clone(), password))
    });
    let secrets = account
        .iter()
        .map(|(_, password)| password.clone())
        .collect::<Vec<_>>();
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Html);
    let transport = host.and_then(|host| transport(config, &host, account, parts, &mut problems));
    let ((transport, from), renderer) = problems.finish(transport.zip(from).zip(renderer))?;
    let renderer = Arc::new(renderer);
    // Each address is told by itself: one that is refused keeps nothing from the others, and nobody sees another's.
    let integrations = to.into_iter().enumerate().map(|(part, to)| {
        let email = Email {
            transport: transport.clone(),
            timeout: parts.environment.timeout,
            secrets: secrets.clone(),
            from: from.clone(),
            to,
            reply_to: reply_to.clone(),
            renderer: Arc::clone(&renderer),
        };
        parts.integration_of(part, Arc::new(email), config.send_resolved, config.rate)
    });
    Ok(integrations.collect())
}

fn transport(
    config: &EmailConfig,
    host: &str,
    account: Option<(String, SecretString)>,
    parts: &Parts<'_>,
    problems: &mut Problems<'_>,
) -> Option<Transport> {
    let (tls, port) = match config.tls {
        EmailTls::Starttls => (Tls::Required(tls_parameters(config, host, problems)?), 587),
        EmailTls::Tls => (Tls::Wrapper(tls_parameters(config, host, problems)?), 465),
        EmailTls::None => (Tls::None, 25),
    };
    let pool = PoolConfig::new()
        .max_size(4)
        .idle_timeout(Duration::from_secs(30));
    let mut builder = Transport::builder_dangerous(host)
        .port(config.port.unwrap_or(port))
        .tls(tls)
        .timeout(Some(parts.environment.timeout))
        .pool_config(pool);
    if let Some(hello) = &config.hello {
        builder = builder.hello_name(ClientId::Domain(hello.clone()));
    }
    if let Some((username, password)) = account {
        builder = builder.credentials(Credentials::new(username, password.expose_secret().to_owned()));
    }
    Some(builder.build())
}

fn tls_parameters(config: &EmailConfig, host: &str, problems: &mut Problems<'_>) -> Option<TlsParameters> {
    let mut tls = TlsParameters::builder(host.to_owned());
    if let Some(path) = &config.ca_file {
        let read = std::fs::read(path).map_err(|error| error.to_string());
        match read.and_then(|pem| Certificate::from_pem(&pem).map_err(|error| error.to_string())) {
            Ok(certificate) => tls = tls.add_root_certificate(certificate),
            Err(error) => problems.add(text!("`ca_file` cannot be read: {error}", error = error)),
        }
    }
    let built = tls.build();
    built
        .map_err(|error| problems.add(text!("there is no TLS: {error}", error = error.to_string())))
        .ok()
}

impl Problems<'_> {
    fn mailbox(&mut self, key: &'static str, value: &str) -> Option<Mailbox> {
        let Address { name, email } = self.address(key, value)?;
        let email = email.parse().ok();
        if email.is_none() {
            self.add(text!(
                "`{key}`: `{value}` cannot be sent to",
                key = key,
                value = value
            ));
        }
        Some(Mailbox::new(name, email?))
    }
}

/// A header of lettre that is only a name and its text.
macro_rules! text_headers {
    ($($type:ident $name:literal),*) => {$(
        #[derive(Clone)]
        struct $type(String);

        impl Header for $type {
            fn name() -> HeaderName {
                HeaderName::new_from_ascii_str($name)
            }

            fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Ok(Self(text.to_owned()))
            }

            fn display(&self) -> HeaderValue {
                HeaderValue::new(Self::name(), self.0.clone())
            }
        }
    )*};
}

text_headers! {
    AutoSubmitted "Auto-Submitted",
    Importance "Importance",
    AlphaNotification "X-Alpha-Notification",
    AlphaSeverity "X-Alpha-Severity"
}

impl Email {
    fn mail(&self, notification: &Notification) -> Result<Mail, lettre::error::Error> {
        let message = self.renderer.message(notification);
        let from = self.from.email.to_string();
        let thread = thread_id(notification, &from);
        let urgent = notification.severity.is_at_least(Severity::P1);
        let mut builder = Mail::builder()
            .from(self.from.clone())
            .to(self.to.clone())
            .subject(message.title(SUBJECT))
            .date(SystemTime::from(notification.created_at))
            // The same for each attempt, so that a mail that comes twice is shown once.
            .message_id(Some(format!(
                "<{}@{}>",
                notification.id,
                Address::domain_of(&from)
            )))
            .in_reply_to(thread.clone())
            .references(thread)
            .header(AutoSubmitted("auto-generated".to_owned()))
            .header(Importance(if urgent { "high" } else { "normal" }.to_owned()))
            .header(AlphaNotification(notification.id.to_string()))
            .header(AlphaSeverity(notification.severity.name().to_owned()));
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        builder.multipart(MultiPart::alternative_plain_html(
            message.plain_text(TEXT),
            message.html(TEXT),
        ))
    }

    fn refusal(&self, error: &SmtpError) -> Refusal {
        let mut said = error.to_string();
        if let Some(cause) = std::error::Error::source(error) {
            let cause = cause.to_string();
            if !said.contains(&cause) {
                said = format!("{said}: {cause}");
            }
        }
        let said = EXCERPT.cut(&one_line(&redacted(&said, &self.secrets)), Dialect::Plain);
        let reason = text!("{said}", said = said);
        if let Some(code) = error.status() {
            let refusal = if error.is_permanent() {
                Refusal::permanent(reason)
            } else {
                Refusal::transient(reason)
            };
            return refusal.with_status(code.into());
        }
        if error.is_client() {
            // What the server does not offer: no encryption, no way to log in.
            Refusal::permanent(reason)
        } else if error.is_tls() || is_connecting(error) {
            Refusal::transient(reason)
        } else {
            Refusal::uncertain(reason)
        }
    }
}

/// Whether it failed while connecting, before a mail can have been handed over. The library says so only in words.
fn is_connecting(error: &SmtpError) -> bool {
    error.to_string().starts_with("Connection error")
}

#[async_trait]
impl Notifier for Email {
    fn kind(&self) -> &'static str {
        "email"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let mail = self.mail(notification).map_err(|error| {
            Refusal::permanent(text!(
                "the mail cannot be written: {error}",
                error = error.to_string()
            ))
        })?;
        match tokio::time::timeout(self.timeout, self.transport.send(mail)).await {
            Ok(Ok(_)) => Ok(Receipt::with_reference(notification.id.to_string())),
            Ok(Err(error)) => Err(self.refusal(&error)),
            Err(_) => Err(Refusal::uncertain(text!("no answer in time"))),
        }
    }
}
