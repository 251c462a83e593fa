use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use alpha_probes::probes::FileConfig;
use serde_json::json;

use crate::support::{ask, probe};

#[tokio::test]
async fn the_newest_of_several_backups_counts() {
    let folder = tempfile::tempdir().unwrap();
    for (name, hours, bytes) in [
        ("a.sql.gz", 50, 10),
        ("b.sql.gz", 2, 20),
        ("c.txt", 0, 5),
        (".d.sql.gz", 0, 5),
    ] {
        fs::create_dir_all(folder.path().join("day")).unwrap();
        let path = folder.path().join("day").join(name);
        fs::write(&path, vec![0; bytes]).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the times of files are the system's")]
        let written = SystemTime::now() - Duration::from_secs(hours * 3600);
        File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .set_modified(written)
            .unwrap();
    }
    let seen = ask(&*probe::<FileConfig>(
        json!({ "newest": folder.path().join("d?y/*.sql.gz") }),
    ))
    .await
    .unwrap();
    assert_eq!(
        (seen.value("count"), seen.value("size"), seen.value("total_size")),
        (Some(2.0), Some(20.0), Some(30.0))
    );
    let age = seen.value("age").unwrap();
    assert!((7190.0..7300.0).contains(&age), "{age}");
    assert!(seen.facts["newest"].as_str().unwrap().ends_with("b.sql.gz"));
}

#[tokio::test]
async fn a_file_that_is_missing_is_a_finding_and_one_that_may_not_be_seen_is_not() {
    let folder = tempfile::tempdir().unwrap();
    for table in [
        json!({ "path": folder.path().join("none") }),
        json!({ "newest": folder.path().join("none/*.gz") }),
        json!({ "newest": folder.path().join("*.gz") }),
    ] {
        let seen = ask(&*probe::<FileConfig>(table)).await.unwrap();
        assert_eq!(seen.value("present"), Some(0.0));
    }
    fs::write(folder.path().join("there"), "x").unwrap();
    let seen = ask(&*probe::<FileConfig>(
        json!({ "path": folder.path().join("there") }),
    ))
    .await
    .unwrap();
    assert_eq!(
        (seen.value("present"), seen.value("size")),
        (Some(1.0), Some(1.0))
    );
    assert_eq!(seen.facts["type"], "file");
}

#[test]
fn exactly_one_of_the_keys_is_expected() {
    use alpha_probes::check::ProbeConfig;
    for table in [
        json!({}),
        json!({ "path": "/a", "newest": "/b*" }),
        json!({ "newest": "b*" }),
    ] {
        let config: FileConfig = serde_json::from_value(table).unwrap();
        let error = config.build(&alpha_probes::Resources::default()).unwrap_err();
        assert_eq!(error.kind(), alpha_probes::ErrorKind::InvalidConfig);
    }
}
