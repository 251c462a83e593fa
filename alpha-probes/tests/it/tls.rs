use std::time::Duration;

use alpha_probes::Observation;
use alpha_probes::probes::TlsConfig;
use alpha_probes::probes::tls::StartTls;
use testbed::{CertificateState, Nginx, NginxConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;

use crate::server::{answering, nobody, serve, silent};
use crate::support::{failure, observe, observe_within};

fn config(nginx: &Nginx, state: CertificateState) -> TlsConfig {
    let mut config = TlsConfig::new(format!("localhost:{}", nginx.tls_address(state).port()));
    config.ca_file = Some(nginx.ca_path());
    config
}

fn days(seen: &Observation, name: &str) -> String {
    seen.value(name)
        .map_or_else(|| "-".to_owned(), |left| format!("{:.1} d", left / 86_400.0))
}

#[tokio::test]
async fn each_cause_is_measured_by_itself() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let mut told = Vec::new();
    for state in CertificateState::ALL {
        let seen = observe(&config(&nginx, state)).await.unwrap();
        assert_eq!(seen.value("connected"), Some(1.0));
        let causes = [
            "valid",
            "expired",
            "not_yet_valid",
            "wrong_name",
            "untrusted",
            "chain_expired",
        ];
        let true_ones: Vec<_> = causes
            .into_iter()
            .filter(|cause| seen.value(cause) == Some(1.0))
            .collect();
        told.push(format!(
            "{state:?}: {}; certificate {}, chain {}",
            true_ones.join(" "),
            days(&seen, "certificate_expiration"),
            days(&seen, "chain_expiration"),
        ));
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    Valid: valid; certificate 90.0 d, chain 90.0 d
    Expired: expired; certificate -3.0 d, chain -3.0 d
    NotYetValid: not_yet_valid; certificate 90.0 d, chain 90.0 d
    WrongName: wrong_name; certificate 90.0 d, chain 90.0 d
    ExpiringSoon: valid; certificate 2.5 d, chain 2.5 d
    Untrusted: untrusted; certificate 90.0 d, chain 90.0 d
    ExpiringIntermediate: valid; certificate 90.0 d, chain 2.5 d
    ExpiredIntermediate: chain_expired; certificate 90.0 d, chain -3.0 d
    ");
}

#[tokio::test]
async fn the_certificate_is_described() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let seen = observe(&config(&nginx, CertificateState::Valid)).await.unwrap();
    let fact = |name: &str| seen.facts[name].to_string();
    assert_eq!(fact("subject"), "\"CN=localhost\"");
    assert_eq!(fact("issuer"), "\"CN=testbed intermediate\"");
    assert_eq!(fact("root"), "\"CN=testbed root\"");
    assert_eq!(fact("names"), r#"["localhost","127.0.0.1","::1"]"#);
    assert_eq!(fact("chain"), r#"["CN=localhost","CN=testbed intermediate"]"#);
    assert_eq!(fact("protocol"), "\"TLS 1.3\"");
    assert!(fact("cipher").contains("TLS13_AES"));
}

#[tokio::test]
async fn an_address_and_another_name_are_verified_too() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let mut by_address = config(&nginx, CertificateState::Valid);
    by_address.address = nginx.tls_address(CertificateState::Valid).to_string();
    assert_eq!(observe(&by_address).await.unwrap().value("valid"), Some(1.0));
    let mut elsewhere = config(&nginx, CertificateState::WrongName);
    elsewhere.server_name = Some("elsewhere.example".to_owned());
    assert_eq!(observe(&elsewhere).await.unwrap().value("valid"), Some(1.0));
}

#[tokio::test]
async fn what_is_no_tls_is_a_finding() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let mut told = Vec::new();
    for address in [
        nobody(),
        nginx.address(),
        silent().await,
        serve(|stream| async move { drop(stream) }).await,
        answering(b"").await,
    ] {
        let seen = observe_within(&TlsConfig::new(address.to_string()), Duration::from_millis(300))
            .await
            .unwrap();
        assert_eq!(seen.value("connected"), Some(0.0));
        told.push(failure(&seen).replace(&address.to_string(), "ADDRESS"));
    }
    assert_eq!(told[0], "connection refused by ADDRESS");
    assert!(
        told[1].starts_with("the TLS handshake with ADDRESS failed: received corrupt message"),
        "{}",
        told[1]
    );
    assert!(
        told[2].starts_with("no TLS handshake with ADDRESS within "),
        "{}",
        told[2]
    );
    assert!(
        told[3].starts_with("the TLS handshake with ADDRESS failed: "),
        "{}",
        told[3]
    );
}

/// Talks in the clear as `script` says, one answer for each line it is told, and then hands over to nginx.
async fn in_front_of(nginx: &Nginx, greeting: &'static str, answers: &'static [&'static str]) -> String {
    let behind = nginx.tls_address(CertificateState::Valid);
    let address = serve(move |mut stream| async move {
        let _ = stream.write_all(greeting.as_bytes()).await;
        for answer in answers {
            while stream.read_u8().await.is_ok_and(|byte| byte != b'\n') {}
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        let mut nginx = TcpStream::connect(behind).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut nginx).await;
    })
    .await;
    format!("localhost:{}", address.port())
}

#[tokio::test]
async fn mail_servers_are_asked_to_change_to_tls() {
    let nginx = testbed::need!(Nginx::start(&NginxConfig::default()));
    let smtp = in_front_of(
        &nginx,
        "220 mail\r\n",
        &["250-mail\r\n250 STARTTLS\r\n", "220 go\r\n"],
    )
    .await;
    let imap = in_front_of(&nginx, "* OK hi\r\n", &["a1 OK go\r\n"]).await;
    let pop3 = in_front_of(&nginx, "+OK hi\r\n", &["+OK go\r\n"]).await;
    for (protocol, address) in [
        (StartTls::Smtp, smtp),
        (StartTls::Imap, imap),
        (StartTls::Pop3, pop3),
    ] {
        let mut config = config(&nginx, CertificateState::Valid);
        config.address = address;
        config.starttls = Some(protocol);
        let seen = observe(&config).await.unwrap();
        assert_eq!(seen.value("valid"), Some(1.0), "{protocol:?}: {:?}", seen.failure);
    }
}
