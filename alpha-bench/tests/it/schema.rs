//! The published JSON schemas are those of the types.

use std::path::Path;

use alpha_bench::{BenchReport, Scenario};
use schemars::Schema;

fn verify(name: &str, schema: &Schema) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/reference")
        .join(name);
    let schema = serde_json::to_string_pretty(schema).unwrap() + "\n";
    let published = std::fs::read_to_string(&file).unwrap_or_default();
    if published != schema && std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&file, &schema).unwrap();
        return;
    }
    assert!(
        published == schema,
        "run the tests with UPDATE_REFERENCE=1 to write docs/reference/{name}"
    );
}

#[test]
fn the_published_schema_is_that_of_the_report() {
    verify("bench-report.schema.json", &schemars::schema_for!(BenchReport));
}

#[test]
fn the_published_schema_is_that_of_the_scenario() {
    verify("bench-scenario.schema.json", &schemars::schema_for!(Scenario));
}
