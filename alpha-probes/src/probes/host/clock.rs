//! The probe `clock`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::probe::{Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "clock",
    summary: "",
    metrics: &[],
    is_open: false,
    rules: &[],
};

/// The table `clock` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ClockConfig {}

impl ProbeConfig for ClockConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        Err(Error::new(
            ErrorKind::InvalidConfig,
            text!("this probe is not built yet"),
        ))
    }
}
