//! Windows that come again: every night, every Monday, every second Friday of the month.

use jiff::civil::DateTime;
use jiff::tz::{Disambiguation, TimeZone};
use jiff::{Span, Timestamp, ToSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::text;

/// How a window comes again.
///
/// It opens and closes at the same times of the clock on the wall in `zone`, so that one from 02:00 to 04:00 stays there
/// when the clocks change. Where the clock skips the moment it opens or closes, it does so as much later; where the
/// clock shows the moment twice, it opens at the first and closes at the second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recurrence {
    /// How often.
    pub every: Frequency,
    /// Only each so manieth time: 2 with `weekly` is every other week. Default: 1.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub interval: u16,
    /// The time zone, by its IANA name. Default: `UTC`.
    #[serde(default = "utc")]
    pub zone: String,
    /// From when on no window is open. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
}

/// How often a window comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Frequency {
    /// Every day.
    Daily,
    /// On the same day of the week.
    Weekly,
    /// On the same day of the month, or on its last day where it is too short.
    Monthly,
    /// On the same weekday of the month as the first window: the second Friday. The fifth is the last one where there are
    /// only four.
    MonthlyByWeekday,
}

fn once() -> u16 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_once(interval: &u16) -> bool {
    *interval == 1
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Recurrence {
    /// Whether windows like the one from `start` to `end` can come again this way.
    pub(super) fn check(&self, start: Timestamp, end: Timestamp) -> Result<()> {
        let refuse = |message| Err(Error::new(ErrorKind::InvalidInput, message));
        if TimeZone::get(&self.zone).is_err() {
            return refuse(text!(
                "the recurrence has the zone {zone}, which is no known time zone",
                zone = &self.zone
            ));
        }
        if self.interval == 0 {
            return refuse(text!("the recurrence has the interval 0: expected at least 1"));
        }
        // Hours an hour short of the period, because clocks change.
        let longest = match self.every {
            Frequency::Daily => 24,
            Frequency::Weekly => 7 * 24,
            Frequency::Monthly | Frequency::MonthlyByWeekday => 28 * 24,
        } * i64::from(self.interval)
            - 1;
        if end.duration_since(start).as_secs() > longest * 3600 {
            return refuse(text!(
                "the window is longer than the time until it comes again, at most {hours} hours",
                hours = longest
            ));
        }
        Ok(())
    }

    /// The window that is open at `now`, or else the next one; none where no further one comes.
    pub(super) fn window_at(
        &self,
        start: Timestamp,
        end: Timestamp,
        now: Timestamp,
    ) -> Option<(Timestamp, Timestamp)> {
        if self.until.is_some_and(|until| until <= now) {
            return None;
        }
        // A zone is checked when the silence is made. Where the machine has lost it since, UTC is off by some hours,
        // which is better than a window that never opens or never closes.
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        let first = (zone.to_datetime(start), zone.to_datetime(end));
        let passed = self.steps_between(first.0, zone.to_datetime(now));
        // The one before may still be open, and the estimate may be one short.
        (passed.saturating_sub(1).max(0)..=passed.saturating_add(2))
            .filter_map(|step| {
                let from = zone
                    .to_ambiguous_timestamp(self.shifted(first.0, first.0, step)?)
                    .disambiguate(Disambiguation::Compatible)
                    .ok()?;
                let to = zone
                    .to_ambiguous_timestamp(self.shifted(first.0, first.1, step)?)
                    .disambiguate(Disambiguation::Later)
                    .ok()?;
                let to = self.until.map_or(to, |until| to.min(until));
                Some((from, to))
            })
            .find(|(from, to)| *to > now && from < to)
    }

    /// About how often the window has come by `now`.
    fn steps_between(&self, first: DateTime, now: DateTime) -> i64 {
        let days = now.date().duration_since(first.date()).as_hours() / 24;
        let months = i64::from(now.year() - first.year()) * 12 + i64::from(now.month() - first.month());
        let periods = match self.every {
            Frequency::Daily => days,
            Frequency::Weekly => days.div_euclid(7),
            Frequency::Monthly | Frequency::MonthlyByWeekday => months,
        };
        periods.div_euclid(i64::from(self.interval.max(1))).max(0)
    }

    /// A moment of the first window, which started at `first`, in the window `step` times later. None beyond the
    /// calendar.
    fn shifted(&self, first: DateTime, moment: DateTime, step: i64) -> Option<DateTime> {
        let count = step.checked_mul(i64::from(self.interval.max(1)))?;
        let span = match self.every {
            Frequency::Daily => Span::new().try_days(count),
            Frequency::Weekly => Span::new().try_weeks(count),
            Frequency::Monthly | Frequency::MonthlyByWeekday => Span::new().try_months(count),
        }
        .ok()?;
        let mut start = first.checked_add(span).ok()?;
        if self.every == Frequency::MonthlyByWeekday {
            let nth = (first.day() - 1) / 7 + 1;
            let month = start.date().first_of_month();
            let date = month
                .nth_weekday_of_month(nth, first.weekday())
                .or_else(|_| month.nth_weekday_of_month(-1, first.weekday()))
                .ok()?;
            start = date.to_datetime(first.time());
        }
        // The end keeps its distance in days to the start, however long the month is.
        let days = moment.date().duration_since(first.date()).as_hours() / 24;
        let date = start.date().checked_add(days.days()).ok()?;
        Some(date.to_datetime(moment.time()))
    }
}
