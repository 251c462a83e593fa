//! `alpha alert show`: everything about one alert.

use alpha_probes::{Text, text};

use super::Failure;
use super::list::state;
use super::remote::{AlertLine, Remote};
use crate::args::AlertIdArgs;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

pub(super) async fn run(
    args: &AlertIdArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let alert = remote.alert(&args.id).await?;
    if remote.reader.json {
        remote.reader.document(&alert, terminal)?;
    } else {
        show(&alert, remote, terminal);
    }
    Ok(Exit::SUCCESS)
}

fn show(alert: &AlertLine, remote: &Remote, terminal: &mut Terminal) {
    let reader = &remote.reader;
    terminal.print(&format!("{} {}: {}\n", alert.severity, alert.name, alert.summary));
    let mut facts: Vec<(Text, String)> = vec![
        (text!("fingerprint"), alert.fingerprint.clone()),
        (text!("state"), state(alert, remote)),
        (text!("since"), reader.time(alert.starts_at)),
        (text!("receivers"), alert.receivers.join(", ")),
    ];
    let kept_back = [
        (text!("silenced by"), &alert.silenced_by),
        (text!("inhibited by"), &alert.inhibited_by),
        (text!("muted by"), &alert.muted_by),
    ];
    for (what, by) in kept_back {
        if !by.is_empty() {
            facts.push((what, by.join(", ")));
        }
    }
    for (what, value) in facts {
        terminal.print(&format!("  {}: {value}\n", reader.say(&what)));
    }
    for (title, pairs) in [
        (text!("labels"), &alert.labels),
        (text!("annotations"), &alert.annotations),
    ] {
        if pairs.is_empty() {
            continue;
        }
        terminal.print(&format!("  {}:\n", reader.say(&title)));
        for (name, value) in pairs {
            terminal.print(&format!("    {name}: {}\n", value.replace('\n', "\n      ")));
        }
    }
}
