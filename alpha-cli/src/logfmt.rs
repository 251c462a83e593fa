//! A log in logfmt on the standard error, as Alertmanager writes its own: `level=info component=web msg="..." key=value`.

use std::fmt::{Debug, Write as _};
use std::io::{self, Write as _};

use alpha_probes::{Clock, SystemClock};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging. A second start changes nothing.
pub(crate) fn start(level: LevelFilter) {
    let layer = Logfmt {
        clock: Box::new(SystemClock),
    };
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(level))
        .try_init();
}

struct Logfmt {
    clock: Box<dyn Clock>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Logfmt {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *metadata.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            _ => "debug",
        };
        let line = format!(
            "ts={} level={level} component={} msg={}{}\n",
            self.clock.now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
            metadata.target().replace("::", "."),
            quoted(&fields.message),
            fields.rest
        );
        // A log that cannot be written must not end the process that it describes.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn put(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            let _ = write!(self.rest, " {}={}", field.name(), quoted(value));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
}

/// The value as logfmt has it: in quotes where it would not be one word.
pub(crate) fn quoted(value: &str) -> String {
    let is_word =
        |character: char| !character.is_whitespace() && !character.is_control() && !"\"=".contains(character);
    if !value.is_empty() && value.chars().all(is_word) {
        value.to_owned()
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_one_word_is_quoted() {
        assert_eq!(quoted("127.0.0.1:9093"), "127.0.0.1:9093");
        assert_eq!(quoted("Listening on"), "\"Listening on\"");
        assert_eq!(quoted("a=\"b\"\n"), "\"a=\\\"b\\\"\\n\"");
        assert_eq!(quoted(""), "\"\"");
    }
}
