//! The node's program: its restarts, its version, its speed, and the transactions that wait in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use alpha_probes::check::ProbeConfig as _;
use alpha_probes::probes::substrate::{
    ClientConfig, NodeProcessConfig, PerformanceConfig, PoolConfig, SubstrateConfig,
};
use alpha_probes::series::SeriesBuffer;
use alpha_probes::suite::Suite;
use alpha_probes::testing::NodeDouble;
use alpha_probes::{Check, CheckReport, Labels, Resources, Status};

use super::{healthy, judge, later, line, value, verdict};

async fn with_metrics(page: &str) -> NodeDouble {
    let mut script = healthy();
    script.metrics = page.to_owned();
    NodeDouble::start(script).await
}

#[tokio::test]
async fn transactions_that_pile_up_are_told_while_the_pool_is_far_from_full() {
    let node = with_metrics("").await;
    let config = SubstrateConfig::Pool(PoolConfig::new(node.url(), node.metrics()));
    // `ready` once a minute: an hour of one pool and what it is judged to be in the end.
    let last = async |ready: &dyn Fn(u64) -> u64| -> CheckReport {
        let (mut states, mut values, mut reports) = (HashMap::new(), Vec::new(), Vec::new());
        for minute in 0..30_u64 {
            let count = ready(minute);
            node.script().metrics = format!("substrate_ready_transactions_number {count}\n");
            let clock = later(60 * minute);
            let mut past = SeriesBuffer::new([("ready".to_owned(), Duration::from_secs(600))]);
            for (at, value) in &values {
                past.push("ready", &Labels::new(), *at, *value);
            }
            let probe = config.build(&Resources::default()).unwrap();
            let check = Check::new("pool", probe).unwrap();
            let id = check.id.clone();
            let suite = Suite::new(vec![check])
                .unwrap()
                .with_clock(Arc::clone(&clock))
                .with_states(states)
                .with_past([(id, Arc::new(past) as Arc<_>)].into());
            reports.push(suite.run().await.checks.remove(0));
            states = suite.states();
            values.push((clock.now(), count as f64));
        }
        reports.pop().unwrap()
    };
    let grows = last(&|minute| 10 + 20 * minute).await;
    assert_eq!(
        line(&grows),
        "warning: transactions pile up: 590 are ready and become more (for 23m)"
    );
    assert!(value(&grows, "pool_usage") < 0.1);
    // One that empties now and then works, however much comes in between; so does one that stays as full as it is.
    let breathes = last(&|minute| if minute % 5 == 0 { 0 } else { 900 * (minute % 5) }).await;
    assert_eq!(breathes.status, Status::Ok, "{}", breathes.reason);
    let stays = last(&|_| 700).await;
    assert_eq!(stays.status, Status::Ok, "{}", stays.reason);
}

#[tokio::test]
async fn a_pool_is_nearly_full_full_or_told_of_by_an_older_client() {
    let pool = |ready: u32, rest: &str| format!("substrate_ready_transactions_number {ready}\n{rest}");
    let node = with_metrics(&pool(3, "")).await;
    let config = SubstrateConfig::Pool(PoolConfig::new(node.url(), node.metrics()));
    for (ready, rest, expected) in [
        (3, "", "ok"),
        (
            7000,
            "",
            "warning: the transaction pool is nearly full: 7000 of 8192",
        ),
        (
            5,
            "substrate_sub_txpool_watched_txs 8000\nsubstrate_sub_txpool_unwatched_txs 192\n",
            "critical: the transaction pool is full: 8192 of 8192, new transactions are dropped",
        ),
    ] {
        node.script().metrics = pool(ready, rest);
        let said = verdict(config.clone(), &node, 3).await;
        assert!(said.starts_with(expected), "{said}");
    }
}

#[tokio::test]
async fn a_node_that_keeps_ending_is_told_although_it_answers_every_time() {
    let page = |started: u64, rest: &str| format!("substrate_process_start_time_seconds {started}\n{rest}");
    let node = with_metrics(&page(1_800_000_000, "")).await;
    let config = SubstrateConfig::Process(NodeProcessConfig::new(node.metrics()));
    let probe = config.build(&Resources::default()).unwrap();
    let check = Check::new("it", probe).unwrap();
    let look = async |started: u64, rest: &str| {
        node.script().metrics = page(started, rest);
        let suite = Suite::new(vec![check.clone()]).unwrap().with_clock(later(0));
        line(&suite.run().await.checks.remove(0))
    };
    let began = 1_799_999_900;
    assert!(look(began, "").await.starts_with("ok"));
    assert!(look(began, "").await.starts_with("ok"));
    let said = look(began + 10, "").await;
    assert!(
        said.starts_with(
            "warning: the node was restarted 1 times within 15 minutes, this process runs for 1 min 30 s"
        ),
        "{said}"
    );
    look(began + 20, "").await;
    let said = look(began + 80, "").await;
    assert!(
        said.starts_with(
            "critical: the node keeps ending: 3 new processes within 15 minutes, this one runs for 20 s"
        ),
        "{said}"
    );
}

#[tokio::test]
async fn a_task_that_panicked_is_named_and_a_node_that_is_down_is_critical() {
    let node = with_metrics(
        "substrate_process_start_time_seconds 1800000000\n\
         substrate_tasks_ended_total{reason=\"finished\",task_name=\"basic-block-import-worker\"} 3\n\
         substrate_tasks_ended_total{reason=\"panic\",task_name=\"txpool-background\"} 1\n\
         substrate_tasks_ended_total{reason=\"panic\",task_name=\"grandpa-voter\"} 0\n",
    )
    .await;
    let config = SubstrateConfig::Process(NodeProcessConfig::new(node.metrics()));
    assert_eq!(
        verdict(config.clone(), &node, 3).await,
        "warning: parts of the node have ended in a panic and do their work no more: txpool-background"
    );
    node.script().metrics = "up 1\n".to_owned();
    let said = verdict(config, &node, 3).await;
    assert!(said.starts_with("unknown: too old: the metrics of"), "{said}");
    let gone = SubstrateConfig::Process(NodeProcessConfig::new(super::nowhere()));
    let report = judge(&gone, &Resources::default(), later(3)).await;
    assert_eq!(report.status, Status::Critical, "{}", report.reason);
}

#[tokio::test]
async fn blocks_that_take_more_than_a_third_of_a_slot_are_told() {
    let histogram = |name: &str, quick: u32, slow: u32| {
        let all = quick + slow;
        format!(
            "{name}_bucket{{le=\"0.5\"}} {quick}\n{name}_bucket{{le=\"5\"}} {all}\n{name}_bucket{{le=\"+Inf\"}} {all}\n"
        )
    };
    let import = "substrate_block_verification_and_import_time";
    let proposal = "substrate_proposer_block_proposal_time";
    let node = with_metrics(&histogram(import, 1000, 3)).await;
    let config = SubstrateConfig::Performance(PerformanceConfig::new(node.url(), node.metrics()));
    let report = judge(&config, &Resources::default(), later(3)).await;
    assert_eq!(report.status, Status::Ok, "{}", report.reason);
    assert!(value(&report, "import_share") < 0.1);
    assert_eq!(value(&report, "blocks_proposed"), 0.0);

    node.script().metrics = histogram(import, 10, 90);
    let said = verdict(config.clone(), &node, 3).await;
    assert_eq!(said, "warning: taking in a block takes 4.8 s, 79.17 % of a slot");
    node.script().metrics = histogram(import, 100, 0) + &histogram(proposal, 0, 20);
    let said = verdict(config.clone(), &node, 3).await;
    assert!(
        said.starts_with("warning: making a block takes 4.8 s, 79.58 % of a slot"),
        "{said}"
    );
    // Too few to judge by, and a page that tells nothing of it.
    node.script().metrics = histogram(import, 0, 5);
    assert!(verdict(config.clone(), &node, 3).await.starts_with("ok"));
    node.script().metrics = "up 1\n".to_owned();
    assert!(verdict(config, &node, 3).await.starts_with("unknown: too old"));
}

#[tokio::test]
async fn clients_that_are_too_old_or_differ_are_named() {
    let (one, other) = (
        NodeDouble::start(healthy()).await,
        NodeDouble::start(healthy()).await,
    );
    let clients = |nodes: Vec<url::Url>, minimum: Option<&str>| {
        let mut config = ClientConfig::new(nodes);
        config.minimum = minimum.map(str::to_owned);
        SubstrateConfig::Client(config)
    };
    let both = || vec![one.url(), other.url()];
    assert!(
        verdict(clients(both(), Some("1.25.1")), &one, 3)
            .await
            .starts_with("ok")
    );
    other.script().version = "1.9.0-0123456".to_owned();
    let said = verdict(clients(both(), None), &other, 3).await;
    assert_eq!(
        said,
        "warning: the nodes run different clients, these are behind 1.25.1-00000000000: NODE (1.9.0-0123456)"
    );
    let said = verdict(clients(both(), Some("1.10")), &other, 3).await;
    assert_eq!(said, "critical: older than 1.10: NODE (1.9.0-0123456)");
    let said = verdict(clients(vec![one.url(), super::nowhere()], None), &one, 3).await;
    assert!(
        said.starts_with("warning: could not be asked for their version: http://"),
        "{said}"
    );
    let said = verdict(clients(vec![super::nowhere()], Some("1.0")), &one, 3).await;
    assert!(said.starts_with("unknown"), "{said}");
    for (nodes, minimum, why) in [
        (vec![one.url()], None, "there is nothing to compare with"),
        (vec![one.url()], Some("latest"), "`minimum` is no version"),
    ] {
        let refused = clients(nodes, minimum).build(&Resources::default()).unwrap_err();
        assert!(refused.to_string().starts_with(why), "{refused}");
    }
}
