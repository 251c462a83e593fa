//! A set of checks without a network: a scripted probe, judged by conditions.

use alpha_probes::memory::ScriptedProbe;
use alpha_probes::rule::Rules;
use alpha_probes::suite::Suite;
use alpha_probes::{Check, Observation, Status, Unit};

#[tokio::main(flavor = "current_thread")]
async fn main() -> alpha_probes::Result<()> {
    let probe = ScriptedProbe::new("queue").then(Observation::new().with("waiting", 12.0, Unit::Count));
    let check = Check::new("queue", probe)?.with_rules(Rules::default().warn_when("[waiting] > 10")?);
    let report = Suite::new(vec![check])?.run().await;
    assert_eq!(report.verdict, Status::Warning);
    Ok(())
}
