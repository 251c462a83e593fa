//! `alpha alert list`: what fires, worst first.

use alpha_probes::text;

use super::Failure;
use super::remote::{AlertLine, Remote, style};
use crate::args::AlertListArgs;
use crate::exit_code::Exit;
use crate::listing::Listing;
use crate::terminal::Terminal;

/// So many digits of a fingerprint are shown in a list; they are enough to name an alert by.
const FINGERPRINT_DIGITS: usize = 8;

pub(super) async fn run(
    args: &AlertListArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let alerts = remote.alerts(&args.matchers, args.all).await?;
    if remote.reader.json {
        remote.reader.document(&alerts, terminal)?;
    } else if alerts.is_empty() {
        remote.reader.line(&text!("nothing fires"), terminal);
    } else {
        terminal.print(&table(&alerts, remote, terminal));
    }
    Ok(Exit::SUCCESS)
}

fn table(alerts: &[AlertLine], remote: &Remote, terminal: &Terminal) -> String {
    let header = [
        text!("SEVERITY"),
        text!("ALERT"),
        text!("ID"),
        text!("SINCE"),
        text!("STATE"),
        text!("WHAT"),
    ];
    let mut listing = Listing::new(header, remote.reader.language);
    for alert in alerts {
        let row = [
            alert.severity.name().to_owned(),
            alert.name.clone(),
            alert.fingerprint.chars().take(FINGERPRINT_DIGITS).collect(),
            remote.reader.time(alert.starts_at),
            state(alert, remote),
            alert.summary.clone(),
        ];
        listing.push(style(alert.severity), row);
    }
    listing.render(terminal)
}

/// Where an alert stands, in a word.
pub(super) fn state(alert: &AlertLine, remote: &Remote) -> String {
    let text = if !alert.silenced_by.is_empty() {
        text!("silenced")
    } else if !alert.inhibited_by.is_empty() {
        text!("inhibited")
    } else if !alert.muted_by.is_empty() {
        text!("muted")
    } else {
        text!("firing")
    };
    remote.reader.say(&text)
}
