//! Where a command reads from and writes to; captured in tests.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use alpha_probes::Text;
use anstyle::{AnsiColor, Style};

use crate::args::ColorChoice;
use crate::language::Language;

/// The standard streams of a command and what it may assume of them.
pub struct Terminal {
    output: Box<dyn Write + Send + Sync>,
    errors: Box<dyn Write + Send + Sync>,
    input: Box<dyn BufRead + Send + Sync>,
    is_interactive: bool,
    is_output_terminal: bool,
    is_coloured: bool,
    width: usize,
    height: usize,
    locale: Option<String>,
}

/// The width of lines where the terminal does not tell.
const DEFAULT_WIDTH: usize = 100;

/// The number of lines where the terminal does not tell.
const DEFAULT_HEIGHT: usize = 40;

impl Terminal {
    /// The streams of this process. `NO_COLOR` and the locale are read from its environment.
    pub fn of_this_process() -> Self {
        let is_output_terminal = io::stdout().is_terminal();
        let colour_allowed = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            output: Box::new(io::stdout()),
            errors: Box::new(io::stderr()),
            input: Box::new(io::BufReader::new(io::stdin())),
            is_interactive: io::stdin().is_terminal() && io::stderr().is_terminal(),
            is_output_terminal,
            is_coloured: is_output_terminal && colour_allowed,
            width: terminal_size().0,
            height: terminal_size().1,
            locale: sys_locale::get_locale(),
        }
    }

    /// Streams that keep what is written, without a person at them, 100 columns wide, in an English locale.
    pub fn captured() -> Self {
        Self {
            output: Box::new(Capture::default()),
            errors: Box::new(Capture::default()),
            input: Box::new(io::empty()),
            is_interactive: false,
            is_output_terminal: false,
            is_coloured: false,
            width: DEFAULT_WIDTH,
            height: DEFAULT_HEIGHT,
            locale: None,
        }
    }

    /// The same with another locale.
    #[must_use]
    pub fn with_locale(mut self, locale: &str) -> Self {
        self.locale = Some(locale.to_owned());
        self
    }

    /// The same writing into two captures, which the caller keeps.
    #[must_use]
    pub fn writing_to(mut self, output: &Capture, errors: &Capture) -> Self {
        self.output = Box::new(output.clone());
        self.errors = Box::new(errors.clone());
        self
    }

    /// The same with a person who types `answers`.
    #[must_use]
    pub fn answering(mut self, answers: &str) -> Self {
        self.input = Box::new(io::Cursor::new(answers.to_owned()));
        self.is_interactive = true;
        self
    }

    /// Applies `--color`.
    pub fn choose_colour(&mut self, choice: ColorChoice) {
        match choice {
            ColorChoice::Auto => {}
            ColorChoice::Always => self.is_coloured = true,
            ColorChoice::Never => self.is_coloured = false,
        }
    }

    /// Whether colour is wanted.
    pub fn is_coloured(&self) -> bool {
        self.is_coloured
    }

    /// Whether a person can be asked.
    pub fn is_interactive(&self) -> bool {
        self.is_interactive
    }

    /// Whether the output is a terminal that can be redrawn.
    pub fn is_output_terminal(&self) -> bool {
        self.is_output_terminal
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Lines.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The locale, such as `zh_CN.UTF-8`.
    pub fn locale(&self) -> Option<&str> {
        self.locale.as_deref()
    }

    /// Writes `text` to the output. A reader that went away, as in `alpha check | head`, is no error.
    pub fn print(&mut self, text: &str) {
        let _ = self
            .output
            .write_all(text.as_bytes())
            .and_then(|()| self.output.flush());
    }

    /// Writes `value` to the output as one line of JSON, piece by piece: a report of a long run is never held as text.
    pub fn print_json(&mut self, value: &impl serde::Serialize) {
        let mut output = io::BufWriter::new(&mut self.output);
        let _ = serde_json::to_writer(&mut output, value)
            .map_err(io::Error::from)
            .and_then(|()| output.write_all(b"\n"))
            .and_then(|()| output.flush());
    }

    /// Writes `text` to the error stream.
    pub fn print_error(&mut self, text: &str) {
        let _ = self
            .errors
            .write_all(text.as_bytes())
            .and_then(|()| self.errors.flush());
    }

    /// Writes `error: …` to the error stream.
    pub fn error(&mut self, language: Language, text: &Text) {
        let word = self.paint(AnsiColor::Red.on_default().bold(), &language.phrase("error:"));
        self.print_error(&format!("{word} {}\n", text.translate(&language)));
    }

    /// Writes `warning: …` to the error stream.
    pub fn warning(&mut self, language: Language, text: &Text) {
        let word = self.paint(
            AnsiColor::Yellow.on_default().bold(),
            &language.phrase("warning:"),
        );
        self.print_error(&format!("{word} {}\n", text.translate(&language)));
    }

    /// Asks a question that is answered by y or n; anything but y, and no person to answer, is no.
    pub fn confirm(&mut self, language: Language, question: &Text) -> bool {
        if !self.is_interactive {
            return false;
        }
        self.print_error(&format!("{} [y/N] ", question.translate(&language)));
        let mut answer = String::new();
        let read = self.input.read_line(&mut answer);
        read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "是")
    }

    /// `text` in `style`, where colour is wanted.
    pub fn paint(&self, style: Style, text: &str) -> String {
        if self.is_coloured {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// Columns and lines, within reason.
fn terminal_size() -> (usize, usize) {
    let seen =
        terminal_size::terminal_size().map(|(width, height)| (usize::from(width.0), usize::from(height.0)));
    let (width, height) = seen.unwrap_or((DEFAULT_WIDTH, DEFAULT_HEIGHT));
    let told = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    (told.unwrap_or(width).clamp(40, 300), height.max(5))
}

/// Keeps what is written to it; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Capture(Arc<Mutex<Vec<u8>>>);

impl Capture {
    /// What was written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A bar on the error stream of a terminal, from the second second on; elsewhere nothing.
pub(crate) struct Progress {
    bar: indicatif::ProgressBar,
    is_shown: bool,
}

/// What is over before this is not worth a bar.
const PROGRESS_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

impl Progress {
    /// A bar of `length` steps.
    pub(crate) fn start(length: usize, terminal: &Terminal) -> Self {
        let bar = indicatif::ProgressBar::with_draw_target(
            Some(length as u64),
            indicatif::ProgressDrawTarget::hidden(),
        );
        if let Ok(style) = indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            is_shown: terminal.is_interactive,
        }
    }

    /// One step is done; `what` it was.
    pub(crate) fn step(&self, what: &str) {
        if self.is_shown && self.bar.is_hidden() && self.bar.elapsed() > PROGRESS_AFTER {
            self.bar
                .set_draw_target(indicatif::ProgressDrawTarget::stderr_with_hz(10));
        }
        self.bar.set_message(what.to_owned());
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
