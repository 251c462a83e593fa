//! What each integration was last told of a group, and whether it has to be told again. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::label::Fingerprint;
use crate::notification::Reason;

/// What an integration was last told of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// The alerts that were said to fire, sorted.
    pub firing: Vec<Fingerprint>,
    /// The alerts that were said to be over, sorted.
    pub resolved: Vec<Fingerprint>,
}

/// Why an integration has to be told of a group now; `None` where it knows all that matters.
///
/// `firing` and `resolved` are sorted. The rules are those of Alertmanager's `DedupStage.needsUpdate`.
pub fn reason_to_tell(
    told: Option<&Told>,
    firing: &[Fingerprint],
    resolved: &[Fingerprint],
    send_resolved: bool,
    repeat_interval: Duration,
    now: Timestamp,
) -> Option<Reason> {
    let Some(told) = told else {
        return (!firing.is_empty()).then_some(Reason::New);
    };
    if !is_subset(firing, &told.firing) {
        let was_over = told.firing.is_empty();
        return Some(if was_over { Reason::New } else { Reason::MoreFiring });
    }
    if firing.is_empty() {
        return (!told.firing.is_empty()).then_some(Reason::AllResolved);
    }
    if send_resolved && !is_subset(resolved, &told.resolved) {
        return Some(Reason::SomeResolved);
    }
    (later(told.at, repeat_interval) <= now).then_some(Reason::Repeated)
}

/// Whether every element of `part` is in `whole`; both sorted.
fn is_subset(part: &[Fingerprint], whole: &[Fingerprint]) -> bool {
    part.iter()
        .all(|fingerprint| whole.binary_search(fingerprint).is_ok())
}

/// `at` and a while, or the end of time.
pub(crate) fn later(at: Timestamp, while_: Duration) -> Timestamp {
    at.checked_add(while_).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn told(firing: &[u64], resolved: &[u64]) -> Told {
        Told {
            at: Timestamp::UNIX_EPOCH,
            firing: fingerprints(firing),
            resolved: fingerprints(resolved),
        }
    }

    fn fingerprints(numbers: &[u64]) -> Vec<Fingerprint> {
        numbers.iter().copied().map(Fingerprint).collect()
    }

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// The table of Alertmanager's own `TestDedupStageNeedsUpdate`.
    #[test]
    fn it_decides_as_alertmanager_does() {
        type Case = (
            Option<Told>,
            &'static [u64],
            &'static [u64],
            bool,
            i64,
            Option<Reason>,
        );
        let cases: [Case; 12] = [
            (None, &[2, 3, 4], &[], false, 0, Some(Reason::New)),
            (None, &[], &[1], true, 0, None),
            (
                Some(told(&[1, 2, 3], &[])),
                &[2, 3, 4],
                &[],
                false,
                0,
                Some(Reason::MoreFiring),
            ),
            (Some(told(&[1, 2, 3], &[])), &[1, 2, 3], &[], false, 60, None),
            (
                Some(told(&[1, 2, 3], &[])),
                &[1, 2, 3],
                &[],
                false,
                3600,
                Some(Reason::Repeated),
            ),
            (
                Some(told(&[1, 2, 3], &[])),
                &[],
                &[1, 2, 3],
                true,
                60,
                Some(Reason::AllResolved),
            ),
            // The dispatcher drops it if the receiver does not want ends; the record of what was told must change all the same.
            (
                Some(told(&[1, 2, 3], &[])),
                &[],
                &[1, 2, 3],
                false,
                60,
                Some(Reason::AllResolved),
            ),
            (Some(told(&[], &[1])), &[], &[1], true, 7200, None),
            (
                Some(told(&[1, 2], &[])),
                &[1],
                &[2],
                true,
                60,
                Some(Reason::SomeResolved),
            ),
            (Some(told(&[1, 2], &[])), &[1], &[2], false, 60, None),
            (Some(told(&[1, 2], &[2])), &[1], &[2], true, 60, None),
            (Some(told(&[], &[1])), &[1], &[], true, 60, Some(Reason::New)),
        ];
        for (index, (told, firing, resolved, send_resolved, seconds, expected)) in
            cases.into_iter().enumerate()
        {
            let reason = reason_to_tell(
                told.as_ref(),
                &fingerprints(firing),
                &fingerprints(resolved),
                send_resolved,
                HOUR,
                after(seconds),
            );
            assert_eq!(reason, expected, "case {index}");
        }
    }
}
