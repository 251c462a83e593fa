//! Which stopped services may simply be started again.

use crate::platform::Service;
use crate::signer::SignerEvidence;

/// What starting services again would do; nothing is done by making it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartPlan {
    /// The services to start, in the order of the request.
    pub restarts: Vec<String>,
    /// Those that are not to be started, each with its reason.
    pub refusals: Vec<Refusal>,
}

/// A service that is not started again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Its name.
    pub service: String,
    /// Why.
    pub reason: RefusalReason,
}

/// Why a service is not started again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalReason {
    /// It may sign blocks: starting it could make two signers of one key, or let it vote twice (interlocks I1, I5).
    Signer(SignerEvidence),
    /// The platform does not know it: what was removed has to be made anew, not started.
    Missing,
    /// It runs; what is wrong with it is not that it stopped, and a restart would hide the cause.
    Running,
}

impl RestartPlan {
    /// The plan for starting `wanted` again, given all `services` of the platform.
    pub fn new(services: &[Service], wanted: &[&str]) -> Self {
        let mut plan = Self::default();
        for name in wanted {
            let service = services.iter().find(|service| service.name == *name);
            let reason = match service {
                None => Some(RefusalReason::Missing),
                Some(service) => match SignerEvidence::of(service) {
                    Some(evidence) => Some(RefusalReason::Signer(evidence)),
                    None => service.is_running.then_some(RefusalReason::Running),
                },
            };
            match reason {
                Some(reason) => plan.refusals.push(Refusal {
                    service: (*name).to_owned(),
                    reason,
                }),
                None => plan.restarts.push((*name).to_owned()),
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stopped_service_that_surely_does_not_sign_is_started() {
        let running = Service {
            is_running: true,
            ..Service::new("running")
        };
        let services = [
            Service::new("api"),
            running,
            Service::new("x").with_command(["n", "--validator"]),
        ];
        let plan = RestartPlan::new(&services, &["api", "running", "x", "gone"]);
        assert_eq!(plan.restarts, ["api"]);
        let reasons: Vec<_> = plan.refusals.iter().map(|refusal| &refusal.reason).collect();
        assert!(matches!(
            reasons[..],
            [
                RefusalReason::Running,
                RefusalReason::Signer(SignerEvidence::Argument(_)),
                RefusalReason::Missing
            ]
        ));
    }
}
