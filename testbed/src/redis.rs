//! Starts redis.
