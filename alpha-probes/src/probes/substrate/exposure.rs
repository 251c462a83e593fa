//! The probe `substrate.exposure`: whether strangers may command a node.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Host, Url};

use super::rpc::Rpc;
use super::within;
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_exposure",
    summary: "whether a node answers methods that are meant for its operator, at an address that others can reach",
    metrics: &[
        Metric::gauge(
            "is_reachable",
            Unit::Boolean,
            "whether a node answers at the address, if only to refuse",
        ),
        Metric::gauge(
            "answers_unsafe",
            Unit::Boolean,
            "whether it answers a method that is meant for its operator",
        ),
        Metric::gauge(
            "is_loopback",
            Unit::Boolean,
            "whether the address is one of this machine that nobody else can reach",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "answers_unsafe == true && is_loopback == false",
            sustained: "",
            says: "anybody who reaches this address can command the node: it answers unsafe methods",
            remedy: "Close the port, then start the node with --rpc-methods safe, or with its RPC on loopback only.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "is_loopback == true",
            sustained: "",
            says: "the address is loopback, where unsafe methods are meant to be answered: this check proves nothing",
            remedy: "Give the check the address by which others would reach the node.",
        },
    ],
};

/// The table `substrate.exposure` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ExposureConfig {
    /// The address by which others would reach the node: `http://203.0.113.5:9944`.
    pub address: Url,
}

impl ExposureConfig {
    /// The node as others would reach it.
    pub fn new(address: Url) -> Self {
        Self { address }
    }
}

impl ProbeConfig for ExposureConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        let rpc = Rpc::new(&self.address)?;
        Ok(Arc::new(ExposureProbe {
            target: rpc.address(),
            rpc,
        }))
    }
}

#[derive(Debug)]
struct ExposureProbe {
    rpc: Rpc,
    target: String,
}

impl ExposureProbe {
    /// Whether the address is of this machine only.
    async fn is_loopback(&self) -> Result<bool> {
        let url = self.rpc.url();
        let name = match url.host() {
            Some(Host::Ipv4(address)) => return Ok(address.is_loopback()),
            Some(Host::Ipv6(address)) => return Ok(IpAddr::from(address).to_canonical().is_loopback()),
            Some(Host::Domain(name)) => name,
            None => return Ok(false),
        };
        let port = url.port_or_known_default().unwrap_or(9944);
        let mut addresses = tokio::net::lookup_host((name, port)).await.map_err(|error| {
            Error::new(
                ErrorKind::Unreachable,
                text!("the name {name} has no address", name = name),
            )
            .with_source(error)
        })?;
        Ok(addresses.all(|address| address.ip().is_loopback()))
    }
}

#[async_trait]
impl Probe for ExposureProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let is_loopback = self.is_loopback().await?;
        // Unsafe, and yet harmless: it lists the peers.
        let answer = within(context, &self.target, async {
            Ok(self.rpc.call::<Value>("system_peers", &[]).await)
        })
        .await;
        let (is_reachable, answers_unsafe, said) = match answer {
            Ok(Ok(_)) => (true, true, "answered".to_owned()),
            Ok(Err(refusal)) => match refusal.kind {
                ErrorKind::Denied | ErrorKind::TooOld => (true, false, refusal.message.to_string()),
                // A closed or filtered port is the best answer there is.
                ErrorKind::Unreachable | ErrorKind::Timeout => (false, false, refusal.message.to_string()),
                _ => return Err(refusal.into()),
            },
            Err(error) if error.kind() == ErrorKind::Timeout => (false, false, error.to_string()),
            Err(error) => return Err(error),
        };
        Ok(Observation::new()
            .with("is_reachable", f64::from(u8::from(is_reachable)), Unit::Boolean)
            .with_bool("answers_unsafe", answers_unsafe)
            .with_bool("is_loopback", is_loopback)
            .with_fact("answer", said))
    }
}
