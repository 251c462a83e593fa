//! Two signers with one set of keys, and what the chain does about it.

use alpha_probes::probes::substrate::{EquivocationConfig, SignerConfig, SlashesConfig, SubstrateConfig};
use alpha_probes::testing::{Fault, NodeDouble, Script};
use alpha_probes::{Resources, Status};

use super::{ADDRESSES, SLOT_NOW, healthy, judge, later, line, value, verdict};

fn equivocation(nodes: &[&NodeDouble]) -> EquivocationConfig {
    let urls = nodes.iter().map(|node| node.url()).collect();
    EquivocationConfig::new(urls).with_validator("alice", ADDRESSES[0])
}

/// A healthy chain whose best block was made by the validator at that place.
fn made_by(author: u32) -> Script {
    let mut script = healthy();
    script.add_block(SLOT_NOW + 1, author);
    script
}

#[tokio::test]
async fn two_blocks_for_one_slot_are_seen_at_a_peer_that_follows_the_other_one() {
    let node = NodeDouble::start(made_by(0)).await;
    let config = SubstrateConfig::Equivocation(equivocation(&[&node]));
    let resources = Resources::default();
    let report = judge(&config, &resources, later(9)).await;
    assert_eq!(report.status, Status::Ok, "{}", report.reason);
    assert!(value(&report, "blocks_compared") > 30.0);
    // It speaks no WebSocket, and that is told.
    assert_eq!(value(&report, "vantages_live"), 0.0);

    node.script().fork_best();
    let report = judge(&config, &Resources::default(), later(9)).await;
    assert_eq!(
        line(&report),
        format!(
            "critical: two blocks for one slot, made by alice ({}): its keys sign on two nodes, and 56.25 % of its \
             stake is at risk",
            ADDRESSES[0]
        )
    );
    assert_eq!(report.facts["slot"], SLOT_NOW + 1);
    assert_eq!(report.facts["headers"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn two_blocks_for_one_slot_are_seen_by_comparing_two_nodes() {
    let one = NodeDouble::start(made_by(0)).await;
    let mut script = healthy();
    script.add_variant(SLOT_NOW + 1, 0, 7);
    let other = NodeDouble::start(script).await;
    let config = SubstrateConfig::Equivocation(equivocation(&[&one, &other]));
    let report = judge(&config, &Resources::default(), later(9)).await;
    assert_eq!(report.status, Status::Critical, "{}", report.reason);
    assert_eq!(value(&report, "vantages"), 2.0);

    // One of them alone shows nothing, and two forks by two validators are everyday life.
    let alone = SubstrateConfig::Equivocation(equivocation(&[&one]));
    assert_eq!(
        judge(&alone, &Resources::default(), later(9)).await.status,
        Status::Ok
    );
    let fork = NodeDouble::start(made_by(1)).await;
    let forks = SubstrateConfig::Equivocation(equivocation(&[&one, &fork]));
    assert_eq!(
        judge(&forks, &Resources::default(), later(9)).await.status,
        Status::Ok
    );
}

#[tokio::test]
async fn two_blocks_by_somebody_elses_validator_are_a_warning() {
    let node = NodeDouble::start(made_by(2)).await;
    node.script().fork_best();
    assert_eq!(
        verdict(SubstrateConfig::Equivocation(equivocation(&[&node])), &node, 9).await,
        format!(
            "warning: another validator made two blocks for one slot: {}",
            ADDRESSES[2]
        )
    );
}

#[tokio::test]
async fn what_cannot_be_compared_is_never_well() {
    let node = NodeDouble::start(Script::development()).await;
    let config = SubstrateConfig::Equivocation(EquivocationConfig::new(vec![node.url()]));
    let said = verdict(config, &node, 3).await;
    assert!(
        said.starts_with("unknown: not applicable: the slots of this chain"),
        "{said}"
    );

    let (one, other) = (
        NodeDouble::start(healthy()).await,
        NodeDouble::start(healthy()).await,
    );
    other.script().genesis = format!("0x{}", "ab".repeat(32));
    let config = SubstrateConfig::Equivocation(equivocation(&[&one, &other]));
    let said = verdict(config, &one, 3).await;
    assert!(said.contains("are nodes of different chains"), "{said}");
}

#[tokio::test]
async fn two_nodes_that_hold_the_same_keys_are_told_and_one_that_does_not_say_is_not_cleared() {
    let own = NodeDouble::start(healthy()).await;
    let standby = NodeDouble::start(healthy()).await;
    standby.script().peer_id = "12D3KooWStandby".to_owned();
    standby.script().holds_keys = false;
    let mut config = SignerConfig::new(own.url(), ADDRESSES[0]);
    config.others = vec![standby.url()];
    let config = SubstrateConfig::Signer(config);
    let said = verdict(config.clone(), &own, 3).await;
    assert!(said.starts_with("ok"), "{said}");

    standby.script().holds_keys = true;
    let said = verdict(config.clone(), &own, 3).await;
    assert!(
        said.starts_with("critical: 2 nodes hold the same session keys: "),
        "{said}"
    );
    assert!(said.contains("(12D3KooWStandby)"), "{said}");

    // The same node by another address is one holder.
    let peer_id = own.script().peer_id.clone();
    standby.script().peer_id = peer_id;
    let said = verdict(config.clone(), &own, 3).await;
    assert!(said.starts_with("ok"), "{said}");

    standby.script().fail("author_hasSessionKeys", Fault::UNSAFE);
    let said = verdict(config.clone(), &own, 3).await;
    assert!(
        said.starts_with("warning: cannot tell whether these hold the session keys too: http://"),
        "{said}"
    );
    own.script().fail("author_hasSessionKeys", Fault::UNSAFE);
    let said = verdict(config, &own, 3).await;
    assert!(said.starts_with("unknown: not permitted"), "{said}");
}

#[tokio::test]
async fn blocks_that_a_validators_node_did_not_build_betray_a_second_signer() {
    let node = NodeDouble::start(healthy()).await;
    let built = |count: u32| {
        format!(
            "substrate_process_start_time_seconds 1800000000\nsubstrate_proposer_block_constructed_count {count}\n"
        )
    };
    node.script().metrics = built(10);
    let mut config = SignerConfig::new(node.url(), ADDRESSES[0]);
    config.metrics = Some(node.metrics());
    let config = SubstrateConfig::Signer(config);
    let resources = Resources::default();
    let probe = alpha_probes::check::ProbeConfig::build(&config, &resources).unwrap();
    let check = alpha_probes::Check::new("it", probe).unwrap();
    let look = async || {
        // An answer serves for most of a second.
        tokio::time::sleep(std::time::Duration::from_millis(950)).await;
        let suite = alpha_probes::suite::Suite::new(vec![check.clone()]).unwrap();
        suite.with_clock(later(30)).run().await.checks.remove(0)
    };
    look().await;
    look().await;
    // One block that it built, and one that it did not.
    node.script().add_block(SLOT_NOW + 1, 0);
    node.script().metrics = built(11);
    look().await;
    node.script().add_block(SLOT_NOW + 2, 1);
    let report = look().await;
    assert_eq!(report.status, Status::Ok, "{}", report.reason);
    assert_eq!(value(&report, "blocks_judged"), 1.0);
    node.script().add_block(SLOT_NOW + 3, 0);
    look().await;
    let report = look().await;
    assert_eq!(
        line(&report),
        "critical: 1 blocks carry this validator's signature that its own node did not build"
    );
}

#[tokio::test]
async fn a_check_of_the_signer_that_could_never_find_anything_is_refused() {
    let config = SubstrateConfig::Signer(SignerConfig::new(super::nowhere(), ADDRESSES[0]));
    let refused = alpha_probes::check::ProbeConfig::build(&config, &Resources::default()).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("there is nothing to compare with"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_slash_that_waits_is_told_before_it_is_taken() {
    let node = NodeDouble::start(healthy()).await;
    let config = SlashesConfig::new(node.url()).with_validator("dave", ADDRESSES[3]);
    let config = SubstrateConfig::Slashes(config);
    let said = verdict(config.clone(), &node, 3).await;
    assert!(said.starts_with("ok"), "{said}");
    node.script().slashes = Some(vec![[4; 32], [2; 32]]);
    assert_eq!(
        verdict(config.clone(), &node, 3).await,
        format!(
            "critical: a slash of dave ({}) is waiting to be taken",
            ADDRESSES[3]
        )
    );
    node.script().slashes = Some(vec![[2; 32]]);
    assert_eq!(
        verdict(config.clone(), &node, 3).await,
        format!(
            "warning: a slash of another validator is waiting to be taken: {}",
            ADDRESSES[1]
        )
    );
    node.script().slashes = None;
    let said = verdict(config, &node, 3).await;
    assert_eq!(said, "unknown: not applicable: this chain has no pallet Staking");
}
