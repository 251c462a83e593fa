//! Text for people that can be shown in another language.
//!
//! Every sentence of a notification and every error message is a [`Text`]: an English template and its arguments. [`Display`](std::fmt::Display)
//! and serialisation give English; a translation layer looks the template up and renders it with
//! [`Text::translate`]. Templates are string literals inside [`text!`](crate::text!), so that a test can list them all
//! and fail on one without a translation.

use std::fmt;

use serde::{Serialize, Serializer};

/// A sentence in English that knows how to be said in another language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    template: &'static str,
    arguments: Vec<(&'static str, Argument)>,
}

/// What stands in a `{placeholder}` of a [`Text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A name or a value, the same in every language.
    Plain(String),
    /// A text of its own, translated where it stands.
    Text(Text),
    /// Several texts, joined as the language joins clauses.
    List(Vec<Text>),
}

/// Where translations come from.
pub trait Translate {
    /// The template to use for the English `template`, which is also the answer where no translation exists.
    fn template<'a>(&'a self, template: &'a str) -> &'a str;

    /// What stands between two clauses of a list.
    fn separator(&self) -> &str;
}

/// English: every template is its own translation.
#[derive(Clone, Copy, Debug, Default)]
pub struct English;

impl Translate for English {
    fn template<'a>(&'a self, template: &'a str) -> &'a str {
        template
    }

    fn separator(&self) -> &str {
        "; "
    }
}

/// Simplified Chinese as `alpha` says it, for tests of whole reports.
#[cfg(test)]
pub(crate) struct Chinese(std::collections::HashMap<String, String>);

#[cfg(test)]
impl Chinese {
    pub(crate) fn read() -> Self {
        let catalogue = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../alpha-cli/locales/zh-CN/alerts.toml"
        );
        Self(toml::from_str(&std::fs::read_to_string(catalogue).unwrap()).unwrap())
    }
}

#[cfg(test)]
impl Translate for Chinese {
    fn template<'a>(&'a self, template: &'a str) -> &'a str {
        self.0.get(template).map_or(template, String::as_str)
    }

    fn separator(&self) -> &str {
        "；"
    }
}

impl Text {
    /// A text from a template with `{name}` placeholders; use [`text!`](crate::text!), which the translators read.
    pub fn new(template: &'static str, arguments: Vec<(&'static str, Argument)>) -> Self {
        Self { template, arguments }
    }

    /// A name or a value, the same in every language.
    pub fn plain(value: impl fmt::Display) -> Self {
        Self::new("{value}", vec![("value", Argument::Plain(value.to_string()))])
    }

    /// Several texts as one, joined as the language joins clauses.
    pub fn list(texts: Vec<Self>) -> Self {
        Self::new("{list}", vec![("list", Argument::List(texts))])
    }

    /// The English template, which is also the key of its translations.
    pub fn template(&self) -> &'static str {
        self.template
    }

    /// What stands in its placeholders, by their names.
    pub fn arguments(&self) -> &[(&'static str, Argument)] {
        &self.arguments
    }

    /// The text in the language of `translations`.
    pub fn translate(&self, translations: &dyn Translate) -> String {
        let mut out = String::new();
        self.render(translations, &mut out);
        out
    }

    fn render(&self, translations: &dyn Translate, out: &mut String) {
        let mut rest = translations.template(self.template);
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                out.push('{');
                rest = after;
                continue;
            };
            match self.arguments.iter().find(|(key, _)| *key == name) {
                Some((_, Argument::Plain(value))) => out.push_str(value),
                Some((_, Argument::Text(text))) => text.render(translations, out),
                Some((_, Argument::List(texts))) => {
                    for (index, text) in texts.iter().enumerate() {
                        if index > 0 {
                            out.push_str(translations.separator());
                        }
                        text.render(translations, out);
                    }
                }
                None => {
                    out.push('{');
                    out.push_str(name);
                    out.push('}');
                }
            }
            rest = after;
        }
        out.push_str(rest);
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.translate(&English))
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<Text> for Argument {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<Text>> for Argument {
    fn from(texts: Vec<Text>) -> Self {
        Self::List(texts)
    }
}

macro_rules! plain_argument {
    ($($type:ty),*) => {$(
        impl From<$type> for Argument {
            fn from(value: $type) -> Self {
                Self::Plain(value.to_string())
            }
        }
    )*};
}

plain_argument!(
    &str, &String, String, u8, u16, u32, u64, usize, i32, i64, i128, u128, f64, bool
);

/// Builds a [`Text`] from a literal template and named arguments.
///
/// ```
/// let text = alpha_alerts::text!("only {peers} peers, expected at least {floor}", peers = 1, floor = 3);
/// assert_eq!(text.to_string(), "only 1 peers, expected at least 3");
/// ```
#[macro_export]
macro_rules! text {
    ($template:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::Text::new($template, vec![$((stringify!($name), $crate::text::Argument::from($value))),*])
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shouting;

    impl Translate for Shouting {
        fn template<'a>(&'a self, template: &'a str) -> &'a str {
            match template {
                "{count} eggs in {where}" => "IN {where}: {count} EGGS",
                "the basket" => "THE BASKET",
                other => other,
            }
        }

        fn separator(&self) -> &str {
            " / "
        }
    }

    #[test]
    fn arguments_move_with_the_language_and_are_translated_themselves() {
        let text = text!("{count} eggs in {where}", count = 3, where = text!("the basket"));
        assert_eq!(text.to_string(), "3 eggs in the basket");
        assert_eq!(text.translate(&Shouting), "IN THE BASKET: 3 EGGS");
    }

    #[test]
    fn a_list_is_joined_as_the_language_joins_clauses() {
        let list = Text::list(vec![text!("the basket"), Text::plain(7)]);
        assert_eq!(list.to_string(), "the basket; 7");
        assert_eq!(list.translate(&Shouting), "THE BASKET / 7");
    }

    #[test]
    fn braces_in_values_and_unknown_names_stay_as_they_are() {
        assert_eq!(text!("{a} {b} {", a = "{b}").to_string(), "{b} {b} {");
    }
}
