//! `alpha alertmanager`: the alerting part alone, from an Alertmanager configuration file, in the place of Alertmanager.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use alpha_alerts::inbound::{Backend, Inbound, InboundConfig, Live, Reload, Serving, serve};
use alpha_alerts::notifiers::Environment;
use alpha_alerts::stores::SqliteStore;
use alpha_alerts::{Config, Dispatcher, Error, ErrorKind, Period, Store, Text, alertmanager, text};
use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Failure;
use crate::args::{AlertmanagerArgs, LogFormat};
use crate::config::LogConfig;
use crate::exit_code::Exit;
use crate::language::Language;
use crate::secrets::LocalSecrets;
use crate::terminal::Terminal;
use crate::{log, logfmt};

/// Features of Alertmanager that can be asked for. Both syntaxes of matchers are always read, the newer one first, and
/// receivers always have their names in the metrics.
const FEATURES: [&str; 8] = [
    "classic-mode",
    "utf8-strict-mode",
    "receiver-name-in-metrics",
    "alert-names-in-metrics",
    "auto-gomaxprocs",
    "auto-gomemlimit",
    "group-key-in-metrics",
    "event-recorder",
];

/// The file in the data folder.
const DATABASE: &str = "alerts.sqlite";

/// Runs until it is told to stop.
pub(super) async fn run(
    args: AlertmanagerArgs,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    match operate(args, language, terminal).await {
        Ok(()) => Ok(Exit::SUCCESS),
        Err(text) => Err(alpha_probes::Text::plain(text.translate(&language)).into()),
    }
}

async fn operate(args: AlertmanagerArgs, language: Language, terminal: &mut Terminal) -> Result<(), Text> {
    start_log(&args)?;
    check(&args)?;
    let listeners = listen(&args.web_listen_address).await?;
    let addresses = addresses(&listeners)?;
    let guessed = || addresses.first().copied().and_then(default_url);
    let external_url = args.web_external_url.clone().or_else(guessed);
    let source = Source {
        file: args.config_file.clone(),
        retention: args.data_retention,
        external_url: external_url.clone(),
    };
    let config = source.read().await.map_err(|error| error.to_text())?;
    let store = open(&args).await?;
    let environment = Environment::new(Arc::new(LocalSecrets))
        .with_external_url(external_url.clone())
        .with_language(language.of_notifications());
    let dispatcher = Dispatcher::builder(config.clone(), store, environment)
        .with_prune_every(args.alerts_gc_interval.0)
        .start()
        .await
        .map_err(|error| error.to_text())?;
    let live = Arc::new(Live::new(dispatcher.clone(), &config));
    let file = Arc::new(ReloadedFile {
        source,
        live: Arc::clone(&live),
    });
    let inbound_config = inbound_config(&args, external_url.as_ref());
    let serving = Serving::new(&inbound_config).map_err(|error| error.to_text())?;
    let router = Inbound::new(live as Arc<dyn Backend>, &inbound_config, &LocalSecrets)
        .map_err(Text::list)?
        .with_reload(Arc::clone(&file) as Arc<dyn Reload>)
        .with_translations(Arc::new(language))
        .router();
    let stop = CancellationToken::new();
    let mut servers = JoinSet::new();
    for listener in listeners {
        let (router, serving, stop) = (router.clone(), serving.clone(), stop.clone());
        servers.spawn(async move { serve(listener, router, serving, stop.cancelled_owned()).await });
    }
    for address in addresses {
        say_listening(args.log_format, address, terminal);
    }
    until_stopped(&file).await?;
    tracing::info!("Received SIGTERM, exiting gracefully...");
    stop.cancel();
    while servers.join_next().await.is_some() {}
    dispatcher.stop().await;
    Ok(())
}

/// The line that scripts wait for; it is written whatever the level of the log is.
fn say_listening(format: LogFormat, address: SocketAddr, terminal: &mut Terminal) {
    let line = match format {
        LogFormat::Logfmt => {
            let address = logfmt::quoted(&address.to_string());
            format!("level=info component=web msg=\"Listening on\" address={address}\n")
        }
        LogFormat::Json => {
            let line = serde_json::json!({
                "level": "info", "component": "web", "msg": "Listening on", "address": address.to_string(),
            });
            format!("{line}\n")
        }
    };
    terminal.print_error(&line);
}

fn start_log(args: &AlertmanagerArgs) -> Result<(), Text> {
    match args.log_format {
        LogFormat::Logfmt => {
            logfmt::start(args.log_level.into());
            Ok(())
        }
        LogFormat::Json => {
            let config = LogConfig {
                level: args.log_level.into(),
                ..LogConfig::default()
            };
            log::start(&config, true).map_err(Text::plain)
        }
    }
}

/// Refuses what would be a danger to ignore, and warns of what is ignored.
fn check(args: &AlertmanagerArgs) -> Result<(), Text> {
    if args
        .web_config_file
        .as_deref()
        .is_some_and(|file| !file.is_empty())
    {
        return Err(text!(
            "--web.config.file is not understood, and without it everybody could come in: put a proxy in front, or use `alpha serve`"
        ));
    }
    for feature in args.enable_feature.iter().filter(|feature| !feature.is_empty()) {
        if !FEATURES.contains(&feature.as_str()) {
            return Err(text!(
                "unknown option `{feature}` for --enable-feature",
                feature = feature.as_str()
            ));
        }
        tracing::info!(feature, "this feature is always on or has no meaning here");
    }
    for flag in &args.ignored {
        tracing::warn!(flag, "this flag has no meaning here and is ignored");
    }
    Ok(())
}

fn inbound_config(args: &AlertmanagerArgs, external_url: Option<&Url>) -> InboundConfig {
    let mut config = InboundConfig::default();
    let prefix = args.web_route_prefix.as_deref();
    let prefix = prefix.or(external_url.map(Url::path)).unwrap_or_default();
    let prefix = prefix.trim_matches('/');
    if !prefix.is_empty() {
        config.path_prefix = format!("/{prefix}");
    }
    config
}

async fn listen(addresses: &[String]) -> Result<Vec<TcpListener>, Text> {
    let mut listeners = Vec::new();
    for address in addresses {
        let bound = match address.strip_prefix(':') {
            // As in Go, no host means every address of both protocols, or of the one there is.
            Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
                Ok(listener) => Ok(listener),
                Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
            },
            None => TcpListener::bind(address).await,
        };
        let listener = bound.map_err(|error| {
            text!(
                "could not listen on {address}: {cause}",
                address = address,
                cause = error.to_string()
            )
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, Text> {
    let addresses = listeners.iter().map(TcpListener::local_addr);
    let addresses: std::io::Result<Vec<SocketAddr>> = addresses.collect();
    addresses.map_err(|error| {
        text!(
            "the own address cannot be found: {cause}",
            cause = error.to_string()
        )
    })
}

/// The name of this machine with the port, as Alertmanager guesses where people reach it; `None` where the name is none
/// that a URL can hold.
fn default_url(address: SocketAddr) -> Option<Url> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let name = name.unwrap_or_else(|_| "localhost".to_owned());
    Url::parse(&format!("http://{}:{}/", name.trim(), address.port())).ok()
}

async fn open(args: &AlertmanagerArgs) -> Result<Arc<dyn Store>, Text> {
    let folder = &args.storage_path;
    tokio::fs::create_dir_all(folder).await.map_err(|error| {
        text!(
            "the folder {path} cannot be made: {cause}",
            path = folder.display().to_string(),
            cause = error.to_string()
        )
    })?;
    let store = SqliteStore::open(folder.join(DATABASE)).await;
    Ok(Arc::new(store.map_err(|error| error.to_text())?))
}

/// Where the configuration comes from, and what the command line adds.
#[derive(Clone, Debug)]
struct Source {
    file: PathBuf,
    retention: Period,
    external_url: Option<Url>,
}

impl Source {
    async fn read(&self) -> alpha_alerts::Result<Config> {
        let path = self.file.display().to_string();
        tracing::info!(file = path, "Loading configuration file");
        let source = tokio::fs::read_to_string(&self.file).await.map_err(|error| {
            let message = text!(
                "the configuration file {path} cannot be read",
                path = path.as_str()
            );
            Error::new(ErrorKind::InvalidConfig, message).with_source(error)
        })?;
        let imported = alertmanager::read(&source, &self.file)
            .map_err(|problems| Error::new(ErrorKind::InvalidConfig, Text::list(problems)))?;
        for note in &imported.notes {
            tracing::warn!(file = path, "{note}");
        }
        let mut config = imported.config;
        config.delivery.keep_for = self.retention;
        config.external_url.clone_from(&self.external_url);
        tracing::info!(file = path, "Completed loading of configuration file");
        Ok(config)
    }
}

/// Reads the file again when asked; a broken one changes nothing.
#[derive(Debug)]
struct ReloadedFile {
    source: Source,
    live: Arc<Live>,
}

#[async_trait]
impl Reload for ReloadedFile {
    async fn reload(&self) -> alpha_alerts::Result<()> {
        let outcome = match self.source.read().await {
            Ok(config) => self.live.reload(&config).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            let file = self.source.file.display().to_string();
            let err = error.to_text().to_string();
            tracing::error!(
                file,
                err,
                "Loading configuration file failed, the old configuration stays in force"
            );
        }
        outcome
    }
}

/// Waits for SIGTERM or SIGINT; SIGHUP reads the configuration again.
async fn until_stopped(file: &ReloadedFile) -> Result<(), Text> {
    let listen = |kind| {
        signal(kind).map_err(|error| text!("could not listen to signals: {cause}", cause = error.to_string()))
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            // What went wrong is logged where it is found.
            _ = hangup.recv() => {
                let _ = file.reload().await;
            }
        }
    }
}
