//! Where alerts are kept.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alpha_alerts::stores::{PostgresStore, SqliteStore};
use alpha_alerts::{Secrets as _, Store};
use alpha_probes::text;
use nix::fcntl::{Flock, FlockArg};

use super::super::Failure;
use crate::config::StoreConfig;
use crate::history::state_folder;
use crate::secrets::LocalSecrets;

/// Keeps a second server from using a file, until it is dropped or the process ends in whatever way.
pub(super) type Hold = Flock<File>;

/// Opens the store that the configuration names, or the file in the state folder.
pub(super) async fn open(config: &StoreConfig) -> Result<(Arc<dyn Store>, Option<Hold>), Failure> {
    if let Some(url) = &config.postgres {
        let url = LocalSecrets.resolve(url)?;
        return Ok((Arc::new(PostgresStore::connect(&url).await?), None));
    }
    let path = config.sqlite.clone().unwrap_or_else(|| {
        let folder = state_folder().join("alpha");
        // Where it cannot be made, opening the file in it tells why.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        folder.join("alerts.db")
    });
    let hold = hold(&path)?;
    Ok((Arc::new(SqliteStore::open(&path).await?), Some(hold)))
}

fn hold(path: &Path) -> Result<Hold, Failure> {
    let lock = lock_of(path);
    let file: std::io::Result<File> = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock);
    let file = file.map_err(|error| {
        text!(
            "{file} cannot be written: {cause}",
            file = lock.display().to_string(),
            cause = error.to_string()
        )
    })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        text!(
            "another server uses the store {path}: stop it, or give both a PostgreSQL store",
            path = path.display().to_string()
        )
        .into()
    })
}

fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
