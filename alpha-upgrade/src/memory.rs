//! A platform for tests, here and downstream.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::platform::{Platform, Service};

/// A platform that only remembers.
#[derive(Debug, Default)]
pub struct MemoryPlatform {
    services: Mutex<Vec<Service>>,
}

impl MemoryPlatform {
    /// A platform without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with `service`, stopped.
    #[must_use]
    pub fn with_stopped(self, service: Service) -> Self {
        self.lock().push(Service {
            is_running: false,
            ..service
        });
        self
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Service>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Platform for MemoryPlatform {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn services(&self) -> Result<Vec<Service>> {
        Ok(self.lock().clone())
    }

    async fn start(&self, name: &str) -> Result<()> {
        match self.lock().iter_mut().find(|service| service.name == name) {
            Some(service) => {
                service.is_running = true;
                Ok(())
            }
            None => Err(Error::new(
                ErrorKind::NotFound,
                format!("could not start {name}: there is no such service"),
            )),
        }
    }
}
