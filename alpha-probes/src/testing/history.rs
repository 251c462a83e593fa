//! What every history has to pass.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::check::CheckId;
use crate::history::{History, MAX_SERIES, Point, Query, Resolution, Retention, Sample, Trace};
use crate::observation::{Labels, Measurement, Unit};

/// Runs everything that the contract of [`History`] asks for against one that is empty and has the default retention.
///
/// A history that keeps less than a thousand values, or less than 30 roll-ups of each resolution, fails it.
///
/// # Panics
/// Where the history breaks its contract.
pub async fn history(history: &dyn History) {
    assert!(!history.name().is_empty());
    empty(history).await;
    values_come_back(history).await;
    a_query_is_kept_to(history).await;
    repeating_counts_once(history).await;
    late_values_find_their_place(history).await;
    percentiles_are_those_of_the_values(history).await;
    what_cannot_be_kept_is_refused_alone(history).await;
    labels_without_end_are_refused(history).await;
    states_are_remembered(history).await;
    what_is_old_is_dropped(history).await;
}

/// 2026-06-01T12:00:00Z, the middle of a day and the start of an hour.
const NOW: i64 = 1_780_315_200;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a year this side of 9999")
}

fn sample(check: &CheckId, second: i64, value: f64) -> Sample {
    labelled(check, second, value, Labels::new())
}

fn labelled(check: &CheckId, second: i64, value: f64, labels: Labels) -> Sample {
    Sample {
        check: check.clone(),
        at: at(second),
        measurement: Measurement {
            name: "used".into(),
            value,
            unit: Unit::Bytes,
            labels,
        },
    }
}

fn mount(name: &str) -> Labels {
    vec![("mount".into(), name.to_owned())]
}

fn check(name: &str) -> CheckId {
    name.parse().expect("a name")
}

fn all(check: &CheckId, resolution: Resolution) -> Query {
    Query::new(
        check.clone(),
        at(NOW - 86_400 * 4000),
        at(NOW + 86_400),
        resolution,
    )
}

async fn read(history: &dyn History, query: &Query) -> Vec<Trace> {
    history.points(query).await.expect("a history can be read")
}

async fn points(history: &dyn History, check: &CheckId, resolution: Resolution) -> Vec<Point> {
    let traces = read(history, &all(check, resolution)).await;
    traces.into_iter().flat_map(|trace| trace.points).collect()
}

async fn values(history: &dyn History, check: &CheckId) -> Vec<f64> {
    let points = points(history, check, Resolution::Raw).await;
    points.iter().map(|point| point.last).collect()
}

/// Appends and expects all of it to be kept.
async fn append(history: &dyn History, batch: &[Sample]) {
    let appended = history.append(batch).await.expect("a history can be written");
    assert_eq!((appended.kept, appended.refused), (batch.len(), 0));
}

async fn compact(history: &dyn History) {
    history
        .compact(at(NOW))
        .await
        .expect("a history can be compacted");
}

async fn empty(history: &dyn History) {
    let check = check("never-seen");
    for resolution in [Resolution::Raw, Resolution::Minute, Resolution::Day] {
        assert!(points(history, &check, resolution).await.is_empty());
    }
    assert!(
        history
            .load_states()
            .await
            .expect("a history can be read")
            .is_empty()
    );
    append(history, &[]).await;
    let compaction = history
        .compact(at(NOW))
        .await
        .expect("nothing can be compacted too");
    assert_eq!((compaction.rolled_up, compaction.dropped), (0, 0));
}

async fn values_come_back(history: &dyn History) {
    let check = check("values");
    let awkward = "C:\\data \"quoted\" \u{0} 数据\n";
    let mut other = sample(&check, NOW, 0.1 + 0.2);
    other.measurement.name = "free".into();
    other.measurement.unit = Unit::Ratio;
    let batch = [
        labelled(&check, NOW - 1, f64::MAX, mount("/data")),
        labelled(&check, NOW - 2, -0.0, mount("/data")),
        labelled(&check, NOW - 1, 5e-324, mount(awkward)),
        sample(&check, NOW - 1, 1.0 / 3.0),
        other,
    ];
    append(history, &batch).await;
    let traces = read(history, &all(&check, Resolution::Raw)).await;
    let seen: Vec<_> = traces
        .iter()
        .map(|trace| (trace.name.as_str(), trace.labels.clone(), trace.unit))
        .collect();
    assert_eq!(seen[0], ("free", Labels::new(), Unit::Ratio));
    assert_eq!(seen.len(), 4);
    let of = |labels: &Labels| {
        let trace = traces
            .iter()
            .find(|trace| trace.name == "used" && trace.labels == *labels);
        trace.expect("every set of labels has a trace").values()
    };
    assert_eq!(traces[0].points[0].last, 0.1 + 0.2);
    assert_eq!(of(&Labels::new()), [(at(NOW - 1), 1.0 / 3.0)]);
    assert_eq!(
        of(&mount("/data")),
        [(at(NOW - 2), -0.0), (at(NOW - 1), f64::MAX)]
    );
    assert_eq!(of(&mount(awkward)), [(at(NOW - 1), 5e-324)]);
}

async fn a_query_is_kept_to(history: &dyn History) {
    let check = check("query");
    let batch: Vec<_> = (0..100)
        .flat_map(|step| {
            let second = NOW - 3600 + 30 * step;
            let mut other = labelled(&check, second, 2.0, mount("/"));
            other.measurement.name = "free".into();
            let pair = vec![("b".into(), "2".to_owned()), ("a".into(), "1".to_owned())];
            [
                other,
                labelled(&check, second, step as f64, mount("/")),
                labelled(&check, second, 1.0, pair),
            ]
        })
        .collect();
    append(history, &batch).await;
    for is_compacted in [false, true] {
        let query = Query::new(
            check.clone(),
            at(NOW - 3600),
            at(NOW - 3600 + 300),
            Resolution::Raw,
        );
        assert_eq!(read(history, &query).await.len(), 3);
        let used = query.clone().of("used").labelled(mount("/"));
        let traces = read(history, &used).await;
        let values: Vec<_> = traces[0].points.iter().map(|point| point.last).collect();
        assert_eq!(values, (0..10).map(f64::from).collect::<Vec<_>>());
        // Labels are compared in any order, and wholly.
        let pair = vec![("a".into(), "1".to_owned()), ("b".into(), "2".to_owned())];
        let traces = read(history, &query.clone().of("used").labelled(pair.clone())).await;
        assert_eq!((traces.len(), &traces[0].labels), (1, &pair));
        let one = query.clone().of("used").labelled(pair[..1].to_vec());
        assert!(read(history, &one).await.is_empty());
        assert!(read(history, &query.clone().of("other")).await.is_empty());
        // The newest are kept, and come oldest first.
        let mut few = used.clone();
        few.limit = 3;
        let traces = read(history, &few).await;
        let values: Vec<_> = traces[0].points.iter().map(|point| point.last).collect();
        assert_eq!(values, [7.0, 8.0, 9.0]);
        // A step counts when it begins in the range.
        let mut minutes = used.clone();
        minutes.resolution = Resolution::Minute;
        minutes.from = at(NOW - 3600 + 1);
        minutes.limit = 2;
        let traces = read(history, &minutes).await;
        let starts: Vec<_> = traces[0].points.iter().map(|point| point.at).collect();
        assert_eq!(starts, [at(NOW - 3600 + 180), at(NOW - 3600 + 240)]);
        if !is_compacted {
            compact(history).await;
        }
    }
}

async fn repeating_counts_once(history: &dyn History) {
    let check = check("repeated");
    let batch = [sample(&check, NOW - 50, 1.0), sample(&check, NOW - 40, 2.0)];
    append(history, &batch).await;
    append(history, &batch).await;
    compact(history).await;
    append(history, &batch).await;
    compact(history).await;
    assert_eq!(values(history, &check).await, [1.0, 2.0]);
    let points = points(history, &check, Resolution::Day).await;
    assert_eq!((points.len(), points[0].count), (1, 2));
}

async fn late_values_find_their_place(history: &dyn History) {
    let check = check("late");
    append(
        history,
        &[sample(&check, NOW - 10, 3.0), sample(&check, NOW - 50, 1.0)],
    )
    .await;
    compact(history).await;
    append(history, &[sample(&check, NOW - 30, 2.0)]).await;
    for is_compacted in [false, true] {
        assert_eq!(values(history, &check).await, [1.0, 2.0, 3.0]);
        for resolution in Resolution::ROLLED {
            let points = points(history, &check, resolution).await;
            assert_eq!(points.len(), 1, "{resolution:?}");
            let point = points[0];
            assert_eq!(
                (point.count, point.min, point.max, point.mean),
                (3, 1.0, 3.0, 2.0)
            );
            assert_eq!((point.last, point.last_at), (3.0, at(NOW - 10)));
        }
        if !is_compacted {
            compact(history).await;
        }
    }
}

async fn percentiles_are_those_of_the_values(history: &dyn History) {
    let check = check("percentiles");
    // A thousand values, slow and few first: no average of averages comes near their percentiles.
    let batch: Vec<_> = (0..1000_i64)
        .map(|step| sample(&check, NOW - 10_000 + 10 * step, 1000.0 / (1.0 + step as f64)))
        .collect();
    let mut exact: Vec<f64> = batch.iter().map(|sample| sample.measurement.value).collect();
    exact.sort_by(f64::total_cmp);
    for (index, chunk) in batch.chunks(137).enumerate() {
        append(history, chunk).await;
        if index % 2 == 0 {
            compact(history).await;
        }
    }
    let before = points(history, &check, Resolution::Day).await;
    compact(history).await;
    let day = points(history, &check, Resolution::Day).await;
    assert_eq!(day.len(), 1);
    assert_eq!(
        (before[0].p50, before[0].p95, before[0].p99),
        (day[0].p50, day[0].p95, day[0].p99)
    );
    for (found, rank) in [(day[0].p50, 499), (day[0].p95, 949), (day[0].p99, 989)] {
        let exact: f64 = exact[rank];
        assert!(
            (found - exact).abs() <= 0.010_001 * exact,
            "{found} instead of {exact}"
        );
    }
    let hours = points(history, &check, Resolution::Hour).await;
    assert_eq!(hours.iter().map(|point| point.count).sum::<u64>(), 1000);
    assert!(hours.is_sorted_by_key(|point| point.at));
    let mean = exact.iter().sum::<f64>() / 1000.0;
    assert!((day[0].mean - mean).abs() < 1e-9 * mean);
}

async fn what_cannot_be_kept_is_refused_alone(history: &dyn History) {
    let check = check("refused");
    let mut nameless = sample(&check, NOW - 5, 1.0);
    nameless.measurement.name = "n".repeat(500).into();
    let batch = [
        sample(&check, NOW - 5, f64::NAN),
        sample(&check, NOW - 4, f64::NEG_INFINITY),
        labelled(&check, NOW - 3, 1.0, mount(&"/deep".repeat(1000))),
        nameless,
        sample(&check, NOW - 2, 7.0),
    ];
    let appended = history.append(&batch).await.expect("the rest is kept");
    assert_eq!((appended.kept, appended.refused), (1, 4));
    assert_eq!(values(history, &check).await, [7.0]);
}

async fn labels_without_end_are_refused(history: &dyn History) {
    let check = check("endless");
    let batch: Vec<_> = (0..MAX_SERIES + 5)
        .map(|index| labelled(&check, NOW - 5, 1.0, mount(&index.to_string())))
        .collect();
    let appended = history.append(&batch).await.expect("the rest is kept");
    assert_eq!((appended.kept, appended.refused), (MAX_SERIES, 5));
    // Those that are known go on.
    let next: Vec<_> = batch
        .iter()
        .map(|sample| Sample {
            at: at(NOW - 4),
            ..sample.clone()
        })
        .collect();
    let appended = history.append(&next).await.expect("the rest is kept");
    assert_eq!((appended.kept, appended.refused), (MAX_SERIES, 5));
}

async fn states_are_remembered(history: &dyn History) {
    let (one, two) = (check("state/one"), check("state/two"));
    let store = async |states: &[(CheckId, serde_json::Value)], second| {
        let stored = history.store_states(states, at(second)).await;
        stored.expect("a history can be written");
    };
    let first = json!({"since": "2026-05-01T00:00:00Z", "runs": [true, false], "why": "数据 \u{0}"});
    store(
        &[
            (two.clone(), json!(null)),
            (two.clone(), json!(1)),
            (one.clone(), first.clone()),
        ],
        NOW - 100 * 86_400,
    )
    .await;
    let read = async || history.load_states().await.expect("a history can be read");
    assert_eq!(read().await, [(one.clone(), first), (two.clone(), json!(1))]);
    store(&[(two.clone(), json!({"pending": {}}))], NOW).await;
    assert_eq!(read().await[1].1, json!({"pending": {}}));
    compact(history).await;
    assert_eq!(read().await, [(two, json!({"pending": {}}))]);
}

async fn what_is_old_is_dropped(history: &dyn History) {
    let check = check("old");
    let retention = Retention::default();
    let kept = [
        retention.raw.0,
        retention.minute.0,
        retention.hour.0,
        retention.day.0,
    ];
    let at = |age: std::time::Duration, extra: i64| {
        let age = SignedDuration::try_from(age).expect("a retention of years");
        NOW - age.as_secs() - extra
    };
    let day = 86_400;
    let mut batch: Vec<_> = kept
        .iter()
        .map(|age| sample(&check, at(*age, day), 1.0))
        .collect();
    batch.push(sample(&check, NOW - 1, 1.0));
    append(history, &batch).await;
    // Before it is compacted nothing is lost.
    assert_eq!(points(history, &check, Resolution::Minute).await.len(), 5);
    compact(history).await;
    let mut counts = Vec::new();
    for resolution in [
        Resolution::Raw,
        Resolution::Minute,
        Resolution::Hour,
        Resolution::Day,
    ] {
        counts.push(points(history, &check, resolution).await.len());
    }
    assert_eq!(counts, [1, 2, 3, 4]);
    // A series that is gone is made anew.
    let gone = self::check("gone");
    append(history, &[sample(&gone, at(kept[3], day), 1.0)]).await;
    compact(history).await;
    assert!(points(history, &gone, Resolution::Day).await.is_empty());
    append(history, &[sample(&gone, NOW - 1, 2.0)]).await;
    assert_eq!(values(history, &gone).await, [2.0]);
}
