//! Starts real Substrate nodes: one development node, or a chain of up to four validators.
//!
//! The programs lie outside of the project, in the folder that `ALPHA_NODE_DIR` names (default `../shared/node` beside
//! the workspace), and are started by its `node.sh`. The nodes of one world live in one folder below the system's
//! temporary one. A watchdog that waits on a pipe of ours ends them and removes the folder as soon as the world is
//! dropped or this process is gone, however it went.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::Missing;

/// Ends every node of the folder `$1` and removes it, once nobody holds the other end of its standard input.
const WATCHDOG: &str = r#"
cat > /dev/null
for file in "$1"/*.pid; do
    [ -f "$file" ] || continue
    pid=$(cat "$file")
    tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -qF -- "$1/" || continue
    kill -9 "$pid" 2> /dev/null
    while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
done
rm -rf "$1"
"#;

/// The folder of one world, and who cleans it up.
#[derive(Debug)]
struct World {
    folder: PathBuf,
    script: PathBuf,
    watchdog: Child,
}

impl World {
    fn new() -> Result<Self, Missing> {
        let script = script()?;
        let folder = tempfile::Builder::new()
            .prefix("alpha-node-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt at the terminal reaches the tests, and must not reach who cleans up after them.
            .process_group(0)
            .spawn()
            .expect("sh starts");
        Ok(Self {
            folder,
            script,
            watchdog,
        })
    }

    /// Runs `node.sh` and reads the nodes it tells of.
    fn run(&self, command: &str, arguments: &[&str]) -> Vec<Node> {
        let mut script = Command::new("bash")
            .arg(&self.script)
            .arg(command)
            .arg(&self.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let output = script.stdout.take().expect("standard output is piped");
        let nodes = BufReader::new(output)
            .lines()
            .map(|line| self.node(&line.expect("node.sh writes text")))
            .collect();
        let status = script.wait().expect("bash was started here");
        assert!(
            status.success(),
            "node.sh {command} failed; its logs are in {}",
            self.folder.display()
        );
        nodes
    }

    /// Reads `alice rpc=http://127.0.0.1:19944 metrics=http://127.0.0.1:20944/metrics`.
    fn node(&self, line: &str) -> Node {
        let mut words = line.split_whitespace();
        let name = words.next().expect("a line starts with a name").to_owned();
        let mut address = |key: &str| {
            words
                .next()
                .and_then(|word| word.strip_prefix(key))
                .unwrap_or_else(|| panic!("expected {key} in \"{line}\""))
                .to_owned()
        };
        Node {
            rpc: address("rpc="),
            metrics: address("metrics="),
            folder: self.folder.clone(),
            script: self.script.clone(),
            name,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// The program that starts nodes.
fn script() -> Result<PathBuf, Missing> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in a workspace");
    let folder = std::env::var_os("ALPHA_NODE_DIR").map_or_else(
        || workspace.join("../shared/node"),
        |folder| workspace.join(folder),
    );
    let script = folder.join("node.sh");
    if script.is_file() {
        return Ok(script);
    }
    Err(Missing(format!(
        "no Substrate node: {} is not there, set ALPHA_NODE_DIR",
        script.display()
    )))
}

/// The first of `count` ports that are free, as are those 1000 and 2000 above them: RPC, metrics and peer-to-peer.
///
/// Below the range from which the system takes ports for outgoing connections, so that none of them is taken between
/// here and the start of the node; the search starts elsewhere in every process and goes on in every call.
fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() as u16 % 1000;
    for _ in 0..250 {
        let offset = (start + NEXT.fetch_add(4, Ordering::Relaxed)) % 1000;
        let first = 20_000 + 3000 * (std::process::id() as u16 % 3) + offset.min(1000 - count);
        let held: Result<Vec<_>, _> = (0..count)
            .flat_map(|index| [0, 1000, 2000].map(|step| first + index + step))
            .map(|port| TcpListener::bind(("127.0.0.1", port)))
            .collect();
        if held.is_ok() {
            return first;
        }
    }
    panic!("loopback has no {count} free ports for nodes");
}

/// One running node.
#[derive(Clone, Debug)]
pub struct Node {
    /// `dev`, or a validator's: `alice`, `bob`, `charlie`, `dave`.
    pub name: String,
    /// Where it answers JSON-RPC: `http://127.0.0.1:19944`.
    pub rpc: String,
    /// Where it shows its metrics: `http://127.0.0.1:20944/metrics`.
    pub metrics: String,
    folder: PathBuf,
    script: PathBuf,
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at {}", self.name, self.rpc)
    }
}

impl Node {
    /// The port of its RPC.
    pub fn port(&self) -> u16 {
        self.rpc
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .expect("node.sh tells an address with a port")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        let text = std::fs::read_to_string(self.pid_file()).expect("node.sh records the process");
        text.trim().parse().expect("a process has a number")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.join(format!("{}.log", self.name))).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Holds its process still, connections and all, as a hanging disk or hypervisor would.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Ends its process at once, as a crash would.
    pub fn kill(&self) {
        let pid = self.pid();
        self.signal("KILL");
        await_end(pid);
        let _ = std::fs::remove_file(self.pid_file());
    }

    /// Asks it to end and waits until it has.
    pub fn stop(&self) {
        let status = Command::new("bash")
            .arg(&self.script)
            .arg("stop")
            .arg(&self.folder)
            .arg(&self.name)
            .status()
            .expect("bash starts");
        assert!(status.success(), "node.sh could not stop {self}");
    }

    /// Starts it again with the same data, keys and ports, after [`Node::stop`] or [`Node::kill`].
    ///
    /// `command` is what [`Node::command`] told while it ran.
    pub fn start_again(&self, command: &[String]) {
        let log = self.folder.join(format!("{}.log", self.name));
        let spawn = r#"log=$1; pid=$2; shift 2
RELAY_LONGEST_CHAIN=1 setsid nohup "$@" >> "$log" 2>&1 < /dev/null & echo $! > "$pid""#;
        let status = Command::new("bash")
            .args(["-c", spawn, "start"])
            .arg(log)
            .arg(self.pid_file())
            .args(command)
            .status()
            .expect("bash starts");
        assert!(status.success(), "could not start {self} again");
        for _ in 0..1800 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port())).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{self} does not answer again:\n{}", self.log());
    }

    /// The program and the arguments it runs with.
    pub fn command(&self) -> Vec<String> {
        let line = std::fs::read(format!("/proc/{}/cmdline", self.pid())).expect("the node runs");
        line.split(|byte| *byte == 0)
            .filter(|argument| !argument.is_empty())
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect()
    }

    /// Cuts it off from every other node: it is started again with its data and keys, but without a way to a peer and
    /// where no peer looks for it.
    ///
    /// Rules of the packet filter would need rights that a test seldom has, and could not tell the validators of one
    /// machine apart.
    pub fn cut_off(&self) {
        let mut command = self.command();
        if let Some(at) = command.iter().position(|argument| argument == "--bootnodes") {
            command.drain(at..at + 2);
        }
        if let Some(at) = command.iter().position(|argument| argument == "--listen-addr") {
            command[at + 1] = format!("/ip4/127.0.0.1/tcp/{}", crate::free_port());
        }
        let lonely = ["--reserved-only", "--in-peers", "0", "--out-peers", "0"];
        command.extend(lonely.map(str::to_owned));
        self.stop();
        self.start_again(&command);
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join(format!("{}.pid", self.name))
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("sh")
            .args(["-c", r#"kill -"$1" "$2""#, "kill", signal])
            .arg(self.pid().to_string())
            .status()
            .expect("sh starts");
        assert!(status.success(), "could not send {signal} to {self}");
    }
}

/// Waits until a process has ended and its files and ports are free.
fn await_end(pid: u32) {
    for _ in 0..600 {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state stands behind the name, which is in parentheses and may hold spaces. What nobody has collected yet
        // stays as a zombie, and holds its ports for as long as one of its threads is still ending.
        let is_gone = state.is_empty();
        let is_zombie = state
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'));
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        if is_gone || (is_zombie && threads <= 1) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("process {pid} does not end");
}

/// One development node: a block a second, each final at once, no peers, nobody signs; ends when dropped.
///
/// Its block timestamps start two hours in the past and advance by a slot of twelve seconds a block.
#[derive(Debug)]
pub struct DevNode {
    node: Node,
    _world: World,
}

impl DevNode {
    /// Starts it on free ports and waits until it answers, which takes a few seconds; the first time on a machine the
    /// program is unpacked before.
    ///
    /// # Errors
    /// [`Missing`] where the programs are not there.
    pub fn start() -> Result<Self, Missing> {
        let world = World::new()?;
        Ok(Self::start_at(world, free_ports(1)))
    }

    /// Starts a second one on the same ports. It runs, but answers where its log tells: a node whose RPC port is
    /// taken picks another without a word, and does without metrics.
    ///
    /// # Errors
    /// [`Missing`] where the programs are not there.
    pub fn start_beside(&self) -> Result<Self, Missing> {
        let world = World::new()?;
        let mut second = Self::start_at(world, self.port());
        for _ in 0..1200 {
            let log = second.log();
            let address = log.split_once("Running JSON-RPC server: addr=");
            if let Some((address, _)) = address.and_then(|(_, rest)| rest.split_once(',')) {
                second.node.rpc = format!("http://{address}");
                return Ok(second);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!(
            "the second node does not tell where it answers:\n{}",
            second.log()
        );
    }

    fn start_at(world: World, port: u16) -> Self {
        let node = world.run("dev", &[&port.to_string()]).pop();
        Self {
            node: node.expect("node.sh starts one"),
            _world: world,
        }
    }
}

impl std::ops::Deref for DevNode {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// A chain of validators with the well-known development keys; slots of six seconds, sessions of an hour; all of them
/// end when it is dropped.
///
/// Peering and the first finalised blocks take about a minute; each validator takes about 200 MB.
#[derive(Debug)]
pub struct Relay {
    /// `alice`, `bob`, `charlie` and `dave`, as many as were asked for.
    pub validators: Vec<Node>,
    _world: World,
}

impl Relay {
    /// Starts a second node with the keys of `original`, its own data, name in the network and ports, and waits until it
    /// answers: two signers, as a cloned machine makes them. It ends with this chain.
    pub fn start_twin(&self, original: &Node) -> Node {
        let name = format!("{}-twin", original.name);
        let folder = original.folder.join(&name);
        std::fs::create_dir_all(&folder).expect("the world's folder can be written");
        let key = folder.join("node.key");
        std::fs::write(&key, format!("{:064x}", 0xA1FA)).expect("the world's folder can be written");
        let port = free_ports(1);
        let folder = folder.display().to_string();
        let mut command = original.command();
        for (option, value) in [
            ("--base-path", folder),
            ("--node-key-file", key.display().to_string()),
            ("--rpc-port", port.to_string()),
            ("--prometheus-port", (port + 1000).to_string()),
            ("--listen-addr", format!("/ip4/127.0.0.1/tcp/{}", port + 2000)),
        ] {
            let at = command.iter().position(|argument| argument == option);
            let at = at.unwrap_or_else(|| panic!("{original} was started without {option}"));
            command[at + 1] = value;
        }
        if !command.iter().any(|argument| argument == "--bootnodes") {
            // The first validator is the bootnode of the others and has none itself.
            let other = self.validators.iter().find(|node| node.name != original.name);
            let other = other
                .expect("a twin needs another validator to find the chain")
                .command();
            let at = other.iter().position(|argument| argument == "--bootnodes");
            let at = at.expect("a validator that is not the first has a bootnode");
            command.extend(other[at..at + 2].iter().cloned());
        }
        let twin = Node {
            name,
            rpc: format!("http://127.0.0.1:{port}"),
            metrics: format!("http://127.0.0.1:{}/metrics", port + 1000),
            folder: original.folder.clone(),
            script: original.script.clone(),
        };
        twin.start_again(&command);
        twin
    }

    /// Starts a chain of 1 to 4 validators on free ports and waits until each answers.
    ///
    /// # Errors
    /// [`Missing`] where the programs are not there.
    pub fn start(validators: u16) -> Result<Self, Missing> {
        let world = World::new()?;
        let port = free_ports(validators).to_string();
        Ok(Self {
            validators: world.run("relay", &[&validators.to_string(), &port]),
            _world: world,
        })
    }

    /// The validator of that name.
    ///
    /// # Panics
    /// Where the chain was started without it.
    pub fn validator(&self, name: &str) -> &Node {
        let validator = self.validators.iter().find(|node| node.name == name);
        validator.unwrap_or_else(|| panic!("this chain has no {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_answering(node: &Node) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", node.port())).is_ok()
    }

    fn runs(pid: u32) -> bool {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
    }

    #[test]
    fn a_development_node_is_started_killed_started_again_and_leaves_nothing() {
        let node = crate::need!(DevNode::start());
        assert!(is_answering(&node));
        let second = crate::need!(node.start_beside());
        assert_ne!(second.port(), node.port());
        assert!(is_answering(&second));
        let (pid, folder) = (second.pid(), second.folder.clone());
        drop(second);
        assert!(!folder.exists());
        assert!(!runs(pid));

        let command = node.command();
        node.kill();
        assert!(!is_answering(&node));
        node.start_again(&command);
        assert!(is_answering(&node));
        // A paused node does not hear that it shall end, and still must not outlive its world.
        node.pause();
        let pid = node.pid();
        drop(node);
        assert!(!runs(pid));
    }
}
