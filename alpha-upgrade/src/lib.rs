//! Changes a running system step by step, and takes each step back when it fails.
//!
//! Not built yet: this crate holds nothing but this page. It will own blue/green, canary and rolling releases, gates,
//! automatic rollback, disaster recovery, upkeep (packages, images, pruning, logs), and the interlocks that keep two
//! live validators from ever holding one set of session keys.
