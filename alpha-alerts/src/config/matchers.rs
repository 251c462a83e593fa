//! Matchers as they stand in a configuration.

use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::matcher::{self, Matcher};

/// Conditions that must all hold, written as a list of texts: `['severity="P0"', 'chain=~"alpha|beta"']`.
///
/// One text may hold several, as in `{severity="P0", chain="alpha"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matchers(pub Vec<Matcher>);

impl Deref for Matchers {
    type Target = [Matcher];

    fn deref(&self) -> &[Matcher] {
        &self.0
    }
}

impl From<Vec<Matcher>> for Matchers {
    fn from(matchers: Vec<Matcher>) -> Self {
        Self(matchers)
    }
}

impl Serialize for Matchers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for Matchers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Matchers;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a list of matchers such as 'severity=\"P0\"'")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut texts: A) -> Result<Matchers, A::Error> {
                let mut matchers = Vec::new();
                while let Some(List(mut some)) = texts.next_element()? {
                    matchers.append(&mut some);
                }
                Ok(Matchers(matchers))
            }
        }

        deserializer.deserialize_seq(Visitor)
    }
}

/// One text of the list. A type of its own, so that an error is reported where the text stands.
struct List(Vec<Matcher>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = List;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a matcher such as 'severity=\"P0\"'")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<List, E> {
                matcher::parse_list(text)
                    .map(List)
                    .map_err(|error| E::custom(error.to_text()))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for Matchers {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Matchers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": { "type": "string" },
            "description": "Conditions on labels that must all hold, with the operators =, !=, =~ and !~",
            "examples": [["severity=\"P0\"", "chain=~\"alpha|beta\""]],
        })
    }
}
