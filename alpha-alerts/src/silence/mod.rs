//! Silences and maintenance windows: alerts that nobody wants to hear of for a time.

mod index;
mod recurrence;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::label::Labels;
use crate::matcher::{Matcher, Operator};
use crate::text;

pub use index::Silences;
pub use recurrence::{Frequency, Recurrence};

/// Keeps the alerts that all its matchers match from every receiver, for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its identity.
    pub id: Uuid,
    /// Which alerts; at least one, and not all of them match the empty value.
    pub matchers: Vec<Matcher>,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when; expiring it sets this to the present.
    pub ends_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// Further notes, such as the ticket of a maintenance window.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
    /// Whether the time from `starts_at` to `ends_at` comes again, as a maintenance window does every week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<Recurrence>,
}

/// Where a silence stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SilenceState {
    /// It will silence alerts later.
    Pending,
    /// It silences alerts.
    Active,
    /// It never will again.
    Expired,
}

impl Silence {
    /// Where it stands at `now`. A recurring one is pending between two of its windows.
    pub fn state_at(&self, now: Timestamp) -> SilenceState {
        let Some(recurrence) = &self.recurrence else {
            return if now >= self.ends_at {
                SilenceState::Expired
            } else if now >= self.starts_at {
                SilenceState::Active
            } else {
                SilenceState::Pending
            };
        };
        match recurrence.window_at(self.starts_at, self.ends_at, now) {
            Some((start, _)) if start <= now => SilenceState::Active,
            Some(_) => SilenceState::Pending,
            None => SilenceState::Expired,
        }
    }

    /// When its state changes next, or nothing where it has expired.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let (start, end) = match &self.recurrence {
            Some(recurrence) => recurrence.window_at(self.starts_at, self.ends_at, now)?,
            None => (self.starts_at, self.ends_at),
        };
        [start, end].into_iter().find(|change| *change > now)
    }

    /// Whether it concerns an alert with these labels, at whatever time.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// Ends it at `now`: what was pending never starts, what was active ends, and no further window opens.
    pub fn expire(&mut self, now: Timestamp) {
        if self.state_at(now) == SilenceState::Expired {
            return;
        }
        match &mut self.recurrence {
            Some(recurrence) => recurrence.until = Some(now),
            None => {
                self.starts_at = self.starts_at.min(now);
                self.ends_at = now;
            }
        }
        self.updated_at = now;
    }

    /// Whether it can be taken at `now`, by Alertmanager's rules.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] without a matcher, with matchers that all match the empty value, and so every alert
    /// that lacks their labels, with an end before its start or in the past, or with a recurrence whose windows overlap
    /// or whose zone is unknown.
    pub fn check(&self, now: Timestamp) -> Result<()> {
        let refuse = |message| Err(Error::new(ErrorKind::InvalidInput, message));
        if self.matchers.is_empty() {
            return refuse(text!("a silence needs at least one matcher"));
        }
        if self.matchers.iter().all(matches_nothing_in_particular) {
            return refuse(text!(
                "a silence needs at least one matcher that does not match the empty value"
            ));
        }
        if self.ends_at <= self.starts_at {
            return refuse(text!("the silence ends before it starts"));
        }
        if let Some(recurrence) = &self.recurrence {
            recurrence.check(self.starts_at, self.ends_at)?;
        }
        if self.state_at(now) == SilenceState::Expired {
            return refuse(text!("the silence ends in the past"));
        }
        Ok(())
    }
}

/// Whether a matcher asks for the empty value. Conditions with `!=` and `!~` are taken as meant, as Alertmanager does.
fn matches_nothing_in_particular(matcher: &Matcher) -> bool {
    match matcher.operator() {
        Operator::Equal | Operator::Matches => matcher.matches_value(""),
        Operator::NotEqual | Operator::NotMatches => false,
    }
}

#[cfg(test)]
mod tests {
    use jiff::{Span, ToSpan};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn silence(matchers: &str, starts_at: &str, length: Span) -> Silence {
        Silence {
            id: Uuid::from_u128(1),
            matchers: crate::matcher::parse_list(matchers).unwrap(),
            starts_at: at(starts_at),
            ends_at: at(starts_at) + length,
            updated_at: at(starts_at),
            created_by: "ada".to_owned(),
            comment: "works on it".to_owned(),
            annotations: Labels::default(),
            recurrence: None,
        }
    }

    fn recurring(every: Frequency, zone: &str, starts_at: &str, length: Span) -> Silence {
        let mut silence = silence("a=b", starts_at, length);
        silence.recurrence = Some(Recurrence {
            every,
            interval: 1,
            zone: zone.to_owned(),
            until: None,
        });
        silence.check(silence.starts_at).unwrap();
        silence
    }

    /// All windows up to `end`, found by going from change to change.
    fn windows(silence: &Silence, end: &str) -> Vec<String> {
        let mut now = silence.starts_at - 1.second();
        let mut windows = Vec::new();
        while let Some(change) = silence.next_change(now).filter(|change| *change < at(end)) {
            match silence.state_at(change) {
                SilenceState::Active => windows.push(change.to_string()),
                SilenceState::Pending | SilenceState::Expired => {
                    assert_eq!(silence.state_at(change - 1.second()), SilenceState::Active);
                    if let Some(last) = windows.last_mut() {
                        *last = format!("{last} {change}");
                    }
                }
            }
            now = change;
        }
        windows
    }

    #[test]
    fn it_is_pending_then_active_then_expired() {
        let silence = silence("a=b", "2026-01-01T10:00:00Z", 1.hour());
        for (now, state, next) in [
            (
                "2026-01-01T09:59:59Z",
                SilenceState::Pending,
                Some("2026-01-01T10:00:00Z"),
            ),
            (
                "2026-01-01T10:00:00Z",
                SilenceState::Active,
                Some("2026-01-01T11:00:00Z"),
            ),
            ("2026-01-01T11:00:00Z", SilenceState::Expired, None),
        ] {
            assert_eq!(silence.state_at(at(now)), state, "{now}");
            assert_eq!(silence.next_change(at(now)), next.map(at), "{now}");
        }
        for now in [
            "2026-01-01T09:00:00Z",
            "2026-01-01T10:30:00Z",
            "2026-01-01T12:00:00Z",
        ] {
            let mut ended = silence.clone();
            ended.expire(at(now));
            assert_eq!(ended.state_at(at(now)), SilenceState::Expired, "{now}");
            assert_eq!(ended.ends_at, at(now).min(silence.ends_at), "{now}");
        }
    }

    /// What Alertmanager 0.25 refuses and takes, as its API was seen to do.
    #[test]
    fn what_alertmanager_refuses_is_refused() {
        let now = at("2026-01-01T10:00:00Z");
        let check = |matchers: &str, starts_at: &str, length: Span| match silence(matchers, starts_at, length)
            .check(now)
        {
            Ok(()) => "taken".to_owned(),
            Err(error) => error.to_string(),
        };
        let start = "2026-01-01T09:30:00Z";
        let results = [
            check("a=b", start, 1.hour()),
            check("a=b,c=", start, 1.hour()),
            check("a!=b", start, 1.hour()),
            check("{}", start, 1.hour()),
            check("a=", start, 1.hour()),
            check("a=~.*,b=", start, 1.hour()),
            check("a=b", start, 0.hours()),
            check("a=b", start, -1.hours()),
            check("a=b", start, 30.minutes()),
            check("a=b", "2026-02-01T00:00:00Z", 1.hour()),
        ];
        insta::assert_snapshot!(results.join("\n"));
    }

    #[test]
    fn a_weekly_window_stays_where_the_clock_on_the_wall_is() {
        // 02:30 to 04:00 in Berlin on Sundays. On 29 March 2026 there is no 02:30: it opens as much later, at 03:30. On 25
        // October there are two: it opens at the first.
        let silence = recurring(
            Frequency::Weekly,
            "Europe/Berlin",
            "2026-03-15T01:30:00Z",
            90.minutes(),
        );
        assert_eq!(
            windows(&silence, "2026-04-06T00:00:00Z"),
            [
                "2026-03-15T01:30:00Z 2026-03-15T03:00:00Z",
                "2026-03-22T01:30:00Z 2026-03-22T03:00:00Z",
                "2026-03-29T01:30:00Z 2026-03-29T02:00:00Z",
                "2026-04-05T00:30:00Z 2026-04-05T02:00:00Z",
            ]
        );
        let autumn = recurring(
            Frequency::Weekly,
            "Europe/Berlin",
            "2026-10-18T00:30:00Z",
            90.minutes(),
        );
        assert_eq!(
            windows(&autumn, "2026-11-02T00:00:00Z")[1..],
            [
                "2026-10-25T00:30:00Z 2026-10-25T03:00:00Z",
                "2026-11-01T01:30:00Z 2026-11-01T03:00:00Z",
            ]
        );
    }

    #[test]
    fn a_nightly_window_crosses_midnight_and_years() {
        let silence = recurring(Frequency::Daily, "UTC", "2025-12-30T22:00:00Z", 8.hours());
        assert_eq!(
            windows(&silence, "2026-01-02T00:00:00Z"),
            [
                "2025-12-30T22:00:00Z 2025-12-31T06:00:00Z",
                "2025-12-31T22:00:00Z 2026-01-01T06:00:00Z",
                "2026-01-01T22:00:00Z",
            ]
        );
        assert_eq!(silence.state_at(at("2036-07-01T03:00:00Z")), SilenceState::Active);
        assert_eq!(
            silence.state_at(at("2036-07-01T12:00:00Z")),
            SilenceState::Pending
        );
    }

    #[test]
    fn monthly_windows_follow_the_day_or_the_weekday() {
        let last_day = recurring(Frequency::Monthly, "UTC", "2026-01-31T20:00:00Z", 2.hours());
        assert_eq!(
            windows(&last_day, "2026-04-01T00:00:00Z"),
            [
                "2026-01-31T20:00:00Z 2026-01-31T22:00:00Z",
                "2026-02-28T20:00:00Z 2026-02-28T22:00:00Z",
                "2026-03-31T20:00:00Z 2026-03-31T22:00:00Z",
            ]
        );
        // The second Friday of January, and the fifth of one that has five.
        let second = recurring(
            Frequency::MonthlyByWeekday,
            "UTC",
            "2026-01-09T23:00:00Z",
            3.hours(),
        );
        assert_eq!(
            windows(&second, "2026-04-01T00:00:00Z"),
            [
                "2026-01-09T23:00:00Z 2026-01-10T02:00:00Z",
                "2026-02-13T23:00:00Z 2026-02-14T02:00:00Z",
                "2026-03-13T23:00:00Z 2026-03-14T02:00:00Z",
            ]
        );
        let fifth = recurring(
            Frequency::MonthlyByWeekday,
            "UTC",
            "2026-01-30T00:00:00Z",
            1.hour(),
        );
        assert_eq!(
            windows(&fifth, "2026-03-31T00:00:00Z"),
            [
                "2026-01-30T00:00:00Z 2026-01-30T01:00:00Z",
                "2026-02-27T00:00:00Z 2026-02-27T01:00:00Z",
                "2026-03-27T00:00:00Z 2026-03-27T01:00:00Z",
            ]
        );
    }

    #[test]
    fn an_end_cuts_the_open_window_and_expiring_sets_it() {
        let mut silence = recurring(Frequency::Daily, "UTC", "2026-01-01T10:00:00Z", 1.hour());
        silence.recurrence.as_mut().unwrap().interval = 2;
        let mut ended = silence.clone();
        ended.expire(at("2026-01-05T10:30:00Z"));
        assert_eq!(
            windows(&ended, "2027-01-01T00:00:00Z"),
            [
                "2026-01-01T10:00:00Z 2026-01-01T11:00:00Z",
                "2026-01-03T10:00:00Z 2026-01-03T11:00:00Z",
                "2026-01-05T10:00:00Z 2026-01-05T10:30:00Z",
            ]
        );
        assert_eq!(ended.state_at(at("2026-01-05T10:30:00Z")), SilenceState::Expired);
        silence.expire(at("2025-12-01T00:00:00Z"));
        assert_eq!(
            silence.state_at(at("2026-01-01T10:30:00Z")),
            SilenceState::Expired
        );
    }

    #[test]
    fn a_recurrence_that_cannot_be_is_refused() {
        let check = |every, zone: &str, interval, length: Span| {
            let mut silence = silence("a=b", "2026-01-01T00:00:00Z", length);
            let zone = zone.to_owned();
            silence.recurrence = Some(Recurrence {
                every,
                interval,
                zone,
                until: None,
            });
            silence
                .check(silence.starts_at)
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(Frequency::Daily, "UTC", 1, 23.hours()), Ok(()));
        insta::assert_debug_snapshot!([
            check(Frequency::Daily, "UTC", 1, 24.hours()),
            check(Frequency::Weekly, "Mars/Olympus", 1, 1.hour()),
            check(Frequency::Weekly, "UTC", 0, 1.hour()),
        ]);
    }

    #[test]
    fn the_index_finds_what_trying_each_would_find() {
        let now = at("2026-01-01T10:30:00Z");
        let lists = [
            "a=1",
            "a=1,b=2",
            "b=2",
            "a=~\"1|2\"",
            "c=",
            "a!=1",
            "a=2,c=\"\"",
            "a=1,b!=2",
            "b=3,a=1",
            "d=4",
        ];
        let mut silences = Silences::default();
        for (index, list) in lists.iter().enumerate() {
            let mut silence = silence(list, "2026-01-01T10:00:00Z", 1.hour());
            silence.id = Uuid::from_u128(index as u128);
            assert!(silences.put(silence.clone()).is_none());
            assert_eq!(silences.put(silence.clone()), Some(silence));
        }
        let find = |silences: &Silences, labels: &Labels| {
            let mut ids: Vec<Uuid> = silences
                .silencing(labels, now)
                .map(|silence| silence.id)
                .collect();
            ids.sort_unstable();
            ids
        };
        for labels in [
            Labels::new([("a", "1"), ("b", "2")]),
            Labels::new([("a", "2"), ("c", "3")]),
            Labels::new([("b", "3"), ("d", "4"), ("a", "1")]),
            Labels::default(),
        ] {
            let mut tried: Vec<Uuid> = silences
                .iter()
                .filter(|silence| silence.matches(&labels))
                .map(|silence| silence.id)
                .collect();
            tried.sort_unstable();
            assert_eq!(find(&silences, &labels), tried, "{labels}");
        }
        for index in 0..lists.len() {
            assert!(silences.remove(Uuid::from_u128(index as u128)).is_some());
        }
        assert!(silences.is_empty() && silences.others.is_empty() && silences.by_value.is_empty());
    }
}
