//! Whatever a server does wrong is counted under its own class and ends in time.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use alpha_bench::{
    BenchReport, Config, ErrorKind, FailureClass, Finding, Inputs, LoadModel, RunOptions, Scenario, Verdict,
};
use testbed::Missing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{few, put};

/// What a server does after it has read a request.
#[derive(Clone, Copy, Debug)]
enum Misbehaviour {
    Says(&'static [u8]),
    SaysAndCloses(&'static [u8]),
    Resets,
    HalfCloses,
    Drips,
    Endless,
    EndlessHead,
    NeverReads,
}

async fn server(misbehaviour: Misbehaviour) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(misbehave(stream, misbehaviour));
        }
    });
    address
}

async fn misbehave(mut stream: TcpStream, misbehaviour: Misbehaviour) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        if matches!(misbehaviour, Misbehaviour::NeverReads) {
            std::future::pending::<()>().await;
        }
        if stream.read(&mut buffer).await? == 0 {
            return Ok(());
        }
        match misbehaviour {
            Misbehaviour::Says(bytes) => stream.write_all(bytes).await?,
            Misbehaviour::SaysAndCloses(bytes) => return stream.write_all(bytes).await,
            Misbehaviour::Resets => {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                return Ok(());
            }
            // Says that it will say nothing, and goes on listening.
            Misbehaviour::HalfCloses => stream.shutdown().await?,
            Misbehaviour::Drips => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                    .await?;
                loop {
                    stream.write_all(b"x").await?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Misbehaviour::Endless => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                    .await?;
                loop {
                    stream.write_all(b"4\r\nmore\r\n").await?;
                }
            }
            Misbehaviour::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await?;
                loop {
                    stream.write_all(&[b'x'; 1000]).await?;
                }
            }
            Misbehaviour::NeverReads => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_misbehaviour_is_counted_under_its_own_class_and_ends_in_time() {
    use Misbehaviour::*;
    let cases: [(Misbehaviour, FailureClass); 18] = [
        (SaysAndCloses(b""), FailureClass::Closed),
        (
            SaysAndCloses(b"HTTP/1.1 200 OK\r\ncontent-le"),
            FailureClass::Truncated,
        ),
        (
            SaysAndCloses(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort"),
            FailureClass::Truncated,
        ),
        (
            SaysAndCloses(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"),
            FailureClass::Truncated,
        ),
        (
            Says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nlonger than two"),
            FailureClass::Overlong,
        ),
        (
            Says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
            FailureClass::Malformed,
        ),
        (
            Says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"),
            FailureClass::Malformed,
        ),
        (Says(b"SSH-2.0-OpenSSH_9.2\r\n"), FailureClass::Malformed),
        (
            Says(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
            FailureClass::Malformed,
        ),
        (
            Says(b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"),
            FailureClass::Redirect,
        ),
        (
            Says(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
            FailureClass::Status,
        ),
        (
            Says(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"),
            FailureClass::TooLarge,
        ),
        (Resets, FailureClass::Reset),
        (HalfCloses, FailureClass::Closed),
        (Drips, FailureClass::Timeout),
        (Endless, FailureClass::Timeout),
        (EndlessHead, FailureClass::TooLarge),
        (NeverReads, FailureClass::Timeout),
    ];
    for (misbehaviour, class) in cases {
        let begin = Instant::now();
        let report = put(&format!("http://{}/", server(misbehaviour).await), few(2)).await;
        assert_eq!(
            report.errors.get(class),
            2,
            "{misbehaviour:?}: {:?}",
            report.errors
        );
        assert_eq!(
            (report.requests, report.verdict),
            (2, Verdict::Breach),
            "{misbehaviour:?}"
        );
        assert!(begin.elapsed() < Duration::from_secs(4), "{misbehaviour:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_end_with_the_connection_or_come_in_chunks_are_right() {
    for answer in [
        Misbehaviour::SaysAndCloses(b"HTTP/1.0 200 OK\r\n\r\nuntil the end"),
        Misbehaviour::Says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        Misbehaviour::Says(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nt: v\r\n\r\n",
        ),
    ] {
        let report = put(&format!("http://{}/", server(answer).await), few(3)).await;
        assert_eq!(
            (report.requests, report.errors.total()),
            (3, 0),
            "{answer:?}: {:?}",
            report.error_examples
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_on_which_nothing_listens_refuses_and_is_not_hammered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let load = Config::new(LoadModel::closed(1)).with_duration(Duration::from_millis(500));
    let report = put(&url, load).await;
    assert_eq!(report.errors.get(FailureClass::Refused), report.requests);
    assert!((2..=55).contains(&report.requests), "{}", report.requests);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_one_clear_message() {
    let scenario = Scenario::of_url("http://does-not-exist.invalid/".parse().unwrap(), few(1));
    let error = scenario
        .run(&Inputs::default(), &RunOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(
        error.to_string(),
        "could not resolve the host does-not-exist.invalid"
    );
}

/// Puts a load from a network that has ten local ports, and nobody else in it.
fn put_from_ten_ports(load: Config) -> Result<BenchReport, Missing> {
    let missing = |what: &str, cause: &dyn std::fmt::Display| {
        Missing(format!("{what} ({cause}): needs root and iproute2"))
    };
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .map_err(|cause| missing("no network of its own", &cause))?;
    let up = std::process::Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .map_err(|cause| missing("no ip", &cause))?;
    if !up.success() {
        return Err(missing("no loopback", &up));
    }
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009")
        .map_err(|cause| missing("no range of ports of its own", &cause))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    Ok(runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:8080").await.unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Misbehaviour::Says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                tokio::spawn(misbehave(stream, answer));
            }
        });
        put("http://127.0.0.1:8080/", load).await
    }))
}

#[test]
fn a_machine_that_runs_out_of_ports_is_the_generators_limit_and_not_the_targets() {
    let load = Config::new(LoadModel::closed(30)).with_duration(Duration::from_millis(500));
    // A network belongs to the thread that asked for it and ends with it.
    let put = std::thread::spawn(|| put_from_ten_ports(load)).join().unwrap();
    let report = testbed::need!(put);
    let refused = report.errors.get(FailureClass::PortsExhausted);
    assert!(
        refused > 0 && refused == report.errors.total(),
        "{:?}",
        report.errors
    );
    assert_eq!(report.connections, 10);
    assert_eq!(report.verdict, Verdict::GeneratorSaturated);
    let class = FailureClass::PortsExhausted;
    assert!(report.findings.contains(&Finding::LocalLimit {
        class,
        requests: refused
    }));
}
