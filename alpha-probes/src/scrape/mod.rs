//! Reading what others expose: pages in the text format of Prometheus and OpenMetrics.
//!
//! A page of a busy node has tens of thousands of lines of which a check wants a handful, so that nothing is built for
//! the rest: one pass over the text, labels of matching lines only.

#![cfg_attr(
    not(feature = "prometheus"),
    allow(dead_code, unused_imports, reason = "a known node needs single values only")
)]

mod page;
mod quantile;
mod select;

pub(crate) use page::{Sample, samples};
pub(crate) use quantile::Buckets;
pub(crate) use select::{Selector, nearest_name};
