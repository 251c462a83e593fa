//! Runs a set of checks once.
