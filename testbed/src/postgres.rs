//! Starts postgres.
