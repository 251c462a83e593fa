//! Why an alert goes where it goes.

use std::fmt;

use super::{Route, RouteTree};
use crate::label::Labels;
use crate::matcher::Matcher;
use crate::text;
use crate::text::Text;

/// How an alert went through the tree, node by node, parents first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation<'a> {
    /// Every node of the tree, in its order.
    pub visits: Vec<Visit<'a>>,
}

/// What a node did with an alert.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Visit<'a> {
    /// The node.
    pub route: &'a Route,
    /// How far below the root it is.
    pub depth: usize,
    /// What it did.
    pub outcome: Outcome<'a>,
}

/// What a node can do with an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It takes it: its receiver is told.
    Takes,
    /// It matches, and left it to its children.
    Passes,
    /// This matcher of it does not match.
    Refuses(&'a Matcher),
    /// It was not asked, because its parent does not match or a node before it took the alert.
    NotAsked,
}

impl Explanation<'_> {
    /// Who is told, in order; a receiver that several routes name stands there as often.
    pub fn receivers(&self) -> Vec<&str> {
        self.visits
            .iter()
            .filter(|visit| visit.outcome == Outcome::Takes)
            .map(|visit| &*visit.route.receiver)
            .collect()
    }

    /// The tree, a line a node, with what each did.
    pub fn lines(&self) -> Vec<Text> {
        let depths: Vec<usize> = self.visits.iter().map(|visit| visit.depth).collect();
        let line = |(index, visit): (usize, &Visit<'_>)| {
            let node = format!("{}{}", branch(&depths, index), visit.route.own_matchers());
            match visit.outcome {
                Outcome::Takes => text!(
                    "{node} takes it: {receiver} is told",
                    node = node,
                    receiver = &*visit.route.receiver
                ),
                Outcome::Passes => text!("{node} matches, and so does one below", node = node),
                Outcome::Refuses(matcher) => text!(
                    "{node} does not match: {matcher}",
                    node = node,
                    matcher = matcher.to_string()
                ),
                Outcome::NotAsked => text!("{node} is not asked", node = node),
            }
        };
        self.visits.iter().enumerate().map(line).collect()
    }
}

impl Route {
    /// The matchers of the node itself, without those of its parents.
    fn own_matchers(&self) -> &str {
        let own = self.key.len().saturating_sub(self.own_length);
        &self.key[own..]
    }
}

impl RouteTree {
    /// Why an alert with these labels goes where it goes.
    pub fn explain<'a>(&'a self, labels: &Labels) -> Explanation<'a> {
        let values = self.values(labels);
        let takers: Vec<usize> = self.matching(labels).iter().map(|route| route.index).collect();
        let mut visits: Vec<Visit<'a>> = Vec::with_capacity(self.nodes.len());
        // Up to where nobody is asked, because a node that covers it was passed over.
        let mut unasked_until = 0;
        for (index, node) in self.nodes.iter().enumerate() {
            let outcome = if index < unasked_until {
                Outcome::NotAsked
            } else if let Some(matcher) = node.failing(&values, labels) {
                unasked_until = node.end;
                Outcome::Refuses(matcher)
            } else if takers.contains(&index) {
                Outcome::Takes
            } else {
                Outcome::Passes
            };
            visits.push(Visit {
                route: &self.routes[index],
                depth: node.depth,
                outcome,
            });
        }
        self.mark_siblings(&mut visits);
        Explanation { visits }
    }

    /// A node that matched without `continue` keeps its later siblings, and all below them, from being asked.
    fn mark_siblings(&self, visits: &mut [Visit<'_>]) {
        for parent in 0..self.nodes.len() {
            let mut child = parent + 1;
            let mut is_over = false;
            while child < self.nodes[parent].end {
                let end = self.nodes[child].end;
                if is_over {
                    for visit in &mut visits[child..end] {
                        visit.outcome = Outcome::NotAsked;
                    }
                } else {
                    let has_matched = matches!(visits[child].outcome, Outcome::Takes | Outcome::Passes);
                    is_over = has_matched && !self.nodes[child].continues;
                }
                child = end;
            }
        }
    }
}

/// The tree as `amtool config routes show` draws it.
impl fmt::Display for RouteTree {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depths: Vec<usize> = self.nodes.iter().map(|node| node.depth).collect();
        for (index, (node, route)) in self.nodes.iter().zip(&self.routes).enumerate() {
            let name = if index == 0 {
                "default-route"
            } else {
                route.own_matchers()
            };
            let continues = if node.continues { "  continue: true" } else { "" };
            let branch = branch(&depths, index);
            writeln!(
                formatter,
                "{branch}{name}{continues}  receiver: {}",
                route.receiver
            )?;
        }
        Ok(())
    }
}

/// The lines that lead to a node of a tree whose nodes have these depths, parents first.
fn branch(depths: &[usize], index: usize) -> String {
    let depth = depths[index];
    let goes_on = |level: usize| {
        depths[index + 1..]
            .iter()
            .take_while(|depth| **depth >= level)
            .any(|depth| *depth == level)
    };
    let mut branch = String::new();
    for level in 1..=depth {
        branch.push_str(match (goes_on(level), level == depth) {
            (true, true) => "├── ",
            (false, true) => "└── ",
            (true, false) => "│   ",
            (false, false) => "    ",
        });
    }
    branch
}
