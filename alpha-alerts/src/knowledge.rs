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
