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
