//! `alpha watch`: the checks continuously, with a live view on a terminal and a JSON line a result elsewhere.

use alpha_probes::monitor::Update;
use alpha_probes::text;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::setup::setup;
use super::signals::{Signal, Signals};
use super::watching::{BEAT, Watching};
use crate::args::{Global, WatchArgs};
use crate::exit_code::Exit;
use crate::language::Language;
use crate::render;
use crate::terminal::Terminal;

/// Runs until it is interrupted; the exit code is the last verdict.
pub(super) async fn run(
    args: WatchArgs,
    global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let setup = setup(&args.names, false, global, language, terminal).await?;
    if setup.checks.is_empty() {
        return Err(text!("there is nothing to check: the configuration has no checks").into());
    }
    let mut watch = Watching::start(setup, &args.names, terminal).await?;
    let is_live = terminal.is_output_terminal() && !global.json;
    let stop = CancellationToken::new();
    let monitor = watch.monitor.clone();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { monitor.run(stop).await }
    });
    let mut updates = watch.monitor.subscribe();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let until = args.duration.map(|duration| Instant::now() + duration.0);
    let mut signals = Signals::new()?;
    if is_live {
        terminal.print("\x1b[?1049h\x1b[?25l");
    }
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop => break,
                Signal::Reload => reload(&mut watch, terminal),
            },
            () = at(until) => break,
            _ = beat.tick() => {
                if watch.file_has_changed() {
                    reload(&mut watch, terminal);
                }
                watch.beat(terminal).await;
                if is_live {
                    draw(&watch, terminal);
                }
            }
            update = updates.recv() => match update {
                Ok(update) => {
                    if !is_live {
                        print_line(&update, terminal);
                    }
                    watch.note(update.report);
                }
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "results came faster than they were written"),
                Err(RecvError::Closed) => break,
            }
        }
    }
    stop.cancel();
    let _ = running.await;
    if is_live {
        terminal.print("\x1b[?25h\x1b[?1049l");
    }
    watch.keep(terminal).await;
    let report = watch.monitor.snapshot();
    let verdict = render::verdict(&report, watch.setup.language, terminal);
    terminal.print_error(&verdict);
    Ok(report.verdict.into())
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn print_line(update: &Update, terminal: &mut Terminal) {
    if let Ok(json) = serde_json::to_string(&*update.report) {
        terminal.print(&format!("{json}\n"));
    }
}

/// Reads the configuration again; a broken one is told, and the old one goes on.
fn reload(watch: &mut Watching, terminal: &mut Terminal) {
    let outcome = watch.read_again(terminal).and_then(|loaded| match loaded {
        Some(loaded) => watch.replace(loaded),
        None => Ok(()),
    });
    watch.tell_reload(&outcome, terminal);
}

fn draw(watch: &Watching, terminal: &mut Terminal) {
    let report = watch.monitor.snapshot();
    let now = watch.setup.resources.clock.now();
    let table = render::table(&report, now, watch.setup.language, terminal);
    let verdict = render::verdict(&report, watch.setup.language, terminal);
    // One line is left for the verdict; what does not fit is the least urgent.
    let lines: Vec<&str> = table.lines().take(terminal.height().saturating_sub(2)).collect();
    terminal.print(&format!("\x1b[H\x1b[J{verdict}{}", lines.join("\n")));
}
