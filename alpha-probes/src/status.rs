//! The four words a check can end with.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a check found. How bad that is for whom, and who is told, is not decided here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Everything asked for holds.
    Ok,
    /// Something is on its way to trouble.
    Warning,
    /// Something is broken.
    Critical,
    /// It could not be found out; the reason says why. Never treated as [`Status::Ok`].
    Unknown,
}

impl Status {
    /// All four, best first.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Warning, Self::Unknown, Self::Critical];

    /// The worse of two: critical, then unknown, then warning, then ok.
    ///
    /// Unknown is worse than a warning because it may hide anything.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if self.rank() >= other.rank() { self } else { other }
    }

    /// How bad it is, 0 (ok) to 3 (critical); only the order has a meaning.
    pub fn rank(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Unknown => 2,
            Self::Critical => 3,
        }
    }

    /// The word used in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromIterator<Status> for Status {
    /// The worst of them; [`Status::Ok`] where there are none.
    fn from_iter<I: IntoIterator<Item = Self>>(statuses: I) -> Self {
        statuses.into_iter().fold(Self::Ok, Self::worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_wins_whatever_the_order() {
        for (index, worse) in Status::ALL.iter().enumerate() {
            for better in &Status::ALL[..=index] {
                assert_eq!(worse.worst(*better), *worse);
                assert_eq!(better.worst(*worse), *worse);
            }
        }
        assert_eq!(Status::from_iter([]), Status::Ok);
    }
}
