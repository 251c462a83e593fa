//! What every notifier that speaks HTTP has to pass, and notifications to try them with.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber as _;
use tracing::{Event as LogEvent, Metadata, Subscriber, span};
use url::Url;
use uuid::Uuid;

use super::receiver::{Answer, Received, ScriptedReceiver};
use crate::alert::Alert;
use crate::label::Labels;
use crate::notification::{Event, Notification, NotificationId, Reason};
use crate::notifier::{Notifier, Receipt, Refusal, Retry};
use crate::notifiers::Environment;
use crate::secret::NoSecrets;
use crate::severity::Severity;

/// How long an attempt may take in [`environment`].
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// A notifier to try.
pub struct Subject<'a> {
    /// Makes it, so that it tells whoever listens at the address, with a path of the maker's choice.
    #[expect(
        clippy::type_complexity,
        reason = "an alias would only hide what is called with what"
    )]
    pub build: Box<dyn Fn(&ScriptedReceiver, &Environment) -> Arc<dyn Notifier> + Send + Sync + 'a>,
    /// What the service answers when it takes a notification.
    pub accepted: Answer,
    /// What must never be seen in an error, a log or a `Debug`.
    pub secrets: Vec<String>,
    /// Checks a request against the limits of the service; panics where it does not hold.
    pub check: Box<dyn Fn(&Received) + Send + Sync + 'a>,
}

impl std::fmt::Debug for Subject<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Subject")
    }
}

/// The instant that the clock of [`environment`] shows: five seconds after the alerts of [`sample`] began to fire.
pub fn now() -> Timestamp {
    fired_at() + 5.seconds()
}

fn fired_at() -> Timestamp {
    Timestamp::from_second(1_767_261_720).unwrap_or_default()
}

/// An environment with a clock that stands still, no secrets but those given in place, links, and a short timeout.
///
/// # Panics
/// Never: its addresses are constants.
pub fn environment() -> Environment {
    let link = |path: &'static str| -> crate::notifiers::LinkTo {
        Arc::new(move |notification: &Notification| {
            let url = format!(
                "https://alpha.example.org/{path}/{}?signature=f00",
                notification.id
            );
            Url::parse(&url).ok()
        })
    };
    Environment::new(Arc::new(NoSecrets))
        .with_external_url(Url::parse("https://alpha.example.org").ok())
        .with_clock(Arc::new(now))
        .with_timeout(TIMEOUT)
        .with_acknowledge(link("acknowledge"))
        .with_silence(link("silence"))
}

/// A notification about one alert of this severity, as it comes when it has just happened.
pub fn sample(severity: Severity, event: Event) -> Notification {
    let (name, summary) = match severity {
        Severity::P0 => ("ChainHalted", "chain alpha produces no blocks"),
        Severity::P1 => ("ValidatorOffline", "validator-1 is offline"),
        Severity::P2 => ("DiskFillsUp", "the disk of node-1 is 91 % full"),
        Severity::P3 => ("DocumentationStale", "a page has a broken link"),
    };
    let labels = Labels::new([
        ("alertname", name),
        ("severity", severity.name()),
        ("instance", "validator-1:9615"),
        ("job", "validator"),
        ("chain", "alpha"),
    ]);
    let annotations = Labels::new([
        ("summary", summary),
        ("description", "last block 12 345 678, <8 minutes> ago & counting"),
        (
            "runbook_url",
            "https://runbooks.example.org/chain?name=alpha&level=1",
        ),
        ("owner", "Blockchain"),
    ]);
    let mut alert = Alert::firing(labels.clone(), fired_at()).with_annotations(annotations);
    alert.generator_url = "https://prometheus.example.org/graph?g0.expr=up".into();
    let created_at = fired_at() + 5.seconds();
    if event == Event::Resolved {
        alert = alert.resolved(created_at);
    }
    Notification {
        id: NotificationId(Uuid::from_u128(0x7b3c_0a1e_5f2d_4c6b_9a8d_0123_4567_89ab)),
        receiver: "ops".into(),
        integration: "ops/test/0".into(),
        group: format!("{{}}/{{severity=\"{severity}\"}}:{{alertname=\"{name}\"}}").into(),
        group_labels: labels.filtered(|name| name == "alertname"),
        event,
        reason: match event {
            Event::Firing => Reason::New,
            Event::Acknowledged => Reason::Acknowledged {
                by: "Li Wei".to_owned(),
            },
            Event::Resolved => Reason::AllResolved,
        },
        severity,
        alerts: vec![alert],
        incident: None,
        created_at,
        late: None,
    }
}

/// A notification with so many alerts, each of which says much, in Chinese and in every markup.
pub fn flood(count: usize) -> Notification {
    let mut notification = sample(Severity::P0, Event::Firing);
    let long =
        "区块链停止出块🔥 <b>*重要*</b> [见](https://x) `代码` & _x_ ~y~ |z| # \\ \"引号\"\n".repeat(40);
    let alert = |index: usize| {
        let labels = Labels::new([
            ("alertname".to_owned(), "链停止".to_owned()),
            ("severity".to_owned(), "P0".to_owned()),
            ("instance".to_owned(), format!("验证节点-{index}<&>")),
        ]);
        let annotations = Labels::new([("summary", "链".repeat(2000)), ("description", long.clone())]);
        Alert::firing(labels, fired_at()).with_annotations(annotations)
    };
    notification.alerts = (0..count).map(alert).collect();
    notification.group_labels = Labels::new([("alertname", "链停止")]);
    notification
}

/// Tries a notifier that speaks HTTP: what it sends where it is accepted, what each status leads to, `Retry-After` in both
/// forms, silence, resets, half answers and a receiver that is away, the limits of its service under 10,000 alerts in
/// Chinese, and that no secret is seen.
///
/// # Panics
/// Where the notifier does not do what [`Notifier`] promises.
pub async fn conformance(subject: &Subject<'_>) {
    let receiver = ScriptedReceiver::start().await;
    let environment = environment();
    let notifier = (subject.build)(&receiver, &environment);
    let trial = Trial {
        subject,
        receiver,
        notifier,
    };
    trial.accepted().await;
    trial.statuses().await;
    trial.retry_after().await;
    trial.faults().await;
    trial.limits().await;
    trial.secrets(&environment).await;
    trial.away().await;
}

struct Trial<'a> {
    subject: &'a Subject<'a>,
    receiver: ScriptedReceiver,
    notifier: Arc<dyn Notifier>,
}

impl Trial<'_> {
    async fn tell(&self, answer: Answer) -> Result<Receipt, Refusal> {
        self.receiver.take();
        self.receiver.script([answer]);
        let notification = sample(Severity::P1, Event::Firing);
        let told = self.notifier.notify(&notification).await;
        assert_eq!(self.receiver.received().len(), 1, "one attempt is one request");
        told
    }

    async fn refusal(&self, answer: Answer) -> Refusal {
        let shown = format!("{answer:?}");
        self.tell(answer)
            .await
            .expect_err(&format!("{} took {shown}", self.notifier.kind()))
    }

    async fn accepted(&self) {
        for event in [Event::Firing, Event::Acknowledged, Event::Resolved] {
            self.receiver.take();
            self.receiver.script([self.subject.accepted.clone()]);
            let notification = sample(Severity::P0, event);
            let told = self.notifier.notify(&notification).await;
            assert!(told.is_ok(), "{}: {told:?}", self.notifier.kind());
            let received = self.receiver.received();
            let wire = received[0].wire();
            assert!(
                wire.contains(&notification.id.to_string()),
                "the identity of the notification is the idempotency key: {wire}"
            );
            (self.subject.check)(&received[0]);
        }
    }

    async fn statuses(&self) {
        // Those that are registered, and some that are not.
        let statuses = (300..304).chain(305..309).chain(400..432).chain([451, 499]);
        for status in statuses.chain(500..530).chain([599]) {
            let refusal = self.refusal(Answer::status(status).with_body("nope")).await;
            let expected = match status {
                408 | 425 | 429 | 500..=599 => Retry::Later,
                _ => Retry::Never,
            };
            assert_eq!(refusal.retry, expected, "HTTP {status}: {refusal:?}");
            assert_eq!(refusal.status, Some(status));
            assert_eq!(refusal.is_certain, !matches!(status, 502 | 504), "HTTP {status}");
            assert!(refusal.reason.to_string().contains(&status.to_string()));
        }
    }

    async fn retry_after(&self) {
        for status in [429, 503] {
            let answer = Answer::status(status).with_header("Retry-After", "3");
            let refusal = self.refusal(answer).await;
            assert_eq!(refusal.retry, Retry::After(Duration::from_secs(3)));
            // The environment's clock shows 10:02:05.
            let answer = Answer::status(status).with_header("Retry-After", "Thu, 01 Jan 2026 10:03:05 GMT");
            let refusal = self.refusal(answer).await;
            assert_eq!(refusal.retry, Retry::After(Duration::from_secs(60)));
        }
        let answer = Answer::status(400).with_header("Retry-After", "3");
        let refusal = self.refusal(answer).await;
        assert_eq!(refusal.retry, Retry::Never, "a wait makes no bad request good");
    }

    async fn faults(&self) {
        let started = Instant::now();
        let refusal = self.refusal(Answer::hang()).await;
        assert!(started.elapsed() < TIMEOUT * 5, "it gives up by itself");
        assert!(
            !refusal.is_certain && refusal.retry == Retry::Later,
            "{refusal:?}"
        );
        let refusal = self.refusal(Answer::reset()).await;
        assert!(
            !refusal.is_certain && refusal.retry == Retry::Later,
            "{refusal:?}"
        );
        // A status that has come may be enough, but never for a refusal that is certain.
        if let Err(refusal) = self.tell(self.subject.accepted.clone().cut_in_half()).await {
            assert!(
                !refusal.is_certain && refusal.retry == Retry::Later,
                "{refusal:?}"
            );
        }
    }

    async fn limits(&self) {
        for count in [1, 3, 10_000] {
            self.receiver.take();
            self.receiver.script([self.subject.accepted.clone()]);
            let mut notification = flood(count);
            let told = self.notifier.notify(&notification).await;
            assert!(told.is_ok(), "{told:?}");
            notification.reason = Reason::Fallback {
                failed: "ops/pagerduty/0".into(),
                because: "错".repeat(10_000),
            };
            self.receiver.script([self.subject.accepted.clone()]);
            let told = self.notifier.notify(&notification).await;
            assert!(told.is_ok(), "{told:?}");
            for received in self.receiver.take() {
                (self.subject.check)(&received);
            }
        }
    }

    async fn secrets(&self, environment: &Environment) {
        let log = Log::default();
        let told = async {
            let mut told = format!("{:?}", (self.subject.build)(&self.receiver, environment));
            let echoes = [400, 500, 429].map(|status| Answer::status(status).echoing());
            for answer in echoes
                .into_iter()
                .chain([Answer::hang(), Answer::reset(), Answer::status(302)])
            {
                let refusal = self.refusal(answer).await;
                let _ = write!(told, "{refusal:?} {}", refusal.reason);
            }
            told
        };
        let told = told.with_subscriber(log.clone()).await;
        let logged = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for secret in &self.subject.secrets {
            assert!(!told.contains(secret), "{secret} is told: {told}");
            assert!(!logged.contains(secret), "{secret} is logged: {logged}");
        }
        let wire = self
            .receiver
            .received()
            .iter()
            .map(Received::wire)
            .collect::<String>();
        assert!(!wire.is_empty());
    }

    /// Nobody listens: nothing can have been taken.
    async fn away(self) {
        let Self {
            receiver, notifier, ..
        } = self;
        drop(receiver);
        // The listener is closed when its task has been dropped.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let told = notifier.notify(&sample(Severity::P1, Event::Firing)).await;
        let refusal = told.expect_err("nobody listens");
        assert!(refusal.retry == Retry::Later, "{refusal:?}");
        assert!(refusal.is_certain, "{refusal:?}");
    }
}

/// Takes down everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(log, "{field}={value:?}");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut self.clone());
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &LogEvent<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
