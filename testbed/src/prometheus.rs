//! Prometheus, with a configuration of its own.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Missing, free_port, program};

/// How long it may take until it listens.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// A Prometheus of its own.
#[derive(Debug)]
pub struct Prometheus {
    process: Child,
    port: u16,
    /// Removed with it.
    _folder: TempDir,
}

impl Prometheus {
    /// One with this configuration, and these files beside it.
    ///
    /// # Errors
    /// [`Missing`] where it is not installed.
    ///
    /// # Panics
    /// Where it refuses the configuration.
    pub fn start(config: &str, files: &[(&str, &str)]) -> Result<Self, Missing> {
        let server = program(&["prometheus"], &[], "prometheus")?;
        let folder = tempfile::tempdir().expect("a folder for Prometheus");
        for (name, content) in files.iter().chain([&("prometheus.yml", config)]) {
            std::fs::write(folder.path().join(name), content).expect("a file is written");
        }
        // A port that was free a moment ago may be taken by now, so that a server which gives up is started again.
        for _ in 0..5 {
            let port = free_port();
            let mut process = Command::new(&server)
                .arg("--config.file")
                .arg(folder.path().join("prometheus.yml"))
                .arg("--storage.tsdb.path")
                .arg(folder.path().join("data"))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--log.level=error")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("Prometheus starts");
            if listens(&mut process, port) {
                return Ok(Self {
                    process,
                    port,
                    _folder: folder,
                });
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("Prometheus did not start with\n{config}");
    }

    /// Its address: `http://127.0.0.1:12345`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn listens(process: &mut Child, port: u16) -> bool {
    for _ in 0..STARTS_WITHIN.as_millis() / 50 {
        if process.try_wait().expect("a child can be asked").is_some() {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
