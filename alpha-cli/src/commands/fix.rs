//! `alpha fix`.
