use alpha_probes::ErrorKind;
use alpha_probes::probes::SystemdConfig;
use serde_json::json;

use crate::support::{ask, probe};

#[tokio::test]
async fn this_machine_says_how_a_unit_is_or_that_it_has_no_systemd() {
    let unit = probe::<SystemdConfig>(json!({ "unit": "no-such-unit-of-alpha" }));
    match ask(&*unit).await {
        Ok(seen) => assert_eq!(
            (seen.value("active"), seen.value("loaded")),
            (Some(0.0), Some(0.0))
        ),
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::NotApplicable | ErrorKind::Unreachable),
            "{error}"
        ),
    }
}
