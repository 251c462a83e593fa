//! A Redis server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Missing, free_port, program};

/// How long a server may take until it answers.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// A Redis server with a folder of its own, saving nothing unless told to.
#[derive(Debug)]
pub struct Redis {
    process: Child,
    port: u16,
    folder: TempDir,
    cli: PathBuf,
}

impl Redis {
    /// An empty server without a password.
    ///
    /// # Errors
    /// [`Missing`] where `redis-server` or `redis-cli` is not installed.
    pub fn start() -> Result<Self, Missing> {
        Self::start_with(&[])
    }

    /// A server with further options, such as `["--requirepass", "secret"]`.
    ///
    /// # Errors
    /// [`Missing`] where `redis-server` or `redis-cli` is not installed.
    pub fn start_with(options: &[&str]) -> Result<Self, Missing> {
        let folder = tempfile::tempdir().expect("a folder for Redis");
        Self::launch(folder, "--port", options)
    }

    /// A server that speaks nothing but TLS, with a certificate for `localhost`; see [`Redis::authority`].
    ///
    /// # Errors
    /// [`Missing`] where `redis-server` or `redis-cli` is not installed.
    pub fn start_tls() -> Result<Self, Missing> {
        let folder = tempfile::tempdir().expect("a folder for Redis");
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        std::fs::write(&certificate, signed.cert.pem()).expect("the certificate is written");
        std::fs::write(&key, signed.signing_key.serialize_pem()).expect("the key is written");
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        let options = [
            "--port",
            "0",
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-auth-clients",
            "no",
        ];
        Self::launch(folder, "--tls-port", &options)
    }

    fn launch(folder: TempDir, port_option: &str, options: &[&str]) -> Result<Self, Missing> {
        let server = program(&["redis-server"], &[], "redis-server")?;
        let cli = program(&["redis-cli"], &[], "redis-tools")?;
        // A port that was free a moment ago may be taken by now, so that a server which gives up is started again.
        for _ in 0..5 {
            let port = free_port();
            let mut process = Command::new(&server)
                .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .arg("--dir")
                .arg(folder.path())
                .args([port_option, &port.to_string()])
                .args(options)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server starts");
            if answers(&mut process, port, port_option == "--tls-port") {
                return Ok(Self {
                    process,
                    port,
                    folder,
                    cli,
                });
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("redis-server did not start with {options:?}");
    }

    /// The port of 127.0.0.1 it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address: `redis://127.0.0.1:12345`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The folder it keeps its files in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate that vouches for a server started by [`Redis::start_tls`].
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    /// What `redis-cli` prints for a command, without the final line break.
    ///
    /// # Panics
    /// Where `redis-cli` cannot be run.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.cli)
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .output()
            .expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Stops it in its tracks: it goes on accepting connections and answers nothing, until [`Redis::resume`].
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on after [`Redis::pause`].
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Kills it; its port is refused from then on.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success(), "kill {signal} failed");
    }
}

/// Whether a server came to answer; false where it gave up. One that speaks TLS waits for more than is said here.
fn answers(process: &mut Child, port: u16, speaks_tls: bool) -> bool {
    for _ in 0..STARTS_WITHIN.as_millis() / 20 {
        if process.try_wait().expect("a child can be asked").is_some() {
            return false;
        }
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            if speaks_tls {
                return true;
            }
            // Whatever it answers, be it an error for want of a password, it is there.
            let mut byte = [0];
            let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
            if stream.write_all(b"PING\r\n").is_ok() && stream.read(&mut byte).is_ok() {
                return true;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_and_is_gone_when_dropped() {
        let redis = crate::need!(Redis::start());
        assert_eq!(redis.cli(&["SET", "a", "1"]), "OK");
        let port = redis.port();
        drop(redis);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
