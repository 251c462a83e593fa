//! Whether a status changes too often to mean anything.
