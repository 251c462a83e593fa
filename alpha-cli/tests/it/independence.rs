//! The libraries do not know each other: only the command line and the benchmarks see more than one.

use cargo_metadata::MetadataCommand;

const LIBRARIES: [&str; 5] = [
    "alpha-probes",
    "alpha-alerts",
    "alpha-backup",
    "alpha-upgrade",
    "alpha-bench",
];

/// C toolchains and second TLS or time libraries that a default feature of a dependency would bring in.
const BANNED: [&str; 6] = [
    "aws-lc-sys",
    "openssl-sys",
    "native-tls",
    "chrono",
    "serde_yaml",
    "serde_yml",
];

#[test]
fn no_library_depends_on_another() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let mut edges = Vec::new();
    for package in &metadata.packages {
        let own = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some());
        edges.extend(own.map(|dependency| (package.name.to_string(), dependency.name.clone())));
    }
    assert!(
        edges
            .iter()
            .any(|(from, to)| from == "alpha-cli" && to == "alpha-probes"),
        "no edge was read"
    );
    let allowed = |from: &str, to: &str| match from {
        "alpha-cli" | "benches" => LIBRARIES.contains(&to) || to == "testbed" || to == "alpha-cli",
        library if LIBRARIES.contains(&library) => to == "testbed",
        _ => false,
    };
    let wrong: Vec<_> = edges.iter().filter(|(from, to)| !allowed(from, to)).collect();
    assert!(wrong.is_empty(), "edges that must not be: {wrong:?}");
}

#[test]
fn the_test_bed_is_for_tests_only() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    for package in &metadata.packages {
        let shipped = |dependency: &&cargo_metadata::Dependency| {
            dependency.name == "testbed" && dependency.kind != cargo_metadata::DependencyKind::Development
        };
        assert!(
            package.dependencies.iter().find(shipped).is_none(),
            "{} ships the test bed",
            package.name
        );
    }
}

#[test]
fn nothing_banned_is_compiled() {
    let metadata = MetadataCommand::new()
        .features(cargo_metadata::CargoOpt::AllFeatures)
        .other_options([
            "--filter-platform".to_owned(),
            "x86_64-unknown-linux-gnu".to_owned(),
        ])
        .exec()
        .unwrap();
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    let compiled: Vec<_> = nodes
        .iter()
        .map(|node| metadata[&node.id].name.to_string())
        .collect();
    assert!(compiled.iter().any(|name| name == "ring"), "no package was read");
    let banned: Vec<_> = compiled
        .iter()
        .filter(|name| BANNED.contains(&name.as_str()))
        .collect();
    assert!(banned.is_empty(), "{banned:?}");
}
