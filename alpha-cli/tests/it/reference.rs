//! `docs/reference` is made from the types; these tests fail where it is stale.
//!
//! `UPDATE_REFERENCE=1 cargo test -p alpha-cli reference` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use alpha_probes::SuiteReport;
use alpha_probes::probe::{Level, ProbeKind, Shape, kinds};
use serde_json::{Map, Value};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("docs")
}

fn verify(file: &str, expected: &str) {
    let path = docs().join("reference").join(file);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == expected,
        "docs/reference/{file} is stale: UPDATE_REFERENCE=1 cargo test -p alpha-cli reference"
    );
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

#[test]
fn the_schema_of_the_configuration_is_published() {
    verify("alpha.schema.json", &pretty(&alpha_cli::config::schema()));
}

#[test]
fn the_schema_of_the_report_is_published() {
    verify(
        "check-report.schema.json",
        &pretty(&SuiteReport::schema().to_value()),
    );
}

#[test]
fn exit_codes_are_documented() {
    let mut out = "# Exit codes\n\n| command | code | meaning |\n|---|---|---|\n".to_owned();
    for row in alpha_cli::exit_code::TABLE {
        writeln!(out, "| {} | {} | {} |", row.commands, row.exit, row.meaning).unwrap();
    }
    verify("exit-codes.md", &out);
}

#[test]
fn the_severities_are_documented() {
    let mut out = "# Severities\n\nWhat each kind of check counts as in `alpha serve` (M5), and the component it is about, which says whose it \
                   is (M25). `paging.rules` and the `labels` of a check outrank it, such as `labels.severity = \"P0\"` for the main \
                   service.\n\n| kind | critical | warning | unknown | component |\n|---|---|---|---|---|\n"
        .to_owned();
    for row in alpha_cli::adapt::ready_made::TABLE {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            row.kind, row.critical, row.warning, row.unknown, row.component
        )
        .unwrap();
    }
    verify("severities.md", &out);
}

#[test]
fn every_key_is_documented() {
    let schema = alpha_cli::config::schema();
    let mut out = "# Configuration keys\n\nOne typed schema for TOML and YAML, by the file's extension; unknown keys are \
                   refused. Editors read [alpha.schema.json](alpha.schema.json).\n\n## The file\n\n"
        .to_owned();
    keys(&schema, &mut out);
    let definitions = schema["$defs"].as_object().cloned().unwrap_or_default();
    for (name, definition) in &definitions {
        writeln!(out, "\n## {name}\n").unwrap();
        describe(definition, &mut out);
    }
    verify("configuration.md", &out);
}

fn describe(definition: &Value, out: &mut String) {
    if let Some(description) = definition["description"].as_str() {
        writeln!(out, "{}\n", description.replace("\n\n", "\n").replace('\n', " ")).unwrap();
    }
    if definition["properties"].is_object() {
        keys(definition, out);
        return;
    }
    let Some(choices) = definition["oneOf"].as_array() else {
        return;
    };
    writeln!(out, "| value | meaning |\n|---|---|").unwrap();
    for choice in choices {
        let meaning = line(&choice["description"]);
        if let Some(properties) = choice["properties"].as_object() {
            for (key, value) in properties {
                writeln!(out, "| `{key}` = {} | {meaning} |", kind(value)).unwrap();
            }
        } else if let Some(value) = choice["const"].as_str() {
            writeln!(out, "| `{value}` | {meaning} |").unwrap();
        }
    }
}

fn keys(definition: &Value, out: &mut String) {
    writeln!(out, "| key | value | meaning |\n|---|---|---|").unwrap();
    for (key, value) in definition["properties"].as_object().unwrap_or(&Map::new()) {
        writeln!(
            out,
            "| `{key}` | {} | {} |",
            kind(value),
            line(&value["description"])
        )
        .unwrap();
    }
}

fn line(description: &Value) -> String {
    description
        .as_str()
        .unwrap_or_default()
        .replace('\n', " ")
        .replace('|', "\\|")
}

fn kind(value: &Value) -> String {
    if let Some(reference) = value["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(choices) = value["anyOf"].as_array() {
        let kinds: Vec<_> = choices
            .iter()
            .filter(|choice| choice["type"] != "null")
            .map(kind)
            .collect();
        return kinds.join(" or ");
    }
    let name = match &value["type"] {
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null")
            .unwrap_or_default(),
        other => other.as_str().unwrap_or("anything"),
    };
    match name {
        "array" => format!("list of {}", kind(&value["items"])),
        "object" => "table".to_owned(),
        other => other.to_owned(),
    }
}

#[test]
fn every_kind_of_probe_is_documented() {
    let mut out = "# Probes\n\nWhat each kind of probe measures, and how it is judged when a check says nothing else.\n".to_owned();
    for kind in kinds() {
        probe(kind, &mut out);
    }
    verify("probes.md", &out);
}

fn probe(kind: &ProbeKind, out: &mut String) {
    writeln!(
        out,
        "\n## {}\n\n{}. Runbook: [{}](../runbooks/{}.md).\n",
        kind.name, kind.summary, kind.name, kind.name
    )
    .unwrap();
    writeln!(out, "| measurement | unit | shape | meaning |\n|---|---|---|---|").unwrap();
    for metric in kind.metrics {
        let shape = if metric.shape == Shape::Counter {
            "counter"
        } else {
            "gauge"
        };
        writeln!(
            out,
            "| `{}` | {} | {shape} | {} |",
            metric.name, metric.unit, metric.help
        )
        .unwrap();
    }
    if kind.is_open {
        writeln!(
            out,
            "\nFurther measurements are named by the check or by the target."
        )
        .unwrap();
    }
    if !kind.rules.is_empty() {
        writeln!(out, "\n| level | when | for | what to do |\n|---|---|---|---|").unwrap();
        for rule in kind.rules {
            let level = if rule.level == Level::Critical {
                "critical"
            } else {
                "warning"
            };
            let when = rule.when.replace('|', "\\|");
            writeln!(
                out,
                "| {level} | `{when}` | {} | {} |",
                rule.sustained, rule.remedy
            )
            .unwrap();
        }
    }
}

#[test]
fn every_kind_of_probe_has_a_runbook_that_names_its_rules() {
    let mut missing = Vec::new();
    for kind in kinds() {
        let path = docs().join("runbooks").join(format!("{}.md", kind.name));
        let runbook = fs::read_to_string(&path).unwrap_or_default();
        if runbook.is_empty() {
            missing.push(format!("docs/runbooks/{}.md", kind.name));
        }
        for rule in kind
            .rules
            .iter()
            .filter(|rule| !runbook.is_empty() && !runbook.contains(rule.when))
        {
            missing.push(format!(
                "docs/runbooks/{}.md: what to do when {}",
                kind.name, rule.when
            ));
        }
    }
    assert!(
        missing.is_empty(),
        "{} runbooks are not written:\n{}",
        missing.len(),
        missing.join("\n")
    );
}
