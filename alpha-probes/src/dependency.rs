//! Which failing check explains which others: pure.
