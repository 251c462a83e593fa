//! A running dispatcher behind the inbound APIs.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::backend::{AlertCounts, AlertView, Backend, GroupView};
use crate::alert::Alert;
use crate::audit::AuditEntry;
use crate::command::Command;
use crate::config::{Config, InhibitRuleConfig, RouteConfig, TimeIntervalConfig};
use crate::dispatcher::{Dispatcher, LATENCY_BOUNDS_SECONDS};
use crate::error::Result;
use crate::exposition::{Exposition, Type, counted};
use crate::incident::{Incident, IncidentId};
use crate::notification::GroupKey;
use crate::oncall::{HandoverReport, OnCall, Overrides};
use crate::silence::Silence;
use crate::state::State;
use crate::store::{DeliveryState, Suppression, Trail};

/// So many waiting notifications are counted; more show as this many.
const COUNTED_AT_MOST: usize = 10_000;

/// A running dispatcher together with what the APIs tell of its configuration.
#[derive(Debug)]
pub struct Live {
    dispatcher: Dispatcher,
    facts: RwLock<Arc<Facts>>,
}

/// What the APIs tell of a configuration.
#[derive(Debug)]
struct Facts {
    resolve_timeout: Duration,
    receivers: Vec<Arc<str>>,
    /// As an Alertmanager file, without secrets.
    text: String,
}

impl Facts {
    fn new(config: &Config) -> Self {
        #[derive(Serialize)]
        struct Global {
            resolve_timeout: String,
        }

        #[derive(Serialize)]
        struct Receiver<'a> {
            name: &'a str,
        }

        #[derive(Serialize)]
        struct File<'a> {
            global: Global,
            route: &'a RouteConfig,
            inhibit_rules: Vec<InhibitRuleConfig>,
            receivers: Vec<Receiver<'a>>,
            time_intervals: &'a [TimeIntervalConfig],
        }
        let names = config.receivers.iter().map(|receiver| receiver.name.as_str());
        let file = File {
            global: Global {
                resolve_timeout: config.resolve_timeout.to_string(),
            },
            route: &config.route,
            // `amtool` refuses the names of rules, which newer versions know.
            inhibit_rules: config.inhibit_rules.iter().cloned().map(unnamed).collect(),
            receivers: names.clone().map(|name| Receiver { name }).collect(),
            time_intervals: &config.time_intervals,
        };
        // JSON is YAML.
        let text = serde_json::to_value(&file)
            .map(|file| pruned(file).to_string())
            .unwrap_or_default();
        Self {
            resolve_timeout: config.resolve_timeout.0,
            receivers: names.map(Arc::from).collect(),
            text,
        }
    }
}

impl Live {
    /// The APIs' view of `dispatcher`, which runs with `config`.
    pub fn new(dispatcher: Dispatcher, config: &Config) -> Self {
        Self {
            dispatcher,
            facts: RwLock::new(Arc::new(Facts::new(config))),
        }
    }

    /// Goes on with another configuration.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) with everything that is wrong with it; the old one stays in force
    /// then.
    pub async fn reload(&self, config: &Config) -> Result<()> {
        self.dispatcher.reload(config).await?;
        *self.facts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Facts::new(config));
        Ok(())
    }

    /// The dispatcher.
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Backend for Live {
    fn now(&self) -> Timestamp {
        self.dispatcher.clock().now()
    }

    async fn execute(&self, command: Command) -> Result<()> {
        self.dispatcher.execute(command).await
    }

    fn resolve_timeout(&self) -> Duration {
        self.facts().resolve_timeout
    }

    fn alerts(&self, keep: &mut dyn FnMut(&Alert) -> bool) -> Vec<AlertView> {
        let now = self.now();
        self.dispatcher.read(|state| {
            let alerts = state.alerts().map(|(_, alert)| alert);
            alerts
                .filter(|alert| keep(alert))
                .map(|alert| view(state, alert, now))
                .collect()
        })
    }

    fn counts(&self) -> AlertCounts {
        let now = self.now();
        self.dispatcher.read(|state| {
            let mut counts = AlertCounts::default();
            for (fingerprint, alert) in state.alerts().filter(|(_, alert)| !alert.is_resolved_at(now)) {
                match state.suppression(fingerprint, &alert.labels, now) {
                    Some(_) => counts.suppressed += 1,
                    None => counts.active += 1,
                }
            }
            counts
        })
    }

    fn groups(&self) -> Vec<GroupView> {
        self.dispatcher.read(|state| {
            let routes = state.rules().routes().routes();
            let groups = state.groups().filter_map(|(route, group)| {
                Some(GroupView {
                    key: group.key().clone(),
                    labels: group.labels().clone(),
                    receiver: Arc::clone(&routes.get(route)?.receiver),
                    alerts: group.members().collect(),
                })
            });
            groups.collect()
        })
    }

    fn silences(&self) -> Vec<Silence> {
        self.dispatcher
            .read(|state| state.silences().iter().cloned().collect())
    }

    fn silence(&self, id: Uuid) -> Option<Silence> {
        self.dispatcher.read(|state| state.silences().get(id).cloned())
    }

    fn receivers(&self) -> Vec<Arc<str>> {
        self.facts().receivers.clone()
    }

    fn configuration(&self) -> String {
        self.facts().text.clone()
    }

    fn incidents(&self) -> Vec<Incident> {
        self.dispatcher.read(|state| state.incidents().cloned().collect())
    }

    fn incident(&self, id: IncidentId) -> Option<Incident> {
        self.dispatcher.read(|state| state.incident(id).cloned())
    }

    fn expects_heartbeat(&self, name: &str) -> bool {
        self.dispatcher
            .read(|state| state.rules().heartbeat(name).is_some())
    }

    async fn trail(&self, groups: &[GroupKey]) -> Result<Trail> {
        self.dispatcher.store().trail(groups).await
    }

    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>> {
        self.dispatcher.store().audit(after, limit).await
    }

    fn on_call(&self, look: &mut dyn FnMut(&OnCall, &Overrides)) {
        self.dispatcher
            .read(|state| look(state.rules().on_call(), state.overrides()));
    }

    fn handovers(&self) -> Vec<HandoverReport> {
        self.dispatcher.read(|state| state.handovers().cloned().collect())
    }

    async fn measure(&self, exposition: &mut Exposition) {
        let metrics = self.dispatcher.metrics();
        exposition
            .family(
                "alpha_leader",
                Type::Gauge,
                "Whether this instance decides, rather than helping another.",
            )
            .sample(&[], f64::from(u8::from(metrics.leads())))
            .family(
                "alpha_commits_total",
                Type::Counter,
                "Transactions in which alerts and what follows were made durable.",
            )
            .sample(&[], counted(metrics.commits()))
            .family(
                "alpha_commands_refused_total",
                Type::Counter,
                "Alerts, silences and acts that were refused because the store could not take them.",
            )
            .sample(&[], counted(metrics.commands_refused()))
            .family(
                "alpha_notifications_total",
                Type::Counter,
                "Attempts to tell a receiver, by integration and how they ended.",
            );
        for (integration, outcomes) in metrics.outcomes() {
            for (outcome, count) in [
                ("sent", outcomes.sent),
                ("failed", outcomes.failed_attempts),
                ("dead_lettered", outcomes.dead_lettered),
            ] {
                let labels = [("integration", integration.as_str()), ("outcome", outcome)];
                exposition.sample(&labels, counted(count));
            }
        }
        let latency = metrics.latency();
        let mut below = 0;
        let buckets: Vec<(f64, u64)> = LATENCY_BOUNDS_SECONDS
            .iter()
            .zip(latency.counts)
            .map(|(bound, count)| {
                below += count;
                (*bound, below)
            })
            .collect();
        exposition.histogram(
            "alpha_notification_latency_seconds",
            "How long it took from the decision to tell until the receiver took it.",
            &buckets,
            below + latency.above,
            latency.sum_seconds,
        );
        self.measure_outbox(exposition).await;
    }
}

impl Live {
    async fn measure_outbox(&self, exposition: &mut Exposition) {
        let store = self.dispatcher.store();
        let waiting = store
            .notifications(&[DeliveryState::Pending], COUNTED_AT_MOST)
            .await;
        let due = store.next_due().await;
        let (Ok(waiting), Ok(due)) = (waiting, due) else {
            // The families are left out rather than told wrongly, and the gap shows on a graph.
            tracing::warn!("the outbox could not be measured");
            return;
        };
        let lag = due.map_or(0.0, |due| self.now().duration_since(due).as_secs_f64().max(0.0));
        exposition
            .family(
                "alpha_outbox_notifications",
                Type::Gauge,
                "Notifications that wait or are on their way; 10000 stands for that many or more.",
            )
            .sample(&[], counted(waiting.len() as u64))
            .family(
                "alpha_outbox_lag_seconds",
                Type::Gauge,
                "For how long the notification that is longest due has been waiting.",
            )
            .sample(&[], lag);
    }
}

fn view(state: &State, alert: &Alert, now: Timestamp) -> AlertView {
    let fingerprint = alert.fingerprint();
    let routes = state.rules().routes().matching(&alert.labels);
    let muted_by = routes.iter().filter_map(|route| match state.muting(route, now)? {
        Suppression::TimeInterval(name) => Some(name),
        _ => None,
    });
    let mut silenced_by: Vec<Uuid> = state
        .silences()
        .silencing(&alert.labels, now)
        .map(|silence| silence.id)
        .collect();
    silenced_by.sort_unstable();
    let inhibited_by = match state.suppression(fingerprint, &alert.labels, now) {
        Some(Suppression::Inhibition(source)) => vec![source],
        _ => Vec::new(),
    };
    AlertView {
        muted_by: muted_by.collect(),
        receivers: routes.iter().map(|route| Arc::clone(&route.receiver)).collect(),
        alert: alert.clone(),
        silenced_by,
        inhibited_by,
    }
}

fn unnamed(mut rule: InhibitRuleConfig) -> InhibitRuleConfig {
    rule.name = None;
    rule
}

/// The same without what is `null`, empty or not Alertmanager's.
fn pruned(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            const OURS: [&str; 1] = ["escalation"];
            let kept = map.into_iter().map(|(key, value)| (key, pruned(value)));
            let is_said = |value: &Value| match value {
                Value::Null => false,
                Value::Array(list) => !list.is_empty(),
                Value::Object(map) => !map.is_empty(),
                _ => true,
            };
            kept.filter(|(key, value)| is_said(value) && !OURS.contains(&key.as_str()))
                .collect()
        }
        Value::Array(list) => list.into_iter().map(pruned).collect(),
        other => other,
    }
}
