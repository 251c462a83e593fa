use std::io::Write as _;
use std::process::{Command, Stdio};

use alpha_probes::probe::kinds;
use alpha_probes::suite::Suite;
use alpha_probes::{Check, Context, Labels, Observation, Probe, ProbeKind, Result, Unit, exposition};
use async_trait::async_trait;

/// Yields everything that its kind declares, and what a target may call its own where the kind lets it.
#[derive(Debug)]
struct Everything(&'static ProbeKind);

#[async_trait]
impl Probe for Everything {
    fn kind(&self) -> &'static ProbeKind {
        self.0
    }

    fn target(&self) -> &str {
        "everything"
    }

    async fn observe(&self, _context: &Context<'_>) -> Result<Observation> {
        let mut observation = Observation::new();
        for metric in self.0.metrics {
            for device in ["sda", "C:\\ \"数据\"\n"] {
                let labels = vec![("device".into(), device.to_owned())];
                observation.push(metric.name, 1.5, metric.unit, labels);
            }
        }
        if self.0.is_open {
            for name in ["days_left", "count", "a:b_total", "numéro 5", "", "camelCase_ms"] {
                let labels: Labels = vec![
                    ("le".into(), "0.5".into()),
                    ("quantile".into(), "0.9".into()),
                    ("check".into(), "other".into()),
                ];
                observation.push(name, f64::NAN, Unit::Count, labels.clone());
                observation.push(name, f64::INFINITY, Unit::Seconds, labels);
            }
        }
        Ok(observation)
    }
}

#[tokio::test]
async fn promtool_finds_nothing_to_say() {
    let promtool = testbed::need!(testbed::program(&["promtool"], &[], "prometheus"));
    let checks = kinds()
        .into_iter()
        .map(|kind| Check::new(&format!("all/{}", kind.name), Everything(kind)).unwrap());
    let report = Suite::new(checks.collect()).unwrap().run().await;
    let text = exposition::prometheus(&report);
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    let measurements: usize = report.checks.iter().map(|check| check.measurements.len()).sum();
    assert!(measurements > 50 && samples > measurements);

    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
