//! Starts nginx, with a certificate of every kind that goes wrong in practice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Authority, CertificateState, Missing, free_port, program};

/// How an [`Nginx`] is set up.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NginxConfig {
    /// How many worker processes. Default: 1.
    pub workers: Option<u16>,
    /// What else stands in every `server` block, such as locations.
    pub locations: String,
    /// Whether requests are written to [`Nginx::access_log`], in nginx' `combined` format. Default: no.
    pub is_logging: bool,
}

impl NginxConfig {
    /// The same with `locations` in every `server` block.
    #[must_use]
    pub fn with_locations(mut self, locations: &str) -> Self {
        locations.clone_into(&mut self.locations);
        self
    }

    /// The same with so many worker processes.
    #[must_use]
    pub fn with_workers(mut self, workers: u16) -> Self {
        self.workers = Some(workers);
        self
    }

    /// The same with an access log.
    #[must_use]
    pub fn with_access_log(mut self) -> Self {
        self.is_logging = true;
        self
    }
}

/// A real nginx in a folder of its own; plain HTTP on one port, HTTPS on one port for each state of a certificate, and
/// HTTP on a unix socket.
///
/// It answers `GET /` with the files of [`Nginx::write`], `/ok` with `ok`, and `/health` with
/// `{"status":"healthy","checks":[{"name":"db","ok":true}],"queue":3}`.
#[derive(Debug)]
pub struct Nginx {
    folder: TempDir,
    child: Child,
    http: u16,
    https: BTreeMap<CertificateState, u16>,
    /// Whether `[::1]` is served too, on the same ports.
    pub has_ipv6: bool,
}

/// How often another set of ports is tried when somebody else took one in between.
const ATTEMPTS: u32 = 5;

impl Nginx {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// [`Missing`] where nginx is not installed.
    ///
    /// # Panics
    /// Where it is installed and does not start.
    pub fn start(config: &NginxConfig) -> Result<Self, Missing> {
        let nginx = program(&["nginx"], &["/usr/sbin", "/usr/local/sbin"], "nginx-light")?;
        let authority = Authority::new("testbed");
        let mut log = String::new();
        for _ in 0..ATTEMPTS {
            match Self::launch(&nginx, config, &authority) {
                Ok(started) => return Ok(started),
                Err(complaint) => log = complaint,
            }
        }
        panic!("nginx did not start: {log}");
    }

    fn launch(nginx: &Path, config: &NginxConfig, authority: &Authority) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("testbed-nginx-")
            .tempdir()
            .expect("a temporary folder can be made");
        fs::create_dir(folder.path().join("www")).expect("a folder can be made");
        fs::write(folder.path().join("ca.pem"), authority.root_pem()).expect("a file can be written");
        for state in CertificateState::ALL {
            let certificate = authority.issue(state);
            let path = |end| folder.path().join(format!("{}.{end}", state.as_str()));
            fs::write(path("pem"), certificate.chain_pem).expect("a file can be written");
            fs::write(path("key"), certificate.key_pem).expect("a file can be written");
        }
        let http = free_port();
        let https = CertificateState::ALL.map(|state| (state, free_port())).into();
        let has_ipv6 = TcpListener::bind(("::1", 0)).is_ok();
        let text = configuration(folder.path(), config, http, &https, has_ipv6);
        fs::write(folder.path().join("nginx.conf"), text).expect("a file can be written");
        let child = command(nginx, folder.path())
            .spawn()
            .expect("nginx can be executed");
        let mut started = Self {
            folder,
            child,
            http,
            https,
            has_ipv6,
        };
        for _ in 0..500 {
            if TcpStream::connect(started.address()).is_ok() && started.is_running() {
                return Ok(started);
            }
            if !started.is_running() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(fs::read_to_string(started.path("error.log")).unwrap_or_default())
    }

    /// Where it serves plain HTTP.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.http))
    }

    /// Where it serves HTTPS with a certificate in this state.
    pub fn tls_address(&self, state: CertificateState) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.https[&state]))
    }

    /// `http://127.0.0.1:PORT` followed by `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// `https://localhost:PORT` followed by `path`.
    pub fn tls_url(&self, state: CertificateState, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https[&state])
    }

    /// The certificate that its clients have to trust, PEM.
    pub fn ca_path(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The unix socket that serves plain HTTP.
    pub fn socket_path(&self) -> PathBuf {
        self.path("http.sock")
    }

    /// The log of requests; see [`NginxConfig::is_logging`].
    pub fn access_log(&self) -> PathBuf {
        self.path("access.log")
    }

    /// The log of trouble.
    pub fn error_log(&self) -> PathBuf {
        self.path("error.log")
    }

    /// The master process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Serves `content` at `/name`.
    ///
    /// # Panics
    /// Where the file cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path("www").join(name), content).expect("a file can be written");
    }

    /// Stops it; what it listened on refuses connections afterwards.
    pub fn stop(&mut self) {
        // A killed master leaves its workers behind, so it is asked first.
        let pid = self.child.id().to_string();
        if self.is_running() {
            let _ = Command::new("kill").args(["-TERM", &pid]).status();
        }
        for _ in 0..300 {
            if !self.is_running() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.stop();
    }
}

fn command(nginx: &Path, folder: &Path) -> Command {
    let mut command = Command::new(nginx);
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .arg("-e")
        .arg(folder.join("error.log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A configuration that touches no path outside of `folder`.
fn configuration(
    folder: &Path,
    config: &NginxConfig,
    http: u16,
    https: &BTreeMap<CertificateState, u16>,
    has_ipv6: bool,
) -> String {
    let folder = folder.display();
    let workers = config.workers.unwrap_or(1);
    // Workers of a root master drop to an account that could not read the folder; for others the line only warns.
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let user = if is_root { "user root;" } else { "" };
    let access_log = if config.is_logging {
        format!("{folder}/access.log combined")
    } else {
        "off".to_owned()
    };
    let mut text = format!(
        "daemon off; worker_processes {workers}; {user} pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log {access_log}; server_tokens off; keepalive_requests 100000000; keepalive_timeout 75s;
    client_body_temp_path {folder}/client; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; root {folder}/www; default_type text/plain;
"
    );
    let mut server = |listen: String, extra: String| {
        let locations = &config.locations;
        let _ = writeln!(
            text,
            "    server {{
        {listen} {extra}
        location = /ok {{ return 200 'ok'; }}
        location = /health {{
            default_type application/json;
            return 200 '{{\"status\":\"healthy\",\"checks\":[{{\"name\":\"db\",\"ok\":true}}],\"queue\":3}}';
        }}
        {locations}
    }}"
        );
    };
    let listen = |port: u16, flags: &str| {
        let mut lines = format!("listen 127.0.0.1:{port} {flags};");
        if has_ipv6 {
            let _ = write!(lines, " listen [::1]:{port} {flags};");
        }
        lines
    };
    server(
        format!("{} listen unix:{folder}/http.sock;", listen(http, "")),
        String::new(),
    );
    for (state, port) in https {
        let name = state.as_str();
        server(
            listen(*port, "ssl"),
            format!(
                "ssl_certificate {folder}/{name}.pem; ssl_certificate_key {folder}/{name}.key; \
                 ssl_protocols TLSv1.2 TLSv1.3;"
            ),
        );
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_serves_logs_and_leaves_nothing_behind() {
        let config = NginxConfig::default()
            .with_locations("location = /teapot { return 418; }")
            .with_access_log();
        let mut nginx = crate::need!(Nginx::start(&config));
        nginx.write("file.txt", "content");
        let address = nginx.address();
        assert!(get(address, "/health").contains(r#"{"status":"healthy""#));
        assert!(get(address, "/file.txt").ends_with("content"));
        assert!(get(address, "/teapot").starts_with("HTTP/1.1 418"));
        for state in CertificateState::ALL {
            assert!(TcpStream::connect(nginx.tls_address(state)).is_ok());
        }
        nginx.stop();
        assert!(TcpStream::connect(address).is_err());
        let log = fs::read_to_string(nginx.access_log()).unwrap();
        assert_eq!(log.lines().count(), 3, "{log}");
        let folder = nginx.folder.path().to_owned();
        drop(nginx);
        assert!(!folder.exists());
    }
}
