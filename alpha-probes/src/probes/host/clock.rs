//! The probe `clock`: whether the clock of this machine is right.
//!
//! A validator whose clock is off by a fraction of a slot loses its blocks. The offset comes from whoever keeps the
//! clock: chrony, systemd-timesyncd, ntpd, or a time server that the configuration names; that the clock is kept at
//! all, also from the kernel. What cannot be told is an error, never a good clock.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::TARGET;
use crate::check::ProbeConfig;
use crate::clock::Clock as WallClock;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::probes::program::Program;
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "clock",
    summary: "Whether the clock of this machine is kept right, and how far it is off",
    metrics: &[
        Metric::gauge(
            "synchronised",
            Unit::Boolean,
            "Whether the clock follows a time server",
        ),
        Metric::gauge(
            "offset",
            Unit::Seconds,
            "How far the clock is off, either way; not where only the kernel tells",
        ),
        Metric::gauge(
            "stratum",
            Unit::Count,
            "Servers between this clock and the reference, where it is known",
        ),
        Metric::gauge(
            "root_dispersion",
            Unit::Seconds,
            "Error that the chain of servers may have added, where it is known",
        ),
    ],
    is_open: false,
    // A slot lasts 6 s; 100 ms and 500 ms are this project's own proposal, since no network publishes a figure.
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "has(offset) && offset > 500ms",
            sustained: "",
            says: "the clock is off by {offset}",
            remedy: "See why the time service cannot keep it (chronyc sources -v, timedatectl timesync-status), and step it: chronyc makestep.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has(offset) && offset > 100ms",
            sustained: "",
            says: "the clock is off by {offset}",
            remedy: "See why the time service cannot keep it (chronyc sources -v, timedatectl timesync-status), and step it: chronyc makestep.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "synchronised == false",
            sustained: "",
            says: "the clock follows no time server, says {source}",
            remedy: "Start a time service (systemctl enable --now chrony) and let UDP port 123 out.",
        },
    ],
};

/// A clock that agrees this well with the configured server is in step, whoever sees to it.
const IN_STEP: f64 = 0.5;

/// The table `clock` of a check.
///
/// Asks, in this order, and takes the first that knows: the time server named here, `chronyc`, `timedatectl`, `ntpq`,
/// and the kernel by `adjtimex` (of the package adjtimex or busybox).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ClockConfig {
    /// A time server to compare with over SNTP, as `host` or `host:port`. Default: none is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

impl ProbeConfig for ClockConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        let server = self.server.as_deref().map(str::trim);
        if server == Some("") {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "server: expected the name of a time server, such as \"time.example.org\", found nothing"
                ),
            ));
        }
        // An address of version 6 without a port has several colons and no brackets.
        let server = server.map(|server| match server.rsplit_once(':') {
            Some((host, port))
                if port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')) =>
            {
                server.to_owned()
            }
            Some(_) if !server.starts_with('[') => format!("[{server}]:123"),
            _ => format!("{server}:123"),
        });
        Ok(Arc::new(Clock { server }))
    }
}

#[derive(Debug)]
struct Clock {
    server: Option<String>,
}

/// What somebody who knows said about the clock.
#[derive(Clone, Debug, Default, PartialEq)]
struct Reading {
    source: &'static str,
    synchronised: bool,
    /// Seconds, either way.
    offset: Option<f64>,
    stratum: Option<f64>,
    root_dispersion: Option<f64>,
}

/// How a program is asked about the clock, and how its answer is read.
struct Witness {
    program: &'static str,
    arguments: &'static [&'static str],
    read: fn(&str) -> Option<Reading>,
}

const WITNESSES: [Witness; 6] = [
    Witness {
        program: "chronyc",
        arguments: &["-n", "-c", "tracking"],
        read: read_chrony,
    },
    // Knows the offset, but only where systemd-timesyncd is in charge.
    Witness {
        program: "timedatectl",
        arguments: &["--no-pager", "timesync-status"],
        read: read_timesync,
    },
    Witness {
        program: "timedatectl",
        arguments: &["--no-pager", "show"],
        read: read_timedate,
    },
    Witness {
        program: "ntpq",
        arguments: &["-n", "-c", "rv"],
        read: read_ntpq,
    },
    Witness {
        program: "adjtimex",
        arguments: &["--print"],
        read: read_adjtimex,
    },
    Witness {
        program: "busybox",
        arguments: &["adjtimex"],
        read: read_adjtimex,
    },
];

/// Reads the fields of `chronyc -c tracking`: see chronyc(1), "tracking".
fn read_chrony(output: &str) -> Option<Reading> {
    let fields: Vec<&str> = output.trim().split(',').collect();
    let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
    let leap = *fields.get(13)?;
    let stratum = number(2)?;
    let synchronised = leap != "Not synchronised" && stratum > 0.0;
    Some(Reading {
        source: "chrony",
        synchronised,
        // Without a source there is nothing the offset could be an offset from.
        offset: if synchronised {
            Some(number(4)?.abs())
        } else {
            None
        },
        stratum: Some(stratum),
        root_dispersion: number(11),
    })
}

/// Reads `timedatectl timesync-status`, which has no form for machines; without a packet yet it has no offset.
fn read_timesync(output: &str) -> Option<Reading> {
    let field = |name: &str| {
        output
            .lines()
            .filter_map(|line| line.trim().split_once(": "))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim())
    };
    let span = |text: &str| {
        let text = text.trim_start_matches(['+', '-']).replace("min", "m");
        text.parse::<SignedDuration>().ok().map(|span| span.as_secs_f64())
    };
    Some(Reading {
        source: "systemd-timesyncd",
        synchronised: true,
        offset: Some(span(field("Offset")?)?),
        stratum: field("Stratum").and_then(|stratum| stratum.parse().ok()),
        root_dispersion: None,
    })
}

/// Reads `timedatectl show`, which passes on what the kernel says.
fn read_timedate(output: &str) -> Option<Reading> {
    let value = output
        .lines()
        .find_map(|line| line.strip_prefix("NTPSynchronized="))?;
    Some(Reading {
        source: "timedatectl",
        synchronised: value == "yes",
        ..Reading::default()
    })
}

/// Reads the variables that `ntpq -c rv` prints; times are milliseconds.
fn read_ntpq(output: &str) -> Option<Reading> {
    let value = |name: &str| -> Option<f64> {
        output
            .split([',', '\n'])
            .find_map(|word| word.trim().strip_prefix(name)?.strip_prefix('='))?
            .parse()
            .ok()
    };
    let stratum = value("stratum")?;
    let synchronised = !output.contains("leap_alarm") && stratum < 16.0;
    Some(Reading {
        source: "ntpd",
        synchronised,
        offset: value("offset")
            .filter(|_| synchronised)
            .map(|offset| offset.abs() / 1e3),
        stratum: Some(stratum),
        root_dispersion: value("rootdisp").map(|dispersion| dispersion / 1e3),
    })
}

/// Reads the status word of the kernel; `STA_UNSYNC` of adjtimex(2) is 64.
fn read_adjtimex(output: &str) -> Option<Reading> {
    let line = output
        .lines()
        .find_map(|line| line.trim().strip_prefix("status:"))?;
    let status: u32 = line.split_whitespace().next()?.parse().ok()?;
    Some(Reading {
        source: "the kernel",
        synchronised: status & 64 == 0,
        ..Reading::default()
    })
}

/// Compares the clock with a server's by one SNTP exchange (RFC 5905, section 14).
async fn ask_server(server: &str, clock: &dyn WallClock, deadline: Instant) -> Result<Reading> {
    let failed = |kind| {
        Error::new(
            kind,
            text!("could not ask the time server {server}", server = server),
        )
    };
    let exchange = async {
        let address = tokio::net::lookup_host(server)
            .await?
            .next()
            .ok_or(std::io::ErrorKind::NotFound)?;
        let local = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(address).await?;
        let sent_at = clock.now();
        let request = request(sent_at);
        socket.send(&request).await?;
        let mut answer = [0; 512];
        loop {
            let length = socket.recv(&mut answer).await?;
            let received_at = clock.now();
            // An answer to another question, forged or late, does not carry our time stamp back.
            if let Some(answer) = answer[..length].get(..48)
                && answer[24..32] == request[40..48]
            {
                return Ok(read_sntp(answer, sent_at, received_at));
            }
        }
    };
    let answer: std::io::Result<_> = timeout_at(deadline, exchange)
        .await
        .map_err(|_| failed(ErrorKind::Timeout))?;
    answer
        .map_err(|cause| failed(ErrorKind::Unreachable).with_source(cause))?
        .ok_or_else(|| failed(ErrorKind::Malformed))
}

/// Seconds between the epochs of NTP (1900) and Unix (1970).
const EPOCHS: i64 = 2_208_988_800;

fn request(now: Timestamp) -> [u8; 48] {
    let mut packet = [0; 48];
    // Version 4, client.
    packet[0] = 0x23;
    let seconds = (now.as_second() + EPOCHS) as u32;
    let fraction = ((now.subsec_nanosecond() as u64) << 32) / 1_000_000_000;
    packet[40..44].copy_from_slice(&seconds.to_be_bytes());
    packet[44..48].copy_from_slice(&(fraction as u32).to_be_bytes());
    packet
}

/// Reads an answer; nothing where it is none, or the server says that its own clock is not right.
fn read_sntp(packet: &[u8], sent_at: Timestamp, received_at: Timestamp) -> Option<Reading> {
    let (leap, mode, stratum) = (packet[0] >> 6, packet[0] & 7, packet[1]);
    if mode != 4 || leap == 3 || stratum == 0 || stratum > 15 {
        return None;
    }
    let word = |at: usize| packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    // Both ends are within an era of each other, so that the difference of the wrapped numbers is the difference.
    let since = |at: usize, from: Timestamp| -> Option<f64> {
        let seconds = word(at)?.wrapping_sub((from.as_second() + EPOCHS) as u32) as i32;
        let fraction = f64::from(word(at + 4)?) / 2f64.powi(32);
        Some(f64::from(seconds) + fraction - f64::from(from.subsec_nanosecond()) / 1e9)
    };
    let offset = (since(32, sent_at)? + since(40, received_at)?) / 2.0;
    Some(Reading {
        source: "the time server",
        synchronised: offset.abs() <= IN_STEP,
        offset: Some(offset.abs()),
        stratum: Some(f64::from(stratum)),
        root_dispersion: Some(f64::from(word(8)?) / 65_536.0),
    })
}

async fn ask_witnesses(deadline: Instant) -> Result<Reading> {
    for witness in &WITNESSES {
        let arguments: Vec<String> = witness.arguments.iter().map(|&word| word.to_owned()).collect();
        let patience = (Instant::now() + Duration::from_secs(3)).min(deadline);
        let Ok(answer) = Program::new(witness.program, &arguments, patience).run().await else {
            continue;
        };
        // The kernel's tools end with the state of the clock, so that the status tells nothing.
        let output = String::from_utf8_lossy(&answer.output);
        if let Some(reading) = (witness.read)(&output) {
            return Ok(reading);
        }
        tracing::debug!(program = witness.program, "knows nothing of the clock");
    }
    Err(Error::new(
        ErrorKind::NotApplicable,
        text!(
            "nothing here can tell whether the clock is right: install chrony, or name a time server with the key server"
        ),
    ))
}

#[async_trait]
impl Probe for Clock {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        self.server.as_deref().unwrap_or(TARGET)
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let reading = match &self.server {
            Some(server) => ask_server(server, context.clock, context.deadline).await?,
            None => ask_witnesses(context.deadline).await?,
        };
        let mut observation = Observation::new()
            .with_fact("source", reading.source)
            .with_bool("synchronised", reading.synchronised);
        for (name, value, unit) in [
            ("offset", reading.offset, Unit::Seconds),
            ("stratum", reading.stratum, Unit::Count),
            ("root_dispersion", reading.root_dispersion, Unit::Seconds),
        ] {
            if let Some(value) = value {
                observation = observation.with(name, value, unit);
            }
        }
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chrony_tells_everything_or_that_it_has_no_source() {
        let reading = read_chrony(
            "A29FC801,162.159.200.1,4,1700000000.123456789,-0.000123456,0.00001,0.00002,-1.234,0.001,0.05,0.012,0.0015,64.8,Normal\n",
        )
        .unwrap();
        assert!(reading.synchronised);
        assert_eq!(
            (reading.offset, reading.stratum, reading.root_dispersion),
            (Some(0.000123456), Some(4.0), Some(0.0015))
        );
        let reading =
            read_chrony("7F7F0101,,0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised\n").unwrap();
        assert_eq!((reading.synchronised, reading.offset), (false, None));
        assert_eq!(read_chrony("506 Cannot talk to daemon\n"), None);
    }

    #[test]
    fn timesyncd_writes_spans_for_people() {
        for (written, seconds) in [("+512us", 0.000_512), ("-1.25ms", 0.001_25), ("+1min 2.5s", 62.5)] {
            let output =
                format!("       Server: 10.0.0.1 (ntp)\n      Stratum: 2\n       Offset: {written}\n");
            assert_eq!(read_timesync(&output).unwrap().offset, Some(seconds), "{written}");
        }
        assert_eq!(read_timesync("       Server: n/a\n Packet count: 0\n"), None);
    }

    #[test]
    fn others_tell_at_least_whether_it_is_kept() {
        assert!(
            !read_timedate("Timezone=Etc/UTC\nNTPSynchronized=no\n")
                .unwrap()
                .synchronised
        );
        assert_eq!(read_timedate("Failed to connect to bus\n"), None);
        assert!(
            !read_adjtimex("    mode:         0\n    status:       64 (UNSYNC)\n")
                .unwrap()
                .synchronised
        );
        assert!(read_adjtimex("      status: 8193\n").unwrap().synchronised);
        let reading = read_ntpq(
            "associd=0 status=0615 leap_none, sync_ntp, 1 event, clock_sync,\nversion=\"ntpd\", stratum=3,\nrootdisp=25.3, refid=10.0.0.1,\noffset=-1.5, frequency=2.0\n",
        )
        .unwrap();
        assert_eq!((reading.synchronised, reading.offset), (true, Some(0.0015)));
        assert_eq!(read_ntpq("ntpq: read: Connection refused\n"), None);
    }

    #[test]
    fn a_server_that_is_ahead_shows_by_how_much() {
        let sent_at = Timestamp::from_second(1_700_000_000).unwrap();
        let received_at = sent_at + SignedDuration::from_millis(40);
        let mut packet = request(sent_at + SignedDuration::from_millis(1520));
        packet[0] = 0x24;
        packet[1] = 2;
        let stamp: [u8; 8] = packet[40..48].try_into().unwrap();
        packet[32..40].copy_from_slice(&stamp);
        let reading = read_sntp(&packet, sent_at, received_at).unwrap();
        assert!((reading.offset.unwrap() - 1.5).abs() < 1e-6, "{reading:?}");
        assert!(!reading.synchronised);
        packet[0] = 0xe4;
        assert_eq!(read_sntp(&packet, sent_at, received_at), None);
    }

    #[tokio::test]
    async fn a_server_is_asked_over_the_network() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let mut packet = [0; 48];
            let (_, peer) = server.recv_from(&mut packet).await.unwrap();
            let stamp: [u8; 8] = packet[40..48].try_into().unwrap();
            packet[0] = 0x24;
            packet[1] = 1;
            packet[24..32].copy_from_slice(&stamp);
            packet[32..40].copy_from_slice(&stamp);
            server.send_to(&[9; 48], peer).await.unwrap();
            server.send_to(&packet, peer).await.unwrap();
        });
        let deadline = Instant::now() + Duration::from_secs(10);
        let reading = ask_server(&address, &crate::SystemClock, deadline).await.unwrap();
        serving.await.unwrap();
        assert!(
            reading.synchronised && reading.offset.unwrap() < 0.5,
            "{reading:?}"
        );
    }

    #[test]
    fn the_port_is_the_usual_one_where_none_is_named() {
        for (server, expected) in [
            ("time.example.org", "time.example.org:123"),
            ("10.0.0.1:1123", "10.0.0.1:1123"),
            ("fe80::1", "[fe80::1]:123"),
            ("[fe80::1]", "[fe80::1]:123"),
            ("[fe80::1]:1123", "[fe80::1]:1123"),
        ] {
            let config = ClockConfig {
                server: Some(server.to_owned()),
            };
            assert_eq!(config.build(&Resources::default()).unwrap().target(), expected);
        }
    }
}
