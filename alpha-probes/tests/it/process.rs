use std::fs;
use std::process::{Child, Command};

use alpha_probes::ErrorKind;
use alpha_probes::probes::ProcessConfig;
use serde_json::json;

use crate::support::{ask, probe};

struct Own(Child);

impl Own {
    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.0.id().to_string()])
            .status();
        assert!(status.expect("kill is everywhere").success());
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_stopped_process_and_one_that_is_gone_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let process = probe::<ProcessConfig>(json!({ "pid_file": pid_file }));
    assert_eq!(ask(&*process).await.unwrap().value("count"), Some(0.0));
    let child = Own(Command::new("sleep").arg("600").spawn().unwrap());
    fs::write(&pid_file, format!("{}\n", child.0.id())).unwrap();
    let seen = ask(&*process).await.unwrap();
    assert_eq!(
        (seen.value("count"), seen.value("stopped")),
        (Some(1.0), Some(0.0))
    );
    assert!(
        seen.value("resident").unwrap() > 0.0 && seen.value("files").unwrap() >= 3.0,
        "{seen:?}"
    );
    assert!(seen.value("age").unwrap() < 60.0, "{seen:?}");
    child.signal("-STOP");
    assert_eq!(ask(&*process).await.unwrap().value("stopped"), Some(1.0));
    child.signal("-CONT");
    assert_eq!(ask(&*process).await.unwrap().value("stopped"), Some(0.0));
    // Killed and not yet asked about by its parent: a zombie.
    child.signal("-KILL");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let seen = ask(&*process).await.unwrap();
    assert_eq!(
        (seen.value("count"), seen.value("zombies")),
        (Some(0.0), Some(1.0))
    );
    fs::write(&pid_file, "soon").unwrap();
    assert_eq!(ask(&*process).await.unwrap_err().kind(), ErrorKind::Malformed);
}

#[tokio::test]
async fn processes_are_found_by_their_command_line_which_is_never_shown() {
    let script = "while :; do :; done # marker-of-this-test password=hunter2";
    let busy = Own(Command::new("nice").args(["sh", "-c", script]).spawn().unwrap());
    let process = probe::<ProcessConfig>(json!({ "command_line": "marker-of-this-test" }));
    ask(&*process).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let seen = ask(&*process).await.unwrap();
    assert_eq!(seen.value("count"), Some(1.0));
    assert!(seen.value("cpu").unwrap() > 0.02, "{seen:?}");
    assert!(!serde_json::to_string(&seen).unwrap().contains("hunter2"));
    drop(busy);
    assert_eq!(ask(&*process).await.unwrap().value("count"), Some(0.0));
}

#[tokio::test]
async fn a_name_is_compared_as_the_kernel_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("a-program-with-a-long-name");
    fs::copy("/bin/sleep", &program).unwrap();
    let _child = Own(Command::new(&program).arg("600").spawn().unwrap());
    let process = probe::<ProcessConfig>(json!({ "name": "a-program-with-a-long-name" }));
    assert_eq!(ask(&*process).await.unwrap().value("count"), Some(1.0));
}
