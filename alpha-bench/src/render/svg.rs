//! Line charts as SVG that stands alone: no script, no font, no colour that does not follow the page.
//!
//! No crate that is kept up writes accessible SVG whose colours are style classes of the surrounding page; the little that
//! is needed here is a scale, a grid and a path.

use std::fmt::Write as _;

use super::escape;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;

/// How many points a line has at most; more could not be told apart.
const MOST_POINTS: usize = 700;

/// A line chart.
pub(super) struct Chart<'a> {
    /// What it shows, for those who cannot see it and as its heading.
    pub(super) title: String,
    /// What stands below the horizontal axis.
    pub(super) x_label: String,
    pub(super) lines: Vec<Line>,
    /// Marks of the horizontal axis where they are not evenly spaced numbers.
    pub(super) x_marks: Option<Vec<(f64, String)>>,
    /// How a number of the vertical axis is shown.
    pub(super) show: &'a dyn Fn(f64) -> String,
}

/// A line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) label: String,
    pub(super) points: Vec<(f64, f64)>,
}

impl Chart<'_> {
    /// The chart as an SVG element; lines are told apart by dashes as well as by colour.
    pub(super) fn to_svg(&self) -> String {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let x_low = all().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let x_high = all().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max);
        let highest = all().map(|point| point.1).fold(0.0, f64::max);
        if !x_low.is_finite() {
            return String::new();
        }
        let x_span = (x_high - x_low).max(1e-12);
        let step = round_step(highest.max(1e-12) / 4.0);
        let top = (highest / step).ceil().max(1.0) * step;
        let x = |value: f64| LEFT + (value - x_low) / x_span * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
        let title = escape(&self.title);
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>\n"
        );
        let mut mark = 0.0;
        while mark <= top * 1.001 {
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y(mark) + 4.0,
                escape(&(self.show)(mark)),
                y = y(mark)
            );
            mark += step;
        }
        let marks = self.x_marks.clone().unwrap_or_else(|| {
            let step = round_step(x_span / 6.0).max(1e-9);
            let first = (x_low / step).ceil() as i64;
            (first..first + 10)
                .map(|n| n as f64 * step)
                .filter(|at| *at <= x_high)
                .map(|at| (at, crate::metric::tidy(at)))
                .collect()
        });
        for (at, text) in marks {
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x(at),
                HEIGHT - BOTTOM + 15.0,
                escape(&text)
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            HEIGHT - 4.0,
            escape(&self.x_label)
        );
        for (index, line) in self.lines.iter().enumerate() {
            let mut path = String::new();
            for (position, (px, py)) in thinned(&line.points).into_iter().enumerate() {
                let _ = write!(
                    path,
                    "{}{:.1} {:.1}",
                    if position == 0 { 'M' } else { 'L' },
                    x(px),
                    y(py)
                );
            }
            let _ = writeln!(
                out,
                "<path class=\"line l{index}\" d=\"{path}\"><title>{}</title></path>",
                escape(&line.label)
            );
        }
        out.push_str("</svg>\n");
        if self.lines.len() > 1 {
            out.push_str("<p class=\"legend\">");
            for (index, line) in self.lines.iter().enumerate() {
                let _ = write!(
                    out,
                    "<span><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"line l{index}\" d=\"M0 4H24\"/></svg> {}</span> ",
                    escape(&line.label)
                );
            }
            out.push_str("</p>\n");
        }
        out
    }
}

/// A step of 1, 2 or 5 times a power of ten, at least as large as `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|rounded| *rounded >= step * 0.999)
        .unwrap_or(step)
}

/// At most [`MOST_POINTS`] points; of neighbours that share a place the highest is kept, because peaks are what matters.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(MOST_POINTS).max(1);
    let highest = |chunk: &[(f64, f64)]| chunk.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    points.chunks(size).filter_map(highest).collect()
}
