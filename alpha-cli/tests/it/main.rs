//! The command line, end to end and in-process.

mod command;
mod independence;
mod translations;
