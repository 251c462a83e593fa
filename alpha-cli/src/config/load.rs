//! Finds, reads and validates a configuration file; tells everything that is wrong with it at once.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use alpha_probes::text::Argument;
use alpha_probes::{Check, Resources, Text, text};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_path_to_error::Segment;

use super::Config;
use super::document::{Document, Path, Place, Step};
use super::nearest::nearest;
use crate::adapt::{Policy, reworded};
use crate::language::Language;
use crate::pattern::matches;

/// A configuration larger than this is a mistake in the path.
const MAX_CONFIG_BYTES: u64 = 8 * 1024 * 1024;

/// More mistakes than this are not told at once; the first ones usually explain the rest.
const MAX_MISTAKES: usize = 50;

/// Where the configuration is looked for when none is named.
const DEFAULT_PATHS: [&str; 4] = [
    "alpha.toml",
    "alpha.yaml",
    "/etc/alpha/alpha.toml",
    "/etc/alpha/alpha.yaml",
];

/// A valid configuration and the checks built from it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration as written.
    pub config: Config,
    /// Its checks.
    pub checks: Vec<Check>,
    /// The file it came from.
    pub path: PathBuf,
}

/// One thing that is wrong with a configuration file, and where.
#[derive(Clone, Debug)]
pub struct Mistake {
    file: Arc<str>,
    source: Arc<str>,
    span: Option<Range<usize>>,
    /// What is wrong.
    pub text: Text,
    hint: Option<Text>,
}

impl Mistake {
    /// The mistake with the lines it stands in, as a compiler shows it.
    pub fn render(&self, language: Language, is_coloured: bool) -> String {
        let title = self.text.translate(&language);
        let hint = self.hint.as_ref().map(|hint| hint.translate(&language));
        let level_name = language.phrase("error:");
        let level = Level::ERROR.with_name(level_name.trim_end_matches([':', '：']));
        let Some(span) = &self.span else {
            return format!("{level_name} {}: {title}", self.file);
        };
        let end = span
            .end
            .min(self.source.len())
            .max(span.start.min(self.source.len()));
        // A whole table would drown the message: its first line shows where it begins.
        let first_line = self.source[span.start.min(end)..end]
            .find('\n')
            .map_or(end, |length| span.start + length);
        let annotation = AnnotationKind::Primary.span(span.start.min(end)..first_line);
        let annotation = match &hint {
            Some(hint) => annotation.label(hint.as_str()),
            None => annotation,
        };
        let snippet = Snippet::source(&*self.source)
            .path(&*self.file)
            .annotation(annotation);
        let report = &[level.primary_title(title.as_str()).element(snippet)];
        let renderer = if is_coloured {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        renderer.render(report)
    }

    /// Line and column, counted from 1, where they are known.
    pub fn position(&self) -> Option<(usize, usize)> {
        let before = self.source.get(..self.span.as_ref()?.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some((
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        ))
    }
}

/// The file to read: the one that is named, else the first of the usual places that exists.
pub fn find(named: Option<&FilePath>) -> Option<PathBuf> {
    match named {
        Some(path) => Some(path.to_owned()),
        None => DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists()),
    }
}

/// Reads and validates the file at `path` and builds its checks.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &FilePath, resources: &Resources) -> Result<Loaded, Vec<Mistake>> {
    let source = source_of(path)?;
    let reader = Reader::new(path, &source);
    let mut mistakes = Vec::new();
    let (config, document) = reader.config(&mut mistakes);
    let had_mistakes = !mistakes.is_empty();
    let checks = reader.checks(&config, &document, resources, &mut mistakes);
    reader.labels(&config, &document, &mut mistakes);
    // What the deserialiser left out would be reported a second time as missing.
    if !had_mistakes {
        reader.alerts(&config, &document, &mut mistakes);
    }
    sort(&mut mistakes);
    if mistakes.is_empty() {
        Ok(Loaded {
            config,
            checks,
            path: path.to_owned(),
        })
    } else {
        Err(mistakes)
    }
}

/// Reads and validates the alerts' side of the file at `path`; builds no checks, and so needs none of their secrets.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_alerts(path: &FilePath) -> Result<Config, Vec<Mistake>> {
    let source = source_of(path)?;
    let reader = Reader::new(path, &source);
    let mut mistakes = Vec::new();
    let (config, document) = reader.config(&mut mistakes);
    if mistakes.is_empty() {
        reader.alerts(&config, &document, &mut mistakes);
    }
    sort(&mut mistakes);
    if mistakes.is_empty() {
        Ok(config)
    } else {
        Err(mistakes)
    }
}

/// What stands in the file at `path`.
fn source_of(path: &FilePath) -> Result<String, Vec<Mistake>> {
    let unreadable = |cause: &dyn std::fmt::Display| {
        vec![Mistake {
            file: path.display().to_string().into(),
            source: "".into(),
            span: None,
            text: text!(
                "the configuration cannot be read: {cause}",
                cause = cause.to_string()
            ),
            hint: None,
        }]
    };
    let file = fs::File::open(path).map_err(|error| unreadable(&error))?;
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(unreadable(&"it is larger than 8 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..good]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        unreadable(&format!("line {line} is not UTF-8"))
    })
}

/// Reads a configuration from `source`, which `path` only names; builds no checks.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(path: &FilePath, source: &str) -> Result<Config, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let (config, _) = Reader::new(path, source).config(&mut mistakes);
    sort(&mut mistakes);
    if mistakes.is_empty() {
        Ok(config)
    } else {
        Err(mistakes)
    }
}

/// In the order of the file.
fn sort(mistakes: &mut [Mistake]) {
    mistakes.sort_by_key(|mistake| mistake.span.as_ref().map_or(0, |span| span.start));
}

struct Reader {
    file: Arc<str>,
    source: Arc<str>,
    is_yaml: bool,
}

impl Reader {
    fn new(path: &FilePath, source: &str) -> Self {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        Self {
            file: path.display().to_string().into(),
            source: source.into(),
            is_yaml: extension == "yaml" || extension == "yml",
        }
    }

    fn mistake(&self, span: Option<Range<usize>>, text: Text, hint: Option<Text>) -> Mistake {
        Mistake {
            file: Arc::clone(&self.file),
            source: Arc::clone(&self.source),
            span,
            text,
            hint,
        }
    }

    /// The configuration without what is wrong in it.
    ///
    /// The deserialiser stops at the first mistake. It is told, the value it stands at is taken out, and the rest is
    /// read again, so that all mistakes are told at once.
    fn config(&self, mistakes: &mut Vec<Mistake>) -> (Config, Document) {
        let parsed = if self.is_yaml {
            Document::from_yaml(&self.source)
        } else {
            Document::from_toml(&self.source)
        };
        let mut document = match parsed {
            Ok(document) => document,
            Err(errors) => {
                mistakes.extend(errors.into_iter().map(|error| {
                    self.mistake(
                        Some(error.span),
                        text!("{problem}", problem = error.message),
                        None,
                    )
                }));
                return (Config::default(), Document::default());
            }
        };
        while mistakes.len() < MAX_MISTAKES {
            let error = match serde_path_to_error::deserialize::<_, Config>(&document.value) {
                Ok(config) => return (config, document),
                Err(error) => error,
            };
            let path: Path = error.path().iter().filter_map(step).collect();
            let (mistake, removable) = self.explain(&document, path, &error.inner().to_string());
            mistakes.push(mistake);
            if !document.remove(&removable) {
                break;
            }
        }
        (Config::default(), document)
    }

    /// The mistake behind a message of serde, and the path of the value to leave out.
    fn explain(&self, document: &Document, mut path: Path, message: &str) -> (Mistake, Path) {
        let place = |path: &Path| document.place(path).cloned();
        if let Some(rest) = message.strip_prefix("unknown field `") {
            let mut words = rest.split('`').step_by(2);
            let key = words.next().unwrap_or_default();
            if path.last() != Some(&Step::Key(key.to_owned())) {
                path.push(Step::Key(key.to_owned()));
            }
            let valid: Vec<&str> = words_in_backticks(rest);
            let hint = match nearest(key, valid.iter().copied()) {
                Some(near) => text!("did you mean \"{key}\"?", key = near),
                None if valid.is_empty() => text!("this table has no keys"),
                None => text!("expected one of {keys}", keys = valid.join(", ")),
            };
            let span = place(&path).map(|place| place.key);
            return (
                self.mistake(span, text!("unknown key \"{key}\"", key = key), Some(hint)),
                path,
            );
        }
        if let Some(rest) = message.strip_prefix("unknown variant `") {
            let variant = rest.split('`').next().unwrap_or_default();
            let valid = words_in_backticks(rest);
            let hint = match nearest(variant, valid.iter().copied()) {
                Some(near) => text!("did you mean \"{key}\"?", key = near),
                None => text!("expected one of {keys}", keys = valid.join(", ")),
            };
            let span = place(&path).map(|place| place.value);
            let name = dotted(&path);
            let text = text!("\"{value}\" is no value for {key}", value = variant, key = name);
            return (self.mistake(span, text, Some(hint)), path);
        }
        if let Some(key) = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split('`').next())
        {
            let span = place(&path).map(|place| place.value);
            let text = text!(
                "the key \"{key}\" is missing in {table}",
                key = key,
                table = dotted(&path)
            );
            return (self.mistake(span, text, None), path);
        }
        let span = place(&path).map(|place| place.value);
        let name = dotted(&path);
        let wrong_type = message
            .strip_prefix("invalid type: ")
            .or_else(|| message.strip_prefix("invalid value: "))
            .and_then(|rest| rest.split_once(", expected "));
        let mistake = match wrong_type {
            Some((found, expected)) => self.mistake(
                span,
                text!("{key} is {found}", key = name, found = found),
                Some(text!("expected {expected}", expected = in_words(expected))),
            ),
            None => self.mistake(
                span,
                text!("{key}: {problem}", key = name, problem = message),
                None,
            ),
        };
        (mistake, path)
    }

    /// Builds all checks; what is wrong with each is told at the key it stands at.
    fn checks(
        &self,
        config: &Config,
        document: &Document,
        resources: &Resources,
        mistakes: &mut Vec<Mistake>,
    ) -> Vec<Check> {
        let place = |index: usize, key: &str| -> Option<Place> {
            let mut path = vec![Step::Key("check".to_owned()), Step::Index(index)];
            path.extend(key.split('.').filter(|step| !step.is_empty()).map(Step::from));
            document.place(&path).cloned()
        };
        let had_mistakes = !mistakes.is_empty();
        let mut checks: Vec<Check> = Vec::new();
        let mut names: HashSet<&str> = HashSet::new();
        for (index, check) in config.check.iter().enumerate() {
            if !check.name.is_empty() && !names.insert(&check.name) {
                let span = place(index, "name").map(|place| place.value);
                let text = text!(
                    "the name \"{name}\" is taken by another check",
                    name = check.name.as_str()
                );
                mistakes.push(self.mistake(span, text, None));
            }
            match check.build(resources) {
                Ok(check) => checks.push(check),
                // What the deserialiser left out would be reported a second time as missing.
                Err(_) if had_mistakes => {}
                Err(problems) => mistakes.extend(problems.into_iter().map(|problem| {
                    let span = place(index, &problem.key).map(|place| place.value);
                    self.mistake(span, problem.error.to_text(), None)
                })),
            }
        }
        if had_mistakes {
            return checks;
        }
        for (index, check) in config.check.iter().enumerate() {
            for (position, parent) in check.depends_on.iter().enumerate() {
                if !config.check.iter().any(|other| other.name == parent.as_str()) {
                    let mut path = vec![Step::Key("check".to_owned()), Step::Index(index)];
                    path.extend([Step::Key("depends_on".to_owned()), Step::Index(position)]);
                    let span = document.place(&path).map(|place| place.value.clone());
                    let known = config.check.iter().map(|check| check.name.as_str());
                    let hint = nearest(parent.as_str(), known)
                        .map(|near| text!("did you mean \"{key}\"?", key = near));
                    let text = text!(
                        "there is no check \"{name}\" to depend on",
                        name = parent.as_str()
                    );
                    mistakes.push(self.mistake(span, text, hint));
                }
            }
        }
        checks
    }
}

impl Reader {
    /// What is wrong with the labels of checks and with the patterns of rules.
    fn labels(&self, config: &Config, document: &Document, mistakes: &mut Vec<Mistake>) {
        let keys = |words: &[&str]| -> Path { words.iter().copied().map(Step::from).collect() };
        for (index, check) in config.check.iter().enumerate() {
            let mut path = vec![Step::Key("check".to_owned()), Step::Index(index)];
            path.extend(keys(&["labels"]));
            for (label, problem) in Policy::check_labels(&check.labels) {
                let mut path = path.clone();
                path.push(Step::Key(label));
                let span = document.place(&path).map(|place| place.value.clone());
                mistakes.push(self.mistake(span, problem, None));
            }
        }
        for (index, rule) in config.paging.rules.iter().enumerate() {
            let mut path = keys(&["paging", "rules"]);
            path.push(Step::Index(index));
            let place = |key: &str| {
                let mut path = path.clone();
                path.push(Step::from(key));
                document.place(&path).map(|place| place.value.clone())
            };
            for pattern in &rule.checks {
                if !config.check.iter().any(|check| matches(pattern, &check.name)) {
                    let text = text!("no check is named {pattern}", pattern = pattern);
                    mistakes.push(self.mistake(place("checks"), text, None));
                }
            }
            for kind in &rule.kinds {
                let known = || alpha_probes::probe::kinds().into_iter().map(|kind| kind.name);
                if !known().any(|name| name == kind) {
                    let hint =
                        nearest(kind, known()).map(|near| text!("did you mean \"{key}\"?", key = near));
                    let text = text!("there is no kind of probe {kind}", kind = kind);
                    mistakes.push(self.mistake(place("kinds"), text, hint));
                }
            }
            for (_, problem) in Policy::check_labels(&rule.labels) {
                mistakes.push(self.mistake(place("labels"), problem, None));
            }
        }
    }

    /// What is wrong with the alerts' side. A configuration that says nothing of alerts is one for checks alone.
    fn alerts(&self, config: &Config, document: &Document, mistakes: &mut Vec<Mistake>) {
        let section = |key: &str| vec![Step::Key(key.to_owned())];
        if document.value.get("alerts").is_some() {
            let span = document.place(&section("alerts")).map(|place| place.key.clone());
            let problems = config.alerts.check();
            mistakes.extend(
                problems
                    .iter()
                    .map(|problem| self.mistake(span.clone(), reworded(problem), None)),
            );
        }
        let span = document.place(&section("serve")).map(|place| place.key.clone());
        let problems = config.serve.inbound.check();
        let mut problems: Vec<Text> = problems.iter().map(reworded).collect();
        if config.serve.store.sqlite.is_some() && config.serve.store.postgres.is_some() {
            problems.push(text!("serve.store names two stores: keep sqlite or postgres"));
        }
        mistakes.extend(
            problems
                .into_iter()
                .map(|problem| self.mistake(span.clone(), problem, None)),
        );
    }
}

/// What is expected, without the names of Rust's types.
fn in_words(expected: &str) -> Argument {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => text!("a whole number").into(),
        "f32" | "f64" => text!("a number").into(),
        "a boolean" => text!("true or false").into(),
        "a string" => text!("a text in quotes").into(),
        "a sequence" => text!("a list").into(),
        other if other.starts_with("struct ") => text!("a table").into(),
        other => other.into(),
    }
}

impl From<&str> for Step {
    fn from(step: &str) -> Self {
        step.parse()
            .map_or_else(|_| Self::Key(step.to_owned()), Self::Index)
    }
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { variant } => Some(Step::Key(variant.clone())),
        Segment::Unknown => None,
    }
}

/// `a`, `b` from ``x`, expected `a` or `b` ``: every second word, the first one being the unknown one itself.
fn words_in_backticks(message: &str) -> Vec<&str> {
    message.split('`').skip(2).step_by(2).collect()
}

/// `check[2].http.url`.
fn dotted(path: &Path) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) if out.is_empty() => out.push_str(key),
            Step::Key(key) => {
                out.push('.');
                out.push_str(key);
            }
            Step::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    if out.is_empty() {
        "the file".to_owned()
    } else {
        out
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn mistakes(name: &str, source: &str) -> String {
        let mistakes = parse(FilePath::new(name), source).expect_err("the configuration was accepted");
        mistakes
            .iter()
            .map(|mistake| mistake.render(Language::English, false))
            .collect::<Vec<_>>()
            .join("\n\n")
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_the_nearest_key() {
        let source = "[log]\nlevle = \"info\"\nkeep = \"ten\"\n\n[[check]]\nname = \"a\"\nevery = \"sometimes\"\n\n\
                      [[check]]\nname = \"b\"\nwran = \"x\"\n";
        assert_snapshot!(mistakes("alpha.toml", source));
    }

    #[test]
    fn yaml_is_read_by_the_same_schema_and_told_as_precisely() {
        let source = "log:\n  level: loud\ncheck:\n  - name: a\n    every: 5\n";
        assert_snapshot!(mistakes("alpha.yaml", source));
        let config = parse(FilePath::new("a.yml"), "check:\n  - name: a\n    every: 5s\n").unwrap();
        assert_eq!(config.check[0].every, Some(alpha_probes::Period::from_secs(5)));
    }

    #[test]
    fn broken_syntax_is_told_where_it_breaks() {
        assert_snapshot!(mistakes("alpha.toml", "[log\nlevel = \n"));
        assert_snapshot!(mistakes("alpha.yaml", "log: [a\ncheck: {"));
    }
}
