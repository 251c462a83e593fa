//! The probes against the real things.
#![expect(clippy::unwrap_used, reason = "a test may fail there")]

mod access_log;
mod command;
mod condition;
mod container;
mod dns;
mod engine;
mod exposition;
mod file;
mod heartbeat;
mod history;
mod host;
mod http;
mod icmp;
mod log;
mod postgres;
mod process;
mod prometheus;
mod redis;
mod server;
mod substrate;
mod support;
mod systemd;
mod tcp;
mod tls;
