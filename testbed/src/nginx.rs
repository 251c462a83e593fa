//! Starts nginx.
