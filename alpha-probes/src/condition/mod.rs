//! The language of conditions: parsed once, evaluated often.

use std::time::Duration;

use jiff::Timestamp;

use crate::observation::{Labels, Observation};
use crate::probe::ProbeKind;
use crate::text::Text;

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {}

/// Why a condition does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where, counted in characters from 1.
    pub column: usize,
    /// What is wrong and what was expected.
    pub message: Text,
}

/// What a condition is evaluated against.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What was just seen.
    pub observation: &'a Observation,
    /// What was seen before, including what was just seen.
    pub series: &'a dyn Series,
    /// The present instant.
    pub now: Timestamp,
}

/// Past values of one check's measurements.
pub trait Series: std::fmt::Debug + Sync {
    /// Appends the points of one measurement since `since` to `out`, oldest first. Names compare without case.
    fn points(&self, name: &str, labels: &Labels, since: Timestamp, out: &mut Vec<(Timestamp, f64)>);
}

/// Which of several measurements of one name must satisfy a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantifier {
    /// Any of them: for conditions that raise an alarm.
    Any,
    /// All of them: for conditions that are required.
    All,
}

/// What evaluating a condition yields. Nothing in it is rendered yet, so that it costs nothing where nothing is wrong.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// It holds; the finding tells what made it hold.
    Holds(Finding<'a>),
    /// It does not hold; the finding tells what kept it from holding.
    Fails(Finding<'a>),
    /// It cannot be told yet, because a function over time has seen too few values so far; how many are missing.
    Waiting(Text),
    /// It cannot be told, because something it asks for is missing or is of another kind, and what.
    Unknown(Text),
}

/// The comparison that decided. Light: it points at the condition and the observation, and renders when asked.
#[derive(Clone, Debug)]
pub struct Finding<'a> {
    observation: std::marker::PhantomData<&'a Observation>,
}

impl Finding<'_> {
    /// What was measured, with its labels: `used{mount="/data"}`.
    pub fn subject(&self) -> String {
        String::new()
    }

    /// The actual value as a person reads it.
    pub fn value(&self) -> String {
        String::new()
    }

    /// What it was compared with, operator included: `> 80 %`.
    pub fn limit(&self) -> String {
        String::new()
    }

    /// The whole as a sentence: `used{mount="/data"} is 91 %, limit > 80 %`.
    pub fn text(&self) -> Text {
        crate::text!(
            "{subject} is {value}, limit {limit}",
            subject = self.subject(),
            value = self.value(),
            limit = self.limit()
        )
    }
}

impl Condition {
    /// Compiles `source`.
    ///
    /// # Errors
    /// The column and what was expected there.
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        let _ = source;
        Ok(Self {})
    }

    /// Checks that everything named exists in `kind`.
    ///
    /// # Errors
    /// The column of the first unknown name, with the nearest one that exists.
    pub fn check_names(&self, kind: &ProbeKind) -> Result<(), ParseError> {
        let _ = kind;
        Ok(())
    }

    /// Whether it asks for `[CONNECTED]`, so that a failed connection is its own to judge.
    pub fn mentions_connected(&self) -> bool {
        false
    }

    /// The measurements it looks back on, and how far.
    pub fn windows(&self) -> Vec<(String, Duration)> {
        Vec::new()
    }

    /// Evaluates it.
    pub fn evaluate<'a>(&'a self, evidence: &Evidence<'a>, quantifier: Quantifier) -> Outcome<'a> {
        let _ = (evidence, quantifier);
        Outcome::Unknown(crate::text!("conditions are not evaluated yet"))
    }
}
