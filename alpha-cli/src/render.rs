//! Reports as people read them: a table, worst first, and one line with the verdict.

use alpha_probes::{CheckReport, Status, SuiteReport, Text, Unit, text};
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use crate::language::Language;
use crate::listing::Listing;
use crate::terminal::Terminal;

/// How a reason reads that is nothing but value and limit.
const PLAIN_COMPARISON: &str = "{subject} is {value}, limit {limit}";

/// The columns of the table that are not free text may be at most this wide.
const NARROW: u16 = 34;

/// The table of a report: each line says what, value, limit, since when, why and what to do.
pub fn table(report: &SuiteReport, now: Timestamp, language: Language, terminal: &Terminal) -> String {
    let header = [
        text!("STATUS"),
        text!("CHECK"),
        text!("VALUE"),
        text!("LIMIT"),
        text!("SINCE"),
        text!("WHY, AND WHAT TO DO"),
    ];
    let mut table = Listing::new(header, language).narrowing(&[1, 2, 3], NARROW);
    for check in report.worst_first() {
        let row = [
            status_word(check.status, language),
            check.name.to_string(),
            value(check),
            limit(check),
            since(check, now, language),
            explanation(check, language),
        ];
        table.push(style(check.status), row);
    }
    table.render(terminal)
}

/// One line: the verdict, how many of each, how long it took.
pub fn verdict(report: &SuiteReport, language: Language, terminal: &Terminal) -> String {
    let mut counts: Vec<Text> = Vec::new();
    for status in Status::ALL.into_iter().rev() {
        let count = report
            .checks
            .iter()
            .filter(|check| check.status == status)
            .count();
        if count > 0 {
            counts.push(count_text(status, count));
        }
    }
    let summary = text!(
        "{counts} in {elapsed}",
        counts = Text::list(counts),
        elapsed = Unit::Seconds.format(report.elapsed.as_secs_f64())
    );
    let word = status_word(report.verdict, language);
    format!(
        "{}: {}\n",
        terminal.paint(style(report.verdict), &word),
        summary.translate(&language)
    )
}

/// One line for a check whose status changed, as `alpha watch` prints it.
pub fn line(check: &CheckReport, language: Language, terminal: &Terminal) -> String {
    let word = terminal.paint(style(check.status), &status_word(check.status, language));
    format!(
        "{} {word} {}: {}\n",
        check.observed_at,
        check.name,
        check.reason.translate(&language)
    )
}

fn count_text(status: Status, count: usize) -> Text {
    match status {
        Status::Ok => text!("{count} ok", count = count),
        Status::Warning => text!("{count} warning", count = count),
        Status::Critical => text!("{count} critical", count = count),
        Status::Unknown => text!("{count} unknown", count = count),
    }
}

fn status_word(status: Status, language: Language) -> String {
    let word = match status {
        Status::Ok => text!("ok"),
        Status::Warning => text!("WARNING"),
        Status::Critical => text!("CRITICAL"),
        Status::Unknown => text!("UNKNOWN"),
    };
    word.translate(&language)
}

/// The style of a status: colour never says what the word doesn't.
pub fn style(status: Status) -> Style {
    match status {
        Status::Ok => AnsiColor::Green.on_default(),
        Status::Warning => AnsiColor::Yellow.on_default().bold(),
        Status::Critical => AnsiColor::Red.on_default().bold(),
        Status::Unknown => AnsiColor::Magenta.on_default().bold(),
    }
}

/// The value that decided, or the first thing that was measured.
fn value(check: &CheckReport) -> String {
    let first = || {
        check
            .measurements
            .first()
            .map(alpha_probes::Measurement::display_value)
    };
    check.value.clone().or_else(first).unwrap_or_default()
}

/// What the value was compared with. Of what is well only a bound that it could reach is worth its place: that a yes is
/// not a no says nothing.
fn limit(check: &CheckReport) -> String {
    let limit = check.limit.as_deref().unwrap_or_default();
    let is_bound = limit.starts_with(['<', '>']);
    if check.status == Status::Ok && !is_bound {
        String::new()
    } else {
        limit.to_owned()
    }
}

fn since(check: &CheckReport, now: Timestamp, language: Language) -> String {
    match check.since {
        Some(since) => {
            let seconds = now.duration_since(since).as_secs().max(0);
            if seconds == 0 {
                text!("now").translate(&language)
            } else {
                Unit::Seconds.format(seconds as f64)
            }
        }
        None => text!("now").translate(&language),
    }
}

fn explanation(check: &CheckReport, language: Language) -> String {
    let mut out = check.reason.translate(&language);
    if check.status == Status::Ok {
        // The columns have said what a plain comparison says; what is pending has to be told.
        return if check.reason.template() == PLAIN_COMPARISON {
            String::new()
        } else {
            out
        };
    }
    if let Some(cause) = &check.suppressed_by {
        let explained = text!("explained by {check}", check = cause.as_str());
        out.push_str(&format!("\n→ {}", explained.translate(&language)));
        return out;
    }
    if check.flapping {
        out.push_str(&format!(
            "\n→ {}",
            text!("the status keeps changing").translate(&language)
        ));
    }
    if let Some(remedy) = &check.remedy {
        out.push_str(&format!("\n→ {}", remedy.translate(&language)));
    }
    out.push_str(&format!("\n→ {}", check.runbook));
    out
}
