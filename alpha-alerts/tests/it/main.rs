//! What only shows when the parts of the crate work together, or beside something that is not ours.

mod dispatcher;
mod kill;
mod oncall;
mod routing;
#[cfg(all(feature = "sqlite", feature = "postgres", feature = "testing"))]
mod store;
