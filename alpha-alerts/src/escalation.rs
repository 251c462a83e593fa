//! Escalation: whom to page, when, and whom next if nobody answers.
//!
//! A policy is a list of steps, gone through until somebody acknowledges, and then again from the first. Everything here
//! is pure: the dispatcher asks at each tick what to page and when to ask again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::incident::{Escalation, Incident};
use crate::label::Labels;
use crate::notification::IntegrationId;
use crate::oncall::{OnCall, Overrides, PersonName, is_name};
use crate::period::Period;
use crate::severity::Severity;
use crate::text;
use crate::text::Text;

/// Whom to page when, until somebody acknowledges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PolicyConfig {
    /// What routes call it. One called `p0` to `p3` takes the place of the ready-made one.
    pub name: String,
    /// Within what somebody must acknowledge. Default: by severity, see [`respond_within`].
    pub respond_within: Option<Period>,
    /// The steps, in order of `after`.
    pub steps: Vec<StepConfig>,
    /// When the first step comes again, counted from the beginning of the round. Default: 30 minutes after the last
    /// step.
    pub repeat_every: Option<Period>,
    /// How often the steps are gone through at most. Default: until somebody acknowledges.
    pub rounds: Option<u32>,
}

/// One step of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StepConfig {
    /// When, counted from the beginning of the round. Default: at once. A step that reaches nobody is skipped at once,
    /// and the later ones then come as much earlier.
    pub after: Period,
    /// Whom: `everyone`, `on_duty` (whoever is on duty in any schedule), `owner` (the role that owns the component),
    /// `person/x`, `schedule/x`, `role/x` or `receiver/x`.
    pub targets: Vec<String>,
    /// By which kinds of channel. Default: every one that the target has. A target that has none of these is told by
    /// every one it has, because a page that reaches nobody is worse than one on the wrong channel.
    pub channels: Vec<Channel>,
}

impl Default for StepConfig {
    fn default() -> Self {
        Self {
            after: Period::from_secs(0),
            targets: Vec::new(),
            channels: Vec::new(),
        }
    }
}

/// A kind of channel, by how it reaches a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// What rings: telephone, PagerDuty.
    Telephone,
    /// What shows on a telephone: ntfy.
    Push,
    /// Slack, Telegram, Discord, Microsoft Teams, Matrix, DingTalk, Feishu, WeCom.
    Chat,
    /// E-mail, by SMTP or SendGrid.
    Mail,
    /// What is no person: webhook, command, log.
    Machine,
}

impl Channel {
    /// The kind of channel that integrations of a kind such as `slack` are.
    pub fn of(kind: &str) -> Self {
        match kind {
            "telephone" | "pagerduty" => Self::Telephone,
            "ntfy" => Self::Push,
            "slack" | "telegram" | "discord" | "teams" | "matrix" | "dingtalk" | "feishu" | "wecom" => {
                Self::Chat
            }
            "email" | "sendgrid" => Self::Mail,
            _ => Self::Machine,
        }
    }
}

/// Whom a step pages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Everybody.
    Everyone,
    /// Whoever is on duty in any schedule.
    OnDuty,
    /// The role that owns the component.
    Owner,
    /// One person.
    Person(String),
    /// Whoever is on duty in one schedule.
    Schedule(String),
    /// Everybody who has a role.
    Role(String),
    /// A receiver.
    Receiver(String),
}

impl Target {
    /// The target that is written so; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "everyone" => return Some(Self::Everyone),
            "on_duty" => return Some(Self::OnDuty),
            "owner" => return Some(Self::Owner),
            _ => {}
        }
        let (kind, name) = text.split_once('/')?;
        match kind {
            "receiver" if !name.is_empty() => Some(Self::Receiver(name.to_owned())),
            "person" if is_name(name) => Some(Self::Person(name.to_owned())),
            "schedule" if is_name(name) => Some(Self::Schedule(name.to_owned())),
            "role" if is_name(name) => Some(Self::Role(name.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => formatter.write_str("everyone"),
            Self::OnDuty => formatter.write_str("on_duty"),
            Self::Owner => formatter.write_str("owner"),
            Self::Person(name) => write!(formatter, "person/{name}"),
            Self::Schedule(name) => write!(formatter, "schedule/{name}"),
            Self::Role(name) => write!(formatter, "role/{name}"),
            Self::Receiver(name) => write!(formatter, "receiver/{name}"),
        }
    }
}

/// Within what somebody must acknowledge an incident of this severity (M5).
///
/// M5 says "at once" for P0. A deadline of nothing cannot be met, so it is five minutes: when everybody is paged for the
/// second time (M24), the first time was not answered.
pub fn respond_within(severity: Severity) -> Duration {
    Duration::from_secs(match severity {
        Severity::P0 => 5 * 60,
        Severity::P1 => 3600,
        Severity::P2 => 4 * 3600,
        Severity::P3 => 24 * 3600,
    })
}

impl PolicyConfig {
    /// The policy that the maintenance plan asks for at this severity, called `p0` to `p3`. It takes the deadlines of M5
    /// and M24, and of two that differ the stricter one:
    ///
    /// - P0: everybody by every channel at once, and again every 5 minutes until somebody acknowledges.
    /// - P1: whoever is on duty by every channel at once, Slack included, which M24 wants within 30 minutes; after 30
    ///   minutes they and the owner of the component; after an hour, when the deadline has passed, everybody.
    /// - P2: whoever is on duty and the owner by mail and chat at once; after 4 hours the same by every channel.
    /// - P3: the owner by chat at once; after 24 hours whoever is on duty by mail and chat.
    pub fn ready_made(severity: Severity) -> Self {
        let step = |minutes: u64, targets: &[&str], channels: &[Channel]| StepConfig {
            after: Period::from_secs(minutes * 60),
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
            channels: channels.to_vec(),
        };
        let written = [Channel::Chat, Channel::Mail];
        let (steps, repeat_minutes) = match severity {
            Severity::P0 => (vec![step(0, &["everyone"], &[])], 5),
            Severity::P1 => (
                vec![
                    step(0, &["on_duty"], &[]),
                    step(30, &["on_duty", "owner"], &[]),
                    step(60, &["everyone"], &[]),
                ],
                90,
            ),
            Severity::P2 => (
                vec![
                    step(0, &["on_duty", "owner"], &written),
                    step(4 * 60, &["on_duty", "owner"], &[]),
                ],
                8 * 60,
            ),
            Severity::P3 => (
                vec![
                    step(0, &["owner"], &[Channel::Chat]),
                    step(24 * 60, &["on_duty"], &written),
                ],
                48 * 60,
            ),
        };
        Self {
            name: severity.name().to_lowercase(),
            respond_within: Some(respond_within(severity).into()),
            steps,
            repeat_every: Some(Period::from_secs(repeat_minutes * 60)),
            rounds: None,
        }
    }
}

/// All policies, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    policies: Vec<Policy>,
}

#[derive(Clone, Debug)]
struct Policy {
    name: String,
    respond_within: Option<Duration>,
    steps: Vec<Step>,
    rounds: Option<u32>,
}

#[derive(Clone, Debug)]
struct Step {
    /// Until this step, counted from the step before; of the first one from the beginning of the round.
    wait: Duration,
    /// Until the next step, or the next round.
    then: Duration,
    targets: Vec<Target>,
    channels: Vec<Channel>,
}

/// Whom a step reaches at an instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The receivers, each once; nobody where the step is to be skipped.
    pub receivers: Vec<Arc<str>>,
    /// By which kinds of channel; empty for all.
    pub channels: Vec<Channel>,
    /// Why targets reached nobody, each with its reason.
    pub unreached: Vec<Text>,
}

/// Somebody to page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Whom.
    pub receiver: Arc<str>,
    /// By which kinds of channel; empty for all.
    pub channels: Vec<Channel>,
    /// The step, counted from 1.
    pub step: usize,
    /// The round, counted from 1.
    pub round: u32,
}

/// A step that reached nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The step, counted from 1.
    pub step: usize,
    /// Why nobody.
    pub because: Text,
}

/// What a due escalation leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Whom to page now.
    pub pages: Vec<Page>,
    /// Steps that were skipped, in order.
    pub skipped: Vec<Skipped>,
    /// Where the escalation stands now; `None` once there is nobody left to page.
    pub escalation: Option<Escalation>,
}

impl Page {
    /// Which of a receiver's integrations to use: those of the right kind, or all where none is.
    pub fn integrations<'a>(&self, available: &'a [IntegrationId]) -> Vec<&'a IntegrationId> {
        let fitting: Vec<&IntegrationId> = available
            .iter()
            .filter(|integration| {
                let kind = integration.as_str().rsplit('/').nth(1).unwrap_or_default();
                self.channels.is_empty() || self.channels.contains(&Channel::of(kind))
            })
            .collect();
        if fitting.is_empty() {
            available.iter().collect()
        } else {
            fitting
        }
    }
}

impl Policies {
    /// The policies of a configuration, and the ready-made ones that it does not replace.
    ///
    /// # Errors
    /// Everything that is wrong with them: no steps, targets that do not exist, times that run backwards.
    pub fn new(configs: &[PolicyConfig], on_call: &OnCall, receivers: &[&str]) -> Result<Self, Vec<Text>> {
        let mut problems = Vec::new();
        let mut policies: Vec<Policy> = Vec::new();
        for config in configs {
            if policies.iter().any(|policy| policy.name == config.name) {
                problems.push(text!(
                    "there are two escalation policies called {name}",
                    name = &config.name
                ));
            }
            policies.push(Policy::new(config, on_call, receivers, &mut problems));
        }
        for severity in Severity::ALL {
            let ready_made = PolicyConfig::ready_made(severity);
            if !policies.iter().any(|policy| policy.name == ready_made.name) {
                policies.push(Policy::new(&ready_made, on_call, receivers, &mut problems));
            }
        }
        if problems.is_empty() {
            Ok(Self { policies })
        } else {
            Err(problems)
        }
    }

    fn get(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.name == name)
    }

    /// Whether there is a policy with this name.
    pub fn has(&self, policy: &str) -> bool {
        self.get(policy).is_some()
    }

    /// By when an incident that opened at `opened_at` must be acknowledged.
    pub fn respond_by(&self, policy: &str, severity: Severity, opened_at: Timestamp) -> Timestamp {
        let own = self.get(policy).and_then(|policy| policy.respond_within);
        later(opened_at, own.unwrap_or_else(|| respond_within(severity)))
    }

    /// Where the escalation of an incident that opens at `opened_at` stands at first; `None` where there is no such
    /// policy.
    pub fn begin(&self, policy: &str, opened_at: Timestamp) -> Option<Escalation> {
        let first = self.get(policy)?.steps.first()?;
        Some(Escalation {
            policy: policy.to_owned(),
            step: 0,
            round: 0,
            due_at: later(opened_at, first.wait),
        })
    }

    /// Whom a step, counted from 0, reaches at `at`. `alerts` are the labels of the alerts, from which the owner follows.
    pub fn resolve(
        &self,
        policy: &str,
        step: usize,
        alerts: &[&Labels],
        at: Timestamp,
        on_call: &OnCall,
        overrides: &Overrides,
    ) -> Resolution {
        let Some(step) = self.get(policy).and_then(|policy| policy.steps.get(step)) else {
            return Resolution::default();
        };
        let mut resolution = Resolution {
            channels: step.channels.clone(),
            ..Resolution::default()
        };
        for target in &step.targets {
            resolution.add(target, alerts, at, on_call, overrides);
        }
        resolution
    }

    /// What to do about an incident at `now`; `None` while its escalation is not due, it is acknowledged or over.
    ///
    /// Steps that reach nobody are skipped at once. Where no step of a whole round reaches anybody, everybody is paged:
    /// a gap in a schedule must not be the reason why nobody hears of it. What became due while Alpha was not running is
    /// made up for by one step, not by a burst of all that were missed.
    pub fn advance(
        &self,
        incident: &Incident,
        now: Timestamp,
        on_call: &OnCall,
        overrides: &Overrides,
    ) -> Option<Advance> {
        let current = incident.escalation.as_ref()?;
        if incident.resolved_at.is_some() || incident.acknowledged.is_some() || current.due_at > now {
            return None;
        }
        let mut advance = Advance {
            pages: Vec::new(),
            skipped: Vec::new(),
            escalation: None,
        };
        // A policy that a reload took away has nobody left to page.
        let Some(policy) = self.get(&current.policy) else {
            return Some(advance);
        };
        let alerts = incident.alert_labels();
        // A reload may have made the policy shorter.
        let mut place = (
            current.step.min(policy.steps.len().saturating_sub(1)),
            current.round,
        );
        for _ in 0..policy.steps.len() {
            let (index, round) = place;
            let resolution = self.resolve(&policy.name, index, &alerts, now, on_call, overrides);
            let next = policy.after(place);
            if !resolution.receivers.is_empty() {
                advance.pages = resolution.pages(index + 1, round + 1);
                let due_at = later(current.due_at, policy.steps[index].then);
                let due_at = if due_at > now {
                    due_at
                } else {
                    later(now, policy.steps[index].then)
                };
                advance.escalation = next.map(|(step, round)| Escalation {
                    policy: policy.name.clone(),
                    step,
                    round,
                    due_at,
                });
                return Some(advance);
            }
            advance.skipped.push(Skipped {
                step: index + 1,
                because: Text::list(resolution.unreached),
            });
            match next {
                Some(next) => place = next,
                None => break,
            }
        }
        let (index, round) = (
            current.step.min(policy.steps.len().saturating_sub(1)),
            current.round,
        );
        let mut everybody = Resolution::default();
        everybody.add(&Target::Everyone, &alerts, now, on_call, overrides);
        advance.pages = everybody.pages(index + 1, round + 1);
        advance.escalation = policy.is_round_allowed(round + 1).then(|| Escalation {
            policy: policy.name.clone(),
            step: 0,
            round: round + 1,
            due_at: later(now, policy.round_length()),
        });
        Some(advance)
    }
}

impl Policy {
    fn new(config: &PolicyConfig, on_call: &OnCall, receivers: &[&str], problems: &mut Vec<Text>) -> Self {
        let mut complain = |problem: Text| {
            problems.push(text!(
                "escalation policy {policy}: {problem}",
                policy = &config.name,
                problem = problem
            ));
        };
        if !is_name(&config.name) {
            complain(text!(
                "its name has letters, digits, `.`, `_` and `-`, and is not empty"
            ));
        }
        if config.steps.is_empty() {
            complain(text!("it has no steps"));
        }
        if config.rounds == Some(0) {
            complain(text!("rounds is 0: expected at least 1"));
        }
        let mut steps = Vec::with_capacity(config.steps.len());
        let mut before = Duration::ZERO;
        let last = config.steps.last().map_or(Duration::ZERO, |step| step.after.0);
        let repeat = config
            .repeat_every
            .map_or(last + DEFAULT_PAUSE, |period| period.0);
        if repeat < last + SHORTEST_PAUSE {
            complain(text!(
                "repeat_every is {repeat}: expected at least 10 s more than the last step's {last}",
                repeat = Period(repeat).to_string(),
                last = Period(last).to_string()
            ));
        }
        for (index, step) in config.steps.iter().enumerate() {
            let number = index + 1;
            if step.after.0 < before {
                complain(text!("step {step} comes before the one before it", step = number));
            }
            if step.targets.is_empty() {
                complain(text!("step {step} has no targets", step = number));
            }
            let targets = step.targets.iter().filter_map(|written| {
                let target = Target::parse(written);
                let exists = target.as_ref().is_some_and(|target| target.exists(on_call, receivers));
                if !exists {
                    complain(text!(
                        "step {step} names the target `{target}`, which does not exist: expected everyone, on_duty, owner, person/x, schedule/x, role/x or receiver/x",
                        step = number,
                        target = written
                    ));
                }
                target
            });
            let targets = targets.collect();
            let until = config.steps.get(number).map_or(repeat, |next| next.after.0);
            steps.push(Step {
                wait: step.after.0.saturating_sub(before),
                then: until.saturating_sub(step.after.0),
                targets,
                channels: step.channels.clone(),
            });
            before = before.max(step.after.0);
        }
        // The next round begins with its own wait.
        if let (Some(wait), Some(last)) = (steps.first().map(|step| step.wait), steps.last_mut()) {
            last.then += wait;
        }
        Self {
            name: config.name.clone(),
            respond_within: config.respond_within.map(|period| period.0),
            steps,
            rounds: config.rounds,
        }
    }

    /// The step and round after this one.
    fn after(&self, (step, round): (usize, u32)) -> Option<(usize, u32)> {
        if step + 1 < self.steps.len() {
            return Some((step + 1, round));
        }
        let round = round.saturating_add(1);
        self.is_round_allowed(round).then_some((0, round))
    }

    fn is_round_allowed(&self, round: u32) -> bool {
        self.rounds.is_none_or(|rounds| round < rounds)
    }

    fn round_length(&self) -> Duration {
        self.steps.iter().map(|step| step.then).sum()
    }
}

/// How long after the last step the next round begins, where the configuration does not say.
const DEFAULT_PAUSE: Duration = Duration::from_secs(30 * 60);

/// How long after the last step the next round may begin at the earliest, so that a typing error is no flood.
const SHORTEST_PAUSE: Duration = Duration::from_secs(10);

impl Target {
    fn exists(&self, on_call: &OnCall, receivers: &[&str]) -> bool {
        match self {
            Self::Everyone | Self::OnDuty | Self::Owner => true,
            Self::Person(name) => on_call.person(name).is_ok(),
            Self::Schedule(name) => on_call.schedule(name).is_ok(),
            Self::Role(name) => on_call.has_role(name),
            Self::Receiver(name) => receivers.contains(&name.as_str()),
        }
    }
}

impl Resolution {
    fn add(
        &mut self,
        target: &Target,
        alerts: &[&Labels],
        at: Timestamp,
        on_call: &OnCall,
        overrides: &Overrides,
    ) {
        let (people, because): (Vec<PersonName>, Text) = match target {
            Target::Everyone => (
                on_call.people().to_vec(),
                text!("the configuration has no people"),
            ),
            Target::OnDuty => (
                on_call
                    .schedules()
                    .iter()
                    .flat_map(|schedule| on_call.on_duty(schedule.name(), at, overrides))
                    .collect(),
                text!("nobody is on duty in any schedule"),
            ),
            Target::Owner => (
                alerts
                    .iter()
                    .filter_map(|labels| on_call.owner(labels))
                    .flat_map(|role| on_call.in_role(role).to_vec())
                    .collect(),
                text!("no role with people owns the component"),
            ),
            Target::Person(name) => (
                on_call.person(name).ok().cloned().into_iter().collect(),
                text!("there is no person {name}", name = name),
            ),
            Target::Schedule(name) => (
                on_call.on_duty(name, at, overrides),
                text!("nobody is on duty in schedule {schedule}", schedule = name),
            ),
            Target::Role(name) => (
                on_call.in_role(name).to_vec(),
                text!("nobody has the role {role}", role = name),
            ),
            Target::Receiver(name) => {
                self.add_receiver(name.as_str().into());
                return;
            }
        };
        if people.is_empty() {
            self.unreached.push(because);
        }
        for person in people {
            self.add_receiver(person.receiver());
        }
    }

    fn add_receiver(&mut self, receiver: Arc<str>) {
        if !self.receivers.contains(&receiver) {
            self.receivers.push(receiver);
        }
    }

    fn pages(self, step: usize, round: u32) -> Vec<Page> {
        let channels = self.channels;
        let page = |receiver| Page {
            receiver,
            channels: channels.clone(),
            step,
            round,
        };
        self.receivers.into_iter().map(page).collect()
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| at.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Acknowledgement, Happening, IncidentId};
    use crate::oncall::{LayerConfig, OnCallConfig, PersonConfig, RoleConfig, ScheduleConfig};

    fn at(minutes: i64) -> Timestamp {
        let opened: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        opened + jiff::Span::new().minutes(minutes)
    }

    /// Mei is on duty on weekdays until 18:00, Ivan owns the API, Ana is there too.
    fn on_call() -> OnCall {
        let mut config = OnCallConfig {
            people: ["mei", "ivan", "ana"]
                .map(|name| PersonConfig {
                    name: name.to_owned(),
                    ..PersonConfig::default()
                })
                .into(),
            ..OnCallConfig::default()
        };
        config.roles = vec![RoleConfig {
            name: "backend".to_owned(),
            people: vec!["ivan".to_owned()],
            components: vec!["api".to_owned()],
            ..RoleConfig::default()
        }];
        let mut layer = LayerConfig::weekly("base", &["mei"], "2026-01-01".parse().unwrap());
        layer.only = serde_json::from_str(r#"[{"from": "09:00", "until": "18:00"}]"#).unwrap();
        config.schedules = vec![ScheduleConfig {
            name: "primary".to_owned(),
            layers: vec![layer],
            ..ScheduleConfig::default()
        }];
        OnCall::new(&config).unwrap()
    }

    fn incident(policies: &Policies, policy: &str, severity: Severity, component: &str) -> Incident {
        Incident {
            id: IncidentId(1),
            group: "{}:{}".into(),
            group_labels: Labels::new([("component", component)]),
            title: "it is broken".to_owned(),
            severity,
            opened_at: at(0),
            respond_by: policies.respond_by(policy, severity, at(0)),
            acknowledged: None,
            resolved_at: None,
            escalation: policies.begin(policy, at(0)),
            is_overdue: false,
            alerts: Vec::new(),
            timeline: Vec::new(),
        }
    }

    /// Every page until `until` minutes after the opening, as `minutes step/round whom`.
    fn pages(policies: &Policies, incident: &mut Incident, until: i64) -> Vec<String> {
        let on_call = on_call();
        let mut lines = Vec::new();
        while let Some(due_at) = incident.escalation.as_ref().map(|escalation| escalation.due_at) {
            if due_at > at(until) {
                break;
            }
            let advance = policies
                .advance(incident, due_at, &on_call, &Overrides::new())
                .unwrap();
            let minutes = due_at.duration_since(at(0)).as_mins();
            for skipped in &advance.skipped {
                lines.push(format!("{minutes} {} skipped: {}", skipped.step, skipped.because));
            }
            if let Some(first) = advance.pages.first() {
                let whom: Vec<&str> = advance.pages.iter().map(|page| &*page.receiver).collect();
                let channels = serde_json::to_string(&first.channels).unwrap();
                lines.push(format!(
                    "{minutes} {}/{} {} by {channels}",
                    first.step,
                    first.round,
                    whom.join(" ")
                ));
            }
            incident.escalation = advance.escalation;
        }
        lines
    }

    fn ready_made() -> Policies {
        Policies::new(&[], &on_call(), &[]).unwrap()
    }

    fn policy(name: &str, steps: &[(u64, &[&str])]) -> PolicyConfig {
        PolicyConfig {
            name: name.to_owned(),
            steps: steps
                .iter()
                .map(|(minutes, targets)| StepConfig {
                    after: Period::from_secs(minutes * 60),
                    targets: targets.iter().map(|target| (*target).to_owned()).collect(),
                    channels: Vec::new(),
                })
                .collect(),
            ..PolicyConfig::default()
        }
    }

    #[test]
    fn p0_pages_everybody_at_once_and_every_five_minutes() {
        let policies = ready_made();
        let mut incident = incident(&policies, "p0", Severity::P0, "chain");
        let lines = pages(&policies, &mut incident, 12);
        assert_eq!(
            lines,
            [
                "0 1/1 person/mei person/ivan person/ana by []",
                "5 1/2 person/mei person/ivan person/ana by []",
                "10 1/3 person/mei person/ivan person/ana by []",
            ]
        );
        assert_eq!(incident.respond_by, at(5));
    }

    #[test]
    fn p1_goes_from_whoever_is_on_duty_to_the_owner_to_everybody_and_round_again() {
        let policies = ready_made();
        let mut incident = incident(&policies, "p1", Severity::P1, "api");
        let lines = pages(&policies, &mut incident, 120);
        assert_eq!(
            lines,
            [
                "0 1/1 person/mei by []",
                "30 2/1 person/mei person/ivan by []",
                "60 3/1 person/mei person/ivan person/ana by []",
                "90 1/2 person/mei by []",
                "120 2/2 person/mei person/ivan by []",
            ]
        );
        assert_eq!(incident.respond_by, at(60));
    }

    #[test]
    fn p2_and_p3_write_first() {
        let policies = ready_made();
        let mut p2 = incident(&policies, "p2", Severity::P2, "api");
        // From 18:00 on nobody is on duty, and the owner is paged alone.
        assert_eq!(
            pages(&policies, &mut p2, 8 * 60),
            [
                r#"0 1/1 person/mei person/ivan by ["chat","mail"]"#,
                "240 2/1 person/mei person/ivan by []",
                r#"480 1/2 person/ivan by ["chat","mail"]"#,
            ]
        );
        assert_eq!(p2.respond_by, at(4 * 60));
        let mut p3 = incident(&policies, "p3", Severity::P3, "api");
        assert_eq!(
            pages(&policies, &mut p3, 24 * 60),
            [
                r#"0 1/1 person/ivan by ["chat"]"#,
                r#"1440 2/1 person/mei by ["chat","mail"]"#,
            ]
        );
        assert_eq!(p3.respond_by, at(24 * 60));
    }

    #[test]
    fn a_step_that_reaches_nobody_is_skipped_at_once() {
        let policies = ready_made();
        let mut incident = incident(&policies, "p3", Severity::P3, "nobody's");
        assert_eq!(
            pages(&policies, &mut incident, 0),
            [
                "0 1 skipped: no role with people owns the component",
                r#"0 2/1 person/mei by ["chat","mail"]"#,
            ]
        );
        // The next round comes a day later, as it would have after the second step.
        assert_eq!(incident.escalation.unwrap().due_at, at(24 * 60));
    }

    #[test]
    fn where_a_whole_round_reaches_nobody_everybody_is_paged() {
        let config = policy("gap", &[(0, &["owner"]), (10, &["owner", "owner"])]);
        let policies = Policies::new(&[config], &on_call(), &[]).unwrap();
        let mut incident = incident(&policies, "gap", Severity::P1, "nobody's");
        assert_eq!(
            pages(&policies, &mut incident, 40),
            [
                "0 1 skipped: no role with people owns the component",
                "0 2 skipped: no role with people owns the component; no role with people owns the component",
                "0 1/1 person/mei person/ivan person/ana by []",
                "40 1 skipped: no role with people owns the component",
                "40 2 skipped: no role with people owns the component; no role with people owns the component",
                "40 1/2 person/mei person/ivan person/ana by []",
            ]
        );
    }

    #[test]
    fn the_owner_follows_from_alerts_too() {
        let policies = ready_made();
        let mut incident = incident(&policies, "p3", Severity::P3, "nobody's");
        incident.record(
            at(0),
            Happening::AlertsFired {
                count: 1,
                examples: vec![Labels::new([("component", "api")])],
            },
        );
        assert_eq!(
            pages(&policies, &mut incident, 0),
            [r#"0 1/1 person/ivan by ["chat"]"#]
        );
    }

    #[test]
    fn rounds_have_an_end_where_the_policy_says_so() {
        let mut config = policy("twice", &[(1, &["person/ana"]), (3, &["receiver/ops"])]);
        config.rounds = Some(2);
        config.repeat_every = Some(Period::from_secs(600));
        let policies = Policies::new(&[config], &on_call(), &["ops"]).unwrap();
        let mut incident = incident(&policies, "twice", Severity::P1, "api");
        assert_eq!(
            pages(&policies, &mut incident, 1000),
            [
                "1 1/1 person/ana by []",
                "3 2/1 ops by []",
                "11 1/2 person/ana by []",
                "13 2/2 ops by []",
            ]
        );
        assert_eq!(incident.escalation, None);
    }

    #[test]
    fn what_was_missed_while_nothing_ran_is_made_up_for_by_one_step() {
        let policies = ready_made();
        let incident = incident(&policies, "p0", Severity::P0, "chain");
        let advance = policies
            .advance(&incident, at(180), &on_call(), &Overrides::new())
            .unwrap();
        assert_eq!(advance.pages.len(), 3);
        let next = advance.escalation.unwrap();
        assert_eq!((next.round, next.due_at), (1, at(185)));
    }

    #[test]
    fn nobody_is_paged_early_or_after_somebody_took_it() {
        let policies = ready_made();
        let mut incident = incident(&policies, "p1", Severity::P1, "api");
        let advance = |incident: &Incident, minutes| {
            policies.advance(incident, at(minutes), &on_call(), &Overrides::new())
        };
        assert!(advance(&incident, -1).is_none());
        assert!(advance(&incident, 0).is_some());
        incident.acknowledged = Some(Acknowledgement {
            at: at(0),
            by: "mei".to_owned(),
        });
        assert!(advance(&incident, 0).is_none());
        incident.acknowledged = None;
        incident.resolved_at = Some(at(0));
        assert!(advance(&incident, 0).is_none());
    }

    #[test]
    fn a_policy_that_a_reload_took_away_or_made_shorter() {
        let policies = ready_made();
        let mut incident = incident(&policies, "p1", Severity::P1, "api");
        let escalation = incident.escalation.as_mut().unwrap();
        escalation.step = 7;
        let advance = policies
            .advance(&incident, at(0), &on_call(), &Overrides::new())
            .unwrap();
        assert_eq!(advance.pages[0].step, 3);

        incident.escalation.as_mut().unwrap().policy = "gone".to_owned();
        let advance = policies
            .advance(&incident, at(0), &on_call(), &Overrides::new())
            .unwrap();
        assert_eq!((advance.pages.len(), advance.escalation), (0, None));
    }

    #[test]
    fn channels_choose_among_integrations_and_never_leave_none() {
        let page = |channels: &[Channel]| Page {
            receiver: "person/mei".into(),
            channels: channels.to_vec(),
            step: 1,
            round: 1,
        };
        let available: Vec<IntegrationId> = ["slack/0", "email/0", "sendgrid/0", "telephone/0"]
            .map(|kind| format!("person/mei/{kind}").into())
            .into();
        let chosen = |channels: &[Channel]| -> Vec<String> {
            let page = page(channels);
            let chosen = page.integrations(&available);
            chosen.iter().map(|integration| integration.to_string()).collect()
        };
        assert_eq!(chosen(&[]).len(), 4);
        assert_eq!(chosen(&[Channel::Chat]), ["person/mei/slack/0"]);
        assert_eq!(
            chosen(&[Channel::Mail]),
            ["person/mei/email/0", "person/mei/sendgrid/0"]
        );
        assert_eq!(chosen(&[Channel::Push]).len(), 4);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let mut backwards = policy(
            "backwards",
            &[(10, &["everyone"]), (5, &["person/nobody", "mei"]), (6, &[])],
        );
        backwards.repeat_every = Some(Period::from_secs(360));
        backwards.rounds = Some(0);
        let configs = [
            backwards,
            policy("empty", &[]),
            policy("empty", &[(0, &["receiver/none"])]),
            policy("", &[(0, &["everyone"])]),
        ];
        let problems = Policies::new(&configs, &on_call(), &["ops"]).unwrap_err();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(problems.join("\n"));
    }
}
