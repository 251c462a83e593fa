//! The monitor under the loads of the peers' table, against a server of its own: memory, CPU, lateness, missed slots.
//!
//! `probes_monitor steady|first|hang`; `probes_monitor.sh` runs all three and prints each figure with its ratio to the
//! bar. The server is another process, so that what is measured is the monitor's alone. Targets are addresses of
//! 127.0.0.0/8, a hundred checks each.

#![expect(clippy::print_stdout, reason = "what a program measures is its output")]

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Duration;

use alpha_probes::monitor::Monitor;
use alpha_probes::{Check, CheckConfig, Resources, Status};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 38\r\n\r\n\
    {\"status\":\"healthy\",\"version\":\"1.2.3\"}";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let scenario = std::env::args().nth(1).unwrap_or_default();
    if scenario == "server" {
        return serve().await;
    }
    let mut server = Command::new(std::env::current_exe()?)
        .arg("server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut port = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(server.stdout.take().ok_or("no output")?),
        &mut port,
    )?;
    let outcome = match scenario.as_str() {
        "steady" => steady(port.trim()).await,
        "first" => first(port.trim()).await,
        "hang" => hang(port.trim()).await,
        other => Err(format!("expected steady, first or hang, found \"{other}\"").into()),
    };
    // The server ends with its standard input.
    drop(server.stdin.take());
    server.wait()?;
    outcome
}

/// Answers every request with a small JSON document, and nothing at all where the path begins with `/hang`.
async fn serve() -> Result<()> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    println!("{}", listener.local_addr()?.port());
    std::thread::spawn(|| {
        let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0]);
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    let mut hangs = false;
    while let Some(line) = lines.next_line().await? {
        hangs |= line.starts_with("GET /hang");
        if line.is_empty() && !hangs {
            write.write_all(ANSWER).await?;
        }
    }
    Ok(())
}

fn checks(count: usize, every: &str, port: &str, hangs: impl Fn(usize) -> bool) -> Result<Vec<Check>> {
    let resources = Resources::default();
    let check = |number: usize| -> Result<Check> {
        let host = number / 100;
        // Those that hang are hosts of their own, as dead hosts are.
        let (net, host, path) = if hangs(number) {
            (2 + number / 250, number % 250 + 1, "hang")
        } else {
            (1, host % 250 + 1, "health")
        };
        let config = serde_json::json!({
            "name": format!("check-{number}"),
            "every": every,
            "timeout": "8s",
            "conditions": ["[STATUS] == 200", "[BODY].status == healthy"],
            // What this looks back on are the last hundred results.
            "warn": "p95([response_time], 1000s) > 500ms",
            "http": {
                "url": format!("http://127.0.{net}.{host}:{port}/{path}/{number}"),
                "connection": "pooled",
            },
        });
        let config: CheckConfig = serde_json::from_value(config)?;
        config
            .build(&resources)
            .map_err(|problems| format!("{problems:?}").into())
    };
    (0..count).map(check).collect()
}

/// Ten thousand checks every ten seconds, with a hundred results each.
async fn steady(port: &str) -> Result<()> {
    let count = 10_000;
    let empty = memory_bytes("VmRSS")?;
    let monitor = Monitor::builder(checks(count, "10s", port, |_| false)?).build()?;
    let built = memory_bytes("VmRSS")?;
    let ids: Vec<_> = monitor.states().into_keys().collect();
    let now = alpha_probes::Clock::now(&alpha_probes::SystemClock);
    for id in &ids {
        monitor.restore_series(id, |series| {
            for result in 0..100_i64 {
                let at = now - jiff::SignedDuration::from_secs(10 * (100 - result));
                series.push("response_time", &Vec::new(), at, 0.001);
            }
        });
    }
    drop(ids);
    let filled = memory_bytes("VmRSS")?;
    let _run = start(&monitor);
    sleep(Duration::from_secs(15)).await;
    let (cpu_before, before, began) = (cpu_seconds()?, monitor.stats(), Instant::now());
    sleep(Duration::from_secs(60)).await;
    let (cpu, span) = (cpu_seconds()? - cpu_before, began.elapsed().as_secs_f64());
    let stats = monitor.stats();
    let runs = stats.runs - before.runs;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!("checks\t{count}");
    println!("runs_per_second\t{:.1}", runs as f64 / span);
    println!("memory_empty_megabytes\t{:.1}", megabytes(empty));
    println!("memory_built_megabytes\t{:.1}", megabytes(built));
    println!("memory_filled_megabytes\t{:.1}", megabytes(filled));
    println!("memory_megabytes\t{:.1}", megabytes(memory_bytes("VmRSS")?));
    println!("memory_peak_megabytes\t{:.1}", megabytes(memory_bytes("VmHWM")?));
    println!("cpu_percent_of_a_core\t{:.1}", 100.0 * cpu / span);
    println!("cpu_milliseconds_per_run\t{:.4}", 1e3 * cpu / runs as f64);
    println!("missed\t{}", stats.missed - before.missed);
    println!("missed_while_starting\t{}", before.missed);
    println!("overrun\t{}", stats.overrun);
    println!(
        "lateness_p99_milliseconds\t{:.1}",
        stats.lateness_p99.as_secs_f64() * 1e3
    );
    expect_all_well(&monitor)
}

/// The first result of each of a thousand checks that run once an hour.
async fn first(port: &str) -> Result<()> {
    let monitor = Monitor::builder(checks(1000, "1h", port, |_| false)?).build()?;
    let mut updates = monitor.subscribe();
    let began = Instant::now();
    let _run = start(&monitor);
    for _ in 0..1000 {
        updates.recv().await?;
    }
    println!("all_first_results_seconds\t{:.2}", began.elapsed().as_secs_f64());
    expect_all_well(&monitor)
}

/// A thousand checks of which one in twenty never gets an answer.
async fn hang(port: &str) -> Result<()> {
    let monitor = Monitor::builder(checks(1000, "10s", port, |number| number.is_multiple_of(20))?).build()?;
    let _run = start(&monitor);
    sleep(Duration::from_secs(60)).await;
    let stats = monitor.stats();
    println!("runs\t{}", stats.runs);
    println!(
        "lateness_p50_milliseconds\t{:.1}",
        stats.lateness_p50.as_secs_f64() * 1e3
    );
    println!(
        "lateness_p99_milliseconds\t{:.1}",
        stats.lateness_p99.as_secs_f64() * 1e3
    );
    println!(
        "lateness_max_milliseconds\t{:.1}",
        stats.lateness_max.as_secs_f64() * 1e3
    );
    println!("missed\t{}", stats.missed);
    let reports = monitor.snapshot().checks;
    let critical = reports
        .iter()
        .filter(|report| report.status == Status::Critical)
        .count();
    let well = reports
        .iter()
        .filter(|report| report.status == Status::Ok)
        .count();
    if (critical, well) != (50, 950) {
        return Err(format!("expected 50 critical and 950 ok, found {critical} and {well}").into());
    }
    Ok(())
}

/// A figure counts only where the checks did their work.
fn expect_all_well(monitor: &Monitor) -> Result<()> {
    let reports = monitor.snapshot().checks;
    match reports.iter().find(|report| report.status != Status::Ok) {
        Some(report) => Err(format!("{} is {}: {}", report.name, report.status, report.reason).into()),
        None => Ok(()),
    }
}

/// Ends the run when it is dropped.
struct Run(tokio::task::JoinHandle<()>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn start(monitor: &Monitor) -> Run {
    let monitor = monitor.clone();
    Run(tokio::spawn(async move { monitor.run(Default::default()).await }))
}

fn memory_bytes(key: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with(key))
        .ok_or("no such line")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kibibytes * 1024)
}

/// CPU time of all threads of this process, user and system.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').ok_or("no name")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // USER_HZ is 100 on every Linux that Rust runs on.
    Ok(ticks as f64 / 100.0)
}
