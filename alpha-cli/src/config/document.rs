//! A TOML or YAML file as values that remember where they stood.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserialize, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake of syntax, with the bytes it stands at.
pub(super) struct SyntaxError {
    pub(super) message: String,
    pub(super) span: Range<usize>,
}

/// A parsed file: its values, and where each key and value stands, by [`path`](Path).
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) value: Value,
    spans: HashMap<Path, Place>,
}

/// Where a value and the key it belongs to stand, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// The keys and indices that lead to a value.
pub(super) type Path = Vec<Step>;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Document {
    /// The place of the value at `path`, or of the nearest enclosing one.
    pub(super) fn place(&self, path: &[Step]) -> Option<&Place> {
        (0..=path.len())
            .rev()
            .find_map(|length| self.spans.get(&path[..length]))
    }

    /// Removes the value at `path`; whether it was there.
    pub(super) fn remove(&mut self, path: &[Step]) -> bool {
        let Some((last, parents)) = path.split_last() else {
            return false;
        };
        let parent = parents
            .iter()
            .try_fold(&mut self.value, |value, step| match step {
                Step::Key(key) => value.get_mut(key),
                Step::Index(index) => value.get_mut(index),
            });
        match (parent, last) {
            (Some(Value::Object(map)), Step::Key(key)) => map.remove(key).is_some(),
            // An element is emptied, not removed: the indices of the others stay what they are in the file.
            (Some(Value::Array(values)), Step::Index(index)) if *index < values.len() => {
                std::mem::replace(&mut values[*index], Value::Object(Map::new())) != Value::Object(Map::new())
            }
            _ => false,
        }
    }

    /// Reads TOML; all mistakes of syntax at once.
    pub(super) fn from_toml(source: &str) -> Result<Self, Vec<SyntaxError>> {
        let (table, errors) = DeTable::parse_recoverable(source);
        if !errors.is_empty() {
            return Err(errors
                .into_iter()
                .map(|error| SyntaxError {
                    message: error.message().to_owned(),
                    span: error.span().unwrap_or(0..0),
                })
                .collect());
        }
        let mut document = Self::default();
        let span = table.span();
        document.spans.insert(
            Path::new(),
            Place {
                key: span.clone(),
                value: span,
            },
        );
        document.value = document.toml_table(table.into_inner(), &Path::new());
        Ok(document)
    }

    fn toml_table(&mut self, table: DeTable<'_>, path: &Path) -> Value {
        let entries = table.into_iter().map(|(key, value)| {
            let (key_span, value_span) = (key.span(), value.span());
            let key = key.into_inner().into_owned();
            let path = joined(path, Step::Key(key.clone()));
            self.spans.insert(
                path.clone(),
                Place {
                    key: key_span,
                    value: value_span,
                },
            );
            (key, self.toml_value(value.into_inner(), &path))
        });
        Value::Object(entries.collect())
    }

    fn toml_value(&mut self, value: DeValue<'_>, path: &Path) -> Value {
        match value {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .ok()
                .and_then(Number::from_i128)
                .map_or(Value::Null, Value::Number),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .ok()
                .and_then(Number::from_f64)
                .map_or(Value::Null, Value::Number),
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Datetime(instant) => Value::String(instant.to_string()),
            DeValue::Array(values) => {
                let values = values.into_iter().enumerate().map(|(index, value)| {
                    let path = joined(path, Step::Index(index));
                    self.spans.insert(
                        path.clone(),
                        Place {
                            key: value.span(),
                            value: value.span(),
                        },
                    );
                    self.toml_value(value.into_inner(), &path)
                });
                Value::Array(values.collect())
            }
            DeValue::Table(table) => self.toml_table(table, path),
        }
    }

    /// Reads YAML.
    pub(super) fn from_yaml(source: &str) -> Result<Self, Vec<SyntaxError>> {
        let offsets = CharacterOffsets::new(source);
        let root: Spanned<Node> = serde_saphyr::from_str(source).map_err(|error| {
            let span = error
                .location()
                .map_or(0..0, |location| offsets.bytes(&location.span(), source));
            let message = error.without_snippet().to_string();
            vec![SyntaxError { message, span }]
        })?;
        let mut document = Self::default();
        let span = offsets.bytes(&root.referenced.span(), source);
        document.spans.insert(
            Path::new(),
            Place {
                key: span.clone(),
                value: span,
            },
        );
        document.value = match root.value {
            Node::Scalar(Value::Null) => Value::Object(Map::new()),
            node => document.yaml_value(node, &Path::new(), &offsets, source),
        };
        Ok(document)
    }

    fn yaml_value(&mut self, node: Node, path: &Path, offsets: &CharacterOffsets, source: &str) -> Value {
        match node {
            Node::Scalar(value) => value,
            Node::Sequence(values) => {
                let values = values.into_iter().enumerate().map(|(index, value)| {
                    let path = joined(path, Step::Index(index));
                    let span = offsets.bytes(&value.referenced.span(), source);
                    self.spans.insert(
                        path.clone(),
                        Place {
                            key: span.clone(),
                            value: span,
                        },
                    );
                    self.yaml_value(value.value, &path, offsets, source)
                });
                Value::Array(values.collect())
            }
            Node::Mapping(entries) => {
                let entries = entries.into_iter().map(|(key, value)| {
                    let path = joined(path, Step::Key(key.value.clone()));
                    let place = Place {
                        key: offsets.bytes(&key.referenced.span(), source),
                        value: offsets.bytes(&value.referenced.span(), source),
                    };
                    self.spans.insert(path.clone(), place);
                    (key.value, self.yaml_value(value.value, &path, offsets, source))
                });
                Value::Object(entries.collect())
            }
        }
    }
}

fn joined(path: &Path, step: Step) -> Path {
    let mut path = path.clone();
    path.push(step);
    path
}

/// A YAML value whose parts remember where they stood.
enum Node {
    Scalar(Value),
    Sequence(Vec<Spanned<Node>>),
    Mapping(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;

        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Null))
            }

            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Null))
            }

            fn visit_some<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
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
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Mapping(entries))
            }
        }

        deserializer.deserialize_any(NodeVisitor)
    }
}

/// Turns positions counted in characters into bytes.
struct CharacterOffsets(Vec<usize>);

impl CharacterOffsets {
    fn new(source: &str) -> Self {
        Self(source.char_indices().map(|(offset, _)| offset).collect())
    }

    fn bytes(&self, span: &serde_saphyr::Span, source: &str) -> Range<usize> {
        let at = |character: usize| self.0.get(character).copied().unwrap_or(source.len());
        let start = span.offset() as usize;
        at(start)..at(start + span.len() as usize)
    }
}
