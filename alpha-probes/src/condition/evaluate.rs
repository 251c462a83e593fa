//! From a compiled condition and an observation to an outcome.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::ControlFlow;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::Value as Json;

use super::expression::{
    Arithmetic, Comparison, Literal, Operation, Operator, Over, Reference, Source, Step, Term, Truth,
};
use super::finding::{Finding, Gap};
use super::quantity::{self, Dimension};
use super::window::Point;
use super::{Evidence, Outcome, Quantifier};
use crate::observation::{Body, Labels, Measurement, Observation, Unit};

/// The value of a term.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Number(f64, Dimension),
    Text(Cow<'a, str>),
    Json(&'a Json),
    /// A document was there, and held nothing at the path.
    Missing(&'a Reference),
}

/// The labels that the measurements of one evaluation share, and the element that `[*]` stands for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row<'a> {
    labels: [Option<&'a Labels>; 2],
    element: Option<usize>,
}

/// What one row says.
enum Verdict<'a> {
    True(Finding<'a>),
    False(Finding<'a>),
    /// The name exists, but not for the labels of this row; the row says nothing about it.
    Absent(Gap<'a>),
    Unknown(Gap<'a>),
}

pub(super) fn evaluate<'a>(root: &'a Truth, evidence: &Evidence<'a>, quantifier: Quantifier) -> Outcome<'a> {
    let evaluation = Evaluation {
        evidence: *evidence,
        quantifier,
    };
    match evaluation.all_rows(root) {
        Verdict::True(finding) => Outcome::Holds(finding),
        Verdict::False(finding) => Outcome::Fails(finding),
        Verdict::Absent(gap) | Verdict::Unknown(gap) if gap.is_waiting() => {
            Outcome::Waiting(gap.text(evidence.observation))
        }
        Verdict::Absent(gap) | Verdict::Unknown(gap) => Outcome::Unknown(gap.text(evidence.observation)),
    }
}

/// The measurements that `reference` can mean beside those of `row`.
pub(super) fn candidates<'a>(
    observation: &'a Observation,
    reference: &'a Reference,
    row: Row<'a>,
) -> impl Iterator<Item = &'a Measurement> {
    let name = match &reference.source {
        Source::Named(name) if reference.path.is_empty() => Some(&**name),
        _ => None,
    };
    let measurements = match name {
        Some(_) => observation.measurements.as_slice(),
        None => &[],
    };
    measurements.iter().filter(move |measurement| {
        name.is_some_and(|name| measurement.name.eq_ignore_ascii_case(name))
            && is_selected(reference, measurement)
            && row.agrees_with(&measurement.labels)
    })
}

fn is_selected(reference: &Reference, measurement: &Measurement) -> bool {
    reference.selectors.iter().all(|selector| {
        let value = measurement
            .labels
            .iter()
            .find(|(key, _)| *key == *selector.key)
            .map_or("", |(_, value)| value);
        (value == &*selector.value) != selector.is_negated
    })
}

impl<'a> Row<'a> {
    /// Whether no label that both have differs.
    fn agrees_with(self, labels: &Labels) -> bool {
        self.labels.into_iter().flatten().all(|mine| {
            mine.iter().all(|(key, value)| {
                labels
                    .iter()
                    .all(|(other, theirs)| key != other || value == theirs)
            })
        })
    }

    /// The labels of the row, the first of a key counting.
    pub(super) fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.labels
            .into_iter()
            .flatten()
            .flatten()
            .map(|(key, value)| (&**key, value.as_str()))
    }
}

/// Several verdicts as one, by the quantifier.
struct Tally<'a> {
    quantifier: Quantifier,
    yes: Option<Finding<'a>>,
    no: Option<Finding<'a>>,
    unknown: Option<Gap<'a>>,
    absent: Option<Gap<'a>>,
}

impl<'a> Tally<'a> {
    fn new(quantifier: Quantifier) -> Self {
        Self {
            quantifier,
            yes: None,
            no: None,
            unknown: None,
            absent: None,
        }
    }

    fn add(&mut self, verdict: Verdict<'a>) {
        match verdict {
            Verdict::True(finding) => Self::keep(&mut self.yes, finding, self.quantifier),
            Verdict::False(finding) => Self::keep(&mut self.no, finding, self.quantifier),
            Verdict::Unknown(gap) => keep_gap(&mut self.unknown, gap),
            Verdict::Absent(gap) => keep_gap(&mut self.absent, gap),
        }
    }

    /// Keeps the one nearest to alarm: the furthest over a limit that alarms, the furthest under one that is required.
    fn keep(kept: &mut Option<Finding<'a>>, finding: Finding<'a>, quantifier: Quantifier) {
        let is_worse = kept.as_ref().is_none_or(|kept| match quantifier {
            Quantifier::Any => finding.excess() > kept.excess(),
            Quantifier::All => finding.excess() < kept.excess(),
        });
        if is_worse {
            *kept = Some(finding);
        }
    }

    fn verdict(self) -> Option<Verdict<'a>> {
        let (decisive, other) = match self.quantifier {
            Quantifier::Any => (self.yes.map(Verdict::True), self.no.map(Verdict::False)),
            Quantifier::All => (self.no.map(Verdict::False), self.yes.map(Verdict::True)),
        };
        decisive
            .or(self.unknown.map(Verdict::Unknown))
            .or(other)
            .or(self.absent.map(Verdict::Absent))
    }
}

/// Keeps the first gap, but one that does not close by waiting before one that does.
fn keep_gap<'a>(kept: &mut Option<Gap<'a>>, gap: Gap<'a>) {
    if kept
        .as_ref()
        .is_none_or(|kept| kept.is_waiting() && !gap.is_waiting())
    {
        *kept = Some(gap);
    }
}

pub(super) struct Evaluation<'a> {
    evidence: Evidence<'a>,
    quantifier: Quantifier,
}

impl<'a> Evaluation<'a> {
    fn candidates(&self, reference: &'a Reference, row: Row<'a>) -> impl Iterator<Item = &'a Measurement> {
        candidates(self.evidence.observation, reference, row)
    }

    fn is_plural(&self, reference: &'a Reference, row: Row<'a>) -> bool {
        self.candidates(reference, row).nth(1).is_some()
    }

    /// Asks `root` once for every set of labels among its measurements, or once where no name has several.
    fn all_rows(&self, root: &'a Truth) -> Verdict<'a> {
        let mut tally = Tally::new(self.quantifier);
        let _ = root.references::<()>(&mut |reference| {
            if self.is_plural(reference, Row::default()) {
                for measurement in self.candidates(reference, Row::default()) {
                    if !self.is_in_earlier_row(root, reference, &measurement.labels) {
                        let row = Row {
                            labels: [Some(&measurement.labels), None],
                            element: None,
                        };
                        tally.add(self.truth(root, row));
                    }
                }
            }
            ControlFlow::Continue(())
        });
        tally
            .verdict()
            .unwrap_or_else(|| self.truth(root, Row::default()))
    }

    /// Whether a reference before `reference` has measurements with the same labels.
    fn is_in_earlier_row(&self, root: &'a Truth, reference: &'a Reference, labels: &Labels) -> bool {
        root.references(&mut |earlier| {
            if std::ptr::eq(earlier, reference) {
                return ControlFlow::Break(false);
            }
            let is_covered = self.is_plural(earlier, Row::default())
                && self
                    .candidates(earlier, Row::default())
                    .any(|measurement| measurement.labels == *labels);
            match is_covered {
                true => ControlFlow::Break(true),
                false => ControlFlow::Continue(()),
            }
        })
        .break_value()
        .unwrap_or(false)
    }

    fn truth(&self, truth: &'a Truth, row: Row<'a>) -> Verdict<'a> {
        let (mut yes, mut no, mut unknown, mut absent) = (None, None, None, None);
        match truth {
            Truth::Compare(comparison) => return self.compare(comparison, row),
            Truth::Or(parts) => {
                for part in parts {
                    match self.truth(part, row) {
                        Verdict::True(finding) => return Verdict::True(finding),
                        Verdict::False(finding) => no = no.or(Some(finding)),
                        Verdict::Unknown(gap) => keep_gap(&mut unknown, gap),
                        Verdict::Absent(gap) => keep_gap(&mut absent, gap),
                    }
                }
            }
            Truth::And(parts) => {
                for part in parts {
                    match self.truth(part, row) {
                        Verdict::False(finding) => return Verdict::False(finding),
                        Verdict::True(finding) => yes = yes.or(Some(finding)),
                        Verdict::Unknown(gap) => keep_gap(&mut unknown, gap),
                        Verdict::Absent(gap) => keep_gap(&mut absent, gap),
                    }
                }
                // An alarm needs all of its evidence; a requirement is asked of what the row has.
                if self.quantifier == Quantifier::Any && absent.is_some() {
                    yes = None;
                }
            }
        }
        if let Some(gap) = unknown {
            return Verdict::Unknown(gap);
        }
        match (yes, no, absent) {
            (Some(finding), ..) => Verdict::True(finding),
            (_, Some(finding), _) => Verdict::False(finding),
            (_, _, Some(gap)) => Verdict::Absent(gap),
            // The parser never joins nothing.
            (None, None, None) => Verdict::Unknown(Gap::Empty),
        }
    }

    /// One comparison in `row`; where a name still stands for several measurements, of each of them.
    fn compare(&self, comparison: &'a Comparison, row: Row<'a>) -> Verdict<'a> {
        if row.labels[1].is_none() {
            let mut plural = |reference: &'a Reference| match self.is_plural(reference, row) {
                true => ControlFlow::Break(reference),
                false => ControlFlow::Continue(()),
            };
            let several = match comparison.left.references(&mut plural) {
                ControlFlow::Continue(()) => comparison.right.references(&mut plural),
                found => found,
            };
            if let ControlFlow::Break(reference) = several {
                let mut tally = Tally::new(self.quantifier);
                for measurement in self.candidates(reference, row) {
                    let row = Row {
                        labels: [row.labels[0], Some(&measurement.labels)],
                        ..row
                    };
                    tally.add(self.compare_elements(comparison, row));
                }
                return tally.verdict().unwrap_or(Verdict::Unknown(Gap::Empty));
            }
        }
        self.compare_elements(comparison, row)
    }

    /// One comparison, of every element where its left side says `[*]`: all must satisfy it, and none is too few.
    fn compare_elements(&self, comparison: &'a Comparison, row: Row<'a>) -> Verdict<'a> {
        let wildcard = comparison.left.references(&mut |reference| match reference
            .path
            .iter()
            .position(|step| matches!(step, Step::Every))
        {
            Some(position) => ControlFlow::Break((reference, position)),
            None => ControlFlow::Continue(()),
        });
        let ControlFlow::Break((reference, position)) = wildcard else {
            return self.compare_one(comparison, row);
        };
        let array = match self.root_of(reference) {
            Ok(Value::Json(root)) => walk(root, &reference.path[..position], row),
            Ok(_) => None,
            Err(gap) => return Verdict::Unknown(gap),
        };
        let elements = array.and_then(Json::as_array).map_or(0, Vec::len);
        let mut tally = Tally::new(Quantifier::All);
        for element in 0..elements {
            let row = Row {
                element: Some(element),
                ..row
            };
            tally.add(self.compare_one(comparison, row));
        }
        tally.verdict().unwrap_or_else(|| {
            Verdict::False(Finding::new(
                comparison,
                self,
                row,
                Value::Missing(reference),
                None,
                f64::NEG_INFINITY,
            ))
        })
    }

    fn compare_one(&self, comparison: &'a Comparison, row: Row<'a>) -> Verdict<'a> {
        match self.holds(comparison, row) {
            Ok((true, finding)) => Verdict::True(finding),
            Ok((false, finding)) => Verdict::False(finding),
            Err(gap @ Gap::NotInRow(_)) => Verdict::Absent(gap),
            Err(gap) => Verdict::Unknown(gap),
        }
    }

    fn holds(&self, comparison: &'a Comparison, row: Row<'a>) -> Result<(bool, Finding<'a>), Gap<'a>> {
        let left = self.value(&comparison.left, row)?;
        let operator = comparison.operator;
        let mut other = None;
        let compared = if let Value::Missing(reference) = left {
            missing(operator, reference)
        } else {
            match &comparison.right {
                Term::Pattern(glob) => {
                    let text = plain_text(&left, comparison.counts_milliseconds);
                    Ok(of_equality(operator, glob.is_match(&text)))
                }
                Term::Any(literals) => {
                    let mut is_equal = false;
                    for literal in literals {
                        is_equal = is_equal
                            || against_literal(
                                &left,
                                Operator::Equal,
                                literal,
                                comparison.counts_milliseconds,
                            )?
                            .0;
                    }
                    Ok(of_equality(operator, is_equal))
                }
                Term::Literal(literal) => {
                    against_literal(&left, operator, literal, comparison.counts_milliseconds)
                }
                term => {
                    let right = self.value(term, row)?;
                    let compared = match right {
                        Value::Missing(reference) => missing(operator, reference),
                        _ => against_value(&left, operator, &right),
                    };
                    other = Some(right);
                    compared
                }
            }
        };
        let (holds, excess) = compared?;
        Ok((holds, Finding::new(comparison, self, row, left, other, excess)))
    }

    fn value(&self, term: &'a Term, row: Row<'a>) -> Result<Value<'a>, Gap<'a>> {
        let boolean = |truth: bool| {
            Ok(Value::Number(
                f64::from(u8::from(truth)),
                Dimension::Of(Unit::Boolean),
            ))
        };
        match term {
            Term::Literal(literal) => Ok(match literal.number {
                Some((value, dimension)) => Value::Number(value, dimension),
                None => Value::Text(Cow::Borrowed(&literal.text)),
            }),
            // Both are compared where they stand and have no value of their own.
            Term::Pattern(_) | Term::Any(_) => Err(Gap::Empty),
            Term::Reference(reference) => self.reference(reference, row),
            Term::Arithmetic(arithmetic) => self.arithmetic(arithmetic, row),
            Term::Length(reference) => {
                let length = match self.reference(reference, row)? {
                    missing @ Value::Missing(_) => return Ok(missing),
                    Value::Json(Json::Array(elements)) => elements.len(),
                    value => plain_text(&value, false).chars().count(),
                };
                Ok(Value::Number(length as f64, Dimension::Plain))
            }
            Term::Has(reference) => match self.reference(reference, row) {
                Ok(Value::Missing(_)) => boolean(false),
                Ok(Value::Text(text)) => boolean(!text.is_empty()),
                Ok(_) | Err(Gap::Ambiguous(_)) => boolean(true),
                Err(Gap::NoSuch(_) | Gap::NotInRow(_) | Gap::NoSeries(_)) => boolean(false),
                Err(gap) => Err(gap),
            },
            Term::Age(reference) => {
                let value = match self.reference(reference, row)? {
                    missing @ Value::Missing(_) => return Ok(missing),
                    value => value,
                };
                let instant = instant(&value).ok_or(Gap::NoInstant(reference))?;
                Ok(Value::Number(self.now() - instant, Dimension::Of(Unit::Seconds)))
            }
            Term::Over(over) => self.over(over, row),
            Term::Now => Ok(Value::Number(self.now(), Dimension::Of(Unit::UnixSeconds))),
        }
    }

    fn now(&self) -> f64 {
        self.evidence.now.as_millisecond() as f64 / 1000.0
    }

    /// The one measurement that `reference` means in `row`.
    fn measurement(
        &self,
        reference: &'a Reference,
        row: Row<'a>,
    ) -> Result<Option<&'a Measurement>, Gap<'a>> {
        let mut candidates = self.candidates(reference, row);
        match (candidates.next(), candidates.next()) {
            (Some(_), Some(_)) => Err(Gap::Ambiguous(reference)),
            (Some(measurement), None) if !measurement.value.is_finite() => Err(Gap::NotFinite(reference)),
            (Some(measurement), None) => Ok(Some(measurement)),
            (None, _) if self.candidates(reference, Row::default()).next().is_some() => {
                Err(Gap::NotInRow(reference))
            }
            (None, _) => Ok(None),
        }
    }

    fn reference(&self, reference: &'a Reference, row: Row<'a>) -> Result<Value<'a>, Gap<'a>> {
        if let Some(measurement) = self.measurement(reference, row)? {
            return Ok(Value::Number(measurement.value, Dimension::Of(measurement.unit)));
        }
        match self.root_of(reference)? {
            Value::Json(root) => {
                Ok(walk(root, &reference.path, row).map_or(Value::Missing(reference), Value::Json))
            }
            Value::Text(_) if matches!(reference.source, Source::Body) && !reference.path.is_empty() => {
                Ok(Value::Missing(reference))
            }
            value => Ok(value),
        }
    }

    /// What `reference` names before its path is followed.
    fn root_of(&self, reference: &'a Reference) -> Result<Value<'a>, Gap<'a>> {
        let observation = self.evidence.observation;
        match &reference.source {
            Source::Connected => {
                let is_connected = observation.failure.is_none()
                    && observation.value("connected").is_none_or(|value| value != 0.0);
                Ok(Value::Number(
                    f64::from(u8::from(is_connected)),
                    Dimension::Of(Unit::Boolean),
                ))
            }
            Source::Body => match &observation.body {
                None => Err(Gap::NoDocument(reference)),
                Some(Body::Json(document)) => Ok(Value::Json(document)),
                Some(Body::Text(text)) => Ok(Value::Text(Cow::Borrowed(text.trim()))),
            },
            Source::Header => {
                let Some(Step::Key(name)) = reference.path.first() else {
                    return Err(Gap::NoSuch(reference));
                };
                if observation.headers.is_empty() {
                    return Err(Gap::NoDocument(reference));
                }
                let mut headers = observation.headers.iter();
                Ok(headers
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map_or(Value::Missing(reference), |(_, value)| {
                        Value::Text(Cow::Borrowed(value))
                    }))
            }
            Source::Named(name) => {
                let mut same_name = observation.measurements.iter().filter(|measurement| {
                    reference.path.is_empty() && measurement.name.eq_ignore_ascii_case(name)
                });
                if same_name.next().is_some() {
                    return Err(Gap::NoSeries(reference));
                }
                let fact = observation.facts.get(&**name).or_else(|| {
                    let mut facts = observation.facts.iter();
                    facts
                        .find(|(key, _)| key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value)
                });
                match fact {
                    Some(Json::Null) => Ok(Value::Missing(reference)),
                    Some(fact) if reference.selectors.is_empty() => Ok(Value::Json(fact)),
                    _ => Err(Gap::NoSuch(reference)),
                }
            }
        }
    }

    fn arithmetic(&self, arithmetic: &'a Arithmetic, row: Row<'a>) -> Result<Value<'a>, Gap<'a>> {
        let mut sides = [(0.0, Dimension::Plain); 2];
        for (side, term) in sides.iter_mut().zip([&arithmetic.left, &arithmetic.right]) {
            *side = match self.value(term, row)? {
                missing @ Value::Missing(_) => return Ok(missing),
                value => number(&value).ok_or(Gap::NoNumber(term))?,
            };
        }
        let [(left, left_dimension), (right, right_dimension)] = sides;
        let dimension = left_dimension
            .combined(arithmetic.operation, right_dimension)
            .ok_or(Gap::Meaningless(
                left_dimension,
                arithmetic.operation,
                right_dimension,
            ))?;
        let value = match arithmetic.operation {
            Operation::Add => left + right,
            Operation::Subtract => left - right,
            Operation::Multiply => left * right,
            Operation::Divide if right == 0.0 => return Err(Gap::DividedByZero(&arithmetic.right)),
            Operation::Divide => left / right,
        };
        Ok(Value::Number(value, dimension))
    }

    fn over(&self, over: &'a Over, row: Row<'a>) -> Result<Value<'a>, Gap<'a>> {
        thread_local! {
            /// Points are gathered here, so that looking back allocates once a thread and not once an evaluation.
            static POINTS: Cell<Vec<Point>> = const { Cell::new(Vec::new()) };
        }
        let Some(measurement) = self.measurement(&over.reference, row)? else {
            return Err(match self.root_of(&over.reference) {
                Err(gap) => gap,
                Ok(_) => Gap::NotRemembered(&over.reference),
            });
        };
        let mut points = POINTS.take();
        points.clear();
        let since = self
            .evidence
            .now
            .checked_sub(over.window)
            .unwrap_or(Timestamp::MIN);
        self.evidence
            .series
            .points(&measurement.name, &measurement.labels, since, &mut points);
        let have = points.len();
        let needed = over.function.points_needed();
        let value = if have < needed {
            Err(Gap::TooFewPoints { over, have, needed })
        } else {
            over.function
                .apply(&mut points, self.evidence.now)
                .filter(|value| value.is_finite())
                .ok_or(Gap::TooFewPoints {
                    over,
                    have: 1,
                    needed,
                })
        };
        POINTS.set(points);
        let dimension = over.function.dimension(Dimension::Of(measurement.unit));
        value.map(|value| Value::Number(value, dimension))
    }

    pub(super) fn observation(&self) -> &'a Observation {
        self.evidence.observation
    }

    pub(super) fn quantifier(&self) -> Quantifier {
        self.quantifier
    }
}

/// Follows `path`; nothing where it ends early or at a null.
fn walk<'a>(root: &'a Json, path: &[Step], row: Row<'_>) -> Option<&'a Json> {
    let mut at = root;
    for step in path {
        at = match step {
            Step::Key(key) => at.as_object()?.get(&**key)?,
            Step::Index(index) => at.as_array()?.get(*index)?,
            Step::Every => at.as_array()?.get(row.element?)?,
        };
    }
    (!at.is_null()).then_some(at)
}

/// What is missing equals nothing and has no order. Whether it differs cannot be told: saying yes would make a
/// requirement hold because something is missing.
fn missing<'a>(operator: Operator, reference: &'a Reference) -> Result<(bool, f64), Gap<'a>> {
    match operator {
        Operator::NotEqual => Err(Gap::NotInDocument(reference)),
        _ => Ok((false, f64::NEG_INFINITY)),
    }
}

fn of_equality(operator: Operator, is_equal: bool) -> (bool, f64) {
    (is_equal == (operator == Operator::Equal), 0.0)
}

/// Whether `left operator right` holds, and by how much in parts of the limit; negative where it does not.
fn of_numbers(left: f64, operator: Operator, right: f64) -> (bool, f64) {
    let scale = right.abs().max(f64::MIN_POSITIVE);
    let excess = (left - right) / scale;
    match operator {
        Operator::Equal => (left == right, -excess.abs()),
        Operator::NotEqual => (left != right, excess.abs()),
        Operator::Less => (left < right, -excess),
        Operator::LessOrEqual => (left <= right, -excess),
        Operator::Greater => (left > right, excess),
        Operator::GreaterOrEqual => (left >= right, excess),
    }
}

/// Numbers beyond it are compared as texts, because they have neighbours that round to the same.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn against_literal<'a>(
    left: &Value<'a>,
    operator: Operator,
    literal: &'a Literal,
    counts_milliseconds: bool,
) -> Result<(bool, f64), Gap<'a>> {
    if let (Some(truth), true) = (literal.truth(), operator.is_equality()) {
        match left {
            Value::Number(value, Dimension::Of(Unit::Boolean)) => {
                return Ok(of_equality(operator, (*value != 0.0) == truth));
            }
            Value::Json(Json::Bool(value)) => return Ok(of_equality(operator, *value == truth)),
            _ => {}
        }
    }
    let is_measured = matches!(left, Value::Number(..));
    if operator.is_equality() && !is_measured {
        let text = plain_text(left, false);
        if text == *literal.text {
            return Ok(of_equality(operator, true));
        }
        let (Some(right), Some(left)) = (literal.number, number(left)) else {
            return Ok(of_equality(operator, false));
        };
        if left.0.abs() >= EXACT || right.0.abs() >= EXACT {
            return Ok(of_equality(operator, false));
        }
        return of_quantities(left, operator, right, false);
    }
    let (Some(left_number), Some(right)) = (number(left), literal.number) else {
        return Err(if is_measured {
            Gap::TextBesideNumber(&literal.text)
        } else {
            Gap::TextNotNumber(plain_text(left, false).into_owned())
        });
    };
    of_quantities(left_number, operator, right, counts_milliseconds)
}

fn against_value<'a>(
    left: &Value<'a>,
    operator: Operator,
    right: &Value<'a>,
) -> Result<(bool, f64), Gap<'a>> {
    match (number(left), number(right)) {
        (Some(left), Some(right)) if left.0.abs() < EXACT && right.0.abs() < EXACT => {
            of_quantities(left, operator, right, false)
        }
        _ if operator.is_equality() => Ok(of_equality(
            operator,
            plain_text(left, false) == plain_text(right, false),
        )),
        (Some(left), Some(right)) => of_quantities(left, operator, right, false),
        (Some(_), None) => Err(Gap::TextNotNumber(plain_text(right, false).into_owned())),
        (None, _) => Err(Gap::TextNotNumber(plain_text(left, false).into_owned())),
    }
}

fn of_quantities<'a>(
    (left, left_dimension): (f64, Dimension),
    operator: Operator,
    (right, right_dimension): (f64, Dimension),
    counts_milliseconds: bool,
) -> Result<(bool, f64), Gap<'a>> {
    const SECONDS: Dimension = Dimension::Of(Unit::Seconds);
    let (left, right) = match (left_dimension, right_dimension) {
        // Whole milliseconds; the little that is added undoes what the product loses, 0.057 * 1000 being 57.000…01.
        (SECONDS, Dimension::Plain) if counts_milliseconds => ((left * 1000.0 + 1e-6).floor(), right),
        // A number in a document beside a span of time counts milliseconds, as in Gatus.
        (Dimension::Untyped, SECONDS) => (left / 1000.0, right),
        (SECONDS, Dimension::Untyped) => (left, right / 1000.0),
        (left_dimension, right_dimension) if !left_dimension.goes_with(right_dimension) => {
            return Err(Gap::Mismatch(left_dimension, right_dimension));
        }
        _ => (left, right),
    };
    Ok(of_numbers(left, operator, right))
}

/// `value` as a number, where it is one or reads as one.
pub(super) fn number(value: &Value<'_>) -> Option<(f64, Dimension)> {
    let read = |text: &str| {
        quantity::read_whole(text).map(|(value, dimension)| match dimension {
            Dimension::Plain => (value, Dimension::Untyped),
            dimension => (value, dimension),
        })
    };
    match value {
        Value::Number(value, dimension) => Some((*value, *dimension)),
        Value::Text(text) => read(text),
        Value::Json(Json::String(text)) => read(text),
        Value::Json(Json::Number(number)) => Some((number.as_f64()?, Dimension::Untyped)),
        Value::Json(Json::Bool(truth)) => Some((f64::from(u8::from(*truth)), Dimension::Of(Unit::Boolean))),
        Value::Json(_) | Value::Missing(_) => None,
    }
}

/// `value` as Gatus writes it, for comparisons of texts; documents without spaces.
pub(super) fn plain_text<'v>(value: &'v Value<'_>, counts_milliseconds: bool) -> Cow<'v, str> {
    match value {
        Value::Number(value, Dimension::Of(Unit::Boolean)) => {
            Cow::Borrowed(if *value == 0.0 { "false" } else { "true" })
        }
        Value::Number(value, Dimension::Of(Unit::Seconds)) if counts_milliseconds => {
            (value * 1000.0 + 1e-6).floor().to_string().into()
        }
        Value::Number(value, _) => value.to_string().into(),
        Value::Text(text) => Cow::Borrowed(text),
        Value::Json(Json::String(text)) => Cow::Borrowed(text),
        Value::Json(json) => json.to_string().into(),
        Value::Missing(_) => Cow::Borrowed(""),
    }
}

/// `value` as seconds since 1970: a number of seconds, of milliseconds from 10¹² on, or a date by RFC 3339 or RFC 2822.
fn instant(value: &Value<'_>) -> Option<f64> {
    match number(value) {
        Some((seconds, Dimension::Of(Unit::UnixSeconds))) => return Some(seconds),
        Some((number, Dimension::Untyped)) => {
            return Some(if number >= 1e12 { number / 1000.0 } else { number });
        }
        Some(_) => return None,
        None => {}
    }
    let text = plain_text(value, false);
    let at: Timestamp = text.parse().ok().or_else(|| {
        let zoned = rfc2822::parse(&text).ok()?;
        Some(zoned.timestamp())
    })?;
    Some(at.as_millisecond() as f64 / 1000.0)
}
