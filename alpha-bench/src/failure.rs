//! How a request can fail, as a closed vocabulary that is counted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The class under which a failed request is counted.
///
/// The list is closed, so that counters are an array and two reports can be merged without a string in sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Nothing listens at the address.
    Refused,
    /// The other side reset the connection.
    Reset,
    /// The other side closed the connection before it answered.
    Closed,
    /// No complete answer within the request's timeout.
    Timeout,
    /// The name could not be resolved.
    Dns,
    /// No route to the host or the network.
    Unreachable,
    /// The TLS handshake failed, for example because of an expired certificate.
    Tls,
    /// The answer is not the protocol it claims to be.
    Malformed,
    /// The connection ended in the middle of an answer.
    Truncated,
    /// More bytes came than the answer announced.
    Overlong,
    /// The answer exceeds the bound set for it.
    TooLarge,
    /// The answer is a redirect, which is never followed.
    Redirect,
    /// The answer has a status that was not expected.
    Status,
    /// A check on the body or the size of the answer failed.
    Check,
    /// The answer to a JSON-RPC call is an error object.
    Rpc,
    /// This machine has no local port left: the generator's own limit.
    PortsExhausted,
    /// This process may open no more files: the generator's own limit.
    FilesExhausted,
    /// Another failure of a socket.
    Io,
}

impl FailureClass {
    /// Every class, in the order of declaration.
    pub const ALL: [Self; 18] = [
        Self::Refused,
        Self::Reset,
        Self::Closed,
        Self::Timeout,
        Self::Dns,
        Self::Unreachable,
        Self::Tls,
        Self::Malformed,
        Self::Truncated,
        Self::Overlong,
        Self::TooLarge,
        Self::Redirect,
        Self::Status,
        Self::Check,
        Self::Rpc,
        Self::PortsExhausted,
        Self::FilesExhausted,
        Self::Io,
    ];

    /// The name in JSON, CSV and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Malformed => "malformed",
            Self::Truncated => "truncated",
            Self::Overlong => "overlong",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::Check => "check",
            Self::Rpc => "rpc",
            Self::PortsExhausted => "ports_exhausted",
            Self::FilesExhausted => "files_exhausted",
            Self::Io => "io",
        }
    }

    /// Whether the failure is the generator's own, so that it says nothing about the target.
    pub fn is_of_generator(self) -> bool {
        matches!(self, Self::PortsExhausted | Self::FilesExhausted)
    }

    /// The class of an error of the operating system.
    pub fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        // `std` has no stable kind for these two; the numbers are EMFILE and ENFILE on every Unix.
        if matches!(error.raw_os_error(), Some(23 | 24)) {
            return Self::FilesExhausted;
        }
        match error.kind() {
            Kind::ConnectionRefused => Self::Refused,
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Self::Reset,
            Kind::UnexpectedEof => Self::Truncated,
            Kind::TimedOut => Self::Timeout,
            Kind::AddrNotAvailable | Kind::AddrInUse => Self::PortsExhausted,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => Self::Unreachable,
            Kind::InvalidData => Self::Malformed,
            _ => Self::Io,
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A failed request: its class and, where it helps, what exactly was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The class under which it is counted.
    pub class: FailureClass,
    /// What was seen, in English, for the first failure of its class.
    pub detail: Cow<'static, str>,
}

impl Failure {
    /// A failure of `class`; a static `detail` costs no allocation, which matters when thousands fail each second.
    pub fn new(class: FailureClass, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            class,
            detail: detail.into(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(FailureClass::of_io(&error), "")
    }
}

/// How many requests failed, by class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "BTreeMap<FailureClass, u64>", into = "BTreeMap<FailureClass, u64>")]
#[schemars(with = "BTreeMap<FailureClass, u64>")]
pub struct FailureCounts([u64; FailureClass::ALL.len()]);

impl FailureCounts {
    /// Counts one failure.
    pub fn add(&mut self, class: FailureClass) {
        self.0[class as usize] += 1;
    }

    /// How many failures of `class` there were.
    pub fn get(&self, class: FailureClass) -> u64 {
        self.0[class as usize]
    }

    /// How many failures there were altogether.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The classes that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (FailureClass, u64)> + '_ {
        FailureClass::ALL
            .into_iter()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
    }

    /// Adds the counts of another worker, process or machine.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

impl From<BTreeMap<FailureClass, u64>> for FailureCounts {
    fn from(counts: BTreeMap<FailureClass, u64>) -> Self {
        let mut array = Self::default();
        for (class, count) in counts {
            array.0[class as usize] = count;
        }
        array
    }
}

impl From<FailureCounts> for BTreeMap<FailureClass, u64> {
    fn from(counts: FailureCounts) -> Self {
        counts.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_stands_at_its_own_place_and_is_spelt_as_serde_spells_it() {
        for (index, class) in FailureClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
    }

    #[test]
    fn counts_survive_json_and_add_up() {
        let mut counts = FailureCounts::default();
        counts.add(FailureClass::Timeout);
        counts.add(FailureClass::Status);
        counts.add(FailureClass::Status);
        let json = serde_json::to_string(&counts).unwrap();
        assert_eq!(json, r#"{"timeout":1,"status":2}"#);
        let mut twice: FailureCounts = serde_json::from_str(&json).unwrap();
        twice.merge(&counts);
        assert_eq!((twice.total(), twice.get(FailureClass::Status)), (6, 4));
    }
}
