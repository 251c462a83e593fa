//! From an observation to a status: rules with duration and hysteresis.
