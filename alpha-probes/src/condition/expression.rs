//! The compiled form of a condition, and how it is written again.

use std::fmt;
use std::time::Duration;

use super::glob::Glob;
use super::quantity::Dimension;
use crate::config::Period;

/// Something that holds, does not hold, or cannot be told. Negations are pushed down into the comparisons.
#[derive(Debug)]
pub(super) enum Truth {
    Or(Vec<Truth>),
    And(Vec<Truth>),
    Compare(Box<Comparison>),
}

/// `left operator right`; where one side is constant it is the right one.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) left: Term,
    pub(super) operator: Operator,
    pub(super) right: Term,
    /// Where the right side begins, in characters from 1.
    pub(super) right_column: usize,
    /// Whether bare numbers on the right count whole milliseconds, as Gatus' do.
    pub(super) counts_milliseconds: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    /// The longer ones first, so that a prefix does not hide them.
    pub(super) const ALL: [Self; 6] = [
        Self::Equal,
        Self::NotEqual,
        Self::LessOrEqual,
        Self::GreaterOrEqual,
        Self::Less,
        Self::Greater,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    pub(super) fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The operator that says the same with the sides exchanged.
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    pub(super) fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual)
    }
}

/// Something that has a value.
#[derive(Debug)]
pub(super) enum Term {
    Literal(Literal),
    Pattern(Glob),
    Any(Vec<Literal>),
    Reference(Reference),
    Arithmetic(Box<Arithmetic>),
    Length(Reference),
    Has(Reference),
    Age(Reference),
    Over(Over),
    Now,
}

#[derive(Debug)]
pub(super) struct Arithmetic {
    pub(super) left: Term,
    pub(super) operation: Operation,
    pub(super) right: Term,
    /// Where the operator stands.
    pub(super) column: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operation {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }
}

/// A constant, and everything it can stand for.
#[derive(Clone, Debug)]
pub(super) struct Literal {
    pub(super) text: Box<str>,
    /// `None` where it is quoted or does not read as a number with a unit.
    pub(super) number: Option<(f64, Dimension)>,
    pub(super) is_quoted: bool,
}

impl Literal {
    /// Whether it says yes or no.
    pub(super) fn truth(&self) -> Option<bool> {
        match &*self.text {
            "true" | "yes" if !self.is_quoted => Some(true),
            "false" | "no" if !self.is_quoted => Some(false),
            _ => None,
        }
    }
}

/// `[name{label="value"}].path`.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) column: usize,
    pub(super) source: Source,
    pub(super) selectors: Vec<Selector>,
    pub(super) path: Vec<Step>,
    /// Whether it is a Gatus placeholder whose bare numbers count milliseconds.
    pub(super) counts_milliseconds: bool,
}

#[derive(Debug)]
pub(super) enum Source {
    /// A measurement or a fact.
    Named(Box<str>),
    /// The document.
    Body,
    /// The headers that came with the document; the first step of the path names one.
    Header,
    /// Whether the target answered.
    Connected,
}

/// `key="value"` or `key!="value"`.
#[derive(Debug)]
pub(super) struct Selector {
    pub(super) key: Box<str>,
    pub(super) value: Box<str>,
    pub(super) is_negated: bool,
}

#[derive(Debug)]
pub(super) enum Step {
    Key(Box<str>),
    Index(usize),
    /// `[*]`: every element of an array.
    Every,
}

/// A function over the past of a measurement.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) function: Function,
    pub(super) reference: Reference,
    pub(super) window: Duration,
    /// Whether the window was written down, or follows from the function.
    pub(super) has_window: bool,
    pub(super) column: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Function {
    Rate,
    Delta,
    Average,
    Minimum,
    Maximum,
    /// The share below, in percent, 1 to 99.
    Percentile(u8),
    /// How far ahead.
    Forecast(Duration),
    Changed,
}

impl fmt::Display for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate => formatter.write_str("rate"),
            Self::Delta => formatter.write_str("delta"),
            Self::Average => formatter.write_str("avg"),
            Self::Minimum => formatter.write_str("min"),
            Self::Maximum => formatter.write_str("max"),
            Self::Percentile(percent) => write!(formatter, "p{percent}"),
            Self::Forecast(_) => formatter.write_str("forecast"),
            Self::Changed => formatter.write_str("changed"),
        }
    }
}

impl Truth {
    /// What holds exactly where this does not.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Or(parts) => Self::And(parts.into_iter().map(Self::negated).collect()),
            Self::And(parts) => Self::Or(parts.into_iter().map(Self::negated).collect()),
            Self::Compare(mut comparison) => {
                comparison.operator = comparison.operator.negated();
                Self::Compare(comparison)
            }
        }
    }

    pub(super) fn comparisons<'a>(&'a self, visit: &mut impl FnMut(&'a Comparison)) {
        match self {
            Self::Or(parts) | Self::And(parts) => parts.iter().for_each(|part| part.comparisons(visit)),
            Self::Compare(comparison) => visit(comparison),
        }
    }

    /// Visits everything in brackets, from left to right, until `visit` breaks.
    pub(super) fn references<'a, B>(
        &'a self,
        visit: &mut impl FnMut(&'a Reference) -> std::ops::ControlFlow<B>,
    ) -> std::ops::ControlFlow<B> {
        match self {
            Self::Or(parts) | Self::And(parts) => parts.iter().try_for_each(|part| part.references(visit)),
            Self::Compare(comparison) => {
                comparison.left.references(visit)?;
                comparison.right.references(visit)
            }
        }
    }
}

impl Term {
    pub(super) fn references<'a, B>(
        &'a self,
        visit: &mut impl FnMut(&'a Reference) -> std::ops::ControlFlow<B>,
    ) -> std::ops::ControlFlow<B> {
        match self {
            Self::Literal(_) | Self::Pattern(_) | Self::Any(_) | Self::Now => {
                std::ops::ControlFlow::Continue(())
            }
            Self::Reference(reference)
            | Self::Length(reference)
            | Self::Has(reference)
            | Self::Age(reference)
            | Self::Over(Over { reference, .. }) => visit(reference),
            Self::Arithmetic(arithmetic) => {
                arithmetic.left.references(visit)?;
                arithmetic.right.references(visit)
            }
        }
    }

    /// Whether it says the same whatever was observed.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Self::Literal(_) | Self::Pattern(_) | Self::Any(_) => true,
            Self::Arithmetic(arithmetic) => arithmetic.left.is_constant() && arithmetic.right.is_constant(),
            _ => false,
        }
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, between) = match self {
            Self::Compare(comparison) => return comparison.fmt(formatter),
            Self::Or(parts) => (parts, " || "),
            Self::And(parts) => (parts, " && "),
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                formatter.write_str(between)?;
            }
            match part {
                Self::Compare(_) => write!(formatter, "{part}")?,
                nested => write!(formatter, "({nested})")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {} {}",
            self.left,
            self.operator.as_str(),
            self.right
        )
    }
}

impl fmt::Display for Term {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(formatter),
            Self::Pattern(glob) => write!(formatter, "pat({})", Quoted(glob.as_str())),
            Self::Any(literals) => {
                formatter.write_str("any(")?;
                for (index, literal) in literals.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(formatter, "{comma}{literal}")?;
                }
                formatter.write_str(")")
            }
            Self::Reference(reference) => reference.fmt(formatter),
            Self::Arithmetic(arithmetic) => {
                let Arithmetic {
                    left,
                    operation,
                    right,
                    ..
                } = &**arithmetic;
                for (index, side) in [left, right].into_iter().enumerate() {
                    if index == 1 {
                        write!(formatter, " {} ", operation.as_str())?;
                    }
                    match side {
                        Self::Arithmetic(_) => write!(formatter, "({side})")?,
                        side => write!(formatter, "{side}")?,
                    }
                }
                Ok(())
            }
            Self::Length(reference) => write!(formatter, "len({reference})"),
            Self::Has(reference) => write!(formatter, "has({reference})"),
            Self::Age(reference) => write!(formatter, "age({reference})"),
            Self::Over(over) => over.fmt(formatter),
            Self::Now => formatter.write_str("now()"),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.number.is_some() || self.truth().is_some() {
            formatter.write_str(&self.text)
        } else {
            Quoted(&self.text).fmt(formatter)
        }
    }
}

impl fmt::Display for Over {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}({}", self.function, self.reference)?;
        self.write_arguments(formatter)
    }
}

impl Over {
    /// What follows the reference, up to the closing parenthesis.
    pub(super) fn write_arguments(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Function::Forecast(ahead) = self.function {
            write!(formatter, ", {}", Period(ahead))?;
        }
        if self.has_window {
            write!(formatter, ", {}", Period(self.window))?;
        }
        formatter.write_str(")")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.source {
            Source::Named(name) if self.counts_milliseconds => name.to_ascii_uppercase(),
            Source::Named(name) => name.to_string(),
            Source::Body => "BODY".to_owned(),
            Source::Header => "HEADER".to_owned(),
            Source::Connected => "CONNECTED".to_owned(),
        };
        write!(formatter, "[{name}")?;
        for (index, selector) in self.selectors.iter().enumerate() {
            let open = if index == 0 { "{" } else { "," };
            let operator = if selector.is_negated { "!=" } else { "=" };
            write!(
                formatter,
                "{open}{}{operator}{}",
                selector.key,
                Quoted(&selector.value)
            )?;
        }
        if !self.selectors.is_empty() {
            formatter.write_str("}")?;
        }
        formatter.write_str("]")?;
        for step in &self.path {
            match step {
                Step::Key(key)
                    if !key.is_empty()
                        && key
                            .chars()
                            .all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-')) =>
                {
                    write!(formatter, ".{key}")?;
                }
                Step::Key(key) => write!(formatter, "[{}]", Quoted(key))?,
                Step::Index(index) => write!(formatter, "[{index}]")?,
                Step::Every => formatter.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

/// A string in double quotes, as the parser reads it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"")?;
        for character in self.0.chars() {
            if matches!(character, '"' | '\\') {
                formatter.write_str("\\")?;
            }
            write!(formatter, "{character}")?;
        }
        formatter.write_str("\"")
    }
}
