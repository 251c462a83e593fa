//! The one translation layer: English templates and their Chinese counterparts.
//!
//! Libraries say what they have to say as [`Text`](alpha_probes::Text); clap's help is looked up by its English words.
//! Both find their translation in `locales/zh-CN`, a file a crate, keyed by the English template. A test lists every template of
//! the workspace and fails on one that is missing there, on one that nobody uses, and on lost placeholders.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::OnceLock;

use alpha_probes::Translate;
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::terminal::Terminal;

/// A language of what people read. JSON, logs and metrics are always English.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
pub enum Language {
    /// English.
    #[default]
    #[value(name = "en")]
    #[serde(rename = "en")]
    English,
    /// Simplified Chinese.
    #[value(name = "zh", alias = "zh-CN", alias = "zh_CN")]
    #[serde(rename = "zh")]
    Chinese,
}

static CHINESE: [&str; 4] = [
    include_str!("../locales/zh-CN/cli.toml"),
    include_str!("../locales/zh-CN/probes.toml"),
    include_str!("../locales/zh-CN/bench.toml"),
    include_str!("../locales/zh-CN/alerts.toml"),
];

impl alpha_alerts::Translate for Language {
    fn template<'a>(&'a self, template: &'a str) -> &'a str {
        Translate::template(self, template)
    }

    fn separator(&self) -> &str {
        Translate::separator(self)
    }
}

impl Language {
    /// The same language for what receivers are told.
    pub fn of_notifications(self) -> alpha_alerts::notifiers::Language {
        match self {
            Self::English => alpha_alerts::notifiers::Language::En,
            Self::Chinese => alpha_alerts::notifiers::Language::Zh,
        }
    }

    /// The language of the help and of all messages: `--lang` if it stands anywhere in the arguments, else the locale.
    ///
    /// It is looked for before the arguments are parsed, because what is wrong with them is told in it too.
    pub fn choose(arguments: &[OsString], terminal: &Terminal) -> Self {
        let mut words = arguments.iter().map(|word| word.to_string_lossy());
        while let Some(word) = words.next() {
            let chosen = match word.strip_prefix("--lang") {
                Some("") => words.next().map(|word| word.into_owned()),
                Some(rest) => rest.strip_prefix('=').map(str::to_owned),
                None => None,
            };
            if let Some(language) = chosen.and_then(|name| Self::from_str(&name, true).ok()) {
                return language;
            }
        }
        terminal.locale().map_or(Self::English, Self::of_locale)
    }

    fn of_locale(locale: &str) -> Self {
        let speaks_chinese = locale
            .get(..2)
            .is_some_and(|start| start.eq_ignore_ascii_case("zh"));
        if speaks_chinese {
            Self::Chinese
        } else {
            Self::English
        }
    }

    /// The sentence in this language for an English one that has no placeholders, such as a line of help.
    pub fn phrase(self, english: &str) -> String {
        self.template(english).to_owned()
    }
}

/// The Chinese catalogue, keyed by English templates.
///
/// # Panics
/// Where a built-in catalogue is no TOML table of strings, which a test excludes.
pub fn chinese() -> &'static HashMap<String, String> {
    static CATALOGUE: OnceLock<HashMap<String, String>> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        let read = |file: &&str| -> HashMap<String, String> {
            toml::from_str(file).expect("a built-in catalogue is a table of strings")
        };
        CHINESE.iter().flat_map(read).collect()
    })
}

impl Translate for Language {
    fn template<'a>(&'a self, template: &'a str) -> &'a str {
        match self {
            Self::English => template,
            Self::Chinese => chinese().get(template).map_or(template, String::as_str),
        }
    }

    fn separator(&self) -> &str {
        match self {
            Self::English => "; ",
            Self::Chinese => "；",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_outranks_the_locale_wherever_it_stands() {
        let arguments = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let chinese = Terminal::captured().with_locale("zh_CN.UTF-8");
        let english = Terminal::captured().with_locale("en_GB.UTF-8");
        assert_eq!(
            Language::choose(&arguments(&["alpha", "check"]), &chinese),
            Language::Chinese
        );
        assert_eq!(
            Language::choose(&arguments(&["alpha", "check"]), &english),
            Language::English
        );
        assert_eq!(
            Language::choose(&arguments(&["alpha", "check", "--lang", "en"]), &chinese),
            Language::English
        );
        assert_eq!(
            Language::choose(&arguments(&["alpha", "--lang=zh", "check"]), &english),
            Language::Chinese
        );
    }
}
