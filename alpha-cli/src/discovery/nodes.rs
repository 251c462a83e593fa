//! Substrate nodes.

use alpha_probes::probes::substrate::{
    self, ChainConfig, Discovered, EquivocationConfig, FinalityConfig, NodeConfig, NodeProcessConfig,
    PeersConfig, PerformanceConfig, PoolConfig, RuntimeConfig, SlotClockConfig, SyncConfig, ValidatorConfig,
};
use alpha_probes::probes::{ClockConfig, SubstrateConfig};
use alpha_probes::{CheckConfig, CheckId, text};
use url::Url;

use super::{Found, PATIENCE, check};

/// The default of a node's `--prometheus-port`.
const METRICS_PORT: u16 = 9615;

/// The checks of the node behind `port`; none where no node answers.
pub(super) async fn discover(port: u16) -> Option<Found> {
    let url: Url = format!("http://127.0.0.1:{port}").parse().ok()?;
    let node = substrate::discover(&url, PATIENCE).await.ok()?;
    let what = text!(
        "a Substrate node on port {port}: {client} {version} on {chain}, {roles}",
        port = port,
        client = node.client.as_str(),
        version = node.version.as_str(),
        chain = node.chain.as_str(),
        roles = node.roles.join(", ")
    );
    Some(Found::new(what, checks(port, &node).await))
}

async fn checks(port: u16, node: &Discovered) -> Vec<CheckConfig> {
    let url = || node.url.clone();
    let name = format!("node/{port}");
    let parent: Option<CheckId> = name.parse().ok();
    let about = |question: &str, config: SubstrateConfig| {
        let mut found = check(format!("{name}/{question}"));
        found.substrate = Some(config);
        found.depends_on.extend(parent.clone());
        found
    };
    let mut identity = check(name.clone());
    identity.substrate = Some(SubstrateConfig::Node(NodeConfig::new(url())));
    let mut checks = vec![
        identity,
        about("chain", SubstrateConfig::Chain(ChainConfig::new(vec![url()]))),
        about("sync", SubstrateConfig::Sync(SyncConfig::new(url()))),
        about("runtime", SubstrateConfig::Runtime(RuntimeConfig::new(url()))),
    ];
    // A node that never had a peer to look for, such as one in development mode, is not cut off from anything.
    let mut peers = PeersConfig::new(url());
    peers.solo = node.peers == 0 && node.is_signer != Some(true);
    checks.push(about("peers", SubstrateConfig::Peers(peers)));
    if node.is_signer == Some(true) {
        checks.push(about(
            "finality",
            SubstrateConfig::Finality(FinalityConfig::new(url())),
        ));
        checks.push(about(
            "validators",
            SubstrateConfig::Validator(ValidatorConfig::new(url())),
        ));
        checks.push(about(
            "equivocation",
            SubstrateConfig::Equivocation(EquivocationConfig::new(vec![url()])),
        ));
        checks.push(about(
            "slots",
            SubstrateConfig::Clock(SlotClockConfig::new(url())),
        ));
        let mut clock = check("host/clock".to_owned());
        clock.clock = Some(ClockConfig::default());
        checks.push(clock);
    }
    if let Some(metrics) = metrics().await {
        checks.push(about(
            "transactions",
            SubstrateConfig::Pool(PoolConfig::new(url(), metrics.clone())),
        ));
        checks.push(about(
            "process",
            SubstrateConfig::Process(NodeProcessConfig::new(metrics.clone())),
        ));
        checks.push(about(
            "performance",
            SubstrateConfig::Performance(PerformanceConfig::new(url(), metrics)),
        ));
    }
    checks
}

/// The address of the node's metrics, where something answers on the usual port.
async fn metrics() -> Option<Url> {
    let connect = tokio::net::TcpStream::connect(("127.0.0.1", METRICS_PORT));
    tokio::time::timeout(PATIENCE, connect).await.ok()?.ok()?;
    format!("http://127.0.0.1:{METRICS_PORT}/metrics").parse().ok()
}
