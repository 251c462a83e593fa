//! Whether a status changes so often that each change means little.

use serde::{Deserialize, Serialize};

use crate::status::Status;

/// How many changes are looked back on; 21 results have 20 of them between each other.
const CHANGES: u32 = 20;

/// A check starts to flap above this share of changes.
pub const STARTS_ABOVE_RATIO: f64 = 0.5;

/// A flapping check stops below this share of changes.
pub const STOPS_BELOW_RATIO: f64 = 0.2;

/// The last 21 certain statuses of a check, as 20 bits that say where they differ.
///
/// The method is that of Nagios and Icinga: the share of changes among the last 21 results, a recent change weighing
/// up to half as much again as an old one (0.8 to 1.2, as Icinga 2 has it in `checkable-flapping.cpp`), with two
/// thresholds so that the answer does not flap itself. The thresholds are wider than Nagios' sample values of 5 and
/// 20 % because [`Rules`](crate::rule::Rules) already calm a check with `for` and `clear`.
///
/// An unknown status is no state of the target and is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flapping {
    /// Bit 0 is the newest; set where a result differs from the one before.
    changes: u32,
    last: Option<Status>,
    is_flapping: bool,
}

impl Flapping {
    /// Takes in one more result and tells whether the check flaps.
    pub fn push(&mut self, status: Status) -> bool {
        if status == Status::Unknown {
            return self.is_flapping;
        }
        let changed = self.last.is_some_and(|last| last != status);
        self.changes = (self.changes << 1 | u32::from(changed)) & ((1 << CHANGES) - 1);
        self.last = Some(status);
        let ratio = self.ratio();
        self.is_flapping = if self.is_flapping {
            ratio >= STOPS_BELOW_RATIO
        } else {
            ratio > STARTS_ABOVE_RATIO
        };
        self.is_flapping
    }

    /// The weighted share of changes, 0 to 1.
    pub fn ratio(&self) -> f64 {
        let weight = |age: u32| 1.2 - 0.4 * f64::from(age) / f64::from(CHANGES - 1);
        (0..CHANGES)
            .filter(|age| self.changes >> age & 1 == 1)
            .map(weight)
            .sum::<f64>()
            / f64::from(CHANGES)
    }

    /// Whether the check flaps as of the last result.
    pub fn is_flapping(&self) -> bool {
        self.is_flapping
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Critical, Ok, Unknown};

    fn after(statuses: impl IntoIterator<Item = Status>) -> Flapping {
        let mut flapping = Flapping::default();
        for status in statuses {
            flapping.push(status);
        }
        flapping
    }

    fn alternating(count: usize) -> impl Iterator<Item = Status> {
        [Ok, Critical].into_iter().cycle().take(count)
    }

    #[test]
    fn changing_every_time_is_all_there_can_be() {
        assert!((after(alternating(21)).ratio() - 1.0).abs() < 1e-9);
        assert!((after(alternating(500)).ratio() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn one_outage_does_not_flap_and_a_rattling_check_does() {
        let outage = [Ok; 10].into_iter().chain([Critical; 3]).chain([Ok; 10]);
        assert!(!after(outage).is_flapping());
        assert!(after(alternating(12)).is_flapping());
    }

    #[test]
    fn a_recent_change_weighs_half_as_much_again_as_an_old_one() {
        let old = after([Ok].into_iter().chain([Critical; 20])).ratio();
        let new = after([Ok; 20].into_iter().chain([Critical])).ratio();
        assert!((new / old - 1.5).abs() < 1e-9, "{new} / {old}");
    }

    #[test]
    fn it_stops_only_when_calm_has_lasted() {
        let mut flapping = after(alternating(21));
        let mut calm = 0;
        while flapping.push(Ok) {
            calm += 1;
        }
        assert!(flapping.ratio() < STOPS_BELOW_RATIO);
        assert!((14..18).contains(&calm), "calm after {calm} equal results");
    }

    #[test]
    fn unknown_is_no_change() {
        let unknown_between = alternating(1).chain([Unknown, Ok].into_iter().cycle().take(40));
        assert_eq!(after(unknown_between).ratio(), 0.0);
    }
}
