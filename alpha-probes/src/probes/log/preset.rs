//! Patterns for the logs of well-known programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A program whose log says in known words that it is in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogPreset {
    /// A Substrate node: equivocations, failed tasks, a corrupt database, panics, a client too old for its runtime.
    Substrate,
}

/// One pattern of a preset.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) pattern: &'static str,
    /// Whether a single line of it is an emergency.
    pub(super) is_fatal: bool,
}

/// The words of polkadot-sdk: `sc-consensus-babe`, `sc-consensus-aura` and `sc-consensus-grandpa` for equivocations,
/// `sc-service` for tasks, `sp-panic-handler` for panics, `sc-executor` for missing host functions; those of RocksDB,
/// `kvdb` and ParityDB for corruption.
const SUBSTRATE: &[Known] = &[
    Known {
        name: "equivocation",
        pattern: r"is equivocating at slot|Detected (?:prevote|precommit) equivocation",
        is_fatal: true,
    },
    Known {
        name: "essential_task",
        pattern: r"Essential task [^ ]* failed",
        is_fatal: true,
    },
    Known {
        name: "database",
        pattern: r"DB (?:corrupted|has been previously marked as corrupted)|\bCorruption: |Database missing expected key|Trie lookup error|(?i:parity[ -]?db)[^\n]*(?i:corrupt|checksum|invalid)",
        is_fatal: true,
    },
    Known {
        name: "panic",
        pattern: r"[Tt]hread '[^']*'(?: \(\d+\))? panicked at",
        is_fatal: false,
    },
    Known {
        name: "client_too_old",
        pattern: r"function imports which are not present on the host|host doesn't provide such function",
        is_fatal: true,
    },
];

impl LogPreset {
    pub(super) fn patterns(self) -> &'static [Known] {
        match self {
            Self::Substrate => SUBSTRATE,
        }
    }
}

#[cfg(test)]
mod tests {
    use regex::bytes::RegexBuilder;

    use super::*;

    /// The names of the patterns that match a line.
    fn matches(line: &str) -> Vec<&'static str> {
        let is_match = |known: &&Known| {
            let pattern = RegexBuilder::new(known.pattern).unicode(false).build().unwrap();
            pattern.is_match(line.as_bytes())
        };
        let known = LogPreset::Substrate.patterns().iter().filter(is_match);
        known.map(|known| known.name).collect()
    }

    #[test]
    fn lines_of_real_nodes_in_trouble_are_known() {
        for (line, name) in [
            // A chain of four with a second Alice, polkadot 1.25.1.
            (
                "2026-11-25 17:20:18 Slot author Public(d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d (15oF4uVJ...)) is equivocating at slot 299271203 with headers 0x30a0 and 0x91e7",
                "equivocation",
            ),
            (
                "2026-11-25 17:20:13 Detected prevote equivocation in the finality worker: Equivocation { round_number: 17, identity: Public(88dc) }",
                "equivocation",
            ),
            // polkadot-sdk issue 798, 6943 and 6547.
            (
                "2022-07-24 05:08:13 DB corrupted: Corruption: force_consistency_checks: VersionBuilder: L6 files are not sorted properly: files #25645794, #25645968. Repair will be triggered on next restart",
                "database",
            ),
            (
                "2022-07-24 05:08:18 DB has been previously marked as corrupted, attempting repair",
                "database",
            ),
            (
                "   0: Backend error: Corruption: block checksum mismatch",
                "database",
            ),
            (
                "2022-07-24 05:08:13 Essential task `grandpa-voter` failed. Shutting down service.",
                "essential_task",
            ),
            (
                "Error: Service(Client(VersionInvalid(\"Other error happened while constructing the runtime: runtime requires function imports which are not present on the host: 'env:ext_storage_proof_size_storage_proof_size_version_1'\")))",
                "client_too_old",
            ),
        ] {
            assert_eq!(matches(line), [name], "{line}");
        }
        let missing_key = "Thread 'tokio-runtime-worker' panicked at 'Externalities not allowed to fail within runtime: \"Trie lookup error: Database missing expected key: 0x0a85\"'";
        assert_eq!(matches(missing_key), ["database", "panic"]);
        assert_eq!(
            matches("thread 'main' (12) panicked at src/main.rs:1:1:"),
            ["panic"]
        );
    }

    #[test]
    fn lines_of_a_healthy_node_are_not() {
        for line in [
            "2026-11-25 17:20:18 💤 Idle (3 peers), best: #17 (0x68e6…81e7), finalized #15 (0x4907…5507), ⬇ 1.2kiB/s ⬆ 1.3kiB/s",
            "2026-11-25 17:20:18 🏆 Imported #17 (0x4907…5507 → 0x68e6…81e7)",
            "2026-11-25 17:19:08 💾 Database: ParityDb at /data/chains/alpha/paritydb/full",
            "2026-11-25 17:19:08 📋 Chain specification: Alpha",
            "2026-11-25 17:20:13 Failed to handle active leaf update error=FetchDisabledValidators(NotSupported)",
        ] {
            assert_eq!(matches(line), [""; 0], "{line}");
        }
    }
}
