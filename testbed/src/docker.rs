//! Docker containers from a tiny image built on the spot.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::{Missing, program};

/// The label on everything that tests start in Docker: `docker ps --filter label=alpha-testbed` lists what a killed
/// test run left behind.
pub const LABEL: &str = "alpha-testbed";

/// The image of [`Docker::image`]: busybox with its tools on the path and nothing else.
const IMAGE: &str = "alpha-testbed/busybox:1";

/// How long a container may take to get into an awaited state.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// A Docker daemon that answers, with a tiny image in it.
#[derive(Clone, Debug)]
pub struct Docker {
    client: PathBuf,
}

impl Docker {
    /// The daemon of this machine. Builds the image from `busybox-static` where it isn't there; nothing is pulled.
    ///
    /// # Errors
    /// [`Missing`] where there is no client, no daemon that answers, or no busybox.
    pub fn start() -> Result<Self, Missing> {
        static READY: OnceLock<Result<Docker, Missing>> = OnceLock::new();
        READY.get_or_init(Self::prepare).clone()
    }

    fn prepare() -> Result<Self, Missing> {
        let client = program(&["docker"], &[], "docker.io")?;
        let docker = Self { client };
        docker
            .try_run(&["version", "--format", "{{.Server.Version}}"])
            .map_err(|said| Missing(format!("no Docker daemon: {said}")))?;
        if docker.try_run(&["image", "inspect", IMAGE]).is_err() {
            docker.build()?;
        }
        Ok(docker)
    }

    /// Imports a root file system of one static busybox, linked under the name of each of its tools.
    fn build(&self) -> Result<(), Missing> {
        let busybox = program(&["busybox"], &["/bin", "/usr/bin"], "busybox-static")?;
        let root = tempfile::tempdir().expect("a folder");
        for folder in ["bin", "tmp", "etc"] {
            std::fs::create_dir(root.path().join(folder)).expect("a folder");
        }
        std::fs::copy(&busybox, root.path().join("bin/busybox")).expect("busybox is copied");
        let tools = Command::new(&busybox)
            .arg("--list")
            .output()
            .expect("busybox runs");
        for tool in String::from_utf8_lossy(&tools.stdout)
            .lines()
            .filter(|tool| *tool != "busybox")
        {
            std::os::unix::fs::symlink("busybox", root.path().join("bin").join(tool)).expect("a link");
        }
        let mut archive = Command::new("tar")
            .arg("-C")
            .arg(root.path())
            .args(["-c", "."])
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar runs");
        let label = format!("LABEL {LABEL}=1");
        let imported = Command::new(&self.client)
            .args([
                "import",
                "-c",
                &label,
                "-c",
                "ENV PATH=/bin",
                "-c",
                "CMD [\"sleep\", \"86400\"]",
                "-",
                IMAGE,
            ])
            .stdin(archive.stdout.take().expect("a pipe"))
            .output()
            .expect("docker runs");
        archive.wait().expect("tar ends");
        assert!(imported.status.success(), "the image could not be built");
        Ok(())
    }

    /// The name of the image.
    pub fn image(&self) -> &'static str {
        IMAGE
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &'static Path {
        Path::new("/var/run/docker.sock")
    }

    /// A name that no other test uses, beginning with `prefix`.
    pub fn unique_name(&self, prefix: &str) -> String {
        // Each state hashes with keys of its own, drawn at random.
        let random = RandomState::new().hash_one(prefix);
        format!("{prefix}-{random:016x}")
    }

    /// Runs `command` in a new container under a name of its own, with the options of `docker run`, and leaves it
    /// running.
    ///
    /// # Panics
    /// Where Docker refuses.
    pub fn run(&self, options: &[&str], command: &[&str]) -> Container {
        self.make(&["run", "--detach"], options, command)
    }

    /// Like [`Docker::run`], without starting it.
    ///
    /// # Panics
    /// Where Docker refuses.
    pub fn create(&self, options: &[&str], command: &[&str]) -> Container {
        self.make(&["create"], options, command)
    }

    fn make(&self, verb: &[&str], options: &[&str], command: &[&str]) -> Container {
        let name = self.unique_name("alpha-test");
        let mut arguments = verb.to_vec();
        arguments.extend(["--name", &name, "--label", LABEL]);
        arguments.extend(options);
        arguments.push(IMAGE);
        arguments.extend(command);
        let id = self
            .try_run(&arguments)
            .unwrap_or_else(|said| panic!("docker {}: {said}", arguments.join(" ")));
        Container {
            docker: self.clone(),
            name,
            id,
        }
    }

    /// What `docker` prints for these arguments, without the final line break.
    ///
    /// # Panics
    /// Where it fails, with what it said.
    pub fn command(&self, arguments: &[&str]) -> String {
        self.try_run(arguments)
            .unwrap_or_else(|said| panic!("docker {}: {said}", arguments.join(" ")))
    }

    fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.client)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("docker runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }
}

/// A container, removed with its volumes when dropped.
#[derive(Debug)]
pub struct Container {
    docker: Docker,
    name: String,
    id: String,
}

impl Container {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id, 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its address in the bridge network, empty where it isn't running.
    pub fn address(&self) -> String {
        self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// What `docker inspect` prints for it in a format such as `{{.State.Status}}`.
    pub fn inspect(&self, format: &str) -> String {
        self.docker.command(&["inspect", "--format", format, &self.name])
    }

    /// Starts it.
    pub fn start(&self) {
        self.docker.command(&["start", &self.name]);
    }

    /// Kills it; it stays there as exited.
    pub fn kill(&self) {
        self.docker.command(&["kill", &self.name]);
        self.settle("{{.State.Running}}", "false");
    }

    /// Freezes it.
    pub fn pause(&self) {
        self.docker.command(&["pause", &self.name]);
    }

    /// Lets it go on after [`Container::pause`].
    pub fn unpause(&self) {
        self.docker.command(&["unpause", &self.name]);
    }

    /// Removes it now, running or not.
    pub fn remove(&self) {
        self.docker.command(&["rm", "--force", "--volumes", &self.name]);
    }

    /// Runs a command inside it and yields what it printed.
    pub fn exec(&self, command: &[&str]) -> String {
        let mut arguments = vec!["exec", self.name.as_str()];
        arguments.extend(command);
        self.docker.command(&arguments)
    }

    /// Waits until [`Container::inspect`] prints `expected` for `format`.
    ///
    /// # Panics
    /// Where that doesn't happen within half a minute.
    pub fn settle(&self, format: &str, expected: &str) {
        self.settle_where(format, |said| said == expected);
    }

    /// Waits until what [`Container::inspect`] prints for `format` is as wished.
    ///
    /// # Panics
    /// Where that doesn't happen within half a minute.
    pub fn settle_where(&self, format: &str, wished: impl Fn(&str) -> bool) {
        let mut said = String::new();
        for _ in 0..SETTLES_WITHIN.as_millis() / 50 {
            said = self.inspect(format);
            if wished(&said) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{} stays at {format} = {said}", self.name);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.docker.try_run(&["rm", "--force", "--volumes", &self.name]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_runs_and_is_gone_when_dropped() {
        let docker = crate::need!(Docker::start());
        let container = docker.run(&[], &["sleep", "60"]);
        assert_eq!(container.inspect("{{.State.Status}}"), "running");
        assert_eq!(container.exec(&["echo", "hello"]), "hello");
        let name = container.name().to_owned();
        drop(container);
        assert!(docker.try_run(&["inspect", &name]).is_err());
    }
}
