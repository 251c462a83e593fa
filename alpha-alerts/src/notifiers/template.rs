//! What is said: titles and texts from templates, escaped for where they land and no longer than it allows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::value::Value;
use minijinja::{AutoEscape, Error, ErrorKind, State, UndefinedBehavior};

use super::limit::{ELLIPSIS, Limit};
use super::markup::Dialect;
use super::{Environment, Language, TemplateConfig};
use crate::alert::Alert;
use crate::label::Labels;
use crate::notification::{Event, Lateness, Notification, Reason};
use crate::severity::Severity;
use crate::text;
use crate::text::Text;

/// How many alerts a message shows at most; the rest are counted. Nobody reads more at three in the morning.
const SHOWN: usize = 25;

/// How many characters of one label or annotation are shown, first and where there is little room.
const CLIPS: [usize; 3] = [2000, 500, 120];

/// How much work a template may cause; a built-in one with [`SHOWN`] alerts takes about a hundredth of it.
const FUEL: u64 = 500_000;

/// Renders notifications for one integration.
pub(crate) struct Renderer {
    engine: minijinja::Environment<'static>,
    dialect: Dialect,
    language: Language,
    environment: Environment,
}

impl std::fmt::Debug for Renderer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Renderer")
            .field("dialect", &self.dialect)
            .field("language", &self.language)
            .finish_non_exhaustive()
    }
}

/// What can be templated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Title,
    Text,
    Html,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Text => "text",
            Self::Html => "html",
        }
    }

    fn built_in(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Title, Language::En) => include_str!("templates/en/title.jinja"),
            (Self::Title, Language::Zh) => include_str!("templates/zh/title.jinja"),
            (Self::Text, Language::En) => include_str!("templates/en/text.jinja"),
            (Self::Text, Language::Zh) => include_str!("templates/zh/text.jinja"),
            (Self::Html, _) => include_str!("templates/page.jinja"),
        }
    }
}

impl Renderer {
    /// A renderer whose texts are in `dialect`.
    ///
    /// # Errors
    /// Each template of `config` that cannot be read.
    pub(crate) fn new(
        environment: &Environment,
        config: &TemplateConfig,
        language: Option<Language>,
        dialect: Dialect,
    ) -> Result<Self, Vec<Text>> {
        let language = language.unwrap_or(environment.language);
        let mut engine = engine();
        let mut problems = Vec::new();
        for (part, own) in [
            (Part::Title, &config.title),
            (Part::Text, &config.text),
            (Part::Html, &config.html),
        ] {
            let dialects: &[Dialect] = match part {
                Part::Title => &[Dialect::Plain],
                Part::Text => &[dialect, Dialect::Plain],
                Part::Html => &[Dialect::Html],
            };
            for dialect in dialects {
                let built_in = part.built_in(language);
                let name = format!("built-in/{}.{}", part.name(), dialect.name());
                if let Err(error) = engine.add_template_owned(name, built_in) {
                    problems.push(Text::plain(error));
                }
                let Some(own) = own else { continue };
                let name = format!("own/{}.{}", part.name(), dialect.name());
                if let Err(error) = engine.add_template_owned(name, own.clone()) {
                    problems.push(text!(
                        "the template `{part}` cannot be read: {error}",
                        part = part.name(),
                        error = one_line(&error.to_string())
                    ));
                    break;
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            engine,
            dialect,
            language,
            environment: environment.clone(),
        })
    }

    /// What to say about `notification`.
    pub(crate) fn message<'a>(&'a self, notification: &'a Notification) -> Message<'a> {
        self.message_with(notification, true)
    }

    /// The same without links that hold a signature, for where everybody reads.
    pub(crate) fn message_without_links<'a>(&'a self, notification: &'a Notification) -> Message<'a> {
        self.message_with(notification, false)
    }

    fn message_with<'a>(&'a self, notification: &'a Notification, has_links: bool) -> Message<'a> {
        let link = |to: &Option<super::LinkTo>| {
            to.as_ref()
                .filter(|_| has_links)
                .and_then(|link| link(notification))
                .map(|url| url.to_string())
        };
        let needs_acknowledging = notification.event == Event::Firing;
        Message {
            renderer: self,
            notification,
            common_labels: notification.common_labels(),
            common_annotations: notification.common_annotations(),
            acknowledge: link(&self.environment.acknowledge).filter(|_| needs_acknowledging),
            silence: link(&self.environment.silence).filter(|_| notification.event != Event::Resolved),
        }
    }

    fn time(&self, at: Timestamp) -> String {
        let zoned = at.to_zoned(self.environment.time_zone.clone());
        zoned.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
    }
}

fn engine() -> minijinja::Environment<'static> {
    let mut engine = minijinja::Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Chainable);
    engine.set_fuel(Some(FUEL));
    engine.set_auto_escape_callback(|name| {
        let dialect = name.rsplit('.').next().map_or(Dialect::Plain, Dialect::named);
        AutoEscape::Custom(dialect.name().into())
    });
    engine.set_formatter(|out, state, value| {
        if value.is_undefined() || value.is_none() {
            return Ok(());
        }
        let dialect = dialect_of(state);
        let shown = value.to_string();
        if value.is_safe() {
            out.write_str(&shown)
        } else {
            out.write_str(&dialect.escape(&shown))
        }
        .map_err(Error::from)
    });
    engine.add_filter("bold", |state: &State, value: &Value| {
        Value::from_safe_string(dialect_of(state).bold(&value.to_string()))
    });
    engine.add_filter("code", |state: &State, value: &Value| {
        Value::from_safe_string(dialect_of(state).code(&value.to_string()))
    });
    engine.add_filter("link", |state: &State, url: &Value, label: &Value| {
        Value::from_safe_string(dialect_of(state).link(&url.to_string(), &label.to_string()))
    });
    engine
}

fn dialect_of(state: &State) -> Dialect {
    match state.auto_escape() {
        AutoEscape::Custom(name) => Dialect::named(name),
        _ => Dialect::Plain,
    }
}

/// What to say about one notification.
pub(crate) struct Message<'a> {
    renderer: &'a Renderer,
    notification: &'a Notification,
    common_labels: Labels,
    common_annotations: Labels,
    /// The link that acknowledges. Whoever has it can use it.
    pub(crate) acknowledge: Option<String>,
    /// The link that silences.
    pub(crate) silence: Option<String>,
}

impl Message<'_> {
    /// The title: one line without markup.
    pub(crate) fn title(&self, limit: Limit) -> String {
        let own = self.attempt(Part::Title, Dialect::Plain).ok().flatten();
        let title = own.unwrap_or_else(|| {
            self.built_in(Part::Title, Dialect::Plain, 0, CLIPS[1])
                .unwrap_or_default()
        });
        let title = one_line(&title);
        let title = if title.is_empty() {
            self.name().to_owned()
        } else {
            title
        };
        limit.cut(&title, Dialect::Plain)
    }

    /// The text in the renderer's own dialect.
    pub(crate) fn text(&self, limit: Limit) -> String {
        self.text_in(self.renderer.dialect, limit)
    }

    /// The title in bold, then the text, in the renderer's own dialect: for receivers that have no place for a title.
    pub(crate) fn titled_text(&self, limit: Limit) -> String {
        let dialect = self.renderer.dialect;
        let title =
            dialect.with_line_breaks(format!("{}\n", dialect.bold(&self.title(Limit::Characters(300)))));
        let text = self.text(limit.less(&title));
        title + &text
    }

    /// `text` in the language of the message.
    pub(crate) fn say(&self, english: &'static str, chinese: &'static str) -> &'static str {
        match self.renderer.language {
            Language::En => english,
            Language::Zh => chinese,
        }
    }

    /// The text without markup.
    pub(crate) fn plain_text(&self, limit: Limit) -> String {
        self.text_in(Dialect::Plain, limit)
    }

    fn text_in(&self, dialect: Dialect, limit: Limit) -> String {
        let title = self.attempt(Part::Title, Dialect::Plain).err();
        let (has_own, broken) = match self.attempt(Part::Text, dialect) {
            Err(error) => (false, Some((Part::Text, error))),
            Ok(own) => (own.is_some(), title.map(|error| (Part::Title, error))),
        };
        let note = broken.map_or_else(String::new, |(part, error)| {
            dialect.with_line_breaks(format!("\n{}", dialect.escape(&self.note(part, &error))))
        });
        let note = if limit.admits(&note) { note } else { String::new() };
        self.fitted(has_own, dialect, limit.less(&note)) + &note
    }

    /// The page of a mail.
    pub(crate) fn html(&self, limit: Limit) -> String {
        let too_long = || Error::new(ErrorKind::InvalidOperation, "its page is too long");
        let broken = match self.attempt(Part::Html, Dialect::Html) {
            Ok(Some(page)) if limit.admits(&page) => return page,
            Ok(Some(_)) => Some(too_long()),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let mut text = self.text_in(Dialect::Html, limit);
        if let Some(error) = broken {
            text.push('\n');
            text.push_str(&Dialect::Html.escape(&self.note(Part::Html, &error)));
        }
        let mut context = self.context(0, CLIPS[2]);
        context.insert("title", Value::from(self.title(Limit::Characters(300))));
        context.insert("text", Value::from_safe_string(text));
        self.render("built-in/html.html", context).unwrap_or_default()
    }

    /// What is wrong with a template, told in the message itself.
    fn note(&self, part: Part, error: &Error) -> String {
        let (part, error) = (part.name(), one_line(&error.to_string()));
        let note = match self.renderer.language {
            Language::En => {
                format!("(The template `{part}` is broken, so the built-in one was used: {error})")
            }
            Language::Zh => format!("（模板 `{part}` 有误，已改用内置模板：{error}）"),
        };
        Limit::Characters(400).cut(&note, Dialect::Plain)
    }

    /// The receiver's own template rendered in full; `None` where it has none.
    ///
    /// One that renders to nothing counts as broken: no receiver takes an empty message.
    fn attempt(&self, part: Part, dialect: Dialect) -> Result<Option<String>, Error> {
        let name = format!("own/{}.{}", part.name(), dialect.name());
        if self.renderer.engine.get_template(&name).is_err() {
            return Ok(None);
        }
        let rendered = self.own(part, dialect, SHOWN, CLIPS[0]).and_then(|text| {
            if text.is_empty() {
                return Err(Error::new(ErrorKind::InvalidOperation, "it is empty"));
            }
            Ok(Some(text))
        });
        if let Err(error) = &rendered {
            tracing::warn!(
                integration = %self.notification.integration,
                template = part.name(),
                error = %one_line(&error.to_string()),
                "a template is broken; the built-in one is used"
            );
        }
        rendered
    }

    /// The text with as many alerts, and as much of each, as fits.
    fn fitted(&self, has_own: bool, dialect: Dialect, limit: Limit) -> String {
        let render = |shown: usize, clip: usize, dialect: Dialect| {
            if has_own {
                self.own(Part::Text, dialect, shown, clip)
            } else {
                self.built_in(Part::Text, dialect, shown, clip)
            }
        };
        let total = self.notification.alerts.len();
        let mut shown = total.min(SHOWN);
        let mut attempts = vec![(shown, CLIPS[0]), (shown, CLIPS[1])];
        while shown > 1 {
            shown /= 2;
            attempts.push((shown, CLIPS[1]));
        }
        attempts.extend([(shown, CLIPS[2]), (0, CLIPS[2])]);
        for (shown, clip) in attempts {
            match render(shown, clip, dialect) {
                Ok(text) if limit.admits(&text) => return text,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        // Even one alert is too much: the text without markup, cut where the room ends.
        let plain = render(1, CLIPS[1], Dialect::Plain)
            .or_else(|_| self.built_in(Part::Text, Dialect::Plain, 1, CLIPS[1]))
            .unwrap_or_else(|_| self.name().to_owned());
        limit.cut(plain.trim(), dialect)
    }

    fn own(&self, part: Part, dialect: Dialect, shown: usize, clip: usize) -> Result<String, Error> {
        let name = format!("own/{}.{}", part.name(), dialect.name());
        let text = self.render(&name, self.context(shown, clip))?;
        Ok(dialect.with_line_breaks(text.trim().to_owned()))
    }

    fn built_in(&self, part: Part, dialect: Dialect, shown: usize, clip: usize) -> Result<String, Error> {
        let name = format!("built-in/{}.{}", part.name(), dialect.name());
        let text = self.render(&name, self.context(shown, clip))?;
        Ok(dialect.with_line_breaks(text.trim().to_owned()))
    }

    fn render(&self, name: &str, context: BTreeMap<&'static str, Value>) -> Result<String, Error> {
        self.renderer
            .engine
            .get_template(name)?
            .render(Value::from(context))
    }

    /// What the group is called: the alert's name where all share one, else what it is grouped by.
    fn name(&self) -> &str {
        let labels = [&self.notification.group_labels, &self.common_labels];
        labels
            .into_iter()
            .find_map(|labels| labels.get("alertname"))
            .or_else(|| {
                self.notification
                    .group_labels
                    .iter()
                    .map(|(_, value)| value)
                    .next()
            })
            .or_else(|| self.notification.alerts.first().map(Alert::name))
            .filter(|name| !name.is_empty())
            .unwrap_or("Alert")
    }

    /// The summary that all alerts share, or that of the only one.
    pub(crate) fn summary(&self) -> Option<&str> {
        self.common_annotations.get("summary")
    }

    /// Where it is written what to do.
    pub(crate) fn runbook(&self) -> Option<&str> {
        ["runbook_url", "runbook"]
            .into_iter()
            .find_map(|name| self.common_annotations.get(name))
    }

    fn owners(&self) -> Option<&str> {
        ["owners", "owner", "role", "team"].into_iter().find_map(|name| {
            self.common_annotations
                .get(name)
                .or_else(|| self.common_labels.get(name))
        })
    }

    /// What templates see, with `shown` alerts and `clip` characters of each value.
    fn context(&self, shown: usize, clip: usize) -> BTreeMap<&'static str, Value> {
        let notification = self.notification;
        let now = notification.created_at;
        let shown_alerts = &notification.alerts[..shown.min(notification.alerts.len())];
        let all: Vec<Value> = shown_alerts.iter().map(|alert| self.alert(alert, clip)).collect();
        // The lists share their entries.
        let those = |is_resolved: bool| {
            let chosen = shown_alerts
                .iter()
                .zip(&all)
                .filter(|(alert, _)| alert.is_resolved_at(now) == is_resolved);
            Value::from(chosen.map(|(_, value)| value.clone()).collect::<Vec<_>>())
        };
        let optional =
            |text: Option<&str>| text.map_or(Value::UNDEFINED, |text| Value::from(clipped(text, clip)));
        let external_url = self.renderer.environment.external_url.as_ref();
        BTreeMap::from([
            ("event", Value::from(event_name(notification.event))),
            ("severity", Value::from(notification.severity.name())),
            (
                "color",
                Value::from(color(notification.severity, notification.event)),
            ),
            ("language", Value::from(language_tag(self.renderer.language))),
            ("receiver", Value::from(&*notification.receiver)),
            (
                "group_key",
                Value::from(clipped(notification.group.as_str(), clip)),
            ),
            ("group_labels", labels(&notification.group_labels, clip)),
            ("common_labels", labels(&self.common_labels, clip)),
            ("common_annotations", labels(&self.common_annotations, clip)),
            ("name", Value::from(clipped(self.name(), clip))),
            ("summary", optional(self.summary())),
            ("owners", optional(self.owners())),
            ("runbook_url", optional(self.runbook())),
            (
                "acknowledge_url",
                self.acknowledge.clone().map_or(Value::UNDEFINED, Value::from),
            ),
            (
                "silence_url",
                self.silence.clone().map_or(Value::UNDEFINED, Value::from),
            ),
            (
                "external_url",
                external_url.map_or(Value::UNDEFINED, |url| Value::from(url.as_str())),
            ),
            (
                "incident",
                notification
                    .incident
                    .map_or(Value::UNDEFINED, |id| Value::from(id.0)),
            ),
            ("firing_count", Value::from(notification.firing().count())),
            ("resolved_count", Value::from(notification.resolved().count())),
            (
                "hidden_count",
                Value::from(notification.alerts.len().saturating_sub(shown)),
            ),
            ("firing", those(false)),
            ("resolved", those(true)),
            ("alerts", Value::from(all.clone())),
            ("reason", reason(&notification.reason, clip)),
            (
                "late",
                notification
                    .late
                    .as_ref()
                    .map_or(Value::UNDEFINED, |late| self.lateness(late, clip)),
            ),
        ])
    }

    fn alert(&self, alert: &Alert, clip: usize) -> Value {
        let annotation = |name: &str| {
            alert
                .annotations
                .get(name)
                .map_or(Value::UNDEFINED, |text| Value::from(clipped(text, clip)))
        };
        Value::from(BTreeMap::from([
            ("name", Value::from(clipped(alert.name(), clip))),
            (
                "is_resolved",
                Value::from(alert.is_resolved_at(self.notification.created_at)),
            ),
            ("labels", labels(&alert.labels, clip)),
            ("labels_text", Value::from(labels_text(&alert.labels, clip))),
            ("annotations", labels(&alert.annotations, clip)),
            ("summary", annotation("summary")),
            ("description", annotation("description")),
            ("runbook_url", annotation("runbook_url")),
            ("starts_at", Value::from(self.renderer.time(alert.starts_at))),
            ("ends_at", Value::from(self.renderer.time(alert.ends_at))),
            ("generator_url", Value::from(clipped(&alert.generator_url, clip))),
            ("fingerprint", Value::from(alert.fingerprint().to_string())),
        ]))
    }

    /// When the group fired and was over, for a message that comes late.
    fn lateness(&self, late: &Lateness, clip: usize) -> Value {
        let notification = self.notification;
        let fired = notification.alerts.iter().map(|alert| alert.starts_at).min();
        let resolved = (notification.event == Event::Resolved)
            .then(|| notification.alerts.iter().map(|alert| alert.ends_at).max())
            .flatten();
        let zone = &self.renderer.environment.time_zone;
        let time = |at: Option<Timestamp>| {
            at.map_or(Value::UNDEFINED, |at| {
                Value::from(short_time(at, notification.created_at, zone))
            })
        };
        Value::from(BTreeMap::from([
            ("since", time(Some(late.since))),
            ("fired", time(fired)),
            ("resolved", time(resolved)),
            ("because", Value::from(clipped(&late.because, clip))),
            ("merged", Value::from(late.merged)),
        ]))
    }
}

fn language_tag(language: Language) -> &'static str {
    match language {
        Language::En => "en",
        Language::Zh => "zh-CN",
    }
}

/// What the event is called in templates and payloads.
pub(crate) fn event_name(event: Event) -> &'static str {
    match event {
        Event::Firing => "firing",
        Event::Acknowledged => "acknowledged",
        Event::Resolved => "resolved",
    }
}

/// The colour of a severity where colours are hexadecimal: Slack's own for the plan's words (M6), and green for what is over.
pub(crate) fn color(severity: Severity, event: Event) -> &'static str {
    match (event, severity) {
        (Event::Resolved, _) | (_, Severity::P2) => "#2EB886",
        (_, Severity::P0) => "#A30200",
        (_, Severity::P1) => "#DAA038",
        (_, Severity::P3) => "#439FE0",
    }
}

/// `10:02` on the day of `now`, with the date on another.
fn short_time(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let (at, now) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let format = if at.date() == now.date() {
        "%H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    at.strftime(format).to_string()
}

fn clipped(text: &str, clip: usize) -> String {
    match text.char_indices().nth(clip) {
        Some((end, _)) => format!("{}{ELLIPSIS}", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// `text` in one line: whatever breaks lines or steers a terminal becomes a space.
pub(crate) fn one_line(text: &str) -> String {
    let spaced: String = text
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn labels(labels: &Labels, clip: usize) -> Value {
    let pairs = labels
        .iter()
        .map(|(name, value)| (name.to_owned(), Value::from(clipped(value, clip))));
    Value::from(pairs.collect::<BTreeMap<String, Value>>())
}

/// `instance=node-1 job=validator`; the name of the alert is told elsewhere.
fn labels_text(labels: &Labels, clip: usize) -> String {
    let pairs = labels
        .iter()
        .filter(|(name, _)| *name != "alertname")
        .map(|(name, value)| format!("{name}={}", clipped(value, clip)));
    clipped(&pairs.collect::<Vec<_>>().join(" "), clip)
}

fn reason(reason: &Reason, clip: usize) -> Value {
    let mut fields = BTreeMap::new();
    let mut set = |name: &'static str, value: Value| fields.insert(name, value);
    let kind = match reason {
        Reason::New => "new",
        Reason::MoreFiring => "more_firing",
        Reason::SomeResolved => "some_resolved",
        Reason::AllResolved => "all_resolved",
        Reason::Repeated => "repeated",
        Reason::Escalation { policy, step, round } => {
            set("policy", Value::from(policy));
            set("step", Value::from(*step));
            set("round", Value::from(*round));
            "escalation"
        }
        Reason::Acknowledged { by } => {
            set("by", Value::from(clipped(by, clip)));
            "acknowledged"
        }
        Reason::Fallback { failed, because } => {
            set("failed", Value::from(failed.as_str()));
            set("because", Value::from(clipped(because, clip)));
            "fallback"
        }
        Reason::Test => "test",
    };
    set("kind", Value::from(kind));
    Value::from(fields)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::ToSpan;

    use super::*;
    use crate::notification::NotificationId;
    use crate::secret::NoSecrets;

    const FIRED: &str = "2026-01-01T10:02:00Z";

    fn notification() -> Notification {
        let labels = Labels::new([
            ("alertname", "ChainHalted"),
            ("instance", "v-1"),
            ("severity", "P0"),
        ]);
        let annotations = Labels::new([
            ("summary", "no blocks <since> 8 & minutes"),
            ("runbook_url", "https://runbooks.example.org/chain"),
            ("owner", "Blockchain"),
        ]);
        let alert = Alert::firing(labels.clone(), FIRED.parse().unwrap()).with_annotations(annotations);
        Notification {
            id: NotificationId(uuid::Uuid::nil()),
            receiver: "ops".into(),
            integration: "ops/slack/0".into(),
            group: "{}:{}".into(),
            group_labels: labels.filtered(|name| name == "alertname"),
            event: Event::Firing,
            reason: Reason::New,
            severity: Severity::P0,
            alerts: vec![alert],
            incident: None,
            created_at: FIRED.parse().unwrap(),
            late: None,
        }
    }

    fn environment() -> Environment {
        Environment::new(Arc::new(NoSecrets))
            .with_acknowledge(Arc::new(|_| "https://alpha/ack?s=1".parse().ok()))
    }

    fn renderer(dialect: Dialect, language: Language, templates: &TemplateConfig) -> Renderer {
        Renderer::new(&environment(), templates, Some(language), dialect).unwrap()
    }

    fn own(text: &str) -> TemplateConfig {
        TemplateConfig {
            text: Some(text.to_owned()),
            ..TemplateConfig::default()
        }
    }

    const PLENTY: Limit = Limit::Bytes(100_000);

    #[test]
    fn a_late_message_says_what_happened_meanwhile_and_why_it_is_late() {
        let mut notification = notification();
        let end = FIRED.parse::<Timestamp>().unwrap() + 7.minutes();
        notification.alerts[0].ends_at = end;
        (notification.event, notification.created_at) = (Event::Resolved, end);
        notification.late = Some(Lateness {
            since: FIRED.parse().unwrap(),
            because: "HTTP 500".to_owned(),
            merged: 1,
        });
        let told = |language| {
            let renderer = renderer(Dialect::Plain, language, &TemplateConfig::default());
            let message = renderer.message(&notification);
            (message.title(PLENTY), message.text(PLENTY))
        };
        let (title, text) = told(Language::En);
        assert_eq!(
            title,
            "[P0 RESOLVED, LATE] ChainHalted: no blocks <since> 8 & minutes"
        );
        assert!(
            text.starts_with("Late: fired 10:02, resolved 10:09, delivered late because HTTP 500.\n"),
            "{text}"
        );
        assert!(!text.contains("ack?"), "what is over needs no acknowledgement");
        let (title, text) = told(Language::Zh);
        assert_eq!(
            title,
            "[P0 已恢复，迟到] ChainHalted：no blocks <since> 8 & minutes"
        );
        assert!(
            text.starts_with("迟到：10:02 触发，10:09 恢复，因 HTTP 500 延迟送达。\n"),
            "{text}"
        );
    }

    #[test]
    fn a_message_names_runbook_owner_and_link() {
        let renderer = renderer(Dialect::Slack, Language::En, &TemplateConfig::default());
        let notification = notification();
        let text = renderer.message(&notification).text(PLENTY);
        assert!(
            text.contains("<https://runbooks.example.org/chain|Runbook>"),
            "{text}"
        );
        assert!(text.contains("*Owner*: Blockchain"), "{text}");
        assert!(text.contains("<https://alpha/ack?s=1|Acknowledge>"), "{text}");
        let text = renderer.message_without_links(&notification).text(PLENTY);
        assert!(!text.contains("ack?"), "{text}");
    }

    #[test]
    fn values_are_escaped_and_the_templates_own_markup_is_not() {
        let templates = own("<b>{{ summary }}</b> {{ name|bold }} {{ 'https://x'|link('<x>') }}");
        let renderer = renderer(Dialect::Html, Language::En, &templates);
        assert_eq!(
            renderer.message(&notification()).text(PLENTY),
            r#"<b>no blocks &lt;since&gt; 8 &amp; minutes</b> <b>ChainHalted</b> <a href="https://x">&lt;x&gt;</a>"#
        );
    }

    #[test]
    fn a_template_that_cannot_be_read_is_a_problem_of_the_configuration() {
        let problems = Renderer::new(&environment(), &own("{% if %}"), None, Dialect::Slack).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0]
                .to_string()
                .starts_with("the template `text` cannot be read: ")
        );
    }

    #[test]
    fn a_broken_template_falls_back_and_says_so() {
        let forever = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        for broken in ["{{ nothing() }}", "{{ 1 / 'x' }}", "  \n ", forever] {
            for (language, note) in [
                (Language::En, "(The template `text` is broken"),
                (Language::Zh, "（模板 `text` 有误"),
            ] {
                let renderer = renderer(Dialect::Plain, language, &own(broken));
                let text = renderer.message(&notification()).text(PLENTY);
                assert!(text.contains("instance=v-1"), "the alert is told: {text}");
                assert!(text.contains(note), "{text}");
            }
        }
        let templates = TemplateConfig {
            title: Some("{{ nothing() }}".to_owned()),
            html: Some("{{ nothing() }}".to_owned()),
            ..TemplateConfig::default()
        };
        let renderer = renderer(Dialect::Html, Language::En, &templates);
        let notification = notification();
        let message = renderer.message(&notification);
        assert!(message.title(PLENTY).starts_with("[P0 FIRING] ChainHalted"));
        assert!(message.text(PLENTY).contains("(The template `title` is broken"));
        assert!(message.html(PLENTY).contains("(The template `html` is broken"));
    }

    #[test]
    fn what_has_no_room_is_counted_and_cut_visibly() {
        let mut notification = notification();
        let alert = notification.alerts[0].clone();
        notification.alerts = vec![alert; 10_000];
        for dialect in Dialect::ALL {
            let renderer = renderer(dialect, Language::En, &TemplateConfig::default());
            let message = renderer.message(&notification);
            assert!(
                message.text(Limit::Bytes(20_000)).contains("… and 9975 more."),
                "{dialect:?}"
            );
            for size in [1, 2, 3, 4, 10, 50, 100, 333, 1000, 4096] {
                let text = message.text(Limit::Bytes(size));
                assert!(text.len() <= size, "{dialect:?} {size}: {text}");
                assert!(text.contains('…') || size < 3, "{dialect:?} {size}: {text}");
            }
        }
    }

    #[test]
    fn a_long_template_of_ones_own_is_cut_outside_of_its_markup() {
        let templates = own(&"{{ name|bold }} <b>区块链</b> & ".repeat(100));
        let renderer = renderer(Dialect::Telegram, Language::En, &templates);
        let text = renderer.message(&notification()).text(Limit::Characters(200));
        assert!(Limit::Characters(200).admits(&text));
        assert!(text.ends_with('…'));
        assert_eq!(
            text.matches('<').count(),
            0,
            "markup that may be cut is escaped: {text}"
        );
    }

    #[test]
    fn a_title_is_one_line_without_control_characters() {
        let mut notification = notification();
        notification.alerts[0].annotations = Labels::new([("summary", "a\r\nBcc: x@y\u{1b}[31m")]);
        let renderer = renderer(Dialect::Plain, Language::En, &TemplateConfig::default());
        let title = renderer.message(&notification).title(PLENTY);
        assert_eq!(title, "[P0 FIRING] ChainHalted: a Bcc: x@y [31m");
    }

    #[test]
    fn each_reason_is_told_in_both_languages() {
        let reasons = [
            (Reason::Repeated, "Nothing changed since", "没有变化"),
            (
                Reason::Escalation {
                    policy: "p0".to_owned(),
                    step: 2,
                    round: 3,
                },
                "Nobody has acknowledged it: step 2 of p0, round 3.",
                "尚无人认领：p0 第 2 步，第 3 轮。",
            ),
            (
                Reason::Acknowledged { by: "Li".to_owned() },
                "Li takes care of it.",
                "Li 已认领。",
            ),
            (
                Reason::Fallback {
                    failed: "ops/slack/0".into(),
                    because: "HTTP 410".to_owned(),
                },
                "ops/slack/0 could not be told: HTTP 410.",
                "无法通知 ops/slack/0：HTTP 410。",
            ),
            (Reason::Test, "This is a test.", "这是一次测试。"),
        ];
        for (reason, english, chinese) in reasons {
            let mut notification = notification();
            notification.reason = reason;
            for (language, expected) in [(Language::En, english), (Language::Zh, chinese)] {
                let renderer = renderer(Dialect::Plain, language, &TemplateConfig::default());
                let text = renderer.message(&notification).text(PLENTY);
                assert!(text.lines().next().unwrap().contains(expected), "{text}");
            }
        }
    }
}
