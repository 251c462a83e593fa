//! What every command that looks at something needs first: the checks, from a file or from what runs here.

use std::path::PathBuf;
use std::sync::Arc;

use alpha_probes::history::History;
use alpha_probes::suite::Limits;
use alpha_probes::{Check, Resources, SystemClock, text};

use super::Failure;
use crate::args::Global;
use crate::config::{self, Config, Loaded, Mistake};
use crate::discovery;
use crate::history;
use crate::language::Language;
use crate::log;
use crate::pattern::matches;
use crate::secrets::LocalSecrets;
use crate::terminal::Terminal;

/// The checks and what they came with.
pub(super) struct Setup {
    pub(super) config: Config,
    pub(super) checks: Vec<Check>,
    pub(super) resources: Resources,
    /// The configuration file; none where the checks were discovered.
    pub(super) file: Option<PathBuf>,
    /// The language that the command speaks: `--lang`, the file, the locale.
    pub(super) language: Language,
}

impl Setup {
    /// How many probes run at once.
    pub(super) fn limits(&self) -> Limits {
        Limits::default()
            .with_total(self.config.probes.concurrency.into())
            .with_per_target(self.config.probes.concurrency_per_target.into())
    }

    /// The history; what is seen is worth having where it cannot be opened, and the user is told.
    pub(super) async fn history(&self, terminal: &mut Terminal) -> Option<Arc<dyn History>> {
        match history::open(&self.config.history, &self.resources).await {
            Ok(history) => Some(history),
            Err(error) => {
                warn_of_history(&error, self.language, terminal);
                None
            }
        }
    }
}

/// Tells that the history cannot be used, and why.
pub(super) fn warn_of_history(error: &alpha_probes::Error, language: Language, terminal: &mut Terminal) {
    tracing::warn!(error = %error.to_text(), "going on without history");
    terminal.warning(
        language,
        &text!("going on without history: {cause}", cause = error.to_text()),
    );
}

/// Reads the configuration, or looks at what runs here where there is none; starts the log; keeps the checks whose
/// names match `names`. The log goes to the console too where `console` or the configuration says so.
pub(super) async fn setup(
    names: &[String],
    console: bool,
    global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Setup, Failure> {
    let resources = resources();
    let mut setup = match config::find(global.config.as_deref()) {
        Some(path) => {
            let Loaded { config, checks, path } =
                config::load(&path, &resources).map_err(|mistakes| tell(&mistakes, language, terminal))?;
            let language = global.lang.or(config.language).unwrap_or(language);
            Setup {
                config,
                checks,
                resources,
                file: Some(path),
                language,
            }
        }
        None => {
            let found = discovery::discover(&resources).await;
            for note in &found.notes {
                terminal.warning(language, note);
            }
            let checks = found.build(&resources)?;
            Setup {
                config: Config::default(),
                checks,
                resources,
                file: None,
                language,
            }
        }
    };
    log::start(
        &setup.config.log,
        console || setup.config.log.console || global.verbose > 1,
    )?;
    if !names.is_empty() {
        for name in names {
            if !setup.checks.iter().any(|check| matches(name, check.id.as_str())) {
                let known: Vec<_> = setup.checks.iter().map(|check| check.id.to_string()).collect();
                return Err(text!(
                    "no check is named \"{name}\"; there are {known}",
                    name = name,
                    known = known.join(", ")
                )
                .into());
            }
        }
        setup.checks = named(&setup.checks, names);
    }
    Ok(setup)
}

/// The checks whose names match one of `names`; all where there are none.
pub(super) fn named(checks: &[Check], names: &[String]) -> Vec<Check> {
    let is_named =
        |check: &&Check| names.is_empty() || names.iter().any(|name| matches(name, check.id.as_str()));
    checks.iter().filter(is_named).cloned().collect()
}

/// What the probes of this process share.
pub(super) fn resources() -> Resources {
    Resources::new(Arc::new(SystemClock), Arc::new(LocalSecrets))
}

/// Prints the mistakes of a configuration; the failure that remains says how many there are.
pub(super) fn tell(mistakes: &[Mistake], language: Language, terminal: &mut Terminal) -> Failure {
    for mistake in mistakes {
        let rendered = mistake.render(language, terminal.is_coloured());
        terminal.print_error(&format!("{rendered}\n\n"));
    }
    text!(
        "the configuration has {count} mistakes; nothing was run",
        count = mistakes.len()
    )
    .into()
}
