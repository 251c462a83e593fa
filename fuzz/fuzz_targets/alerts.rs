//! Whatever is posted as alerts: no panic, what is taken is a valid alert, and what is not has an answer.
#![no_main]

use std::time::Duration;

use alpha_alerts::inbound::read_alerts;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let now = Timestamp::UNIX_EPOCH;
    let posted = read_alerts(body, now, Duration::from_secs(300));
    assert!(posted.refused == 0 || posted.refusal.is_some());
    for alert in &posted.alerts {
        assert!(!alert.labels.is_empty());
        assert!(alert.labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
        assert!(alert.starts_at <= alert.ends_at);
    }
    if let Some(refusal) = &posted.refusal {
        assert!(matches!(refusal.status(), 400 | 422));
        assert!(serde_json::from_str::<serde_json::Value>(&refusal.body()).is_ok());
    }
});
