//! What can be said about a condition before anything was observed: which names exist, and which units go together.

use super::expression::{
    Arithmetic, Comparison, Function, Literal, Over, Reference, Source, Step, Term, Truth,
};
use super::quantity::Dimension;
use super::{ParseError, nearest};
use crate::observation::Unit;
use crate::probe::{Metric, ProbeKind, Shape};
use crate::text;

/// Names that are never metrics but may always be asked for.
const PLACEHOLDERS: &[&str] = &["ip", "dns_rcode"];

/// What a term yields, as far as is known without an observation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    /// A measurement or a fact of which nothing is known.
    Unknown,
    Number(Dimension),
    Text,
}

/// Checks `truth` against `kind`, or against the language alone where there is none.
pub(super) fn check(truth: &mut Truth, kind: Option<&ProbeKind>) -> Result<(), ParseError> {
    match truth {
        Truth::Or(parts) | Truth::And(parts) => parts.iter_mut().try_for_each(|part| check(part, kind)),
        Truth::Compare(comparison) => {
            comparison.counts_milliseconds = has_bare_number(&comparison.right)
                && comparison
                    .left
                    .references(&mut |reference| match reference.counts_milliseconds {
                        true => std::ops::ControlFlow::Break(()),
                        false => std::ops::ControlFlow::Continue(()),
                    })
                    .is_break();
            check_comparison(comparison, &Declared { kind })
        }
    }
}

/// Checks the names of `truth` against `kind`.
pub(super) fn check_names(truth: &Truth, kind: &ProbeKind) -> Result<(), ParseError> {
    let mut result = Ok(());
    truth.comparisons(&mut |comparison| {
        if result.is_ok() {
            result = check_comparison(comparison, &Declared { kind: Some(kind) });
        }
    });
    result
}

fn has_bare_number(term: &Term) -> bool {
    let is_bare = |literal: &Literal| matches!(literal.number, Some((_, Dimension::Plain)));
    match term {
        Term::Literal(literal) => is_bare(literal),
        Term::Any(literals) => literals.iter().any(is_bare),
        _ => false,
    }
}

/// What the kind of probe declares.
struct Declared<'k> {
    kind: Option<&'k ProbeKind>,
}

impl Declared<'_> {
    fn metric(&self, name: &str) -> Option<&Metric> {
        let metrics = self.kind.map_or(&[][..], |kind| kind.metrics);
        metrics
            .iter()
            .find(|metric| metric.name.eq_ignore_ascii_case(name))
    }

    /// The type of what stands in brackets. Facts are not declared, so that a name that is no metric may be one
    /// where `may_be_fact`, which is where a text would make sense.
    fn reference(&self, reference: &Reference, may_be_fact: bool) -> Result<Type, ParseError> {
        let name = match &reference.source {
            Source::Connected => return Ok(Type::Number(Dimension::Of(Unit::Boolean))),
            Source::Body | Source::Header => return Ok(Type::Unknown),
            Source::Named(name) => name,
        };
        if !reference.path.is_empty() {
            return Ok(Type::Unknown);
        }
        if let Some(metric) = self.metric(name) {
            return Ok(Type::Number(Dimension::Of(metric.unit)));
        }
        if reference.counts_milliseconds && self.kind.is_none() {
            return Ok(Type::Number(Dimension::Of(Unit::Seconds)));
        }
        let Some(kind) = self.kind.filter(|kind| !kind.is_open) else {
            return Ok(Type::Unknown);
        };
        if may_be_fact || PLACEHOLDERS.contains(&&**name) {
            return Ok(Type::Unknown);
        }
        Err(self.unknown_name(kind, name, reference.column))
    }

    fn unknown_name(&self, kind: &ProbeKind, name: &str, column: usize) -> ParseError {
        let names = kind.metrics.iter().map(|metric| metric.name);
        let message = match nearest(&name.to_ascii_lowercase(), names.clone()) {
            Some(near) => text!(
                "the probe `{probe}` measures no `{name}`, did you mean `[{near}]`?",
                probe = kind.name,
                name = name,
                near = near
            ),
            None => text!(
                "the probe `{probe}` measures no `{name}`, only {names}",
                probe = kind.name,
                name = name,
                names = names.collect::<Vec<_>>().join(", ")
            ),
        };
        ParseError { column, message }
    }

    fn term(&self, term: &Term, may_be_fact: bool) -> Result<Type, ParseError> {
        match term {
            Term::Literal(literal) => Ok(literal
                .number
                .map_or(Type::Text, |(_, dimension)| Type::Number(dimension))),
            Term::Pattern(_) | Term::Any(_) => Ok(Type::Text),
            Term::Reference(reference) => self.reference(reference, may_be_fact),
            Term::Arithmetic(arithmetic) => self.arithmetic(arithmetic),
            Term::Length(_) => Ok(Type::Number(Dimension::Plain)),
            Term::Has(_) => Ok(Type::Number(Dimension::Of(Unit::Boolean))),
            Term::Age(reference) => match self.reference(reference, true)? {
                Type::Number(Dimension::Of(unit)) if unit != Unit::UnixSeconds => Err(ParseError {
                    column: reference.column,
                    message: text!(
                        "`age` needs an instant, this is {unit}; `changed` tells how long a value has been the same",
                        unit = unit.as_str()
                    ),
                }),
                _ => Ok(Type::Number(Dimension::Of(Unit::Seconds))),
            },
            Term::Over(over) => self.over(over),
            Term::Now => Ok(Type::Number(Dimension::Of(Unit::UnixSeconds))),
        }
    }

    fn arithmetic(&self, arithmetic: &Arithmetic) -> Result<Type, ParseError> {
        let (left, right) = (
            self.term(&arithmetic.left, false)?,
            self.term(&arithmetic.right, false)?,
        );
        let (Type::Number(left), Type::Number(right)) = (left, right) else {
            return Ok(Type::Unknown);
        };
        left.combined(arithmetic.operation, right)
            .map(Type::Number)
            .ok_or_else(|| ParseError {
                column: arithmetic.column,
                message: text!(
                    "{left} {operation} {right} means nothing",
                    left = left.as_str(),
                    operation = arithmetic.operation.as_str(),
                    right = right.as_str()
                ),
            })
    }

    fn over(&self, over: &Over) -> Result<Type, ParseError> {
        let of = self.reference(&over.reference, false)?;
        if let Source::Named(name) = &over.reference.source
            && let Some(metric) = self.metric(name)
            && over.function == Function::Rate
            && metric.shape == Shape::Gauge
        {
            return Err(ParseError {
                column: over.reference.column,
                message: text!(
                    "`[{name}]` goes up and down, `rate` is for counters: use `delta`",
                    name = &**name
                ),
            });
        }
        Ok(match of {
            Type::Number(dimension) => Type::Number(over.function.dimension(dimension)),
            _ if over.function == Function::Changed => Type::Number(Dimension::Of(Unit::Seconds)),
            other => other,
        })
    }
}

impl Function {
    /// What it yields over a measurement of `dimension`.
    pub(super) fn dimension(self, dimension: Dimension) -> Dimension {
        match (self, dimension) {
            (Self::Changed, _) => Dimension::Of(Unit::Seconds),
            (Self::Rate, Dimension::Of(Unit::Count)) => Dimension::Of(Unit::PerSecond),
            (Self::Rate, Dimension::Of(Unit::Bytes)) => Dimension::Of(Unit::BytesPerSecond),
            (Self::Rate, _) => Dimension::Plain,
            (_, dimension) => dimension,
        }
    }
}

fn check_comparison(comparison: &Comparison, declared: &Declared<'_>) -> Result<(), ParseError> {
    let Comparison {
        left,
        operator,
        right,
        ..
    } = comparison;
    let may_be_fact = operator.is_equality()
        && match right {
            Term::Literal(literal) => literal.number.is_none(),
            Term::Pattern(_) | Term::Any(_) | Term::Reference(_) => true,
            _ => false,
        };
    let left_type = declared.term(left, may_be_fact)?;
    let right_type = declared.term(right, may_be_fact)?;
    let fail = |message| {
        Err(ParseError {
            column: comparison.right_column,
            message,
        })
    };
    match right {
        Term::Pattern(_) | Term::Any(_) if !operator.is_equality() => {
            return fail(text!("`pat` and `any` go with `==` and `!=` only"));
        }
        Term::Literal(literal) if !operator.is_equality() && literal.number.is_none() => {
            return fail(text!(
                "expected a number after `{operator}`, found `{found}`",
                operator = operator.as_str(),
                found = &*literal.text
            ));
        }
        Term::Literal(literal) => check_literal(literal, left_type).or_else(fail)?,
        Term::Any(literals) => literals
            .iter()
            .try_for_each(|literal| check_literal(literal, left_type))
            .or_else(fail)?,
        _ => {}
    }
    if let (Type::Number(left), Type::Number(right)) = (left_type, right_type)
        && !left.goes_with(right)
    {
        return fail(mismatch(left, right));
    }
    // A wildcard is walked on the left side only.
    let mut wildcard = Ok(());
    let _ = right.references(&mut |reference| {
        if reference.path.iter().any(|step| matches!(step, Step::Every)) {
            wildcard = Err(ParseError {
                column: reference.column,
                message: text!("`[*]` may stand on the left side only"),
            });
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    wildcard
}

/// Whether a constant can be compared with a measurement of a known unit.
fn check_literal(literal: &Literal, left: Type) -> Result<(), crate::text::Text> {
    let Type::Number(dimension) = left else {
        return Ok(());
    };
    match (dimension, literal.number) {
        (Dimension::Of(Unit::Boolean), Some((0.0 | 1.0, Dimension::Plain))) => Ok(()),
        (Dimension::Of(Unit::Boolean), _) if literal.truth().is_none() => Err(text!(
            "expected `true` or `false`, found `{found}`",
            found = &*literal.text
        )),
        (Dimension::Of(Unit::Ratio), Some((value, Dimension::Plain))) if value > 1.0 => Err(text!(
            "this is a share from 0 to 1: write `{found}%`",
            found = &*literal.text
        )),
        (dimension, Some((_, other))) if !dimension.goes_with(other) => Err(mismatch(dimension, other)),
        (Dimension::Of(unit), None) if literal.truth().is_some() && unit != Unit::Boolean => Err(text!(
            "this is {unit} and says neither yes nor no: compare it with a number",
            unit = unit.as_str()
        )),
        (Dimension::Of(unit), None) if unit != Unit::Boolean => Err(text!(
            "expected {unit}, found the text `{found}`",
            unit = unit.as_str(),
            found = &*literal.text
        )),
        _ => Ok(()),
    }
}

fn mismatch(left: Dimension, right: Dimension) -> crate::text::Text {
    text!(
        "{left} cannot be compared with {right}",
        left = left.as_str(),
        right = right.as_str()
    )
}
