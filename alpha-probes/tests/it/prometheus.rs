//! The probe `prometheus` against pages of real programs.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use alpha_probes::check::ProbeConfig as _;
use alpha_probes::probes::PrometheusConfig;
use alpha_probes::{ErrorKind, Probe, Resources};

use crate::support::{ask_within, observe, observe_within};

fn config(url: &str, metrics: &[&str]) -> PrometheusConfig {
    let mut config = PrometheusConfig::default();
    config.url = url.to_owned();
    config.metrics = metrics.iter().map(ToString::to_string).collect();
    config
}

/// A Prometheus that scrapes nothing but exposes itself.
struct Prometheus {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    async fn start() -> Result<Self, testbed::Missing> {
        let program = testbed::program(&["prometheus"], &[], "prometheus")?;
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("prometheus.yml");
        std::fs::write(&settings, "scrape_configs: []\n").unwrap();
        let port = testbed::free_port();
        let process = Command::new(program)
            .arg(format!("--config.file={}", settings.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            process,
            url: format!("http://127.0.0.1:{port}/metrics"),
            _folder: folder,
        })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_real_page() {
    let prometheus = testbed::need!(Prometheus::start().await);
    let metrics = [
        "prometheus_build_info",
        "process_resident_memory_bytes",
        "requests = sum(prometheus_http_requests_total{handler=~\".*metrics\"})",
        "p90(prometheus_http_request_duration_seconds{handler=\"/metrics\"})",
        "go_gc_duration_seconds{quantile=\"0.5\"}",
    ];
    let probe: Arc<dyn Probe> = config(&prometheus.url, &metrics)
        .build(&Resources::default())
        .unwrap();
    let look = async || ask_within(&*probe, Duration::from_secs(10)).await;
    // Its counters of requests come to be with the first one.
    let _ = look().await;
    let first = look().await.unwrap();
    assert_eq!(first.value("prometheus_build_info"), Some(1.0));
    assert!(first.value("process_resident_memory_bytes").unwrap() > 1e6);
    assert!(first.value("samples").unwrap() > 100.0);
    assert!(
        first
            .value("prometheus_http_request_duration_seconds_p90")
            .unwrap()
            < 10.0
    );
    let second = look().await.unwrap();
    assert_eq!(
        second.value("requests").unwrap() - first.value("requests").unwrap(),
        1.0
    );

    let error = observe(&config(&prometheus.url, &["process_resident_memory"]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotApplicable);
    let said = error.to_string();
    assert!(
        said.ends_with("the nearest is process_resident_memory_bytes"),
        "{said}"
    );
    let elsewhere = prometheus.url.replace("/metrics", "/elsewhere");
    let error = observe(&config(&elsewhere, &["up"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotApplicable);
    let page = prometheus.url.replace("/metrics", "/graph");
    let error = observe(&config(&page, &["up"])).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Malformed | ErrorKind::NotApplicable),
        "{error}"
    );
}

#[tokio::test]
async fn an_address_where_nobody_answers_keeps_the_question_from_being_asked() {
    let url = format!("http://127.0.0.1:{}/metrics", testbed::free_port());
    let error = observe(&config(&url, &["up"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_page_without_an_end_is_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let lines = "up 1\n".repeat(10_000);
        while stream.write_all(lines.as_bytes()).await.is_ok() {}
    });
    let error = observe_within(&config(&url, &["up"]), Duration::from_secs(10))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.to_string().ends_with("is larger than 16.8 MB"), "{error}");
}
