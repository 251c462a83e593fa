//! Starts the real things Alpha is tested against: each on free ports, in a folder of its own, stopped and removed when
//! dropped.
//!
//! A thing that this machine does not have is [`Missing`]; [`need!`] then skips the test in one visible line, and fails
//! it where `TESTBED_REQUIRE_ALL` is set, as in CI.

use std::fmt;
use std::io::Write as _;
use std::net::TcpListener;

mod alertmanager;
mod certificates;
mod docker;
mod nginx;
mod node;
mod postgres;
mod prometheus;
mod redis;

pub use alertmanager::*;
pub use certificates::*;
pub use docker::*;
pub use nginx::*;
pub use node::*;
pub use postgres::*;
pub use prometheus::*;
pub use redis::*;

/// A component that this machine does not have, and how to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Says that `test` is skipped because something is missing, and counts it in the file `TESTBED_SKIPS` names.
///
/// # Panics
/// Where `TESTBED_REQUIRE_ALL` is set: nothing may be missing there.
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
pub fn skip(test: &str, missing: &Missing) {
    assert!(
        std::env::var_os("TESTBED_REQUIRE_ALL").is_none(),
        "{test} may not be skipped here: {missing}"
    );
    eprintln!("skipped: {test}: {missing}");
    if let Some(path) = std::env::var_os("TESTBED_SKIPS")
        && let Ok(mut file) = std::fs::File::options().append(true).create(true).open(path)
    {
        let _ = writeln!(file, "{test}: {missing}");
    }
}

/// Unwraps a component, or skips the test that it stands in.
#[macro_export]
macro_rules! need {
    ($component:expr) => {
        match $component {
            Ok(component) => component,
            Err(missing) => {
                $crate::skip(concat!(module_path!(), ":", line!()), &missing);
                return;
            }
        }
    };
}

/// A TCP port of loopback that was free a moment ago.
///
/// # Panics
/// Where loopback has no free port.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// The first of `names` that is a program on the path or in one of `folders`.
///
/// # Errors
/// [`Missing`], naming the Debian package that has it.
pub fn program(names: &[&str], folders: &[&str], package: &str) -> Result<std::path::PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let folders = folders.iter().map(std::path::PathBuf::from);
    on_path
        .into_iter()
        .chain(folders)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Missing(format!("no {}: install the package {package}", names[0])))
}
