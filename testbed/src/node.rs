//! Starts node.
