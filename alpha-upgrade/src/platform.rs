//! Where services run.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

use crate::error::Result;

/// A place where services run and can be started.
///
/// The contract: [`Platform::services`] changes nothing. [`Platform::start`] starts a service that is not running and
/// does nothing to one that is; it returns when the platform reports it as running. Dropping the future of a start does
/// not undo it.
#[async_trait]
pub trait Platform: fmt::Debug + Send + Sync {
    /// What kind of platform it is.
    fn name(&self) -> &'static str;

    /// All services, running or not.
    async fn services(&self) -> Result<Vec<Service>>;

    /// Starts a service that is not running.
    async fn start(&self, service: &str) -> Result<()>;
}

/// What a platform tells about one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The image it was made from.
    pub image: String,
    /// The whole command line: entry point, then arguments.
    pub command: Vec<String>,
    /// Names and values of its environment. Values may be secrets: never shown, not even by `Debug`.
    pub environment: Environment,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where its volumes are mounted inside.
    pub mounts: Vec<String>,
    /// Whether it runs.
    pub is_running: bool,
}

/// Environment variables whose values are not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(pub BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl Service {
    /// A service of that name of which nothing else is known.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The same with that command line.
    #[must_use]
    pub fn with_command<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }
}
