//! The configurations that ship with the documentation.

use std::path::Path;

use alpha_alerts::Severity;
use alpha_cli::config::{self, Loaded};
use alpha_probes::{Error, Resources, SecretRef, Secrets, Status, SystemClock};
use std::sync::Arc;

/// Knows every secret, so that examples can be built anywhere.
#[derive(Debug)]
struct AnySecret;

impl Secrets for AnySecret {
    fn resolve(&self, _reference: &SecretRef) -> Result<secrecy::SecretString, Error> {
        Ok("secret".to_owned().into())
    }
}

fn alpha_social() -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/alpha-social.toml");
    let resources = Resources::new(Arc::new(SystemClock), Arc::new(AnySecret));
    config::load(&path, &resources).unwrap_or_else(|mistakes| {
        let told = mistakes
            .iter()
            .map(|mistake| mistake.render(alpha_cli::language::Language::English, false));
        panic!("{}", told.collect::<Vec<_>>().join("\n"))
    })
}

#[test]
fn the_example_for_alpha_social_covers_the_channels_and_duties_of_the_plan() {
    let loaded = alpha_social();
    let alerts = &loaded.config.alerts;
    assert_eq!(alerts.check(), []);
    // M6: who is told is shown by `alert route test`, see alerts.rs; here that each receiver has its channels.
    let channels = |name: &str| {
        let receiver = alerts.receivers.iter().find(|receiver| receiver.name == name);
        let receiver = receiver.unwrap_or_else(|| panic!("no receiver {name}"));
        (
            receiver.pagerduty.len(),
            receiver.slack.len(),
            receiver.email.len(),
        )
    };
    assert_eq!(channels("every-channel"), (1, 1, 1));
    assert_eq!(channels("slack-and-email"), (0, 1, 1));
    assert_eq!(channels("slack"), (0, 1, 0));
    // M25: eight roles, each with somebody, and every component of a check owned by one.
    let roles = &alerts.on_call.roles;
    assert_eq!(roles.len(), 8);
    assert!(roles.iter().all(|role| !role.people.is_empty()));
    let policy = alpha_cli::adapt::Policy::new(&loaded.config, "host");
    assert_eq!(
        policy.severity("container/alpha-api", "container", Status::Critical),
        Some(Severity::P0),
        "the main service is down (M5)"
    );
    assert_eq!(
        policy.severity("host/cpu", "cpu", Status::Warning),
        Some(Severity::P2),
        "resources run high (M5)"
    );
    let owned: Vec<&String> = roles.iter().flat_map(|role| &role.components).collect();
    for check in &loaded.config.check {
        if let Some(component) = check.labels.get("component") {
            assert!(owned.contains(&component), "nobody owns {component}");
        }
    }
    for row in alpha_cli::adapt::ready_made::TABLE {
        assert!(
            owned.iter().any(|component| *component == row.component),
            "nobody owns {}",
            row.component
        );
    }
    // M22 and M24.
    assert_eq!(alerts.on_call.schedules.len(), 1);
    assert_eq!(alerts.on_call.meetings.len(), 4);
}

#[test]
fn the_example_for_alpha_social_covers_the_daily_check_of_the_plan() {
    let loaded = alpha_social();
    let kinds: Vec<&str> = loaded
        .checks
        .iter()
        .map(|check| check.probe.kind().name)
        .collect();
    for kind in [
        "container",
        "substrate_node",
        "substrate_chain",
        "substrate_peers",
        "substrate_pool",
        "substrate_validator",
        "icmp",
        "cpu",
        "memory",
        "filesystem",
        "disk_io",
        "network_io",
        "http",
        "postgres",
        "redis",
        "access_log",
    ] {
        assert!(kinds.contains(&kind), "no check of kind {kind}");
    }
    assert_eq!(kinds.iter().filter(|kind| **kind == "container").count(), 5);
}
