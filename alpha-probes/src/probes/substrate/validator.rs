//! The probe `substrate.validator`: whether validators do what they are there for.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::account::Account;
use super::finality::voter_keys;
use super::node::{self, Node};
use super::session::Session;
use super::slots::Diligence;
use super::{named_accounts, within};
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_validator",
    summary: "whether validators are active, make their blocks, cast their votes, and stay for the next session",
    metrics: &[
        Metric::gauge("validators", Unit::Count, "validators of this session"),
        Metric::gauge("watched", Unit::Count, "validators that are looked at"),
        Metric::gauge(
            "silent",
            Unit::Count,
            "active ones that let two slots of theirs in a row pass, or three rounds of the vote",
        ),
        Metric::gauge(
            "suspect",
            Unit::Count,
            "active ones that let their last slot pass",
        ),
        Metric::gauge(
            "disabled",
            Unit::Count,
            "active ones that the chain has barred for misbehaving",
        ),
        Metric::gauge("inactive", Unit::Count, "ones that are not in this session's set"),
        Metric::gauge(
            "leaving",
            Unit::Count,
            "active ones that are not in the next session's set",
        ),
        Metric::gauge(
            "is_active",
            Unit::Boolean,
            "whether the validator is in this session's set",
        ),
        Metric::gauge(
            "is_queued",
            Unit::Boolean,
            "whether the validator is in the next session's set",
        ),
        Metric::gauge(
            "is_disabled",
            Unit::Boolean,
            "whether the chain has barred the validator for misbehaving",
        ),
        Metric::gauge(
            "missed_slots_in_a_row",
            Unit::Count,
            "slots of the validator that passed without a block since its last one",
        ),
        Metric::gauge(
            "missed_rounds_in_a_row",
            Unit::Count,
            "rounds of the vote that passed without the validator since its last vote",
        ),
        Metric::gauge(
            "slots_judged",
            Unit::Count,
            "slots of the validator that were judged so far",
        ),
        Metric::gauge(
            "rounds_judged",
            Unit::Count,
            "rounds of the vote that were judged so far",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "silent > 0",
            sustained: "",
            says: "active but silent: {silent_validators}",
            remedy: "Look whether it runs and has peers. Start no second one with its keys: two signers are slashed, a silent one only earns nothing.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "disabled > 0",
            sustained: "",
            says: "barred by the chain for misbehaving: {disabled_validators}",
            remedy: "Stop it, and find out whether its keys were used twice before anything is started again.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "suspect > 0",
            sustained: "",
            says: "let their last slot pass: {suspect_validators}",
            remedy: "One slot may be lost by accident; a second one in a row counts as silence.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "inactive > 0",
            sustained: "",
            says: "not in the active set: {inactive_validators}",
            remedy: "Look at its stake and at whether its session keys are set.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "leaving > 0",
            sustained: "",
            says: "leave the active set with the next session: {leaving_validators}",
            remedy: "Look at its stake and at whether it meant to stop validating.",
        },
    ],
};

/// So many of its own slots in a row, passed without a block, make a validator silent.
const SILENT_SLOTS: u32 = 2;

/// So many rounds of the vote in a row, passed without its votes, make a validator silent.
const SILENT_ROUNDS: u32 = 3;

/// With how many validators each still gets measurements of its own; the totals and the names of those in trouble are
/// told of any number.
const MAX_DETAILED: usize = 32;

/// How many names a list of validators in trouble has at most.
const MAX_NAMES: usize = 20;

/// The table `substrate.validator` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ValidatorConfig {
    /// The address of a node's JSON-RPC, best not the validator's own.
    pub node: Url,
    /// The validators to look at, by what people call them and the addresses of their stashes: `{ alice = "5Grw…" }`.
    /// Default: all that are active.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub validators: BTreeMap<String, String>,
}

impl ValidatorConfig {
    /// All active validators, as the node at this address sees them.
    pub fn new(node: Url) -> Self {
        Self {
            node,
            validators: BTreeMap::new(),
        }
    }

    /// Only this one, or this one too.
    #[must_use]
    pub fn with_validator(mut self, name: &str, address: &str) -> Self {
        self.validators.insert(name.to_owned(), address.to_owned());
        self
    }
}

impl ProbeConfig for ValidatorConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let node = node::open(resources, &self.node, None)?;
        let mut watched = Vec::new();
        for (name, account) in named_accounts("validators", &self.validators)? {
            node.call_by_name(account, &name);
            watched.push(account);
        }
        Ok(Arc::new(ValidatorProbe {
            target: node.rpc.address(),
            node,
            watched,
        }))
    }
}

#[derive(Debug)]
struct ValidatorProbe {
    node: Arc<Node>,
    watched: Vec<Account>,
    target: String,
}

/// What is known of one validator.
#[derive(Debug)]
struct Standing {
    name: String,
    is_active: bool,
    is_queued: bool,
    is_disabled: bool,
    slots: Diligence,
    missed_rounds: u32,
    /// Whether the vote for finality hangs and waits for this one.
    is_waited_for: bool,
}

impl Standing {
    fn is_silent(&self) -> bool {
        let misses_slots = self.slots.missed_in_a_row >= SILENT_SLOTS;
        let misses_votes = self.missed_rounds >= SILENT_ROUNDS || self.is_waited_for;
        self.is_active && (misses_slots || misses_votes)
    }

    fn is_suspect(&self) -> bool {
        self.is_active && !self.is_silent() && self.slots.missed_in_a_row > 0
    }
}

impl ValidatorProbe {
    async fn observe_now(&self, context: &Context<'_>) -> Result<Observation> {
        let look = self.node.look(context).await?;
        let session = Session::read(&self.node, &look.best.hash).await?;
        let slots = self.node.slots(&look).await?;
        if let Some(slots) = &slots {
            self.node.judge_slots(&look, slots).await?;
        }
        let voters = voter_keys(&self.node, &look).await?;
        if !voters.is_empty() {
            self.node.sample_rounds();
            if let Err(refusal) = self.node.round_state().await
                && refusal.kind != ErrorKind::NotApplicable
            {
                return Err(refusal.into());
            }
        }
        if slots.is_none() && voters.is_empty() {
            return Err(Error::new(
                ErrorKind::NotApplicable,
                text!(
                    "the validators of this chain neither own slots nor vote for finality, so nothing shows whether they work"
                ),
            ));
        }
        let prefix = self.node.address_prefix().await;
        let watched = if self.watched.is_empty() {
            &session.validators
        } else {
            &self.watched
        };
        let memory = self.node.memory();
        // All three lists are made from the same one at the start of a session, and have its order.
        let authorities = slots
            .as_ref()
            .map(|slots| &slots.authorities)
            .filter(|keys| keys.len() == session.validators.len());
        let voters = Some(&voters).filter(|keys| keys.len() == session.validators.len());
        let standings: Vec<Standing> = watched
            .iter()
            .map(|account| {
                let place = session.place(account);
                let key = |keys: Option<&Vec<Account>>| Some(keys?[place?]);
                Standing {
                    name: self.node.name(account, prefix),
                    is_active: place.is_some(),
                    is_queued: session.is_queued(account),
                    is_disabled: place.is_some_and(|place| session.disabled.contains(&place)),
                    slots: key(authorities)
                        .map_or_else(Diligence::default, |key| memory.slots.diligence(&key)),
                    is_waited_for: key(voters).is_some_and(|key| memory.rounds.is_waited_for(&key)),
                    missed_rounds: key(voters).map_or(0, |key| memory.rounds.missed_in_a_row(&key)),
                }
            })
            .collect();
        let mut observation = look
            .observation()
            .with("validators", session.validators.len() as f64, Unit::Count)
            .with("watched", standings.len() as f64, Unit::Count)
            .with("rounds_judged", memory.rounds.judged() as f64, Unit::Count);
        drop(memory);
        tell(
            &mut observation,
            ("silent", "silent_validators"),
            &standings,
            Standing::is_silent,
        );
        tell(
            &mut observation,
            ("suspect", "suspect_validators"),
            &standings,
            Standing::is_suspect,
        );
        tell(
            &mut observation,
            ("disabled", "disabled_validators"),
            &standings,
            |validator| validator.is_disabled,
        );
        tell(
            &mut observation,
            ("inactive", "inactive_validators"),
            &standings,
            |validator| !validator.is_active,
        );
        tell(
            &mut observation,
            ("leaving", "leaving_validators"),
            &standings,
            |validator| validator.is_active && !validator.is_queued,
        );
        if standings.len() <= MAX_DETAILED {
            standings
                .iter()
                .for_each(|validator| detail(&mut observation, validator));
        }
        Ok(observation)
    }
}

/// Tells how many validators are in a state, and which.
fn tell(
    observation: &mut Observation,
    (state, fact): (&'static str, &'static str),
    standings: &[Standing],
    is_so: impl Fn(&Standing) -> bool,
) {
    let names: Vec<&str> = standings
        .iter()
        .filter(|validator| is_so(validator))
        .map(|validator| validator.name.as_str())
        .collect();
    observation.push(state, names.len() as f64, Unit::Count, Vec::new());
    if !names.is_empty() {
        let mut listed = names[..names.len().min(MAX_NAMES)].join(", ");
        if names.len() > MAX_NAMES {
            listed.push_str(", …");
        }
        observation.facts.insert(fact.into(), listed.into());
    }
}

fn detail(observation: &mut Observation, validator: &Standing) {
    let flag = |value: bool| (f64::from(u8::from(value)), Unit::Boolean);
    let count = |value: u32| (f64::from(value), Unit::Count);
    for (name, (value, unit)) in [
        ("is_active", flag(validator.is_active)),
        ("is_queued", flag(validator.is_queued)),
        ("is_disabled", flag(validator.is_disabled)),
        ("missed_slots_in_a_row", count(validator.slots.missed_in_a_row)),
        ("missed_rounds_in_a_row", count(validator.missed_rounds)),
        ("slots_judged", count(validator.slots.judged)),
    ] {
        let labels = vec![("validator".into(), validator.name.clone())];
        observation.push(name, value, unit, labels);
    }
}

#[async_trait]
impl Probe for ValidatorProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        within(context, &self.target, self.observe_now(context)).await
    }
}
