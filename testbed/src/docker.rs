//! Starts docker.
