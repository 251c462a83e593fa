//! Quotes as Go's `%q` writes them, which is how Alertmanager writes values into group keys.

use std::fmt;

/// `text` between double quotes, with Go's escapes.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;

        formatter.write_char('"')?;
        let mut plain = 0;
        for (at, character) in self.0.char_indices() {
            if matches!(character, ' ' | '!' | '#'..='[' | ']'..='~') {
                continue;
            }
            if !character.is_ascii() && is_printable(character) {
                continue;
            }
            formatter.write_str(&self.0[plain..at])?;
            plain = at + character.len_utf8();
            match character {
                '"' => formatter.write_str("\\\"")?,
                '\\' => formatter.write_str("\\\\")?,
                '\u{7}' => formatter.write_str("\\a")?,
                '\u{8}' => formatter.write_str("\\b")?,
                '\u{c}' => formatter.write_str("\\f")?,
                '\n' => formatter.write_str("\\n")?,
                '\r' => formatter.write_str("\\r")?,
                '\t' => formatter.write_str("\\t")?,
                '\u{b}' => formatter.write_str("\\v")?,
                _ => match u32::from(character) {
                    code @ 0..=0x7f => write!(formatter, "\\x{code:02x}")?,
                    code @ 0x80..=0xffff => write!(formatter, "\\u{code:04x}")?,
                    code => write!(formatter, "\\U{code:08x}")?,
                },
            }
        }
        formatter.write_str(&self.0[plain..])?;
        formatter.write_char('"')
    }
}

/// Whether Go shows it as it is. Rust's own escaping knows the printable characters; it also escapes what modifies the
/// character before, but only at the start of a text.
fn is_printable(character: char) -> bool {
    let mut buffer = [0; 5];
    buffer[0] = b'a';
    let length = character.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..=length])
        .is_ok_and(|text| text.escape_debug().nth(1) == Some(character) && text.escape_debug().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_go_quotes_them() {
        for (text, quoted) in [
            ("", r#""""#),
            ("it's \"x\"", r#""it's \"x\"""#),
            ("a\\b\n\t\r", r#""a\\b\n\t\r""#),
            ("\u{7}\u{8}\u{c}\u{b}\u{0}\u{7f}", r#""\a\b\f\v\x00\x7f""#),
            ("节点 é 🚀", "\"节点 é 🚀\""),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{a0}\u{200b}\u{feff}", r#""\u00a0\u200b\ufeff""#),
            ("\u{e0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(Quoted(text).to_string(), quoted, "{text:?}");
        }
    }
}
