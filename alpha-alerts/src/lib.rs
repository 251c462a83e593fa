//! Routes alerts of severity P0 to P3 to the person who must act, and loses none of them on the way.
//!
//! Not built yet: this crate holds nothing but this page. It will own alerts and their fingerprints, routes, groups,
//! inhibition, silences, on-call schedules, escalation, incidents, a durable outbox and the inbound APIs of
//! Alertmanager, Grafana and PagerDuty. It knows nothing of probes: the command line turns a status into an alert.
