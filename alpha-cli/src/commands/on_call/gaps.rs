//! `alpha oncall gaps`: when nobody is on duty.

use alpha_alerts::oncall::Gap;
use alpha_probes::text;
use anstyle::AnsiColor;

use super::Failure;
use super::rota::Rota;
use crate::args::OnCallSpanArgs;
use crate::exit_code::Exit;
use crate::listing::Listing;
use crate::terminal::Terminal;

/// Lists the gaps; one is a finding, so that a timer can tell of it in advance.
pub(super) fn run(args: &OnCallSpanArgs, rota: &Rota, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let (from, to) = rota.span(args);
    let schedules = rota.schedules(args.schedule.as_deref())?.iter();
    let mut gaps: Vec<Gap> = schedules
        .flat_map(|schedule| schedule.gaps(from, to, &rota.overrides))
        .collect();
    gaps.sort_by_key(|gap| gap.starts_at);
    let exit = if gaps.is_empty() {
        Exit::SUCCESS
    } else {
        Exit::FINDING
    };
    if rota.reader.json {
        rota.reader.document(&gaps, terminal)?;
        return Ok(exit);
    }
    if gaps.is_empty() {
        let text = text!(
            "somebody is always on duty until {time}",
            time = rota.reader.time(to)
        );
        rota.reader.line(&text, terminal);
        return Ok(exit);
    }
    let header = [text!("SCHEDULE"), text!("FROM"), text!("UNTIL")];
    let mut listing = Listing::new(header, rota.reader.language);
    for gap in &gaps {
        let row = [
            gap.schedule.clone(),
            rota.reader.time(gap.starts_at),
            rota.reader.time(gap.ends_at),
        ];
        listing.push(AnsiColor::Red.on_default().bold(), row);
    }
    terminal.print(&listing.render(terminal));
    Ok(exit)
}
