use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use alpha_probes::probes::{
    ClockConfig, CpuConfig, DiskIoConfig, FileDescriptorsConfig, FilesystemConfig, LoadConfig, MemoryConfig,
    NetworkIoConfig, PressureConfig,
};
use alpha_probes::{ErrorKind, Observation};
use serde_json::json;

use crate::support::{ask, probe, value_of};

/// A child that ends with the test.
struct Own(Child);

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn value(observation: &Observation, name: &str) -> f64 {
    observation
        .value(name)
        .unwrap_or_else(|| panic!("{name} is measured"))
}

#[tokio::test]
async fn a_busy_loop_shows_on_the_processors() {
    let cpu = probe::<CpuConfig>(json!({}));
    let busy = Command::new("nice")
        .args(["sh", "-c", "while :; do :; done"])
        .spawn();
    let _busy = Own(busy.expect("nice and sh are everywhere"));
    ask(&*cpu).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    let seen = ask(&*cpu).await.unwrap();
    let cores = value(&seen, "cores");
    // Whoever runs instead of the loop keeps the processor busy as well.
    assert!(value(&seen, "used") > 0.7 / cores, "{seen:?}");
    assert!(value(&seen, "busiest_core") <= 1.0);
    let parts: f64 = ["user", "system", "iowait", "steal"]
        .iter()
        .map(|part| value(&seen, part))
        .sum();
    assert!(parts <= 1.0 + 1e-9, "{seen:?}");
}

#[tokio::test]
async fn memory_load_and_files_are_what_the_kernel_says() {
    let seen = ask(&*probe::<MemoryConfig>(json!({}))).await.unwrap();
    let (total, available) = (value(&seen, "total"), value(&seen, "available"));
    assert!(available > 0.0 && available < total);
    assert!((value(&seen, "used") - (1.0 - available / total)).abs() < 1e-9);

    let seen = ask(&*probe::<LoadConfig>(json!({}))).await.unwrap();
    assert!(value(&seen, "cores") >= 1.0 && value(&seen, "threads") >= 1.0);
    assert!((value(&seen, "load5_per_core") * value(&seen, "cores") - value(&seen, "load5")).abs() < 1e-9);

    let seen = ask(&*probe::<FileDescriptorsConfig>(json!({}))).await.unwrap();
    assert!(value(&seen, "open") >= 3.0 && value(&seen, "open") < value(&seen, "limit"));
}

#[tokio::test]
async fn the_root_is_as_full_as_df_says() {
    let seen = ask(&*probe::<FilesystemConfig>(json!({ "mounts": ["/"] })))
        .await
        .unwrap();
    let df = Command::new("df").args(["--output=pcent", "/"]).output().unwrap();
    let text = String::from_utf8(df.stdout).unwrap();
    let percent: f64 = text
        .lines()
        .nth(1)
        .unwrap()
        .trim()
        .trim_end_matches('%')
        .parse()
        .unwrap();
    // df rounds up, and others write meanwhile.
    assert!(
        (value(&seen, "used") * 100.0 - percent).abs() <= 2.0,
        "{seen:?} and {text}"
    );
    assert_eq!(value(&seen, "answering"), 1.0);
}

#[tokio::test]
async fn a_small_disk_that_is_filled_shows_in_bytes_and_in_files() {
    let script = "mount -t tmpfs -o size=1m,nr_inodes=64 alpha /mnt && cd /mnt && head -c 900k /dev/zero > big \
                  && for i in $(seq 60); do : > $i; done && echo ready && exec sleep 600";
    let child = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = child else {
        return testbed::skip(
            "host",
            &testbed::Missing("no unshare: install the package util-linux".to_owned()),
        );
    };
    let mut child = Own(child);
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    if line.trim() != "ready" {
        return testbed::skip(
            "host",
            &testbed::Missing("may not mount here: needs root".to_owned()),
        );
    }
    // The child's mounts are looked at as a host's are from inside a container.
    let own = format!("/proc/{}", child.0.id());
    let proc = tempfile::tempdir().unwrap();
    fs::create_dir(proc.path().join("1")).unwrap();
    std::os::unix::fs::symlink(format!("{own}/mountinfo"), proc.path().join("1/mountinfo")).unwrap();
    let table = json!({ "mounts": ["/mnt", "/nothing"], "proc": proc.path(), "root": format!("{own}/root") });
    let seen = ask(&*probe::<FilesystemConfig>(table)).await.unwrap();
    let used = value_of(&seen, "used", "/mnt").unwrap();
    assert!((0.85..=1.0).contains(&used), "{seen:?}");
    assert!(value_of(&seen, "inodes_used", "/mnt").unwrap() > 0.9, "{seen:?}");
    assert_eq!(value_of(&seen, "mounted", "/mnt"), Some(1.0));
    assert_eq!(value_of(&seen, "mounted", "/nothing"), Some(0.0));
    assert_eq!(value_of(&seen, "size", "tmpfs"), Some(1_048_576.0));
}

#[tokio::test]
async fn what_is_written_shows_on_a_disk() {
    let disks = probe::<DiskIoConfig>(json!({}));
    match ask(&*disks).await {
        Err(error) if error.kind() == ErrorKind::NotApplicable => {
            return testbed::skip(
                "host",
                &testbed::Missing("no disk: the kernel shows none".to_owned()),
            );
        }
        first => drop(first.unwrap()),
    }
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(&vec![7; 4 << 20]).unwrap();
    file.sync_all().unwrap();
    // Two looks that follow each other at once are too close to compare.
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    let seen = ask(&*disks).await.unwrap();
    let written = seen
        .measurements
        .iter()
        .filter(|measurement| measurement.name == "written");
    assert!(
        written.map(|measurement| measurement.value).sum::<f64>() > 0.0,
        "{seen:?}"
    );
}

#[tokio::test]
async fn what_is_sent_shows_on_an_interface() {
    let network = probe::<NetworkIoConfig>(json!({ "devices": ["lo", "no-such0"] }));
    ask(&*network).await.unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..100 {
        socket.send_to(&[0; 1000], socket.local_addr().unwrap()).unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    let seen = ask(&*network).await.unwrap();
    assert!(value_of(&seen, "received", "lo").unwrap() > 100_000.0, "{seen:?}");
    assert_eq!(value_of(&seen, "link_up", "lo"), Some(1.0));
    assert_eq!(value_of(&seen, "link_up", "no-such0"), Some(0.0));
}

#[tokio::test]
async fn pressure_and_clock_are_told_or_said_to_be_unknown() {
    match ask(&*probe::<PressureConfig>(json!({}))).await {
        Ok(seen) => assert!((0.0..=1.0).contains(&value(&seen, "cpu_some"))),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotApplicable),
    }
    match ask(&*probe::<ClockConfig>(json!({}))).await {
        Ok(seen) => {
            assert!(seen.facts.contains_key("source"));
            assert!([0.0, 1.0].contains(&value(&seen, "synchronised")));
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotApplicable),
    }
}

/// A folder that looks like `/proc`, with these files.
fn kernel(files: &[(&str, &str)]) -> tempfile::TempDir {
    let proc = tempfile::tempdir().expect("a folder can be made");
    for (name, content) in files {
        let path = proc.path().join(name);
        fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder can be made");
        fs::write(path, content).expect("a file can be written");
    }
    proc
}

async fn kind_of_error<C>(proc: &Path) -> ErrorKind
where
    C: alpha_probes::check::ProbeConfig + serde::de::DeserializeOwned,
{
    let probe = probe::<C>(json!({ "proc": proc }));
    ask(&*probe)
        .await
        .expect_err("an odd kernel is no good answer")
        .kind()
}

#[tokio::test]
async fn an_odd_kernel_is_never_a_healthy_one() {
    let empty = kernel(&[]);
    let proc = empty.path();
    assert_eq!(kind_of_error::<CpuConfig>(proc).await, ErrorKind::NotApplicable);
    assert_eq!(
        kind_of_error::<MemoryConfig>(proc).await,
        ErrorKind::NotApplicable
    );
    assert_eq!(kind_of_error::<LoadConfig>(proc).await, ErrorKind::NotApplicable);
    assert_eq!(
        kind_of_error::<DiskIoConfig>(proc).await,
        ErrorKind::NotApplicable
    );
    assert_eq!(
        kind_of_error::<NetworkIoConfig>(proc).await,
        ErrorKind::NotApplicable
    );
    assert_eq!(
        kind_of_error::<FileDescriptorsConfig>(proc).await,
        ErrorKind::NotApplicable
    );
    assert_eq!(
        kind_of_error::<FilesystemConfig>(proc).await,
        ErrorKind::NotApplicable
    );
    assert_eq!(
        kind_of_error::<PressureConfig>(proc).await,
        ErrorKind::NotApplicable
    );

    let broken = kernel(&[
        ("stat", "cpu broken\n"),
        ("vmstat", "pswpin 1\n"),
        ("meminfo", "MemTotal: lots\n"),
        ("loadavg", "high\n"),
        ("diskstats", "8 0\n"),
        ("net/dev", "a\nb\neth0: many\n"),
        ("sys/fs/file-nr", "1 0\n"),
        ("1/mountinfo", "nonsense\n"),
        ("pressure/cpu", "nonsense\n"),
    ]);
    let proc = broken.path();
    assert_eq!(kind_of_error::<CpuConfig>(proc).await, ErrorKind::Malformed);
    assert_eq!(kind_of_error::<MemoryConfig>(proc).await, ErrorKind::Malformed);
    assert_eq!(kind_of_error::<LoadConfig>(proc).await, ErrorKind::Malformed);
    assert_eq!(kind_of_error::<DiskIoConfig>(proc).await, ErrorKind::Malformed);
    assert_eq!(kind_of_error::<NetworkIoConfig>(proc).await, ErrorKind::Malformed);
    assert_eq!(
        kind_of_error::<FileDescriptorsConfig>(proc).await,
        ErrorKind::Malformed
    );
    assert_eq!(
        kind_of_error::<FilesystemConfig>(proc).await,
        ErrorKind::Malformed
    );
    assert_eq!(kind_of_error::<PressureConfig>(proc).await, ErrorKind::Malformed);
}

#[tokio::test]
async fn an_old_kernel_without_a_figure_for_available_memory_is_understood() {
    let proc = kernel(&[
        ("vmstat", "pswpin 1\npswpout 2\n"),
        (
            "meminfo",
            "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 150 kB\nSwapCached: 0 kB\nActive: 1 kB\n\
             Inactive: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 0 kB\n\
             Slab: 0 kB\nCommitted_AS: 0 kB\nVmallocTotal: 0 kB\nVmallocUsed: 0 kB\nVmallocChunk: 0 kB\n",
        ),
    ]);
    let table = json!({ "proc": proc.path(), "sys": proc.path() });
    let seen = ask(&*probe::<MemoryConfig>(table)).await.unwrap();
    assert!((value(&seen, "used") - 0.7).abs() < 1e-9, "{seen:?}");
    assert_eq!(value(&seen, "swap_used"), 0.0);
}
