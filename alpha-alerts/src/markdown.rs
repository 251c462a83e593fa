//! Markdown for reports that people keep: what comes from outside stands there as it is, and can be no markup.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::text::{Text, Translate};

/// Writes a report in one language and one time zone.
pub(crate) struct Page<'a> {
    translations: &'a dyn Translate,
    zone: &'a TimeZone,
    out: String,
}

impl<'a> Page<'a> {
    pub(crate) fn new(translations: &'a dyn Translate, zone: &'a TimeZone) -> Self {
        Self {
            translations,
            zone,
            out: String::new(),
        }
    }

    pub(crate) fn heading(&mut self, level: usize, title: &Text) {
        self.block(&format!("{} {}", "#".repeat(level), self.say(title)));
    }

    pub(crate) fn paragraph(&mut self, text: &Text) {
        let text = self.say(text);
        self.block(&text);
    }

    pub(crate) fn list(&mut self, items: impl IntoIterator<Item = Text>) {
        let items: Vec<String> = items
            .into_iter()
            .map(|item| format!("- {}", self.say(&item)))
            .collect();
        if !items.is_empty() {
            self.block(&items.join("\n"));
        }
    }

    /// A table; its cells are escaped.
    pub(crate) fn table(&mut self, head: &[Text], rows: impl IntoIterator<Item = Vec<Text>>) {
        let line = |cells: &[Text]| {
            let cells: Vec<String> = cells.iter().map(|cell| self.say(cell)).collect();
            format!("| {} |", cells.join(" | "))
        };
        let mut lines = vec![line(head), format!("|{}", "---|".repeat(head.len()))];
        lines.extend(rows.into_iter().map(|row| line(&row)));
        let table = lines.join("\n");
        self.block(&table);
    }

    /// Text as it came, in a fence that nothing inside of it can close.
    pub(crate) fn verbatim(&mut self, text: &str) {
        let longest = text
            .split(|character| character != '`')
            .map(str::len)
            .max()
            .unwrap_or_default();
        let fence = "`".repeat(longest.max(2) + 1);
        let text: String = text
            .chars()
            .filter(|character| !character.is_control() || matches!(character, '\n' | '\t'))
            .collect();
        self.block(&format!("{fence}text\n{}\n{fence}", text.trim_end()));
    }

    /// Places to write into by hand.
    pub(crate) fn blank(&mut self, hint: &Text) {
        let hint = self.say(hint);
        self.block(&format!("_{hint}_"));
    }

    /// An instant as the time of day of the report's zone.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        let local = self.zone.to_datetime(at);
        format!(
            "{} {:02}:{:02}:{:02}",
            local.date(),
            local.hour(),
            local.minute(),
            local.second()
        )
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    fn say(&self, text: &Text) -> String {
        text.translate(self.translations)
    }

    fn block(&mut self, block: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out.push_str(block);
        self.out.push('\n');
    }
}

/// Text from outside in one line, escaped so that Markdown shows it as it is.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.trim();
        let digits = text.len()
            - text
                .trim_start_matches(|digit: char| digit.is_ascii_digit())
                .len();
        let mut before = None;
        for (at, character) in text.char_indices() {
            let after = text[at + character.len_utf8()..].chars().next();
            let is_within_a_word =
                before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric);
            let is_markup = match character {
                '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '!' | '$' => true,
                '_' => !is_within_a_word,
                '#' | '+' | '-' | '=' => at == 0,
                // What would begin a numbered list.
                '.' | ')' => digits > 0 && at == digits,
                _ => false,
            };
            if is_markup {
                formatter.write_char('\\')?;
            }
            formatter.write_char(if character.is_control() { ' ' } else { character })?;
            before = Some(character);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;
    use crate::text::English;

    #[test]
    fn what_comes_from_outside_is_no_markup() {
        for (text, escaped) in [
            ("disk_full on db-1", "disk_full on db-1"),
            ("# Heading\n- item", "\\# Heading - item"),
            ("1. [x](javascript:y) <b>", "1\\. \\[x\\](javascript:y) \\<b\\>"),
            ("a|b `c` *d* _e_", "a\\|b \\`c\\` \\*d\\* \\_e\\_"),
            ("验证节点离线", "验证节点离线"),
        ] {
            assert_eq!(Escaped(text).to_string(), escaped);
        }
    }

    #[test]
    fn nothing_closes_the_fence_around_text_as_it_came() {
        let zone = TimeZone::UTC;
        let mut page = Page::new(&English, &zone);
        page.heading(2, &text!("daily check"));
        page.verbatim("ok\n````\n# not a heading\u{1b}[0m\n");
        assert_eq!(
            page.finish(),
            "## daily check\n\n`````text\nok\n````\n# not a heading[0m\n`````\n"
        );
    }
}
