//! Puts an honest load on an HTTP or JSON-RPC service and reports latency that can gate a release.

mod clock;
pub mod error;
pub mod failure;
pub mod histogram;
pub mod schedule;
pub mod text;

pub use clock::{Clock, SystemClock};
pub use error::{Error, ErrorKind, Result};
pub use failure::{Failure, FailureClass, FailureCounts};
pub use histogram::{Buckets, Histogram, Precision};
pub use schedule::{ArrivalSchedule, Arrivals, Closed, LoadModel, Open, Replay, Spacing, Stage};
pub use text::Text;
