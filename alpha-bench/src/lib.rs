//! Puts an honest load on an HTTP or JSON-RPC service and reports latency that can gate a release.

mod clock;
pub mod compare;
pub mod config;
mod engine;
pub mod error;
pub mod failure;
pub mod find_max;
pub mod histogram;
pub mod metric;
pub mod recorder;
pub mod render;
pub mod report;
pub mod request;
pub mod rule;
pub mod scenario;
pub mod schedule;
#[cfg(feature = "http1")]
pub mod selftest;
pub mod statistics;
pub mod target;
pub mod targets;
pub mod template;
pub mod text;
pub mod threshold;

pub use clock::{Clock, SystemClock};
pub use compare::{Comparison, Judgement, compare};
pub use config::Config;
pub use engine::{LoadTest, Progress};
pub use error::{Error, ErrorKind, Result};
pub use failure::{Failure, FailureClass, FailureCounts};
pub use histogram::{Buckets, Histogram, Precision};
pub use metric::Metric;
pub use report::{BenchReport, Finding};
pub use request::{Check, JsonCheck, Request};
pub use rule::Rule;
pub use scenario::{RpcCall, RunOptions, Scenario};
pub use schedule::{ArrivalSchedule, Arrivals, Closed, LoadModel, Open, Replay, Spacing, Stage};
pub use target::{Connection, Exchange, Target};
pub use targets::FixedLatency;
pub use template::Inputs;
pub use text::Text;
pub use threshold::{Threshold, Verdict};
