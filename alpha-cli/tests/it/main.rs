//! The command line, end to end and in-process.
#![expect(clippy::unwrap_used, reason = "a test may fail there")]

mod alertmanager;
mod alerts;
mod bench;
mod check;
mod command;
mod examples;
mod help;
mod independence;
mod planted_faults;
mod reference;
mod serve;
mod server;
mod translations;
mod watch;
