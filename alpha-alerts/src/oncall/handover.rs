//! Hand-over reports (M23): what happened on a shift, for whoever takes over.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Gap, Overrides, PersonName, Schedule};
use crate::incident::{Acknowledgement, Happening, Incident, IncidentId};
use crate::markdown::{Escaped, Page};
use crate::severity::Severity;
use crate::silence::{Silence, SilenceState};
use crate::text;
use crate::text::{Text, Translate};

/// How far ahead a report looks for planned maintenance and for gaps.
const OUTLOOK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What happened on a shift, and what the next person has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverReport {
    /// Its identity.
    pub id: Uuid,
    /// The schedule.
    pub schedule: String,
    /// The time zone its times are shown in.
    #[serde(default)]
    pub zone: String,
    /// When the shift began.
    pub starts_at: Timestamp,
    /// When it ended, or when the report was written.
    pub ends_at: Timestamp,
    /// Who was on duty.
    pub outgoing: Vec<PersonName>,
    /// Who takes over.
    pub incoming: Vec<PersonName>,
    /// Who wrote it, or had it written.
    #[serde(default)]
    pub created_by: String,
    /// What the daily check said; none where nobody ran it.
    #[serde(default)]
    pub daily_check: Option<String>,
    /// Incidents that are not over, the most severe first.
    #[serde(default)]
    pub unresolved: Vec<IncidentLine>,
    /// Incidents that were opened, taken or ended on the shift, the oldest first.
    #[serde(default)]
    pub incidents: Vec<IncidentLine>,
    /// Silences that are active when the shift ends.
    #[serde(default)]
    pub silences: Vec<SilenceLine>,
    /// Maintenance that is planned for the next seven days.
    #[serde(default)]
    pub maintenance: Vec<MaintenanceLine>,
    /// When nobody will be on duty in the next seven days.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// What else the next person has to know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Who has read it and took over.
    #[serde(default)]
    pub accepted: Option<Acknowledgement>,
}

/// An incident in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentLine {
    /// Its number.
    pub id: IncidentId,
    /// The worst it was.
    pub severity: Severity,
    /// What it is about.
    pub title: String,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Who took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
}

/// A silence in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceLine {
    /// Which.
    pub id: Uuid,
    /// What it silences.
    pub matchers: Vec<String>,
    /// When it ends.
    pub ends_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// Planned maintenance in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceLine {
    /// When it begins.
    pub starts_at: Timestamp,
    /// What it is.
    pub what: String,
}

impl HandoverReport {
    /// The report of the shift from `starts_at` until `ends_at`, of which nothing is told yet but who was on duty, who
    /// takes over, and when nobody will be.
    pub fn new(
        id: Uuid,
        schedule: &Schedule,
        (starts_at, ends_at): (Timestamp, Timestamp),
        overrides: &Overrides,
        created_by: &str,
    ) -> Self {
        let mut outgoing: Vec<PersonName> = Vec::new();
        for person in schedule
            .shifts(starts_at, ends_at, overrides)
            .into_iter()
            .flat_map(|shift| shift.people)
        {
            if !outgoing.contains(&person) {
                outgoing.push(person);
            }
        }
        let outlook = ends_at.saturating_add(OUTLOOK).unwrap_or(Timestamp::MAX);
        Self {
            id,
            schedule: schedule.name().to_owned(),
            zone: schedule.zone_name().to_owned(),
            starts_at,
            ends_at,
            outgoing,
            incoming: schedule.duty_at(ends_at, overrides).people,
            created_by: created_by.to_owned(),
            daily_check: None,
            unresolved: Vec::new(),
            incidents: Vec::new(),
            silences: Vec::new(),
            maintenance: Vec::new(),
            gaps: schedule.gaps(ends_at, outlook, overrides),
            notes: Vec::new(),
            accepted: None,
        }
    }

    /// The same with those of `incidents` that were opened, taken, given back or ended on the shift, and those that are
    /// not over.
    #[must_use]
    pub fn with_incidents<'a>(mut self, incidents: impl IntoIterator<Item = &'a Incident>) -> Self {
        let shift = self.starts_at..self.ends_at;
        for incident in incidents {
            let line = IncidentLine::of(incident);
            let moved = incident.timeline.iter().any(|entry| {
                let is_a_move = matches!(
                    entry.what,
                    Happening::Opened
                        | Happening::Acknowledged { .. }
                        | Happening::Unacknowledged { .. }
                        | Happening::Resolved { .. }
                        | Happening::Reopened
                );
                is_a_move && shift.contains(&entry.at)
            });
            if incident.resolved_at.is_none() {
                self.unresolved.push(line.clone());
            }
            if moved || shift.contains(&incident.opened_at) {
                self.incidents.push(line);
            }
        }
        self.incidents.sort_by_key(|line| (line.opened_at, line.id));
        self.unresolved
            .sort_by_key(|line| (line.severity.rank(), line.id));
        self
    }

    /// The same with those of `silences` that are active when the shift ends; those that begin within seven days are
    /// planned maintenance.
    #[must_use]
    pub fn with_silences<'a>(mut self, silences: impl IntoIterator<Item = &'a Silence>) -> Self {
        let outlook = self.ends_at.saturating_add(OUTLOOK).unwrap_or(Timestamp::MAX);
        for silence in silences {
            let Some(change) = silence.next_change(self.ends_at) else {
                continue;
            };
            let matchers: Vec<String> = silence.matchers.iter().map(ToString::to_string).collect();
            match silence.state_at(self.ends_at) {
                SilenceState::Active => self.silences.push(SilenceLine {
                    id: silence.id,
                    matchers,
                    ends_at: change,
                    created_by: silence.created_by.clone(),
                    comment: silence.comment.clone(),
                }),
                SilenceState::Pending if change <= outlook => self.maintenance.push(MaintenanceLine {
                    starts_at: change,
                    what: format!("{} ({})", silence.comment, matchers.join(", ")),
                }),
                SilenceState::Pending | SilenceState::Expired => {}
            }
        }
        self.silences.sort_by_key(|line| (line.ends_at, line.id));
        self.maintenance.sort_by_key(|line| line.starts_at);
        self
    }

    /// The same with maintenance that is planned elsewhere.
    #[must_use]
    pub fn with_maintenance(mut self, planned: impl IntoIterator<Item = MaintenanceLine>) -> Self {
        self.maintenance.extend(planned);
        self.maintenance.sort_by_key(|line| line.starts_at);
        self
    }

    /// The same with what the daily check said.
    #[must_use]
    pub fn with_daily_check(mut self, output: impl Into<String>) -> Self {
        self.daily_check = Some(output.into());
        self
    }

    /// The same with one thing more that the next person has to know.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Notes who took over; the first one counts.
    pub fn accept(&mut self, at: Timestamp, by: &str) {
        self.accepted.get_or_insert_with(|| Acknowledgement {
            at,
            by: by.to_owned(),
        });
    }

    /// The report as Markdown, in the order of M23: the daily check, what is unresolved, what is planned, what else
    /// there is; then the record of the shift.
    pub fn to_markdown(&self, translations: &dyn Translate) -> String {
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        let zone_name = zone.iana_name().unwrap_or("UTC");
        let mut page = Page::new(translations, &zone);
        let (starts_at, ends_at) = (page.time(self.starts_at), page.time(self.ends_at));
        page.heading(1, &text!("Hand-over of {schedule}", schedule = &self.schedule));
        page.paragraph(&text!(
            "From {outgoing} to {incoming}, for the time from {start} until {end} ({zone}).",
            outgoing = people(&self.outgoing),
            incoming = people(&self.incoming),
            start = starts_at,
            end = ends_at,
            zone = zone_name
        ));
        let accepted = match &self.accepted {
            Some(acceptance) => text!(
                "Accepted by {person} at {time}.",
                person = Escaped(&acceptance.by).to_string(),
                time = page.time(acceptance.at)
            ),
            None => text!("Not accepted yet."),
        };
        page.paragraph(&accepted);

        page.heading(2, &text!("Daily check"));
        match &self.daily_check {
            Some(output) => page.verbatim(output),
            None => page.paragraph(&text!("It was not run for this report.")),
        }
        page.heading(2, &text!("Unresolved"));
        incident_table(&mut page, &self.unresolved);
        page.heading(2, &text!("Planned maintenance"));
        let planned: Vec<Text> = self
            .maintenance
            .iter()
            .map(|line| {
                text!(
                    "{time}: {what}",
                    time = page.time(line.starts_at),
                    what = Escaped(&line.what).to_string()
                )
            })
            .collect();
        list_or_nothing(&mut page, planned);
        page.heading(2, &text!("Notes"));
        let notes = self.notes.iter().map(|note| Text::plain(Escaped(note))).collect();
        list_or_nothing(&mut page, notes);
        page.heading(2, &text!("Incidents of this shift"));
        incident_table(&mut page, &self.incidents);
        page.heading(2, &text!("Active silences"));
        let silences = self.silences.iter().map(|line| {
            text!(
                "until {time}: {matchers}, by {person}: {comment}",
                time = page.time(line.ends_at),
                matchers = Escaped(&line.matchers.join(", ")).to_string(),
                person = Escaped(&line.created_by).to_string(),
                comment = Escaped(&line.comment).to_string()
            )
        });
        let silences = silences.collect();
        list_or_nothing(&mut page, silences);
        page.heading(2, &text!("Nobody on duty in the next seven days"));
        let gaps = self.gaps.iter().map(|gap| {
            text!(
                "from {start} until {end}",
                start = page.time(gap.starts_at),
                end = page.time(gap.ends_at)
            )
        });
        let gaps = gaps.collect();
        list_or_nothing(&mut page, gaps);
        page.finish()
    }
}

impl IncidentLine {
    fn of(incident: &Incident) -> Self {
        Self {
            id: incident.id,
            severity: incident.severity,
            title: incident.title.clone(),
            opened_at: incident.opened_at,
            acknowledged: incident.acknowledged.clone(),
            resolved_at: incident.resolved_at,
        }
    }
}

fn people(people: &[PersonName]) -> Text {
    if people.is_empty() {
        return text!("nobody");
    }
    let names: Vec<&str> = people.iter().map(PersonName::as_str).collect();
    Text::plain(names.join(", "))
}

fn list_or_nothing(page: &mut Page<'_>, items: Vec<Text>) {
    if items.is_empty() {
        page.paragraph(&text!("Nothing."));
    } else {
        page.list(items);
    }
}

fn incident_table(page: &mut Page<'_>, lines: &[IncidentLine]) {
    if lines.is_empty() {
        page.paragraph(&text!("Nothing."));
        return;
    }
    let rows: Vec<Vec<Text>> = lines
        .iter()
        .map(|line| {
            let acknowledged = match &line.acknowledged {
                Some(taken) => text!(
                    "{time} by {person}",
                    time = page.time(taken.at),
                    person = Escaped(&taken.by).to_string()
                ),
                None => text!("no"),
            };
            let resolved = line
                .resolved_at
                .map_or_else(|| text!("no"), |at| Text::plain(page.time(at)));
            vec![
                Text::plain(format_args!("#{}", line.id)),
                Text::plain(line.severity),
                Text::plain(Escaped(&line.title)),
                Text::plain(page.time(line.opened_at)),
                acknowledged,
                resolved,
            ]
        })
        .collect();
    let head = [
        text!("Incident"),
        text!("Severity"),
        text!("About"),
        text!("Opened"),
        text!("Acknowledged"),
        text!("Resolved"),
    ];
    page.table(&head, rows);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::Labels;
    use crate::matcher::{Matcher, Operator};
    use crate::oncall::{LayerConfig, OnCall, OnCallConfig, PersonConfig, ScheduleConfig};
    use crate::text::{Chinese, English};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn incident(id: u64, severity: Severity, opened_at: &str, title: &str) -> Incident {
        let mut incident = Incident {
            id: IncidentId(id),
            group: "{}:{}".into(),
            group_labels: Labels::default(),
            title: title.to_owned(),
            severity,
            opened_at: at(opened_at),
            respond_by: at(opened_at),
            acknowledged: None,
            resolved_at: None,
            escalation: None,
            is_overdue: false,
            alerts: Vec::new(),
            timeline: Vec::new(),
        };
        incident.record(at(opened_at), Happening::Opened);
        incident
    }

    fn take(incident: &mut Incident, time: &str, by: &str) {
        incident.record(at(time), Happening::Acknowledged { by: by.to_owned() });
        incident.acknowledged = Some(Acknowledgement {
            at: at(time),
            by: by.to_owned(),
        });
    }

    fn silence(id: u128, starts_at: &str, ends_at: &str, comment: &str) -> Silence {
        Silence {
            id: Uuid::from_u128(id),
            matchers: vec![Matcher::new("instance", Operator::Equal, "db|1").unwrap()],
            starts_at: at(starts_at),
            ends_at: at(ends_at),
            updated_at: at(starts_at),
            created_by: "mei".to_owned(),
            comment: comment.to_owned(),
            annotations: Labels::default(),
            recurrence: None,
        }
    }

    fn report() -> HandoverReport {
        let mut config = OnCallConfig {
            people: ["mei", "ivan"]
                .map(|name| PersonConfig {
                    name: name.to_owned(),
                    ..PersonConfig::default()
                })
                .into(),
            ..OnCallConfig::default()
        };
        let mut layer = LayerConfig::weekly("base", &["mei", "ivan"], "2026-03-02".parse().unwrap());
        layer.ends_on = Some("2026-03-14".parse().unwrap());
        config.schedules = vec![ScheduleConfig {
            name: "primary".to_owned(),
            zone: "Asia/Shanghai".to_owned(),
            layers: vec![layer],
            ..ScheduleConfig::default()
        }];
        let on_call = OnCall::new(&config).unwrap();

        let before = incident(1, Severity::P3, "2026-02-20T00:00:00Z", "never touched since");
        let mut over = incident(2, Severity::P0, "2026-02-21T00:00:00Z", "over long before");
        over.resolved_at = Some(at("2026-02-22T00:00:00Z"));
        let mut ended = incident(3, Severity::P1, "2026-03-01T23:00:00Z", "validator | offline");
        take(&mut ended, "2026-03-01T23:30:00Z", "ivan");
        ended.record(
            at("2026-03-02T03:00:00Z"),
            Happening::Resolved {
                by: "alerts".to_owned(),
            },
        );
        ended.resolved_at = Some(at("2026-03-02T03:00:00Z"));
        let mut open = incident(4, Severity::P2, "2026-03-05T00:00:00Z", "数据库缓慢");
        take(&mut open, "2026-03-05T00:10:00Z", "mei");
        let later = incident(5, Severity::P1, "2026-03-08T20:00:00Z", "API *partly* broken");

        let shift = (at("2026-03-02T01:00:00Z"), at("2026-03-09T01:00:00Z"));
        let schedule = on_call.schedule("primary").unwrap();
        let id = Uuid::from_u128(7);
        let mut report = HandoverReport::new(id, schedule, shift, &Overrides::new(), "mei")
            .with_incidents([&open, &before, &over, &ended, &later])
            .with_silences([
                &silence(
                    1,
                    "2026-03-01T00:00:00Z",
                    "2026-03-10T00:00:00Z",
                    "disk is on its way",
                ),
                &silence(
                    2,
                    "2026-03-12T00:00:00Z",
                    "2026-03-12T02:00:00Z",
                    "upgrade of the database",
                ),
                &silence(3, "2026-04-12T00:00:00Z", "2026-04-12T02:00:00Z", "too far ahead"),
                &silence(4, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "over"),
            ])
            .with_maintenance([MaintenanceLine {
                starts_at: at("2026-03-11T18:00:00Z"),
                what: "runtime upgrade 1.4".to_owned(),
            }])
            .with_daily_check("OK      chain halted? no\nWARNING disk 81 %\n```")
            .with_note("The new validator has no backup yet.\n# not a heading");
        report.accept(at("2026-03-09T01:05:00Z"), "ivan");
        report.accept(at("2026-03-09T02:00:00Z"), "mei");
        report
    }

    #[test]
    fn a_report_in_english() {
        insta::assert_snapshot!(report().to_markdown(&English));
    }

    #[test]
    fn a_report_in_chinese() {
        insta::assert_snapshot!(report().to_markdown(&Chinese::read()));
    }

    #[test]
    fn a_report_passes_through_json() {
        let json = serde_json::to_string_pretty(&report()).unwrap();
        assert_eq!(serde_json::from_str::<HandoverReport>(&json).unwrap(), report());
        insta::assert_snapshot!(json);
    }
}
