//! Implementations of the trait `History`.
