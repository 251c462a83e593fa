//! Starts the real things Alpha is tested against.
