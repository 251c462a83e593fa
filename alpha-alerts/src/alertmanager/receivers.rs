//! Receivers, with what the section `global` says for all of them.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::document::{Mapping, Value};
use crate::notifiers::{
    BasicAuth, DiscordConfig, EmailConfig, EmailTls, PagerdutyConfig, ReceiverConfig, SlackConfig,
    TeamsConfig, TelegramConfig, WebhookConfig,
};
use crate::secret::SecretRef;
use crate::text;

/// Kinds that Alertmanager knows and Alpha does not.
const FOREIGN: [&str; 12] = [
    "opsgenie_configs",
    "pushover_configs",
    "victorops_configs",
    "sns_configs",
    "webex_configs",
    "wechat_configs",
    "jira_configs",
    "jsm_configs",
    "rocketchat_configs",
    "mattermost_configs",
    "incidentio_configs",
    "signl4_configs",
];

/// Keys of `global` that only foreign kinds read.
const FOREIGN_GLOBALS: [&str; 28] = [
    "opsgenie_api_url",
    "opsgenie_api_key",
    "opsgenie_api_key_file",
    "victorops_api_url",
    "victorops_api_key",
    "victorops_api_key_file",
    "wechat_api_url",
    "wechat_api_secret",
    "wechat_api_secret_file",
    "wechat_api_corp_id",
    "webex_api_url",
    "jira_api_url",
    "jsm_api_url",
    "jsm_api_key",
    "jsm_api_key_file",
    "rocketchat_api_url",
    "rocketchat_token",
    "rocketchat_token_file",
    "rocketchat_token_id",
    "rocketchat_token_id_file",
    "mattermost_webhook_url",
    "mattermost_webhook_url_file",
    "signl4_team_secret",
    "hipchat_api_url",
    "hipchat_auth_token",
    "slack_app_token",
    "slack_app_token_file",
    "slack_app_url",
];

/// What `global` says for all receivers.
#[derive(Debug, Default)]
pub(super) struct Globals {
    folder: PathBuf,
    smtp_from: Option<String>,
    smtp_hello: Option<String>,
    smtp_smarthost: Option<(String, u16)>,
    smtp_username: Option<String>,
    smtp_password: Option<SecretRef>,
    smtp_require_tls: Option<bool>,
    smtp_ca_file: Option<PathBuf>,
    slack_url: Option<SecretRef>,
    pagerduty_url: Option<Url>,
    telegram_url: Option<Url>,
    telegram_token: Option<SecretRef>,
    http: Http,
}

/// What `http_config` says, as far as there is a counterpart.
#[derive(Clone, Debug, Default)]
struct Http {
    proxy: Option<Url>,
    basic_auth: Option<BasicAuth>,
    bearer_token: Option<SecretRef>,
}

impl Globals {
    pub(super) fn read(mut keys: Mapping<'_>, folder: Option<&Path>) -> Self {
        let mut globals = Self {
            folder: folder.unwrap_or(Path::new("")).to_owned(),
            ..Self::default()
        };
        globals.smtp_from = keys.text("smtp_from").map(str::to_owned);
        globals.smtp_hello = keys.text("smtp_hello").map(str::to_owned);
        globals.smtp_smarthost = smarthost(&mut keys, "smtp_smarthost");
        globals.smtp_username = keys.text("smtp_auth_username").map(str::to_owned);
        globals.smtp_password = globals.secret(&mut keys, "smtp_auth_password");
        globals.smtp_require_tls = keys.truth("smtp_require_tls");
        globals.smtp_ca_file = keys
            .take("smtp_tls_config")
            .and_then(|value| globals.ca_file(&value));
        keys.leave_out(&[
            "smtp_auth_secret",
            "smtp_auth_secret_file",
            "smtp_auth_identity",
            "smtp_force_implicit_tls",
        ]);
        globals.slack_url = globals.secret_url(&mut keys, "slack_api_url");
        globals.pagerduty_url = url(&mut keys, "pagerduty_url");
        globals.telegram_url = url(&mut keys, "telegram_api_url");
        globals.telegram_token = globals.secret(&mut keys, "telegram_bot_token");
        if let Some(value) = keys.take("http_config") {
            globals.http = globals.http(&value);
        }
        // Told where they are used, if at all.
        for key in FOREIGN_GLOBALS {
            keys.take(key);
        }
        keys.finish();
        globals
    }

    /// A secret that stands under `key`, or in the file under `{key}_file`.
    fn secret(&self, keys: &mut Mapping<'_>, key: &str) -> Option<SecretRef> {
        let file_key = format!("{key}_file");
        let given = keys
            .take(key)
            .and_then(|value| value.text())
            .filter(|text| !text.is_empty());
        let file = keys.take(&file_key);
        match (given, file) {
            (Some(_), Some(file)) => {
                file.problem(text!(
                    "{path}: only one of {key} and {file_key} may be given",
                    path = &file.path,
                    key = key,
                    file_key = file_key
                ));
                None
            }
            (Some(secret), None) => Some(SecretRef::Given(SecretString::from(secret))),
            (None, Some(file)) => {
                let path = file.text().filter(|path| !path.is_empty())?;
                Some(SecretRef::File(self.folder.join(path)))
            }
            (None, None) => None,
        }
    }

    /// A secret that is an address, which is checked and never shown.
    fn secret_url(&self, keys: &mut Mapping<'_>, key: &str) -> Option<SecretRef> {
        let location = keys.location_of(key);
        let secret = self.secret(keys, key)?;
        if let (SecretRef::Given(url), Some(location)) = (&secret, location)
            && address(url.expose_secret()).is_err()
        {
            keys.findings.problem(
                location,
                text!("{path}.{key} is no address of HTTP", path = &keys.path, key = key),
            );
        }
        Some(secret)
    }

    fn ca_file(&self, value: &Value<'_>) -> Option<PathBuf> {
        let mut keys = value.mapping();
        let file = keys.text("ca_file").map(|path| self.folder.join(path));
        leave_out_tls(&mut keys);
        keys.finish();
        file
    }

    fn http(&self, value: &Value<'_>) -> Http {
        let mut keys = value.mapping();
        let mut http = Http {
            proxy: url(&mut keys, "proxy_url"),
            ..Http::default()
        };
        if let Some(value) = keys.take("basic_auth") {
            let mut auth = value.mapping();
            let username = auth.text("username").unwrap_or_default().to_owned();
            let password = self.secret(&mut auth, "password");
            http.basic_auth = password.map(|password| BasicAuth { username, password });
            auth.leave_out(&["username_file", "username_ref", "password_ref"]);
            auth.finish();
        }
        http.bearer_token = self.secret(&mut keys, "bearer_token");
        if let Some(value) = keys.take("authorization") {
            let mut auth = value.mapping();
            let kind = auth.text("type").unwrap_or("Bearer");
            let credentials = self.secret(&mut auth, "credentials");
            if kind.eq_ignore_ascii_case("bearer") {
                http.bearer_token = credentials;
            } else {
                value.note(text!(
                    "{path} has the type {kind}, which has no counterpart and is left out",
                    path = &value.path,
                    kind = kind
                ));
            }
            auth.leave_out(&["credentials_ref"]);
            auth.finish();
        }
        // Never worse than what Alpha does anyway: HTTP/2 where the server has it, and no redirects.
        keys.truth("enable_http2");
        keys.truth("follow_redirects");
        if let Some(value) = keys.take("tls_config") {
            let mut tls = value.mapping();
            tls.leave_out(&["ca_file"]);
            leave_out_tls(&mut tls);
            tls.finish();
        }
        keys.leave_out(&[
            "oauth2",
            "no_proxy",
            "proxy_from_environment",
            "proxy_connect_header",
            "http_headers",
        ]);
        keys.finish();
        http
    }

    fn http_or_own(&self, keys: &mut Mapping<'_>) -> Http {
        keys.take("http_config")
            .map_or_else(|| self.http.clone(), |value| self.http(&value))
    }

    /// The proxy of a kind that signs in by other means.
    fn proxy(&self, keys: &mut Mapping<'_>) -> Option<Url> {
        let location = keys.location;
        let http = self.http_or_own(keys);
        if http.basic_auth.is_some() || http.bearer_token.is_some() {
            keys.findings.note(
                location,
                text!(
                    "{path}: what http_config signs in with is left out",
                    path = &keys.path
                ),
            );
        }
        http.proxy
    }
}

fn leave_out_tls(keys: &mut Mapping<'_>) {
    keys.leave_out(&[
        "ca",
        "ca_ref",
        "cert",
        "cert_file",
        "cert_ref",
        "key",
        "key_file",
        "key_ref",
        "server_name",
        "insecure_skip_verify",
        "min_version",
        "max_version",
    ]);
}

/// An address; empty text is none.
fn url(keys: &mut Mapping<'_>, key: &str) -> Option<Url> {
    let value = keys.take(key)?;
    value.text().filter(|text| !text.is_empty())?;
    value.parsed(address)
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("expected an address: {error}"))?;
    match url.scheme() {
        "http" | "https" | "socks5" | "socks5h" => Ok(url),
        scheme => Err(format!("expected an address of HTTP, found the scheme {scheme}")),
    }
}

fn smarthost(keys: &mut Mapping<'_>, key: &str) -> Option<(String, u16)> {
    let value = keys.take(key)?;
    value.text().filter(|text| !text.is_empty())?;
    value.parsed(host_and_port)
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let refused = || format!("expected a host and a port such as \"mail.example.org:587\", found \"{text}\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Go knows ports by the names of their services too.
    let port = match port {
        "smtp" => 25,
        "smtps" | "submissions" => 465,
        "submission" => 587,
        number => number.parse().map_err(|_| refused())?,
    };
    Ok((if host.is_empty() { "localhost" } else { host }.to_owned(), port))
}

/// A text that is used as it is; a template is left out with a note.
fn plain(keys: &mut Mapping<'_>, key: &str) -> Option<String> {
    let value = keys.take(key)?;
    let text = value.text().filter(|text| !text.is_empty())?;
    if text.contains("{{") {
        value.note(text!(
            "{path} is a template of Alertmanager and is left out",
            path = &value.path
        ));
        return None;
    }
    Some(text.to_owned())
}

pub(super) fn receiver(value: &Value<'_>, globals: &Globals) -> ReceiverConfig {
    let mut keys = value.mapping();
    let mut receiver = ReceiverConfig::new(keys.text("name").unwrap_or_default());
    receiver.slack = each(&mut keys, "slack_configs", |value| slack(value, globals));
    receiver.pagerduty = each(&mut keys, "pagerduty_configs", |value| pagerduty(value, globals));
    receiver.email = each(&mut keys, "email_configs", |value| email(value, globals));
    receiver.webhook = each(&mut keys, "webhook_configs", |value| webhook(value, globals));
    receiver.telegram = each(&mut keys, "telegram_configs", |value| telegram(value, globals));
    receiver.discord = each(&mut keys, "discord_configs", |value| discord(value, globals));
    for key in ["msteams_configs", "msteamsv2_configs"] {
        receiver
            .teams
            .extend(each(&mut keys, key, |value| teams(value, globals)));
    }
    for key in FOREIGN {
        for foreign in keys.take(key).iter().flat_map(Value::list) {
            foreign.note(text!(
                "{path} is a kind of receiver that Alpha does not have: {name} is not told this way",
                path = &foreign.path,
                name = &receiver.name
            ));
        }
    }
    keys.leave_out(&["labels"]);
    keys.finish();
    receiver
}

fn each<T>(keys: &mut Mapping<'_>, key: &str, read: impl Fn(&Value<'_>) -> Option<T>) -> Vec<T> {
    let values = keys.take(key);
    values
        .iter()
        .flat_map(Value::list)
        .filter_map(|value| read(&value))
        .collect()
}

fn missing<T>(value: &Value<'_>, key: &str, found: Option<T>) -> Option<T> {
    if found.is_none() {
        value.problem(text!("{path} needs {key}", path = &value.path, key = key));
    }
    found
}

fn slack(value: &Value<'_>, globals: &Globals) -> Option<SlackConfig> {
    let mut keys = value.mapping();
    let own_url = globals.secret_url(&mut keys, "api_url");
    let has_app = ["app_token", "app_token_file"]
        .into_iter()
        .filter(|key| keys.take(key).is_some())
        .count()
        > 0;
    let mut slack = SlackConfig {
        channel: plain(&mut keys, "channel"),
        username: plain(&mut keys, "username"),
        icon_emoji: plain(&mut keys, "icon_emoji"),
        // Alertmanager's default, unlike Alpha's.
        send_resolved: keys.truth("send_resolved").unwrap_or(false),
        proxy: globals.proxy(&mut keys),
        ..SlackConfig::default()
    };
    keys.leave_out(&[
        "app_url",
        "color",
        "title",
        "title_link",
        "pretext",
        "text",
        "message_text",
        "fields",
        "short_fields",
        "footer",
        "fallback",
        "callback_id",
        "icon_url",
        "image_url",
        "thumb_url",
        "link_names",
        "mrkdwn_in",
        "actions",
        "timeout",
        "update_message",
        "thread_message",
    ]);
    keys.finish();
    if has_app && own_url.is_none() {
        value.note(text!(
            "{path} posts as an app, which Alpha does not: it needs an incoming webhook",
            path = &value.path
        ));
        return None;
    }
    slack.webhook_url = missing(value, "api_url", own_url.or_else(|| globals.slack_url.clone()));
    Some(slack)
}

fn pagerduty(value: &Value<'_>, globals: &Globals) -> Option<PagerdutyConfig> {
    let mut keys = value.mapping();
    let routing_key = globals.secret(&mut keys, "routing_key");
    let service_key = globals.secret(&mut keys, "service_key");
    let own_url = url(&mut keys, "url");
    let mut pagerduty = PagerdutyConfig {
        send_resolved: keys.truth("send_resolved").unwrap_or(true),
        proxy: globals.proxy(&mut keys),
        url: own_url.or_else(|| globals.pagerduty_url.clone()),
        ..PagerdutyConfig::default()
    };
    if let Some(client) = plain(&mut keys, "client") {
        pagerduty.client = client;
    }
    keys.leave_out(&[
        "client_url",
        "description",
        "details",
        "images",
        "links",
        "source",
        "severity",
        "class",
        "component",
        "group",
        "timeout",
    ]);
    keys.finish();
    if routing_key.is_none() && service_key.is_some() {
        value.note(text!(
            "{path} has the key of a service for PagerDuty's old API, which Alpha does not speak: give it a routing_key",
            path = &value.path
        ));
        return None;
    }
    pagerduty.routing_key = missing(value, "routing_key", routing_key);
    Some(pagerduty)
}

fn email(value: &Value<'_>, globals: &Globals) -> Option<EmailConfig> {
    let mut keys = value.mapping();
    let recipients = keys.text("to").map(str::to_owned);
    let host_and_port = smarthost(&mut keys, "smarthost").or_else(|| globals.smtp_smarthost.clone());
    let from = plain(&mut keys, "from").or_else(|| globals.smtp_from.clone());
    let hello = plain(&mut keys, "hello").or_else(|| globals.smtp_hello.clone());
    let username = keys
        .text("auth_username")
        .map(str::to_owned)
        .or_else(|| globals.smtp_username.clone());
    let password = globals
        .secret(&mut keys, "auth_password")
        .or_else(|| globals.smtp_password.clone());
    let require_tls = keys
        .truth("require_tls")
        .or(globals.smtp_require_tls)
        .unwrap_or(true);
    let ca_file = match keys.take("tls_config") {
        Some(value) => globals.ca_file(&value),
        None => globals.smtp_ca_file.clone(),
    };
    let mut reply_to = None;
    if let Some(headers) = keys.take("headers") {
        for (name, header) in headers.mapping().rest() {
            let text = header.text().unwrap_or_default();
            if name.eq_ignore_ascii_case("reply-to") && !text.contains("{{") {
                reply_to = Some(text.to_owned());
            } else {
                header.note(text!(
                    "{path} has no counterpart and is left out",
                    path = &header.path
                ));
            }
        }
    }
    let send_resolved = keys.truth("send_resolved").unwrap_or(false);
    keys.leave_out(&[
        "auth_secret",
        "auth_secret_file",
        "auth_identity",
        "html",
        "text",
        "threading",
        "implicit_tls",
        "force_implicit_tls",
        "timeout",
    ]);
    keys.finish();
    let recipients = missing(value, "to", recipients);
    let host_and_port = missing(value, "smarthost", host_and_port);
    let from = missing(value, "from", from);
    let ((host, port), recipients, from) = (host_and_port?, recipients?, from?);
    if recipients.contains("{{") {
        value.note(text!(
            "{path} writes to addresses from a template, which has no counterpart: nobody is told this way",
            path = &value.path
        ));
        return None;
    }
    Some(EmailConfig {
        tls: match (port, require_tls) {
            // Alertmanager encrypts from the first byte at this port, whatever else is said.
            (465, _) => EmailTls::Tls,
            (_, true) => EmailTls::Starttls,
            (_, false) => EmailTls::None,
        },
        host,
        port: Some(port),
        ca_file,
        auth: username
            .zip(password)
            .map(|(username, password)| BasicAuth { username, password }),
        from,
        to: addresses(&recipients),
        reply_to,
        hello,
        send_resolved,
        ..EmailConfig::default()
    })
}

/// The addresses of a header such as `Ada <ada@example.org>, "Byron, Lord" <b@example.org>`.
fn addresses(list: &str) -> Vec<String> {
    let mut is_quoted = false;
    list.split(|character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    })
    .map(|address| address.trim().to_owned())
    .filter(|address| !address.is_empty())
    .collect()
}

fn webhook(value: &Value<'_>, globals: &Globals) -> Option<WebhookConfig> {
    let mut keys = value.mapping();
    let address = globals.secret_url(&mut keys, "url");
    let http = globals.http_or_own(&mut keys);
    let webhook = WebhookConfig {
        secret_url: missing(value, "url", address),
        basic_auth: http.basic_auth,
        bearer_token: http.bearer_token,
        proxy: http.proxy,
        max_alerts: keys
            .take("max_alerts")
            .and_then(|value| {
                value.parsed(|text| {
                    text.parse()
                        .map_err(|_| format!("expected a number, found \"{text}\""))
                })
            })
            .unwrap_or(0),
        send_resolved: keys.truth("send_resolved").unwrap_or(true),
        ..WebhookConfig::default()
    };
    keys.leave_out(&["timeout", "payload"]);
    keys.finish();
    Some(webhook)
}

fn telegram(value: &Value<'_>, globals: &Globals) -> Option<TelegramConfig> {
    let mut keys = value.mapping();
    let token = globals
        .secret(&mut keys, "bot_token")
        .or_else(|| globals.telegram_token.clone());
    let has_chat_file = keys.has("chat_id_file");
    let chat = keys
        .text("chat_id")
        .filter(|chat| *chat != "0")
        .map(str::to_owned);
    let own_url = url(&mut keys, "api_url");
    let telegram = TelegramConfig {
        topic: keys.take("message_thread_id").and_then(|value| {
            value.parsed(|text| {
                text.parse()
                    .map_err(|_| format!("expected a number, found \"{text}\""))
            })
        }),
        url: own_url.or_else(|| globals.telegram_url.clone()),
        // Alertmanager knows of no severity for which it makes no sound.
        quiet_p3: false,
        send_resolved: keys.truth("send_resolved").unwrap_or(true),
        proxy: globals.proxy(&mut keys),
        ..TelegramConfig::default()
    };
    keys.leave_out(&[
        "chat_id_file",
        "disable_notifications",
        "message",
        "parse_mode",
        "timeout",
    ]);
    keys.finish();
    if has_chat_file && chat.is_none() {
        return None;
    }
    let token = missing(value, "bot_token", token);
    let chat = missing(value, "chat_id", chat);
    Some(TelegramConfig {
        token,
        chat: chat?,
        ..telegram
    })
}

fn discord(value: &Value<'_>, globals: &Globals) -> Option<DiscordConfig> {
    let mut keys = value.mapping();
    let address = globals.secret_url(&mut keys, "webhook_url");
    let discord = DiscordConfig {
        webhook_url: missing(value, "webhook_url", address),
        username: plain(&mut keys, "username"),
        send_resolved: keys.truth("send_resolved").unwrap_or(true),
        proxy: globals.proxy(&mut keys),
        ..DiscordConfig::default()
    };
    keys.leave_out(&["title", "message", "content", "avatar_url", "timeout"]);
    keys.finish();
    Some(discord)
}

fn teams(value: &Value<'_>, globals: &Globals) -> Option<TeamsConfig> {
    let mut keys = value.mapping();
    let address = globals.secret_url(&mut keys, "webhook_url");
    let teams = TeamsConfig {
        webhook_url: missing(value, "webhook_url", address),
        send_resolved: keys.truth("send_resolved").unwrap_or(true),
        proxy: globals.proxy(&mut keys),
        ..TeamsConfig::default()
    };
    keys.leave_out(&["title", "summary", "text", "timeout"]);
    keys.finish();
    Some(teams)
}
