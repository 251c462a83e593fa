//! Any text is read or refused without a panic; what was read, written and read again means the same; and evaluating
//! it never panics, whatever was observed.

#![no_main]

use alpha_probes::condition::{Condition, Evidence, Outcome, Quantifier, Series};
use alpha_probes::{Body, Labels, Observation, Unit};
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

#[derive(Debug)]
struct Past;

impl Series for Past {
    fn points(&self, _: &str, _: &Labels, since: Timestamp, out: &mut Vec<(Timestamp, f64)>) {
        let points = (0..30)
            .rev()
            .map(|age| (NOW - SignedDuration::from_mins(age), age as f64));
        out.extend(points.filter(|(at, _)| *at >= since));
    }
}

fn told(outcome: Outcome<'_>) -> String {
    match outcome {
        Outcome::Holds(finding) | Outcome::Fails(finding) => finding.text().to_string(),
        Outcome::Waiting(why) | Outcome::Unknown(why) => why.to_string(),
    }
}

fuzz_target!(|source: &str| {
    let condition = match Condition::parse(source) {
        Ok(condition) => condition,
        Err(error) => {
            let _ = error.pointing_at(source);
            return;
        }
    };
    let written = condition.to_string();
    // Quotes make it longer, so that what is written may be too long to be read.
    let Ok(again) = Condition::parse(&written) else {
        assert!(
            written.len() > alpha_probes::condition::MAX_LENGTH,
            "{source} became {written}"
        );
        return;
    };
    assert_eq!(again.to_string(), written);
    let mut observation = Observation::new()
        .with("a", 1.0, Unit::Count)
        .with("status", 200.0, Unit::Count)
        .with("response_time", 0.1, Unit::Seconds);
    for mount in ["/", "/data"] {
        observation.push("used", 0.5, Unit::Ratio, vec![("mount".into(), mount.to_owned())]);
    }
    observation.facts.insert("ip".into(), json!("127.0.0.1"));
    observation
        .headers
        .push(("content-type".to_owned(), "text/html".to_owned()));
    observation.body = Some(Body::Json(json!({ "a": [1, "x", null, { "b": true }] })));
    let evidence = Evidence {
        observation: &observation,
        series: &Past,
        now: NOW,
    };
    for quantifier in [Quantifier::Any, Quantifier::All] {
        let (first, second) = (
            condition.evaluate(&evidence, quantifier),
            again.evaluate(&evidence, quantifier),
        );
        assert_eq!(told(first), told(second), "{source} became {written}");
    }
});
