//! Reports for people and for other programs.
//!
//! JSON is the report itself ([`BenchReport::to_json`]). Text, Markdown and HTML are for people and speak their language;
//! CSV, JUnit, `.hgrm` and Prometheus text are for programs and always English.

mod formats;
mod html;
mod svg;
mod text;

use crate::compare::Comparison;
use crate::report::BenchReport;
use crate::text::Translate;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Plain text for a terminal.
    Text,
    /// Markdown for a pull request.
    Markdown,
    /// One HTML file with its charts inside, without script, dark and light, fit to print.
    Html,
    /// One line for each window.
    Csv,
    /// JUnit XML with a test case for each threshold, for a pipeline.
    Junit,
    /// The percentile distribution as HdrHistogram's plotter reads it, in milliseconds.
    Hgrm,
    /// Prometheus' text format, for a push gateway or the text file collector.
    Prometheus,
}

/// The report in `format`; people's formats in the language of `translations`.
pub fn render(report: &BenchReport, format: Format, translations: &dyn Translate) -> String {
    match format {
        Format::Text => text::report(report, translations),
        Format::Markdown => text::markdown(report, translations),
        Format::Html => html::report(report, translations),
        Format::Csv => formats::csv(report),
        Format::Junit => formats::junit(report),
        Format::Hgrm => formats::hgrm(report),
        Format::Prometheus => formats::prometheus(report),
    }
}

/// A comparison as plain text in the language of `translations`.
pub fn render_comparison(comparison: &Comparison, translations: &dyn Translate) -> String {
    text::comparison(comparison, translations)
}

/// Text that may stand in XML and HTML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML 1.0 knows no other control characters, not even escaped ones.
            control if control.is_control() && !matches!(control, '\n' | '\t') => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests;
