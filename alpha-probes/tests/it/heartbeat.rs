use std::fs::File;
use std::time::Duration;

use alpha_probes::check::ProbeConfig;
use alpha_probes::probes::HeartbeatConfig;
use alpha_probes::probes::heartbeat::{Heartbeats, Signal};
use alpha_probes::{Clock, ErrorKind, Resources, SystemClock};
use serde_json::json;

use crate::support::{ask, probe};

#[tokio::test]
async fn a_file_that_is_touched_is_a_heartbeat() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("done");
    let job = probe::<HeartbeatConfig>(json!({ "file": path, "period": "1d", "grace": "1h" }));
    assert_eq!(ask(&*job).await.unwrap().facts["state"], "new");
    let file = File::create(&path).unwrap();
    assert_eq!(ask(&*job).await.unwrap().value("up"), Some(1.0));
    #[expect(clippy::disallowed_methods, reason = "the times of files are the system's")]
    let now = std::time::SystemTime::now();
    file.set_modified(now - Duration::from_secs(86_400 + 60)).unwrap();
    assert_eq!(ask(&*job).await.unwrap().value("late"), Some(1.0));
    file.set_modified(now - Duration::from_secs(86_400 + 3700))
        .unwrap();
    assert_eq!(ask(&*job).await.unwrap().value("down"), Some(1.0));
}

#[tokio::test]
async fn pings_reach_the_check_through_the_resources_they_share() {
    let resources = Resources::default();
    let config: HeartbeatConfig =
        serde_json::from_value(json!({ "job": "backup", "cron": "30 2 * * *" })).unwrap();
    let job = config.build(&resources).unwrap();
    let heartbeats = resources.shared::<Heartbeats>();
    assert_eq!(ask(&*job).await.unwrap().facts["state"], "new");
    assert!(heartbeats.ping("backup", Signal::Success, None, SystemClock.now()));
    assert_eq!(ask(&*job).await.unwrap().facts["state"], "up");
    assert!(heartbeats.ping("backup", Signal::Failure, None, SystemClock.now()));
    assert_eq!(ask(&*job).await.unwrap().value("down"), Some(1.0));
    assert!(!heartbeats.ping("stranger", Signal::Success, None, SystemClock.now()));
}

#[test]
fn a_table_says_once_where_pings_come_from_and_when() {
    for table in [
        json!({ "period": "1h" }),
        json!({ "file": "/a", "job": "b", "period": "1h" }),
        json!({ "file": "/a" }),
        json!({ "file": "/a", "period": "1h", "cron": "0 0 * * *" }),
        json!({ "file": "/a", "period": "1h", "time_zone": "UTC" }),
        json!({ "file": "/a", "cron": "never" }),
    ] {
        let config: HeartbeatConfig = serde_json::from_value(table).unwrap();
        assert_eq!(
            config.build(&Resources::default()).unwrap_err().kind(),
            ErrorKind::InvalidConfig
        );
    }
}
