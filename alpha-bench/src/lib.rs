//! Puts an honest load on an HTTP or JSON-RPC service and reports latency that can gate a release.
//!
//! Time is counted from when each request was *meant* to start, the generator watches itself and says when it was the
//! limit, and every verdict comes with the interval it rests on.
//!
//! ```
//! use std::time::Duration;
//! use alpha_bench::{Config, FixedLatency, LoadModel, LoadTest, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> alpha_bench::Result<()> {
//! let load = Config::new(LoadModel::open(100.0))
//!     .with_duration(Duration::from_secs(60))
//!     .with_threshold("p95 < 20ms".parse()?);
//! let target = FixedLatency::new(Duration::from_millis(5));
//! let report = LoadTest::new(load, target).run_in_place().await?;
//! assert_eq!((report.verdict, report.requests), (Verdict::Pass, 6000));
//! # Ok(())
//! # }
//! ```
//!
//! # The nouns
//! - A [`Target`] is what the load is put on: [`targets::Http1`], [`targets::Http2`] and [`targets::WebSocket`] over
//!   [`targets::transport`], and [`FixedLatency`] in memory for tests of your own.
//! - A [`Config`] says how: its [`LoadModel`] is closed (users who wait) or open (requests that come whatever happens),
//!   whose [`ArrivalSchedule`] is a pure function of the settings.
//! - A [`LoadTest`] puts the one on the other and yields a [`BenchReport`], which [`render`](mod@render) writes for people
//!   and other programs.
//! - A [`Threshold`] is a bar that a run must keep, a [`Rule`] one that a candidate must keep beside its baseline, for
//!   which [`compare`](compare()) needs interleaved runs or at least five baselines.
//! - A [`Scenario`] says all of this in one file; [`find_max::FindMax`] looks for the highest rate;
//!   [`selftest`](mod@selftest) checks that this machine can be trusted to measure.
//!
//! # Features
//! `http1` (on by default), `http2`, `tls`, `websocket`; `full` is all of them.
//!
//! # What it does not do
//! It runs no browser and no script, follows no redirect, keeps no cookies and asks no resolver during a run. It reads
//! neither files nor the environment: what templates are filled with is handed in as [`Inputs`].

#![cfg_attr(
    not(all(feature = "http1", feature = "http2", feature = "websocket", feature = "tls")),
    allow(
        dead_code,
        unused_variables,
        reason = "each protocol uses its own part of what a request is made of"
    )
)]

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
pub mod replay_log;
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
pub use replay_log::ReplayLog;
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
