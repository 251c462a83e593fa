//! The knowledge base (M26): a tree of folders, and where in it the record of an incident belongs.
//!
//! Nothing is written here: paths and contents come out, and whoever has a disk writes them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Error, ErrorKind, Result};
use crate::incident::Incident;
use crate::label::Labels;
use crate::oncall::OnCall;
use crate::post_mortem::PostMortem;
use crate::text;
use crate::text::{Text, Translate};

/// A file of the knowledge base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where, relative to the root of the tree, with `/` between folders.
    pub path: String,
    /// What stands in it.
    pub content: String,
}

/// Where among the records of incidents one belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// Something broke.
    Failure,
    /// Something was slow.
    Performance,
    /// Somebody attacked, or could have.
    Security,
    /// What was learnt.
    Lessons,
}

/// The label that may say where the record of an incident belongs: `performance` or `security`.
pub const CATEGORY_LABEL: &str = "category";

impl Section {
    /// Where the record of an incident with these alerts belongs: as the label `category` says, else with the security
    /// events where the role `security` owns the component, else with the failures.
    pub fn of(alerts: &[&Labels], on_call: &OnCall) -> Self {
        let categories: Vec<&str> = alerts
            .iter()
            .filter_map(|labels| labels.get(CATEGORY_LABEL))
            .collect();
        let is_security = categories.contains(&"security")
            || alerts
                .iter()
                .any(|labels| on_call.owner(labels) == Some("security"));
        if is_security {
            Self::Security
        } else if categories.contains(&"performance") {
            Self::Performance
        } else {
            Self::Failure
        }
    }

    fn folder(self) -> Text {
        match self {
            Self::Failure => text!("failure-analysis"),
            Self::Performance => text!("performance"),
            Self::Security => text!("security-events"),
            Self::Lessons => text!("lessons"),
        }
    }
}

/// All folders of the tree, each after the one it is in, named in the language of `translations`.
pub fn folders(translations: &dyn Translate) -> Vec<String> {
    let tree = [
        (
            text!("technical-docs"),
            [
                text!("architecture"),
                text!("api"),
                text!("database-design"),
                text!("security-rules"),
            ],
        ),
        (
            text!("operations-manual"),
            [
                text!("deployment"),
                text!("monitoring-and-alerts"),
                text!("troubleshooting"),
                text!("maintenance-plan"),
            ],
        ),
        (
            text!("best-practices"),
            [
                text!("code-style"),
                text!("test-strategy"),
                text!("release-process"),
                text!("security-practices"),
            ],
        ),
        (
            incident_records(),
            [
                Section::Failure.folder(),
                Section::Performance.folder(),
                Section::Security.folder(),
                Section::Lessons.folder(),
            ],
        ),
    ];
    let mut folders = Vec::new();
    for (area, parts) in tree {
        let area = area.translate(translations);
        folders.push(area.clone());
        folders.extend(
            parts
                .iter()
                .map(|part| format!("{area}/{}", part.translate(translations))),
        );
    }
    folders
}

/// The record of an incident as files of the tree: Markdown for people, JSON for programs, and its lessons, if it has
/// any, on their own. The same incident always has the same paths, so that a later record takes the place of an earlier.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where the record is no JSON.
pub fn record(
    incident: &Incident,
    section: Section,
    now: Timestamp,
    translations: &dyn Translate,
    zone: &TimeZone,
) -> Result<Vec<Document>> {
    let post_mortem = PostMortem::of(incident, now);
    let stem = format!(
        "{}-{}-{}",
        zone.to_datetime(incident.opened_at).date(),
        incident.id,
        slug(&incident.title)
    );
    let path = |section: Section, extension: &str| {
        format!(
            "{}/{}/{}.{extension}",
            incident_records().translate(translations),
            section.folder().translate(translations),
            stem.trim_end_matches('-')
        )
    };
    let mut documents = vec![Document {
        path: path(section, "md"),
        content: post_mortem.to_markdown(translations, zone),
    }];
    let json = serde_json::to_string_pretty(&post_mortem).map_err(|error| {
        Error::new(
            ErrorKind::Corrupt,
            text!(
                "could not write incident {number} as JSON",
                number = incident.id.to_string()
            ),
        )
        .with_source(error)
    })?;
    documents.push(Document {
        path: path(section, "json"),
        content: json + "\n",
    });
    if section != Section::Lessons
        && let Some(content) = post_mortem.lessons_to_markdown(translations, zone)
    {
        documents.push(Document {
            path: path(Section::Lessons, "md"),
            content,
        });
    }
    Ok(documents)
}

fn incident_records() -> Text {
    text!("incident-records")
}

/// How many bytes of a title a file name holds; systems allow 255 for all of it.
const LONGEST_SLUG: usize = 80;

/// A title as a part of a file name: letters and digits of every script, with `-` between the words. Nothing that a path
/// or a shell could take for something else is left.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for word in title
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        let word = word.to_lowercase();
        let room = LONGEST_SLUG.saturating_sub(slug.len() + usize::from(!slug.is_empty()));
        let fits = word.floor_char_boundary(room.min(word.len()));
        if fits == 0 {
            break;
        }
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(&word[..fits]);
        if fits < word.len() {
            break;
        }
    }
    slug
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Acknowledgement, Happening, IncidentId};
    use crate::notification::NotificationId;
    use crate::severity::Severity;
    use crate::text::{Chinese, English};
    use jiff::Span;
    use uuid::Uuid;

    fn incident() -> Incident {
        let opened_at: Timestamp = "2026-03-09T17:58:00Z".parse().unwrap();
        let minute = |minutes: i64| opened_at + Span::new().minutes(minutes);
        let labels = Labels::new([("alertname", "ValidatorOffline"), ("component", "validator")]);
        let mut incident = Incident {
            id: IncidentId(42),
            group: "{}:{}".into(),
            group_labels: labels.clone(),
            title: "Validator offline: ../../etc, node_1 <script>".to_owned(),
            severity: Severity::P1,
            opened_at,
            respond_by: minute(60),
            acknowledged: None,
            resolved_at: None,
            escalation: None,
            is_overdue: false,
            alerts: Vec::new(),
            timeline: Vec::new(),
        };
        let by = || "mei".to_owned();
        let happened = [
            (0, Happening::Opened),
            (
                0,
                Happening::AlertsFired {
                    count: 3,
                    examples: vec![labels.clone()],
                },
            ),
            (
                0,
                Happening::StepSkipped {
                    step: 1,
                    because: "nobody is on duty in schedule primary".to_owned(),
                },
            ),
            (
                0,
                Happening::Paged {
                    whom: "person/mei".to_owned(),
                    step: 2,
                    round: 1,
                    integration: "person/mei/slack/0".into(),
                    notification: NotificationId(Uuid::nil()),
                },
            ),
            (1, Happening::SeverityRaised { to: Severity::P1 }),
            (60, Happening::ResponseOverdue),
            (65, Happening::Acknowledged { by: by() }),
            (70, Happening::Unacknowledged { by: by() }),
            (
                75,
                Happening::Acknowledged {
                    by: "ivan".to_owned(),
                },
            ),
            (
                80,
                Happening::Note {
                    by: by(),
                    text: "restarted | see *logs*".to_owned(),
                },
            ),
            (
                85,
                Happening::Note {
                    by: by(),
                    text: "Lesson: alert on peers, not on the process".to_owned(),
                },
            ),
            (
                90,
                Happening::AlertsResolved {
                    count: 3,
                    examples: vec![labels],
                },
            ),
            (
                90,
                Happening::Resolved {
                    by: "alerts".to_owned(),
                },
            ),
            (95, Happening::Reopened),
        ];
        for (minutes, what) in happened {
            incident.record(minute(minutes), what);
        }
        incident.acknowledged = Some(Acknowledgement {
            at: minute(75),
            by: "ivan".to_owned(),
        });
        incident.resolved_at = Some(minute(90));
        incident
    }

    fn documents(translations: &dyn Translate) -> String {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let now = "2026-03-10T00:00:00Z".parse().unwrap();
        let documents = record(&incident(), Section::Failure, now, translations, &zone).unwrap();
        let parts = documents
            .iter()
            .map(|document| format!("=== {}\n{}", document.path, document.content));
        parts.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn an_incident_leaves_its_record_and_its_lessons() {
        insta::assert_snapshot!(documents(&English));
    }

    #[test]
    fn an_incident_leaves_its_record_in_chinese() {
        insta::assert_snapshot!(documents(&Chinese::read()));
    }

    #[test]
    fn the_tree_of_the_plan() {
        let both = [folders(&English), folders(&Chinese::read())];
        assert_eq!(both[0].len(), 20);
        insta::assert_snapshot!(both.map(|folders| folders.join("\n")).join("\n\n"));
    }

    #[test]
    fn an_open_incident_has_no_times_yet() {
        let mut incident = incident();
        incident.timeline.truncate(1);
        incident.acknowledged = None;
        incident.resolved_at = None;
        let at = |text: &str| PostMortem::of(&incident, text.parse().unwrap());
        let early = at("2026-03-09T18:30:00Z");
        assert_eq!(early.acknowledged_in_time, None);
        assert_eq!(early.time_to_acknowledge_seconds, None);
        assert_eq!(early.time_to_resolve_seconds, None);
        assert_eq!(at("2026-03-09T19:00:00Z").acknowledged_in_time, Some(false));
    }

    #[test]
    fn a_title_becomes_a_name_that_no_path_and_no_shell_misreads() {
        for (title, expected) in [
            ("../../etc/passwd; rm -rf ~", "etc-passwd-rm-rf"),
            ("验证节点 离线！", "验证节点-离线"),
            ("...", ""),
            ("a\u{0}b\nc", "a-b-c"),
        ] {
            assert_eq!(slug(title), expected);
        }
        let long = slug(&"节".repeat(200));
        assert!(long.len() <= LONGEST_SLUG && !long.is_empty());
        assert!(slug(&"word ".repeat(100)).len() <= LONGEST_SLUG);
    }

    #[test]
    fn where_a_record_belongs() {
        let config = crate::oncall::OnCallConfig {
            roles: crate::oncall::RoleConfig::ready_made(&English),
            ..crate::oncall::OnCallConfig::default()
        };
        let on_call = OnCall::new(&config).unwrap();
        for (name, value, section) in [
            ("component", "firewall", Section::Security),
            ("component", "api", Section::Failure),
            ("category", "performance", Section::Performance),
            ("category", "security", Section::Security),
        ] {
            let labels = Labels::new([(name, value)]);
            assert_eq!(Section::of(&[&labels], &on_call), section, "{value}");
        }
    }
}
