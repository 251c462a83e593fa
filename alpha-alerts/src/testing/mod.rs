//! For tests here and downstream: what an implementation of this crate's traits has to pass.

pub mod mail;
pub mod notifier;
pub mod receiver;
pub mod store;
