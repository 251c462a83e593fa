//! For tests here and downstream: what an implementation of this crate's traits has to pass, and a scripted node.

mod history;
#[cfg(feature = "substrate")]
mod node_double;
#[cfg(feature = "substrate")]
mod node_script;

pub use history::history;
#[cfg(feature = "substrate")]
pub use node_double::{Fault, NodeDouble};
#[cfg(feature = "substrate")]
pub use node_script::{SLOT, Script, Vote};
