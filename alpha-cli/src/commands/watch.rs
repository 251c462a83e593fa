//! `alpha watch`.
