use std::fs;
use std::io::Write;

use alpha_probes::probes::AccessLogConfig;
use alpha_probes::{Clock, SystemClock};
use serde_json::json;

use crate::support::{ask, probe};

fn line(seconds_ago: i64, path: &str, status: u16, seconds: f64) -> String {
    let at = SystemClock.now() - jiff::SignedDuration::from_secs(seconds_ago);
    let at = at.strftime("%d/%b/%Y:%H:%M:%S +0000");
    format!("10.0.0.1 - - [{at}] \"GET {path} HTTP/1.1\" {status} 1000 {seconds:.3}\n")
}

#[tokio::test]
async fn the_first_look_is_about_the_last_minutes_and_the_next_about_what_came() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut text = line(3600, "/old", 500, 9.0);
    for _ in 0..60 {
        text += &line(60, "/feed?secret=1", 200, 0.1);
    }
    fs::write(&path, text).unwrap();
    let format =
        r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent $request_time"#;
    let log = probe::<AccessLogConfig>(json!({ "path": path, "format": format, "first_look": "10m" }));
    let first = ask(&*log).await.unwrap();
    assert_eq!(
        (first.value("requests"), first.value("error_ratio")),
        (Some(60.0), Some(0.0))
    );
    assert_eq!(
        (first.value("rate"), first.value("latency_p99")),
        (Some(0.1), Some(0.1))
    );
    assert_eq!(first.facts["top_paths"][0]["path"], "/feed");

    fs::rename(&path, folder.path().join("access.log.1")).unwrap();
    let mut new = fs::File::create(&path).unwrap();
    for status in [200, 200, 502, 404] {
        new.write_all(line(0, "/api", status, 0.2).as_bytes()).unwrap();
    }
    new.write_all(b"nonsense\n").unwrap();
    let next = ask(&*log).await.unwrap();
    assert_eq!(
        (next.value("requests"), next.value("rotations")),
        (Some(4.0), Some(1.0))
    );
    assert_eq!(
        (next.value("error_ratio"), next.value("client_error_ratio")),
        (Some(0.25), Some(0.25))
    );
    assert_eq!(next.value("malformed_ratio"), Some(0.2));

    let silence = ask(&*log).await.unwrap();
    assert_eq!(
        (silence.value("requests"), silence.value("error_ratio")),
        (Some(0.0), None)
    );
}

#[tokio::test]
async fn a_log_in_another_format_is_not_a_log_without_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    fs::write(&path, "{\"status\": 500}\n".repeat(50)).unwrap();
    let seen = ask(&*probe::<AccessLogConfig>(json!({ "path": path })))
        .await
        .unwrap();
    assert_eq!(
        (seen.value("malformed_ratio"), seen.value("error_ratio")),
        (Some(1.0), None)
    );
}
