//! `alpha init`.
