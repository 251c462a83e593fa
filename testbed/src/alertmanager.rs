//! Prometheus' Alertmanager, and its tool.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Missing, free_port, program};

/// How long it may take until it is ready.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

const PACKAGE: &str = "prometheus-alertmanager";

/// An Alertmanager of its own, without a cluster.
#[derive(Debug)]
pub struct Alertmanager {
    process: Child,
    port: u16,
    /// Removed with it.
    _folder: TempDir,
}

/// `amtool`, which checks configurations and routes without a server.
#[derive(Debug)]
pub struct Amtool {
    program: PathBuf,
    folder: TempDir,
}

impl Alertmanager {
    /// One with this configuration, in YAML.
    ///
    /// # Errors
    /// [`Missing`] where it is not installed.
    ///
    /// # Panics
    /// Where it refuses the configuration.
    pub fn start(config: &str) -> Result<Self, Missing> {
        let server = program(&["prometheus-alertmanager", "alertmanager"], &[], PACKAGE)?;
        let folder = tempfile::tempdir().expect("a folder for Alertmanager");
        let file = folder.path().join("alertmanager.yml");
        std::fs::write(&file, config).expect("the configuration is written");
        // A port that was free a moment ago may be taken by now, so that a server which gives up is started again.
        for _ in 0..5 {
            let port = free_port();
            let mut process = Command::new(&server)
                .arg("--config.file")
                .arg(&file)
                .arg("--storage.path")
                .arg(folder.path().join("data"))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .args(["--cluster.listen-address=", "--log.level=error"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("Alertmanager starts");
            if is_ready(&mut process, port) {
                return Ok(Self {
                    process,
                    port,
                    _folder: folder,
                });
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("Alertmanager did not start with\n{config}");
    }

    /// Its address: `http://127.0.0.1:12345`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The status and the body that it answers a request with, whose body, if there is one, is JSON.
    ///
    /// # Panics
    /// Where it does not answer in HTTP.
    pub fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        request(self.port, method, path, body).expect("Alertmanager answers")
    }

    /// Kills it; its port is refused from then on.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_ready(process: &mut Child, port: u16) -> bool {
    for _ in 0..STARTS_WITHIN.as_millis() / 20 {
        if process.try_wait().expect("a child can be asked").is_some() {
            return false;
        }
        if request(port, "GET", "/-/ready", "").is_ok_and(|(status, _)| status == 200) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn request(port: u16, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    // With version 1.0 the answer comes in one piece and ends with the connection.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.unwrap_or_default(), body.to_owned()))
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Amtool {
    /// The tool of this machine.
    ///
    /// # Errors
    /// [`Missing`] where it is not installed.
    pub fn find() -> Result<Self, Missing> {
        Ok(Self {
            program: program(&["amtool"], &[], PACKAGE)?,
            folder: tempfile::tempdir().expect("a folder for amtool"),
        })
    }

    /// A file with this content in a folder that goes with the tool.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("the file is written");
        path
    }

    /// What it prints, or else what it complains of.
    ///
    /// # Errors
    /// Its standard error where it ends with another code than 0.
    ///
    /// # Panics
    /// Where it cannot be run.
    pub fn run<S: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String, String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("amtool runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "{route: {receiver: ops}, receivers: [{name: ops}]}";

    #[test]
    fn it_starts_and_is_gone_when_dropped() {
        let alertmanager = crate::need!(Alertmanager::start(CONFIG));
        assert_eq!(
            alertmanager.request("GET", "/api/v2/receivers", "").1.trim(),
            r#"[{"name":"ops"}]"#
        );
        let port = alertmanager.port;
        drop(alertmanager);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn the_tool_says_what_it_thinks_of_a_file() {
        let amtool = crate::need!(Amtool::find());
        let file = amtool.file("good.yml", CONFIG);
        assert!(
            amtool
                .run(["check-config".as_ref(), file.as_os_str()])
                .unwrap()
                .contains("SUCCESS")
        );
        let file = amtool.file("bad.yml", "route: {}");
        assert!(amtool.run(["check-config".as_ref(), file.as_os_str()]).is_err());
    }
}
