//! The dispatcher and the HTTP server in front of it.

use std::net::SocketAddr;
use std::sync::Arc;

use alpha_alerts::inbound::{AcknowledgeLinks, Backend, Inbound, Live, Serving, serve};
use alpha_alerts::notifiers::Environment;
use alpha_alerts::{Clock as _, Dispatcher, Store, SystemClock, Text as AlertsText};
use alpha_probes::monitor::Monitor;
use alpha_probes::text;
use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::super::Failure;
use super::{Reloads, metrics};
use crate::adapt::{alerts_error, reworded};
use crate::config::{Config, ServeConfig};
use crate::language::Language;
use crate::secrets::LocalSecrets;

/// A socket that listens, and once it is started the task that answers.
pub(super) struct Server {
    listener: Option<TcpListener>,
    url: Url,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens where the configuration says; nobody is answered yet.
    pub(super) async fn bind(config: &ServeConfig) -> Result<Self, Failure> {
        let refused = |error: std::io::Error| {
            text!(
                "could not listen on {address}: {cause}",
                address = config.listen.as_str(),
                cause = error.to_string()
            )
        };
        let listener = TcpListener::bind(&config.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self {
            listener: Some(listener),
            url: url_of(address, config)?,
            stop: CancellationToken::new(),
            task: None,
        })
    }

    /// Where it is reached.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Begins to answer.
    pub(super) fn start(
        mut self,
        config: &Config,
        live: &Arc<Live>,
        reloads: Reloads,
        monitor: &Monitor,
        language: Language,
    ) -> Result<Self, Failure> {
        let inbound = &config.serve.inbound;
        let serving = Serving::new(inbound).map_err(|error| alerts_error(&error))?;
        let backend = Arc::clone(live) as Arc<dyn Backend>;
        let router = Inbound::new(backend, inbound, &LocalSecrets)
            .map_err(|problems| reworded(&AlertsText::list(problems)))?
            .with_reload(Arc::new(reloads))
            .with_translations(Arc::new(language))
            .router();
        let router = metrics::with_checks(router, monitor.clone());
        if let Some(listener) = self.listener.take() {
            let stop = self.stop.clone();
            self.task = Some(tokio::spawn(async move {
                serve(listener, router, serving, stop.cancelled_owned()).await;
            }));
        }
        Ok(self)
    }

    /// Takes no further request, and answers those that are under way.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(task) = &mut self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the server came to a bad end");
        }
    }
}

fn url_of(address: SocketAddr, config: &ServeConfig) -> Result<Url, Failure> {
    let scheme = if config.inbound.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let url = format!("{scheme}://{address}{}", config.inbound.path_prefix);
    Ok(url
        .parse()
        .map_err(|error: url::ParseError| text!("could not start: {cause}", cause = error.to_string()))?)
}

/// The dispatcher that the configuration describes, running.
pub(super) async fn dispatcher(config: &Config, store: Arc<dyn Store>) -> Result<Dispatcher, Failure> {
    let mut environment = Environment::new(Arc::new(LocalSecrets))
        .with_external_url(config.alerts.external_url.clone())
        .with_language(config.alerts.language)
        .with_time_zone(TimeZone::system())
        .with_timeout(config.alerts.delivery.timeout.0);
    if let (Some(links), Some(base)) = (
        &config.serve.inbound.acknowledge_links,
        &config.alerts.external_url,
    ) {
        let links = AcknowledgeLinks::new(links, base.clone(), &LocalSecrets)?;
        environment = environment.with_acknowledge(Arc::new(move |notification| {
            links.link(notification, SystemClock.now())
        }));
    }
    let dispatcher = Dispatcher::builder(config.alerts.clone(), store, environment);
    Ok(dispatcher.start().await?)
}
