//! A run that a person can watch and end.

use alpha_bench::{Progress, RunOptions};
use alpha_probes::text;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::args::TargetArgs;
use crate::terminal::Terminal;

/// A run that a person can watch and end.
pub(super) struct Live {
    pub(super) options: RunOptions,
    bar: indicatif::ProgressBar,
    tasks: tokio::task::JoinSet<()>,
}

impl Live {
    pub(super) fn start(target: &TargetArgs, terminal: &Terminal) -> Result<Self, Failure> {
        let mut options = RunOptions::default();
        if let Some(file) = &target.trust {
            let unreadable = |cause: String| {
                text!(
                    "could not read {file}: {cause}",
                    file = file.display().to_string(),
                    cause = cause
                )
            };
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| unreadable(error.to_string()))?;
            for certificate in certificates {
                options.trusted.push(
                    certificate
                        .map_err(|error| unreadable(error.to_string()))?
                        .to_vec(),
                );
            }
        }
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(stop_on_signal(options.stop.clone()));
        let bar = indicatif::ProgressBar::hidden();
        if terminal.is_interactive() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr_with_hz(4));
            let (sender, receiver) = watch::channel(Progress::default());
            options.progress = Some(sender);
            tasks.spawn(follow(receiver, bar.clone()));
        }
        Ok(Self { options, bar, tasks })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.tasks.abort_all();
        self.bar.finish_and_clear();
    }
}

/// Ends the run on ctrl-C or a polite kill; its report then says that it was cut short.
async fn stop_on_signal(stop: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
}

/// Shows rate, percentiles, failures, lag and the remaining time, as numbers that need no language.
async fn follow(mut progress: watch::Receiver<Progress>, bar: indicatif::ProgressBar) {
    while progress.changed().await.is_ok() {
        let Progress {
            elapsed,
            end,
            per_second,
            p50,
            p99,
            failures,
            lag_p99,
            ..
        } = *progress.borrow_and_update();
        let left = end.map_or_else(String::new, |end| format!(" / {:.0} s", end.as_secs_f64()));
        bar.set_message(format!(
            "{:.0} s{left}  {per_second:.0}/s  p50 {:.2} ms  p99 {:.2} ms  ✗ {failures}  lag p99 {:.2} ms",
            elapsed.as_secs_f64(),
            p50.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3,
            lag_p99.as_secs_f64() * 1e3
        ));
        bar.tick();
    }
}
