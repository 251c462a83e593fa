//! Reads the configuration of Prometheus' Alertmanager, so that whoever has one can start with it.
//!
//! Routes, inhibition, time intervals and receivers become Alpha's own, with Alertmanager's defaults. What Alertmanager
//! knows and Alpha has no counterpart of is left out with a note that names the key and its line; what Alertmanager
//! does not know is refused. Its templates are in another language and are left out as well.

mod document;
mod duration;
mod receivers;
mod routing;

use std::path::Path;

use serde_saphyr::Spanned;

use crate::config::Config;
use crate::text;
use crate::text::Text;
use document::{Findings, Mapping, Node, Value};
use routing::References;

/// A configuration of Alertmanager as Alpha understands it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The configuration; its secrets are where Alertmanager's file has them.
    pub config: Config,
    /// What was left out, each with its place.
    pub notes: Vec<Text>,
}

/// Reads a configuration file of Alertmanager 0.22 or later. `path` is where it came from, for messages and for the files
/// that it names relative to its own folder; nothing but `source` is read.
///
/// # Errors
/// Everything that is wrong, with file, line and column.
pub fn read(source: &str, path: &Path) -> Result<Imported, Vec<Text>> {
    let file = path.display().to_string();
    let findings = Findings::new(&file);
    let root: Spanned<Node> = match serde_saphyr::from_str(source) {
        Ok(root) => root,
        Err(error) => {
            let message = Text::plain(reason(&error.without_snippet().to_string()));
            match error.location() {
                Some(location) => findings.problem(location, message),
                None => findings.problem_anywhere(message),
            }
            return Err(findings.into_texts().0);
        }
    };
    let config = document(&Value::root(&root, &findings), path.parent(), &findings);
    // References and places are checked only where everything was understood, lest one mistake be told twice.
    if !findings.has_problems() {
        config
            .check()
            .into_iter()
            .for_each(|problem| findings.problem_anywhere(problem));
    }
    match findings.into_texts() {
        (problems, notes) if problems.is_empty() => Ok(Imported { config, notes }),
        (problems, _) => Err(problems),
    }
}

/// What is wrong, without the place, which stands before it anyway, and without advice for whoever writes a parser.
fn reason(message: &str) -> &str {
    let end = [" at line ", ", set DuplicateKeyPolicy"]
        .iter()
        .filter_map(|tail| message.rfind(tail))
        .min();
    message[..end.unwrap_or(message.len())]
        .lines()
        .next()
        .unwrap_or_default()
}

fn document(root: &Value<'_>, folder: Option<&Path>, findings: &Findings<'_>) -> Config {
    let mut keys = root.mapping();
    let mut config = Config::default();
    let mut global = keys
        .take("global")
        .map_or_else(|| Mapping::empty(root), |global| global.mapping());
    if let Some(period) = global
        .take("resolve_timeout")
        .and_then(|period| period.parsed(duration::parse))
    {
        config.resolve_timeout = period;
    }
    let globals = receivers::Globals::read(global, folder);
    let mut references = References::default();
    match keys.take("route") {
        Some(route) => config.route = routing::route(&route, &mut references),
        None => keys.problem(text!("route is missing: it says who gets what")),
    }
    let receivers = keys.take("receivers").map(|list| list.list()).unwrap_or_default();
    config.receivers = receivers
        .iter()
        .map(|receiver| receivers::receiver(receiver, &globals))
        .collect();
    let rules = keys
        .take("inhibit_rules")
        .map(|list| list.list())
        .unwrap_or_default();
    config.inhibit_rules = rules.iter().map(routing::inhibit_rule).collect();
    // The older key has the same content.
    for key in ["time_intervals", "mute_time_intervals"] {
        let intervals = keys.take(key).map(|list| list.list()).unwrap_or_default();
        config
            .time_intervals
            .extend(intervals.iter().map(routing::time_interval));
    }
    if let Some(templates) = keys.take("templates")
        && !templates.texts().is_empty()
    {
        templates.note(text!(
            "templates are written for Alertmanager and are left out: the built-in ones are used"
        ));
    }
    keys.leave_out(&["tracing"]);
    keys.finish();
    for (name, location) in references.receivers {
        if !config.receivers.iter().any(|receiver| receiver.name == name) {
            findings.problem(location, text!("there is no receiver named {name}", name = name));
        }
    }
    for (name, location) in references.intervals {
        if !config.time_intervals.iter().any(|interval| interval.name == name) {
            findings.problem(
                location,
                text!("there is no time interval named {name}", name = name),
            );
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::notifiers::EmailTls;
    use crate::secret::SecretRef;

    fn import(source: &str) -> Result<Imported, String> {
        read(source, Path::new("/etc/am/alertmanager.yml")).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            problems.join("\n")
        })
    }

    fn secret(reference: Option<&SecretRef>) -> String {
        match reference {
            Some(SecretRef::Given(secret)) => secret.expose_secret().to_owned(),
            Some(other) => other.to_string(),
            None => "none".to_owned(),
        }
    }

    fn everything() -> Imported {
        import(include_str!("../../tests/it/alertmanager.yml")).unwrap()
    }

    #[test]
    fn routes_rules_and_times_are_alertmanagers() {
        let config = everything().config;
        assert_eq!(config.check(), []);
        let routing = serde_json::json!({
            "route": config.route,
            "inhibit_rules": config.inhibit_rules,
            "time_intervals": config.time_intervals,
            "resolve_timeout": config.resolve_timeout,
        });
        insta::assert_json_snapshot!(routing);
    }

    #[test]
    fn receivers_have_their_own_settings_or_else_the_global_ones() {
        let config = everything().config;
        let names: Vec<&str> = config
            .receivers
            .iter()
            .map(|receiver| receiver.name.as_str())
            .collect();
        assert_eq!(names, ["everybody", "pager", "chat", "nobody"]);
        let [first, second] = config.receivers[0].email.as_slice() else {
            panic!("two ways to send mail")
        };
        assert_eq!(first.to, ["ada@example.org", "\"Lovelace, B\" <b@example.org>"]);
        assert_eq!(
            (first.host.as_str(), first.port, first.tls),
            ("mail.example.org", Some(587), EmailTls::Starttls)
        );
        assert_eq!(first.from, "Alerts <alerts@example.org>");
        assert_eq!(first.reply_to.as_deref(), Some("noc@example.org"));
        assert_eq!(first.ca_file.as_deref(), Some(Path::new("/etc/am/ca.pem")));
        assert_eq!(secret(first.auth.as_ref().map(|auth| &auth.password)), "a secret");
        assert!(first.send_resolved && !second.send_resolved);
        assert_eq!(
            (second.host.as_str(), second.port, second.tls),
            ("mail2.example.org", Some(465), EmailTls::Tls)
        );
        assert_eq!(second.auth.as_ref().unwrap().username, "other");

        let pager = &config.receivers[1];
        assert_eq!(pager.pagerduty.len(), 1);
        assert_eq!(
            secret(pager.pagerduty[0].routing_key.as_ref()),
            "0123456789abcdef0123456789abcdef"
        );
        assert_eq!(
            pager.pagerduty[0].url.as_ref().unwrap().as_str(),
            "https://events.pagerduty.example/v2/enqueue"
        );
        let [token, basic] = pager.webhook.as_slice() else {
            panic!("two webhooks")
        };
        assert_eq!(
            secret(token.secret_url.as_ref()),
            "https://hooks.example/alerts?token=secret"
        );
        assert_eq!(secret(token.bearer_token.as_ref()), "file /etc/am/token");
        assert_eq!(
            (token.max_alerts, token.send_resolved, basic.send_resolved),
            (5, true, false)
        );
        assert_eq!(basic.basic_auth.as_ref().unwrap().username, "u");
        // A section of its own replaces the global one as a whole, the proxy included.
        assert!(token.proxy.is_none());

        let chat = &config.receivers[2];
        assert_eq!(
            secret(chat.slack[0].webhook_url.as_ref()),
            "https://hooks.slack.example/services/secret"
        );
        assert_eq!(chat.slack[0].channel.as_deref(), Some("#alerts"));
        assert_eq!(
            chat.slack[0].proxy.as_ref().unwrap().as_str(),
            "http://proxy.example:3128/"
        );
        assert_eq!(
            secret(chat.slack[1].webhook_url.as_ref()),
            "https://hooks.slack.example/services/other"
        );
        assert_eq!(chat.slack[1].channel, None);
        assert!(chat.slack[0].send_resolved && !chat.slack[1].send_resolved);
        assert_eq!(chat.telegram[0].chat, "-1001234");
        assert_eq!(
            secret(chat.discord[0].webhook_url.as_ref()),
            "https://discord.example/api/webhooks/secret"
        );
    }

    #[test]
    fn what_has_no_counterpart_is_named_with_its_place() {
        let notes: Vec<String> = everything().notes.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(notes.join("\n"));
    }

    #[test]
    fn all_that_is_wrong_is_named_with_its_place() {
        let source = r#"global:
  resolve_timeout: soon
  slack_api_url: ftp
  smtp_auth_password: x
  smtp_auth_password_file: y
route:
  receiver: nobody
  group_wait: 30
  continue: perhaps
  matchers: severity
  routs: []
  routes:
  - match_re: {a: '('}
    matchers: ['=b', 'c=~"["']
    mute_time_intervals: [noon]
    routes: {}
receivers:
- name: ops
  webhook_configs:
  - max_alerts: many
  email_configs:
  - to: a@example.org
    smarthost: mail
  slack_configs:
  - api_url: https://a.example
    chanel: x
time_intervals:
- name: night
  time_intervals:
  - weekdays: [someday]
    times:
    - start_time: "25:00"
    sometimes: true
surprise: 1
"#;
        insta::assert_snapshot!(import(source).unwrap_err());
    }

    #[test]
    fn syntax_and_structure_are_refused_with_their_place() {
        let refused = [
            "route: [",
            "route: {receiver: a}\nroute: {receiver: b}\n",
            "route:\n\treceiver: a\n",
            "",
            "- a",
            "route: {}\nreceivers: []",
            "route: {receiver: a, group_by: [a, a]}\nreceivers: [{name: a}, {name: a}]",
            "route: {receiver: a, continue: true, mute_time_intervals: [x]}\nreceivers: [{name: a}]\ntime_intervals: [{name: x}, {name: x}]",
        ]
        .map(|source| match import(source) {
            Ok(_) => "read".to_owned(),
            Err(problems) => problems,
        });
        insta::assert_snapshot!(refused.join("\n---\n"));
    }

    #[test]
    fn no_message_and_no_debug_shows_a_secret() {
        let imported = everything();
        let shown = format!("{imported:?}");
        for secret in [
            "a secret",
            "another secret",
            "1:secret",
            "token=secret",
            "services/secret",
            "webhooks/secret",
        ] {
            assert!(!shown.contains(secret), "{secret} is shown");
        }
        let problems =
            import("global: {slack_api_url: [hush], smtp_auth_password: {hush: hush}}").unwrap_err();
        assert!(!problems.replace(".hush", "").contains("hush"), "{problems}");
    }

    #[test]
    fn anchors_and_merges_are_followed() {
        let imported = import(
            "x: &to {receiver: ops}\nroute: {receiver: ops, routes: [{<<: *to, match: {a: b}}]}\nreceivers: [{name: ops}]\n",
        );
        assert!(imported.unwrap_err().contains("x is no key"));
        let imported = import(
            "receivers: [&ops {name: ops}]\nroute:\n  receiver: ops\n  routes:\n  - &first {receiver: ops, group_wait: 5s}\n  - <<: *first\n    match: {a: b}\n",
        )
        .unwrap();
        assert_eq!(
            imported.config.route.routes[1].group_wait,
            Some(crate::Period::from_secs(5))
        );
    }
}
