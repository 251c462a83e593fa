//! YAML whose parts remember where they stood, and readers that collect what is wrong instead of stopping at it.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

use crate::text;
use crate::text::Text;

/// A value of YAML.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    /// Anything that is written as one word or text, numbers and truth values included: Alertmanager takes them where it
    /// wants text.
    Scalar(String),
    Sequence(Vec<Spanned<Node>>),
    Mapping(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;

        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_owned()))
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
                Node::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = sequence.next_element()? {
                    values.push(value);
                }
                Ok(Node::Sequence(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries: Vec<(Spanned<String>, Spanned<Node>)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Node>>()? {
                    if entries.iter().any(|(known, _)| known.value == key.value) {
                        return Err(de::Error::custom(format!(
                            "the key {} stands here twice",
                            key.value
                        )));
                    }
                    entries.push((key, value));
                }
                Ok(Node::Mapping(entries))
            }
        }

        deserializer.deserialize_any(NodeVisitor)
    }
}

/// What was found while reading: problems, for which the file is refused, and notes, for which it is not.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    file: &'a str,
    problems: RefCell<Vec<(u64, u64, Text)>>,
    notes: RefCell<Vec<(u64, u64, Text)>>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(file: &'a str) -> Self {
        Self {
            file,
            problems: RefCell::default(),
            notes: RefCell::default(),
        }
    }

    pub(super) fn problem(&self, location: Location, problem: Text) {
        self.problems.borrow_mut().push(self.at(location, problem));
    }

    pub(super) fn note(&self, location: Location, note: Text) {
        self.notes.borrow_mut().push(self.at(location, note));
    }

    /// A problem of the file as a whole.
    pub(super) fn problem_anywhere(&self, problem: Text) {
        let located = text!("{file}: {problem}", file = self.file, problem = problem);
        self.problems.borrow_mut().push((u64::MAX, 0, located));
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// Problems and notes, each in the order of the file.
    pub(super) fn into_texts(self) -> (Vec<Text>, Vec<Text>) {
        let sorted = |mut findings: Vec<(u64, u64, Text)>| {
            findings.sort_by_key(|(line, column, _)| (*line, *column));
            findings.into_iter().map(|(_, _, text)| text).collect()
        };
        (
            sorted(self.problems.into_inner()),
            sorted(self.notes.into_inner()),
        )
    }

    fn at(&self, location: Location, finding: Text) -> (u64, u64, Text) {
        let text = text!(
            "{file}:{line}:{column}: {finding}",
            file = self.file,
            line = location.line(),
            column = location.column(),
            finding = finding
        );
        (location.line(), location.column(), text)
    }
}

/// A value with its place and what it is called in messages, such as `route.routes[2].group_wait`.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    node: &'a Node,
    pub(super) location: Location,
    pub(super) path: String,
    findings: &'a Findings<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn root(node: &'a Spanned<Node>, findings: &'a Findings<'a>) -> Self {
        Self {
            node: &node.value,
            location: node.referenced,
            path: String::new(),
            findings,
        }
    }

    pub(super) fn problem(&self, problem: Text) {
        self.findings.problem(self.location, problem);
    }

    pub(super) fn note(&self, note: Text) {
        self.findings.note(self.location, note);
    }

    fn expected(&self, expected: Text) {
        if self.path.is_empty() {
            return self.problem(text!("expected {expected}", expected = expected));
        }
        self.problem(text!(
            "{path}: expected {expected}",
            path = &self.path,
            expected = expected
        ));
    }

    /// The text that stands there.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.node {
            Node::Scalar(text) => Some(text),
            Node::Null => Some(""),
            Node::Sequence(_) | Node::Mapping(_) => {
                self.expected(text!("a text"));
                None
            }
        }
    }

    /// What `read` makes of the text, whose complaint becomes a problem.
    pub(super) fn parsed<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        read(self.text()?)
            .map_err(|error| {
                self.problem(text!("{path}: {error}", path = &self.path, error = error));
            })
            .ok()
    }

    /// Yes or no, in all the words that YAML 1.1 has for them.
    pub(super) fn truth(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => {
                self.expected(text!("true or false"));
                None
            }
        }
    }

    /// The values of a list; nothing counts as an empty one.
    pub(super) fn list(&self) -> Vec<Value<'a>> {
        match self.node {
            Node::Sequence(values) => values
                .iter()
                .enumerate()
                .map(|(index, value)| Value {
                    node: &value.value,
                    location: value.referenced,
                    path: format!("{}[{index}]", self.path),
                    findings: self.findings,
                })
                .collect(),
            Node::Null => Vec::new(),
            Node::Scalar(_) | Node::Mapping(_) => {
                self.expected(text!("a list"));
                Vec::new()
            }
        }
    }

    /// The texts of a list.
    pub(super) fn texts(&self) -> Vec<String> {
        self.list()
            .iter()
            .filter_map(|value| value.text().map(str::to_owned))
            .collect()
    }

    /// Keys with values; nothing counts as none.
    pub(super) fn mapping(&self) -> Mapping<'a> {
        let entries = match self.node {
            Node::Mapping(entries) => entries
                .iter()
                .map(|(key, value)| {
                    let separator = if self.path.is_empty() { "" } else { "." };
                    let value = Value {
                        node: &value.value,
                        location: value.referenced,
                        path: format!("{}{separator}{}", self.path, key.value),
                        findings: self.findings,
                    };
                    (key.value.as_str(), key.referenced, value)
                })
                .collect(),
            Node::Null => Vec::new(),
            Node::Scalar(_) | Node::Sequence(_) => {
                self.expected(text!("keys with values"));
                Vec::new()
            }
        };
        Mapping {
            location: self.location,
            path: self.path.clone(),
            entries,
            findings: self.findings,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.node, Node::Null)
    }
}

/// Keys with values, of which each is taken once; [`finish`](Mapping::finish) complains about those that nobody took.
#[derive(Debug)]
pub(super) struct Mapping<'a> {
    pub(super) location: Location,
    pub(super) path: String,
    entries: Vec<(&'a str, Location, Value<'a>)>,
    pub(super) findings: &'a Findings<'a>,
}

impl<'a> Mapping<'a> {
    /// No keys at all, for a section that is not there.
    pub(super) fn empty(of: &Value<'a>) -> Self {
        Self {
            location: of.location,
            path: of.path.clone(),
            entries: Vec::new(),
            findings: of.findings,
        }
    }

    /// Where the value of a key stands.
    pub(super) fn location_of(&self, key: &str) -> Option<Location> {
        let (_, _, value) = self.entries.iter().find(|(known, _, _)| *known == key)?;
        Some(value.location)
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(known, _, _)| *known == key)
    }

    /// The value of a key; none where it is not there or has none.
    pub(super) fn take(&mut self, key: &str) -> Option<Value<'a>> {
        let index = self.entries.iter().position(|(known, _, _)| *known == key)?;
        let (_, _, value) = self.entries.remove(index);
        (!value.is_null()).then_some(value)
    }

    /// The text of a key; none where it is empty.
    pub(super) fn text(&mut self, key: &str) -> Option<&'a str> {
        self.take(key)?.text().filter(|text| !text.is_empty())
    }

    /// Yes or no.
    pub(super) fn truth(&mut self, key: &str) -> Option<bool> {
        self.take(key)?.truth()
    }

    /// What is left, in its order.
    pub(super) fn rest(&mut self) -> Vec<(&'a str, Value<'a>)> {
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().map(|(key, _, value)| (key, value)).collect()
    }

    /// Drops keys that Alertmanager knows and Alpha has no counterpart of, with a note for each that is there.
    pub(super) fn leave_out(&mut self, keys: &[&str]) {
        for key in keys {
            if let Some(index) = self.entries.iter().position(|(known, _, _)| known == key) {
                let (_, location, value) = self.entries.remove(index);
                self.findings.note(
                    location,
                    text!("{path} has no counterpart and is left out", path = &value.path),
                );
            }
        }
    }

    pub(super) fn problem(&self, problem: Text) {
        self.findings.problem(self.location, problem);
    }

    /// Complains about keys that Alertmanager does not know.
    pub(super) fn finish(self) {
        for (_, location, value) in &self.entries {
            self.findings.problem(
                *location,
                text!("{path} is no key of Alertmanager", path = &value.path),
            );
        }
    }
}
