//! The published JSON schema is that of the types.

use std::path::Path;

use alpha_bench::BenchReport;

#[test]
fn the_published_schema_is_that_of_the_report() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/bench-report.schema.json");
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(BenchReport)).unwrap() + "\n";
    let published = std::fs::read_to_string(&file).unwrap_or_default();
    if published != schema && std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&file, &schema).unwrap();
        return;
    }
    assert!(
        published == schema,
        "run the tests with UPDATE_REFERENCE=1 to write docs/reference/bench-report.schema.json"
    );
}
