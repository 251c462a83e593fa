//! From the text of a condition to its compiled form.

use std::time::Duration;

use super::expression::{
    Arithmetic, Comparison, Function, Literal, Operation, Operator, Over, Reference, Selector, Source, Step,
    Term, Truth,
};
use super::glob::Glob;
use super::quantity::{self, Dimension};
use super::{MAX_DEPTH, MAX_LENGTH, MAX_VALUES, ParseError, nearest};
use crate::observation::Unit;
use crate::text;
use crate::text::Text;

/// Every function, for the message about one that does not exist.
const FUNCTIONS: &[&str] = &[
    "len", "has", "pat", "any", "age", "now", "rate", "delta", "avg", "min", "max", "p50", "p90", "p95",
    "p99", "forecast", "changed",
];

/// How far back `changed` looks where nothing else follows from what it is compared with.
const CHANGED_WINDOW: Duration = Duration::from_secs(3600);

pub(super) fn parse(source: &str) -> Result<Truth, ParseError> {
    let mut parser = Parser {
        source,
        at: 0,
        depth: 0,
        values: 0,
    };
    if source.len() > MAX_LENGTH {
        return Err(parser.error(text!("a condition has at most {limit} bytes", limit = MAX_LENGTH)));
    }
    let parsed = parser.alternatives()?;
    parser.skip_space();
    if parser.at < source.len() {
        return Err(parser.expected(match parsed {
            Parsed::Term(..) => text!("a comparison such as `== 200`"),
            Parsed::Truth(_) => text!("`&&`, `||` or the end"),
        }));
    }
    parser.truth(parsed)
}

/// What stands between two operators: until the operators are known it may be either.
enum Parsed {
    Truth(Truth),
    Term(Term, usize),
}

struct Parser<'s> {
    source: &'s str,
    /// In bytes.
    at: usize,
    depth: usize,
    values: usize,
}

impl<'s> Parser<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn column_of(&self, at: usize) -> usize {
        self.source[..at].chars().count() + 1
    }

    fn column(&self) -> usize {
        self.column_of(self.at)
    }

    fn error(&self, message: Text) -> ParseError {
        ParseError {
            column: self.column(),
            message,
        }
    }

    /// What was expected here, and what stands here instead.
    fn expected(&self, what: Text) -> ParseError {
        let word: String = self
            .rest()
            .chars()
            .take_while(|character| !character.is_whitespace())
            .take(24)
            .collect();
        self.error(if word.is_empty() {
            text!("expected {what}, found the end", what = what)
        } else {
            text!("expected {what}, found `{found}`", what = what, found = word)
        })
    }

    fn skip_space(&mut self) {
        self.at = self.source.len() - self.rest().trim_start().len();
    }

    /// Takes `symbol` if it stands here.
    fn take(&mut self, symbol: &str) -> bool {
        let is_here = self.rest().starts_with(symbol);
        if is_here {
            self.at += symbol.len();
        }
        is_here
    }

    fn require(&mut self, symbol: &'static str) -> Result<(), ParseError> {
        self.skip_space();
        if self.take(symbol) {
            return Ok(());
        }
        Err(self.expected(text!("`{symbol}`", symbol = symbol)))
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, ParseError>) -> Result<T, ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(text!("parentheses nest at most {limit} deep", limit = MAX_DEPTH)));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// `a || b || c`.
    fn alternatives(&mut self) -> Result<Parsed, ParseError> {
        self.joined("||", Self::conjunction, Truth::Or)
    }

    /// `a && b && c`.
    fn conjunction(&mut self) -> Result<Parsed, ParseError> {
        self.joined("&&", Self::comparison, Truth::And)
    }

    fn joined(
        &mut self,
        symbol: &str,
        part: fn(&mut Self) -> Result<Parsed, ParseError>,
        join: fn(Vec<Truth>) -> Truth,
    ) -> Result<Parsed, ParseError> {
        let first = part(self)?;
        self.skip_space();
        if !self.rest().starts_with(symbol) {
            return Ok(first);
        }
        let mut parts = vec![self.truth(first)?];
        while self.take(symbol) {
            let next = part(self)?;
            parts.push(self.truth(next)?);
            self.skip_space();
        }
        Ok(Parsed::Truth(join(parts)))
    }

    /// What was parsed as something that holds or not: a comparison, or a measurement that says yes or no.
    fn truth(&self, parsed: Parsed) -> Result<Truth, ParseError> {
        match parsed {
            Parsed::Truth(truth) => Ok(truth),
            Parsed::Term(left @ (Term::Reference(_) | Term::Has(_)), column) => {
                Ok(Truth::Compare(Box::new(Comparison {
                    left,
                    operator: Operator::Equal,
                    right: Term::Literal(Literal {
                        text: "true".into(),
                        number: None,
                        is_quoted: false,
                    }),
                    right_column: column,
                    counts_milliseconds: false,
                })))
            }
            Parsed::Term(Term::Literal(literal), column) if is_bare_name(&literal) => Err(ParseError {
                column,
                message: text!(
                    "expected a comparison; names stand in brackets: `[{name}]`",
                    name = &*literal.text
                ),
            }),
            Parsed::Term(_, column) => Err(ParseError {
                column,
                message: text!("expected a comparison such as `[status] == 200`, found only a value"),
            }),
        }
    }

    fn comparison(&mut self) -> Result<Parsed, ParseError> {
        self.skip_space();
        let left_column = self.column();
        let left = self.sum()?;
        self.skip_space();
        let operator_column = self.column();
        let Some(operator) = Operator::ALL
            .into_iter()
            .find(|operator| self.take(operator.as_str()))
        else {
            if self.rest().starts_with('=') {
                return Err(self.expected(text!("`==`")));
            }
            return Ok(left);
        };
        self.skip_space();
        let right_column = self.column();
        let right = self.sum()?;
        self.skip_space();
        if Operator::ALL
            .into_iter()
            .any(|next| self.rest().starts_with(next.as_str()))
        {
            return Err(self.error(text!("comparisons cannot be chained: join two with `&&`")));
        }
        let (Parsed::Term(left, _), Parsed::Term(right, _)) = (left, right) else {
            return Err(ParseError {
                column: operator_column,
                message: text!("expected a value on both sides of the comparison, found a condition"),
            });
        };
        let left = without_brackets(left, &right, left_column)?;
        let right = without_brackets(right, &left, right_column)?;
        let mut comparison = Comparison {
            left,
            operator,
            right,
            right_column,
            counts_milliseconds: false,
        };
        if comparison.left.is_constant() {
            if comparison.right.is_constant() {
                return Err(ParseError {
                    column: left_column,
                    message: text!("neither side names a measurement; names stand in brackets: `[status]`"),
                });
            }
            comparison = Comparison {
                left: comparison.right,
                operator: operator.mirrored(),
                right: comparison.left,
                right_column: left_column,
                counts_milliseconds: false,
            };
        }
        fit_window(&mut comparison)?;
        Ok(Parsed::Truth(Truth::Compare(Box::new(comparison))))
    }

    /// `a + b - c`.
    fn sum(&mut self) -> Result<Parsed, ParseError> {
        self.chain(Self::product, &[Operation::Add, Operation::Subtract])
    }

    /// `a * b / c`.
    fn product(&mut self) -> Result<Parsed, ParseError> {
        self.chain(Self::primary, &[Operation::Multiply, Operation::Divide])
    }

    fn chain(
        &mut self,
        part: fn(&mut Self) -> Result<Parsed, ParseError>,
        operations: &[Operation],
    ) -> Result<Parsed, ParseError> {
        let mut left = part(self)?;
        loop {
            self.skip_space();
            let start = self.at;
            let Some(operation) = operations
                .iter()
                .copied()
                .find(|operation| self.take(operation.as_str()))
            else {
                return Ok(left);
            };
            let column = self.column_of(start);
            self.skip_space();
            let right = part(self)?;
            left = match (left, right) {
                (Parsed::Term(left, left_column), Parsed::Term(right, right_column)) => {
                    for (side, column) in [(&left, left_column), (&right, right_column)] {
                        let is_number = match side {
                            Term::Literal(literal) => literal.number.is_some(),
                            Term::Pattern(_) | Term::Any(_) | Term::Has(_) => false,
                            _ => true,
                        };
                        if !is_number {
                            return Err(ParseError {
                                column,
                                message: text!(
                                    "expected a number beside `{symbol}`",
                                    symbol = operation.as_str()
                                ),
                            });
                        }
                    }
                    Parsed::Term(
                        Term::Arithmetic(Box::new(Arithmetic {
                            left,
                            operation,
                            right,
                            column,
                        })),
                        left_column,
                    )
                }
                _ => {
                    return Err(ParseError {
                        column,
                        message: text!("expected a number beside `{symbol}`", symbol = operation.as_str()),
                    });
                }
            };
        }
    }

    fn primary(&mut self) -> Result<Parsed, ParseError> {
        self.skip_space();
        let start = self.at;
        let column = self.column();
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.error(text!(
                "a condition has at most {limit} values",
                limit = MAX_VALUES
            )));
        }
        if self.rest().starts_with('!') && !self.rest().starts_with("!=") {
            self.at += 1;
            let inner = self.deeper(Self::primary)?;
            return Ok(Parsed::Truth(self.truth(inner)?.negated()));
        }
        if self.take("(") {
            let inner = self.deeper(Self::alternatives)?;
            self.require(")")?;
            return Ok(inner);
        }
        if self.rest().starts_with('[') {
            return Ok(Parsed::Term(Term::Reference(self.reference()?), column));
        }
        if let Some(quoted) = self.quoted()? {
            let literal = Literal {
                text: quoted.into(),
                number: None,
                is_quoted: true,
            };
            return Ok(Parsed::Term(Term::Literal(literal), column));
        }
        if let Some(length) = self.function_name() {
            let name = &self.source[start..start + length];
            self.at += length + 1;
            return Ok(Parsed::Term(self.function(name, column)?, column));
        }
        if let Some((value, dimension, length)) = quantity::read(self.rest()) {
            let after = &self.rest()[length..];
            if self.is_end_of_number(after) {
                self.at += length;
                let literal = Literal {
                    text: self.source[start..self.at].into(),
                    number: Some((value, dimension)),
                    is_quoted: false,
                };
                return Ok(Parsed::Term(Term::Literal(literal), column));
            }
        }
        let text = self.bare_text();
        if text.is_empty() {
            return Err(self.expected(text!("a value")));
        }
        Ok(Parsed::Term(
            Term::Literal(Literal {
                text: text.into(),
                number: None,
                is_quoted: false,
            }),
            column,
        ))
    }

    /// Whether a number may end before `after`; otherwise it is the beginning of a text such as `127.0.0.1`.
    fn is_end_of_number(&self, after: &str) -> bool {
        let trimmed = after.trim_start();
        if trimmed.is_empty() || trimmed.starts_with([')', ',']) {
            return true;
        }
        if ["&&", "||", "==", "!=", "<", ">"]
            .iter()
            .any(|symbol| trimmed.starts_with(symbol))
        {
            return true;
        }
        // `2024-01-02` and `10/8` are texts; arithmetic after a number has space around its operator.
        let is_spaced = trimmed.len() < after.len();
        let mut next = trimmed.chars();
        (next.next() == Some('*') && next.clone().next() == Some('['))
            || (is_spaced
                && trimmed.starts_with(['+', '-', '*', '/'])
                && next.next().is_some_and(char::is_whitespace))
    }

    /// Text without quotes: up to a join, a spaced comparison, or the parenthesis that closes a group.
    fn bare_text(&mut self) -> &'s str {
        let rest = self.rest();
        let mut open = 0_usize;
        let mut after_space = false;
        let end = rest
            .char_indices()
            .find(|&(at, character)| {
                let here = &rest[at..];
                let is_comparison = after_space
                    && Operator::ALL.iter().any(|operator| {
                        here.strip_prefix(operator.as_str())
                            .is_some_and(|after| after.starts_with(char::is_whitespace))
                    });
                after_space = character.is_whitespace();
                match character {
                    '(' => open += 1,
                    ')' if self.depth > 0 && open == 0 => return true,
                    ')' => open = open.saturating_sub(1),
                    _ => {}
                }
                is_comparison || here.starts_with("&&") || here.starts_with("||")
            })
            .map_or(rest.len(), |(at, _)| at);
        let text = rest[..end].trim_end();
        self.at += text.len();
        text
    }

    /// The length of a name that is followed by an opening parenthesis.
    fn function_name(&self) -> Option<usize> {
        let rest = self.rest();
        let length = rest.find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))?;
        let is_name = rest.starts_with(|first: char| first.is_ascii_alphabetic());
        (is_name && rest[length..].starts_with('(')).then_some(length)
    }

    /// A string in single or double quotes, in which `\` takes the meaning from a quote or another `\`.
    fn quoted(&mut self) -> Result<Option<String>, ParseError> {
        let mut characters = self.rest().char_indices();
        let Some((_, quote @ ('"' | '\''))) = characters.next() else {
            return Ok(None);
        };
        let mut out = String::new();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\'' | '\\'))) => out.push(escaped),
                    Some((_, other)) => out.extend(['\\', other]),
                    None => break,
                },
                character if character == quote => {
                    self.at += at + 1;
                    return Ok(Some(out));
                }
                character => out.push(character),
            }
        }
        Err(self.error(text!("this quote is not closed")))
    }

    /// `[name{label="value"}].path[0]`; around a simple name the brackets may be left out.
    fn reference(&mut self) -> Result<Reference, ParseError> {
        self.skip_space();
        let column = self.column();
        let is_bracketed = self.take("[");
        self.skip_space();
        let name = self.word(if is_bracketed { "._:/-" } else { "._" });
        if name.is_empty() {
            return Err(self.expected(text!("a name in brackets such as `[status]`")));
        }
        let mut reference = named(name, column)?;
        if !is_bracketed {
            return Ok(reference);
        }
        self.skip_space();
        if self.take("{") {
            reference.selectors = self.selectors()?;
        }
        self.require("]")?;
        self.path(&mut reference.path)?;
        let is_named = matches!(reference.source, Source::Named(_));
        if !is_named && !reference.selectors.is_empty() {
            return Err(ParseError {
                column,
                message: text!("`[{name}]` has no labels", name = name),
            });
        }
        match reference.source {
            Source::Header if !matches!(reference.path.as_slice(), [Step::Key(_)]) => {
                Err(self.expected(text!("the name of one header, as in `[HEADER].Content-Type`")))
            }
            Source::Connected if !reference.path.is_empty() => Err(ParseError {
                column,
                message: text!("`[{name}]` has no path", name = name),
            }),
            _ => Ok(reference),
        }
    }

    /// Letters, digits and what is in `others`.
    fn word(&mut self, others: &str) -> &'s str {
        let rest = self.rest();
        let length = rest
            .find(|character: char| !(character.is_alphanumeric() || others.contains(character)))
            .unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// `key="value", other!="value"}`, after the brace.
    fn selectors(&mut self) -> Result<Vec<Selector>, ParseError> {
        let mut selectors = Vec::new();
        loop {
            self.skip_space();
            let key = self.word("_");
            if key.is_empty() {
                return Err(self.expected(text!("a label such as `mount=\"/data\"`")));
            }
            self.skip_space();
            let is_negated = self.take("!=");
            if !is_negated && !self.take("=") {
                return Err(self.expected(text!("`=` or `!=`")));
            }
            self.skip_space();
            let Some(value) = self.quoted()? else {
                return Err(self.expected(text!("a value in quotes")));
            };
            selectors.push(Selector {
                key: key.into(),
                value: value.into(),
                is_negated,
            });
            self.skip_space();
            if self.take("}") {
                return Ok(selectors);
            }
            if !self.take(",") {
                return Err(self.expected(text!("`,` or `}`")));
            }
        }
    }

    /// `.key`, `[0]`, `["a key"]` and `[*]`, as often as they follow without a space.
    fn path(&mut self, path: &mut Vec<Step>) -> Result<(), ParseError> {
        loop {
            if path.len() > MAX_DEPTH {
                return Err(self.error(text!("a path has at most {limit} steps", limit = MAX_DEPTH)));
            }
            if self.take("[") {
                if self.take("*") {
                    path.push(Step::Every);
                } else if let Some(key) = self.quoted()? {
                    path.push(Step::Key(key.into()));
                } else {
                    let digits = self.word("");
                    match digits.parse() {
                        Ok(index) => path.push(Step::Index(index)),
                        Err(_) => {
                            self.at -= digits.len();
                            return Err(self.expected(text!("an index such as `[0]`")));
                        }
                    }
                }
                if !self.take("]") {
                    return Err(self.expected(text!("`{symbol}`", symbol = "]")));
                }
            } else if self.take(".") {
                let rest = self.rest();
                // A key may hold nearly everything, because Gatus' do; the rest needs `["a key"]`.
                let ends = |character: char| {
                    character.is_whitespace()
                        || matches!(
                            character,
                            '.' | '[' | ')' | ',' | '=' | '<' | '>' | '!' | '&' | '|'
                        )
                };
                let length = rest.find(ends).unwrap_or(rest.len());
                if length == 0 {
                    return Err(self.expected(text!("a key after the dot")));
                }
                path.push(Step::Key(rest[..length].into()));
                self.at += length;
            } else {
                return Ok(());
            }
        }
    }

    /// The function `name`, standing behind its parenthesis.
    fn function(&mut self, name: &str, column: usize) -> Result<Term, ParseError> {
        let term = match name {
            "pat" => return self.pattern(),
            "any" => return self.any(),
            "len" => Term::Length(self.reference()?),
            "has" => Term::Has(self.reference()?),
            "age" => Term::Age(self.reference()?),
            "now" => Term::Now,
            _ => return self.over(name, column),
        };
        self.require(")")?;
        Ok(term)
    }

    /// A function over time: `rate([requests], 5m)`.
    fn over(&mut self, name: &str, column: usize) -> Result<Term, ParseError> {
        let function = match name {
            "rate" => Function::Rate,
            "delta" => Function::Delta,
            "avg" => Function::Average,
            "min" => Function::Minimum,
            "max" => Function::Maximum,
            "changed" => Function::Changed,
            "forecast" => Function::Forecast(Duration::ZERO),
            _ => match name.strip_prefix('p').and_then(|percent| percent.parse().ok()) {
                Some(percent @ 1..=99) => Function::Percentile(percent),
                _ => return Err(unknown_function(name, column)),
            },
        };
        let reference = self.reference()?;
        if !matches!(reference.source, Source::Named(_)) || !reference.path.is_empty() {
            return Err(ParseError {
                column: reference.column,
                message: text!(
                    "only measurements are remembered: `{name}` cannot look back on this",
                    name = name
                ),
            });
        }
        let (function, window) = match function {
            Function::Forecast(_) => {
                let ahead = self.duration()?;
                (Function::Forecast(ahead), self.optional_duration()?)
            }
            Function::Changed => (function, self.optional_duration()?),
            function => (function, Some(self.duration()?)),
        };
        self.require(")")?;
        let default = match function {
            Function::Forecast(ahead) => ahead,
            _ => CHANGED_WINDOW,
        };
        Ok(Term::Over(Over {
            function,
            reference,
            window: window.unwrap_or(default),
            has_window: window.is_some(),
            column,
        }))
    }

    fn optional_duration(&mut self) -> Result<Option<Duration>, ParseError> {
        self.skip_space();
        if self.rest().starts_with(',') {
            return self.duration().map(Some);
        }
        Ok(None)
    }

    /// `, 5m`.
    fn duration(&mut self) -> Result<Duration, ParseError> {
        self.require(",")?;
        self.skip_space();
        let refused = |parser: &Self| parser.expected(text!("a span of time such as `5m`, at most 90d"));
        let Some((seconds, Dimension::Of(Unit::Seconds), length)) = quantity::read(self.rest()) else {
            return Err(refused(self));
        };
        if !(0.001..=90.0 * 86_400.0).contains(&seconds) {
            return Err(refused(self));
        }
        self.at += length;
        Ok(Duration::from_secs_f64(seconds))
    }

    /// The pattern of `pat(...)`, which holds everything up to the parenthesis that ends it.
    fn pattern(&mut self) -> Result<Term, ParseError> {
        let length = self.raw_argument()?;
        let start = self.at;
        let raw = &self.rest()[..length];
        let quoted = match self.quoted() {
            Ok(Some(quoted)) if self.at == start + raw.trim_end().len() => Some(quoted),
            _ => None,
        };
        self.at = start;
        let pattern = quoted.unwrap_or_else(|| raw.to_owned());
        let glob = Glob::new(&pattern).map_err(|_| {
            self.error(text!("this pattern has a class that is empty or not closed; put `\\` before a `[` that is meant itself"))
        })?;
        self.at = start + length + 1;
        Ok(Term::Pattern(glob))
    }

    /// The values of `any(...)`.
    fn any(&mut self) -> Result<Term, ParseError> {
        let length = self.raw_argument()?;
        let end = self.at + length;
        let mut literals = Vec::new();
        loop {
            self.skip_space();
            let start = self.at.min(end);
            self.at = start;
            let literal = match self.quoted()? {
                Some(text) => {
                    self.skip_space();
                    Literal {
                        text: text.into(),
                        number: None,
                        is_quoted: true,
                    }
                }
                None => {
                    let value = self.source[start..end]
                        .split(',')
                        .next()
                        .unwrap_or_default()
                        .trim_end();
                    self.at += value.len();
                    self.skip_space();
                    Literal {
                        text: value.into(),
                        number: quantity::read_whole(value),
                        is_quoted: false,
                    }
                }
            };
            if literal.text.is_empty() && !literal.is_quoted {
                return Err(self.expected(text!("a value")));
            }
            literals.push(literal);
            self.values += 1;
            if self.values > MAX_VALUES {
                return Err(self.error(text!(
                    "a condition has at most {limit} values",
                    limit = MAX_VALUES
                )));
            }
            if self.at >= end {
                self.at = end + 1;
                return Ok(Term::Any(literals));
            }
            if !self.take(",") {
                return Err(self.expected(text!("`,` or `)`")));
            }
        }
    }

    /// The length of what stands before the parenthesis that ends `pat(` or `any(`. Gatus ends them at the last one of
    /// the operand, so that a pattern may hold parentheses of its own, balanced or not.
    fn raw_argument(&self) -> Result<usize, ParseError> {
        let rest = self.rest();
        let mut open = 0_usize;
        let mut unbalanced = None;
        for (at, character) in rest.char_indices() {
            match character {
                '(' => open += 1,
                ')' => {
                    let after = rest[at + 1..].trim_start();
                    let may_end = after.is_empty()
                        || ["&&", "||", "== ", "!= "]
                            .iter()
                            .any(|symbol| after.starts_with(symbol))
                        || (self.depth > 0 && after.starts_with(')'));
                    if may_end && open == 0 {
                        return Ok(at);
                    }
                    if may_end && unbalanced.is_none() {
                        unbalanced = Some(at);
                    }
                    open = open.saturating_sub(1);
                }
                _ => {}
            }
        }
        unbalanced.ok_or_else(|| ParseError {
            column: self.column_of(self.source.len()),
            message: text!(
                "expected {what}, found the end",
                what = text!("`{symbol}`", symbol = ")")
            ),
        })
    }
}

/// What `name` stands for, which begins at `column`; dots lead into a fact.
fn named(name: &str, column: usize) -> Result<Reference, ParseError> {
    let mut steps = name.split('.');
    let first = steps.next().unwrap_or_default();
    let path: Vec<_> = steps.map(|key| Step::Key(key.into())).collect();
    if name.split('.').any(str::is_empty) {
        return Err(ParseError {
            column,
            message: text!("expected a name between the dots of `{name}`", name = name),
        });
    }
    let is_placeholder = !first.contains(|character: char| character.is_ascii_lowercase());
    let (source, counts_milliseconds) = match first.to_ascii_uppercase().as_str() {
        "BODY" if is_placeholder => (Source::Body, false),
        "HEADER" if is_placeholder => (Source::Header, false),
        "CONNECTED" => (Source::Connected, false),
        "RESPONSE_TIME" | "CERTIFICATE_EXPIRATION" | "DOMAIN_EXPIRATION" if is_placeholder => {
            (Source::Named(first.to_ascii_lowercase().into()), path.is_empty())
        }
        _ if is_placeholder => (Source::Named(first.to_ascii_lowercase().into()), false),
        _ => (Source::Named(first.into()), false),
    };
    Ok(Reference {
        column,
        source,
        selectors: Vec::new(),
        path,
        counts_milliseconds,
    })
}

/// A comparison of two constants says nothing: where one is a simple word, it is a name without its brackets.
fn without_brackets(term: Term, other: &Term, column: usize) -> Result<Term, ParseError> {
    match term {
        Term::Literal(literal) if is_bare_name(&literal) && other.is_constant() => {
            let reference = named(&literal.text, column)?;
            // These need a path, which only brackets can have.
            match reference.source {
                Source::Header => Ok(Term::Literal(literal)),
                _ => Ok(Term::Reference(reference)),
            }
        }
        term => Ok(term),
    }
}

fn is_bare_name(literal: &Literal) -> bool {
    !literal.is_quoted
        && literal.number.is_none()
        && literal.truth().is_none()
        && literal
            .text
            .starts_with(|first: char| first.is_alphabetic() || first == '_')
        && literal
            .text
            .chars()
            .all(|character| character.is_alphanumeric() || "._".contains(character))
}

fn unknown_function(name: &str, column: usize) -> ParseError {
    let message = match nearest(name, FUNCTIONS.iter().copied()) {
        Some(near) => text!(
            "there is no function `{name}`, did you mean `{near}`?",
            name = name,
            near = near
        ),
        None => text!(
            "there is no function `{name}`, only {names}; a text with parentheses needs quotes",
            name = name,
            names = FUNCTIONS.join(", ")
        ),
    };
    ParseError { column, message }
}

/// `changed([x]) > 2h` must look back further than two hours, or it could never hold.
fn fit_window(comparison: &mut Comparison) -> Result<(), ParseError> {
    let (Term::Over(over), Term::Literal(literal)) = (&mut comparison.left, &comparison.right) else {
        return Ok(());
    };
    let (Function::Changed, Some((limit, _))) = (over.function, literal.number) else {
        return Ok(());
    };
    if !over.has_window {
        let wanted = Duration::try_from_secs_f64(limit * 1.5).unwrap_or_default();
        over.window = wanted.max(CHANGED_WINDOW);
    } else if limit >= over.window.as_secs_f64() {
        return Err(ParseError {
            column: over.column,
            message: text!(
                "this looks back less far than the limit it is compared with, so that it could never be reached"
            ),
        });
    }
    Ok(())
}
