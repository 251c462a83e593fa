//! The configurations that ship with the documentation.

use std::path::Path;

use alpha_cli::config;
use alpha_probes::{Error, Resources, SecretRef, Secrets, SystemClock};
use std::sync::Arc;

/// Knows every secret, so that examples can be built anywhere.
#[derive(Debug)]
struct AnySecret;

impl Secrets for AnySecret {
    fn resolve(&self, _reference: &SecretRef) -> Result<secrecy::SecretString, Error> {
        Ok("secret".to_owned().into())
    }
}

#[test]
fn the_example_for_alpha_social_covers_the_daily_check_of_the_plan() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/alpha-social.toml");
    let resources = Resources::new(Arc::new(SystemClock), Arc::new(AnySecret));
    let loaded = config::load(&path, &resources).unwrap_or_else(|mistakes| {
        let told = mistakes
            .iter()
            .map(|mistake| mistake.render(alpha_cli::language::Language::English, false));
        panic!("{}", told.collect::<Vec<_>>().join("\n"))
    });
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
