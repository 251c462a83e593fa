//! Puts an honest load on an HTTP or JSON-RPC service and reports latency that can gate a release.

mod clock;
pub mod config;
mod engine;
pub mod error;
pub mod failure;
pub mod histogram;
pub mod metric;
pub mod recorder;
pub mod report;
pub mod request;
pub mod schedule;
pub mod statistics;
pub mod target;
pub mod targets;
pub mod template;
pub mod text;
pub mod threshold;

pub use clock::{Clock, SystemClock};
pub use config::Config;
pub use engine::{LoadTest, Progress};
pub use error::{Error, ErrorKind, Result};
pub use failure::{Failure, FailureClass, FailureCounts};
pub use histogram::{Buckets, Histogram, Precision};
pub use metric::Metric;
pub use report::{BenchReport, Finding};
pub use request::{Check, JsonCheck, Request};
pub use schedule::{ArrivalSchedule, Arrivals, Closed, LoadModel, Open, Replay, Spacing, Stage};
pub use target::{Connection, Exchange, Target};
pub use targets::FixedLatency;
pub use template::Inputs;
pub use text::Text;
pub use threshold::{Threshold, Verdict};
