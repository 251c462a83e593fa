//! The history that one-shot and continuous commands share: opening it, what the last run knew, what this one saw.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use alpha_probes::condition::Series;
use alpha_probes::history::{self, History, HistoryConfig, Sample};
use alpha_probes::judge::CheckState;
use alpha_probes::series::SeriesBuffer;
use alpha_probes::{Check, CheckId, Resources, Result};
use jiff::Timestamp;

/// What an earlier run left behind.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Since when each check is what it is, what is pending.
    pub(crate) states: HashMap<CheckId, CheckState>,
    /// Past values, for conditions that look back.
    pub(crate) past: HashMap<CheckId, Arc<dyn Series + Send + Sync>>,
}

/// Opens the history that the configuration names, or the file in the state folder.
pub(crate) async fn open(config: &HistoryConfig, resources: &Resources) -> Result<Arc<dyn History>> {
    let mut config = config.clone();
    if config.sqlite.is_none() && config.postgres.is_none() {
        let folder = state_folder().join("alpha");
        // Where it cannot be made, opening the file in it tells why.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        config.sqlite = Some(folder.join("history.db"));
    }
    config.open(resources).await
}

/// `/var/lib` for root, else `$XDG_STATE_HOME` or `~/.local/state` (XDG Base Directory Specification).
pub(crate) fn state_folder() -> PathBuf {
    let from_environment = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if nix::unistd::geteuid().is_root() && from_environment("XDG_STATE_HOME").is_none() {
        return PathBuf::from("/var/lib");
    }
    from_environment("XDG_STATE_HOME")
        .or_else(|| from_environment("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
}

/// What the last process had to say of every check.
pub(crate) async fn states(history: &dyn History) -> Result<HashMap<CheckId, CheckState>> {
    let mut states = HashMap::new();
    for (check, state) in history.load_states().await? {
        match serde_json::from_value(state) {
            Ok(state) => {
                states.insert(check, state);
            }
            // Written by another version: forgetting it costs a "since", believing it wrongly would cost more.
            Err(error) => {
                tracing::warn!(check = check.as_str(), %error, "the state of a check is not understood")
            }
        }
    }
    Ok(states)
}

/// What the history knows of these checks.
///
/// A check that it does not know is judged as one that is looked at for the first time, where nothing has to last
/// before it counts.
pub(crate) async fn recall(history: &dyn History, checks: &[Check], now: Timestamp) -> Result<Memory> {
    let mut memory = Memory {
        states: states(history).await?,
        past: HashMap::new(),
    };
    for check in checks {
        memory
            .states
            .entry(check.id.clone())
            .or_insert_with(CheckState::once);
        let mut buffer = SeriesBuffer::new(windows(check));
        if !buffer.is_unused() {
            history::restore(&mut buffer, history, &check.id, now).await?;
            memory.past.insert(check.id.clone(), Arc::new(buffer));
        }
    }
    Ok(memory)
}

/// The measurements that the rules of a check look back on, and how far.
fn windows(check: &Check) -> Vec<(String, std::time::Duration)> {
    let rules = check.rules.required.iter().chain(&check.rules.raised);
    rules
        .flat_map(|rule| std::iter::once(&rule.condition).chain(&rule.clear))
        .flat_map(|condition| condition.windows())
        .collect()
}

/// Keeps what was seen and what the next process has to know; rolls up what is old.
pub(crate) async fn keep(
    history: &dyn History,
    samples: &[Sample],
    states: &HashMap<CheckId, CheckState>,
    now: Timestamp,
) -> Result<()> {
    history.append(samples).await?;
    let states: Vec<_> = states
        .iter()
        .filter_map(|(check, state)| Some((check.clone(), serde_json::to_value(state).ok()?)))
        .collect();
    history.store_states(&states, now).await?;
    history.compact(now).await?;
    Ok(())
}
