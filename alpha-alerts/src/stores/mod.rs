//! Where a dispatcher keeps what must survive: in memory for tests and simulations, or in a database.

mod memory;
mod queue;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;

pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use sql::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sql::{Durability, SqliteStore};

use crate::error::{Error, ErrorKind};
use crate::text;

/// Somebody else leads by now.
fn fenced(name: &str) -> Error {
    Error::new(
        ErrorKind::Fenced,
        text!(
            "another instance leads now and writes to the store {name}",
            name = name
        ),
    )
}

/// A notification or an audit entry is there already, so that whoever writes it again missed that it was written.
fn repeated(name: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        text!(
            "what should be added to the store {name} is there already",
            name = name
        ),
    )
}
