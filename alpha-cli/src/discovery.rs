//! Finds out what runs here, so that `alpha check` needs no configuration and `alpha init` can write one.
//!
//! It only asks: loopback ports that such services usually listen on, the Docker daemon, this host. What does not
//! answer within [`PATIENCE`] is not there.

mod containers;
mod host;
mod nodes;
mod services;

use std::time::Duration;

use alpha_probes::{Check, CheckConfig, Resources, Text};

/// How long a service on loopback may take to say what it is.
pub const PATIENCE: Duration = Duration::from_millis(300);

/// What was found, in the order in which it is shown.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The checks of each thing that was found.
    pub found: Vec<Found>,
    /// What is there but could not be looked at, and why.
    pub notes: Vec<Text>,
}

/// One thing that runs here and how it is checked.
#[derive(Debug)]
pub struct Found {
    /// What it is, for the comment in the configuration.
    pub what: Text,
    /// Its checks.
    pub checks: Vec<CheckConfig>,
}

impl Found {
    fn new(what: Text, checks: Vec<CheckConfig>) -> Self {
        Self { what, checks }
    }
}

impl Discovery {
    /// Builds the checks.
    ///
    /// # Errors
    /// The first problem of a check, which would be a mistake of the discovery itself.
    pub fn build(&self, resources: &Resources) -> alpha_probes::Result<Vec<Check>> {
        let configs = self.found.iter().flat_map(|found| &found.checks);
        let built = configs.map(|config| config.build(resources));
        built.map(|check| check.map_err(first)).collect()
    }
}

fn first(problems: Vec<alpha_probes::check::Problem>) -> alpha_probes::Error {
    let mut problems = problems.into_iter();
    problems.next().expect("what does not build has a problem").error
}

/// Looks at this machine.
pub async fn discover(resources: &Resources) -> Discovery {
    let containers = containers::discover(resources).await;
    let mut found = vec![host::checks()];
    found.extend(containers.found);
    found.extend(services::discover(&containers.ports).await);
    Discovery {
        found,
        notes: containers.note.into_iter().collect(),
    }
}

/// A check of that name that is otherwise as its kind has it.
fn check(name: String) -> CheckConfig {
    let mut check = CheckConfig::default();
    check.name = name;
    check
}
