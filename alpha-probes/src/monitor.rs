//! Runs a set of checks for ever.
