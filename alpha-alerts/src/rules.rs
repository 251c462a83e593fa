//! A configuration, compiled: what the state decides by.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Config, DeliveryConfig, HeartbeatConfig};
use crate::escalation::Policies;
use crate::inhibit::Inhibitor;
use crate::notification::IntegrationId;
use crate::notifier::Notifier;
use crate::notifiers::{Environment, Integration, build};
use crate::oncall::{OnCall, PersonConfig};
use crate::route::RouteTree;
use crate::severity::{Severity, SeverityConfig};
use crate::text::Text;
use crate::time_interval::TimeIntervals;

/// Everything the state decides by. Made once from a [`Config`], shared, and replaced as a whole.
#[derive(Debug)]
pub struct Rules {
    routes: RouteTree,
    inhibitor: Inhibitor,
    time_intervals: TimeIntervals,
    severity: SeverityConfig,
    integrations: HashMap<Arc<str>, Vec<IntegrationSpec>>,
    on_call: OnCall,
    policies: Policies,
    escalates: bool,
    heartbeats: Vec<HeartbeatConfig>,
    delivery: DeliveryConfig,
}

/// What the state has to know of an integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrationSpec {
    /// Its identity.
    pub id: IntegrationId,
    /// Whether it is told ends.
    pub send_resolved: bool,
}

/// A notifier that the program brings itself.
#[derive(Clone, Debug)]
pub struct OwnNotifier {
    /// The receiver that it belongs to.
    pub receiver: String,
    /// The notifier.
    pub notifier: Arc<dyn Notifier>,
}

/// The integrations of a configuration, ready to be told.
pub type Integrations = HashMap<IntegrationId, Integration>;

impl Rules {
    /// Compiles a configuration and builds its integrations; `own` are further notifiers of its receivers, which no
    /// configuration can name. Nothing is sent.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(
        config: &Config,
        environment: &Environment,
        own: &[OwnNotifier],
    ) -> Result<(Self, Integrations), Vec<Text>> {
        let mut problems = config.check();
        let mut integrations = Integrations::new();
        let mut specs = HashMap::new();
        let people: Vec<_> = config.on_call.people.iter().map(PersonConfig::receiver).collect();
        for receiver in config.receivers.iter().chain(&people) {
            let mut built = build(receiver, environment).unwrap_or_else(|found| {
                problems.extend(found);
                Vec::new()
            });
            let own = own.iter().filter(|own| own.receiver == receiver.name);
            built.extend(own.enumerate().map(|(index, own)| Integration {
                id: format!("{}/{}/own-{index}", receiver.name, own.notifier.kind()).into(),
                notifier: own.notifier.clone(),
                send_resolved: true,
                rate: None,
            }));
            let spec = |integration: &Integration| IntegrationSpec {
                id: integration.id.clone(),
                send_resolved: integration.send_resolved,
            };
            specs.insert(
                Arc::<str>::from(receiver.name.as_str()),
                built.iter().map(spec).collect::<Vec<_>>(),
            );
            integrations.extend(
                built
                    .into_iter()
                    .map(|integration| (integration.id.clone(), integration)),
            );
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let on_call = OnCall::new(&config.on_call)?;
        let receivers: Vec<&str> = config
            .receivers
            .iter()
            .map(|receiver| receiver.name.as_str())
            .collect();
        let rules = Self {
            routes: RouteTree::new(&config.route)?,
            inhibitor: Inhibitor::new(&config.inhibit_rules)?,
            time_intervals: TimeIntervals::new(&config.time_intervals)?,
            severity: config.severity.clone(),
            integrations: specs,
            policies: Policies::new(&config.escalation, &on_call, &receivers)?,
            escalates: !config.escalation.is_empty() || !config.on_call.people.is_empty(),
            on_call,
            heartbeats: config.heartbeats.clone(),
            delivery: config.delivery.clone(),
        };
        Ok((rules, integrations))
    }

    /// The tree of routes.
    pub fn routes(&self) -> &RouteTree {
        &self.routes
    }

    /// An index of inhibitions that knows no alert yet.
    pub(crate) fn inhibitor(&self) -> Inhibitor {
        self.inhibitor.clone()
    }

    /// The named times.
    pub fn time_intervals(&self) -> &TimeIntervals {
        &self.time_intervals
    }

    /// How bad an alert is.
    pub fn severity(&self) -> &SeverityConfig {
        &self.severity
    }

    /// The integrations of a receiver; none where the receiver is not there or has none.
    pub fn integrations(&self, receiver: &str) -> &[IntegrationSpec] {
        self.integrations.get(receiver).map_or(&[], Vec::as_slice)
    }

    /// The receivers and their integrations, in no order. People are among them, as `person/<name>`.
    pub fn receivers(&self) -> impl Iterator<Item = (&str, &[IntegrationSpec])> {
        self.integrations
            .iter()
            .map(|(name, integrations)| (&**name, integrations.as_slice()))
    }

    /// Who is on duty.
    pub fn on_call(&self) -> &OnCall {
        &self.on_call
    }

    /// Whom to page.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The escalation policy of an alert of this severity on a route that names `policy`, if any: without people and
    /// policies in the configuration, nobody is paged step by step.
    pub(crate) fn policy_for(&self, policy: Option<&str>, severity: Severity) -> Option<String> {
        match policy {
            Some("none") => None,
            Some(policy) => Some(policy.to_owned()),
            None => self.escalates.then(|| severity.name().to_lowercase()),
        }
    }

    /// The heartbeat called so.
    pub fn heartbeat(&self, name: &str) -> Option<&HeartbeatConfig> {
        self.heartbeats.iter().find(|heartbeat| heartbeat.name == name)
    }

    /// All heartbeats.
    pub fn heartbeats(&self) -> &[HeartbeatConfig] {
        &self.heartbeats
    }

    /// How to deliver.
    pub fn delivery(&self) -> &DeliveryConfig {
        &self.delivery
    }
}
