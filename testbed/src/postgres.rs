//! A PostgreSQL server.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Missing, free_port, program};

/// The name of the superuser of every [`Postgres`].
pub const POSTGRES_USER: &str = "postgres";

/// The password of [`POSTGRES_USER`]; the server asks for it (`scram-sha-256`) on every TCP connection.
pub const POSTGRES_PASSWORD: &str = "battery-staple";

/// Where Debian keeps the programs, newest first.
const FOLDERS: &[&str] = &[
    "/usr/lib/postgresql/18/bin",
    "/usr/lib/postgresql/17/bin",
    "/usr/lib/postgresql/16/bin",
    "/usr/lib/postgresql/15/bin",
    "/usr/lib/postgresql/14/bin",
];

const PACKAGE: &str = "postgresql";

/// How often a folder is looked at while the server starts.
const STEP: Duration = Duration::from_millis(10);

/// Half a minute, which a server on a busy machine may take to start.
const STEPS: u32 = 3000;

/// A PostgreSQL server of its own on a free port of loopback, run by an unprivileged user because it refuses root.
///
/// It does not wait for the disk (`fsync = off`): what it acknowledged survives its own death, not the machine's.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    settings: Vec<(String, String)>,
    port: u16,
    server: Option<Child>,
    _cluster: Arc<TempDir>,
}

impl Postgres {
    /// An empty server with its default settings.
    ///
    /// # Errors
    /// [`Missing`] where it is not installed.
    ///
    /// # Panics
    /// Where it is installed and does not start.
    pub fn start() -> Result<Self, Missing> {
        Self::start_with(&[])
    }

    /// An empty server with these settings, such as `("max_connections", "5")`.
    ///
    /// # Errors
    /// [`Missing`] where it is not installed.
    ///
    /// # Panics
    /// Where it is installed and does not start.
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self, Missing> {
        let cluster = cluster()?;
        let folder = folder();
        run(Command::new("cp")
            .arg("-a")
            .arg(data(cluster.path()))
            .arg(folder.path()));
        let mut postgres = Self {
            folder,
            settings: owned(settings),
            port: 0,
            server: None,
            _cluster: cluster,
        };
        postgres.restart();
        Ok(postgres)
    }

    /// A server that follows this one by streaming replication, and answers reading queries meanwhile.
    ///
    /// # Errors
    /// [`Missing`] where the program that copies a running server is not installed.
    ///
    /// # Panics
    /// Where it is installed and does not start.
    pub fn standby(&self) -> Result<Self, Missing> {
        let copy = program(&["pg_basebackup"], FOLDERS, PACKAGE)?;
        let folder = folder();
        run(as_owner(&copy, folder.path())
            .env("PGPASSWORD", POSTGRES_PASSWORD)
            .args(["--host=127.0.0.1", "--username", POSTGRES_USER])
            .arg(format!("--port={}", self.port))
            .arg("--pgdata")
            .arg(data(folder.path()))
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]));
        let mut standby = Self {
            folder,
            settings: self.settings.clone(),
            port: 0,
            server: None,
            _cluster: Arc::clone(&self._cluster),
        };
        standby.restart();
        Ok(standby)
    }

    /// Starts the server again, on the same port, after [`stop`](Self::stop) or [`kill`](Self::kill).
    ///
    /// # Panics
    /// Where it does not start.
    pub fn restart(&mut self) {
        self.kill();
        // A port that was free a moment ago may be taken by now.
        for _ in 0..5 {
            if self.port == 0 {
                self.port = free_port();
            }
            if self.spawn() {
                return;
            }
            self.port = 0;
        }
        panic!("postgres does not start: {}", self.log());
    }

    /// The address with user and password: `postgres://postgres:...@127.0.0.1:5432/postgres`.
    pub fn url(&self) -> String {
        format!(
            "postgres://{POSTGRES_USER}:{POSTGRES_PASSWORD}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// The port of loopback it listens at, also after it was stopped.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of its first process.
    ///
    /// # Panics
    /// After it was stopped or killed.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").id()
    }

    /// What it wrote to its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Stops it as an operator does: open connections are cut, what was written is kept.
    ///
    /// # Panics
    /// Where it does not stop.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            run(Command::new("kill").arg("-INT").arg(server.id().to_string()));
            server.wait().expect("a child can be waited for");
        }
    }

    /// Kills it without a warning.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        // Its children notice within seconds; a next server on the same folder would be refused until then.
        let children = children(server.id());
        let _ = server.kill();
        let _ = server.wait();
        for child in children {
            let _ = Command::new("kill").arg("-KILL").arg(&child).output();
            for _ in 0..STEPS {
                if !runs(&child) {
                    break;
                }
                std::thread::sleep(STEP);
            }
        }
    }

    /// Whether the server could be started at the present port.
    fn spawn(&mut self) -> bool {
        let folder = self.folder.path();
        let server = program(&["postgres"], FOLDERS, PACKAGE).expect("it was there a moment ago");
        let status = data(folder).join("postmaster.pid");
        let _ = fs::remove_file(&status);
        let log = fs::File::create(folder.join("log")).expect("the folder is ours");
        let mut command = as_owner(&server, folder);
        command.arg("-D").arg(data(folder)).stdin(Stdio::null());
        let fixed = [
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", self.port.to_string()),
            ("unix_socket_directories", folder.display().to_string()),
            ("fsync", "off".to_owned()),
            ("log_line_prefix", String::new()),
        ];
        for (name, value) in &fixed {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdout(log.try_clone().expect("a file can be shared"));
        let server = command
            .stderr(log)
            .spawn()
            .expect("an installed program can be run");
        let server = self.server.insert(server);
        for _ in 0..STEPS {
            // The eighth line of this file is the server's own word on whether it takes connections.
            let line = fs::read_to_string(&status).unwrap_or_default();
            if matches!(line.lines().nth(7).map(str::trim_end), Some("ready" | "standby")) {
                return true;
            }
            if server.try_wait().expect("a child can be waited for").is_some() {
                break;
            }
            std::thread::sleep(STEP);
        }
        self.kill();
        false
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A folder that belongs to the user the server runs as.
fn folder() -> TempDir {
    let folder = TempDir::with_prefix("testbed-postgres-").expect("a temporary folder can be made");
    if let Some((user, group)) = unprivileged(folder.path()) {
        chown(folder.path(), Some(user), Some(group)).expect("root may give a folder away");
    }
    folder
}

/// Whom to be instead of root, who owns `path` where this process is root: the packaged user, or else nobody.
fn unprivileged(path: &Path) -> Option<(u32, u32)> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.uid() != 0) {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let mut fields = users
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?
            .skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres")
        .or_else(|| ids("nobody"))
        .or(Some((65_534, 65_534)))
}

/// `program` run by the owner of `folder`, where this process may choose that.
fn as_owner(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    let metadata = fs::metadata(folder).expect("the folder is ours");
    let own = fs::metadata("/proc/self").map_or(metadata.uid(), |process| process.uid());
    if own != metadata.uid() {
        command.uid(metadata.uid()).gid(metadata.gid());
    }
    command
}

/// The cluster that the servers of this process are copied from, kept while one of them runs: making one takes a
/// second, copying one takes none.
fn cluster() -> Result<Arc<TempDir>, Missing> {
    static CLUSTER: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut kept = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = kept.upgrade() {
        return Ok(cluster);
    }
    let cluster = Arc::new(initialise()?);
    *kept = Arc::downgrade(&cluster);
    Ok(cluster)
}

fn initialise() -> Result<TempDir, Missing> {
    let initdb = program(&["initdb"], FOLDERS, PACKAGE)?;
    program(&["postgres"], FOLDERS, PACKAGE)?;
    let folder = folder();
    let password = folder.path().join("password");
    write_for_owner(&password, folder.path()).expect("the folder is ours");
    run(as_owner(&initdb, folder.path())
        .arg("--pgdata")
        .arg(data(folder.path()))
        .args(["--username", POSTGRES_USER])
        .arg(format!("--pwfile={}", password.display()))
        .args([
            "--auth=scram-sha-256",
            "--locale=C",
            "--encoding=UTF8",
            "--no-sync",
        ]));
    Ok(folder)
}

fn write_for_owner(path: &Path, folder: &Path) -> io::Result<()> {
    fs::write(path, POSTGRES_PASSWORD)?;
    let owner = fs::metadata(folder)?;
    chown(path, Some(owner.uid()), Some(owner.gid()))
}

/// The processes whose parent is `pid`.
fn children(pid: u32) -> Vec<String> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// Whether a process is there and not merely waiting to be forgotten.
fn runs(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status
        .rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with('Z'))
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn it_starts_dies_and_starts_again() {
        let mut postgres = crate::need!(Postgres::start());
        let answers = |postgres: &Postgres| TcpStream::connect(("127.0.0.1", postgres.port())).is_ok();
        assert!(answers(&postgres));
        postgres.stop();
        assert!(!answers(&postgres));
        postgres.restart();
        let port = postgres.port();
        assert!(answers(&postgres));
        postgres.kill();
        assert!(!answers(&postgres));
        postgres.restart();
        assert_eq!((answers(&postgres), postgres.port()), (true, port));
        let folder = postgres.folder.path().to_owned();
        drop(postgres);
        assert!(!folder.exists());
    }

    #[test]
    fn a_standby_follows() {
        let postgres = crate::need!(Postgres::start_with(&[("max_connections", "20")]));
        let standby = crate::need!(postgres.standby());
        assert_ne!(postgres.port(), standby.port());
        let sql = |server: &Postgres, sql: &str| {
            let psql = program(&["psql"], FOLDERS, "postgresql-client").expect("the client comes along");
            let output = Command::new(psql)
                .args(["-At", &server.url(), "-c", sql])
                .output();
            String::from_utf8(output.expect("psql runs").stdout).expect("psql writes UTF-8")
        };
        assert_eq!(sql(&standby, "select pg_is_in_recovery()"), "t\n");
        assert_eq!(sql(&postgres, "show max_connections"), "20\n");
    }
}
