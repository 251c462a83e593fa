//! Observations and statuses as Prometheus text and JSON.
