//! From what was seen to a status with its reason: pure, and in fixed memory per check.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::condition::{Evidence, Finding, Outcome, Quantifier, Series};
use crate::config::Period;
use crate::error::{Error, ErrorKind};
use crate::flapping::Flapping;
use crate::observation::Observation;
use crate::probe::Level;
use crate::rule::{MAX_RUNS, Rule, Rules, Sustained};
use crate::schedule::stable_hash;
use crate::status::Status;
use crate::text;
use crate::text::Text;

/// When something is judged.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The wall clock.
    pub now: Timestamp,
    /// The time since the same check was judged before, by a clock that nobody sets; `None` where only the wall clock
    /// knows, as when the state was read from a file.
    ///
    /// With it `for` is immune to a wall clock that is set. Without it the difference of the wall clock is taken: one
    /// set back counts as no time at all, so that an alarm may be late by one run but never lost; one set forward
    /// counts in full, so that an alarm may be early but never missed.
    pub elapsed: Option<Duration>,
}

impl Moment {
    /// A moment of which only the wall clock knows.
    pub fn at(now: Timestamp) -> Self {
        Self { now, elapsed: None }
    }
}

/// What is remembered of a check between two judgements: a few dozen bytes a rule, however long it runs.
///
/// It is serialisable so that a check asked by a new process each time keeps its `for`, its hysteresis, its "since"
/// and its flapping.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckState {
    status: Option<Status>,
    since: Option<Timestamp>,
    judged_at: Option<Timestamp>,
    rules: Vec<RuleState>,
    /// The rule that every check has: the target answers.
    answer: RuleState,
    flapping: Flapping,
    #[serde(skip)]
    once: bool,
}

/// What is remembered of one rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleState {
    /// Which rule this is about, so that a changed set of rules keeps what it knows of the unchanged ones.
    rule: u64,
    /// Whether it applied, one bit a certain result, the newest in bit 0.
    recent: u64,
    /// Whether it applied in the previous result, certainly.
    applied: bool,
    /// How long it has applied without a break.
    held: Duration,
    /// Whether it counts: applied for long enough, and not cleared since.
    counts: bool,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub status: Status,
    /// Why, with the actual value.
    pub reason: Text,
    /// The value that decided, as a person reads it.
    pub value: Option<String>,
    /// What it was compared with.
    pub limit: Option<String>,
    /// What to do about it.
    pub remedy: Option<Text>,
    /// Since when the status is what it is; `None` the first time, when nobody knows.
    pub since: Option<Timestamp>,
    /// The status before, where this one differs from it.
    pub changed_from: Option<Status>,
    /// Whether the status changes so often that each change means little.
    pub flapping: bool,
}

impl CheckState {
    /// The state of a check that nothing is known of yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of a check that is looked at once: a rule counts the first time it applies, whatever its `for`.
    ///
    /// Somebody who looks once wants to know what is; that it must last before it wakes anybody is of use only to
    /// those who look again.
    pub fn once() -> Self {
        Self {
            once: true,
            ..Self::default()
        }
    }

    /// The status of the last judgement.
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// The time since the last judgement.
    fn step(&self, moment: Moment) -> Duration {
        moment.elapsed.unwrap_or_else(|| {
            let before = self.judged_at.unwrap_or(moment.now);
            Duration::try_from(moment.now.duration_since(before)).unwrap_or_default()
        })
    }

    /// The states of `rules`, in their order; those of unchanged rules are kept.
    fn align(&mut self, rules: &Rules) {
        let known = |states: &[RuleState]| {
            states.len() == rules.required.len() + rules.raised.len()
                && rules
                    .iter()
                    .zip(states)
                    .all(|(rule, state)| identity(rule) == state.rule)
        };
        if known(&self.rules) {
            return;
        }
        let mut before = std::mem::take(&mut self.rules);
        self.rules = rules
            .iter()
            .map(|rule| {
                let rule = identity(rule);
                let found = before.iter().position(|state| state.rule == rule);
                found.map_or_else(
                    || RuleState {
                        rule,
                        ..RuleState::default()
                    },
                    |position| before.swap_remove(position),
                )
            })
            .collect();
    }

    /// Notes that a result told nothing: no `for` is reset by it, and no time counts that nobody saw.
    fn skip(&mut self) {
        for state in self.rules.iter_mut().chain([&mut self.answer]) {
            state.applied = false;
        }
    }
}

impl Rules {
    fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.required.iter().chain(&self.raised)
    }

    fn mention_connected(&self) -> bool {
        self.iter().any(|rule| rule.condition.mentions_connected())
    }
}

/// What tells one rule from another, the same in every process.
fn identity(rule: &Rule) -> u64 {
    let (kind, amount) = match rule.sustained {
        Sustained::AtOnce => (0, 0),
        Sustained::For(duration) => (1, duration.as_nanos() as u64),
        Sustained::Of { times, runs } => (2, u64::from(times) << 8 | u64::from(runs)),
    };
    let level = u64::from(rule.level == Level::Critical);
    stable_hash(rule.source.as_bytes())
        ^ stable_hash(&[kind | level << 2, amount].map(u64::to_le_bytes).concat()).rotate_left(1)
}

impl RuleState {
    /// Takes in a certain result.
    fn advance(&mut self, sustained: Sustained, applies: bool, clears: Option<bool>, step: Duration) {
        self.recent = self.recent << 1 | u64::from(applies);
        if !applies {
            self.held = Duration::ZERO;
        } else if self.applied {
            self.held = self.held.saturating_add(step);
        }
        self.applied = applies;
        let lasted = match sustained {
            Sustained::AtOnce => applies,
            Sustained::For(duration) => applies && self.held >= duration,
            Sustained::Of { times, runs } => self.times(runs) >= u32::from(times.max(1)),
        };
        self.counts = match clears {
            Some(clears) if self.counts => !clears,
            _ => lasted,
        };
    }

    /// In how many of the last `runs` results it applied.
    fn times(&self, runs: u8) -> u32 {
        let window = u64::MAX >> (MAX_RUNS - runs.clamp(1, MAX_RUNS));
        (self.recent & window).count_ones()
    }
}

/// What one rule says about one observation.
enum Voice<'a> {
    /// It counts.
    Raised {
        level: Level,
        reason: Text,
        finding: Option<Finding<'a>>,
        remedy: Option<Text>,
    },
    /// It applies, but not for long enough yet.
    Pending(Text, Option<Finding<'a>>),
    /// It has nothing to complain about.
    Content(Finding<'a>),
    /// It cannot tell yet, for want of a past.
    Waiting(Text),
    /// It cannot tell.
    Unclear(Text),
}

/// Judges one result of a check.
///
/// A failed observation is critical with its reason, unless a rule mentions `[CONNECTED]` and so judges it itself. An
/// error is unknown with its reason. An unknown result never resets a `for` and never counts as recovery, and the time
/// between it and its neighbours is not counted by any `for`.
///
/// The status is critical where a critical rule counts; unknown where a rule cannot tell and nothing critical is
/// certain; then warning; then ok.
pub fn judge(
    rules: &Rules,
    state: &mut CheckState,
    outcome: Result<&Observation, &Error>,
    series: &dyn Series,
    moment: Moment,
) -> Judgement {
    let step = state.step(moment);
    state.align(rules);
    let voices = match outcome {
        Err(error) => {
            state.skip();
            return settle(
                state,
                moment.now,
                Verdict {
                    status: Status::Unknown,
                    reason: reason_of(error),
                    finding: None,
                    remedy: Some(remedy_of(error.kind())),
                },
            );
        }
        Ok(observation) => hear(rules, state, observation, series, moment.now, step),
    };
    let verdict = weigh(voices);
    settle(state, moment.now, verdict)
}

/// Asks every rule.
fn hear<'a>(
    rules: &'a Rules,
    state: &mut CheckState,
    observation: &'a Observation,
    series: &'a dyn Series,
    now: Timestamp,
    step: Duration,
) -> Vec<Voice<'a>> {
    let judges_connection = rules.mention_connected();
    let patience = if state.once {
        Sustained::AtOnce
    } else {
        rules.answer
    };
    let failure = observation.failure.as_ref();
    state.answer.advance(patience, failure.is_some(), None, step);
    if let Some(failure) = failure.filter(|_| !judges_connection) {
        return hear_silence(rules, state, failure, patience);
    }
    let evidence = Evidence {
        observation,
        series,
        now,
    };
    let once = state.once;
    let required = rules.required.len();
    let mut voices = Vec::with_capacity(state.rules.len());
    for (position, (rule, state)) in rules.iter().zip(&mut state.rules).enumerate() {
        let voice = ask(rule, state, position < required, once, &evidence, step);
        // Without an answer nothing but the connection can be told; that is no news where a rule judges just that.
        let expected = failure.is_some() && !rule.condition.mentions_connected();
        if !(expected && matches!(voice, Voice::Unclear(_) | Voice::Waiting(_))) {
            voices.push(voice);
        }
    }
    if let Sustained::Of { runs, .. } = rules.answer
        && state.answer.counts
        && failure.is_none()
        && !judges_connection
    {
        let times = state.answer.times(runs);
        voices.push(Voice::Raised {
            level: Level::Critical,
            reason: text!(
                "no answer {times} of the last {runs} times",
                times = times,
                runs = runs
            ),
            finding: None,
            remedy: None,
        });
    }
    voices
}

/// What can be said when the target did not answer and no rule judges that: the failure itself, and what counted
/// before, because nobody has seen it end.
fn hear_silence(
    rules: &Rules,
    state: &mut CheckState,
    failure: &Text,
    patience: Sustained,
) -> Vec<Voice<'static>> {
    let answer = if state.answer.counts {
        Voice::Raised {
            level: Level::Critical,
            reason: lasting(failure.clone(), patience, &state.answer),
            finding: None,
            remedy: None,
        }
    } else {
        Voice::Pending(pending(failure.clone(), patience, &state.answer), None)
    };
    let mut voices = vec![answer];
    for (rule, state) in rules.iter().zip(&mut state.rules) {
        state.applied = false;
        if state.counts {
            voices.push(Voice::Raised {
                level: rule.level,
                reason: text!(
                    "{failure}, and {rule} was not over when last seen",
                    failure = failure.clone(),
                    rule = &*rule.source
                ),
                finding: None,
                remedy: None,
            });
        }
    }
    voices
}

/// Asks one rule.
fn ask<'a>(
    rule: &'a Rule,
    state: &mut RuleState,
    required: bool,
    once: bool,
    evidence: &Evidence<'a>,
    step: Duration,
) -> Voice<'a> {
    let quantifier = if required {
        Quantifier::All
    } else {
        Quantifier::Any
    };
    let (applies, finding) = match rule.condition.evaluate(evidence, quantifier) {
        Outcome::Holds(finding) => (!required, finding),
        Outcome::Fails(finding) => (required, finding),
        Outcome::Waiting(what) if !required => {
            state.applied = false;
            return Voice::Waiting(what);
        }
        Outcome::Waiting(why) | Outcome::Unknown(why) => {
            state.applied = false;
            return Voice::Unclear(why);
        }
    };
    let clears = rule
        .clear
        .as_ref()
        .map(|clear| matches!(clear.evaluate(evidence, Quantifier::All), Outcome::Holds(_)));
    let sustained = if once { Sustained::AtOnce } else { rule.sustained };
    state.advance(sustained, applies, clears, step);
    let observation = evidence.observation;
    match (state.counts, applies) {
        (true, true) => Voice::Raised {
            level: rule.level,
            reason: lasting(rule.reason(observation, &finding), sustained, state),
            remedy: rule.advice(observation, &finding),
            finding: Some(finding),
        },
        (true, false) => Voice::Raised {
            level: rule.level,
            reason: match sustained {
                Sustained::Of { .. } if rule.clear.is_none() => lasting(finding.text(), sustained, state),
                _ => text!("{finding}, but not back to normal yet", finding = finding.text()),
            },
            remedy: rule.advice(observation, &finding),
            finding: Some(finding),
        },
        (false, true) => {
            let reason = pending(rule.reason(observation, &finding), sustained, state);
            Voice::Pending(reason, Some(finding))
        }
        (false, false) => Voice::Content(finding),
    }
}

/// `reason` with how often it applied, where that is what counts.
fn lasting(reason: Text, sustained: Sustained, state: &RuleState) -> Text {
    match sustained {
        Sustained::AtOnce => reason,
        Sustained::For(_) => text!(
            "{reason} (for {held})",
            reason = reason,
            held = seconds(state.held)
        ),
        Sustained::Of { runs, .. } => text!(
            "{reason} ({times} of the last {runs} times)",
            reason = reason,
            times = state.times(runs),
            runs = runs
        ),
    }
}

/// `reason` with how far it is from counting.
fn pending(reason: Text, sustained: Sustained, state: &RuleState) -> Text {
    match sustained {
        Sustained::AtOnce => reason,
        Sustained::For(duration) if state.held.is_zero() => text!(
            "{reason} (counts after {duration})",
            reason = reason,
            duration = Period(duration).to_string()
        ),
        Sustained::For(duration) => text!(
            "{reason} (for {held}; counts after {duration})",
            reason = reason,
            held = seconds(state.held),
            duration = Period(duration).to_string()
        ),
        Sustained::Of { times, runs } => text!(
            "{reason} ({seen} of the last {runs} times; counts from {times})",
            reason = reason,
            seen = state.times(runs),
            runs = runs,
            times = times
        ),
    }
}

fn seconds(duration: Duration) -> String {
    Period::from_secs(duration.as_secs()).to_string()
}

/// A verdict before it is compared with the one before.
struct Verdict<'a> {
    status: Status,
    reason: Text,
    finding: Option<Finding<'a>>,
    remedy: Option<Text>,
}

/// Makes one verdict of what the rules say.
fn weigh(voices: Vec<Voice<'_>>) -> Verdict<'_> {
    let raised = |wanted: Level| {
        let matches = |voice: &Voice<'_>| matches!(voice, Voice::Raised { level, .. } if *level == wanted);
        voices.iter().any(matches)
    };
    let is_waiting = |voice: &Voice<'_>| matches!(voice, Voice::Waiting(_));
    let unclear = voices.iter().any(|voice| matches!(voice, Voice::Unclear(_)));
    // Where all rules wait for a past, nothing was judged, and nothing is well for want of a judgement.
    let nothing_judged = !voices.is_empty() && voices.iter().all(is_waiting);
    let status = if raised(Level::Critical) {
        Status::Critical
    } else if unclear || nothing_judged {
        Status::Unknown
    } else if raised(Level::Warning) {
        Status::Warning
    } else {
        Status::Ok
    };
    let mut reasons: Vec<Text> = Vec::new();
    let mut lesser: Vec<Text> = Vec::new();
    let (mut decided, mut content, mut advice) = (None, None, None);
    for voice in voices {
        match (status, voice) {
            (
                Status::Critical | Status::Warning,
                Voice::Raised {
                    level,
                    reason,
                    finding,
                    remedy,
                },
                // A warning beside a critical finding would only distract.
            ) if (status == Status::Critical) == (level == Level::Critical) => {
                push_new(&mut reasons, reason);
                decided = decided.or(finding);
                advice = advice.or(remedy);
            }
            (Status::Unknown, Voice::Unclear(reason) | Voice::Waiting(reason)) => {
                push_new(&mut reasons, reason)
            }
            (Status::Unknown, Voice::Raised { reason, remedy, .. }) => {
                push_new(&mut lesser, reason);
                advice = advice.or(remedy);
            }
            (Status::Ok, Voice::Pending(reason, finding)) => {
                push_new(&mut reasons, reason);
                decided = decided.or(finding);
            }
            // One comparison tells enough of what is well: the chief measurement beside the limit it would meet first,
            // which is the last one, since rules come worst first.
            (Status::Ok, Voice::Content(finding)) if content.is_none() || finding.is_chief() => {
                content = Some(finding);
            }
            _ => {}
        }
    }
    reasons.append(&mut lesser);
    if reasons.is_empty() {
        decided = decided.or(content);
    }
    let reason = match (reasons.len(), &decided) {
        (0, Some(finding)) => finding.text(),
        (0, None) => text!("it answered"),
        (1, _) => reasons.swap_remove(0),
        _ => Text::list(reasons),
    };
    Verdict {
        status,
        reason,
        finding: decided,
        remedy: advice,
    }
}

fn push_new(texts: &mut Vec<Text>, text: Text) {
    if !texts.contains(&text) {
        texts.push(text);
    }
}

/// Compares a verdict with the one before.
fn settle(state: &mut CheckState, now: Timestamp, verdict: Verdict<'_>) -> Judgement {
    let before = state.status.replace(verdict.status);
    let since = if before == Some(verdict.status) {
        // A clock set back must not make a status older than its check's last look, nor younger than the present.
        state.since.map(|since| since.min(now))
    } else {
        before.map(|_| now)
    };
    state.since = since.or(Some(now));
    state.judged_at = Some(now);
    Judgement {
        status: verdict.status,
        reason: verdict.reason,
        value: verdict
            .finding
            .as_ref()
            .map(Finding::value)
            .filter(|value| !value.is_empty()),
        limit: verdict.finding.as_ref().map(Finding::limit),
        remedy: verdict.remedy,
        since,
        changed_from: before.filter(|before| *before != verdict.status),
        flapping: state.flapping.push(verdict.status),
    }
}

/// The reason of an unknown result: what kind of obstacle it was, then the obstacle.
fn reason_of(error: &Error) -> Text {
    let reason = error.to_text();
    match error.kind() {
        ErrorKind::NotApplicable => text!("not applicable: {reason}", reason = reason),
        ErrorKind::Denied => text!("not permitted: {reason}", reason = reason),
        ErrorKind::TooOld => text!("too old: {reason}", reason = reason),
        ErrorKind::Unreachable => text!("not reachable: {reason}", reason = reason),
        ErrorKind::Timeout => text!("no answer in time: {reason}", reason = reason),
        ErrorKind::Malformed => text!("not understood: {reason}", reason = reason),
        ErrorKind::InvalidConfig => text!("wrong configuration: {reason}", reason = reason),
        ErrorKind::Overloaded => text!("Alpha itself is overloaded: {reason}", reason = reason),
        ErrorKind::Io => text!("refused by this machine: {reason}", reason = reason),
        ErrorKind::Internal => text!("internal error: {reason}", reason = reason),
    }
}

/// What to do about an error of that kind.
fn remedy_of(kind: ErrorKind) -> Text {
    match kind {
        ErrorKind::NotApplicable => text!("remove this check, or point it at something it applies to"),
        ErrorKind::Denied => text!("give Alpha the right to ask, or the right credentials"),
        ErrorKind::TooOld => text!("upgrade the target"),
        ErrorKind::Unreachable | ErrorKind::Timeout => {
            text!("see whether the target runs and can be reached from here")
        }
        ErrorKind::Malformed => text!("see whether the address belongs to what the check expects"),
        ErrorKind::InvalidConfig => text!("correct the configuration of this check"),
        ErrorKind::Overloaded => text!("give Alpha more CPU time, or fewer checks"),
        ErrorKind::Io => text!("see why this machine refused it: permissions, a missing file, a limit"),
        ErrorKind::Internal => text!("report this as a defect of Alpha"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::SCRIPTED;

    const STEP: Duration = Duration::from_secs(10);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[derive(Debug)]
    struct Nothing;

    impl Series for Nothing {
        fn points(&self, _: &str, _: &crate::Labels, _: Timestamp, _: &mut Vec<(Timestamp, f64)>) {}
    }

    /// The rules of a check as they stand in a configuration.
    fn rules(config: &str) -> Rules {
        let config: crate::CheckConfig = serde_json::from_str(config).unwrap();
        Rules::compile(&config, &SCRIPTED).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    fn used(ratio: f64) -> Observation {
        Observation::new().with("used", ratio, crate::Unit::Ratio)
    }

    /// What a row of results, ten seconds apart, is judged to be.
    fn row(rules: &Rules, observations: impl IntoIterator<Item = Observation>) -> String {
        let mut state = CheckState::new();
        let line = |(number, observation): (usize, Observation)| {
            let judgement = one(rules, &mut state, Ok(&observation), 10 * number as i64);
            format!("{}: {}", judgement.status, judgement.reason)
        };
        let lines: Vec<_> = observations.into_iter().enumerate().map(line).collect();
        lines.join("\n")
    }

    #[test]
    fn the_worst_rule_that_counts_decides_and_shows_its_value() {
        let rules = rules(r#"{"warn": "[used] > 80%", "crit": "[used] > 90%"}"#);
        insta::assert_snapshot!(row(&rules, [used(0.5), used(0.85), used(0.95), Observation::new()]), @r"
        ok: used is 50 %, limit > 80 %
        warning: used is 85 %, limit > 80 %
        critical: used is 95 %, limit > 90 %
        unknown: [used] is not there: nothing was observed
        ");
        let judgement = one(&rules, &mut CheckState::new(), Ok(&used(0.95)), 0);
        assert_eq!(
            (judgement.value.as_deref(), judgement.limit.as_deref()),
            (Some("95 %"), Some("> 90 %"))
        );
    }

    #[test]
    fn a_condition_that_cannot_be_told_is_unknown_unless_worse_is_certain() {
        let rules = rules(r#"{"conditions": ["[used] < 90%", "[free] > 10"]}"#);
        insta::assert_snapshot!(row(&rules, [used(0.5), used(0.95)]), @r"
        unknown: [free] is not there, only used
        critical: used is 95 %, required < 90 %
        ");
    }

    #[test]
    fn a_rule_counts_when_it_applied_for_long_enough() {
        let rules = rules(r#"{"crit": "[used] > 90%", "for": "20s"}"#);
        let results = [used(0.95), used(0.96), used(0.97), used(0.5), used(0.98)];
        insta::assert_snapshot!(row(&rules, results), @r"
        ok: used is 95 %, limit > 90 % (counts after 20s)
        ok: used is 96 %, limit > 90 % (for 10s; counts after 20s)
        critical: used is 97 %, limit > 90 % (for 20s)
        ok: used is 50 %, limit > 90 %
        ok: used is 98 %, limit > 90 % (counts after 20s)
        ");
    }

    #[test]
    fn a_rule_counts_when_it_applied_often_enough() {
        let rules = rules(r#"{"crit": "[used] > 90%", "for": "2 of 3"}"#);
        let results = [used(0.95), used(0.5), used(0.96), used(0.5), used(0.5)];
        insta::assert_snapshot!(row(&rules, results), @r"
        ok: used is 95 %, limit > 90 % (1 of the last 3 times; counts from 2)
        ok: used is 50 %, limit > 90 %
        critical: used is 96 %, limit > 90 % (2 of the last 3 times)
        ok: used is 50 %, limit > 90 %
        ok: used is 50 %, limit > 90 %
        ");
    }

    #[test]
    fn it_goes_on_until_it_is_clear() {
        let rules = rules(r#"{"warn": "[used] > 80%", "clear": "[used] < 70%"}"#);
        insta::assert_snapshot!(row(&rules, [used(0.75), used(0.85), used(0.75), used(0.65), used(0.75)]), @r"
        ok: used is 75 %, limit > 80 %
        warning: used is 85 %, limit > 80 %
        warning: used is 75 %, limit > 80 %, but not back to normal yet
        ok: used is 65 %, limit > 80 %
        ok: used is 75 %, limit > 80 %
        ");
    }

    #[test]
    fn a_missing_answer_is_waited_for_as_long_as_the_check_says() {
        let rules = rules(r#"{"warn": "[used] > 80%", "for": "2 of 3"}"#);
        insta::assert_snapshot!(row(&rules, [used(0.5), silence(), silence(), used(0.5), used(0.5)]), @r"
        ok: used is 50 %, limit > 80 %
        ok: connection refused (1 of the last 3 times; counts from 2)
        critical: connection refused (2 of the last 3 times)
        critical: no answer 2 of the last 3 times
        ok: used is 50 %, limit > 80 %
        ");
    }

    #[test]
    fn what_counted_before_the_target_fell_silent_still_counts() {
        let rules = rules(r#"{"crit": "[used] > 80%", "for": "2 of 3", "clear": "[used] < 70%"}"#);
        insta::assert_snapshot!(row(&rules, [used(0.9), used(0.9), silence()]), @r"
        ok: used is 90 %, limit > 80 % (1 of the last 3 times; counts from 2)
        critical: used is 90 %, limit > 80 % (2 of the last 3 times)
        critical: connection refused, and [used] > 80% was not over when last seen
        ");
    }

    #[test]
    fn a_rule_that_asks_for_the_connection_judges_it() {
        let closed = rules(r#"{"conditions": ["[CONNECTED] == false"]}"#);
        assert_eq!(
            one(&closed, &mut CheckState::new(), Ok(&silence()), 0).status,
            Status::Ok
        );
        assert_eq!(
            one(&closed, &mut CheckState::new(), Ok(&used(0.5)), 0).status,
            Status::Critical
        );
        let open = rules(r#"{"conditions": ["[CONNECTED] == true"], "warn": "[used] > 80%"}"#);
        assert_eq!(
            one(&open, &mut CheckState::new(), Ok(&silence()), 0).status,
            Status::Critical
        );
    }

    #[test]
    fn without_a_past_nothing_is_judged_and_nothing_is_well() {
        let only = rules(r#"{"warn": "rate([used], 5m) > 0.1"}"#);
        assert_eq!(
            one(&only, &mut CheckState::new(), Ok(&used(0.5)), 0).status,
            Status::Unknown
        );
        let beside = rules(r#"{"warn": "rate([used], 5m) > 0.1", "crit": "[used] > 90%"}"#);
        assert_eq!(
            one(&beside, &mut CheckState::new(), Ok(&used(0.5)), 0).status,
            Status::Ok
        );
    }

    #[test]
    fn who_looks_once_is_told_what_is() {
        let rules = rules(r#"{"crit": "[used] > 90%", "for": "5m"}"#);
        let judgement = one(&rules, &mut CheckState::once(), Ok(&used(0.95)), 0);
        assert_eq!(judgement.status, Status::Critical);
        assert_eq!(
            one(&rules, &mut CheckState::new(), Ok(&used(0.95)), 0).status,
            Status::Ok
        );
    }

    #[test]
    fn for_is_measured_by_a_clock_that_nobody_sets() {
        let rules = rules(r#"{"crit": "[used] > 90%", "for": "20s"}"#);
        let mut state = CheckState::new();
        let mut judge_at = |second: i64| {
            let moment = Moment {
                now: at(second),
                elapsed: Some(STEP),
            };
            judge(&rules, &mut state, Ok(&used(0.95)), &Nothing, moment).status
        };
        // An hour forward, then a day back.
        assert_eq!(judge_at(0), Status::Ok);
        assert_eq!(judge_at(3600), Status::Ok);
        assert_eq!(judge_at(-86_400), Status::Critical);
    }

    #[test]
    fn an_error_keeps_what_counted_and_is_no_recovery() {
        let rules = rules(r#"{"crit": "[used] > 90%", "clear": "[used] < 50%"}"#);
        let mut state = CheckState::new();
        let error = Error::new(ErrorKind::Denied, text!("the password is wrong"));
        assert_eq!(
            one(&rules, &mut state, Ok(&used(0.95)), 0).status,
            Status::Critical
        );
        assert_eq!(one(&rules, &mut state, Err(&error), 10).status, Status::Unknown);
        assert_eq!(
            one(&rules, &mut state, Ok(&used(0.7)), 20).status,
            Status::Critical
        );
        assert_eq!(one(&rules, &mut state, Ok(&used(0.4)), 30).status, Status::Ok);
    }

    #[test]
    fn a_changed_set_of_rules_keeps_what_it_knows_of_the_unchanged() {
        let before = rules(r#"{"crit": "[used] > 90%", "for": "2 of 3"}"#);
        let after = rules(r#"{"conditions": ["[used] >= 0%"], "crit": "[used] > 90%", "for": "2 of 3"}"#);
        let mut state = CheckState::new();
        one(&before, &mut state, Ok(&used(0.95)), 0);
        assert_eq!(
            one(&after, &mut state, Ok(&used(0.95)), 10).status,
            Status::Critical
        );
        let other = rules(r#"{"crit": "[used] > 91%", "for": "2 of 3"}"#);
        assert_eq!(one(&other, &mut state, Ok(&used(0.95)), 20).status, Status::Ok);
    }

    fn silence() -> Observation {
        Observation::failed(text!("connection refused"))
    }

    fn one(
        rules: &Rules,
        state: &mut CheckState,
        outcome: Result<&Observation, &Error>,
        second: i64,
    ) -> Judgement {
        judge(rules, state, outcome, &Nothing, Moment::at(at(second)))
    }

    /// What counts after each of a row of results; `None` is an unknown one.
    fn counts(sustained: Sustained, applies: &[Option<bool>]) -> Vec<bool> {
        let mut state = RuleState::default();
        let advance = |applies: &Option<bool>| {
            match applies {
                Some(applies) => state.advance(sustained, *applies, None, STEP),
                None => state.applied = false,
            }
            state.counts
        };
        applies.iter().map(advance).collect()
    }

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    #[test]
    fn at_once_counts_the_first_time() {
        assert_eq!(counts(Sustained::AtOnce, &[NO, YES, NO]), [false, true, false]);
    }

    #[test]
    fn a_duration_counts_from_the_first_time_it_applied_and_any_break_starts_it_anew() {
        let sustained = Sustained::For(2 * STEP);
        assert_eq!(
            counts(sustained, &[YES, YES, YES, NO, YES, YES]),
            [false, false, true, false, false, false]
        );
    }

    #[test]
    fn unknown_neither_resets_a_duration_nor_counts_as_time() {
        let sustained = Sustained::For(2 * STEP);
        assert_eq!(
            counts(sustained, &[YES, YES, None, YES, YES]),
            [false, false, false, false, true]
        );
    }

    #[test]
    fn unknown_is_not_one_of_the_last_runs() {
        let sustained = Sustained::Of { times: 2, runs: 3 };
        assert_eq!(
            counts(sustained, &[YES, NO, YES, NO, NO, YES]),
            [false, false, true, false, false, false]
        );
        assert_eq!(
            counts(sustained, &[YES, None, None, NO, YES]),
            [false, false, false, false, true]
        );
    }

    #[test]
    fn as_many_runs_as_a_state_holds() {
        let mut state = RuleState::default();
        for _ in 0..200 {
            state.advance(
                Sustained::Of {
                    times: MAX_RUNS,
                    runs: MAX_RUNS,
                },
                true,
                None,
                STEP,
            );
        }
        assert!(state.counts);
        assert_eq!(state.times(MAX_RUNS), 64);
        assert_eq!(state.times(u8::MAX), 64);
    }

    #[test]
    fn what_counted_goes_on_until_it_clears() {
        let mut state = RuleState::default();
        let mut next = |applies, clears| {
            state.advance(Sustained::AtOnce, applies, Some(clears), STEP);
            state.counts
        };
        assert!(!next(false, false), "between the thresholds, coming from below");
        assert!(next(true, false));
        assert!(next(false, false), "between the thresholds, coming from above");
        assert!(!next(false, true));
    }

    #[test]
    fn no_answer_is_critical_with_its_reason() {
        let judgement = one(&Rules::default(), &mut CheckState::new(), Ok(&silence()), 0);
        assert_eq!(judgement.status, Status::Critical);
        assert_eq!(judgement.reason.to_string(), "connection refused");
        assert_eq!(judgement.since, None);
    }

    #[test]
    fn an_error_is_unknown_and_names_its_kind() {
        let refusal = |kind| {
            let error = Error::new(kind, text!("no such pallet"));
            let judgement = one(&Rules::default(), &mut CheckState::new(), Err(&error), 0);
            assert_eq!(judgement.status, Status::Unknown);
            assert!(judgement.remedy.is_some());
            judgement.reason.to_string()
        };
        assert_eq!(
            refusal(ErrorKind::NotApplicable),
            "not applicable: no such pallet"
        );
        assert_eq!(refusal(ErrorKind::Denied), "not permitted: no such pallet");
        assert_eq!(refusal(ErrorKind::TooOld), "too old: no such pallet");
    }

    #[test]
    fn since_is_when_the_status_began() {
        let (rules, mut state) = (Rules::default(), CheckState::new());
        let well = Observation::new();
        assert_eq!(one(&rules, &mut state, Ok(&well), 0).since, None);
        assert_eq!(one(&rules, &mut state, Ok(&well), 10).since, Some(at(0)));
        let down = one(&rules, &mut state, Ok(&silence()), 20);
        assert_eq!((down.since, down.changed_from), (Some(at(20)), Some(Status::Ok)));
        let still = one(&rules, &mut state, Ok(&silence()), 30);
        assert_eq!((still.since, still.changed_from), (Some(at(20)), None));
    }

    #[test]
    fn a_clock_set_back_makes_nothing_younger_than_the_present() {
        let (rules, mut state) = (Rules::default(), CheckState::new());
        one(&rules, &mut state, Ok(&silence()), 1000);
        let judgement = one(&rules, &mut state, Ok(&silence()), 10);
        assert_eq!(judgement.since, Some(at(10)));
        assert_eq!(state.step(Moment::at(at(5))), Duration::ZERO);
        assert_eq!(state.step(Moment::at(at(15))), Duration::from_secs(5));
        let steady = Moment {
            now: at(-5000),
            elapsed: Some(STEP),
        };
        assert_eq!(state.step(steady), STEP);
    }

    #[test]
    fn a_state_survives_being_written_down() {
        let (rules, mut state) = (Rules::default(), CheckState::new());
        one(&rules, &mut state, Ok(&silence()), 0);
        one(&rules, &mut state, Ok(&silence()), 10);
        let written = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<CheckState>(&written).unwrap(), state);
    }
}
