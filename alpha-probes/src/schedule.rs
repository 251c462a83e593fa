//! When each check runs: pure slots without drift.
