//! Text with holes that differ from request to request.
//!
//! `${sequence}` is the number of the request, `${random:1-100}` a number drawn from its seed, `${column:users.id}` the
//! next value of a column, `${env:TOKEN}` a value of the environment that the caller handed in. Everything that can be
//! worked out before the run is; a text without holes costs nothing during it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::text;

/// What the holes of templates are filled from; the caller reads files and the environment, this crate reads neither.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Inputs {
    /// Values for `${env:NAME}`. They may be secrets and are never shown.
    pub environment: BTreeMap<String, String>,
    /// Columns for `${column:TABLE.NAME}`, by that name.
    pub columns: BTreeMap<String, Arc<[String]>>,
    /// What `${random:..}` is drawn from; the same seed gives the same requests.
    pub seed: u64,
}

impl std::fmt::Debug for Inputs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Inputs")
            .field("environment", &self.environment.keys())
            .field("columns", &self.columns.keys())
            .field("seed", &self.seed)
            .finish()
    }
}

impl Inputs {
    /// Adds the columns of a CSV table whose first line names them, as RFC 4180 has it; answers how many rows it has.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for a table without rows or a row of another length.
    pub fn add_table(&mut self, table: &str, csv: &str) -> Result<usize> {
        let mut rows = read_csv(csv).into_iter();
        let names = rows.next().unwrap_or_default();
        let mut columns = vec![Vec::new(); names.len()];
        let mut count = 0;
        for (index, row) in rows.enumerate() {
            if row.len() != names.len() {
                return Err(Error::invalid(text!(
                    "row {row} of table `{table}` has {have} fields, expected {expected}",
                    row = index + 2,
                    table = table,
                    have = row.len(),
                    expected = names.len()
                )));
            }
            for (column, field) in columns.iter_mut().zip(row) {
                column.push(field);
            }
            count += 1;
        }
        if count == 0 {
            return Err(Error::invalid(text!(
                "table `{table}` has no rows",
                table = table
            )));
        }
        for (name, column) in names.into_iter().zip(columns) {
            self.columns.insert(format!("{table}.{name}"), column.into());
        }
        Ok(count)
    }
}

/// The rows of a CSV text: fields may be quoted, and a quoted field may hold commas, line ends and doubled quotes.
fn read_csv(csv: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let (mut row, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = csv.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                field.push('"');
                characters.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' if !quoted && characters.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            other => field.push(other),
        }
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    // A line without anything is no row, unless the table has a single column.
    rows.retain(|row: &Vec<String>| row.len() > 1 || row.iter().any(|field| !field.is_empty()));
    rows
}

/// A text with holes, worked out as far as that is possible before the run.
#[derive(Clone)]
pub(crate) struct Template {
    parts: Vec<Part>,
    seed: u64,
}

#[derive(Clone)]
enum Part {
    Fixed(Vec<u8>),
    Sequence,
    Random { low: u64, high: u64 },
    Column(Arc<[String]>),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for a hole that is not known or has nothing to fill it.
    pub(crate) fn parse(source: &str, inputs: &Inputs) -> Result<Self> {
        let mut template = Self {
            parts: Vec::new(),
            seed: inputs.seed,
        };
        let mut rest = source;
        while let Some((before, after)) = rest.split_once("${") {
            let (hole, after) = after.split_once('}').ok_or_else(|| {
                Error::invalid(text!(
                    "a template is never closed in `{template}`",
                    template = source
                ))
            })?;
            template.push_fixed(before.as_bytes());
            template.push_hole(hole, inputs)?;
            rest = after;
        }
        template.push_fixed(rest.as_bytes());
        Ok(template)
    }

    fn push_fixed(&mut self, bytes: &[u8]) {
        match self.parts.last_mut() {
            Some(Part::Fixed(last)) => last.extend_from_slice(bytes),
            _ if bytes.is_empty() => {}
            _ => self.parts.push(Part::Fixed(bytes.to_vec())),
        }
    }

    fn push_hole(&mut self, hole: &str, inputs: &Inputs) -> Result<()> {
        let unknown = || {
            Error::invalid(text!(
                "unknown template `{hole}`; known are sequence, random:LOW-HIGH, column:TABLE.NAME and env:NAME",
                hole = hole
            ))
        };
        let (kind, argument) = hole.split_once(':').unwrap_or((hole, ""));
        let part = match kind {
            "sequence" if argument.is_empty() => Part::Sequence,
            "random" => {
                let (low, high) = argument.split_once('-').ok_or_else(unknown)?;
                let bounds = (low.trim().parse::<u64>(), high.trim().parse::<u64>());
                let (Ok(low), Ok(high)) = bounds else {
                    return Err(unknown());
                };
                if low > high {
                    return Err(unknown());
                }
                Part::Random { low, high }
            }
            "column" => Part::Column(inputs.columns.get(argument).cloned().ok_or_else(|| {
                let known = inputs
                    .columns
                    .keys()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", ");
                Error::invalid(text!(
                    "unknown column `{column}`; known are: {known}",
                    column = argument,
                    known = known
                ))
            })?),
            "env" => {
                let value = inputs.environment.get(argument).ok_or_else(|| {
                    Error::invalid(text!(
                        "the environment variable `{name}` is not set",
                        name = argument
                    ))
                })?;
                self.push_fixed(value.as_bytes());
                return Ok(());
            }
            _ => return Err(unknown()),
        };
        self.parts.push(part);
        Ok(())
    }

    /// The text, if it is the same for every request.
    pub(crate) fn as_fixed(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [] => Some(&[]),
            [Part::Fixed(bytes)] => Some(bytes),
            _ => None,
        }
    }

    /// Whether any byte that it may ever put out is one of these, whatever fills its holes.
    pub(crate) fn may_hold(&self, is_bad: impl Fn(&u8) -> bool) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Fixed(bytes) => bytes.iter().any(&is_bad),
            Part::Column(values) => values.iter().any(|value| value.as_bytes().iter().any(&is_bad)),
            Part::Sequence | Part::Random { .. } => false,
        })
    }

    /// Appends the text for request number `sequence`.
    pub(crate) fn render(&self, sequence: u64, out: &mut Vec<u8>) {
        use std::io::Write as _;
        for (index, part) in self.parts.iter().enumerate() {
            // Writing to a vector cannot fail.
            let _ = match part {
                Part::Fixed(bytes) => out.write_all(bytes),
                Part::Sequence => write!(out, "{sequence}"),
                Part::Random { low, high } => {
                    let seed = self.seed ^ sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index as u64;
                    write!(out, "{}", fastrand::Rng::with_seed(seed).u64(*low..=*high))
                }
                Part::Column(values) => {
                    out.write_all(values[(sequence % values.len() as u64) as usize].as_bytes())
                }
            };
        }
    }
}

impl std::fmt::Debug for Template {
    /// Says how many parts there are: a part may hold a secret of the environment.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Template({} parts)", self.parts.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> Inputs {
        let mut inputs = Inputs {
            seed: 3,
            ..Inputs::default()
        };
        inputs.environment.insert("TOKEN".to_owned(), "s3cret".to_owned());
        inputs
            .add_table("users", "id,name\r\n1,\"Alice \"\"A\"\", of X\"\n2,Bob\n")
            .unwrap();
        inputs
    }

    fn rendered(template: &str, sequence: u64) -> String {
        let mut out = Vec::new();
        Template::parse(template, &inputs())
            .unwrap()
            .render(sequence, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn holes_are_filled_from_the_number_of_the_request() {
        assert_eq!(rendered("/u/${column:users.id}?n=${sequence}", 3), "/u/2?n=3");
        assert_eq!(rendered("${column:users.name}", 4), "Alice \"A\", of X");
        assert_eq!(rendered("{\"a\": \"$5 {}\"}", 0), "{\"a\": \"$5 {}\"}");
        let drawn: Vec<u64> = (0..200)
            .map(|n| rendered("${random:5-7}", n).parse().unwrap())
            .collect();
        assert!(
            (5..=7).all(|value| drawn.contains(&value)) && drawn.iter().all(|value| (5..=7).contains(value))
        );
        assert_eq!(
            rendered("${random:1-1000000}", 9),
            rendered("${random:1-1000000}", 9)
        );
    }

    #[test]
    fn the_environment_is_filled_in_before_the_run_and_never_shown() {
        let template = Template::parse("Bearer ${env:TOKEN}", &inputs()).unwrap();
        assert_eq!(template.as_fixed(), Some(&b"Bearer s3cret"[..]));
        assert!(!format!("{template:?} {:?}", inputs()).contains("s3cret"));
    }

    #[test]
    fn a_wrong_hole_is_answered_with_those_that_exist() {
        let message = |template: &str| Template::parse(template, &inputs()).unwrap_err().to_string();
        insta::assert_snapshot!(message("${sequenze}"), @"unknown template `sequenze`; known are sequence, random:LOW-HIGH, column:TABLE.NAME and env:NAME");
        insta::assert_snapshot!(message("${column:users.age}"), @"unknown column `users.age`; known are: users.id, users.name");
        insta::assert_snapshot!(message("${env:HOME}"), @"the environment variable `HOME` is not set");
        insta::assert_snapshot!(message("${sequence"), @"a template is never closed in `${sequence`");
        let mut inputs = inputs();
        insta::assert_snapshot!(inputs.add_table("t", "a,b\n1\n").unwrap_err(), @"row 2 of table `t` has 1 fields, expected 2");
        insta::assert_snapshot!(inputs.add_table("t", "a,b\n").unwrap_err(), @"table `t` has no rows");
    }
}
