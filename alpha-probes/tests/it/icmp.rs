use std::time::Duration;

use alpha_probes::ErrorKind;
use alpha_probes::probes::IcmpConfig;

use crate::support::{failure, observe, observe_within};

#[tokio::test]
async fn this_machine_answers_itself() {
    let mut hosts = vec!["127.0.0.1", "localhost"];
    if std::net::TcpListener::bind(("::1", 0)).is_ok() {
        hosts.push("::1");
    }
    for host in hosts {
        let mut config = IcmpConfig::new(host);
        config.spacing = Duration::from_millis(10).into();
        let seen = match observe(&config).await {
            Ok(seen) => seen,
            Err(error) if error.kind() == ErrorKind::Denied => {
                let missing = testbed::Missing(error.to_string());
                testbed::skip("icmp", &missing);
                return;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(seen.failure, None, "{host}");
        assert_eq!(seen.value("sent"), Some(5.0));
        assert_eq!(seen.value("loss"), Some(0.0));
        let value = |name| seen.value(name).unwrap();
        assert!(0.0 < value("rtt_min") && value("rtt_min") <= value("rtt_avg"));
        assert!(value("rtt_avg") <= value("rtt_max") && value("rtt_max") < 1.0);
    }
}

#[tokio::test]
async fn an_address_that_nobody_has_does_not_answer() {
    // An address for documentation, RFC 3849; most machines have no route to it, the others no reply.
    let mut config = IcmpConfig::new("2001:db8::1");
    config.count = 2;
    match observe_within(&config, Duration::from_millis(500)).await {
        Ok(seen) => {
            let why = failure(&seen);
            assert!(why.contains("2001:db8::1"), "{why}");
            assert_eq!(seen.value("connected"), Some(0.0));
        }
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::Denied | ErrorKind::Io),
            "{error}"
        ),
    }
}
