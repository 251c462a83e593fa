//! Takes backups, and proves each of them by restoring it.
//!
//! Not built yet: this crate holds nothing but this page. It will own sources and how they are held still while they
//! are copied, a repository in restic's format, verification, restore drills, restore, retention, and the escrow of
//! keys. It knows nothing of deployments.
