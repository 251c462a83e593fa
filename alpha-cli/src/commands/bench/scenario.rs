//! What the arguments ask for: where the load goes, and which load it is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use alpha_bench::targets::transport::Tcp;
use alpha_bench::{
    Arrivals, Closed, Config, Inputs, LoadModel, Open, ReplayLog, Request, RpcCall, Scenario, Spacing,
};
use alpha_probes::text;
use url::{Host, Url};

use super::results::read_file;
use super::{Failure, Shell};
use crate::args::{LoadArgs, ModelArg, RunArgs, TargetArgs};
use crate::terminal::Terminal;

/// How many users a closed load has unless told.
const DEFAULT_USERS: usize = 10;

impl Shell<'_> {
    /// What templates are filled with: the environment.
    pub(super) fn inputs(&self) -> Inputs {
        let mut inputs = Inputs::default();
        let readable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        inputs.environment = std::env::vars_os()
            .filter_map(readable)
            .collect::<BTreeMap<_, _>>();
        inputs
    }

    /// The scenario of a file, whose tables are read into `inputs`.
    pub(super) fn read_scenario(&self, file: &Path, inputs: &mut Inputs) -> Result<Scenario, Failure> {
        let scenario: Scenario = toml::from_str(&read_file(file)?).map_err(|error| {
            text!(
                "the scenario {file} is wrong: {cause}",
                file = file.display().to_string(),
                cause = error.to_string()
            )
        })?;
        for (table, path) in &scenario.tables {
            let path = file.parent().unwrap_or_else(|| Path::new(".")).join(path);
            inputs
                .add_table(table, &read_file(&path)?)
                .map_err(|error| self.failure(&error))?;
        }
        Ok(scenario)
    }

    /// One kind of request, or the JSON-RPC calls that were named, under one load.
    pub(super) fn scenario_of(&self, url: &Url, target: &TargetArgs, load: Config) -> Scenario {
        let mut scenario = Scenario::of_url(url.clone(), load);
        scenario.http2 = target.http2;
        if !target.rpc.is_empty() {
            let call = |method: &String| {
                let mut call = RpcCall::new(method);
                call.batch = target.batch;
                call
            };
            scenario.rpc = target.rpc.iter().map(call).collect();
        } else if matches!(url.scheme(), "http" | "https") {
            let mut path = url.path().to_owned();
            if let Some(query) = url.query() {
                path = format!("{path}?{query}");
            }
            let mut request = Request::get(path);
            request.method = target.method.clone();
            request.headers = target.headers.iter().cloned().collect();
            request.body = target.body.clone();
            scenario.request = vec![request];
        }
        scenario
    }

    /// The requests of a log, at their own times.
    pub(super) fn replay(
        &self,
        url: &Url,
        args: &RunArgs,
        inputs: &mut Inputs,
        terminal: &mut Terminal,
    ) -> Result<Scenario, Failure> {
        let Some(file) = &args.log else {
            return Err(text!("a replay needs a log, given by --log FILE").into());
        };
        let log = ReplayLog::parse(&read_file(file)?).map_err(|error| self.failure(&error))?;
        if log.left_out() > 0 {
            let note = text!(
                "{count} requests of the log are left out: only GET can be played back",
                count = log.left_out()
            );
            terminal.warning(self.language, &note);
        }
        let mut open = Open::new(Arrivals::Replay(log.replay(args.speed)));
        open.max_connections = args.load.connections.unwrap_or(open.max_connections);
        let config = with_bounds(Config::new(LoadModel::Open(open)), &args.load);
        let mut scenario = self.scenario_of(url, &args.target, config);
        let mut requests = log.requests(inputs);
        if !requests.is_empty() && scenario.rpc.is_empty() {
            for request in &mut requests {
                request.headers = args.target.headers.iter().cloned().collect();
            }
            scenario.request = requests;
        }
        Ok(scenario)
    }

    /// Refuses a target that may belong to somebody else: a load is an attack on whoever did not ask for it.
    pub(super) async fn guard(&self, url: &Url, is_owned: bool) -> Result<(), Failure> {
        if is_owned {
            return Ok(());
        }
        let addresses: Vec<IpAddr> = match url.host() {
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            _ => {
                let tcp = Tcp::resolve(url).await.map_err(|error| self.failure(&error))?;
                tcp.addresses().iter().map(std::net::SocketAddr::ip).collect()
            }
        };
        match addresses.into_iter().find(|address| !is_near(*address)) {
            None => Ok(()),
            Some(address) => Err(text!(
                "{address} is neither this machine nor in a private network; add --i-own-this-target if you may put a load on it",
                address = address.to_string()
            )
            .into()),
        }
    }
}

/// Whether an address is this machine's or of a private network (RFC 1918, RFC 4193, link-local).
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_near(address.into()),
            None => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
        },
    }
}

/// The load that the arguments ask for.
pub(super) fn load(args: &LoadArgs) -> Result<Config, Failure> {
    let model = match args.model {
        ModelArg::Closed => LoadModel::Closed(Closed {
            connections: args.connections.unwrap_or(DEFAULT_USERS),
        }),
        ModelArg::Open => open(args, args.rate),
        ModelArg::Replay => {
            return Err(
                text!("a replay takes its times from a log, which only `alpha bench run URL` has").into(),
            );
        }
    };
    Ok(with_bounds(Config::new(model), args))
}

fn with_bounds(mut config: Config, args: &LoadArgs) -> Config {
    config.duration = args.duration;
    config.requests = args.requests;
    config.workers = args.workers;
    config.pinned = args.pin;
    config.fresh_connections = args.fresh_connections;
    config.thresholds = args.thresholds.clone();
    config.warm_up = args.warm_up.unwrap_or(config.warm_up);
    config.timeout = args.timeout.unwrap_or(config.timeout);
    config.spin = args.spin.unwrap_or(config.spin);
    config
}

/// An open load of `rate` requests a second.
pub(super) fn open(args: &LoadArgs, rate: f64) -> LoadModel {
    let mut open = Open::new(Arrivals::Constant(rate));
    open.spacing = if args.poisson {
        Spacing::Poisson
    } else {
        Spacing::Even
    };
    open.max_connections = args.connections.unwrap_or(open.max_connections);
    LoadModel::Open(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_private_networks_are_near() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.9.9",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in [
            "8.8.8.8",
            "172.32.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
            "100.64.0.1",
        ] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }
}
