//! Regular expressions that mean what they mean in Go, for Alertmanager's configurations are written for it.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use regex::Regex;

/// A regular expression that must match the whole value.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// One of these texts, as of `P0|P1`: by far the most common, and a comparison is many times faster.
    OneOf(Arc<[Box<str>]>),
    /// `.*`, which is anything in one line.
    Anything,
    /// `.+`
    Something,
    /// Anything else.
    Regex(Arc<Regex>),
}

impl Pattern {
    pub(super) fn new(go: &str) -> Result<Self, regex::Error> {
        match go {
            ".*" => return Ok(Self::Anything),
            ".+" => return Ok(Self::Something),
            _ => {}
        }
        if !go.contains(is_meta) {
            return Ok(Self::OneOf(go.split('|').map(Box::from).collect()));
        }
        // Without the group, `a|b` would be anchored at one end each.
        let regex = Regex::new(&format!("^(?:{})$", translated(go)))?;
        Ok(Self::Regex(Arc::new(regex)))
    }

    pub(super) fn is_match(&self, value: &str) -> bool {
        match self {
            Self::OneOf(texts) => texts.iter().any(|text| **text == *value),
            Self::Anything => !value.contains('\n'),
            Self::Something => !value.is_empty() && !value.contains('\n'),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// What does not stand for itself, the bar between alternatives excepted.
fn is_meta(character: char) -> bool {
    "\\.+*?()[]{}^$".contains(character)
}

/// The same expression for the `regex` crate. What the two read differently is rewritten: in Go, `\d`, `\s`, `\w` and `\b`
/// mean ASCII, a brace that begins no repetition and a bracket inside brackets stand for themselves, and there are
/// octal escapes, `\Q…\E`, groups of one name and no operations on sets. What is wrong stays, and is refused by the crate.
fn translated(go: &str) -> String {
    let mut out = String::with_capacity(go.len() + 16);
    let mut rest = go.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => match escape(&mut rest) {
                Escape::Character(character) => literal(character, &mut out),
                Escape::Set(set) => out.extend(["[", set, "]"]),
                Escape::Boundary => out.push_str("(?-u:\\b)"),
                Escape::Quoted(text) => text.chars().for_each(|character| literal(character, &mut out)),
                Escape::Other(text) => out.push_str(&text),
            },
            '[' => class(&mut rest, &mut out),
            '{' => match repetition(rest.clone()) {
                Some(inside) => {
                    out.extend(["{", &inside, "}"]);
                    rest.nth(inside.len());
                }
                None => out.push_str("\\{"),
            },
            '(' => {
                out.push('(');
                if let Some(length) = name_of_group(rest.clone()) {
                    rest.nth(length - 1);
                    out.push_str("?:");
                }
            }
            '}' | ']' => out.extend(['\\', character]),
            other => out.push(other),
        }
    }
    out
}

/// What an escape stands for.
enum Escape {
    Character(char),
    /// The inside of brackets.
    Set(&'static str),
    /// The edge of a word.
    Boundary,
    /// All of this, literally.
    Quoted(String),
    /// What both read alike, such as `\A` or `\p{Greek}`, and what neither does.
    Other(String),
}

fn literal(character: char, out: &mut String) {
    if character.is_alphanumeric() {
        out.push(character);
    } else {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\x{{{:X}}}", u32::from(character));
    }
}

/// Reads what follows a backslash.
fn escape(rest: &mut Peekable<Chars<'_>>) -> Escape {
    let Some(kind) = rest.next() else {
        return Escape::Other("\\".to_owned());
    };
    match kind {
        'd' => Escape::Set("0-9"),
        'D' => Escape::Set("[^0-9]"),
        's' => Escape::Set("\\t\\n\\x0C\\r\\x20"),
        'S' => Escape::Set("[^\\t\\n\\x0C\\r\\x20]"),
        'w' => Escape::Set("0-9A-Za-z_"),
        'W' => Escape::Set("[^0-9A-Za-z_]"),
        'b' => Escape::Boundary,
        'a' => Escape::Character('\u{7}'),
        'f' => Escape::Character('\u{c}'),
        'n' => Escape::Character('\n'),
        'r' => Escape::Character('\r'),
        't' => Escape::Character('\t'),
        'v' => Escape::Character('\u{b}'),
        'Q' => {
            let mut text = String::new();
            while let Some(character) = rest.next() {
                if character == '\\' && rest.peek() == Some(&'E') {
                    rest.next();
                    break;
                }
                text.push(character);
            }
            Escape::Quoted(text)
        }
        'p' | 'P' | 'x' => {
            let mut text = format!("\\{kind}");
            let is_braced = rest.peek() == Some(&'{');
            let longest = if kind == 'x' { 2 } else { 1 };
            for (index, character) in std::iter::from_fn(|| rest.next()).enumerate() {
                text.push(character);
                if (is_braced && character == '}') || (!is_braced && index + 1 == longest) {
                    break;
                }
            }
            let code = text.strip_prefix("\\x").map(|code| code.trim_matches(['{', '}']));
            match code.and_then(|code| char::from_u32(u32::from_str_radix(code, 16).ok()?)) {
                Some(character) => Escape::Character(character),
                None => Escape::Other(text),
            }
        }
        // A single digit other than 0 would be a reference to a group, which neither of the two knows.
        '0'..='7' if kind == '0' || rest.peek().is_some_and(|next| next.is_digit(8)) => {
            let mut code = kind.to_digit(8).unwrap_or_default();
            for _ in 0..2 {
                let Some(digit) = rest.peek().and_then(|next| next.to_digit(8)) else {
                    break;
                };
                rest.next();
                code = code * 8 + digit;
            }
            char::from_u32(code).map_or_else(|| Escape::Other(format!("\\{kind}")), Escape::Character)
        }
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => Escape::Character(other),
        other => Escape::Other(format!("\\{other}")),
    }
}

/// Reads what follows an opening bracket, its closing one included.
fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    out.push('[');
    if rest.peek() == Some(&'^') {
        rest.next();
        out.push('^');
    }
    let mut is_first = true;
    while let Some(character) = rest.next() {
        if character == ']' && !is_first {
            out.push(']');
            return;
        }
        is_first = false;
        if let Some(name) = (character == '[').then(|| named_class(rest.clone())).flatten() {
            out.extend(["[", &name, "]"]);
            rest.nth(name.len());
            continue;
        }
        let Some(low) = member(character, rest, out) else {
            continue;
        };
        literal(low, out);
        let mut ahead = rest.clone();
        let is_range = ahead.next() == Some('-') && ahead.peek().is_some_and(|next| *next != ']');
        if is_range {
            rest.next();
            out.push('-');
            // A set as upper end is refused by both: here as a range that ends before it starts.
            let high = rest
                .next()
                .and_then(|character| member(character, rest, &mut String::new()));
            literal(high.unwrap_or('\0'), out);
        }
    }
}

/// A member of a class that can be one end of a range, or else writes the set that it is.
fn member(character: char, rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Option<char> {
    if character != '\\' {
        return Some(character);
    }
    match escape(rest) {
        Escape::Character(character) => return Some(character),
        Escape::Set(set) => out.push_str(set),
        Escape::Boundary => out.push_str("\\b"),
        Escape::Quoted(text) => text.chars().for_each(|character| literal(character, out)),
        Escape::Other(text) => out.push_str(&text),
    }
    None
}

/// `:name:` where it follows and a bracket closes it.
fn named_class(mut rest: Peekable<Chars<'_>>) -> Option<String> {
    let mut name = String::new();
    while let Some(character) = rest.next_if(|next| next.is_ascii_lowercase() || ":^".contains(*next)) {
        name.push(character);
    }
    let is_named = name.len() > 2 && name.starts_with(':') && name.ends_with(':');
    (is_named && rest.next() == Some(']')).then_some(name)
}

/// How long `?P<name>` is, where it follows. Nobody asks for what a group found, and in Go two may have one name.
fn name_of_group(rest: Peekable<Chars<'_>>) -> Option<usize> {
    let text: String = rest.take_while(|character| *character != '>').collect();
    let name = text.strip_prefix("?P<").or_else(|| text.strip_prefix("?<"))?;
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    is_name.then_some(text.len() + 1)
}

/// `n`, `n,` or `n,m` where it follows and a brace closes it.
fn repetition(rest: Peekable<Chars<'_>>) -> Option<String> {
    let mut is_closed = false;
    let inside: String = rest
        .take_while(|character| {
            is_closed = *character == '}';
            !is_closed
        })
        .collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_repetition = match inside.split_once(',') {
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        None => is_number(&inside),
    };
    (is_closed && is_repetition).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, value: &str) -> bool {
        Pattern::new(pattern)
            .unwrap_or_else(|error| panic!("{pattern}: {error}"))
            .is_match(value)
    }

    #[test]
    fn the_whole_value_must_match() {
        assert!(is_match("P0|P1", "P1"));
        assert!(!is_match("P0|P1", "P10"));
        assert!(is_match("", ""));
        assert!(is_match("a|", ""));
        assert!(is_match("node-[0-9]+|api", "node-17"));
        assert!(!is_match("node-[0-9]+|api", "api2"));
        assert!(is_match("(P0)|P1", "P1"));
    }

    #[test]
    fn a_dot_is_anything_in_one_line() {
        for pattern in [".*", "(.*)"] {
            assert!(is_match(pattern, ""));
            assert!(!is_match(pattern, "a\nb"));
        }
        for pattern in [".+", "(.+)"] {
            assert!(!is_match(pattern, ""));
            assert!(is_match(pattern, "值"));
        }
        assert!(is_match("(?s).+", "a\nb"));
    }

    /// From the documentation of Go's `regexp/syntax`; `tests/it/routing.rs` compares with the real thing.
    #[test]
    fn expressions_mean_what_they_mean_in_go() {
        for (pattern, value, expected) in [
            ("(?i)critical", "CRITICAL", true),
            (r"\d+", "12", true),
            (r"\d+", "١٢", false),
            (r"\w+", "é", false),
            (r"\W", "é", true),
            (r"[\d.]+", "1.2", true),
            (r"[^\d]", "x", true),
            (r"[\w-]+", "a-b", true),
            (r"a{b}", "a{b}", true),
            (r"a{2}", "aa", true),
            (r"a{,2}", "a{,2}", true),
            (r"a{1,2}b}", "aab}", true),
            (r"[[]", "[", true),
            (r"[]a]+", "]a", true),
            (r"[a&&b]+", "&a", true),
            (r"[a-c~~]+", "b~", true),
            (r"[+--]+", ",-", true),
            (r"[a\-z]+", "b", false),
            (r"[a-]+", "-", true),
            (r"[[:alpha:]_]+", "a_", true),
            (r"[[:^digit:]]", "x", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"\Qa.b\E+", "axb", false),
            (r"\101", "A", true),
            (r"\x41", "A", true),
            (r"\x{1F680}", "🚀", true),
            (r"\p{Greek}+", "αβ", true),
            (r"\pL+", "节点", true),
            (r"\<a\>", "<a>", true),
            (r"a\/b\-c\ d", "a/b-c d", true),
            (r"foo\b.*", "foo bar", true),
            (r"(?P<n>a)(?:b)(?P<n>c)", "abc", true),
            (r"\Aab\z", "ab", true),
        ] {
            assert_eq!(is_match(pattern, value), expected, "{pattern} on {value}");
        }
        for wrong in ["(", "[a", r"\Z", r"\1", "[z-a]", r"[!-\d]", "*", "a\\"] {
            assert!(Pattern::new(wrong).is_err(), "{wrong} was read");
        }
    }
}
