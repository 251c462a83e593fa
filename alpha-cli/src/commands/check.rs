//! `alpha check`.
