//! What an implementation of this crate's traits has to pass, for its author's tests.

mod history;

pub use history::history;
