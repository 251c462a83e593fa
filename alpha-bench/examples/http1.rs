//! Puts a closed load on a URL: `http1 URL CONNECTIONS SECONDS`, or an open one: `http1 URL RATE/s SECONDS [SPIN_US]`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use alpha_bench::targets::{Http1, transport::Tcp};
use alpha_bench::{Config, Inputs, LoadModel, LoadTest, Request};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let url: url::Url = arguments[1].parse()?;
    let model = match arguments[2].strip_suffix("/s") {
        Some(rate) => LoadModel::open(rate.parse()?),
        None => LoadModel::closed(arguments[2].parse()?),
    };
    let config = Config::new(model)
        .with_duration(Duration::from_secs(arguments[3].parse()?))
        .with_workers(1);
    let spin = arguments.get(4).map_or(Ok(0), |us| us.parse())?;
    let report = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let request = Request::get(url.path());
            let target = Http1::new(
                Tcp::resolve(&url).await?,
                &url,
                &[request],
                &Inputs::default(),
                true,
            )?;
            LoadTest::new(config.with_spin(Duration::from_micros(spin)), target)
                .run()
                .await
        })?;
    print!(
        "{} {} {:.0}/s ",
        report.verdict, report.requests, report.throughput_per_second
    );
    println!(
        "{:?} busy {:.2} lag {:?} errors {:?} {:?}",
        report.latency_seconds, report.busy_ratio, report.lag_seconds, report.errors, report.findings
    );
    Ok(())
}
