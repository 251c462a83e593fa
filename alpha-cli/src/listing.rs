//! Tables without lines, whose first column may be coloured.

use alpha_probes::Text;
use anstyle::Style;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::language::Language;
use crate::terminal::Terminal;

/// A table that fits the terminal: one row a thing, the most urgent first.
pub(crate) struct Listing<const COLUMNS: usize> {
    header: [String; COLUMNS],
    rows: Vec<(Style, [String; COLUMNS])>,
    narrow: &'static [usize],
    width: u16,
}

impl<const COLUMNS: usize> Listing<COLUMNS> {
    /// An empty table with these headings.
    pub(crate) fn new(header: [Text; COLUMNS], language: Language) -> Self {
        Self {
            header: header.map(|heading| heading.translate(&language)),
            rows: Vec::new(),
            narrow: &[],
            width: u16::MAX,
        }
    }

    /// The same where these columns are at most `width` wide.
    pub(crate) fn narrowing(mut self, columns: &'static [usize], width: u16) -> Self {
        self.narrow = columns;
        self.width = width;
        self
    }

    /// Adds a row whose first cell is in `style`.
    pub(crate) fn push(&mut self, style: Style, row: [String; COLUMNS]) {
        self.rows.push((style, row));
    }

    /// The table as text, each line with its end.
    pub(crate) fn render(self, terminal: &Terminal) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(terminal.width()).unwrap_or(u16::MAX));
        table.set_header(self.header.clone());
        for (_, row) in &self.rows {
            table.add_row(row.clone());
        }
        for column in self.narrow {
            if let Some(column) = table.column_mut(*column) {
                column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(self.width)));
            }
        }
        // Colours go on afterwards: escape sequences inside a cell would be counted as its width.
        let plain = table.to_string();
        let mut lines = plain.lines();
        let mut out = String::new();
        if let Some(heading) = lines.next() {
            out.push_str(&terminal.paint(Style::new().dimmed(), heading.trim_end()));
            out.push('\n');
        }
        let mut rows = self.rows.iter().peekable();
        for line in lines {
            let line = line.trim_end();
            let bare = line.trim_start();
            let indent = &line[..line.len() - bare.len()];
            let begun = rows.next_if(|(_, row)| {
                let rest = bare.strip_prefix(row[0].as_str());
                !row[0].is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            });
            match begun {
                Some((style, row)) => {
                    let rest = &bare[row[0].len()..];
                    out.push_str(&format!("{indent}{}{rest}", terminal.paint(*style, &row[0])));
                }
                None => out.push_str(line),
            }
            out.push('\n');
        }
        out
    }
}
