//! Labels and annotations: sorted, unique names with their values.

use std::fmt;
use std::hash::Hasher;

use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names with values, sorted by name, each name once.
///
/// A hundred thousand alerts are held in memory, so that a set is one allocation of text and one of offsets rather than
/// two per label.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// Name, value, name, value and so on without separators.
    text: Box<str>,
    /// Where each name and each value ends in `text`.
    ends: Box<[u32]>,
}

/// The identity of an alert: a hash over its labels, the same that Alertmanager computes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl Labels {
    /// Labels from pairs in any order; of a repeated name the last value counts.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|(left, _), (right, _)| left.as_ref().cmp(right.as_ref()));
        let mut text = String::with_capacity(
            pairs
                .iter()
                .map(|(name, value)| name.as_ref().len() + value.as_ref().len())
                .sum(),
        );
        let mut ends = Vec::with_capacity(pairs.len() * 2);
        for (index, (name, value)) in pairs.iter().enumerate() {
            let is_repeated = pairs
                .get(index + 1)
                .is_some_and(|(next, _)| next.as_ref() == name.as_ref());
            if is_repeated {
                continue;
            }
            for part in [name.as_ref(), value.as_ref()] {
                text.push_str(part);
                ends.push(end_of(&text));
            }
        }
        Self {
            text: text.into_boxed_str(),
            ends: ends.into_boxed_slice(),
        }
    }

    /// Labels from names and values that stand one after the other in `text`, each with where it ends.
    fn from_parts(text: &str, ends: &[u32]) -> Self {
        let parts = Self {
            text: text.into(),
            ends: ends.into(),
        };
        // Go's encoder sorts the names, so that those of Prometheus need no second pass.
        let is_sorted = parts.iter().is_sorted_by(|(left, _), (right, _)| left < right);
        if is_sorted { parts } else { Self::new(parts.iter()) }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Names and values in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        (0..self.len()).map(|index| {
            let start = index
                .checked_mul(2)
                .and_then(|at| at.checked_sub(1))
                .map_or(0, |at| self.ends[at] as usize);
            let (middle, end) = (self.ends[index * 2] as usize, self.ends[index * 2 + 1] as usize);
            (&self.text[start..middle], &self.text[middle..end])
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Only the labels whose name `keep` wants.
    #[must_use]
    pub fn filtered(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        Self::new(self.iter().filter(|(name, _)| keep(name)))
    }

    /// Only the labels that `other` has with the same value.
    #[must_use]
    pub fn common_with(&self, other: &Self) -> Self {
        Self::new(self.iter().filter(|(name, value)| other.get(name) == Some(value)))
    }

    /// FNV-1a, 64 bits, over `name 0xff value 0xff` of each label in order: the fingerprint of Prometheus'
    /// `model.LabelSet`, which Alertmanager uses as the identity of an alert.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = fnv::FnvHasher::default();
        for (name, value) in self.iter() {
            hasher.write(name.as_bytes());
            hasher.write(&[0xff]);
            hasher.write(value.as_bytes());
            hasher.write(&[0xff]);
        }
        Fingerprint(hasher.finish())
    }
}

/// As Alertmanager writes a set: `{alertname="X", job="node"}`.
impl fmt::Display for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{name}={}", crate::quote::Quoted(value))?;
        }
        formatter.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::new(pairs)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LabelsVisitor;

        impl<'de> Visitor<'de> for LabelsVisitor {
            type Value = Labels;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("names with text values, such as {\"alertname\": \"NodeDown\"}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut text = String::with_capacity(256);
                let mut ends = Vec::with_capacity(map.size_hint().unwrap_or(16).clamp(16, 128));
                while map.next_key_seed(Appended(&mut text))?.is_some() {
                    ends.push(end_of(&text));
                    map.next_value_seed(Appended(&mut text))?;
                    ends.push(end_of(&text));
                }
                Ok(Labels::from_parts(&text, &ends))
            }
        }

        deserializer.deserialize_map(LabelsVisitor)
    }
}

/// Reads one string to the end of a text, so that a label costs no allocation of its own.
struct Appended<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Appended<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Appended<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        // Offsets are 32 bits wide.
        if self.0.len() + text.len() > u32::MAX as usize {
            return Err(E::custom("a set of labels is larger than 4 GiB"));
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn end_of(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        (text.len() == 16)
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten()
            .map(Self)
            .ok_or_else(|| {
                crate::Error::new(
                    crate::ErrorKind::InvalidInput,
                    crate::text!(
                        "`{text}` is no fingerprint: expected 16 hexadecimal digits",
                        text = text
                    ),
                )
            })
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_the_one_alertmanager_computes() {
        let labels = Labels::new([
            ("severity", "critical"),
            ("alertname", "X"),
            ("chain", "alpha"),
            ("cluster", "eu-1"),
            ("instance", "node-1:9100"),
            ("job", "validator"),
        ]);
        // Read from Alertmanager 0.25 and 0.33.
        assert_eq!(labels.fingerprint().to_string(), "1e5dee79e3b638b3");
    }

    #[test]
    fn order_does_not_matter_and_the_last_of_a_repeated_name_counts() {
        let labels = Labels::new([("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(labels.get("b"), Some("3"));
        assert_eq!(labels.get("c"), None);
        assert_eq!(labels.to_string(), r#"{a="2", b="3"}"#);
    }

    #[test]
    fn they_pass_through_json() {
        let labels = Labels::new([("名", "值"), ("a", "")]);
        let json = serde_json::to_string(&labels).unwrap();
        assert_eq!(json, r#"{"a":"","名":"值"}"#);
        assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), labels);
        assert!(serde_json::from_str::<Labels>(r#"{"a":1}"#).is_err());
        let unsorted = serde_json::from_str::<Labels>(r#"{"b":"1","a":"\u00e9","b":"2"}"#).unwrap();
        assert_eq!(unsorted, Labels::new([("a", "é"), ("b", "2")]));
    }

    #[test]
    fn only_what_both_have_is_common() {
        let left = Labels::new([("a", "1"), ("b", "2"), ("c", "3")]);
        let right = Labels::new([("b", "2"), ("c", "4")]);
        assert_eq!(left.common_with(&right), Labels::new([("b", "2")]));
    }
}
