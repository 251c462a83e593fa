//! What a reader has to know before believing the numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::FailureClass;
use crate::metric::{show_seconds, tidy};
use crate::text;
use crate::text::Text;

/// What a reader has to know before believing the numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// The run was stopped before its end.
    CutShort,
    /// Not one request succeeded.
    NothingSucceeded,
    /// The generator started requests late by its own fault.
    LagTooLong {
        /// The 99th percentile of the lag.
        p99_seconds: f64,
    },
    /// The generator could not send as much as it was asked for.
    RateNotReached {
        /// Requests a second that were asked for.
        offered_per_second: f64,
        /// The share of them that was sent.
        sent_ratio: f64,
        /// How busy the generator was.
        busy_ratio: f64,
    },
    /// This machine ran out of ports or files.
    LocalLimit {
        /// Of which one.
        class: FailureClass,
        /// For how many requests.
        requests: u64,
    },
    /// All connections were busy and requests waited for one: the target is slower than the load.
    WaitedForConnection {
        /// The share of requests that waited.
        ratio: f64,
        /// The bound on connections.
        connections: u64,
    },
    /// A closed load kept the generator itself busy: the throughput is a lower bound of what the target can do.
    GeneratorBusy {
        /// The share of its time.
        busy_ratio: f64,
    },
    /// A percentile of the report has too few samples beyond it.
    TooFewSamples {
        /// The lowest percentile that this is true for, as a share.
        quantile: f64,
    },
}

impl Finding {
    /// The finding as a sentence.
    pub fn to_text(&self) -> Text {
        match self {
            Self::CutShort => text!("the run was cut short; the numbers cover what was done until then"),
            Self::NothingSucceeded => text!("not one request succeeded"),
            Self::LagTooLong { p99_seconds } => text!(
                "generator saturated: it started one request in a hundred at least {lag} late by its own fault",
                lag = show_seconds(*p99_seconds)
            ),
            Self::RateNotReached {
                offered_per_second,
                sent_ratio,
                busy_ratio,
            } => text!(
                "generator saturated: it sent {sent} % of {offered} requests a second and was busy {busy} % of the time",
                sent = tidy(sent_ratio * 100.0),
                offered = tidy(*offered_per_second),
                busy = tidy((busy_ratio * 100.0).round())
            ),
            Self::LocalLimit { class, requests } => text!(
                "generator saturated: this machine refused a socket for {requests} requests ({class})",
                requests = *requests,
                class = class.as_str()
            ),
            Self::WaitedForConnection { ratio, connections } => text!(
                "{ratio} % of the requests waited for one of the {connections} connections; the wait counts as latency",
                ratio = tidy(ratio * 100.0),
                connections = *connections
            ),
            Self::GeneratorBusy { busy_ratio } => text!(
                "the generator was busy {busy} % of the time, so that the target may be able to do more than this",
                busy = tidy((busy_ratio * 100.0).round())
            ),
            Self::TooFewSamples { quantile } => text!(
                "too few requests for p{percent} and beyond",
                percent = tidy(quantile * 100.0)
            ),
        }
    }

    /// Whether it makes the numbers describe the generator rather than the target.
    pub fn is_saturation(&self) -> bool {
        matches!(
            self,
            Self::LagTooLong { .. } | Self::RateNotReached { .. } | Self::LocalLimit { .. }
        )
    }
}
