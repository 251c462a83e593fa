//! The questions of a Substrate node, asked of scripted ones; of real ones in `real`.

mod double;
mod offences;
mod real;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use alpha_probes::check::ProbeConfig;
use alpha_probes::probes::substrate::{
    ChainConfig, ExposureConfig, FinalityConfig, KeysConfig, NodeConfig, PeersConfig, RuntimeConfig,
    SlotClockConfig, SubstrateConfig, SyncConfig, ValidatorConfig, discover,
};
use alpha_probes::suite::Suite;
use alpha_probes::testing::{Fault, NodeDouble, SLOT, Script};
use alpha_probes::{Check, CheckReport, Clock, ErrorKind, Resources, Status};
use jiff::Timestamp;
use url::Url;

/// The slot of the best block of every healthy chain here.
const SLOT_NOW: u64 = 300_000_000;

/// A chain of four that is well.
fn healthy() -> Script {
    let mut script = Script::relay();
    script.run_until(SLOT_NOW, &[]);
    script
}

/// `seconds` after the best block of every healthy chain here was made.
fn later(seconds: u64) -> Arc<dyn Clock> {
    let at = Timestamp::from_second(((SLOT_NOW * SLOT.as_secs()) + seconds) as i64).unwrap();
    Arc::new(move || at)
}

/// How one look of `config` is judged by its default rules at that time.
pub(super) async fn judge(
    config: &SubstrateConfig,
    resources: &Resources,
    clock: Arc<dyn Clock>,
) -> CheckReport {
    let probe = config.build(resources).unwrap();
    let check = Check::new("it", probe)
        .unwrap()
        .with_timeout(Duration::from_secs(10));
    let suite = Suite::new(vec![check]).unwrap().with_clock(clock);
    suite.run().await.checks.remove(0)
}

/// The same, as a line; the address of the node is shown as `NODE`.
async fn verdict(config: SubstrateConfig, node: &NodeDouble, seconds: u64) -> String {
    let report = judge(&config, &Resources::default(), later(seconds)).await;
    line(&report).replace(node.url().as_str().trim_end_matches('/'), "NODE")
}

fn line(report: &CheckReport) -> String {
    format!("{}: {}", report.status, report.reason)
}

fn value(report: &CheckReport, name: &str) -> f64 {
    let mut all = report.measurements.iter();
    all.find(|measurement| measurement.name == name)
        .unwrap_or_else(|| panic!("{name} was not measured: {report:?}"))
        .value
}

fn finality(node: &NodeDouble) -> SubstrateConfig {
    SubstrateConfig::Finality(FinalityConfig::new(node.url()))
}

fn chain(nodes: &[&NodeDouble]) -> SubstrateConfig {
    SubstrateConfig::Chain(ChainConfig::new(nodes.iter().map(|node| node.url()).collect()))
}

fn sync(node: &NodeDouble) -> SubstrateConfig {
    SubstrateConfig::Sync(SyncConfig::new(node.url()))
}

fn peers(node: &NodeDouble) -> SubstrateConfig {
    SubstrateConfig::Peers(PeersConfig::new(node.url()))
}

/// The addresses of the accounts of every chain here.
const ADDRESSES: [&str; 4] = [
    "5C62Ck4UrFPiBtoCmeSrgF7x9yv9mn38446dhCpsi2mLHiFT",
    "5C7LYpP2ZH3tpKbvVvwiVe54AapxErdPBbvkYhe6y9ZBkqWt",
    "5C8etthaGJi5SkQeEDSaK32ABBjkhwDeK9ksQCTLEGM3EH14",
    "5C9yEy27yLNG5BDMxVwS8RyGBneZB1ouShazFhGZVP8thK5z",
];

fn validators(node: &NodeDouble) -> SubstrateConfig {
    let config = ValidatorConfig::new(node.url());
    SubstrateConfig::Validator(
        config
            .with_validator("alice", ADDRESSES[0])
            .with_validator("dave", ADDRESSES[3]),
    )
}

/// No address answers on it.
fn nowhere() -> Url {
    format!("http://127.0.0.1:{}", testbed::free_port())
        .parse()
        .unwrap()
}

#[tokio::test]
async fn every_question_of_a_healthy_node_is_answered_well_and_with_few_calls() {
    let node = NodeDouble::start(healthy()).await;
    let resources = Resources::default();
    let questions = [
        SubstrateConfig::Node(NodeConfig::new(node.url())),
        chain(&[&node]),
        sync(&node),
        peers(&node),
        finality(&node),
        validators(&node),
        SubstrateConfig::Keys(KeysConfig::new(node.url(), ADDRESSES[0])),
        SubstrateConfig::Runtime(RuntimeConfig::new(node.url())),
        SubstrateConfig::Clock(SlotClockConfig::new(node.url())),
    ];
    let checks = questions.iter().enumerate().map(|(index, question)| {
        let probe = question.build(&resources).unwrap();
        Check::new(&format!("question-{index}"), probe).unwrap()
    });
    let suite = Suite::new(checks.collect()).unwrap().with_clock(later(3));
    let report = suite.run().await;
    for check in &report.checks {
        assert_eq!(check.status, Status::Ok, "{}: {}", check.kind, check.reason);
        assert_eq!(check.facts["peer_id"], node.script().peer_id.as_str());
        assert_eq!(check.facts["genesis"], node.script().genesis.as_str());
    }
    // Nine questions look at the same node; each alone would make a dozen calls, and the headers are 16 more.
    assert_eq!(node.calls("system_health"), 1);
    assert_eq!(node.calls("state_getRuntimeVersion"), 1);
    assert_eq!(node.calls("state_getMetadata"), 1);
    assert!(node.all_calls() < 60, "{} calls", node.all_calls());
}

#[tokio::test]
async fn a_halted_network_is_told_from_a_node_that_cannot_tell() {
    let (node, other) = (
        NodeDouble::start(healthy()).await,
        NodeDouble::start(healthy()).await,
    );
    let both = chain(&[&node, &other]);
    let said = verdict(both.clone(), &node, 180).await;
    assert_eq!(
        said,
        "critical: the network has halted: no new block for 3 min, the last is #41"
    );
    assert_eq!(
        verdict(both.clone(), &node, 90).await,
        "warning: no new block for 1 min 30 s, the last is #41"
    );
    // One vantage and its peers, none of whom knows more.
    let one = chain(&[&node]);
    assert!(
        verdict(one.clone(), &node, 180)
            .await
            .contains("the network has halted")
    );
    // One vantage that does not tell strangers about its peers.
    node.script().fail("system_peers", Fault::UNSAFE);
    assert_eq!(
        verdict(one, &node, 180).await,
        "critical: no new block for 3 min, the last is #41: either this node has stalled or the network has halted, \
         a single vantage cannot tell which"
    );
    // The other vantage has newer blocks: it is this node that stalled, not the network.
    other.script().run_until(SLOT_NOW + 29, &[]);
    assert!(verdict(both, &node, 180).await.starts_with("ok"));
}

#[tokio::test]
async fn nodes_of_different_chains_are_not_compared() {
    let (node, other) = (
        NodeDouble::start(healthy()).await,
        NodeDouble::start(healthy()).await,
    );
    other.script().genesis = format!("0x{}", "ab".repeat(32));
    let report = judge(&chain(&[&node, &other]), &Resources::default(), later(3)).await;
    assert_eq!(report.status, Status::Unknown);
    assert!(
        report.reason.to_string().contains("different chains"),
        "{}",
        report.reason
    );
    let mut config = SyncConfig::new(node.url());
    config.references.push(other.url());
    let report = judge(&SubstrateConfig::Sync(config), &Resources::default(), later(3)).await;
    assert_eq!(report.status, Status::Unknown);
}

#[tokio::test]
async fn one_node_that_does_not_answer_says_nothing_about_the_network_and_several_do() {
    let one = SubstrateConfig::Chain(ChainConfig::new(vec![nowhere()]));
    let report = judge(&one, &Resources::default(), later(3)).await;
    assert_eq!(report.status, Status::Unknown);
    let two = SubstrateConfig::Chain(ChainConfig::new(vec![nowhere(), nowhere()]));
    let report = judge(&two, &Resources::default(), later(3)).await;
    assert_eq!(report.status, Status::Critical);
    let said = report.reason.to_string();
    assert!(
        said.starts_with("none of the 2 nodes answers, so the network has halted"),
        "{said}"
    );
    // For the node itself, not answering is the finding.
    let itself = SubstrateConfig::Node(NodeConfig::new(nowhere()));
    let report = judge(&itself, &Resources::default(), later(3)).await;
    assert_eq!(report.status, Status::Critical);
    assert!(
        report.reason.to_string().contains("Connection refused"),
        "{}",
        report.reason
    );
}

#[tokio::test]
async fn a_node_that_stands_still_while_its_peers_go_on_has_stalled() {
    let node = NodeDouble::start(healthy()).await;
    node.script().peers = vec![55, 54, 55];
    // It calls itself synchronised, as real ones do.
    assert_eq!(
        verdict(sync(&node), &node, 90).await,
        "critical: the node has stalled: 14 blocks behind, and no new one for 1 min 30 s"
    );
    assert!(
        verdict(sync(&node), &node, 40)
            .await
            .starts_with("warning: the node lags")
    );
    node.script().is_syncing = true;
    assert_eq!(
        verdict(sync(&node), &node, 90).await,
        "warning: the node is catching up: 14 blocks behind"
    );
    // Alone, it cannot be told from a halted network, and is not called well either.
    let mut alone = healthy();
    alone.peers.clear();
    alone.should_have_peers = true;
    let node = NodeDouble::start(alone).await;
    assert!(
        verdict(sync(&node), &node, 90)
            .await
            .starts_with("critical: no new block for 1 min 30 s and nobody")
    );
}

#[tokio::test]
async fn a_node_without_peers_is_isolated_although_it_calls_itself_synchronised() {
    let mut script = healthy();
    script.peers.clear();
    let node = NodeDouble::start(script).await;
    assert_eq!(
        verdict(peers(&node), &node, 3).await,
        "critical: the node is isolated: it has no peers, and that it calls itself synchronised means nothing"
    );
    node.script().peers = vec![41, 41];
    assert_eq!(
        verdict(peers(&node), &node, 3).await,
        "warning: only 2 peers, expected at least 3"
    );
    let mut solo = PeersConfig::new(node.url());
    solo.solo = true;
    node.script().peers.clear();
    assert!(
        verdict(SubstrateConfig::Peers(solo), &node, 3)
            .await
            .starts_with("ok")
    );
}

#[tokio::test]
async fn lost_finality_names_the_voters_that_are_missing() {
    let node = NodeDouble::start(healthy()).await;
    {
        let mut script = node.script();
        script.finalized = 35;
        let vote = script.vote.as_mut().unwrap();
        vote.prevotes_missing = [2, 3].into();
        vote.precommits_missing = [0, 1, 2, 3].into();
    }
    let mut config = FinalityConfig::new(node.url());
    config.names.insert("charlie".to_owned(), ADDRESSES[2].to_owned());
    assert_eq!(
        verdict(SubstrateConfig::Finality(config), &node, 3).await,
        format!(
            "critical: finality has stopped: 1 more votes are needed and do not come, missing are \
             charlie ({}), {}",
            ADDRESSES[2], ADDRESSES[3]
        )
    );
    // Early in a round everybody is missing, and nobody is to blame.
    let everybody = [0, 1, 2, 3];
    node.script().vote.as_mut().unwrap().prevotes_missing = everybody.into();
    assert!(verdict(finality(&node), &node, 3).await.starts_with("ok"));
}

#[tokio::test]
async fn blocks_that_do_not_become_final_are_told_with_or_without_a_vote() {
    let mut script = healthy();
    script.finalized = 20;
    script.vote = None;
    let node = NodeDouble::start(script).await;
    assert_eq!(
        verdict(finality(&node), &node, 3).await,
        "critical: finality stands still: 21 blocks are not final, the last final one is 2 min 9 s old"
    );
    node.script().finalized = 30;
    assert!(
        verdict(finality(&node), &node, 3)
            .await
            .starts_with("warning: finality lags: 11 blocks")
    );
    node.script().finalized = 39;
    node.script().fail("grandpa_roundState", Fault::NOT_READY);
    let report = judge(&finality(&node), &Resources::default(), later(3)).await;
    assert_eq!(report.status, Status::Ok);
    assert!(report.facts["vote"].as_str().unwrap().starts_with("none here"));
}

#[tokio::test]
async fn a_silent_validator_is_named_from_a_single_look() {
    let mut script = Script::relay();
    script.run_until(SLOT_NOW, &[3]);
    let node = NodeDouble::start(script).await;
    assert_eq!(
        verdict(validators(&node), &node, 3).await,
        format!("critical: active but silent: dave ({})", ADDRESSES[3])
    );
    // Nobody is named by hand: all of the set are looked at, and called by their addresses.
    let all = SubstrateConfig::Validator(ValidatorConfig::new(node.url()));
    let report = judge(&all, &Resources::default(), later(3)).await;
    assert_eq!(
        line(&report),
        format!("critical: active but silent: {}", ADDRESSES[3])
    );
    assert_eq!(value(&report, "watched"), 4.0);
}

#[tokio::test]
async fn one_slot_let_pass_is_a_suspicion() {
    let mut script = healthy();
    let mut slot = SLOT_NOW;
    // Dave lets one slot pass, and then it is anybody's turn but his.
    while script.assigned(slot + 1) != 3 {
        slot += 1;
        let author = script.assigned(slot);
        script.add_block(slot, author);
    }
    script.add_block(slot + 2, 0);
    script.add_block(slot + 3, 1);
    let node = NodeDouble::start(script).await;
    assert_eq!(
        verdict(validators(&node), &node, (slot + 3 - SLOT_NOW) * 6).await,
        format!("warning: let their last slot pass: dave ({})", ADDRESSES[3])
    );
}

#[tokio::test]
async fn validators_that_are_barred_leave_or_never_came_are_told() {
    let node = NodeDouble::start(healthy()).await;
    node.script().disabled = vec![3];
    assert_eq!(
        verdict(validators(&node), &node, 3).await,
        format!(
            "critical: barred by the chain for misbehaving: dave ({})",
            ADDRESSES[3]
        )
    );
    node.script().disabled.clear();
    node.script().queued.pop();
    assert_eq!(
        verdict(validators(&node), &node, 3).await,
        format!(
            "warning: leave the active set with the next session: dave ({})",
            ADDRESSES[3]
        )
    );
    let stranger = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    let config = ValidatorConfig::new(node.url()).with_validator("eve", stranger);
    assert_eq!(
        verdict(SubstrateConfig::Validator(config), &node, 3).await,
        format!("warning: not in the active set: eve ({stranger})")
    );
    node.script().has_sessions = false;
    node.script().spec_version += 1;
    assert_eq!(
        verdict(validators(&node), &node, 3).await,
        "unknown: not applicable: this chain has no pallet Session"
    );
}

#[tokio::test]
async fn keys_that_the_node_does_not_hold_are_told_and_a_refusal_is_no_answer() {
    let node = NodeDouble::start(healthy()).await;
    let keys = || SubstrateConfig::Keys(KeysConfig::new(node.url(), ADDRESSES[0]));
    node.script().holds_keys = false;
    assert!(
        verdict(keys(), &node, 3)
            .await
            .starts_with("critical: the node does not hold the keys")
    );
    node.script().queued.clear();
    assert!(
        verdict(keys(), &node, 3)
            .await
            .starts_with("critical: the session keys on record")
    );
    let stranger = KeysConfig::new(node.url(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
    assert!(
        verdict(SubstrateConfig::Keys(stranger), &node, 3)
            .await
            .starts_with("warning: the account has no")
    );
    node.script().fail("author_hasSessionKeys", Fault::UNSAFE);
    assert_eq!(
        verdict(keys(), &node, 3).await,
        "unknown: not permitted: NODE refuses author_hasSessionKeys: it answers unsafe methods on loopback only, ask \
         it from its own machine"
    );
}

#[tokio::test]
async fn an_upgrade_that_is_announced_is_told() {
    let node = NodeDouble::start(healthy()).await;
    let runtime = || SubstrateConfig::Runtime(RuntimeConfig::new(node.url()));
    node.script().authorized_upgrade = Some(Some([0xab; 32]));
    assert_eq!(
        verdict(runtime(), &node, 3).await,
        format!(
            "warning: a runtime upgrade is pending: System.AuthorizedUpgrade 0x{}",
            "ab".repeat(32)
        )
    );
    node.script().authorized_upgrade = None;
    assert!(
        verdict(runtime(), &node, 3)
            .await
            .starts_with("unknown: not applicable: this chain announces no")
    );
}

#[tokio::test]
async fn clocks_that_disagree_are_told() {
    let node = NodeDouble::start(healthy()).await;
    let clock = || SubstrateConfig::Clock(SlotClockConfig::new(node.url()));
    assert!(verdict(clock(), &node, 3).await.starts_with("ok"));
    assert!(
        verdict(clock(), &node, 61)
            .await
            .starts_with("warning: the best block belongs to a slot 10 slots ago")
    );
    node.script().time_offset_millis = 3700;
    assert_eq!(
        verdict(clock(), &node, 3).await,
        "critical: this clock is behind that of the chain by at least 700 ms"
    );
}

#[tokio::test]
async fn another_node_at_the_address_is_told() {
    let node = NodeDouble::start(healthy()).await;
    let mut config = NodeConfig::new(node.url());
    config.peer_id = Some("12D3KooWOther".to_owned());
    let said = verdict(SubstrateConfig::Node(config), &node, 3).await;
    let peer_id = node.script().peer_id.clone();
    assert_eq!(
        said,
        format!("critical: another node answers here: its peer id is {peer_id}, expected 12D3KooWOther")
    );
}

#[tokio::test]
async fn exposure_is_asked_by_a_harmless_unsafe_method() {
    let node = NodeDouble::start(healthy()).await;
    let exposure = SubstrateConfig::Exposure(ExposureConfig::new(node.url()));
    let report = judge(&exposure, &Resources::default(), later(3)).await;
    assert_eq!(
        (value(&report, "answers_unsafe"), value(&report, "is_loopback")),
        (1.0, 1.0)
    );
    assert_eq!(node.all_calls(), node.calls("system_peers"));
    node.script().fail("system_peers", Fault::UNSAFE);
    let report = judge(&exposure, &Resources::default(), later(3)).await;
    assert_eq!(
        (value(&report, "answers_unsafe"), value(&report, "is_reachable")),
        (0.0, 1.0)
    );
    let closed = SubstrateConfig::Exposure(ExposureConfig::new(nowhere()));
    let report = judge(&closed, &Resources::default(), later(3)).await;
    assert_eq!(
        (value(&report, "answers_unsafe"), value(&report, "is_reachable")),
        (0.0, 0.0)
    );
}

#[tokio::test]
async fn a_chain_with_a_time_of_its_own_is_watched_instead() {
    let mut script = Script::development();
    script.run_until(SLOT_NOW, &[]);
    script.finalized = script.best();
    let node = NodeDouble::start(script).await;
    let resources = Resources::default();
    // Nothing comes while it is watched, which proves nothing yet.
    let report = judge(&chain(&[&node]), &resources, later(3)).await;
    assert_eq!(report.status, Status::Unknown);
    assert!(
        report.reason.to_string().contains("cannot tell yet"),
        "{}",
        report.reason
    );
    // A block comes.
    pass(Duration::from_secs(2)).await;
    node.script().run_until(SLOT_NOW + 1, &[]);
    let report = judge(&chain(&[&node]), &resources, later(3)).await;
    assert_eq!(report.status, Status::Ok, "{}", report.reason);
    assert_eq!(report.facts["signal"], "watched");
    // Ten slots of a dead clock say nothing; not having changed for as long says it all.
    pass(Duration::from_secs(150)).await;
    let report = judge(&chain(&[&node]), &resources, later(3)).await;
    assert!(
        line(&report).starts_with("critical: no new block for 2 min 3"),
        "{}",
        line(&report)
    );
}

/// Lets time pass for the clocks of the process without waiting for it.
async fn pass(length: Duration) {
    tokio::time::pause();
    tokio::time::advance(length).await;
    tokio::time::resume();
}

#[tokio::test]
async fn what_was_seen_of_one_node_is_forgotten_when_another_answers() {
    let node = NodeDouble::start(healthy()).await;
    let resources = Resources::default();
    node.script().peers = vec![41; 2];
    judge(&peers(&node), &resources, later(3)).await;
    pass(Duration::from_secs(20 * 60)).await;
    let report = judge(&peers(&node), &resources, later(3)).await;
    assert!(
        line(&report).starts_with("critical: only 2 peers for 20 min"),
        "{}",
        line(&report)
    );
    node.script().peer_id = "12D3KooWTwin".to_owned();
    pass(Duration::from_secs(2)).await;
    let report = judge(&peers(&node), &resources, later(3)).await;
    assert_eq!(report.status, Status::Warning);
}

#[tokio::test]
async fn each_way_to_refuse_is_told_as_what_it_is() {
    let node = NodeDouble::start(healthy()).await;
    let mut lines = Vec::new();
    for fault in [
        Fault::UNSAFE,
        Fault::Missing,
        Fault::RATE_LIMITED,
        Fault::FOREIGN_HOST,
        Fault::BUSY,
        Fault::Status(502, "<html>"),
        Fault::Garbage("<html>"),
        Fault::Garbage(r#"{"jsonrpc":"2.0","id":0,"result":"a string"}"#),
        Fault::Error(2000, "Node is not fully functional"),
        Fault::Truncated,
    ] {
        node.script().fail("system_health", fault);
        lines.push(verdict(finality(&node), &node, 3).await);
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    unknown: not permitted: NODE refuses system_health: it answers unsafe methods on loopback only, ask it from its own machine
    unknown: too old: NODE has no method system_health
    unknown: not permitted: NODE answers no more calls for now: RPC rate limit exceeded
    unknown: not permitted: NODE refuses the name it is called by (HTTP 403): ask it as localhost, or start it with --rpc-cors
    unknown: not permitted: NODE answers no more calls for now: HTTP 429
    unknown: not understood: NODE answers with HTTP 502 and not in JSON-RPC
    unknown: not understood: NODE does not keep to its protocol: Malformed request
    unknown: not understood: NODE does not answer in JSON-RPC
    unknown: not permitted: NODE answers system_health with an error: Node is not fully functional
    unknown: not understood: NODE does not keep to its protocol: end of file before message length reached
    ");
}

#[tokio::test]
async fn a_node_that_hangs_is_a_finding_of_its_own_and_delays_nobody() {
    let (hung, well) = (
        NodeDouble::start(healthy()).await,
        NodeDouble::start(healthy()).await,
    );
    hung.script().fail("", Fault::Hang);
    let resources = Resources::default();
    let ask = async |config: SubstrateConfig| {
        let probe = config.build(&resources).unwrap();
        let check = Check::new("it", probe)
            .unwrap()
            .with_timeout(Duration::from_secs(1));
        let suite = Suite::new(vec![check]).unwrap().with_clock(later(180));
        suite.run().await.checks.remove(0)
    };
    let report = ask(SubstrateConfig::Node(NodeConfig::new(hung.url()))).await;
    assert_eq!(report.status, Status::Critical);
    assert!(
        report.reason.to_string().contains("does not answer within 0.9 s"),
        "{}",
        report.reason
    );
    // The vantage that hangs is left out, and the other one is judged.
    let report = ask(chain(&[&hung, &well])).await;
    assert_eq!(value(&report, "vantages_unreachable"), 1.0);
    assert_eq!(report.status, Status::Critical);
}

#[tokio::test]
async fn a_node_from_before_2023_is_found_on_its_old_port() {
    let taken = std::net::TcpStream::connect(("127.0.0.1", 9944)).is_ok();
    let (false, Ok(node)) = (taken, NodeDouble::start_at(healthy(), 9933).await) else {
        // A real node runs on this machine; nothing is proved by asking it.
        return;
    };
    let url: Url = "http://127.0.0.1:9944".parse().unwrap();
    node.script().fail("system_localPeerId", Fault::Missing);
    let config = SubstrateConfig::Node(NodeConfig::new(url.clone()));
    let report = judge(&config, &Resources::default(), later(3)).await;
    assert_eq!(
        line(&report),
        "warning: the node answers on port 9933 only, as clients before June 2023 did"
    );
    let found = discover(&url, Duration::from_secs(5)).await.unwrap();
    assert_eq!(found.url, node.url());
}

#[tokio::test]
async fn discovery_tells_a_node_that_signs_from_one_that_does_not() {
    let node = NodeDouble::start(healthy()).await;
    let found = discover(&node.url(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(
        (found.chain.as_str(), found.peers, found.best),
        ("Alpha Local", 3, 41)
    );
    assert_eq!(found.is_signer, Some(true));
    node.script().roles = vec!["Full".to_owned()];
    let found = discover(&node.url(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(found.is_signer, Some(false));
    node.script().fail("system_nodeRoles", Fault::Missing);
    let found = discover(&node.url(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(found.is_signer, None);
    let error = discover(&nowhere(), Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    node.script().fail("", Fault::Garbage("hello"));
    let error = discover(&node.url(), Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    node.script().fail("", Fault::Hang);
    let error = discover(&node.url(), Duration::from_millis(200))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[test]
fn a_table_with_something_wrong_in_it_is_refused_with_what_is_right() {
    let read = |text: &str| toml_like(text).map(|config| config.build(&Resources::default()).map(|_| ()));
    assert!(
        read(r#"{"finality":{"node":"http://127.0.0.1:9944"}}"#)
            .unwrap()
            .is_ok()
    );
    for (text, wrong) in [
        (
            r#"{"finalty":{"node":"http://127.0.0.1:9944"}}"#,
            "unknown variant `finalty`",
        ),
        (
            r#"{"finality":{"url":"http://127.0.0.1:9944"}}"#,
            "unknown field `url`",
        ),
        (r#"{"finality":{}}"#, "missing field `node`"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(wrong), "{error}");
    }
    for (text, wrong) in [
        (
            r#"{"keys":{"node":"http://127.0.0.1:9944","account":"alice"}}"#,
            "`account` is no account: expected an address such as 5Grw…, found \"alice\"",
        ),
        (
            r#"{"validator":{"node":"http://127.0.0.1:9944","validators":{"a":"1","b":"2"}}}"#,
            "`validators.a` is no account: expected an address such as 5Grw…, found \"1\"; `validators.b` is no \
             account: expected an address such as 5Grw…, found \"2\"",
        ),
        (
            r#"{"node":{"node":"ftp://127.0.0.1"}}"#,
            "ftp://127.0.0.1 is no address of a node, expected one such as http://127.0.0.1:9944",
        ),
        (
            r#"{"chain":{"nodes":[]}}"#,
            "`nodes` names no node: expected at least one address",
        ),
    ] {
        let error = read(text).unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::InvalidConfig, wrong)
        );
    }
}

fn toml_like(text: &str) -> Result<SubstrateConfig, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}
