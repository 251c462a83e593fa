use std::time::Duration;

use alpha_probes::Body;
use alpha_probes::probes::TcpConfig;
use testbed::{Nginx, NginxConfig};
use tokio::io::AsyncWriteExt as _;

use crate::server::{nobody, repeating, serve, silent};
use crate::support::{failure, observe, observe_within};

fn expecting(address: impl ToString, expect: &str) -> TcpConfig {
    let mut config = TcpConfig::new(address.to_string());
    config.expect = Some(expect.to_owned());
    config
}

#[tokio::test]
async fn a_port_that_listens_is_told_with_how_long_connecting_took() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let port = nginx.address().port();
    let mut addresses = vec![format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    if nginx.has_ipv6 {
        addresses.push(format!("[::1]:{port}"));
    }
    for address in addresses {
        let seen = observe(&TcpConfig::new(&address)).await.unwrap();
        assert_eq!(seen.value("connected"), Some(1.0), "{address}");
        let whole = seen.value("response_time").unwrap();
        assert!(seen.value("connect_time").unwrap() + seen.value("dns_time").unwrap() <= whole);
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_a_finding() {
    let address = nobody();
    let seen = observe(&TcpConfig::new(address.to_string())).await.unwrap();
    assert_eq!(failure(&seen), format!("connection refused by {address}"));
    assert_eq!(seen.value("connected"), Some(0.0));
}

#[tokio::test]
async fn a_banner_that_comes_in_pieces_is_put_together() {
    let address = serve(|mut stream| async move {
        for piece in ["SSH-", "2.0-Open", "SSH\r\n"] {
            let _ = stream.write_all(piece.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let seen = observe(&expecting(address, r"^SSH-2.*\n")).await.unwrap();
    assert_eq!(seen.value("matched"), Some(1.0));
    assert_eq!(seen.body, Some(Body::Text("SSH-2.0-OpenSSH\r\n".to_owned())));
}

#[tokio::test]
async fn what_is_sent_is_answered() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let mut config = expecting(nginx.address(), "^HTTP/1.[01] 200 ");
    config.send = Some("GET /ok HTTP/1.0\r\n\r\n".to_owned());
    assert_eq!(observe(&config).await.unwrap().value("matched"), Some(1.0));
}

#[tokio::test]
async fn another_answer_than_expected_is_shown_and_bounded() {
    let address = repeating(b"", b"nonsense ", Duration::ZERO).await;
    let mut config = expecting(address, "^SSH-");
    config.send = Some("\r\n\r\n".to_owned());
    let seen = observe_within(&config, Duration::from_millis(500)).await.unwrap();
    assert_eq!(seen.value("matched"), Some(0.0));
    assert!(
        seen.facts["answer"]
            .as_str()
            .unwrap()
            .starts_with("nonsense nonsense")
    );
    let Some(Body::Text(text)) = seen.body else {
        panic!()
    };
    assert!(text.len() <= 64 * 1024);
}

#[tokio::test]
async fn silence_and_a_closed_door_are_told_apart() {
    let quiet = silent().await;
    let seen = observe_within(&expecting(quiet, "."), Duration::from_millis(200))
        .await
        .unwrap();
    assert!(
        failure(&seen).starts_with(&format!("no first byte from {quiet} within ")),
        "{}",
        failure(&seen)
    );
    let shut = serve(|stream| async move { drop(stream) }).await;
    let seen = observe(&expecting(shut, ".")).await.unwrap();
    assert_eq!(
        failure(&seen),
        format!("{shut} closed the connection before it answered")
    );
}
