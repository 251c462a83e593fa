//! What an incident leaves behind: its record, with the times that count, for the knowledge base (M26).

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::incident::{Acknowledgement, Happening, Incident, IncidentId, TimelineEntry};
use crate::label::Labels;
use crate::markdown::{Escaped, Page};
use crate::severity::Severity;
use crate::text;
use crate::text::{Text, Translate};

/// The record of an incident, as data: JSON keys carry units.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PostMortem {
    /// Its number.
    pub id: IncidentId,
    /// What it was about.
    pub title: String,
    /// The worst it was.
    pub severity: Severity,
    /// The labels of its group.
    pub labels: Labels,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// By when somebody had to acknowledge it (M5).
    pub respond_by: Timestamp,
    /// Who took it first, and when.
    pub acknowledged: Option<Acknowledgement>,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// From the opening to the first acknowledgement.
    pub time_to_acknowledge_seconds: Option<i64>,
    /// From the opening to the end.
    pub time_to_resolve_seconds: Option<i64>,
    /// Whether somebody acknowledged it in time; unknown while nobody has and there is time left.
    pub acknowledged_in_time: Option<bool>,
    /// How often somebody was paged.
    pub pages: usize,
    /// What was learnt: notes that begin with `lesson:` or `教训：`.
    pub lessons: Vec<String>,
    /// Everything that happened, the oldest first.
    pub timeline: Vec<TimelineEntry>,
}

/// How a note says that it holds a lesson.
const LESSON_MARKS: [&str; 4] = ["lesson:", "lesson：", "教训:", "教训："];

impl PostMortem {
    /// The record of `incident` as it stands at `now`.
    pub fn of(incident: &Incident, now: Timestamp) -> Self {
        let taken = incident.timeline.iter().find_map(|entry| match &entry.what {
            Happening::Acknowledged { by } => Some(Acknowledgement {
                at: entry.at,
                by: by.clone(),
            }),
            _ => None,
        });
        let acknowledged = taken.or_else(|| incident.acknowledged.clone());
        let since_opening = |at: Timestamp| at.duration_since(incident.opened_at).as_secs();
        let acknowledged_in_time = match &acknowledged {
            Some(taken) => Some(taken.at <= incident.respond_by),
            None => (now > incident.respond_by).then_some(false),
        };
        let notes = incident.timeline.iter().filter_map(|entry| match &entry.what {
            Happening::Note { text, .. } => Some(text.trim()),
            _ => None,
        });
        let lessons = notes.filter_map(|note| {
            let mark = LESSON_MARKS.iter().find(|mark| {
                note.get(..mark.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(mark))
            })?;
            Some(note[mark.len()..].trim().to_owned())
        });
        let is_page = |entry: &&TimelineEntry| matches!(entry.what, Happening::Paged { .. });
        Self {
            id: incident.id,
            title: incident.title.clone(),
            severity: incident.severity,
            labels: incident.group_labels.clone(),
            opened_at: incident.opened_at,
            respond_by: incident.respond_by,
            time_to_acknowledge_seconds: acknowledged.as_ref().map(|taken| since_opening(taken.at)),
            acknowledged,
            resolved_at: incident.resolved_at,
            time_to_resolve_seconds: incident.resolved_at.map(since_opening),
            acknowledged_in_time,
            pages: incident.timeline.iter().filter(is_page).count(),
            lessons: lessons.collect(),
            timeline: incident.timeline.clone(),
        }
    }

    /// The record as Markdown, with places for what only people know: cause, effect and what follows.
    pub fn to_markdown(&self, translations: &dyn Translate, zone: &TimeZone) -> String {
        let mut page = Page::new(translations, zone);
        page.heading(
            1,
            &text!(
                "Incident #{number}: {title}",
                number = self.id.to_string(),
                title = Escaped(&self.title).to_string()
            ),
        );
        self.add_summary(&mut page, zone);
        page.heading(2, &text!("Effect"));
        page.blank(&text!("Who noticed what, and for how long?"));
        page.heading(2, &text!("Cause"));
        page.blank(&text!("What led to it, and why was it not prevented?"));
        page.heading(2, &text!("Timeline"));
        let rows: Vec<Vec<Text>> = self
            .timeline
            .iter()
            .map(|entry| vec![Text::plain(page.time(entry.at)), entry.what.to_text()])
            .collect();
        page.table(&[text!("Time"), text!("What happened")], rows);
        page.heading(2, &text!("Lessons"));
        if self.lessons.is_empty() {
            page.blank(&text!("What went well, what did not, where were we lucky?"));
        } else {
            self.add_lessons(&mut page);
        }
        page.heading(2, &text!("What follows"));
        page.blank(&text!("Each with somebody who does it, and by when."));
        page.finish()
    }

    /// Its lessons alone as Markdown; `None` where it has none.
    pub fn lessons_to_markdown(&self, translations: &dyn Translate, zone: &TimeZone) -> Option<String> {
        if self.lessons.is_empty() {
            return None;
        }
        let mut page = Page::new(translations, zone);
        page.heading(
            1,
            &text!(
                "Lessons of incident #{number}: {title}",
                number = self.id.to_string(),
                title = Escaped(&self.title).to_string()
            ),
        );
        self.add_lessons(&mut page);
        Some(page.finish())
    }

    fn add_lessons(&self, page: &mut Page<'_>) {
        page.list(self.lessons.iter().map(|lesson| Text::plain(Escaped(lesson))));
    }

    fn add_summary(&self, page: &mut Page<'_>, zone: &TimeZone) {
        let no = || text!("no");
        let duration = |seconds: Option<i64>| seconds.map_or_else(no, |seconds| Text::plain(clock(seconds)));
        let acknowledged = match &self.acknowledged {
            Some(taken) => text!(
                "{time} by {person}",
                time = page.time(taken.at),
                person = Escaped(&taken.by).to_string()
            ),
            None => no(),
        };
        let in_time = match self.acknowledged_in_time {
            Some(true) => text!("yes"),
            Some(false) => no(),
            None => text!("not decided yet"),
        };
        let rows = vec![
            vec![text!("Severity"), Text::plain(self.severity)],
            vec![text!("Labels"), Text::plain(Escaped(&self.labels.to_string()))],
            vec![text!("Opened"), Text::plain(page.time(self.opened_at))],
            vec![text!("Response due"), Text::plain(page.time(self.respond_by))],
            vec![text!("Acknowledged"), acknowledged],
            vec![text!("In time"), in_time],
            vec![
                text!("Resolved"),
                self.resolved_at.map_or_else(no, |at| Text::plain(page.time(at))),
            ],
            vec![
                text!("Time to acknowledge"),
                duration(self.time_to_acknowledge_seconds),
            ],
            vec![text!("Time to resolve"), duration(self.time_to_resolve_seconds)],
            vec![text!("Pages"), Text::plain(self.pages)],
            vec![text!("Time zone"), Text::plain(zone.iana_name().unwrap_or("UTC"))],
        ];
        page.table(&[text!("Summary"), Text::plain("")], rows);
    }
}

/// A duration as hours, minutes and seconds: `1:05:09`.
fn clock(seconds: i64) -> String {
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

impl Happening {
    /// What happened, as a sentence; what comes from outside is escaped for Markdown.
    pub fn to_text(&self) -> Text {
        let shown = |text: &str| Escaped(text).to_string();
        let examples = |examples: &[Labels]| {
            let examples: Vec<String> = examples.iter().map(|labels| shown(&labels.to_string())).collect();
            examples.join(" ")
        };
        match self {
            Self::Opened => text!("opened"),
            Self::AlertsFired {
                count,
                examples: some,
            } => text!(
                "alerts fired: {count}, such as {examples}",
                count = *count,
                examples = examples(some)
            ),
            Self::AlertsResolved {
                count,
                examples: some,
            } => text!(
                "alerts were over: {count}, such as {examples}",
                count = *count,
                examples = examples(some)
            ),
            Self::SeverityRaised { to } => text!("now {severity}", severity = to.to_string()),
            Self::Paged {
                whom,
                step,
                round,
                integration,
                ..
            } => text!(
                "paged {whom} by {integration} (step {step}, round {round})",
                whom = shown(whom),
                integration = shown(integration.as_str()),
                step = *step,
                round = *round
            ),
            Self::StepSkipped { step, because } => text!(
                "step {step} was skipped: {reason}",
                step = *step,
                reason = shown(because)
            ),
            Self::ResponseOverdue => text!("nobody acknowledged it in time"),
            Self::Acknowledged { by } => text!("acknowledged by {person}", person = shown(by)),
            Self::Unacknowledged { by } => text!("given back by {person}", person = shown(by)),
            Self::Resolved { by } => text!("resolved by {person}", person = shown(by)),
            Self::Reopened => text!("fired again"),
            Self::Note { by, text } => text!("{person}: {note}", person = shown(by), note = shown(text)),
        }
    }
}
