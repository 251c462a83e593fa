//! Which failure explains which.
//!
//! A check names its parents: the checks whose failure explains a failure of its own. Five rules hold, learned from
//! what goes wrong in monitoring systems that suppress too much or too little:
//!
//! 1. Suppression mutes alerting, never monitoring: a suppressed check runs and is judged as ever.
//! 2. It keeps an alert from being created, never from being resolved: a check that is well is never suppressed, and
//!    a consumer must not close an alert because its check became suppressed.
//! 3. One hop suffices: a check is suppressed by a failing parent, not by a failing grandparent whose child is well.
//! 4. A check stays suppressed after its parent recovered until it was asked again, which the
//!    [`Monitor`](crate::monitor::Monitor) does at once.
//! 5. An unknown parent suppresses nothing, and neither does a warning: only a critical one explains a failure.

use std::collections::HashMap;

use crate::check::{Check, CheckId};
use crate::error::{Error, ErrorKind, Result};
use crate::status::Status;
use crate::text;

/// The parents and children of a set of checks, by their position in the set.
#[derive(Debug, Default)]
pub struct Dependencies {
    parents: Vec<Box<[usize]>>,
    children: Vec<Vec<usize>>,
}

impl Dependencies {
    /// Reads the graph of a set.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a name that occurs twice, a parent that is not in the set, and a cycle, whose
    /// path is named.
    pub fn new(checks: &[Check]) -> Result<Self> {
        let mut positions: HashMap<&CheckId, usize> = HashMap::with_capacity(checks.len());
        for (position, check) in checks.iter().enumerate() {
            if positions.insert(&check.id, position).is_some() {
                return Err(invalid(text!(
                    "two checks are called \"{name}\"",
                    name = check.id.as_str()
                )));
            }
        }
        let mut parents = Vec::with_capacity(checks.len());
        let mut children = vec![Vec::new(); checks.len()];
        for (child, check) in checks.iter().enumerate() {
            let found: Result<Box<[usize]>> = check
                .parents
                .iter()
                .map(|parent| {
                    positions.get(parent).copied().ok_or_else(|| {
                        invalid(text!(
                            "check \"{name}\" depends on \"{parent}\", which does not exist",
                            name = check.id.as_str(),
                            parent = parent.as_str()
                        ))
                    })
                })
                .collect();
            let found = found?;
            for &parent in &found {
                children[parent].push(child);
            }
            parents.push(found);
        }
        let graph = Self { parents, children };
        match graph.cycle() {
            None => Ok(graph),
            Some(path) => {
                let names: Vec<_> = path
                    .iter()
                    .map(|&position| checks[position].id.as_str())
                    .collect();
                Err(invalid(text!(
                    "checks depend on each other in a circle: {path}",
                    path = names.join(" -> ")
                )))
            }
        }
    }

    /// The positions of those that name the check at `position` as a parent.
    pub fn children(&self, position: usize) -> &[usize] {
        &self.children[position]
    }

    /// The positions of the parents of the check at `position`.
    pub fn parents(&self, position: usize) -> &[usize] {
        &self.parents[position]
    }

    /// The position of the failure that explains the check at `position`, which is the topmost failing ancestor.
    ///
    /// `status` tells the status of the check at a position, `None` where it is not known yet. Where several parents
    /// fail, the one named first in the configuration is followed.
    pub fn root_cause(&self, position: usize, status: impl Fn(usize) -> Option<Status>) -> Option<usize> {
        if status(position).is_none_or(|own| own == Status::Ok) {
            return None;
        }
        let failing_parent = |position: usize| {
            self.parents[position]
                .iter()
                .copied()
                .find(|&parent| status(parent) == Some(Status::Critical))
        };
        let mut cause = failing_parent(position)?;
        while let Some(above) = failing_parent(cause) {
            cause = above;
        }
        Some(cause)
    }

    /// The positions along a cycle, the first one repeated at the end.
    fn cycle(&self) -> Option<Vec<usize>> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            Unseen,
            OnPath,
            Done,
        }
        let mut marks = vec![Mark::Unseen; self.parents.len()];
        for start in 0..self.parents.len() {
            if marks[start] != Mark::Unseen {
                continue;
            }
            // The path is kept by hand, with how many parents of each were followed: a chain may be longer than the
            // stack is deep.
            let mut path = vec![(start, 0)];
            marks[start] = Mark::OnPath;
            while let Some((position, followed)) = path.last_mut() {
                let Some(&parent) = self.parents[*position].get(*followed) else {
                    marks[*position] = Mark::Done;
                    path.pop();
                    continue;
                };
                *followed += 1;
                match marks[parent] {
                    Mark::Done => {}
                    Mark::Unseen => {
                        marks[parent] = Mark::OnPath;
                        path.push((parent, 0));
                    }
                    Mark::OnPath => {
                        let on_path = path.iter().map(|&(position, _)| position);
                        let mut cycle: Vec<_> = on_path.skip_while(|&position| position != parent).collect();
                        cycle.push(parent);
                        return Some(cycle);
                    }
                }
            }
        }
        None
    }
}

fn invalid(message: crate::Text) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::ScriptedProbe;
    use Status::{Critical, Ok as Well, Unknown, Warning};

    fn set(checks: &[(&str, &[&str])]) -> Vec<Check> {
        checks
            .iter()
            .map(|(id, parents)| {
                let parents = parents.iter().map(|parent| parent.parse().unwrap()).collect();
                Check::new(id, ScriptedProbe::new("t"))
                    .unwrap()
                    .with_parents(parents)
            })
            .collect()
    }

    fn cause(checks: &[(&str, &[&str])], statuses: &[Status]) -> Option<usize> {
        let graph = Dependencies::new(&set(checks)).unwrap();
        graph.root_cause(checks.len() - 1, |position| Some(statuses[position]))
    }

    const CHAIN: &[(&str, &[&str])] = &[("host", &[]), ("docker", &["host"]), ("web", &["docker"])];

    #[test]
    fn the_topmost_failure_is_the_root_cause() {
        assert_eq!(cause(CHAIN, &[Critical, Critical, Critical]), Some(0));
        assert_eq!(cause(CHAIN, &[Well, Critical, Critical]), Some(1));
        assert_eq!(cause(CHAIN, &[Critical, Critical, Warning]), Some(0));
        assert_eq!(cause(CHAIN, &[Critical, Critical, Unknown]), Some(0));
    }

    #[test]
    fn one_hop_suffices_and_is_needed() {
        assert_eq!(cause(CHAIN, &[Critical, Well, Critical]), None);
    }

    #[test]
    fn what_is_well_is_never_suppressed() {
        assert_eq!(cause(CHAIN, &[Critical, Critical, Well]), None);
    }

    #[test]
    fn an_unknown_or_warning_parent_suppresses_nothing() {
        for parent in [Unknown, Warning, Well] {
            assert_eq!(cause(CHAIN, &[Well, parent, Critical]), None, "{parent}");
        }
        let graph = Dependencies::new(&set(CHAIN)).unwrap();
        let unseen_parent = graph.root_cause(2, |position| (position == 2).then_some(Critical));
        assert_eq!(unseen_parent, None);
    }

    #[test]
    fn of_several_failing_parents_the_first_named_is_followed() {
        let diamond: &[(&str, &[&str])] = &[("a", &[]), ("b", &[]), ("c", &["b", "a"])];
        assert_eq!(cause(diamond, &[Critical, Critical, Critical]), Some(1));
        assert_eq!(cause(diamond, &[Critical, Well, Critical]), Some(0));
    }

    #[test]
    fn a_wrong_graph_is_refused_by_name() {
        let refusal = |checks| Dependencies::new(&set(checks)).unwrap_err().to_string();
        insta::assert_snapshot!(refusal(&[("a", &["b"])]), @r#"check "a" depends on "b", which does not exist"#);
        insta::assert_snapshot!(refusal(&[("a", &[]), ("a", &[])]), @r#"two checks are called "a""#);
        insta::assert_snapshot!(refusal(&[("a", &["a"])]), @"checks depend on each other in a circle: a -> a");
        insta::assert_snapshot!(
            refusal(&[("top", &["a"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"])]),
            @"checks depend on each other in a circle: a -> b -> c -> a"
        );
    }

    #[test]
    fn a_chain_of_100_000_is_read() {
        let names: Vec<String> = (0..100_000).map(|n| format!("c{n}")).collect();
        let checks: Vec<Check> = names
            .iter()
            .enumerate()
            .map(|(n, name)| {
                let parent = n.checked_sub(1).map(|above| names[above].parse().unwrap());
                Check::new(name, ScriptedProbe::new("t"))
                    .unwrap()
                    .with_parents(parent.into_iter().collect())
            })
            .collect();
        let graph = Dependencies::new(&checks).unwrap();
        assert_eq!(graph.root_cause(99_999, |_| Some(Critical)), Some(0));
    }
}
