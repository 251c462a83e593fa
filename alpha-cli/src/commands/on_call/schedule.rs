//! `alpha oncall schedule`: the shifts to come.

use alpha_alerts::oncall::Shift;
use alpha_probes::text;
use anstyle::Style;

use super::Failure;
use super::rota::{Rota, people};
use crate::args::OnCallSpanArgs;
use crate::exit_code::Exit;
use crate::listing::Listing;
use crate::terminal::Terminal;

pub(super) fn run(args: &OnCallSpanArgs, rota: &Rota, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let (from, to) = rota.span(args);
    let schedules = rota.schedules(args.schedule.as_deref())?.iter();
    let mut shifts: Vec<Shift> = schedules
        .flat_map(|schedule| schedule.shifts(from, to, &rota.overrides))
        .collect();
    shifts.sort_by_key(|shift| shift.starts_at);
    if rota.reader.json {
        rota.reader.document(&shifts, terminal)?;
        return Ok(Exit::SUCCESS);
    }
    let header = [
        text!("SCHEDULE"),
        text!("ON DUTY"),
        text!("FROM"),
        text!("UNTIL"),
        text!("WHY"),
    ];
    let mut listing = Listing::new(header, rota.reader.language);
    for shift in &shifts {
        let why = if shift.overrides.is_empty() {
            let turn = shift.turn.as_ref();
            turn.map_or_else(String::new, |turn| turn.layer.to_string())
        } else {
            rota.reader.say(&text!("override"))
        };
        let row = [
            shift.schedule.clone(),
            people(&shift.people, &rota.reader),
            rota.reader.time(shift.starts_at),
            rota.reader.time(shift.ends_at),
            why,
        ];
        listing.push(Style::new(), row);
    }
    terminal.print(&listing.render(terminal));
    Ok(Exit::SUCCESS)
}
