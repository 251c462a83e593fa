//! The same questions, asked of real nodes.

use std::time::Duration;

use alpha_probes::check::ProbeConfig as _;
use alpha_probes::probes::substrate::{
    ChainConfig, ClientConfig, EquivocationConfig, FinalityConfig, KeysConfig, NodeConfig, NodeProcessConfig,
    PeersConfig, PerformanceConfig, PoolConfig, RuntimeConfig, SignerConfig, SlashesConfig, SlotClockConfig,
    SubstrateConfig, SyncConfig, ValidatorConfig, discover,
};
use alpha_probes::suite::Suite;
use alpha_probes::testing::{NodeDouble, Script};
use alpha_probes::{Check, CheckReport, Resources, Status};
use testbed::{DevNode, Node, Relay};
use tokio::time::Instant;
use url::Url;

use super::double::{call, shape};

/// The stashes of the development validators, by the names of their nodes.
const STASHES: [(&str, &str); 4] = [
    ("alice", "5GNJqTPyNqANBkUVMN1LPPrxXnFouWXoe2wNSmmEoLctxiZY"),
    ("bob", "5HpG9w8EBLe5XCrbczpwq5TSXvedjrBGCwqxK1iQ7qUsSWFc"),
    ("charlie", "5Ck5SLSHYac6WFt5UZRSsdJjwmpSZq85fd5TRNAdZQVzEAPT"),
    ("dave", "5HKPmK9GYtE1PSLsS1qiYU9xQ9Si1NcEhdeCq9sw5bqu4ns8"),
];

fn url(node: &Node) -> Url {
    node.rpc.parse().unwrap()
}

async fn judge(config: impl Into<SubstrateConfig>, resources: &Resources) -> CheckReport {
    let probe = config.into().build(resources).unwrap();
    let check = Check::new("it", probe)
        .unwrap()
        .with_timeout(Duration::from_secs(5));
    Suite::new(vec![check]).unwrap().run().await.checks.remove(0)
}

/// Judges again and again until `enough`, for at most `patience`.
#[expect(clippy::print_stdout, reason = "how long it took is worth knowing")]
async fn until(
    what: &str,
    patience: Duration,
    config: &SubstrateConfig,
    resources: &Resources,
    enough: impl Fn(&CheckReport) -> bool,
) -> CheckReport {
    let started = Instant::now();
    loop {
        let report = judge(config.clone(), resources).await;
        if enough(&report) {
            println!(
                "{what} after {} s: {}",
                started.elapsed().as_secs(),
                report.reason
            );
            return report;
        }
        assert!(
            started.elapsed() < patience,
            "{what} was not seen in {} s; the last that was seen: {report:#?}",
            patience.as_secs()
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn assert_status(report: &CheckReport, status: Status) {
    assert_eq!(report.status, status, "{} {}", report.kind, report.reason);
}

fn value(report: &CheckReport, name: &str, validator: &str) -> f64 {
    let mut all = report.measurements.iter();
    let of = |labels: &alpha_probes::Labels| labels.iter().any(|(_, value)| value.starts_with(validator));
    all.find(|measurement| measurement.name == name && of(&measurement.labels))
        .unwrap_or_else(|| panic!("{name} of {validator} was not measured"))
        .value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_development_node_is_seen_to_rise_hang_die_and_to_have_a_twin() {
    let node = testbed::need!(DevNode::start());
    let resources = Resources::default();
    let mut itself = NodeConfig::new(url(&node));
    itself.metrics = Some(node.metrics.parse().unwrap());
    // Its timestamps stand two hours back, it has no peers, and all of that is well.
    for config in [
        SubstrateConfig::Node(itself.clone()),
        SubstrateConfig::Chain(ChainConfig::new(vec![url(&node)])),
        SubstrateConfig::Sync(SyncConfig::new(url(&node))),
        SubstrateConfig::Peers(PeersConfig::new(url(&node))),
        SubstrateConfig::Finality(FinalityConfig::new(url(&node))),
        SubstrateConfig::Pool(PoolConfig::new(url(&node), node.metrics.parse().unwrap())),
    ] {
        assert_status(&judge(config, &resources).await, Status::Ok);
    }
    // What it has no answer to is not taken for a good one.
    for config in [
        SubstrateConfig::Validator(ValidatorConfig::new(url(&node))),
        SubstrateConfig::Clock(SlotClockConfig::new(url(&node))),
    ] {
        let report = judge(config, &resources).await;
        assert_status(&report, Status::Unknown);
        assert!(
            report.reason.to_string().starts_with("not applicable"),
            "{}",
            report.reason
        );
    }
    let report = judge(SubstrateConfig::Node(itself.clone()), &resources).await;
    let peer_id = report.facts["peer_id"].as_str().unwrap().to_owned();
    assert!(report.facts.contains_key("process_start"));
    let found = discover(&url(&node), Duration::from_secs(5)).await.unwrap();
    assert_eq!(
        (found.is_signer, found.client.as_str()),
        (Some(false), "polkadot-omni-node")
    );

    // The scripted node has the shape of this one.
    let double = NodeDouble::start(Script::development()).await;
    for (method, params) in [
        ("system_health", "[]"),
        ("system_syncState", "[]"),
        ("system_localPeerId", "[]"),
        ("chain_getBlockHash", "[0]"),
        ("state_getRuntimeVersion", "[]"),
        ("grandpa_roundState", "[]"),
        ("state_call", r#"["AuraApi_slot_duration","0x"]"#),
        ("state_call", r#"["BabeApi_configuration","0x"]"#),
    ] {
        let (real, scripted) = (
            call(&url(&node), method, params).await,
            call(&double.url(), method, params).await,
        );
        assert_eq!(shape(&real), shape(&scripted), "{method}: {real} and {scripted}");
    }

    // A second node on the same ports answers elsewhere, and is not taken for the first.
    let twin = testbed::need!(node.start_beside());
    let mut expected = NodeConfig::new(url(&twin));
    expected.peer_id = Some(peer_id);
    let report = judge(SubstrateConfig::Node(expected), &resources).await;
    assert_status(&report, Status::Critical);
    assert!(
        report.reason.to_string().starts_with("another node answers here"),
        "{}",
        report.reason
    );
    drop(twin);

    node.pause();
    let report = judge(SubstrateConfig::Node(itself.clone()), &resources).await;
    assert_status(&report, Status::Critical);
    assert!(
        report.reason.to_string().contains("does not answer within"),
        "{}",
        report.reason
    );
    let chain = SubstrateConfig::Chain(ChainConfig::new(vec![url(&node)]));
    assert_status(&judge(chain.clone(), &resources).await, Status::Unknown);
    node.resume();
    assert_status(&judge(chain, &resources).await, Status::Ok);

    node.kill();
    // What it said before serves whoever asks within the same second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let report = judge(SubstrateConfig::Node(itself), &resources).await;
    assert_status(&report, Status::Critical);
    assert!(
        report.reason.to_string().contains("Connection refused"),
        "{}",
        report.reason
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_four_loses_its_validators_one_by_one() {
    let relay = testbed::need!(Relay::start(4));
    let [alice, bob, charlie, dave] = ["alice", "bob", "charlie", "dave"].map(|name| relay.validator(name));
    let resources = Resources::default();
    let mut validators = ValidatorConfig::new(url(alice));
    for (name, stash) in STASHES {
        validators = validators.with_validator(name, stash);
    }
    let validators = SubstrateConfig::Validator(validators);
    let finality = SubstrateConfig::Finality(FinalityConfig::new(url(alice)));
    let chain = SubstrateConfig::Chain(ChainConfig::new(relay.validators.iter().map(url).collect()));

    until(
        "a healthy chain",
        Duration::from_secs(150),
        &finality,
        &resources,
        |report| {
            report.status == Status::Ok
                && report
                    .measurements
                    .iter()
                    .any(|measurement| measurement.name == "finalized" && measurement.value >= 3.0)
        },
    )
    .await;
    let peers = SubstrateConfig::Peers(PeersConfig::new(url(alice)));
    until(
        "three peers",
        Duration::from_secs(60),
        &peers,
        &resources,
        |report| report.status == Status::Ok,
    )
    .await;
    for config in [
        SubstrateConfig::Node(NodeConfig::new(url(alice))),
        chain.clone(),
        SubstrateConfig::Sync(SyncConfig::new(url(alice))),
        SubstrateConfig::Keys(KeysConfig::new(url(alice), STASHES[0].1)),
        SubstrateConfig::Clock(SlotClockConfig::new(url(alice))),
    ] {
        assert_status(&judge(config, &resources).await, Status::Ok);
    }
    let report = judge(
        SubstrateConfig::Runtime(RuntimeConfig::new(url(alice))),
        &resources,
    )
    .await;
    assert!(
        report.reason.to_string().starts_with("not applicable"),
        "{}",
        report.reason
    );
    let others = SubstrateConfig::Keys(KeysConfig::new(url(alice), STASHES[1].1));
    assert_status(&judge(others, &resources).await, Status::Critical);
    let found = discover(&url(alice), Duration::from_secs(5)).await.unwrap();
    assert_eq!(found.is_signer, Some(true));
    // The last to start let slots pass until it had peers.
    until(
        "everybody at work",
        Duration::from_secs(120),
        &validators,
        &resources,
        |report| report.status == Status::Ok,
    )
    .await;

    dave.stop();
    let is_named = |report: &CheckReport| {
        report
            .reason
            .to_string()
            .starts_with("active but silent: dave (5HKPmK9")
    };
    let report = until(
        "dave's silence",
        Duration::from_secs(120),
        &validators,
        &resources,
        is_named,
    )
    .await;
    assert!(value(&report, "missed_slots_in_a_row", "dave") <= 2.0);
    let report = judge(finality.clone(), &resources).await;
    assert_status(&report, Status::Warning);
    assert!(
        report.reason.to_string().contains("dave (5HKPmK9"),
        "{}",
        report.reason
    );
    assert_status(&judge(chain.clone(), &resources).await, Status::Ok);

    charlie.stop();
    let is_lost = |report: &CheckReport| report.reason.to_string().starts_with("finality has stopped");
    let report = until(
        "the loss of finality",
        Duration::from_secs(90),
        &finality,
        &resources,
        is_lost,
    )
    .await;
    let said = report.reason.to_string();
    assert!(
        said.contains("charlie (5Ck5SLS") && said.contains("dave (5HKPmK9"),
        "{said}"
    );
    // A process that has only just begun to look sees it too.
    let fresh = Resources::default();
    until(
        "the same from a first look",
        Duration::from_secs(60),
        &finality,
        &fresh,
        |report| report.status == Status::Critical,
    )
    .await;

    bob.cut_off();
    let report = judge(SubstrateConfig::Peers(PeersConfig::new(url(bob))), &resources).await;
    assert_status(&report, Status::Critical);
    assert!(
        report.reason.to_string().starts_with("the node is isolated"),
        "{}",
        report.reason
    );
    // The node itself sees nothing wrong.
    let health = call(&url(bob), "system_health", "[]").await;
    assert!(health.contains(r#""peers":0,"isSyncing":false"#), "{health}");

    alice.stop();
    bob.stop();
    let report = judge(chain, &resources).await;
    assert_status(&report, Status::Critical);
    let said = report.reason.to_string();
    assert!(
        said.starts_with("none of the 4 nodes answers, so the network has halted"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_with_a_validators_keys_is_found_by_its_blocks_and_by_its_keystore() {
    let relay = testbed::need!(Relay::start(2));
    let [alice, bob] = ["alice", "bob"].map(|name| relay.validator(name));
    let resources = Resources::default();
    // Asked of another validator only, as one that watches somebody else's keys would.
    let equivocation = EquivocationConfig::new(vec![url(bob)]).with_validator("alice", STASHES[0].1);
    let equivocation = SubstrateConfig::Equivocation(equivocation);
    let metrics = || alice.metrics.parse().unwrap();
    until(
        "a chain that makes blocks and tells of every one",
        Duration::from_secs(150),
        &equivocation,
        &resources,
        |report| {
            report.status == Status::Ok
                && report
                    .measurements
                    .iter()
                    .any(|measurement| measurement.name == "blocks_compared" && measurement.value >= 3.0)
        },
    )
    .await;
    for config in [
        SubstrateConfig::Process(NodeProcessConfig::new(metrics())),
        SubstrateConfig::Performance(PerformanceConfig::new(url(alice), metrics())),
        SubstrateConfig::Client(ClientConfig::new(vec![url(alice), url(bob)])),
        SubstrateConfig::Slashes(SlashesConfig::new(url(alice))),
    ] {
        assert_status(&judge(config, &resources).await, Status::Ok);
    }

    // One watch that goes on, and hears of every block as it comes.
    let probe = equivocation.build(&resources).unwrap();
    let watch = Check::new("watch", probe).unwrap();
    let look = async || {
        let suite = Suite::new(vec![watch.clone()]).unwrap();
        suite.run().await.checks.remove(0)
    };
    look().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = look().await;
    assert_status(&report, Status::Ok);
    let live = report
        .measurements
        .iter()
        .find(|measurement| measurement.name == "vantages_live");
    assert_eq!(live.unwrap().value, 1.0);

    let twin = relay.start_twin(alice);
    let mut signer = SignerConfig::new(url(alice), STASHES[0].1);
    signer.metrics = Some(metrics());
    signer.others = vec![url(&twin), url(bob)];
    let report = judge(SubstrateConfig::Signer(signer), &resources).await;
    assert_status(&report, Status::Critical);
    assert!(
        report
            .reason
            .to_string()
            .starts_with("2 nodes hold the same session keys"),
        "{}",
        report.reason
    );
    let started = Instant::now();
    let report = loop {
        let report = look().await;
        if report.status != Status::Ok || started.elapsed() > Duration::from_secs(120) {
            break report;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    assert_status(&report, Status::Critical);
    let said = report.reason.to_string();
    assert!(
        said.starts_with("two blocks for one slot, made by alice (5GNJqTP")
            && said.contains("100 % of its stake"),
        "{said}"
    );
}
