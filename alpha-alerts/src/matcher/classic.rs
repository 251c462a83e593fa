//! Matchers as Alertmanager read them up to 0.26: bare names, values with or without quotes.

use super::{Matcher, Operator};
use crate::error::{Error, ErrorKind, Result};
use crate::text;

/// Matchers with commas between them. One brace before and one after are dropped, even without the other.
pub(super) fn parse_list(text: &str) -> Result<Vec<Matcher>> {
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    let mut parts = Vec::new();
    let (mut start, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            ',' if !is_quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            '"' if is_escaped => is_escaped = false,
            '"' => is_quoted = !is_quoted,
            '\\' => is_escaped = !is_escaped,
            // A comma leaves the escape as it is, which is what Alertmanager does.
            ',' => {}
            _ => is_escaped = false,
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts.into_iter().map(parse).collect()
}

/// One matcher.
pub(super) fn parse(text: &str) -> Result<Matcher> {
    let refused = || {
        Error::new(
            ErrorKind::InvalidInput,
            text!(
                "`{text}` is no matcher: expected a label, an operator and a value, such as `severity=\"P0\"`",
                text = text.trim()
            ),
        )
    };
    let trimmed = text.trim_matches(is_space);
    let is_first = |character: char| character.is_ascii_alphabetic() || "_:".contains(character);
    let is_further = |character: char| is_first(character) || character.is_ascii_digit();
    let end = trimmed
        .find(|character| !is_further(character))
        .unwrap_or(trimmed.len());
    let (name, rest) = trimmed.split_at(end);
    if !name.starts_with(is_first) {
        return Err(refused());
    }
    let (operator, value) = Operator::split(rest.trim_start_matches(is_space)).ok_or_else(refused)?;
    let value = unescape(value.trim_start_matches(is_space)).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            text!(
                "`{text}` has a value with a double quote that is neither its first and last character nor escaped",
                text = trimmed
            ),
        )
    })?;
    Matcher::new(name, operator, &value)
}

/// What `\s` means in Go.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\u{c}' | '\r')
}

/// The value without its quotes and escapes; none where quotes are not in pairs. A backslash before anything but `"`,
/// `\` and `n` stands for itself.
fn unescape(raw: &str) -> Option<String> {
    let (raw, mut expects_quote) = match raw.strip_prefix('"') {
        Some(rest) => (rest, true),
        None => (raw, false),
    };
    let mut value = String::with_capacity(raw.len());
    let mut characters = raw.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => value.push('\n'),
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            '"' if expects_quote && characters.peek().is_none() => expects_quote = false,
            '"' => return None,
            other => value.push(other),
        }
    }
    (!expects_quote).then_some(value)
}
