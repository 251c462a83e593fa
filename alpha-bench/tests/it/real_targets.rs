//! Loads on nginx, on HTTP/2 and on a node.

use std::time::Duration;

use alpha_bench::{Config, FailureClass, Inputs, LoadModel, RpcCall, RunOptions, Scenario, Verdict};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use testbed::{CertificateState, DevNode, Nginx, NginxConfig, Postgres};

use crate::{few, put, put_scenario};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_answers_every_request_of_an_open_load_and_of_fresh_connections() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let load = Config::new(LoadModel::open(300.0)).with_duration(Duration::from_secs(2));
    let report = put(&nginx.url("/health"), load).await;
    assert_eq!(
        (report.requests + report.unfinished, report.errors.total()),
        (600, 0),
        "{:?}",
        report.errors
    );
    let mut fresh = few(50);
    fresh.fresh_connections = true;
    let report = put(&nginx.url("/ok"), fresh).await;
    assert_eq!(
        (report.requests, report.connections, report.errors.total()),
        (50, 50, 0)
    );
    let report = put(&nginx.url("/missing"), few(3)).await;
    assert_eq!(report.errors.get(FailureClass::Status), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_measured_where_it_is_good_and_counted_where_it_is_not() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let mut options = RunOptions::default();
    for certificate in CertificateDer::pem_file_iter(nginx.ca_path()).unwrap() {
        options.trusted.push(certificate.unwrap().to_vec());
    }
    for state in [
        CertificateState::Valid,
        CertificateState::Expired,
        CertificateState::WrongName,
    ] {
        let url = nginx.tls_url(state, "/ok").parse().unwrap();
        let scenario = Scenario::of_url(url, few(5));
        let report = scenario
            .run(&Inputs::default(), &options)
            .await
            .unwrap()
            .pop()
            .unwrap();
        let failed = if state == CertificateState::Valid { 0 } else { 5 };
        assert_eq!(
            report.errors.get(FailureClass::Tls),
            failed,
            "{state:?}: {:?}",
            report.error_examples
        );
        assert_eq!(report.requests, 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_shares_a_connection_and_counts_what_fails() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().route("/ok", axum::routing::get(|| async { "ok" }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let load = Config::new(LoadModel::closed(20)).with_requests(500);
    let mut scenario = Scenario::of_url(format!("http://{address}/ok").parse().unwrap(), load);
    scenario.http2 = true;
    let report = put_scenario(&scenario).await;
    assert_eq!(
        (report.requests, report.errors.total()),
        (500, 0),
        "{:?}",
        report.error_examples
    );
    scenario.url = Some(format!("http://{address}/missing").parse().unwrap());
    assert_eq!(
        put_scenario(&scenario).await.errors.get(FailureClass::Status),
        500
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_answers_calls_and_batches_over_http_and_websocket() {
    let node = testbed::need!(DevNode::start());
    for scheme in ["http", "ws"] {
        let url = format!("{scheme}://127.0.0.1:{}", node.port()).parse().unwrap();
        let load = Config::new(LoadModel::closed(2))
            .with_requests(90)
            .with_timeout(Duration::from_secs(5));
        let mut scenario = Scenario::of_url(url, load);
        let mut batch = RpcCall::new("system_health");
        (batch.name, batch.batch) = (Some("batch of ten".to_owned()), 10);
        scenario.rpc = vec![
            RpcCall::new("chain_getHeader"),
            batch,
            RpcCall::new("no_such_method"),
        ];
        let report = put_scenario(&scenario).await;
        assert_eq!(report.requests, 90);
        let failed: Vec<_> = report
            .per_request
            .iter()
            .map(|request| (request.requests, request.errors.get(FailureClass::Rpc)))
            .collect();
        assert_eq!(
            failed,
            [(30, 0), (30, 0), (30, 30)],
            "{scheme}: {:?}",
            report.error_examples
        );
        assert_eq!(report.error_examples[&FailureClass::Rpc], "error -32601");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sides_that_ran_in_turn_can_be_compared() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let scenario = Scenario::of_url(nginx.url("/ok").parse().unwrap(), Config::default());
    let slice = Config::new(LoadModel::closed(2)).with_duration(Duration::from_millis(100));
    let (baseline, candidate) = scenario
        .run_interleaved(&scenario, &slice, 12, &Inputs::default(), &RunOptions::default())
        .await
        .unwrap();
    assert_eq!(baseline.series.windows.len(), 12);
    assert!(baseline.requests > 0 && baseline.verdict == Verdict::Pass);
    let rules = ["p50 +900 %".parse().unwrap(), "errors > 5 %".parse().unwrap()];
    let comparison = alpha_bench::compare(&[baseline], &candidate, &rules, 1);
    assert_eq!(
        comparison.judgement,
        alpha_bench::Judgement::Safe,
        "{comparison:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vacuum_full_behind_an_api_shows_in_the_tail_and_not_in_the_median() {
    let postgres = testbed::need!(Postgres::start());
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(5)
        .connect(&postgres.url())
        .await
        .unwrap();
    let filled = "CREATE TABLE item AS SELECT id, repeat(md5(id::text), 12) AS body FROM generate_series(1, 300000) AS id";
    sqlx::query(filled).execute(&pool).await.unwrap();
    sqlx::query("CREATE UNIQUE INDEX ON item (id)")
        .execute(&pool)
        .await
        .unwrap();
    let api = {
        let pool = pool.clone();
        axum::Router::new().route(
            "/item/{id}",
            axum::routing::get(
                move |axum::extract::Path(id): axum::extract::Path<i32>| async move {
                    let body: Result<String, _> = sqlx::query_scalar("SELECT body FROM item WHERE id = $1")
                        .bind(id)
                        .fetch_one(&pool)
                        .await;
                    body.map_err(|error| (axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
                },
            ),
        )
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    tokio::spawn(async move { axum::serve(listener, api).await });
    let load = Config::new(LoadModel::open(50.0)).with_duration(Duration::from_secs(8));
    let mut scenario = Scenario::of_url(url, load);
    scenario.request = vec![alpha_bench::Request::get("/item/${random:1-300000}")];
    let vacuum = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let begin = tokio::time::Instant::now();
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&postgres.url())
            .await
            .unwrap();
        sqlx::query("VACUUM FULL item")
            .execute(&mut connection)
            .await
            .unwrap();
        begin.elapsed().as_secs_f64()
    };
    let (report, vacuum) = tokio::join!(put_scenario(&scenario), vacuum);
    assert_eq!(report.errors.total(), 0, "{:?}", report.error_examples);
    let latency = report.latency_seconds;
    assert!(latency.max > 0.5 * vacuum, "{latency:?} {vacuum}");
    assert!(latency.p50 < 0.2 * latency.max, "{latency:?} {vacuum}");
}
