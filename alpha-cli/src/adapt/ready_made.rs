//! The maintenance plan's definitions of P0 to P3 (M5), kind by kind.

use alpha_alerts::Severity;
use alpha_probes::Status;

use Severity::{P0, P1, P2, P3};

/// What holds for a kind of probe unless the configuration says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyMade {
    /// The kind, as in `ProbeKind::name`.
    pub kind: &'static str,
    /// How bad it is when such a check is critical.
    pub critical: Severity,
    /// How bad it is when such a check is a warning.
    pub warning: Severity,
    /// How bad it is when nobody can tell. Never the same as well, and less than critical: what is not seen may be so.
    pub unknown: Severity,
    /// The part of the system that it is about, which says whose it is (M25).
    pub component: &'static str,
}

const fn kind(
    kind: &'static str,
    critical: Severity,
    warning: Severity,
    unknown: Severity,
    component: &'static str,
) -> ReadyMade {
    ReadyMade {
        kind,
        critical,
        warning,
        unknown,
        component,
    }
}

/// M5, kind by kind. P0: the chain halted, data may be lost. P1: one validator is offline, part of the API is broken, the
/// database is down or badly slow. P2: resources run high, minor features. P3: what can wait a day.
///
/// Which service is the main one, whose end is P0 too, only a configuration can say.
pub const TABLE: &[ReadyMade] = &[
    kind("substrate_chain", P0, P1, P1, "chain"),
    kind("substrate_finality", P0, P1, P1, "chain"),
    // Two nodes sign for one validator: each further block costs stake.
    kind("substrate_equivocation", P0, P1, P2, "validator"),
    kind("substrate_signer", P0, P1, P1, "validator"),
    kind("substrate_slashes", P0, P1, P2, "validator"),
    kind("substrate_keys", P1, P2, P2, "validator"),
    kind("substrate_validator", P1, P2, P2, "validator"),
    kind("substrate_exposure", P1, P2, P2, "node"),
    kind("substrate_process", P1, P2, P2, "node"),
    kind("substrate_client", P1, P3, P3, "node"),
    kind("substrate_performance", P1, P2, P3, "node"),
    kind("substrate_node", P1, P2, P2, "node"),
    kind("substrate_sync", P1, P2, P2, "node"),
    kind("substrate_peers", P1, P2, P2, "node"),
    kind("substrate_clock", P1, P2, P2, "node"),
    kind("substrate_runtime", P1, P3, P3, "chain"),
    kind("substrate_pool", P2, P2, P3, "chain"),
    kind("http", P1, P2, P2, "api"),
    kind("access_log", P1, P2, P3, "api"),
    kind("postgres", P1, P2, P2, "postgres"),
    kind("redis", P1, P2, P2, "redis"),
    kind("container", P1, P2, P2, "docker"),
    kind("process", P1, P2, P2, "host"),
    kind("systemd", P1, P2, P2, "host"),
    kind("tcp", P1, P2, P2, "network"),
    kind("dns", P1, P2, P2, "network"),
    kind("icmp", P2, P2, P3, "network"),
    kind("tls", P1, P3, P3, "tls"),
    kind("filesystem", P1, P2, P2, "host"),
    kind("memory", P1, P2, P3, "host"),
    kind("file_descriptors", P1, P2, P3, "host"),
    kind("clock", P1, P2, P3, "host"),
    kind("cpu", P2, P2, P3, "host"),
    kind("load", P2, P2, P3, "host"),
    kind("pressure", P2, P2, P3, "host"),
    kind("disk_io", P2, P2, P3, "host"),
    kind("network_io", P2, P2, P3, "host"),
    kind("heartbeat", P2, P3, P2, "backup"),
    kind("log", P2, P3, P3, "api"),
    kind("file", P2, P3, P3, "host"),
    kind("command", P2, P3, P3, "host"),
    kind("prometheus", P2, P3, P3, "monitoring"),
];

/// What holds for a kind that the table does not know, such as one of a program's own.
pub const OTHERWISE: ReadyMade = kind("", P2, P3, P3, "");

impl ReadyMade {
    /// What holds for `kind`.
    pub fn of(kind: &str) -> Self {
        TABLE
            .iter()
            .find(|row| row.kind == kind)
            .copied()
            .unwrap_or(OTHERWISE)
    }

    /// How bad a status is; what is well is no alert.
    pub fn severity(self, status: Status) -> Option<Severity> {
        match status {
            Status::Ok => None,
            Status::Warning => Some(self.warning),
            Status::Critical => Some(self.critical),
            Status::Unknown => Some(self.unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_probe_has_its_severities() {
        for kind in alpha_probes::probe::kinds() {
            let row = TABLE.iter().find(|row| row.kind == kind.name);
            assert!(row.is_some(), "{} has no row", kind.name);
        }
        for row in TABLE {
            assert!(
                alpha_probes::probe::kinds()
                    .iter()
                    .any(|kind| kind.name == row.kind),
                "there is no kind {}",
                row.kind
            );
        }
    }

    #[test]
    fn the_worse_status_is_never_the_lesser_alert_and_unknown_is_never_well() {
        for row in TABLE {
            assert!(row.critical.is_at_least(row.warning), "{}", row.kind);
            assert!(row.critical.is_at_least(row.unknown), "{}", row.kind);
            assert!(row.severity(Status::Unknown).is_some(), "{}", row.kind);
            assert_eq!(row.severity(Status::Ok), None);
        }
    }

    #[test]
    fn the_examples_of_the_plan_are_what_the_plan_calls_them() {
        let critical = |kind| ReadyMade::of(kind).critical;
        assert_eq!(critical("substrate_chain"), P0, "the chain halted");
        assert_eq!(critical("substrate_validator"), P1, "one validator offline");
        assert_eq!(critical("http"), P1, "part of the API is broken");
        assert_eq!(ReadyMade::of("postgres").critical, P1, "the database");
        assert_eq!(ReadyMade::of("cpu").warning, P2, "resources run high");
        assert_eq!(ReadyMade::of("http").warning, P2, "slightly slow");
    }
}
