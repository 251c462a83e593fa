//! Asks one address by many checks again and again, and tells what one probe costs:
//! `http_cost http://127.0.0.1:8080/health fresh|pooled|mixed [rounds] [checks]`.
//!
//! The address must answer `{"status":"healthy"}` with status 200; each check judges both.

use std::error::Error;

use alpha_probes::probes::HttpConfig;
use alpha_probes::probes::http::ConnectionMode;
use alpha_probes::suite::Suite;
use alpha_probes::{CheckConfig, Resources, Status};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "the answer of the program")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("which address?")?;
    let connection = match arguments.next().as_deref() {
        Some("fresh") => ConnectionMode::Fresh,
        Some("pooled") => ConnectionMode::Pooled,
        Some("mixed") => ConnectionMode::Mixed,
        _ => return Err("fresh, pooled or mixed?".into()),
    };
    let rounds: u32 = arguments.next().map_or(Ok(20), |rounds| rounds.parse())?;
    let count: u32 = arguments.next().map_or(Ok(1000), |count| count.parse())?;

    let resources = Resources::default();
    let mut checks = Vec::new();
    for index in 0..count {
        let mut check = CheckConfig::default();
        check.name = format!("check-{index}");
        check.http = Some(HttpConfig::new(&url).with_connection(connection));
        check.conditions = ["[STATUS] == 200", "[BODY].status == healthy"]
            .map(String::from)
            .into();
        checks.push(
            check
                .build(&resources)
                .map_err(|problems| format!("{problems:?}"))?,
        );
    }
    let suite = Suite::new(checks)?;

    let before = processor_seconds()?;
    let mut ok = 0;
    for _ in 0..rounds {
        let report = suite.run().await;
        ok += report
            .checks
            .iter()
            .filter(|check| check.status == Status::Ok)
            .count();
    }
    let spent = processor_seconds()? - before;
    let probes = rounds * count;
    let each = spent * 1000.0 / f64::from(probes);
    println!("{probes} probes, {ok} ok, {each:.4} ms of processor time each");
    if ok == probes as usize {
        Ok(())
    } else {
        Err("not all were ok".into())
    }
}

/// What this process used so far; the ticks of Linux are hundredths of a second.
fn processor_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').ok_or("no stat")?.1.split_whitespace();
    let ticks = fields
        .skip(11)
        .take(2)
        .map(str::parse::<u32>)
        .sum::<Result<u32, _>>()?;
    Ok(f64::from(ticks) / 100.0)
}
