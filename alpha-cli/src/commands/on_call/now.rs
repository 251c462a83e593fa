//! `alpha oncall now`: who is on duty.

use alpha_alerts::oncall::{Duty, Handover};
use alpha_probes::text;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::Failure;
use super::rota::{Rota, people};
use crate::args::OnCallNowArgs;
use crate::exit_code::Exit;
use crate::listing::Listing;
use crate::terminal::Terminal;

/// Who is on duty by one schedule, as JSON.
#[derive(Serialize)]
struct OnDuty<'a> {
    schedule: &'a str,
    duty: Duty,
    next: Option<Handover>,
}

/// Shows who is on duty; a schedule by which nobody is, is a finding.
pub(super) fn run(args: &OnCallNowArgs, rota: &Rota, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let at = args.at.unwrap_or(rota.reader.now);
    let schedules = rota.schedules(None)?;
    let all: Vec<OnDuty<'_>> = schedules
        .iter()
        .map(|schedule| OnDuty {
            schedule: schedule.name(),
            duty: schedule.duty_at(at, &rota.overrides),
            next: schedule.next_handover(at, &rota.overrides),
        })
        .collect();
    let has_gap = all.iter().any(|on_duty| on_duty.duty.people.is_empty());
    let exit = if has_gap { Exit::FINDING } else { Exit::SUCCESS };
    if rota.reader.json {
        rota.reader.document(&all, terminal)?;
        return Ok(exit);
    }
    let header = [
        text!("SCHEDULE"),
        text!("ON DUTY"),
        text!("WHY"),
        text!("UNTIL"),
        text!("THEN"),
    ];
    let mut listing = Listing::new(header, rota.reader.language);
    for on_duty in &all {
        let next = on_duty.next.as_ref();
        let why = if on_duty.duty.overrides.is_empty() {
            let turn = on_duty.duty.turn.as_ref();
            turn.map_or_else(String::new, |turn| turn.layer.to_string())
        } else {
            rota.reader.say(&text!("override"))
        };
        let row = [
            on_duty.schedule.to_owned(),
            people(&on_duty.duty.people, &rota.reader),
            why,
            next.map_or_else(String::new, |next| rota.reader.time(next.at)),
            next.map_or_else(String::new, |next| people(&next.incoming, &rota.reader)),
        ];
        let style = if on_duty.duty.people.is_empty() {
            AnsiColor::Red.on_default().bold()
        } else {
            Style::new()
        };
        listing.push(style, row);
    }
    terminal.print(&listing.render(terminal));
    Ok(exit)
}
