//! Measurements as Prometheus reads them.

use std::fmt::Write;

/// The text that a Prometheus server scrapes, written family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    family: &'static str,
}

/// How the samples of a family behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows, until the process starts anew; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Exposition {
    /// Begins a family; the samples that follow belong to it. Each name once in a text.
    pub fn family(&mut self, name: &'static str, kind: Type, help: &str) -> &mut Self {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        };
        self.begin(name, kind, help);
        self
    }

    /// One sample of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let name = self.family;
        self.line(name, "", labels, None, value);
        self
    }

    /// A whole histogram: `buckets` are upper bounds with how many observations are at or below each; above the last
    /// there may be more, `count` in all.
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &str,
        buckets: &[(f64, u64)],
        count: u64,
        sum: f64,
    ) -> &mut Self {
        self.begin(name, "histogram", help);
        for (bound, below) in buckets {
            self.line(name, "_bucket", &[], Some(*bound), counted(*below));
        }
        self.line(name, "_bucket", &[], Some(f64::INFINITY), counted(count));
        self.line(name, "_sum", &[], None, sum);
        self.line(name, "_count", &[], None, counted(count));
        self
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], bound: Option<f64>, value: f64) {
        let _ = write!(self.text, "{name}{suffix}");
        let bound = bound.map(|bound| ("le", number(bound)));
        let all = labels
            .iter()
            .copied()
            .chain(bound.as_ref().map(|(name, bound)| (*name, bound.as_str())));
        for (index, (label, text)) in all.enumerate() {
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let opening = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{opening}{label}=\"{text}\"");
        }
        let closing = if labels.is_empty() && bound.is_none() {
            ""
        } else {
            "}"
        };
        let _ = writeln!(self.text, "{closing} {}", number(value));
    }
}

/// Counts as Prometheus holds them: exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus' samples are floating point"
)]
pub(crate) fn counted(count: u64) -> f64 {
    count as f64
}

fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut exposition = Exposition::default();
        exposition
            .family("alpha_x_total", Type::Counter, "What\nelse.")
            .sample(&[("a", "say \"hi\"\\"), ("b", "")], 3.0)
            .sample(&[], 0.5)
            .histogram("alpha_y_seconds", "How long.", &[(0.1, 2)], 3, 4.5);
        assert_eq!(
            exposition.into_text(),
            "# HELP alpha_x_total What\\nelse.\n# TYPE alpha_x_total counter\n\
             alpha_x_total{a=\"say \\\"hi\\\"\\\\\",b=\"\"} 3\nalpha_x_total 0.5\n\
             # HELP alpha_y_seconds How long.\n# TYPE alpha_y_seconds histogram\n\
             alpha_y_seconds_bucket{le=\"0.1\"} 2\nalpha_y_seconds_bucket{le=\"+Inf\"} 3\n\
             alpha_y_seconds_sum 4.5\nalpha_y_seconds_count 3\n"
        );
    }
}
