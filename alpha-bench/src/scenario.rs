//! What is sent where, and under which loads, as one file says it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock::{Clock, SystemClock};
use crate::compare::{join_slices, mark_interleaved};
use crate::config::Config;
use crate::engine::{LoadTest, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::report::BenchReport;
use crate::request::{Check, Request};
use crate::schedule::LoadModel;
use crate::target::Target;
use crate::template::Inputs;
use crate::text;

/// How many calls a JSON-RPC batch may hold.
const LARGEST_BATCH: u32 = 1000;

/// Requests to one place, and the loads under which they are sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Scenario {
    /// What reports call it.
    pub name: Option<String>,
    /// Where the requests go: `http`, `https`, `ws` or `wss`, a host and perhaps a port and a path.
    pub url: Option<Url>,
    /// Speaks HTTP/2; off by default.
    pub http2: bool,
    /// The HTTP requests and how often each is sent; one `GET` of the URL's path if there is none.
    pub request: Vec<Request>,
    /// The JSON-RPC calls and how often each is sent, instead of requests.
    pub rpc: Vec<RpcCall>,
    /// Tables for `${column:TABLE.NAME}`: the CSV files they are read from, by the name of the table.
    pub tables: BTreeMap<String, String>,
    /// The loads, one after the other; a single default one if there is none.
    pub load: Vec<Config>,
}

/// A JSON-RPC 2.0 call, alone or repeated in a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RpcCall {
    /// What reports call it; the method by default.
    pub name: Option<String>,
    /// How often it is sent compared with the others; 1 by default.
    pub weight: u32,
    /// The method.
    pub method: String,
    /// Its parameters; none by default. Strings may hold templates.
    pub params: Vec<Value>,
    /// How many calls one message holds; 1, which is no batch, by default and at most 1000.
    pub batch: u32,
}

impl Default for RpcCall {
    fn default() -> Self {
        Self {
            name: None,
            weight: 1,
            method: String::new(),
            params: Vec::new(),
            batch: 1,
        }
    }
}

impl RpcCall {
    /// A call of `method` without parameters.
    pub fn new(method: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            ..Self::default()
        }
    }

    fn to_request(&self, path: &str) -> Result<Request> {
        if self.method.is_empty() || self.batch == 0 || self.batch > LARGEST_BATCH {
            return Err(Error::invalid(text!(
                "a JSON-RPC call needs a method and a batch of 1 to {most}, not {batch}",
                most = LARGEST_BATCH,
                batch = self.batch
            )));
        }
        let call = |id: u32| {
            let (method, params) = (
                Value::from(self.method.as_str()),
                Value::from(self.params.clone()),
            );
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#)
        };
        let body = match self.batch {
            1 => call(1),
            calls => format!("[{}]", (1..=calls).map(call).collect::<Vec<_>>().join(",")),
        };
        Ok(Request {
            name: Some(self.name.clone().unwrap_or_else(|| self.method.clone())),
            weight: self.weight,
            check: Check {
                rpc_answers: Some(self.batch),
                ..Check::default()
            },
            ..Request::post(path, body).with_header("content-type", "application/json")
        })
    }
}

impl Scenario {
    /// A `GET` of `url` under one load.
    pub fn of_url(url: Url, load: Config) -> Self {
        Self {
            url: Some(url),
            load: vec![load],
            ..Self::default()
        }
    }

    /// The quarterly benchmark of the maintenance plan: its three endpoints a hundred times each, then together under
    /// 10, 50 and 100 users for ten seconds each.
    pub fn quarterly(url: Url) -> Self {
        let endpoints = ["/health", "/users/profile/alice", "/content/feed?limit=20"];
        let named = |name: &str, config: Config| Config {
            name: Some(name.to_owned()),
            ..config
        };
        let users = |count: usize| {
            let load = Config::new(LoadModel::closed(count)).with_duration(Duration::from_secs(10));
            named(&format!("{count} users"), load)
        };
        Self {
            name: Some("quarterly benchmark".to_owned()),
            url: Some(url),
            request: endpoints.into_iter().map(Request::get).collect(),
            load: vec![
                named(
                    "100 requests each",
                    Config::new(LoadModel::closed(1)).with_requests(300),
                ),
                users(10),
                users(50),
                users(100),
            ],
            ..Self::default()
        }
    }

    /// Reads everything that can be wrong in the scenario, sends nothing.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) for the first thing that is wrong.
    pub fn check(&self, inputs: &Inputs) -> Result<()> {
        let url = self.url()?;
        crate::request::Mix::new(&self.requests(url)?, inputs)?;
        self.loads().iter().try_for_each(|load| load.settle(1).map(drop))
    }

    /// Runs all loads, one after the other, and reports on each; those after a cancelled `stop` are left out.
    ///
    /// # Errors
    /// As [`check`](Self::check) and [`LoadTest::run`]; [`Unreachable`](ErrorKind::Unreachable) if the host cannot be
    /// resolved.
    pub async fn run(&self, inputs: &Inputs, options: &RunOptions) -> Result<Vec<BenchReport>> {
        self.check(inputs)?;
        let mut reports = Vec::new();
        for load in self.loads() {
            reports.push(self.run_load(&load, inputs, options).await?);
            if options.stop.is_cancelled() {
                break;
            }
        }
        Ok(reports)
    }

    /// Runs one load.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_load(
        &self,
        load: &Config,
        inputs: &Inputs,
        options: &RunOptions,
    ) -> Result<BenchReport> {
        let url = self.url()?;
        let requests = self.requests(url)?;
        let load = Config {
            name: load.name.clone().or_else(|| self.name.clone()),
            ..load.clone()
        };
        match url.scheme() {
            #[cfg(feature = "http2")]
            "http" if self.http2 => {
                let tcp = crate::targets::transport::Tcp::resolve(url).await?;
                options
                    .put(load, crate::targets::Http2::new(tcp, url, &requests, inputs)?)
                    .await
            }
            #[cfg(feature = "http1")]
            "http" if !self.http2 => {
                let tcp = crate::targets::transport::Tcp::resolve(url).await?;
                let keep_alive = !load.fresh_connections;
                options
                    .put(
                        load,
                        crate::targets::Http1::new(tcp, url, &requests, inputs, keep_alive)?,
                    )
                    .await
            }
            #[cfg(all(feature = "http2", feature = "tls"))]
            "https" if self.http2 => {
                let tls = crate::targets::transport::Tls::resolve(url, &["h2"], &options.trusted).await?;
                options
                    .put(load, crate::targets::Http2::new(tls, url, &requests, inputs)?)
                    .await
            }
            #[cfg(all(feature = "http1", feature = "tls"))]
            "https" if !self.http2 => {
                let tls =
                    crate::targets::transport::Tls::resolve(url, &["http/1.1"], &options.trusted).await?;
                let keep_alive = !load.fresh_connections;
                options
                    .put(
                        load,
                        crate::targets::Http1::new(tls, url, &requests, inputs, keep_alive)?,
                    )
                    .await
            }
            #[cfg(feature = "websocket")]
            "ws" => {
                let tcp = crate::targets::transport::Tcp::resolve(url).await?;
                options
                    .put(load, crate::targets::WebSocket::new(tcp, url, &requests, inputs)?)
                    .await
            }
            #[cfg(all(feature = "websocket", feature = "tls"))]
            "wss" => {
                let tls =
                    crate::targets::transport::Tls::resolve(url, &["http/1.1"], &options.trusted).await?;
                options
                    .put(load, crate::targets::WebSocket::new(tls, url, &requests, inputs)?)
                    .await
            }
            scheme => Err(Error::new(
                ErrorKind::Unsupported,
                text!("this build cannot put a load on {scheme} URLs", scheme = scheme),
            )),
        }
    }

    /// Runs `load` on this scenario and on `candidate` in turn, slice by slice, so that both see the same weather; the
    /// reports belong together for [`compare`](crate::compare()).
    ///
    /// `load` says what happens within a slice, its duration is the slice's; one second is usual. Which side begins a
    /// pair alternates, so that neither profits from being second.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_interleaved(
        &self,
        candidate: &Self,
        load: &Config,
        pairs: usize,
        inputs: &Inputs,
        options: &RunOptions,
    ) -> Result<(BenchReport, BenchReport)> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for pair in 0..pairs.max(1) {
            let mut sides = [(self, &mut ours), (candidate, &mut theirs)];
            if pair % 2 == 1 {
                sides.reverse();
            }
            for (scenario, slices) in sides {
                slices.push(scenario.run_load(load, inputs, options).await?);
            }
            if options.stop.is_cancelled() {
                break;
            }
        }
        let mut baseline = join_slices(&ours, load)?;
        let mut candidate = join_slices(&theirs, load)?;
        mark_interleaved(&mut baseline, &mut candidate);
        Ok((baseline, candidate))
    }

    /// The loads, with the default one where none stands.
    pub fn loads(&self) -> Vec<Config> {
        if self.load.is_empty() {
            vec![Config::default()]
        } else {
            self.load.clone()
        }
    }

    /// Where the requests go.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the scenario does not say.
    pub fn url(&self) -> Result<&Url> {
        self.url
            .as_ref()
            .ok_or_else(|| Error::invalid(text!("the scenario names no url")))
    }

    fn requests(&self, url: &Url) -> Result<Vec<Request>> {
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        if !self.rpc.is_empty() {
            if !self.request.is_empty() {
                return Err(Error::invalid(text!(
                    "a scenario has either requests or JSON-RPC calls"
                )));
            }
            return self.rpc.iter().map(|call| call.to_request(&path)).collect();
        }
        if matches!(url.scheme(), "ws" | "wss") {
            return Err(Error::invalid(text!(
                "a load on a WebSocket needs JSON-RPC calls"
            )));
        }
        Ok(if self.request.is_empty() {
            vec![Request::get(path)]
        } else {
            self.request.clone()
        })
    }
}

/// What surrounds the runs of a scenario.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunOptions {
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Ends the runs early.
    pub stop: CancellationToken,
    /// Is told how the present run is going.
    pub progress: Option<watch::Sender<Progress>>,
    /// The certificate authorities to trust, in DER; those of this machine if there are none.
    pub trusted: Vec<Vec<u8>>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            stop: CancellationToken::new(),
            progress: None,
            trusted: Vec::new(),
        }
    }
}

impl RunOptions {
    async fn put<T: Target>(&self, load: Config, target: T) -> Result<BenchReport> {
        let mut test = LoadTest::new(load, target)
            .with_clock(Arc::clone(&self.clock))
            .with_stop(self.stop.clone());
        if let Some(progress) = &self.progress {
            test = test.with_progress(progress.clone());
        }
        test.run().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> Result<Scenario, String> {
        toml::from_str(file).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_says_it_all() {
        let scenario = read(
            r#"
            name = "feed"
            url = "http://127.0.0.1:8080"
            [[request]]
            path = "/health"
            weight = 3
            check = { status = [200], json = [{ pointer = "/status", equals = "ok" }] }
            [[request]]
            method = "POST"
            path = "/items/${sequence}"
            headers = { content-type = "application/json" }
            body = '{"id": ${random:1-9}}'
            [[load]]
            model = { open = { arrivals = { constant = 200.0 }, spacing = "poisson" } }
            duration = "30s"
            warm_up = "5s"
            thresholds = ["p95 < 200ms", "errors < 1%"]
            [[load]]
            model = { open = { arrivals = { stages = [{ duration = "5s", from_per_second = 1, to_per_second = 50 }] } } }
            "#,
        )
        .unwrap();
        scenario.check(&Inputs::default()).unwrap();
        assert_eq!(scenario.load.len(), 2);
        assert_eq!(scenario.request[0].check.json[0].equals, Some("ok".into()));
    }

    #[test]
    fn a_typo_is_answered_with_the_place_and_the_keys_that_exist() {
        insta::assert_snapshot!(read("[[request]]\npaht = '/'").unwrap_err(), @r"
        TOML parse error at line 2, column 1
          |
        2 | paht = '/'
          | ^^^^
        unknown field `paht`, expected one of `name`, `weight`, `method`, `path`, `headers`, `body`, `check`
        ");
        let message = |file: &str| {
            read(file)
                .unwrap()
                .check(&Inputs::default())
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(message("name = 'x'"), @"the scenario names no url");
        insta::assert_snapshot!(message("url = 'ws://127.0.0.1'"), @"a load on a WebSocket needs JSON-RPC calls");
        insta::assert_snapshot!(message("url = 'http://a'\nrpc = [{ method = 'm', batch = 0 }]"), @"a JSON-RPC call needs a method and a batch of 1 to 1000, not 0");
    }

    #[test]
    fn the_quarterly_benchmark_is_that_of_the_plan() {
        let scenario = Scenario::quarterly("http://127.0.0.1:3000".parse().unwrap());
        scenario.check(&Inputs::default()).unwrap();
        assert_eq!(scenario.load[0].requests, Some(300));
        let users: Vec<_> = scenario.load[1..].iter().map(|load| load.model.clone()).collect();
        assert_eq!(
            users,
            [
                LoadModel::closed(10),
                LoadModel::closed(50),
                LoadModel::closed(100)
            ]
        );
    }

    #[test]
    fn a_call_becomes_a_message_of_json_rpc() {
        let mut call = RpcCall::new("chain_getBlockHash");
        call.params = vec![0.into()];
        call.batch = 2;
        insta::assert_snapshot!(call.to_request("/").unwrap().body.unwrap(), @r#"[{"jsonrpc":"2.0","id":1,"method":"chain_getBlockHash","params":[0]},{"jsonrpc":"2.0","id":2,"method":"chain_getBlockHash","params":[0]}]"#);
    }
}
