//! Rules: conditions with a level, how long they must apply, and when they stop applying.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;

use crate::check::{CheckConfig, Problem};
use crate::condition::{Condition, Finding, ParseError};
use crate::config::Period;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::Observation;
use crate::probe::{Level, ProbeKind};
use crate::resources::Resources;
use crate::text;
use crate::text::{Argument, Text};

/// How what a probe sees is judged.
#[derive(Debug, Default)]
pub struct Rules {
    /// Conditions that must all hold; one that does not makes the check critical.
    pub required: Vec<Rule>,
    /// Conditions that raise a level while they hold, worst first.
    pub raised: Vec<Rule>,
    /// How long or how often the target must not answer before that is critical, where no rule judges `[CONNECTED]`.
    pub answer: Sustained,
}

/// One condition and what it means.
#[derive(Debug)]
pub struct Rule {
    /// How bad it is when the rule applies.
    pub level: Level,
    /// What is asked of the observation.
    pub condition: Condition,
    /// How long or how often it must apply before it counts.
    pub sustained: Sustained,
    /// Once it counted, it goes on counting until this holds, of all measurements it speaks of.
    pub clear: Option<Condition>,
    /// The reason as an English template over measurements, facts and labels; where none, the condition speaks for
    /// itself.
    pub says: Option<&'static str>,
    /// What to do about it, in English.
    pub remedy: Option<&'static str>,
    /// The text the condition was compiled from.
    pub source: Cow<'static, str>,
}

/// How long or how often a rule must apply before it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sustained {
    /// The first time.
    #[default]
    AtOnce,
    /// Without a break for so long.
    For(Duration),
    /// In so many of the last runs.
    Of {
        /// How many times it must apply.
        times: u8,
        /// Out of how many runs, at most [`MAX_RUNS`].
        runs: u8,
    },
}

/// How many runs [`Sustained::Of`] looks at, at most.
pub const MAX_RUNS: u8 = 64;

impl Sustained {
    /// Reads `3 of 5`, `2m`, or nothing for at once.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, Text> {
        let refused = || {
            text!(
                "expected `3 of 5` (at most {limit} runs) or a duration such as `2m`, found \"{found}\"",
                limit = MAX_RUNS,
                found = text
            )
        };
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::AtOnce);
        }
        let mut words = text.split_whitespace();
        if let (Some(times), Some("of"), Some(runs), None) =
            (words.next(), words.next(), words.next(), words.next())
        {
            let (Ok(times), Ok(runs)) = (times.parse::<u8>(), runs.parse::<u8>()) else {
                return Err(refused());
            };
            return match (1..=runs).contains(&times) && runs <= MAX_RUNS {
                true => Ok(Self::Of { times, runs }),
                false => Err(refused()),
            };
        }
        match Period::parse(text) {
            Ok(Period(Duration::ZERO)) => Ok(Self::AtOnce),
            Ok(Period(duration)) => Ok(Self::For(duration)),
            Err(_) => Err(refused()),
        }
    }
}

impl Rule {
    /// Why the rule applies: what it says, filled from the observation, or the finding where it says nothing.
    ///
    /// A placeholder is a measurement (beside the one that decided, where there are several), a fact, a label of what
    /// decided, or `subject`, `value` and `limit` of the finding. Where one of them is not there, the finding speaks.
    pub fn reason(&self, observation: &Observation, finding: &Finding<'_>) -> Text {
        self.says
            .and_then(|template| filled(template, observation, finding))
            .unwrap_or_else(|| finding.text())
    }

    /// What to do about it, filled as [`reason`](Self::reason) is.
    pub fn advice(&self, observation: &Observation, finding: &Finding<'_>) -> Option<Text> {
        let remedy = self.remedy?;
        Some(filled(remedy, observation, finding).unwrap_or_else(|| Text::new(remedy, Vec::new())))
    }
}

/// The names in braces of `template`, in order.
fn placeholders(template: &'static str) -> impl Iterator<Item = &'static str> {
    template
        .split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}').map(|(name, _)| name))
}

/// `template` with all its placeholders filled, or nothing.
fn filled(template: &'static str, observation: &Observation, finding: &Finding<'_>) -> Option<Text> {
    let fill = |name: &'static str| {
        let argument = match name {
            "subject" => finding.subject(),
            "value" => finding.value(),
            "limit" => finding.limit(),
            name => finding
                .measured(name)
                .or_else(|| finding.label(name).map(str::to_owned))
                .or_else(|| observation.facts.get(name).and_then(spoken))?,
        };
        Some((name, Argument::from(argument)))
    };
    let arguments = placeholders(template).map(fill).collect::<Option<Vec<_>>>()?;
    Some(Text::new(template, arguments))
}

/// A fact as a person reads it; nothing where there is none.
fn spoken(fact: &Value) -> Option<String> {
    match fact {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(values) => Some(values.iter().filter_map(spoken).collect::<Vec<_>>().join(", ")),
        other => Some(other.to_string()),
    }
}

/// The rules that some check has, by what its configuration says.
#[derive(Debug, Default)]
struct KnownRules(Mutex<HashMap<String, Weak<Rules>>>);

impl Rules {
    /// The default rules of a kind of probe.
    ///
    /// # Panics
    /// Where a default rule does not compile, which a test excludes for every kind.
    pub fn defaults(kind: &'static ProbeKind) -> Self {
        let mut rules = Self {
            raised: default_rules(kind, |_| true).collect(),
            ..Self::default()
        };
        rules.sort();
        rules
    }

    /// The rules of a check: its own where it has any, the defaults of its kind where it is silent.
    ///
    /// `conditions` and `crit` replace the default critical rules, `warn` the default warnings, and `defaults = false`
    /// takes away the rest. `for` holds for all rules of the check and for a missing answer, `clear` for its `warn`
    /// and `crit`.
    ///
    /// # Errors
    /// All problems at once, with the key and the column in it.
    pub fn compile(config: &CheckConfig, kind: &'static ProbeKind) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let sustained = config.sustained.as_deref().map(Sustained::parse).transpose();
        let sustained = sustained.unwrap_or_else(|message| {
            problems.push(problem("for", message));
            None
        });
        let mut condition = |key: &str, source: &str| match compiled(source, kind) {
            Ok(condition) => Some(condition),
            Err(error) => {
                problems.push(problem(key, in_source(&error, source)));
                None
            }
        };
        let mut rules = Self::default();
        for (index, source) in config.conditions.iter().enumerate() {
            if let Some(condition) = condition(&format!("conditions.{index}"), source) {
                rules.required.push(own(Level::Critical, condition, source, None));
            }
        }
        for (key, level, source) in [
            ("crit", Level::Critical, &config.crit),
            ("warn", Level::Warning, &config.warn),
        ] {
            let Some(source) = source else { continue };
            let clear = config
                .clear
                .as_deref()
                .and_then(|clear| compiled(clear, kind).ok());
            if let Some(condition) = condition(key, source) {
                rules.raised.push(own(level, condition, source, clear));
            }
        }
        if let Some(clear) = &config.clear {
            condition("clear", clear);
            if config.warn.is_none() && config.crit.is_none() {
                problems.push(problem(
                    "clear",
                    text!("`clear` ends what `warn` or `crit` began, and this check has neither"),
                ));
            }
        }
        if config.defaults.unwrap_or(true) {
            let is_silent = |level: Level| match level {
                Level::Critical => config.conditions.is_empty() && config.crit.is_none(),
                Level::Warning => config.warn.is_none(),
            };
            rules.raised.extend(default_rules(kind, is_silent));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if let Some(sustained) = sustained {
            rules.answer = sustained;
            for rule in rules.required.iter_mut().chain(&mut rules.raised) {
                rule.sustained = sustained;
            }
        }
        rules.sort();
        Ok(rules)
    }

    /// The same rules and a condition that must hold; the check is critical while it does not.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with the column and what was expected there.
    pub fn require(mut self, condition: &str) -> Result<Self> {
        self.required.push(parsed(Level::Critical, condition)?);
        Ok(self)
    }

    /// The same rules and a condition under which the check is a warning.
    ///
    /// # Errors
    /// As [`require`](Self::require).
    pub fn warn_when(self, condition: &str) -> Result<Self> {
        self.raise(Level::Warning, condition)
    }

    /// The same rules and a condition under which the check is critical.
    ///
    /// # Errors
    /// As [`require`](Self::require).
    pub fn crit_when(self, condition: &str) -> Result<Self> {
        self.raise(Level::Critical, condition)
    }

    fn raise(mut self, level: Level, condition: &str) -> Result<Self> {
        self.raised.push(parsed(level, condition)?);
        self.sort();
        Ok(self)
    }

    /// The rules of a check as [`compile`](Self::compile) makes them, once for all checks that say the same: compiled
    /// conditions are a good part of what a check weighs, and thousands of checks often share a handful of rules.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub(crate) fn shared(
        config: &CheckConfig,
        kind: &'static ProbeKind,
        resources: &Resources,
    ) -> Result<Arc<Self>, Vec<Problem>> {
        let said = (
            &config.conditions,
            &config.warn,
            &config.crit,
            &config.sustained,
            &config.clear,
            config.defaults,
        );
        let key = format!("{} {said:?}", kind.name);
        let known = resources.shared::<KnownRules>();
        let mut known = known.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(rules);
        }
        let rules = Arc::new(Self::compile(config, kind)?);
        if known.len() == known.capacity() {
            known.retain(|_, rules| rules.strong_count() > 0);
        }
        known.insert(key, Arc::downgrade(&rules));
        Ok(rules)
    }

    /// Worst first, otherwise as they were declared.
    fn sort(&mut self) {
        self.raised.sort_by_key(|rule| std::cmp::Reverse(rule.level));
    }
}

fn parsed(level: Level, source: &str) -> Result<Rule> {
    let condition = Condition::parse(source)
        .map_err(|error| Error::new(ErrorKind::InvalidConfig, in_source(&error, source)))?;
    Ok(own(level, condition, source, None))
}

fn compiled(source: &str, kind: &ProbeKind) -> Result<Condition, ParseError> {
    let condition = Condition::parse(source)?;
    condition.check_names(kind)?;
    Ok(condition)
}

fn own(level: Level, condition: Condition, source: &str, clear: Option<Condition>) -> Rule {
    Rule {
        level,
        condition,
        sustained: Sustained::AtOnce,
        clear,
        says: None,
        remedy: None,
        source: Cow::Owned(source.to_owned()),
    }
}

fn default_rules(kind: &'static ProbeKind, wanted: impl Fn(Level) -> bool) -> impl Iterator<Item = Rule> {
    let wanted = kind.rules.iter().filter(move |rule| wanted(rule.level));
    wanted.map(move |rule| {
        let condition = compiled(rule.when, kind)
            .unwrap_or_else(|error| panic!("the default rule `{}` of {}: {error}", rule.when, kind.name));
        let sustained = Sustained::parse(rule.sustained)
            .unwrap_or_else(|error| panic!("the default rule `{}` of {}: {error}", rule.when, kind.name));
        Rule {
            level: rule.level,
            condition,
            sustained,
            clear: None,
            says: (!rule.says.is_empty()).then_some(rule.says),
            remedy: (!rule.remedy.is_empty()).then_some(rule.remedy),
            source: Cow::Borrowed(rule.when),
        }
    })
}

fn problem(key: &str, message: Text) -> Problem {
    Problem {
        key: key.to_owned(),
        error: Error::new(ErrorKind::InvalidConfig, message),
    }
}

fn in_source(error: &ParseError, source: &str) -> Text {
    text!(
        "{message}, at column {column} of \"{condition}\"",
        message = error.message.clone(),
        column = error.column,
        condition = source
    )
}
