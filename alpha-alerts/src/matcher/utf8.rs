//! Matchers as Alertmanager reads them since 0.27: names may be quoted and hold any character.

use super::{Matcher, Operator};
use crate::error::{Error, ErrorKind, Result};
use crate::text;
use crate::text::Text;

/// What stands between spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Open,
    Close,
    Comma,
    Operator(Operator),
    Bare(&'a str),
    /// Without the quotes around it, its escapes still in it.
    Quoted(&'a str),
}

/// Matchers with commas between them; a comma may follow the last one. Braces come in pairs or not at all.
pub(super) fn parse_list(text: &str) -> Result<Vec<Matcher>> {
    let mut tokens = Tokens { rest: text };
    let mut matchers = Vec::new();
    let is_open = tokens.peek()? == Some(Token::Open);
    if is_open {
        tokens.next()?;
    }
    loop {
        match tokens.peek()? {
            None | Some(Token::Close) => break,
            _ => matchers.push(matcher(&mut tokens)?),
        }
        match tokens.peek()? {
            None | Some(Token::Close) => break,
            Some(Token::Comma) => {
                tokens.next()?;
            }
            Some(_) => return Err(tokens.refuse(text!("expected a comma or a closing brace"))),
        }
    }
    match (is_open, tokens.peek()?) {
        (true, Some(Token::Close)) => {
            tokens.next()?;
        }
        (true, _) => return Err(tokens.refuse(text!("expected a closing brace"))),
        (false, Some(Token::Close)) => {
            return Err(tokens.refuse(text!("expected no closing brace, because none was opened")));
        }
        (false, _) => {}
    }
    if tokens.peek()?.is_some() {
        return Err(tokens.refuse(text!("expected nothing more")));
    }
    Ok(matchers)
}

/// One matcher, without braces.
pub(super) fn parse(text: &str) -> Result<Matcher> {
    let mut matchers = parse_list(text)?;
    match (matchers.pop(), matchers.len()) {
        (Some(matcher), 0) if !text.starts_with('{') && !text.ends_with('}') => Ok(matcher),
        _ => Err(Error::new(
            ErrorKind::InvalidInput,
            text!("`{text}` is not exactly one matcher", text = text),
        )),
    }
}

fn matcher(tokens: &mut Tokens<'_>) -> Result<Matcher> {
    let name = word(tokens, text!("expected the name of a label"))?;
    let Some(Token::Operator(operator)) = tokens.peek()? else {
        return Err(tokens.refuse(text!("expected one of the operators `=`, `!=`, `=~`, `!~`")));
    };
    tokens.next()?;
    let value = word(tokens, text!("expected a value"))?;
    Matcher::new(&name, operator, &value)
}

fn word(tokens: &mut Tokens<'_>, expected: Text) -> Result<String> {
    let word = match tokens.peek()? {
        Some(Token::Bare(word)) => word.to_owned(),
        Some(Token::Quoted(word)) => unquoted(word)
            .ok_or_else(|| tokens.refuse(text!("the quoted text has an escape that does not exist")))?,
        _ => return Err(tokens.refuse(expected)),
    };
    tokens.next()?;
    Ok(word)
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> Result<Option<Token<'a>>> {
        Ok(self.scan()?.map(|(token, _)| token))
    }

    fn next(&mut self) -> Result<()> {
        if let Some((_, rest)) = self.scan()? {
            self.rest = rest;
        }
        Ok(())
    }

    fn scan(&self) -> Result<Option<(Token<'a>, &'a str)>> {
        let text = self.rest.trim_start();
        let Some(first) = text.chars().next() else {
            return Ok(None);
        };
        let after = &text[first.len_utf8()..];
        let scanned = match first {
            '{' => (Token::Open, after),
            '}' => (Token::Close, after),
            ',' => (Token::Comma, after),
            '"' => {
                let end =
                    end_of_quoted(after).ok_or_else(|| self.refuse(text!("expected a closing quote")))?;
                (Token::Quoted(&after[..end]), &after[end + 1..])
            }
            '=' | '!' => {
                let (operator, rest) = Operator::split(text).ok_or_else(|| {
                    self.refuse(text!("expected one of the operators `=`, `!=`, `=~`, `!~`"))
                })?;
                (Token::Operator(operator), rest)
            }
            _ => {
                let end = text.find(is_reserved).unwrap_or(text.len());
                if end == 0 {
                    return Err(self.refuse(text!(
                        "`{character}` must stand in quotes",
                        character = first.to_string()
                    )));
                }
                (Token::Bare(&text[..end]), &text[end..])
            }
        };
        Ok(Some(scanned))
    }

    fn refuse(&self, expected: Text) -> Error {
        let rest = self.rest.trim();
        let found = if rest.is_empty() {
            text!("the end")
        } else {
            text!("`{rest}`", rest = rest)
        };
        Error::new(
            ErrorKind::InvalidInput,
            text!("{expected}, found {found}", expected = expected, found = found),
        )
    }
}

/// What stands for itself only between quotes.
pub(super) fn is_reserved(character: char) -> bool {
    character.is_whitespace() || "{}!=~,\\\"'`".contains(character)
}

fn end_of_quoted(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices()
        .find(|(_, character)| {
            let is_end = *character == '"' && !is_escaped;
            is_escaped = *character == '\\' && !is_escaped;
            is_end
        })
        .map(|(at, _)| at)
}

/// The text that Go's `strconv.Unquote` reads; none where it refuses.
fn unquoted(quoted: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\n' => return None,
            '\\' => rest = unescape(rest, &mut bytes)?,
            _ => bytes.extend(first.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Reads what follows a backslash, and yields what follows that.
fn unescape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let kind = text.chars().next()?;
    let after = &text[kind.len_utf8()..];
    let plain = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '"' => b'"',
        // Bytes, which need not be characters of their own.
        'x' => {
            bytes.push(u8::try_from(number(after.get(..2)?, 16)?).ok()?);
            return after.get(2..);
        }
        '0'..='7' => {
            bytes.push(u8::try_from(number(text.get(..3)?, 8)?).ok()?);
            return text.get(3..);
        }
        'u' | 'U' => {
            let length = if kind == 'u' { 4 } else { 8 };
            let character = char::from_u32(number(after.get(..length)?, 16)?)?;
            bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
            return after.get(length..);
        }
        _ => return None,
    };
    bytes.push(plain);
    Some(after)
}

fn number(digits: &str, radix: u32) -> Option<u32> {
    // `from_str_radix` would take a sign as well.
    digits
        .chars()
        .all(|digit| digit.is_digit(radix))
        .then(|| u32::from_str_radix(digits, radix).ok())
        .flatten()
}
