//! Alerts that keep others quiet: a chain that halted explains that its nodes no longer finalise.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hasher;

use jiff::Timestamp;

use crate::alert::Alert;
use crate::config::InhibitRuleConfig;
use crate::label::{Fingerprint, Labels};
use crate::matcher::Matcher;
use crate::text;
use crate::text::Text;

/// Knows which alerts fire that keep others quiet, by the values of the labels that must be equal.
#[derive(Clone, Debug, Default)]
pub struct Inhibitor {
    rules: Vec<Rule>,
    /// For each alert that is a source, the rules it is one of and its key in each.
    places: HashMap<Fingerprint, Vec<(usize, u64)>>,
}

#[derive(Clone, Debug)]
struct Rule {
    source_matchers: Vec<Matcher>,
    target_matchers: Vec<Matcher>,
    equal: Vec<Box<str>>,
    /// Sources by a hash of their values of the labels `equal`.
    sources: HashMap<u64, Sources>,
}

/// Sources with one key, in a fixed order so that equal questions have equal answers.
#[derive(Clone, Debug, Default)]
struct Sources {
    /// Those that `target_matchers` do not match.
    one_sided: BTreeMap<Fingerprint, Source>,
    /// Those that `target_matchers` match as well. They keep only those quiet that are no source themselves.
    two_sided: BTreeMap<Fingerprint, Source>,
}

#[derive(Clone, Debug)]
struct Source {
    labels: Labels,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

impl Inhibitor {
    /// An inhibitor that knows of no alert yet.
    ///
    /// # Errors
    /// Everything that is wrong: a label of `equal` that is empty or named twice.
    pub fn new(configs: &[InhibitRuleConfig]) -> Result<Self, Vec<Text>> {
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        for (index, config) in configs.iter().enumerate() {
            for (position, label) in config.equal.iter().enumerate() {
                if label.is_empty() || config.equal[..position].contains(label) {
                    problems.push(text!(
                        "inhibit_rules[{index}].equal names the label \"{label}\", which is empty or named twice",
                        index = index,
                        label = label
                    ));
                }
            }
            rules.push(Rule {
                source_matchers: config.source_matchers.to_vec(),
                target_matchers: config.target_matchers.to_vec(),
                equal: config.equal.iter().map(|label| label.as_str().into()).collect(),
                sources: HashMap::new(),
            });
        }
        if problems.is_empty() {
            Ok(Self {
                rules,
                places: HashMap::new(),
            })
        } else {
            Err(problems)
        }
    }

    /// Takes note of an alert that was told, firing or over.
    pub fn observe(&mut self, alert: &Alert) {
        let fingerprint = alert.fingerprint();
        if alert.is_resolved_at(alert.updated_at) {
            self.forget(fingerprint);
            return;
        }
        let is_known = self.places.contains_key(&fingerprint);
        let mut places = Vec::new();
        for (index, rule) in self.rules.iter_mut().enumerate() {
            if !all(&rule.source_matchers, &alert.labels) {
                continue;
            }
            let key = rule.key(&alert.labels);
            let sources = rule.sources.entry(key).or_default();
            let side = if all(&rule.target_matchers, &alert.labels) {
                &mut sources.two_sided
            } else {
                &mut sources.one_sided
            };
            match side.get_mut(&fingerprint) {
                Some(source) => {
                    source.starts_at = alert.starts_at;
                    source.ends_at = alert.ends_at;
                }
                None => {
                    let source = Source {
                        labels: alert.labels.clone(),
                        starts_at: alert.starts_at,
                        ends_at: alert.ends_at,
                    };
                    side.insert(fingerprint, source);
                }
            }
            if !is_known {
                places.push((index, key));
            }
        }
        if !places.is_empty() {
            self.places.insert(fingerprint, places);
        }
    }

    /// Forgets an alert that is over for good.
    pub fn forget(&mut self, fingerprint: Fingerprint) {
        for (index, key) in self.places.remove(&fingerprint).unwrap_or_default() {
            let sources = &mut self.rules[index].sources;
            if let Some(with_key) = sources.get_mut(&key) {
                with_key.one_sided.remove(&fingerprint);
                with_key.two_sided.remove(&fingerprint);
                if with_key.one_sided.is_empty() && with_key.two_sided.is_empty() {
                    sources.remove(&key);
                }
            }
        }
    }

    /// The alert that keeps one with these labels quiet at `now`, if there is one.
    ///
    /// Decided as Alertmanager decides it: the source must fire, the target must match, and the labels `equal` must
    /// have the same values, where a label that is not there has the empty value. Where the alert is a source of the
    /// rule itself, sources that are targets as well do not count, so that no two alerts silence each other, and none
    /// itself.
    pub fn inhibiting(
        &self,
        labels: &Labels,
        fingerprint: Fingerprint,
        now: Timestamp,
    ) -> Option<Fingerprint> {
        self.rules.iter().find_map(|rule| {
            if rule.sources.is_empty() || !all(&rule.target_matchers, labels) {
                return None;
            }
            let sources = rule.sources.get(&rule.key(labels))?;
            let counts = |(found, source): (&Fingerprint, &Source)| {
                let is_firing = source.starts_at <= now && source.ends_at > now;
                // The key is only a hash; the labels decide.
                (is_firing && *found != fingerprint && rule.has_equal(&source.labels, labels))
                    .then_some(*found)
            };
            sources.one_sided.iter().find_map(counts).or_else(|| {
                if sources.two_sided.is_empty() || all(&rule.source_matchers, labels) {
                    return None;
                }
                sources.two_sided.iter().find_map(counts)
            })
        })
    }
}

impl Rule {
    fn key(&self, labels: &Labels) -> u64 {
        let mut hasher = fnv::FnvHasher::default();
        for name in &self.equal {
            hasher.write(labels.get(name).unwrap_or_default().as_bytes());
            hasher.write(&[0xff]);
        }
        hasher.finish()
    }

    fn has_equal(&self, left: &Labels, right: &Labels) -> bool {
        self.equal
            .iter()
            .all(|name| left.get(name).unwrap_or_default() == right.get(name).unwrap_or_default())
    }
}

fn all(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels))
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    fn inhibitor(rules: serde_json::Value) -> Inhibitor {
        let rules: Vec<InhibitRuleConfig> = serde_json::from_value(rules).unwrap();
        Inhibitor::new(&rules).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn firing(labels: &[(&str, &str)]) -> Alert {
        Alert::firing(Labels::new(labels.iter().copied()), now() - 1.hour())
    }

    fn inhibiting(inhibitor: &Inhibitor, labels: &[(&str, &str)]) -> Option<Fingerprint> {
        let labels = Labels::new(labels.iter().copied());
        inhibitor.inhibiting(&labels, labels.fingerprint(), now())
    }

    #[test]
    fn a_firing_source_with_equal_labels_keeps_a_target_quiet() {
        let mut inhibitor = inhibitor(serde_json::json!([{
            "source_matchers": ["severity=critical"],
            "target_matchers": ["severity=warning"],
            "equal": ["chain", "cluster"],
        }]));
        let source = firing(&[("severity", "critical"), ("chain", "a")]);
        let target = [("severity", "warning"), ("chain", "a")];
        assert_eq!(inhibiting(&inhibitor, &target), None);
        inhibitor.observe(&source);
        assert_eq!(inhibiting(&inhibitor, &target), Some(source.fingerprint()));
        assert_eq!(
            inhibiting(&inhibitor, &[("severity", "warning"), ("chain", "b")]),
            None
        );
        assert_eq!(
            inhibiting(&inhibitor, &[("severity", "info"), ("chain", "a")]),
            None
        );
        // A label that neither has is equal, and so is one that is empty.
        assert!(
            inhibiting(
                &inhibitor,
                &[("severity", "warning"), ("chain", "a"), ("cluster", "")]
            )
            .is_some()
        );
        assert!(
            inhibiting(
                &inhibitor,
                &[("severity", "warning"), ("chain", "a"), ("cluster", "x")]
            )
            .is_none()
        );
        inhibitor.observe(&source.clone().resolved(now() - 1.minute()));
        assert_eq!(inhibiting(&inhibitor, &target), None);
    }

    #[test]
    fn a_source_counts_only_while_it_fires() {
        let mut inhibitor =
            inhibitor(serde_json::json!([{ "source_matchers": ["a=1"], "target_matchers": ["a=2"] }]));
        let mut source = firing(&[("a", "1")]);
        source.ends_at = now();
        inhibitor.observe(&source);
        assert_eq!(inhibiting(&inhibitor, &[("a", "2")]), None);
        source.ends_at = now() + 1.second();
        inhibitor.observe(&source);
        assert!(inhibiting(&inhibitor, &[("a", "2")]).is_some());
        inhibitor.forget(source.fingerprint());
        assert_eq!(inhibiting(&inhibitor, &[("a", "2")]), None);
    }

    /// The cases of Alertmanager's own test of alerts that match both sides.
    #[test]
    fn what_matches_both_sides_keeps_neither_itself_nor_its_like_quiet() {
        let mut inhibitor = inhibitor(serde_json::json!([{
            "source_matchers": ["s=1"],
            "target_matchers": ["t=1"],
            "equal": ["e"],
        }]));
        let both = firing(&[("s", "1"), ("t", "1"), ("e", "1")]);
        inhibitor.observe(&both);
        assert_eq!(
            inhibiting(&inhibitor, &[("s", "1"), ("t", "1"), ("e", "1")]),
            None
        );
        assert_eq!(
            inhibiting(&inhibitor, &[("s", "1"), ("t", "1"), ("e", "1"), ("f", "1")]),
            None
        );
        // But it does keep a mere target quiet, and a mere source keeps it quiet.
        assert_eq!(
            inhibiting(&inhibitor, &[("t", "1"), ("e", "1")]),
            Some(both.fingerprint())
        );
        let source = firing(&[("s", "1"), ("e", "1")]);
        inhibitor.observe(&source);
        assert_eq!(
            inhibiting(&inhibitor, &[("s", "1"), ("t", "1"), ("e", "1")]),
            Some(source.fingerprint())
        );
    }

    #[test]
    fn every_rule_has_its_say() {
        let mut inhibitor = inhibitor(serde_json::json!([
            { "source_matchers": ["a=1"], "target_matchers": ["b=1"], "equal": ["x"] },
            { "source_matchers": ["a=~1|2"], "target_matchers": ["b=2"] },
        ]));
        let source = firing(&[("a", "1"), ("x", "1")]);
        inhibitor.observe(&source);
        inhibitor.observe(&source);
        assert!(inhibiting(&inhibitor, &[("b", "1"), ("x", "1")]).is_some());
        assert!(inhibiting(&inhibitor, &[("b", "2"), ("x", "9")]).is_some());
        inhibitor.forget(source.fingerprint());
        assert!(inhibitor.places.is_empty() && inhibitor.rules.iter().all(|rule| rule.sources.is_empty()));
    }
}
