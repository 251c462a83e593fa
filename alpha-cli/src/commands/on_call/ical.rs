//! `alpha oncall ical`: shifts and meetings for calendars.

use alpha_alerts::oncall::{CalendarEvent, icalendar};

use super::Failure;
use super::rota::Rota;
use crate::args::OnCallSpanArgs;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

/// Prints an iCalendar file; of all schedules the meetings as well, which belong to none.
pub(super) fn run(args: &OnCallSpanArgs, rota: &Rota, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let (from, to) = rota.span(args);
    let name = args.schedule.as_deref();
    let mut events: Vec<CalendarEvent> = match name {
        None if rota.on_call.schedules().is_empty() => Vec::new(),
        name => rota
            .schedules(name)?
            .iter()
            .flat_map(|schedule| CalendarEvent::shifts(schedule, from, to, &rota.overrides))
            .collect(),
    };
    if name.is_none() {
        let meetings = rota.on_call.meetings(from, to);
        events.extend(meetings.into_iter().map(CalendarEvent::from));
    }
    let calendar = icalendar(name.unwrap_or("Alpha"), &events, rota.reader.now);
    terminal.print(&calendar);
    Ok(Exit::SUCCESS)
}
