//! Any text is read as a configuration of Alertmanager or refused without a panic; one that is read can be used.

#![no_main]

use std::path::Path;

use alpha_alerts::{Inhibitor, Labels, RouteTree, TimeIntervals, alertmanager};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let Ok(imported) = alertmanager::read(source, Path::new("fuzz.yml")) else {
        return;
    };
    let config = imported.config;
    let tree = RouteTree::new(&config.route).expect("what was read is a tree");
    let labels = Labels::new([("alertname", "X"), ("severity", "P0")]);
    assert!(!tree.matching(&labels).is_empty());
    assert_eq!(
        tree.explain(&labels).receivers().len(),
        tree.matching(&labels).len()
    );
    Inhibitor::new(&config.inhibit_rules).expect("what was read are rules");
    let intervals = TimeIntervals::new(&config.time_intervals).expect("what was read are intervals");
    for interval in &config.time_intervals {
        intervals.contains(&interval.name, Timestamp::constant(1_800_000_000, 0));
    }
});
