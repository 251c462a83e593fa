//! Patterns with wildcards, as `pat()` takes them.

/// A pattern: `*` stands for any text, `?` for one character, `[a-z]` and `[^a-z]` for one of or outside a class, and
/// `\` takes the meaning from the next character. The rules of Go's `path.Match`, which Gatus uses, but `*` also
/// stands for `/`.
#[derive(Debug)]
pub(super) struct Glob {
    source: Box<str>,
    tokens: Vec<Token>,
}

#[derive(Debug)]
enum Token {
    Any,
    One,
    Literal(char),
    Class {
        ranges: Vec<(char, char)>,
        is_negated: bool,
    },
}

impl Glob {
    /// Compiles `source`; the error is where a class is not closed or empty, in characters from 0.
    pub(super) fn new(source: &str) -> Result<Self, usize> {
        let mut tokens = Vec::new();
        let mut rest = source.chars().enumerate().peekable();
        while let Some((at, character)) = rest.next() {
            match character {
                // Several stars in a row mean one; more would only be tried again and again.
                '*' if matches!(tokens.last(), Some(Token::Any)) => {}
                '*' => tokens.push(Token::Any),
                '?' => tokens.push(Token::One),
                '\\' => tokens.push(Token::Literal(rest.next().ok_or(at)?.1)),
                '[' => {
                    let is_negated = rest.next_if(|(_, next)| *next == '^').is_some();
                    let mut ranges = Vec::new();
                    loop {
                        let (low, is_escaped) = read_bound(&mut rest).ok_or(at)?;
                        if low == ']' && !is_escaped {
                            break;
                        }
                        let high = match rest.next_if(|(_, next)| *next == '-') {
                            Some(_) => read_bound(&mut rest).ok_or(at)?.0,
                            None => low,
                        };
                        ranges.push((low, high));
                    }
                    if ranges.is_empty() {
                        return Err(at);
                    }
                    tokens.push(Token::Class { ranges, is_negated });
                }
                literal => tokens.push(Token::Literal(literal)),
            }
        }
        Ok(Self {
            source: source.into(),
            tokens,
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether all of `text` matches. Takes at most the product of both lengths: after a failure only the last star
    /// is tried at the next place.
    pub(super) fn is_match(&self, text: &str) -> bool {
        let (mut token, mut rest) = (0, text.chars());
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let next = rest.clone().next();
            match (self.tokens.get(token), next) {
                (None, None) => return true,
                (Some(Token::Any), _) => {
                    token += 1;
                    retry = Some((token, rest.clone()));
                    continue;
                }
                (Some(expected), Some(character)) if expected.is_match(character) => {
                    token += 1;
                    rest.next();
                    continue;
                }
                _ => {}
            }
            let Some((after_star, mut from)) = retry.take() else {
                return false;
            };
            if from.next().is_none() {
                return false;
            }
            (token, rest) = (after_star, from.clone());
            retry = Some((after_star, from));
        }
    }
}

fn read_bound(rest: &mut impl Iterator<Item = (usize, char)>) -> Option<(char, bool)> {
    match rest.next()?.1 {
        '\\' => rest.next().map(|(_, escaped)| (escaped, true)),
        bound => Some((bound, false)),
    }
}

impl Token {
    fn is_match(&self, character: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Literal(literal) => *literal == character,
            Self::Class { ranges, is_negated } => {
                let is_inside = ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&character));
                is_inside != *is_negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_all_of_the_text() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("john*", "john.doe", true),
            ("john*", "bob", false),
            ("*ok*", "it is ok.", true),
            ("*a*b", "xaxxbxb", true),
            ("*a*b", "xaxxbxc", false),
            ("192.168.*.*", "192.168.0.12", true),
            ("2??", "204", true),
            ("2??", "20", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("*<h1>Example</h1>*", "<body><h1>Example</h1></body>", true),
            ("", "", true),
            ("", "x", false),
            ("日*", "日本", true),
        ] {
            assert_eq!(
                Glob::new(pattern).unwrap().is_match(text),
                expected,
                "{pattern} on {text}"
            );
        }
        for wrong in ["[", "[]", "[a", "[a-", "x\\"] {
            assert!(Glob::new(wrong).is_err(), "{wrong} was compiled");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let glob = Glob::new(&"*a".repeat(50)).unwrap();
        assert!(!glob.is_match(&"a".repeat(10_000).replace("aaaaaaaaaa", "bbbbbbbbbb")));
    }
}
