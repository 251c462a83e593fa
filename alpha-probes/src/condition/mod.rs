//! The language of conditions: parsed once, evaluated often.
//!
//! ```text
//! [STATUS] == 200 && [RESPONSE_TIME] < 300ms
//! [used{mount="/data"}] > 80% || forecast([used], 24h) > 95%
//! [BODY].status == healthy
//! ```
//!
//! The conditions of [Gatus](https://github.com/TwiN/gatus) are accepted unchanged. Grammar, functions and the
//! differences stand in `docs/reference/conditions.md`, whose every example is parsed by a test.

mod evaluate;
mod expression;
mod finding;
mod glob;
mod parse;
mod quantity;
mod typing;
mod window;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use self::expression::{Over, Source, Term, Truth};
pub use self::finding::Finding;
use crate::observation::{Labels, Observation};
use crate::probe::ProbeKind;
use crate::text::Text;

/// The longest condition, in bytes.
pub const MAX_LENGTH: usize = 4096;

/// How deep parentheses nest and how many steps a path has, at most.
pub const MAX_DEPTH: usize = 32;

/// How many constants, names and functions one condition holds, at most.
pub const MAX_VALUES: usize = 64;

/// A compiled condition. [`Display`](fmt::Display) writes it again, with every text in quotes.
#[derive(Debug)]
pub struct Condition {
    root: Truth,
}

/// Why a condition does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where, counted in characters from 1.
    pub column: usize,
    /// What is wrong and what was expected.
    pub message: Text,
}

impl ParseError {
    /// `source` with a caret under the column, in two lines.
    ///
    /// ```
    /// let error = alpha_probes::condition::Condition::parse("[cpu] >").unwrap_err();
    /// assert_eq!(error.pointing_at("[cpu] >"), "[cpu] >\n       ^");
    /// ```
    pub fn pointing_at(&self, source: &str) -> String {
        let line: String = source
            .chars()
            .map(|character| if character.is_control() { ' ' } else { character })
            .collect();
        format!("{line}\n{:>column$}", '^', column = self.column)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

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
pub trait Series: fmt::Debug + Sync {
    /// Appends the points of one measurement since `since` to `out`, oldest first. Names compare without case.
    fn points(&self, name: &str, labels: &Labels, since: Timestamp, out: &mut Vec<(Timestamp, f64)>);
}

/// Which of several measurements of one name must satisfy a condition.
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

impl Condition {
    /// Compiles `source`.
    ///
    /// # Errors
    /// The column and what was expected there. Units that do not go together are found here where the language knows
    /// them, and by [`check_names`](Self::check_names) where the kind of probe declares them.
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        let mut root = parse::parse(source)?;
        typing::check(&mut root, None)?;
        Ok(Self { root })
    }

    /// Checks that everything named exists in `kind` and that the units it declares go together.
    ///
    /// Facts are not declared: a name that is compared with a text may be one and is not refused.
    ///
    /// # Errors
    /// The column of the first unknown name, with the nearest one that exists, or of the first unit that does not fit.
    pub fn check_names(&self, kind: &ProbeKind) -> Result<(), ParseError> {
        typing::check_names(&self.root, kind)
    }

    /// Whether it asks for `[CONNECTED]`, so that a failed connection is its own to judge.
    pub fn mentions_connected(&self) -> bool {
        self.root
            .references(&mut |reference| match reference.source {
                Source::Connected => std::ops::ControlFlow::Break(()),
                _ => std::ops::ControlFlow::Continue(()),
            })
            .is_break()
    }

    /// The measurements it looks back on, and how far.
    pub fn windows(&self) -> Vec<(String, Duration)> {
        fn collect(term: &Term, windows: &mut Vec<(String, Duration)>) {
            match term {
                Term::Over(Over {
                    reference, window, ..
                }) => {
                    if let Source::Named(name) = &reference.source {
                        windows.push((name.to_string(), *window));
                    }
                }
                Term::Arithmetic(arithmetic) => {
                    collect(&arithmetic.left, windows);
                    collect(&arithmetic.right, windows);
                }
                _ => {}
            }
        }
        let mut windows = Vec::new();
        self.root.comparisons(&mut |comparison| {
            collect(&comparison.left, &mut windows);
            collect(&comparison.right, &mut windows);
        });
        windows
    }

    /// Evaluates it. Where a name stands for several measurements that differ in their labels, the condition is asked
    /// of each, together with what shares its labels, and `quantifier` decides.
    pub fn evaluate<'a>(&'a self, evidence: &Evidence<'a>, quantifier: Quantifier) -> Outcome<'a> {
        evaluate::evaluate(&self.root, evidence, quantifier)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(formatter)
    }
}

/// The name among `names` that `wrong` is probably meant to be: at most a third of it differs.
pub(crate) fn nearest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, name)| *distance <= (name.len().max(wrong.len()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be inserted, removed, replaced or exchanged with their neighbour to make one word the other.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) =
        (left.chars().take(64).collect(), right.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let mut cost = (above[column] + usize::from(a != b))
                .min(above[column + 1] + 1)
                .min(current[column] + 1);
            let is_exchange = row > 0 && column > 0 && *a == right[column - 1] && left[row - 1] == *b;
            if is_exchange {
                cost = cost.min(before[column - 1] + 1);
            }
            current.push(cost);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or_default()
}
