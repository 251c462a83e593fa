//! What decided, and what kept a condition from being told; both become words only when asked.

use std::fmt;

use super::Quantifier;
use super::evaluate::{Evaluation, Row, Value, candidates, plain_text};
use super::expression::{Comparison, Literal, Operation, Over, Reference, Source, Term};
use super::quantity::Dimension;
use crate::observation::{Observation, Unit};
use crate::text;
use crate::text::Text;

/// How much of a text is shown.
const SHOWN: usize = 80;

/// How many names are listed in a message.
const LISTED: usize = 12;

/// The comparison that decided. Light: it points at the condition and the observation, and renders when asked.
#[derive(Clone, Debug)]
pub struct Finding<'a> {
    comparison: &'a Comparison,
    observation: &'a Observation,
    quantifier: Quantifier,
    row: Row<'a>,
    left: Value<'a>,
    /// The value of the right side, where it is no constant.
    right: Option<Value<'a>>,
    excess: f64,
}

impl<'a> Finding<'a> {
    pub(super) fn new(
        comparison: &'a Comparison,
        evaluation: &Evaluation<'a>,
        row: Row<'a>,
        left: Value<'a>,
        right: Option<Value<'a>>,
        excess: f64,
    ) -> Self {
        Self {
            comparison,
            observation: evaluation.observation(),
            quantifier: evaluation.quantifier(),
            row,
            left,
            right,
            excess,
        }
    }

    /// By how much of the limit the comparison holds; negative where it does not.
    pub(super) fn excess(&self) -> f64 {
        self.excess
    }

    /// The value of the label `key` of what decided.
    pub(crate) fn label(&self, key: &str) -> Option<&'a str> {
        let of_row = self
            .row
            .labels()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value);
        of_row.or_else(|| {
            let mut found = None;
            let _ = self.comparison.left.references::<()>(&mut |reference| {
                let measurement = candidates(self.observation, reference, self.row).next();
                let labels = measurement
                    .into_iter()
                    .flat_map(|measurement| &measurement.labels);
                found = found.or(labels
                    .into_iter()
                    .find(|(name, _)| name == key)
                    .map(|(_, value)| value.as_str()));
                std::ops::ControlFlow::Continue(())
            });
            found
        })
    }

    /// The value of the measurement `name` beside what decided, as a person reads it.
    pub(crate) fn measured(&self, name: &str) -> Option<String> {
        let named = self
            .observation
            .measurements
            .iter()
            .filter(|measurement| measurement.name == name);
        let agreeing = named.clone().find(|measurement| {
            measurement
                .labels
                .iter()
                .all(|(key, value)| self.label(key).is_none_or(|mine| mine == value))
        });
        agreeing.map(|measurement| measurement.display_value())
    }

    /// Whether it compares what the probe measures first, which is what its check is chiefly about.
    pub(crate) fn is_chief(&self) -> bool {
        let chief = self.observation.measurements.first();
        match (&self.comparison.left, chief) {
            (Term::Reference(reference), Some(chief)) => candidates(self.observation, reference, self.row)
                .any(|measurement| measurement.name == chief.name),
            _ => false,
        }
    }

    /// What was measured, with its labels: `used{mount="/data"}`.
    pub fn subject(&self) -> String {
        self.labelled(&self.comparison.left).to_string()
    }

    /// The actual value as a person reads it; empty where it is missing.
    pub fn value(&self) -> String {
        let is_share = matches!(
            &self.comparison.right,
            Term::Literal(Literal {
                number: Some((_, Dimension::Of(Unit::Ratio))),
                ..
            })
        );
        match &self.left {
            Value::Number(value, Dimension::Plain) if is_share => Unit::Ratio.format(*value),
            value => shown(value),
        }
    }

    /// What it was compared with, operator included: `> 80 %`.
    pub fn limit(&self) -> String {
        let beside = match &self.left {
            Value::Number(_, dimension) => *dimension,
            _ => Dimension::Untyped,
        };
        let limit = match (&self.comparison.right, &self.right) {
            (Term::Literal(literal), _) => self.constant(literal, beside),
            (Term::Any(literals), _) => {
                let constants: Vec<_> = literals
                    .iter()
                    .map(|literal| self.constant(literal, beside))
                    .collect();
                format!("any({})", constants.join(", "))
            }
            (Term::Pattern(glob), _) => format!("pat({})", glob.as_str()),
            (term, Some(value)) => match shown(value) {
                value if value.is_empty() || term.is_constant() => self.labelled(term).to_string(),
                value => format!("{} ({value})", self.labelled(term)),
            },
            (term, None) => self.labelled(term).to_string(),
        };
        format!("{} {limit}", self.comparison.operator.as_str())
    }

    /// The whole as a sentence: `used{mount="/data"} is 91 %, limit > 80 %`.
    pub fn text(&self) -> Text {
        let (subject, value, limit) = (self.subject(), self.value(), self.limit());
        if matches!(self.left, Value::Missing(_)) {
            return text!(
                "{subject} is missing, required {limit}",
                subject = subject,
                limit = limit
            );
        }
        match self.quantifier {
            Quantifier::Any => {
                text!(
                    "{subject} is {value}, limit {limit}",
                    subject = subject,
                    value = value,
                    limit = limit
                )
            }
            Quantifier::All => {
                text!(
                    "{subject} is {value}, required {limit}",
                    subject = subject,
                    value = value,
                    limit = limit
                )
            }
        }
    }

    /// A constant in the unit of what it is compared with.
    fn constant(&self, literal: &Literal, beside: Dimension) -> String {
        match (literal.number, beside) {
            (Some((value, Dimension::Plain)), Dimension::Of(Unit::Seconds))
                if self.comparison.counts_milliseconds =>
            {
                Unit::Seconds.format(value / 1000.0)
            }
            (Some((value, Dimension::Plain)), beside) => beside.format(value),
            (Some((value, dimension)), _) => dimension.format(value),
            (None, Dimension::Of(Unit::Boolean)) => literal.truth().map_or_else(
                || cut(&literal.text),
                |truth| Unit::Boolean.format(f64::from(u8::from(truth))),
            ),
            (None, _) => cut(&literal.text),
        }
    }

    fn labelled(&self, term: &'a Term) -> Labelled<'_, 'a> {
        Labelled { finding: self, term }
    }
}

/// A term with the labels of what decided, and without brackets around names.
struct Labelled<'f, 'a> {
    finding: &'f Finding<'a>,
    term: &'a Term,
}

impl Labelled<'_, '_> {
    fn reference(&self, reference: &Reference, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measurement = self.finding.observation.measurements.iter().find(|measurement| {
            matches!(&reference.source, Source::Named(name) if measurement.name.eq_ignore_ascii_case(name))
                && measurement
                    .labels
                    .iter()
                    .all(|(key, value)| self.finding.label(key).is_none_or(|mine| mine == value))
        });
        match (measurement, &reference.source) {
            (Some(measurement), _) if reference.path.is_empty() => write!(formatter, "{measurement}"),
            (_, Source::Connected) => formatter.write_str("connected"),
            (_, Source::Named(name)) if reference.path.is_empty() && reference.selectors.is_empty() => {
                formatter.write_str(name)
            }
            _ => write!(formatter, "{reference}"),
        }
    }
}

impl fmt::Display for Labelled<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.term {
            Term::Reference(reference) => self.reference(reference, formatter),
            Term::Length(reference) | Term::Has(reference) | Term::Age(reference) => {
                let function = match self.term {
                    Term::Length(_) => "len",
                    Term::Has(_) => "has",
                    _ => "age",
                };
                write!(formatter, "{function}(")?;
                self.reference(reference, formatter)?;
                formatter.write_str(")")
            }
            Term::Over(over) => {
                write!(formatter, "{}(", over.function)?;
                self.reference(&over.reference, formatter)?;
                over.write_arguments(formatter)
            }
            Term::Arithmetic(arithmetic) => {
                write!(
                    formatter,
                    "{} {} {}",
                    self.finding.labelled(&arithmetic.left),
                    arithmetic.operation.as_str(),
                    self.finding.labelled(&arithmetic.right)
                )
            }
            term => write!(formatter, "{term}"),
        }
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Number(value, dimension) => dimension.format(*value),
        Value::Missing(_) => String::new(),
        value => cut(&plain_text(value, false)),
    }
}

/// The beginning of `text` without line breaks.
fn cut(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(SHOWN)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

/// Why a condition cannot be told.
#[derive(Clone, Debug)]
pub(super) enum Gap<'a> {
    /// Nothing has this name.
    NoSuch(&'a Reference),
    /// The name exists, but not with these labels.
    NoSeries(&'a Reference),
    /// The name exists, but not with the labels of this row.
    NotInRow(&'a Reference),
    /// The name stands for several measurements, and nothing tells which.
    Ambiguous(&'a Reference),
    /// The measurement is no number.
    NotFinite(&'a Reference),
    /// There is no document.
    NoDocument(&'a Reference),
    /// The document holds nothing at the path.
    NotInDocument(&'a Reference),
    /// It is no instant.
    NoInstant(&'a Reference),
    /// It is a fact, of which no past is kept.
    NotRemembered(&'a Reference),
    /// It has too short a past.
    TooFewPoints {
        over: &'a Over,
        have: usize,
        needed: usize,
    },
    NoNumber(&'a Term),
    TextNotNumber(String),
    TextBesideNumber(&'a str),
    DividedByZero(&'a Term),
    Mismatch(Dimension, Dimension),
    Meaningless(Dimension, Operation, Dimension),
    /// There is nothing to evaluate, which the parser excludes.
    Empty,
}

impl Gap<'_> {
    /// Whether it closes by itself.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::TooFewPoints { .. })
    }

    pub(super) fn text(&self, observation: &Observation) -> Text {
        match self {
            Self::NoSuch(reference) | Self::NotInRow(reference) => no_such(reference, observation),
            Self::NoSeries(reference) => text!(
                "nothing matches {name}, only {names}",
                name = reference.to_string(),
                names = series_of(reference, observation)
            ),
            Self::Ambiguous(reference) => text!(
                "{name} stands for several: choose one of {names}",
                name = reference.to_string(),
                names = series_of(reference, observation)
            ),
            Self::NotFinite(reference) => text!("{name} has no value", name = reference.to_string()),
            Self::NoDocument(reference) => {
                text!(
                    "there is no document that {name} could look into",
                    name = reference.to_string()
                )
            }
            Self::NotInDocument(reference) => text!("{name} is missing", name = reference.to_string()),
            Self::NoInstant(reference) => text!("{name} is no instant", name = reference.to_string()),
            Self::NotRemembered(reference) => {
                text!(
                    "{name} is no measurement, so that its past is not kept",
                    name = reference.to_string()
                )
            }
            Self::TooFewPoints { over, have, needed } => text!(
                "{function} needs {needed} values, there are {have} so far",
                function = over.to_string(),
                needed = *needed,
                have = *have
            ),
            Self::NoNumber(term) => text!("{name} is no number", name = term.to_string()),
            Self::TextNotNumber(found) => text!("\"{found}\" is no number", found = cut(found)),
            Self::TextBesideNumber(text) => {
                text!("a number cannot be compared with \"{found}\"", found = cut(text))
            }
            Self::DividedByZero(term) => text!("{name} is zero and cannot divide", name = term.to_string()),
            Self::Mismatch(left, right) => text!(
                "{left} cannot be compared with {right}",
                left = left.as_str(),
                right = right.as_str()
            ),
            Self::Meaningless(left, operation, right) => text!(
                "{left} {operation} {right} means nothing",
                left = left.as_str(),
                operation = operation.as_str(),
                right = right.as_str()
            ),
            Self::Empty => text!("there is nothing to compare"),
        }
    }
}

fn no_such(reference: &Reference, observation: &Observation) -> Text {
    let name = reference.to_string();
    if let Some(why) = &observation.failure {
        return text!("{name} is not known: {why}", name = name, why = why.clone());
    }
    let mut names: Vec<&str> = Vec::new();
    let measured = observation
        .measurements
        .iter()
        .map(|measurement| &*measurement.name);
    for known in measured.chain(observation.facts.keys().map(|fact| &**fact)) {
        if names.len() < LISTED && !names.contains(&known) {
            names.push(known);
        }
    }
    match names.is_empty() {
        true => text!("{name} is not there: nothing was observed", name = name),
        false => text!(
            "{name} is not there, only {names}",
            name = name,
            names = names.join(", ")
        ),
    }
}

fn series_of(reference: &Reference, observation: &Observation) -> String {
    let Source::Named(name) = &reference.source else {
        return String::new();
    };
    let series: Vec<String> = observation
        .measurements
        .iter()
        .filter(|measurement| measurement.name.eq_ignore_ascii_case(name))
        .take(LISTED)
        .map(ToString::to_string)
        .collect();
    series.join(", ")
}
