//! What a load is put on.

use std::fmt::Debug;
use std::future::Future;

use crate::failure::Failure;

/// Something that requests can be sent to.
///
/// The engine clones it once for each core and never boxes its futures: a call through `dyn` costs ten times a static
/// one, which is nothing for a check and too much between two requests. Futures need not be [`Send`], since a connection
/// stays on the core that opened it.
///
/// An implementation keeps to three rules. What can be prepared is prepared before the run. Dropping a future abandons
/// the request and must leave nothing behind. No answer may make it allocate without bound; the engine bounds the time.
pub trait Target: Clone + Debug + Send + Sync + 'static {
    /// A connection to it.
    type Connection: Connection;

    /// What reports call it; never a secret.
    fn describe(&self) -> String;

    /// The names of the kinds of requests it sends; at least one.
    fn request_names(&self) -> Vec<String>;

    /// Which kind of request has this number, as an index into [`request_names`](Self::request_names).
    fn kind_of(&self, sequence: u64) -> usize;

    /// Opens a connection.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Failure>>;
}

/// A connection that carries one request at a time.
pub trait Connection: 'static {
    /// Sends request number `sequence` and waits for the whole answer.
    fn exchange(&mut self, sequence: u64) -> impl Future<Output = Exchange>;

    /// Whether another request may be sent. Asked before each; must not cost a system call.
    fn is_reusable(&mut self) -> bool;
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Bytes received for it.
    pub bytes: u64,
    /// Whether it was answered as expected.
    pub outcome: Result<(), Failure>,
}

impl Exchange {
    /// An answer as expected.
    pub fn succeeded(bytes: u64) -> Self {
        Self {
            bytes,
            outcome: Ok(()),
        }
    }

    /// No answer, or a wrong one.
    pub fn failed(bytes: u64, failure: Failure) -> Self {
        Self {
            bytes,
            outcome: Err(failure),
        }
    }
}
