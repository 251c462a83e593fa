//! What the probes of one process share.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{Clock, SystemClock};
use crate::secret::{NoSecrets, Secrets};

/// Handed to every check while it is built: the clock, the secrets, and one shared client per family of probes.
///
/// A family of probes keeps what its probes share, such as a connection pool or the last answer of the Docker daemon,
/// in a type of its own and finds it here by that type.
pub struct Resources {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Fetches the secrets that the configuration names.
    pub secrets: Arc<dyn Secrets>,
    shared: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Resources {
    /// Resources with this clock and these secrets.
    pub fn new(clock: Arc<dyn Clock>, secrets: Arc<dyn Secrets>) -> Self {
        Self {
            clock,
            secrets,
            shared: Mutex::default(),
        }
    }

    /// The one `T` of these resources, made on first use.
    pub fn shared<T: Any + Default + Send + Sync>(&self) -> Arc<T> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shared
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::new(T::default()));
        Arc::clone(entry)
            .downcast()
            .unwrap_or_else(|_| unreachable!("the key is the type of the value"))
    }
}

impl Default for Resources {
    /// The system's clock and no secrets.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(NoSecrets))
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Resources").finish_non_exhaustive()
    }
}
