//! Criterion benchmarks of the hot paths, one file per path; `peers/` holds side-by-side runs against other tools.
