use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alpha_probes::check::ProbeConfig;
use alpha_probes::probes::HttpConfig;
use alpha_probes::probes::http::{BasicAuth, ConnectionMode};
use alpha_probes::{Body, ErrorKind, Resources, SecretRef, Secrets, SystemClock};
use serde_json::json;
use testbed::{CertificateState, Nginx, NginxConfig};
use tokio::io::AsyncWriteExt as _;

use crate::server::{answering, nobody, read_head, repeating, serve, silent};
use crate::support::{ask_within, failure, observe, observe_within};

const SHORT: Duration = Duration::from_millis(300);

fn get(address: impl std::fmt::Display) -> HttpConfig {
    HttpConfig::new(format!("http://{address}/"))
}

#[tokio::test]
async fn a_healthy_service_is_told_with_every_phase() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let config =
        HttpConfig::new(nginx.tls_url(CertificateState::Valid, "/health")).with_ca_file(nginx.ca_path());
    let seen = observe(&config).await.unwrap();
    assert_eq!(seen.failure, None);
    assert_eq!(seen.value("status"), Some(200.0));
    assert_eq!(seen.value("connected"), Some(1.0));
    assert_eq!(seen.value("connection_reused"), Some(0.0));
    let Some(Body::Json(body)) = &seen.body else {
        panic!("no JSON: {:?}", seen.body);
    };
    assert_eq!(body["checks"][0]["name"], "db");
    let phases = [
        "dns_time",
        "connect_time",
        "tls_time",
        "first_byte_time",
        "body_time",
    ];
    let sum: f64 = phases.iter().map(|phase| seen.value(phase).unwrap()).sum();
    let whole = seen.value("response_time").unwrap();
    assert!(sum > 0.0 && sum <= whole, "{sum} of {whole}");
    let left = seen.value("certificate_expiration").unwrap() / 86_400.0;
    assert!((89.9..=90.0).contains(&left), "{left} days");
    assert!(
        seen.headers
            .contains(&("content-type".to_owned(), "application/json".to_owned()))
    );
    assert_eq!(seen.facts["http_version"], json!("1.1"));
}

#[tokio::test]
async fn each_wrong_certificate_is_told_by_its_own_cause_and_its_end_is_still_measured() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let mut told = Vec::new();
    for state in CertificateState::ALL {
        let config = HttpConfig::new(nginx.tls_url(state, "/ok")).with_ca_file(nginx.ca_path());
        let seen = observe(&config).await.unwrap();
        let days = (seen.value("certificate_expiration").unwrap() / 8640.0).round() / 10.0;
        let text = seen
            .failure
            .map_or_else(|| "ok".to_owned(), |text| text.to_string());
        told.push(format!("{state:?}: {text} ({days} d)"));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    Valid: ok (90 d)
    Expired: the certificate of localhost expired 3 d ago (-3 d)
    NotYetValid: the certificate of localhost becomes valid only in 2 d 23 h (90 d)
    WrongName: the certificate is for elsewhere.example, not for localhost (90 d)
    ExpiringSoon: ok (2.5 d)
    Untrusted: the certificate of localhost comes from CN=stranger root, which is not trusted (90 d)
    ExpiringIntermediate: ok (90 d)
    ExpiredIntermediate: an intermediate certificate of localhost has expired (90 d)
    "#);
}

#[tokio::test]
async fn without_verification_a_wrong_certificate_does_not_hide_the_service() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let mut config =
        HttpConfig::new(nginx.tls_url(CertificateState::Expired, "/ok")).with_ca_file(nginx.ca_path());
    config.verify_certificate = false;
    let seen = observe(&config).await.unwrap();
    assert_eq!(seen.value("status"), Some(200.0));
    assert!(seen.value("certificate_expiration").unwrap() < 0.0);
}

#[tokio::test]
async fn kept_connections_are_used_again_and_replaced_when_the_server_closed_them() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let resources = Resources::default();
    let config = HttpConfig::new(nginx.url("/ok")).with_connection(ConnectionMode::Pooled);
    let first = config.build(&resources).unwrap();
    let second = config.build(&resources).unwrap();
    let mut reused = Vec::new();
    for probe in [&first, &first, &second] {
        let seen = ask_within(&**probe, Duration::from_secs(5)).await.unwrap();
        assert_eq!(seen.value("status"), Some(200.0));
        reused.push(seen.value("connection_reused").unwrap());
    }
    assert_eq!(reused, [0.0, 1.0, 1.0]);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_nothing_but_a_new_one() {
    // Every connection serves one request, promises to stay open, and closes.
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let address = serve(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            read_head(&mut stream).await;
            count.fetch_add(1, Ordering::Relaxed);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let probe = get(address)
        .with_connection(ConnectionMode::Pooled)
        .build(&Resources::default())
        .unwrap();
    for _ in 0..5 {
        let seen = ask_within(&*probe, Duration::from_secs(5)).await.unwrap();
        assert_eq!(seen.failure, None);
        assert_eq!(seen.value("connection_reused"), Some(0.0));
    }
    assert_eq!(served.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn mixed_connects_anew_every_tenth_time() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let probe = HttpConfig::new(nginx.url("/ok"))
        .with_connection(ConnectionMode::Mixed)
        .build(&Resources::default())
        .unwrap();
    let mut fresh = Vec::new();
    for index in 0..21 {
        let seen = ask_within(&*probe, Duration::from_secs(5)).await.unwrap();
        if seen.value("connection_reused") == Some(0.0) {
            fresh.push(index);
        }
    }
    // The first one closes its connection, so the second has none to use.
    assert_eq!(fresh, [0, 1, 10, 20]);
}

#[tokio::test]
async fn whatever_a_server_does_wrong_is_one_clear_sentence() {
    let cases = [
        ("nobody", nobody()),
        ("silent", silent().await),
        ("closes", serve(|stream| async move { drop(stream) }).await),
        ("garbage", answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await),
        ("bad status", answering(b"HTTP/1.1 abc OK\r\n\r\n").await),
        (
            "short body",
            answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await,
        ),
        (
            "bad chunk",
            answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n").await,
        ),
        (
            "slow drip",
            repeating(
                b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
                b".",
                Duration::from_millis(50),
            )
            .await,
        ),
        (
            "endless head",
            repeating(b"HTTP/1.1 200 OK\r\nX-Long: ", &[b'x'; 4096], Duration::ZERO).await,
        ),
    ];
    let mut told = Vec::new();
    for (name, address) in cases {
        let seen = observe_within(&get(address), SHORT).await.unwrap();
        assert_eq!(seen.value("connected"), Some(0.0), "{name}");
        let text = failure(&seen).replace(&address.to_string(), "ADDRESS");
        told.push(format!("{name}: {}", without_times(&text)));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    nobody: connection refused by ADDRESS
    silent: no first byte from ADDRESS within N ms (connected in N ms)
    closes: ADDRESS closed the connection before it answered
    garbage: ADDRESS does not speak HTTP/1.1: invalid HTTP version parsed
    bad status: ADDRESS does not speak HTTP/1.1: invalid HTTP status-code parsed
    short body: the answer of ADDRESS broke off after N B: end of file before message length reached
    bad chunk: the answer of ADDRESS broke off after N B: Invalid chunk size line: missing size digit
    slow drip: the answer of ADDRESS was not complete within N ms (N B came)
    endless head: ADDRESS does not speak HTTP/1.1: message head is too large
    "#);
}

/// Replaces the times and sizes that differ from run to run.
fn without_times(text: &str) -> String {
    let mut words: Vec<_> = text.split(' ').collect();
    for index in 1..words.len() {
        let unit = words[index].trim_end_matches([')', ':']);
        if matches!(unit, "ms" | "µs" | "B" | "s")
            && words[index - 1].trim_start_matches('(').parse::<f64>().is_ok()
        {
            words[index - 1] = if words[index - 1].starts_with('(') {
                "(N"
            } else {
                "N"
            };
        }
    }
    words.join(" ").replace("µs", "ms")
}

#[tokio::test]
async fn an_endless_body_is_cut_and_said_to_be_cut() {
    let address = repeating(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 4096], Duration::ZERO).await;
    let seen = observe(&get(address)).await.unwrap();
    assert_eq!(seen.value("status"), Some(200.0));
    assert_eq!(seen.value("body_size"), Some(1_048_576.0));
    assert_eq!(seen.value("body_truncated"), Some(1.0));
}

#[tokio::test]
async fn a_status_is_kept_when_the_body_breaks_off() {
    let address = answering(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 9\r\n\r\noops").await;
    let seen = observe(&get(address)).await.unwrap();
    assert!(
        failure(&seen).contains("broke off after 4 B"),
        "{}",
        failure(&seen)
    );
    assert_eq!(seen.value("status"), Some(503.0));
}

#[tokio::test]
async fn broken_utf8_is_replaced_and_said() {
    let address = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Odd: \xff\r\n\r\ncaf\xe9").await;
    let seen = observe(&get(address)).await.unwrap();
    assert_eq!(seen.body, Some(Body::Text("caf\u{fffd}".to_owned())));
    assert_eq!(seen.facts["body_error"], json!("no UTF-8"));
    assert!(
        seen.headers
            .contains(&("x-odd".to_owned(), "\u{fffd}".to_owned()))
    );
}

#[tokio::test]
async fn redirects_are_followed_a_bounded_number_of_times() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default().with_locations(
        "location = /once { return 302 /ok; } location = /loop { return 301 /loop; }"
    )));
    let seen = observe(&HttpConfig::new(nginx.url("/once"))).await.unwrap();
    assert_eq!(seen.value("status"), Some(200.0));
    assert_eq!(seen.value("redirects"), Some(1.0));
    assert_eq!(seen.facts["url"], json!(nginx.url("/ok")));
    let seen = observe(&HttpConfig::new(nginx.url("/loop"))).await.unwrap();
    assert_eq!(seen.value("status"), Some(301.0));
    assert_eq!(seen.value("redirects"), Some(5.0));
    let mut config = HttpConfig::new(nginx.url("/once"));
    config.redirects = 0;
    assert_eq!(observe(&config).await.unwrap().value("status"), Some(302.0));
}

#[derive(Debug)]
struct Vault;

impl Secrets for Vault {
    fn resolve(&self, _: &SecretRef) -> alpha_probes::Result<secrecy::SecretString> {
        Ok("hunter2".into())
    }
}

#[tokio::test]
async fn secrets_reach_the_target_and_nobody_else() {
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let record = |answer: String| {
        let heads = Arc::clone(&heads);
        move |mut stream: tokio::net::TcpStream| {
            let (heads, answer) = (Arc::clone(&heads), answer.clone());
            async move {
                let head = read_head(&mut stream).await;
                heads.lock().unwrap().push(head);
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    };
    let stranger = serve(record("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned())).await;
    let location = format!("http://{stranger}/");
    let target = serve(record(format!(
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    )))
    .await;
    let mut config = HttpConfig::new(format!("http://user:hunter2@{target}/?token=hunter2"));
    config.secret_headers = BTreeMap::from([("X-Key".to_owned(), SecretRef::Env("KEY".to_owned()))]);
    let resources = Resources::new(Arc::new(SystemClock), Arc::new(Vault));
    let probe = config.build(&resources).unwrap();
    let seen = ask_within(&*probe, Duration::from_secs(5)).await.unwrap();
    assert_eq!(seen.value("status"), Some(200.0));
    let heads = std::mem::take(&mut *heads.lock().unwrap());
    assert!(
        heads[0].contains("x-key: hunter2") && heads[0].contains("authorization: Basic dXNlcjpodW50ZXIy")
    );
    assert!(
        !heads[1].contains("hunter2") && !heads[1].contains("authorization"),
        "{}",
        heads[1]
    );
    assert!(!format!("{seen:?}{probe:?}").contains("hunter2"));

    config.basic_auth = Some(BasicAuth {
        username: "user".to_owned(),
        password: SecretRef::Env("PASSWORD".to_owned()),
    });
    config.url = format!("http://user:hunter2@{}/?token=hunter2", nobody());
    let probe = config.build(&resources).unwrap();
    let seen = ask_within(&*probe, Duration::from_secs(5)).await.unwrap();
    assert!(failure(&seen).starts_with("connection refused by 127.0.0.1:"));
    assert!(!format!("{seen:?}{probe:?}").contains("hunter2"));
}

#[tokio::test]
async fn names_ipv6_and_unix_sockets_are_reached() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let port = nginx.address().port();
    let by_name = HttpConfig::new(format!("http://localhost:{port}/ok"));
    let mut by_socket = HttpConfig::new("http://anything.example/ok");
    by_socket.unix_socket = Some(nginx.socket_path());
    let mut instead = HttpConfig::new("http://anything.example/ok");
    instead.connect_to = Some(format!("127.0.0.1:{port}"));
    let mut configs = vec![by_name, by_socket, instead];
    if nginx.has_ipv6 {
        configs.push(HttpConfig::new(format!("http://[::1]:{port}/ok")));
    }
    for config in configs {
        let seen = observe(&config).await.unwrap();
        assert_eq!(
            seen.value("status"),
            Some(200.0),
            "{config:?}: {:?}",
            seen.failure
        );
        assert_eq!(seen.body, Some(Body::Text("ok".to_owned())));
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_finding() {
    let seen = observe(&HttpConfig::new("http://nowhere.invalid/"))
        .await
        .unwrap();
    assert!(
        failure(&seen).starts_with("could not look up nowhere.invalid: "),
        "{}",
        failure(&seen)
    );
}

#[tokio::test]
async fn a_secret_that_is_missing_is_told_before_anything_is_asked() {
    let mut config = get("localhost");
    config.bearer_token = Some(SecretRef::Env("TOKEN".to_owned()));
    let error = config.build(&Resources::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}
