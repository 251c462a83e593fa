//! What the tests of this crate share.

use std::sync::Arc;
use std::time::Duration;

use alpha_probes::check::ProbeConfig;
use alpha_probes::suite::Suite;
use alpha_probes::{
    Check, CheckReport, Context, Observation, Probe, Resources, Result, SecretRef, Secrets, SystemClock,
};
use secrecy::SecretString;
use tokio::time::Instant;

/// What the probe of `config` sees within ten seconds.
pub(crate) async fn observe(config: &(impl ProbeConfig + Sync)) -> Result<Observation> {
    observe_within(config, Duration::from_secs(10)).await
}

/// What the probe of `config` sees within `limit`; it must conclude by itself before that.
pub(crate) async fn observe_within(
    config: &(impl ProbeConfig + Sync),
    limit: Duration,
) -> Result<Observation> {
    let probe = config.build(&Resources::default())?;
    ask_within(&*probe, limit).await
}

/// What `probe` sees within `limit`; it must conclude by itself before that.
pub(crate) async fn ask_within(probe: &dyn Probe, limit: Duration) -> Result<Observation> {
    let deadline = Instant::now() + limit;
    let context = Context::new(&SystemClock, deadline);
    tokio::time::timeout_at(deadline, probe.observe(&context))
        .await
        .expect("the probe concludes before its deadline")
}

/// Why the target is said not to have answered.
pub(crate) fn failure(observation: &Observation) -> String {
    let text = observation.failure.as_ref();
    text.expect("the target did not answer").to_string()
}

/// The probe that a table, written as JSON, describes.
pub(crate) fn probe<C: ProbeConfig + serde::de::DeserializeOwned>(
    table: serde_json::Value,
) -> Arc<dyn Probe> {
    let config: C = serde_json::from_value(table).expect("the table is one of its kind");
    config
        .build(&Resources::default())
        .expect("the probe can be built")
}

/// What `probe` sees within half a minute.
pub(crate) async fn ask(probe: &dyn Probe) -> Result<Observation> {
    ask_within(probe, Duration::from_secs(30)).await
}

/// The value of the measurement of that name that has a label with the value `label`.
pub(crate) fn value_of(observation: &Observation, name: &str, label: &str) -> Option<f64> {
    let mut all = observation.measurements.iter();
    all.find(|measurement| {
        measurement.name == name && measurement.labels.iter().any(|(_, value)| value == label)
    })
    .map(|measurement| measurement.value)
}

/// What [`knowing`] has its secret under.
pub(crate) const SECRET: &str = "ALPHA_TEST_SECRET";

/// Resources that know one secret, under the environment variable [`SECRET`].
pub(crate) fn knowing(secret: &str) -> Resources {
    #[derive(Debug)]
    struct One(SecretString);

    impl Secrets for One {
        fn resolve(&self, reference: &SecretRef) -> Result<SecretString> {
            assert_eq!(*reference, SecretRef::Env(SECRET.to_owned()));
            Ok(self.0.clone())
        }
    }

    Resources::new(Arc::new(SystemClock), Arc::new(One(secret.into())))
}

/// How a probe is judged by the default rules of its kind, at one look.
pub(crate) async fn judged(probe: Arc<dyn Probe>) -> CheckReport {
    let check = Check::new("check", probe).expect("the name is one");
    let suite = Suite::new(vec![check]).expect("one check is a set");
    let mut report = suite.run().await;
    report.checks.pop().expect("one check has one report")
}
