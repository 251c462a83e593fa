//! What a receiver consists of: the configuration of each kind, present whatever features are on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::period::Period;
use crate::secret::SecretRef;

/// The language of the built-in templates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Language {
    /// English.
    #[default]
    #[serde(rename = "en")]
    En,
    /// Simplified Chinese.
    #[serde(rename = "zh")]
    Zh,
}

/// How often an integration may be told something: a token bucket.
///
/// In any 60 seconds at most `per_minute + burst` notifications leave, so the two together stay below what the service
/// allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RateConfig {
    /// How many notifications a minute, at least 1. Default: 60.
    pub per_minute: u32,
    /// How many at once, at least 1. Default: 10.
    pub burst: u32,
}

impl RateConfig {
    /// So many a minute, and so many at once.
    pub const fn new(per_minute: u32, burst: u32) -> Self {
        Self { per_minute, burst }
    }
}

impl Default for RateConfig {
    fn default() -> Self {
        Self::new(60, 10)
    }
}

/// Templates that replace the built-in ones, in the language of Jinja.
///
/// They see `event` (`firing`, `acknowledged`, `resolved`), `severity`, `receiver`, `group_key`, `group_labels`,
/// `common_labels`, `common_annotations`, `alerts`, `firing`, `resolved` (each alert with `name`, `is_resolved`, `labels`,
/// `annotations`, `starts_at`, `ends_at`, `generator_url`, `fingerprint`), `firing_count`, `resolved_count`, `hidden_count`
/// (alerts that had no room), `reason`, `late`, `owners`, `runbook_url`, `incident`, `acknowledge_url`, `silence_url` and
/// `external_url`. Values are escaped for where they land; the filters `bold`, `code` and `link` write the markup of the
/// receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TemplateConfig {
    /// The title or subject, one line without markup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The text, in the markup of the receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The page of an e-mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
}

/// An account with its password.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The account.
    pub username: String,
    /// Where the password is kept.
    pub password: SecretRef,
}

/// The fields that all kinds share are written once, here, because serde's `flatten` would spoil its error messages.
macro_rules! integrations {
    ($(
        $(#[$documentation:meta])*
        $name:ident (send_resolved: $send_resolved:literal) {
            $($(#[$field_documentation:meta])* $field:ident: $type:ty = $default:expr,)*
        }
    )*) => {$(
        $(#[$documentation])*
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_documentation])* pub $field: $type,)*
            #[doc = concat!("Whether the end of a group is told too. Default: ", stringify!($send_resolved), ".")]
            pub send_resolved: bool,
            /// How often it may be told something. Default: a little less than what the service is known to allow.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub rate: Option<RateConfig>,
            /// Templates of its own.
            pub templates: TemplateConfig,
            /// The language of the built-in templates. Default: that of the whole configuration.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub language: Option<Language>,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    send_resolved: $send_resolved,
                    rate: None,
                    templates: TemplateConfig::default(),
                    language: None,
                }
            }
        }
    )*};
}

integrations! {
    /// Slack, through an incoming webhook. The bar beside the message has the plan's colours (M6).
    SlackConfig (send_resolved: true) {
        /// Where the address of the incoming webhook is kept, which is a secret. Required.
        webhook_url: Option<SecretRef> = None,
        /// The channel, where the webhook leaves a choice.
        channel: Option<String> = None,
        /// The name it writes under, where the webhook leaves a choice.
        username: Option<String> = None,
        /// The picture beside the name, such as `:rotating_light:`.
        icon_emoji: Option<String> = None,
        /// Whether to use Block Kit, with buttons, rather than a plain attachment. Default: false.
        blocks: bool = false,
        /// Whether the button that acknowledges calls back into Slack's app rather than opening a signed link; needs an app
        /// with interactivity and `blocks`. Default: false.
        interactive: bool = false,
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// PagerDuty, Events API v2: P0 is `critical`, P1 `error`, P2 `warning`, P3 `info`.
    PagerdutyConfig (send_resolved: true) {
        /// Where the integration key of the service is kept. Required.
        routing_key: Option<SecretRef> = None,
        /// Where events are sent. Default: `https://events.pagerduty.com/v2/enqueue`; in Europe
        /// `https://events.eu.pagerduty.com/v2/enqueue`.
        url: Option<Url> = None,
        /// What `client` says. Default: `Alpha`.
        client: String = "Alpha".to_owned(),
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// E-mail by SMTP. Each address is an integration of its own, so that one wrong address keeps nothing from the others.
    EmailConfig (send_resolved: true) {
        /// The mail server. Required.
        host: String = String::new(),
        /// Its port. Default: 587, or 465 with `tls = "tls"`, or 25 with `tls = "none"`.
        port: Option<u16> = None,
        /// How the connection is encrypted. Default: `starttls`, without which nothing is sent.
        tls: EmailTls = EmailTls::Starttls,
        /// A file of PEM certificates of authorities to trust besides this machine's.
        ca_file: Option<PathBuf> = None,
        /// The account.
        auth: Option<BasicAuth> = None,
        /// The sender, such as `Alpha <alerts@example.org>`. Required.
        from: String = String::new(),
        /// Whom to write to. At least one.
        to: Vec<String> = Vec::new(),
        /// Where answers go.
        reply_to: Option<String> = None,
        /// What it says it is called. Default: the name of this machine.
        hello: Option<String> = None,
    }

    /// E-mail by SendGrid's API v3. Nobody sees the address of another.
    SendgridConfig (send_resolved: true) {
        /// Where the API key is kept. Required.
        api_key: Option<SecretRef> = None,
        /// Where mails are handed in. Default: `https://api.sendgrid.com/v3/mail/send`; in Europe
        /// `https://api.eu.sendgrid.com/v3/mail/send`.
        url: Option<Url> = None,
        /// The sender, such as `Alpha <alerts@example.org>`; ASCII only. Required.
        from: String = String::new(),
        /// Whom to write to, 1 to 1000 addresses.
        to: Vec<String> = Vec::new(),
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// Any web address, told in Alertmanager's payload of version 4.
    WebhookConfig (send_resolved: true) {
        /// The address. Either this or `secret_url` is required.
        url: Option<Url> = None,
        /// Where the address is kept, if it is a secret.
        secret_url: Option<SecretRef> = None,
        /// An account with its password.
        basic_auth: Option<BasicAuth> = None,
        /// Where the token is kept that is sent as `Authorization: Bearer`.
        bearer_token: Option<SecretRef> = None,
        /// Further headers.
        headers: BTreeMap<String, String> = BTreeMap::new(),
        /// Further headers whose values are secret.
        secret_headers: BTreeMap<String, SecretRef> = BTreeMap::new(),
        /// Signs each request.
        signature: Option<SignatureConfig> = None,
        /// How many alerts at most are sent; `truncatedAlerts` says how many were left out. Default: 0, all of them.
        max_alerts: usize = 0,
        /// A file of PEM certificates of authorities to trust besides this machine's.
        ca_file: Option<PathBuf> = None,
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// A Telegram bot.
    TelegramConfig (send_resolved: true) {
        /// Where the token of the bot is kept. Required.
        token: Option<SecretRef> = None,
        /// The chat: its number, or `@name` of a channel. Required.
        chat: String = String::new(),
        /// The topic of a forum.
        topic: Option<i64> = None,
        /// Whether P3 comes without a sound. Default: true.
        quiet_p3: bool = true,
        /// The server. Default: `https://api.telegram.org`.
        url: Option<Url> = None,
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// Discord, through a webhook.
    DiscordConfig (send_resolved: true) {
        /// Where the address of the webhook is kept, which is a secret. Required.
        webhook_url: Option<SecretRef> = None,
        /// The name it writes under.
        username: Option<String> = None,
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// Microsoft Teams, through a workflow of Power Automate, as an Adaptive Card.
    TeamsConfig (send_resolved: true) {
        /// Where the address of the workflow is kept, which is a secret. Required.
        webhook_url: Option<SecretRef> = None,
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// A room of Matrix.
    MatrixConfig (send_resolved: true) {
        /// The server, such as `https://matrix.example.org`. Required.
        homeserver: Option<Url> = None,
        /// Where the access token is kept. Required.
        access_token: Option<SecretRef> = None,
        /// The room, such as `!abc:example.org`. Required.
        room: String = String::new(),
        /// A file of PEM certificates of authorities to trust besides this machine's.
        ca_file: Option<PathBuf> = None,
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// A topic of ntfy.
    NtfyConfig (send_resolved: true) {
        /// The server. Default: `https://ntfy.sh`.
        server: Option<Url> = None,
        /// Where the topic is kept: on a public server whoever knows it can read it. Required.
        topic: Option<SecretRef> = None,
        /// Where the access token is kept.
        token: Option<SecretRef> = None,
        /// An account with its password.
        basic_auth: Option<BasicAuth> = None,
        /// A file of PEM certificates of authorities to trust besides this machine's.
        ca_file: Option<PathBuf> = None,
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// A robot of a DingTalk group.
    DingtalkConfig (send_resolved: true) {
        /// Where the address of the robot, with its access token, is kept. Required.
        webhook_url: Option<SecretRef> = None,
        /// Where the secret is kept that requests are signed with (`SEC...`).
        secret: Option<SecretRef> = None,
        /// The mobile numbers of those to mention.
        mention: Vec<String> = Vec::new(),
        /// Whether a P0 mentions everybody. Default: true.
        mention_all_on_p0: bool = true,
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// A bot of a Feishu or Lark group.
    FeishuConfig (send_resolved: true) {
        /// Where the address of the bot is kept. Required.
        webhook_url: Option<SecretRef> = None,
        /// Where the secret is kept that requests are signed with.
        secret: Option<SecretRef> = None,
        /// Whether a P0 mentions everybody. Default: true.
        mention_all_on_p0: bool = true,
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// A robot of a WeCom group.
    WecomConfig (send_resolved: true) {
        /// Where the address of the robot, with its key, is kept. Required.
        webhook_url: Option<SecretRef> = None,
        /// The user ids of those to mention.
        mention: Vec<String> = Vec::new(),
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// The telephone, through Twilio or a gateway that speaks its language. Each number is an integration of its own.
    TelephoneConfig (send_resolved: false) {
        /// The gateway. Default: `https://api.twilio.com`.
        url: Option<Url> = None,
        /// The account (`AC...`). Required.
        account: String = String::new(),
        /// Where the token of the account is kept. Required.
        token: Option<SecretRef> = None,
        /// The number that calls, such as `+4915112345678`. Required.
        from: String = String::new(),
        /// The numbers to call. At least one.
        to: Vec<String> = Vec::new(),
        /// Whether to call or to send a short message. Default: `call`.
        mode: TelephoneMode = TelephoneMode::Call,
        /// The proxy to go through.
        proxy: Option<Url> = None,
    }

    /// A program that is run once for each notification, with the notification as JSON on its standard input.
    ///
    /// It ends with 0 where it told; with 64, 65, 77 or 78 (`EX_USAGE`, `EX_DATAERR`, `EX_NOPERM`, `EX_CONFIG`) where trying again is
    /// useless; with anything else where it should be run again.
    CommandConfig (send_resolved: true) {
        /// The program. Required.
        program: PathBuf = PathBuf::new(),
        /// Its arguments. Everybody on the machine can read them: secrets belong into `secret_environment`.
        arguments: Vec<String> = Vec::new(),
        /// Environment variables that it gets besides `PATH`, `HOME` and `LANG`.
        environment: BTreeMap<String, String> = BTreeMap::new(),
        /// Environment variables whose values are secret.
        secret_environment: BTreeMap<String, SecretRef> = BTreeMap::new(),
        /// How long it may run. Default: the delivery's own timeout.
        timeout: Option<Period> = None,
    }

    /// The log of this process.
    LogConfig (send_resolved: true) {}
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmailTls {
    /// After a greeting in the clear; a server that does not offer it is refused.
    #[default]
    Starttls,
    /// From the first byte.
    Tls,
    /// Not at all; for a server on this machine.
    None,
}

/// Whether to call or to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TelephoneMode {
    /// A call that reads the title aloud, twice.
    #[default]
    Call,
    /// A short message.
    Sms,
}

/// How the requests of a webhook are signed: the header holds the lower-case hexadecimal HMAC-SHA256 of the body, or with a
/// `timestamp_header` that of `{seconds}:{body}`, as Grafana does it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SignatureConfig {
    /// Where the key is kept.
    pub secret: SecretRef,
    /// The header of the signature. Default: `X-Alpha-Signature`.
    #[serde(default = "SignatureConfig::default_header")]
    pub header: String,
    /// The header of the time at which it was signed, in seconds since 1970, so that an old request cannot be replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
}

impl SignatureConfig {
    /// A signature with the key that is kept in `secret`, in the default header, without a time.
    pub fn new(secret: SecretRef) -> Self {
        Self {
            secret,
            header: Self::default_header(),
            timestamp_header: None,
        }
    }

    fn default_header() -> String {
        "X-Alpha-Signature".to_owned()
    }
}

/// Somebody to tell: a name, and the ways to reach it, all of which are used.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ReceiverConfig {
    /// What routes call it. Required.
    pub name: String,
    /// Channels of Slack.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slack: Vec<SlackConfig>,
    /// Services of PagerDuty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pagerduty: Vec<PagerdutyConfig>,
    /// E-mail by SMTP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub email: Vec<EmailConfig>,
    /// E-mail by SendGrid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sendgrid: Vec<SendgridConfig>,
    /// Web addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhook: Vec<WebhookConfig>,
    /// Telegram bots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub telegram: Vec<TelegramConfig>,
    /// Channels of Discord.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub discord: Vec<DiscordConfig>,
    /// Channels of Microsoft Teams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<TeamsConfig>,
    /// Rooms of Matrix.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matrix: Vec<MatrixConfig>,
    /// Topics of ntfy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ntfy: Vec<NtfyConfig>,
    /// Groups of DingTalk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dingtalk: Vec<DingtalkConfig>,
    /// Groups of Feishu or Lark.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub feishu: Vec<FeishuConfig>,
    /// Groups of WeCom.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wecom: Vec<WecomConfig>,
    /// Telephones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub telephone: Vec<TelephoneConfig>,
    /// Programs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<CommandConfig>,
    /// This process' log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogConfig>,
}

impl ReceiverConfig {
    /// A receiver that cannot be reached yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}
