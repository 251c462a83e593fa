//! What deciding about one alert costs: its route, its group, whether it is silenced or inhibited.

use std::hint::black_box;

use alpha_alerts::config::{InhibitRuleConfig, RouteConfig};
use alpha_alerts::matcher::parse_list;
use alpha_alerts::{Alert, Inhibitor, Labels, RouteTree, Silence, Silences};
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use uuid::Uuid;

const CHAINS: usize = 100;

fn now() -> Timestamp {
    Timestamp::constant(1_800_000_000, 0)
}

/// The labels that Prometheus sends of one node of a network.
fn labels(index: usize) -> Labels {
    let chain = format!("chain-{}", index % CHAINS);
    let instance = format!("node-{index}.eu-1.alpha-social.example:9615");
    let severity = ["P0", "P1", "P2", "P3"][index % 4];
    Labels::new([
        ("alertname", "FinalityStalled"),
        ("chain", chain.as_str()),
        ("cluster", "eu-1"),
        ("component", "consensus"),
        ("instance", instance.as_str()),
        ("job", "validator"),
        ("prometheus", "monitoring/main"),
        ("region", "eu-central-1"),
        ("severity", severity),
        ("team", "blockchain"),
    ])
}

/// Twenty routes below the root in three levels, with equal values, alternatives and expressions, one of them `continue`.
fn tree() -> RouteTree {
    let team = |team: &str| {
        let below: Vec<_> = ["P0|P1", "P2", "P3"]
            .map(|severity| json!({ "receiver": format!("{team}-{severity}"), "matchers": [format!("severity=~\"{severity}\"")] }))
            .into();
        json!({ "receiver": team, "matchers": [format!("team=\"{team}\"")], "group_by": ["alertname", "chain"], "routes": below })
    };
    let mut routes = vec![json!({
        "receiver": "archive", "matchers": ["job=~\"validator|collator|.*-exporter\"", "region!=\"\""], "continue": true,
    })];
    routes.extend(["frontend", "backend", "devops", "blockchain"].map(team));
    routes.extend(
        ["a", "b", "c"]
            .map(|zone| json!({ "receiver": zone, "matchers": [format!("zone=~\"{zone}-[0-9]+\"")] })),
    );
    let config: RouteConfig =
        serde_json::from_value(json!({ "receiver": "ops", "routes": routes })).expect("a configuration");
    let tree = RouteTree::new(&config).expect("a tree");
    assert_eq!(tree.routes().len(), 21);
    tree
}

/// Active silences of single instances, as a big maintenance leaves them.
fn silences(count: usize) -> Silences {
    let mut silences = Silences::default();
    for index in 0..count {
        let matchers = format!(
            "severity=~\"P1|P2\",instance=\"node-{}.eu-2:9615\",job=\"validator\"",
            index
        );
        silences.put(Silence {
            id: Uuid::from_u128(index as u128),
            matchers: parse_list(&matchers).expect("matchers"),
            starts_at: now() - 1.hour(),
            ends_at: now() + 1.hour(),
            updated_at: now(),
            created_by: String::new(),
            comment: String::new(),
            annotations: Labels::default(),
            recurrence: None,
        });
    }
    silences
}

/// Ten rules, and a source that fires on every chain.
fn inhibitor() -> Inhibitor {
    let mut rules: Vec<InhibitRuleConfig> = Vec::new();
    for index in 0..10 {
        let rule = json!({
            "source_matchers": [format!("alertname=\"Source{index}\"")],
            "target_matchers": ["severity=~\"P1|P2|P3\"", "job!=\"\""],
            "equal": ["chain", "cluster"],
        });
        rules.push(serde_json::from_value(rule).expect("a rule"));
    }
    let mut inhibitor = Inhibitor::new(&rules).expect("rules");
    for chain in 1..CHAINS {
        let chain = format!("chain-{chain}");
        let labels = Labels::new([
            ("alertname", "Source9"),
            ("chain", chain.as_str()),
            ("cluster", "eu-1"),
        ]);
        inhibitor.observe(&Alert::firing(labels, now() - 1.hour()));
    }
    inhibitor
}

fn routing(criterion: &mut Criterion) {
    let labels: Vec<Labels> = (0..1000).map(labels).collect();
    let (tree, silences, inhibitor) = (tree(), silences(1000), inhibitor());
    let mut next = labels.iter().cycle();
    let mut next = || next.next().expect("it goes round");
    let mut group = criterion.benchmark_group("alert");
    group.bench_function("fingerprint", |bencher| {
        bencher.iter(|| black_box(next()).fingerprint())
    });
    group.bench_function("route in a tree of 21", |bencher| {
        bencher.iter(|| black_box(tree.matching(black_box(next())).len()));
    });
    group.bench_function("find its groups", |bencher| {
        bencher.iter(|| {
            let labels = black_box(next());
            for route in tree.matching(labels) {
                black_box((route.index, route.group_fingerprint(labels)));
            }
        });
    });
    group.bench_function("make the key of its group", |bencher| {
        bencher.iter(|| {
            let labels = black_box(next());
            let route = tree.matching(labels)[0];
            black_box(route.group_key(&route.group_labels(labels)))
        });
    });
    group.bench_function("silenced by one of 1000", |bencher| {
        bencher.iter(|| black_box(silences.silencing(black_box(next()), now()).count()));
    });
    group.bench_function("inhibited by one of 99 under 10 rules", |bencher| {
        bencher.iter(|| {
            let labels = black_box(next());
            black_box(inhibitor.inhibiting(labels, labels.fingerprint(), now()))
        });
    });
    group.bench_function("all of it", |bencher| {
        bencher.iter(|| {
            let labels = black_box(next());
            let fingerprint = labels.fingerprint();
            for route in tree.matching(labels) {
                black_box(route.group_fingerprint(labels));
            }
            black_box(silences.silencing(labels, now()).next());
            black_box(inhibitor.inhibiting(labels, fingerprint, now()))
        });
    });
    group.finish();
}

criterion_group!(benches, routing);
criterion_main!(benches);
