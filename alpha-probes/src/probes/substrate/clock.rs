//! The probe `substrate.clock`: whether the clocks of this machine and of the chain agree.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::node::{self, Node};
use super::within;
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_clock",
    summary: "whether the clock of this machine agrees with the slots and timestamps of the chain",
    metrics: &[
        Metric::gauge(
            "slot_drift",
            Unit::Count,
            "slots between the present one by this clock and that of the best block",
        ),
        Metric::gauge(
            "timestamp_ahead",
            Unit::Seconds,
            "how far the best block's timestamp lies in the future of this clock",
        ),
        Metric::gauge("slot_duration", Unit::Seconds, "how long a slot lasts"),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "timestamp_ahead > 500ms",
            sustained: "2 of 3",
            says: "this clock is behind that of the chain by at least {timestamp_ahead}",
            remedy: "Synchronise this machine's clock; blocks that a validator makes on a wrong clock are refused by the others.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "timestamp_ahead > 100ms",
            sustained: "2 of 3",
            says: "this clock is behind that of the chain by at least {timestamp_ahead}",
            remedy: "Synchronise this machine's clock.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "slot_drift > 5",
            sustained: "2 of 3",
            says: "the best block belongs to a slot {slot_drift} slots ago: this clock is ahead, or blocks are missing",
            remedy: "Synchronise this machine's clock, and look whether the chain makes blocks.",
        },
    ],
};

/// The table `substrate.clock` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SlotClockConfig {
    /// The address of the node's JSON-RPC.
    pub node: Url,
}

impl SlotClockConfig {
    /// The chain that the node at this address follows.
    pub fn new(node: Url) -> Self {
        Self { node }
    }
}

impl ProbeConfig for SlotClockConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let node = node::open(resources, &self.node, None)?;
        Ok(Arc::new(ClockProbe {
            target: node.rpc.address(),
            node,
        }))
    }
}

#[derive(Debug)]
struct ClockProbe {
    node: Arc<Node>,
    target: String,
}

#[async_trait]
impl Probe for ClockProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let look = within(context, &self.target, self.node.look(context)).await?;
        let refused = |why| Err(Error::new(ErrorKind::NotApplicable, why));
        if look.is_alone() {
            return refused(text!(
                "a node without peers that is no authority may keep a time of its own"
            ));
        }
        let Some(claim) = look.best.claim else {
            return refused(text!("the blocks of this chain belong to no slots"));
        };
        // The chain's time was asked for after ours was read, so that a slow answer would make ours look behind.
        let now = context.clock.now();
        let slot_millis = look.runtime.slot.as_millis() as f64;
        let present = now.as_millisecond() as f64 / slot_millis;
        let ahead = look
            .best
            .time
            .map_or(0.0, |time| time.duration_since(now).as_secs_f64());
        Ok(look
            .observation()
            .with("slot_drift", present.floor() - claim.slot as f64, Unit::Count)
            .with("timestamp_ahead", ahead.max(0.0), Unit::Seconds)
            .with_seconds("slot_duration", look.runtime.slot))
    }
}
