//! How notifications are delivered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::period::Period;
use crate::text;
use crate::text::Text;

/// How notifications are delivered, and what happens when a receiver cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DeliveryConfig {
    /// How long one attempt may take. Default: 10s.
    pub timeout: Period,
    /// How long to wait after the first failure; doubled with each further one. Default: 1s.
    pub backoff_initial: Period,
    /// The longest wait between two attempts. Default: 2m.
    pub backoff_max: Period,
    /// When a notification that was never taken is given up, and this is told to `fallback`. Default: 24h.
    pub give_up_after: Period,
    /// The receiver that is told what another one could not be told. Default: nobody.
    pub fallback: Option<String>,
    /// After how long without success `fallback` is told. Default: 5m.
    pub fallback_after: Period,
    /// How many attempts may run at the same time, over all receivers. Default: 64.
    pub concurrency: usize,
    /// How long finished incidents and deliveries are kept. Default: 30d.
    pub keep_for: Period,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            timeout: Period::from_secs(10),
            backoff_initial: Period::from_secs(1),
            backoff_max: Period::from_secs(120),
            give_up_after: Period::from_secs(86_400),
            fallback: None,
            fallback_after: Period::from_secs(300),
            concurrency: 64,
            keep_for: Period::from_secs(30 * 86_400),
        }
    }
}

impl DeliveryConfig {
    /// What is wrong with it.
    pub(super) fn check(&self) -> Vec<Text> {
        let mut problems = Vec::new();
        for (key, period) in [
            ("timeout", self.timeout),
            ("backoff_initial", self.backoff_initial),
            ("give_up_after", self.give_up_after),
            ("keep_for", self.keep_for),
        ] {
            if period.0.is_zero() {
                problems.push(text!("delivery.{key} must be longer than nothing", key = key));
            }
        }
        if self.backoff_max < self.backoff_initial {
            problems.push(text!(
                "delivery.backoff_max is {max}, which is less than backoff_initial, {initial}",
                max = self.backoff_max.to_string(),
                initial = self.backoff_initial.to_string()
            ));
        }
        if self.concurrency == 0 {
            problems.push(text!("delivery.concurrency must be at least 1"));
        }
        problems
    }
}
