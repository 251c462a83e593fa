//! The engines on scripted probes and a paused clock.

mod suite {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;

    use alpha_probes::memory::ScriptedProbe;
    use alpha_probes::suite::{Limits, Suite};
    use alpha_probes::{Check, Error, ErrorKind, Observation, Status, text};
    use tokio::time::Instant;

    fn check(id: &str, probe: ScriptedProbe) -> Check {
        Check::new(id, probe)
            .expect("a name")
            .with_timeout(Duration::from_secs(5))
    }

    fn well(target: &str) -> ScriptedProbe {
        ScriptedProbe::new(target).then(Observation::new())
    }

    fn down(target: &str) -> ScriptedProbe {
        ScriptedProbe::new(target).then(Observation::failed(text!("connection refused")))
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_one_probe_does_the_others_are_judged() {
        let denied = Error::new(ErrorKind::Denied, text!("the password is wrong"));
        let suite = Suite::new(vec![
            check("hangs", ScriptedProbe::new("a").then_hang()),
            check("panics", ScriptedProbe::new("b").then_panic()),
            check("denied", ScriptedProbe::new("c").then_error(denied)),
            check("down", down("d")),
            check("well", well("e")),
        ])
        .unwrap();
        let report = suite.run().await;
        let lines: Vec<_> = report
            .checks
            .iter()
            .map(|check| format!("{} {}: {}", check.name, check.status, check.reason))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        hangs critical: no answer within 5s
        panics unknown: internal error: the probe panicked: the script says so
        denied unknown: not permitted: the password is wrong
        down critical: connection refused
        well ok: it answered
        ");
        assert_eq!(report.verdict, Status::Critical);
        assert_eq!(report.elapsed, Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_hangs_costs_only_itself() {
        let hanging = (0..40).map(|n| check(&format!("hangs-{n}"), ScriptedProbe::new("slow").then_hang()));
        let others = (0..40).map(|n| check(&format!("well-{n}"), well(&format!("target-{n}"))));
        let limits = Limits::default().with_total(10).with_per_target(8);
        let suite = Suite::new(hanging.chain(others).collect())
            .unwrap()
            .with_limits(limits);
        let started = Instant::now();
        let mut others_done_after = None;
        let mut others = 0;
        let report = suite
            .run_with(|report| {
                others += usize::from(report.status == Status::Ok);
                if others == 40 {
                    others_done_after.get_or_insert(started.elapsed());
                }
            })
            .await;
        assert_eq!(others_done_after, Some(Duration::ZERO));
        assert_eq!(
            report.elapsed,
            Duration::from_secs(25),
            "40 checks, 8 at a time, 5 s each"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_topmost_failure_is_named_and_changes_no_status() {
        let parent = |id: &str| vec![id.parse().unwrap()];
        let suite = Suite::new(vec![
            check("web", down("w")).with_parents(parent("docker")),
            check("docker", down("d")).with_parents(parent("host")),
            check("host", down("h")),
            check("disk", down("f")),
        ])
        .unwrap();
        let report = suite.run().await;
        let causes: Vec<_> = report
            .checks
            .iter()
            .map(|check| check.suppressed_by.as_ref().map(ToString::to_string))
            .collect();
        assert_eq!(causes, [Some("host".into()), Some("host".into()), None, None]);
        assert!(report.checks.iter().all(|check| check.status == Status::Critical));
        let worst: Vec<_> = report
            .worst_first()
            .iter()
            .map(|check| check.name.to_string())
            .collect();
        assert_eq!(worst, ["disk", "host", "docker", "web"]);
    }

    #[tokio::test(start_paused = true)]
    async fn states_that_are_handed_on_tell_since_when() {
        let clock = || {
            let start = Instant::now();
            Arc::new(move || {
                jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(start.elapsed()).unwrap()
            })
        };
        let clock = clock();
        let first = Suite::new(vec![check("web", down("w"))])
            .unwrap()
            .with_clock(clock.clone());
        assert_eq!(first.run().await.checks[0].since, None);
        let written = serde_json::to_string(&first.states().into_iter().collect::<Vec<_>>()).unwrap();

        tokio::time::advance(Duration::from_secs(3600)).await;
        let read: Vec<(alpha_probes::CheckId, alpha_probes::judge::CheckState)> =
            serde_json::from_str(&written).unwrap();
        let states: HashMap<_, _> = read.into_iter().collect();
        let second = Suite::new(vec![check("web", down("w")), check("new", well("n"))])
            .unwrap()
            .with_clock(clock)
            .with_states(states);
        let report = second.run().await;
        assert_eq!(report.checks[0].since, Some(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(report.checks[1].since, None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_checks_are_not_well() {
        assert_eq!(
            Suite::new(Vec::new()).unwrap().run().await.verdict,
            Status::Unknown
        );
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_a_run_keeps_what_was_judged() {
        let suite = Suite::new(vec![
            check("well", well("a")),
            check("hangs", ScriptedProbe::new("b").then_hang()),
        ])
        .unwrap();
        let run = tokio::time::timeout(Duration::from_secs(1), suite.run()).await;
        assert!(run.is_err());
        let states = suite.states();
        assert_eq!(states[&"well".parse().unwrap()].status(), Some(Status::Ok));
        assert_eq!(states[&"hangs".parse().unwrap()].status(), None);
        assert_eq!(suite.run().await.checks.len(), 2, "it can be run again");
    }

    #[tokio::test(start_paused = true)]
    async fn the_report_is_what_its_schema_says() {
        let observation = Observation::new()
            .with_seconds("response_time", Duration::from_millis(230))
            .with_fact("version", "1.2");
        let probe = ScriptedProbe::new("a").then(observation);
        let suite = Suite::new(vec![check("web", probe)]).unwrap();
        let mut report = serde_json::to_value(suite.run().await).unwrap();
        report["started_at"] = "…".into();
        report["checks"][0]["observed_at"] = "…".into();
        insta::assert_json_snapshot!(report, @r#"
        {
          "checks": [
            {
              "elapsed_seconds": 0.0,
              "facts": {
                "version": "1.2"
              },
              "flapping": false,
              "kind": "scripted",
              "measurements": [
                {
                  "name": "response_time",
                  "unit": "seconds",
                  "value": 0.23
                }
              ],
              "name": "web",
              "observed_at": "…",
              "reason": "it answered",
              "runbook": "docs/runbooks/scripted.md",
              "since": null,
              "status": "ok",
              "suppressed_by": null
            }
          ],
          "elapsed_seconds": 0.0,
          "started_at": "…",
          "verdict": "ok"
        }
        "#);
        let schema = serde_json::to_value(alpha_probes::SuiteReport::schema()).unwrap();
        let keys = |schema: &serde_json::Value| -> Vec<String> {
            schema["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect()
        };
        for key in report.as_object().unwrap().keys() {
            assert!(keys(&schema).contains(key), "the schema lacks {key}");
        }
        for key in report["checks"][0].as_object().unwrap().keys() {
            assert!(
                keys(&schema["$defs"]["CheckReport"]).contains(key),
                "the schema lacks {key}"
            );
        }
    }
}

mod monitor {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::Duration;

    use alpha_probes::memory::{SCRIPTED, ScriptedProbe};
    use alpha_probes::monitor::{Monitor, Update};
    use alpha_probes::suite::Limits;
    use alpha_probes::{Check, CheckReport, Context, Observation, Probe, ProbeKind, Result, Status, text};
    use async_trait::async_trait;
    use jiff::{SignedDuration, Timestamp};
    use tokio::sync::broadcast::Receiver;
    use tokio::time::{Instant, sleep};
    use tokio_util::sync::CancellationToken;

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes as long as it is told to, and counts how often and how many at a time it was asked.
    #[derive(Debug, Default)]
    struct Counting {
        target: String,
        takes: Duration,
        asked: AtomicU64,
        running: AtomicUsize,
        most_running: AtomicUsize,
    }

    impl Counting {
        fn new(target: impl Into<String>, takes: Duration) -> Arc<Self> {
            Arc::new(Self {
                target: target.into(),
                takes,
                ..Self::default()
            })
        }

        fn asked(&self) -> u64 {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[async_trait]
    impl Probe for Counting {
        fn kind(&self) -> &'static ProbeKind {
            &SCRIPTED
        }

        fn target(&self) -> &str {
            &self.target
        }

        async fn observe(&self, _: &Context<'_>) -> Result<Observation> {
            struct Leave<'a>(&'a AtomicUsize);
            impl Drop for Leave<'_> {
                fn drop(&mut self) {
                    self.0.fetch_sub(1, Ordering::Relaxed);
                }
            }
            self.asked.fetch_add(1, Ordering::Relaxed);
            let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
            let _leave = Leave(&self.running);
            self.most_running.fetch_max(running, Ordering::Relaxed);
            sleep(self.takes).await;
            Ok(Observation::new())
        }
    }

    /// A wall clock that goes along with tokio's.
    fn clock() -> Arc<dyn alpha_probes::Clock> {
        let start = Instant::now();
        Arc::new(move || Timestamp::UNIX_EPOCH + SignedDuration::try_from(start.elapsed()).expect("short"))
    }

    fn check(id: &str, probe: impl Probe + 'static, every: Duration) -> Check {
        let check = Check::new(id, probe).expect("a name");
        check.with_interval(every).with_timeout(5 * SECOND)
    }

    fn monitor(checks: Vec<Check>) -> Monitor {
        Monitor::builder(checks)
            .with_clock(clock())
            .build()
            .expect("a sound set")
    }

    /// Runs until the test ends.
    struct Run(CancellationToken);

    impl Drop for Run {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }

    fn start(monitor: &Monitor) -> Run {
        let cancel = CancellationToken::new();
        let (monitor, token) = (monitor.clone(), cancel.clone());
        tokio::spawn(async move { monitor.run(token).await });
        Run(cancel)
    }

    fn report(monitor: &Monitor, id: &str) -> CheckReport {
        let reports = monitor.snapshot().checks;
        let found = reports.into_iter().find(|report| report.name.as_str() == id);
        found.expect("the check is in the set")
    }

    async fn next_of(updates: &mut Receiver<Update>, id: &str) -> Arc<CheckReport> {
        loop {
            let update = updates.recv().await.expect("the monitor runs");
            if update.report.name.as_str() == id {
                return update.report;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_schedule_does_not_drift_however_long_a_probe_takes() {
        let probe = Counting::new("a", 3 * SECOND);
        let monitor = monitor(vec![check("slow", Arc::clone(&probe), 10 * SECOND)]);
        let _run = start(&monitor);
        let mut updates = monitor.subscribe();
        let _first = next_of(&mut updates, "slow").await;
        let second = next_of(&mut updates, "slow").await.observed_at;
        for run in 1..1000 {
            let report = next_of(&mut updates, "slow").await;
            assert_eq!(report.observed_at, second + SignedDuration::from_secs(10 * run));
        }
        assert_eq!(monitor.stats().missed, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_starts_sees_everything_within_three_seconds() {
        let checks = (0..1000).map(|n| {
            let probe = Counting::new(format!("target-{n}"), Duration::from_millis(20));
            check(&format!("check-{n}"), probe, 3600 * SECOND)
        });
        let monitor = monitor(checks.collect());
        assert_eq!(
            monitor.snapshot().verdict,
            Status::Unknown,
            "nothing is well before it was asked"
        );
        let _run = start(&monitor);
        sleep(3 * SECOND).await;
        assert_eq!(monitor.snapshot().verdict, Status::Ok);
        assert_eq!(monitor.stats().runs, 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn targets_that_hang_delay_nobody_else() {
        let checks = (0..2000).map(|n| {
            let takes = if n % 20 == 0 {
                3600 * SECOND
            } else {
                Duration::from_millis(5)
            };
            check(
                &format!("check-{n}"),
                Counting::new(format!("target-{n}"), takes),
                10 * SECOND,
            )
        });
        let limits = Limits::default().with_total(64);
        let monitor = Monitor::builder(checks.collect())
            .with_clock(clock())
            .with_limits(limits)
            .build()
            .expect("a sound set");
        let _run = start(&monitor);
        sleep(60 * SECOND).await;
        let stats = monitor.stats();
        assert!(stats.lateness_p99 <= Duration::from_millis(250), "{stats:?}");
        assert_eq!(stats.missed, 0, "{stats:?}");
        let reports = monitor.snapshot().checks;
        let hanging = reports.iter().filter(|report| report.status == Status::Critical);
        assert_eq!(hanging.count(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_longer_than_its_interval_is_never_asked_twice_at_a_time() {
        let probe = Counting::new("a", 35 * SECOND);
        let check = check("slow", Arc::clone(&probe), 10 * SECOND).with_timeout(60 * SECOND);
        let monitor = monitor(vec![check]);
        let _run = start(&monitor);
        sleep(400 * SECOND).await;
        assert_eq!(probe.most_running.load(Ordering::Relaxed), 1);
        assert!((9..=11).contains(&probe.asked()), "{}", probe.asked());
        assert!(monitor.stats().overrun >= 27, "{:?}", monitor.stats());
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_whose_turn_does_not_come_is_unknown_and_says_why() {
        let hangs = (0..30).map(|n| {
            check(
                &format!("hangs-{n}"),
                ScriptedProbe::new("slow").then_hang(),
                5 * SECOND,
            )
        });
        let well = check("well", Counting::new("fast", Duration::ZERO), 5 * SECOND);
        let monitor = monitor(hangs.chain([well]).collect());
        let _run = start(&monitor);
        sleep(14 * SECOND).await;
        let reports = monitor.snapshot().checks;
        let waiting = reports
            .iter()
            .find(|report| report.status == Status::Unknown)
            .expect("one of them waits");
        let reason = waiting.reason.to_string();
        assert!(
            reason.starts_with("no answer in time: this check has waited"),
            "{reason}"
        );
        assert!(reason.ends_with("for others of slow, which hang"), "{reason}");
        assert_eq!(report(&monitor, "well").status, Status::Ok);
    }

    #[tokio::test(start_paused = true)]
    async fn own_lateness_makes_a_timeout_unknown_and_raises_no_alarm() {
        let dies = ScriptedProbe::new("a")
            .then(Observation::new())
            .then_hang()
            .then_hang();
        let monitor = monitor(vec![check("dies", dies, 10 * SECOND)]);
        let _run = start(&monitor);
        let mut updates = monitor.subscribe();
        assert_eq!(next_of(&mut updates, "dies").await.status, Status::Ok);
        while monitor.stats().runs < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        // The process gets no CPU time while the second run waits for its answer.
        tokio::time::advance(8 * SECOND).await;
        let late = next_of(&mut updates, "dies").await;
        assert_eq!(late.status, Status::Unknown);
        let reason = late.reason.to_string();
        assert!(
            reason.starts_with("Alpha itself is overloaded: it was 7."),
            "{reason}"
        );
        assert!(monitor.stats().overloaded);
        let next = next_of(&mut updates, "dies").await;
        assert_eq!(
            next.status,
            Status::Critical,
            "once it is run in time again, it is believed: {}",
            next.reason
        );
        sleep(120 * SECOND).await;
        assert!(!monitor.stats().overloaded);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replaced_set_keeps_what_is_known_of_unchanged_checks() {
        let down = || ScriptedProbe::new("db").then(Observation::failed(text!("connection refused")));
        let kept = Counting::new("web", Duration::ZERO);
        let monitor = monitor(vec![
            check("db", down(), 10 * SECOND),
            check("web", Arc::clone(&kept), 10 * SECOND),
            check("gone", Counting::new("gone", Duration::ZERO), 10 * SECOND),
        ]);
        let _run = start(&monitor);
        sleep(100 * SECOND).await;
        let since = report(&monitor, "db").since.expect("it has failed for long");
        let asked = kept.asked();

        let circle = check("a", down(), SECOND).with_parents(vec!["a".parse().expect("a name")]);
        assert!(monitor.replace(vec![circle]).is_err());
        assert_eq!(
            monitor.snapshot().checks.len(),
            3,
            "a broken set leaves the old one running"
        );

        let added = Counting::new("new", Duration::ZERO);
        let set = vec![
            check("new", Arc::clone(&added), 3600 * SECOND),
            check("web", Arc::clone(&kept), 10 * SECOND),
            check("db", down(), 10 * SECOND),
        ];
        monitor.replace(set).expect("a sound set");
        let db = report(&monitor, "db");
        assert_eq!((db.status, db.since), (Status::Critical, Some(since)));
        sleep(3 * SECOND).await;
        assert_eq!(added.asked(), 1);
        assert_eq!(report(&monitor, "new").status, Status::Ok);
        sleep(97 * SECOND).await;
        assert_eq!(report(&monitor, "db").since, Some(since));
        assert_eq!(kept.asked(), asked + 10, "the grid goes on");
        assert_eq!(monitor.snapshot().checks.len(), 3);

        let elsewhere = ScriptedProbe::new("other-db").then(Observation::new());
        monitor
            .replace(vec![check("db", elsewhere, 10 * SECOND)])
            .expect("a sound set");
        assert_eq!(
            report(&monitor, "db").status,
            Status::Unknown,
            "another target is another check"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_stays_suppressed_until_it_was_asked_after_its_parent_recovered() {
        let refused = || Observation::failed(text!("connection refused"));
        let host = ScriptedProbe::new("host")
            .then(refused())
            .then(Observation::new());
        let web = ScriptedProbe::new("web").then(refused()).then(Observation::new());
        let checks = vec![
            check("host", host, 30 * SECOND),
            check("web", web, 3600 * SECOND).with_parents(vec!["host".parse().expect("a name")]),
        ];
        let monitor = monitor(checks);
        let mut updates = monitor.subscribe();
        let _run = start(&monitor);
        sleep(3 * SECOND).await;
        let web = report(&monitor, "web");
        let cause = |report: &CheckReport| report.suppressed_by.as_ref().map(ToString::to_string);
        assert_eq!((web.status, cause(&web)), (Status::Critical, Some("host".into())));

        let recovered = loop {
            let update = updates.recv().await.expect("the monitor runs");
            if update.changed_from == Some(Status::Critical) {
                break update.report;
            }
        };
        assert_eq!(recovered.name.as_str(), "host");
        let web = report(&monitor, "web");
        assert_eq!((web.status, cause(&web)), (Status::Critical, Some("host".into())));
        let web = next_of(&mut updates, "web").await;
        assert_eq!((web.status, cause(&web)), (Status::Ok, None));
        let waited = web.observed_at.duration_since(recovered.observed_at);
        assert!(
            waited <= SignedDuration::from_millis(200),
            "asked again after {waited}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_costs_one_result() {
        let probe = ScriptedProbe::new("a").then_panic().then(Observation::new());
        let monitor = monitor(vec![check("panics", probe, 10 * SECOND)]);
        let _run = start(&monitor);
        let mut updates = monitor.subscribe();
        let first = next_of(&mut updates, "panics").await;
        insta::assert_snapshot!(first.reason, @"internal error: the probe panicked: the script says so");
        assert_eq!(next_of(&mut updates, "panics").await.status, Status::Ok);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_is_handed_to_the_next_process() {
        let down = || {
            vec![check(
                "db",
                ScriptedProbe::new("db").then(Observation::failed(text!("refused"))),
                SECOND,
            )]
        };
        let clock = clock();
        let first = Monitor::builder(down())
            .with_clock(Arc::clone(&clock))
            .build()
            .expect("a sound set");
        let run = start(&first);
        sleep(10 * SECOND).await;
        let since = report(&first, "db").since;
        assert!(since.is_some());
        drop(run);
        let states: HashMap<_, _> = first.states();
        sleep(60 * SECOND).await;
        assert_eq!(first.stats().running, 0);

        let second = Monitor::builder(down())
            .with_clock(clock)
            .with_states(states)
            .build()
            .expect("a sound set");
        let _run = start(&second);
        sleep(3 * SECOND).await;
        assert_eq!(report(&second, "db").since, since);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_process_catches_up_without_a_burst() {
        let checks = (0..600).map(|n| {
            let probe = Counting::new(format!("target-{n}"), Duration::from_millis(5));
            check(&format!("check-{n}"), probe, 60 * SECOND)
        });
        let monitor = monitor(checks.collect());
        let _run = start(&monitor);
        sleep(120 * SECOND).await;
        let before = monitor.stats().runs;
        tokio::time::advance(3600 * SECOND).await;
        sleep(SECOND).await;
        let burst = monitor.stats().runs - before;
        assert!(burst <= 120, "{burst} runs in the first second");
        sleep(60 * SECOND).await;
        assert_eq!(monitor.snapshot().verdict, Status::Ok);
        assert!(monitor.stats().missed >= 59 * 600, "{:?}", monitor.stats());
    }
}
