use std::net::SocketAddr;
use std::time::Duration;

use alpha_probes::Body;
use alpha_probes::probes::DnsConfig;
use alpha_probes::probes::dns::DnsTransport;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use crate::server::nobody;
use crate::support::{failure, observe, observe_within};

/// A name server that answers `question` over the transport that it came by.
type Zone = fn(question: &Message, is_tcp: bool) -> Option<Vec<u8>>;

/// Serves `zone` by UDP and TCP on one port of loopback.
async fn name_server(zone: Zone) -> SocketAddr {
    let (tcp, udp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            break (tcp, udp);
        }
    };
    let address = tcp.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((size, from)) = udp.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..size]).unwrap();
            if let Some(answer) = zone(&question, false) {
                udp.send_to(&answer, from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let size = stream.read_u16().await.unwrap();
            let mut buffer = vec![0; usize::from(size)];
            stream.read_exact(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer).unwrap();
            if let Some(answer) = zone(&question, true) {
                let size = u16::try_from(answer.len()).unwrap();
                stream.write_u16(size).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        }
    });
    address
}

fn name(text: &str) -> Name {
    Name::from_utf8(text).unwrap()
}

/// A small zone as an authoritative server has it.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one of several zones, others of which stay silent"
)]
fn example_org(question: &Message, _: bool) -> Option<Vec<u8>> {
    let mut answer = question.clone().into_response();
    answer.metadata.authoritative = true;
    let query = &question.queries[0];
    let asked = query.name().to_utf8().to_lowercase();
    let record = |ttl, data| Record::from_rdata(query.name().clone(), ttl, data);
    match (asked.as_str(), query.query_type()) {
        ("example.org.", RecordType::A) => {
            answer.add_answer(record(300, RData::A(A::new(192, 0, 2, 2))));
            answer.add_answer(record(60, RData::A(A::new(192, 0, 2, 1))));
        }
        ("www.example.org.", RecordType::A) => {
            answer.add_answer(record(300, RData::CNAME(CNAME(name("example.org.")))));
            answer.add_answer(Record::from_rdata(
                name("example.org."),
                60,
                RData::A(A::new(192, 0, 2, 1)),
            ));
        }
        ("example.org.", RecordType::MX) => {
            answer.add_answer(record(300, RData::MX(MX::new(10, name("mail.example.org.")))));
        }
        ("example.org.", RecordType::TXT) => {
            let text = TXT::new(vec!["v=spf1 -all".to_owned()]);
            answer.add_answer(record(300, RData::TXT(text)));
        }
        ("1.2.0.192.in-addr.arpa.", RecordType::PTR) => {
            let pointer = hickory_resolver::proto::rr::rdata::PTR(name("example.org."));
            answer.add_answer(record(300, RData::PTR(pointer)));
        }
        ("example.org.", _) => {}
        _ => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    Some(answer.to_vec().unwrap())
}

fn asking(server: SocketAddr, name: &str, record_type: &str) -> DnsConfig {
    let mut config = DnsConfig::new(name);
    config.server = Some(server.to_string());
    record_type.clone_into(&mut config.record_type);
    config
}

#[tokio::test]
async fn records_are_told_sorted_and_counted() {
    let server = name_server(example_org).await;
    let mut told = Vec::new();
    for (name, record_type) in [
        ("example.org", "A"),
        ("www.example.org", "a"),
        ("example.org", "MX"),
        ("example.org", "TXT"),
        ("192.0.2.1", "PTR"),
        ("example.org", "AAAA"),
        ("gone.example.org", "A"),
    ] {
        for transport in [DnsTransport::Udp, DnsTransport::Tcp] {
            let mut config = asking(server, name, record_type);
            config.transport = transport;
            let seen = observe(&config).await.unwrap();
            assert_eq!(seen.value("connected"), Some(1.0), "{:?}", seen.failure);
            assert_eq!(seen.value("authoritative"), Some(1.0));
            assert_eq!(seen.value("attempts"), Some(1.0));
            assert!(seen.value("response_time").unwrap() > 0.0);
            let Some(Body::Text(body)) = &seen.body else {
                panic!()
            };
            let line = format!(
                "{name} {record_type}: {} {} [{}] ttl {:?}",
                seen.facts["dns_rcode"].as_str().unwrap(),
                seen.value("answers").unwrap(),
                body.replace('\n', ", "),
                seen.value("ttl_min"),
            );
            if !told.contains(&line) {
                told.push(line);
            }
        }
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    example.org A: NOERROR 2 [192.0.2.1, 192.0.2.2] ttl Some(60.0)
    www.example.org a: NOERROR 1 [192.0.2.1] ttl Some(60.0)
    example.org MX: NOERROR 1 [10 mail.example.org.] ttl Some(300.0)
    example.org TXT: NOERROR 1 [v=spf1 -all] ttl Some(300.0)
    192.0.2.1 PTR: NOERROR 1 [example.org.] ttl Some(300.0)
    example.org AAAA: NOERROR 0 [] ttl None
    gone.example.org A: NXDOMAIN 0 [] ttl None
    ");
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_again_by_tcp() {
    let server = name_server(|question, is_tcp| {
        if is_tcp {
            return example_org(question, true);
        }
        let mut answer = question.clone().into_response();
        answer.metadata.truncation = true;
        Some(answer.to_vec().unwrap())
    })
    .await;
    let seen = observe(&asking(server, "example.org", "A")).await.unwrap();
    assert_eq!(seen.value("truncated"), Some(1.0));
    assert_eq!(seen.value("answers"), Some(2.0));
}

#[tokio::test]
async fn a_lost_packet_is_sent_again() {
    static LOST: std::sync::Once = std::sync::Once::new();
    let server = name_server(|question, is_tcp| {
        let mut is_lost = false;
        LOST.call_once(|| is_lost = true);
        (!is_lost).then(|| example_org(question, is_tcp)).flatten()
    })
    .await;
    let seen = observe(&asking(server, "example.org", "A")).await.unwrap();
    assert_eq!(seen.value("attempts"), Some(2.0));
    assert_eq!(seen.value("answers"), Some(2.0));
}

#[tokio::test]
async fn forged_broken_and_missing_answers_are_told_apart() {
    let forged = name_server(|question, is_tcp| {
        let mut other = question.clone();
        other.metadata.id = other.metadata.id.wrapping_add(1);
        example_org(&other, is_tcp)
    })
    .await;
    let broken = name_server(|question, is_tcp| {
        let mut answer = example_org(question, is_tcp)?;
        answer.truncate(20);
        Some(answer)
    })
    .await;
    let short = Duration::from_millis(300);
    let mut told = Vec::new();
    for (name, server) in [("forged", forged), ("broken", broken), ("nobody", nobody())] {
        for transport in [DnsTransport::Udp, DnsTransport::Tcp] {
            let mut config = asking(server, "example.org", "A");
            config.transport = transport;
            let seen = observe_within(&config, short).await.unwrap();
            assert_eq!(seen.value("connected"), Some(0.0));
            let text = failure(&seen).replace(&server.to_string(), "ADDRESS");
            let text = text.split(" within ").next().unwrap().to_owned();
            told.push(format!("{name} {transport:?}: {text}"));
        }
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    forged Udp: no answer from ADDRESS
    forged Tcp: the answer of ADDRESS cannot be read: it belongs to another question
    broken Udp: the answer of ADDRESS cannot be read: unexpected end of input reached
    broken Tcp: the answer of ADDRESS cannot be read: unexpected end of input reached
    nobody Udp: connection refused by ADDRESS
    nobody Tcp: connection refused by ADDRESS
    ");
}
