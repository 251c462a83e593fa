//! The markup of each receiver: how values are escaped for it, and how it writes bold, code and links.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What may not stand in an address inside the markup of a link.
const IN_LINK: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b'`')
    .add(b'|');

/// A markup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// None: text as it is.
    Plain,
    /// Slack's `mrkdwn`: `&`, `<` and `>` are all that has to be escaped, and with them its mentions
    /// (<https://docs.slack.dev/messaging/formatting-message-text>).
    Slack,
    /// HTML of mails and of Matrix.
    Html,
    /// The few tags of HTML that Telegram knows (<https://core.telegram.org/bots/api#html-style>).
    Telegram,
    /// Discord's Markdown, where a backslash takes the meaning from any punctuation.
    Discord,
    /// The Markdown of Adaptive Cards.
    Teams,
    /// DingTalk's Markdown, for which no way to escape is documented: what has a meaning is replaced by its full-width twin.
    Dingtalk,
    /// Feishu's `lark_md`, which is escaped by HTML's numeric entities
    /// (<https://open.feishu.cn/document/feishu-cards/card-components/content-components/rich-text>).
    Feishu,
    /// WeCom's Markdown, escaped as DingTalk's.
    Wecom,
}

impl Dialect {
    pub(crate) const ALL: [Self; 9] = [
        Self::Plain,
        Self::Slack,
        Self::Html,
        Self::Telegram,
        Self::Discord,
        Self::Teams,
        Self::Dingtalk,
        Self::Feishu,
        Self::Wecom,
    ];

    /// What the template engine calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Slack => "slack",
            Self::Html => "html",
            Self::Telegram => "telegram",
            Self::Discord => "discord",
            Self::Teams => "teams",
            Self::Dingtalk => "dingtalk",
            Self::Feishu => "feishu",
            Self::Wecom => "wecom",
        }
    }

    /// The dialect that the template engine calls `name`.
    pub(crate) fn named(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.name() == name)
            .unwrap_or(Self::Plain)
    }

    /// What stands for `character` where it has no meaning; `None` where it stands for itself.
    fn replacement(self, character: char) -> Option<Cow<'static, str>> {
        let entity = |text: &'static str| Some(Cow::Borrowed(text));
        match self {
            Self::Plain => None,
            Self::Slack => match character {
                '&' => entity("&amp;"),
                '<' => entity("&lt;"),
                '>' => entity("&gt;"),
                _ => None,
            },
            Self::Html | Self::Telegram => match character {
                '&' => entity("&amp;"),
                '<' => entity("&lt;"),
                '>' => entity("&gt;"),
                '"' => entity("&quot;"),
                '\'' if self == Self::Html => entity("&#39;"),
                _ => None,
            },
            Self::Discord => r"\*_~`|<>[]()#@"
                .contains(character)
                .then(|| Cow::Owned(format!("\\{character}"))),
            Self::Teams => r"\*_`[]~"
                .contains(character)
                .then(|| Cow::Owned(format!("\\{character}"))),
            Self::Feishu => r"&<>*_~`[]()\!#-"
                .contains(character)
                .then(|| Cow::Owned(format!("&#{};", u32::from(character)))),
            Self::Dingtalk | Self::Wecom => match character {
                '*' => entity("＊"),
                '`' => entity("｀"),
                '[' => entity("［"),
                ']' => entity("］"),
                '<' => entity("＜"),
                '>' => entity("＞"),
                '#' => entity("＃"),
                '@' => entity("＠"),
                _ => None,
            },
        }
    }

    /// `text` so that it shows as it is.
    pub(crate) fn escape(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for character in text.chars() {
            self.escape_char(character, &mut out);
        }
        out
    }

    /// One character so that it shows as it is, at the end of `out`.
    pub(crate) fn escape_char(self, character: char, out: &mut String) {
        match self.replacement(character) {
            Some(replacement) => out.push_str(&replacement),
            None => out.push(character),
        }
    }

    /// `text` in bold.
    pub(crate) fn bold(self, text: &str) -> String {
        let escaped = self.escape(text);
        match self {
            Self::Plain => escaped,
            Self::Slack => format!("*{escaped}*"),
            Self::Html | Self::Telegram => format!("<b>{escaped}</b>"),
            Self::Discord | Self::Teams | Self::Dingtalk | Self::Feishu | Self::Wecom => {
                format!("**{escaped}**")
            }
        }
    }

    /// `text` in letters of equal width, where the receiver has them.
    pub(crate) fn code(self, text: &str) -> String {
        match self {
            Self::Plain | Self::Teams | Self::Dingtalk | Self::Feishu => self.escape(text),
            Self::Slack => format!("`{}`", self.escape(&text.replace('`', "'"))),
            Self::Html | Self::Telegram => format!("<code>{}</code>", self.escape(text)),
            // Nothing has a meaning inside but what ends it.
            Self::Discord => format!("`{}`", text.replace('`', "'")),
            Self::Wecom => format!(
                "`{}`",
                text.replace('`', "'").replace('<', "＜").replace('>', "＞")
            ),
        }
    }

    /// `label` that leads to `url`. Only addresses of the web and of mail become links; others are shown.
    pub(crate) fn link(self, url: &str, label: &str) -> String {
        let is_safe = ["https://", "http://", "mailto:"].iter().any(|scheme| {
            url.get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        let mut out = String::new();
        // Writing into a string cannot fail.
        let _ = if self == Self::Plain || !is_safe {
            write!(out, "{}: {}", self.escape(label), self.escape(url))
        } else {
            let address = utf8_percent_encode(url, IN_LINK).to_string();
            let label = self.escape(label);
            match self {
                Self::Slack => write!(out, "<{}|{label}>", self.escape(&address)),
                Self::Html | Self::Telegram => {
                    write!(out, r#"<a href="{}">{label}</a>"#, self.escape(&address))
                }
                _ => write!(out, "[{label}]({address})"),
            }
        };
        out
    }

    /// What the receiver needs so that each line of `text` stays a line.
    pub(crate) fn with_line_breaks(self, text: String) -> String {
        match self {
            Self::Teams | Self::Dingtalk => text.replace('\n', "\n\n"),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_write_markup() {
        let nasty = "<!channel> *b* [x](http://evil) `c` & <b> @everyone";
        assert_eq!(
            Dialect::Slack.escape(nasty),
            "&lt;!channel&gt; *b* [x](http://evil) `c` &amp; &lt;b&gt; @everyone"
        );
        assert!(!Dialect::Html.escape(nasty).contains('<'));
        assert!(Dialect::Discord.escape(nasty).contains(r"\<!channel\>"));
        assert!(Dialect::Discord.escape(nasty).contains(r"\@everyone"));
        assert!(Dialect::Discord.escape(nasty).contains(r"\[x\]\(http://evil\)"));
        for dialect in [Dialect::Dingtalk, Dialect::Wecom] {
            let escaped = dialect.escape(nasty);
            assert!(!escaped.contains(['<', '[', '*', '`', '@']), "{escaped}");
        }
        assert!(Dialect::Feishu.escape(nasty).contains("&#60;b&#62;"));
    }

    #[test]
    fn links_lead_only_to_the_web() {
        assert_eq!(
            Dialect::Slack.link("https://x/?a=1&b=2|", "a|b"),
            "<https://x/?a=1&amp;b=2%7C|a|b>"
        );
        assert_eq!(
            Dialect::Html.link(r#"https://x/"onload="#, "<x>"),
            r#"<a href="https://x/%22onload=">&lt;x&gt;</a>"#
        );
        assert_eq!(
            Dialect::Discord.link("https://x/(a)", "b"),
            "[b](https://x/%28a%29)"
        );
        assert_eq!(
            Dialect::Html.link("javascript:alert(1)", "x"),
            "x: javascript:alert(1)"
        );
        assert_eq!(Dialect::Plain.link("https://x", "x"), "x: https://x");
    }

    #[test]
    fn each_dialect_is_found_by_its_name() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::named(dialect.name()), dialect);
        }
    }
}
