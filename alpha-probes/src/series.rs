//! Past values of measurements in fixed memory, for conditions over time.
