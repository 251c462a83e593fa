//! The APIs over a backend that only remembers, asked as clients ask.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use uuid::Uuid;

use super::*;
use crate::alert::Alert;
use crate::audit::AuditEntry;
use crate::command::{Command, Signal};
use crate::error::{ErrorKind, Result};
use crate::incident::{Acknowledgement, Incident, IncidentId};
use crate::label::{Fingerprint, Labels};
use crate::notification::GroupKey;
use crate::oncall::{HandoverReport, OnCall, Overrides};
use crate::secret::NoSecrets;
use crate::severity::Severity;
use crate::silence::{Silence, SilenceState};
use crate::store::Trail;

/// Remembers commands and does the simplest that follows from them.
#[derive(Debug, Default)]
struct Memory {
    alerts: Mutex<BTreeMap<Fingerprint, Alert>>,
    silences: Mutex<BTreeMap<Uuid, Silence>>,
    incident: Mutex<Option<Incident>>,
    signals: Mutex<Vec<(String, Signal)>>,
    overrides: Mutex<Overrides>,
    handovers: Mutex<Vec<HandoverReport>>,
    is_full: bool,
}

#[async_trait]
impl Backend for Memory {
    fn now(&self) -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    async fn execute(&self, command: Command) -> Result<()> {
        if self.is_full {
            return Err(Error::new(
                ErrorKind::Unavailable,
                Text::plain("the disk is full"),
            ));
        }
        match command {
            Command::Alerts(alerts) => {
                let mut known = self.alerts.lock().unwrap();
                for alert in alerts {
                    let merged = match known.get(&alert.fingerprint()) {
                        Some(older) => older.merged_with(alert),
                        None => alert,
                    };
                    known.insert(merged.fingerprint(), merged);
                }
            }
            Command::PutSilence(silence) => {
                self.silences.lock().unwrap().insert(silence.id, silence);
            }
            Command::ExpireSilence { id, .. } => {
                let mut silences = self.silences.lock().unwrap();
                silences.get_mut(&id).unwrap().expire(self.now());
            }
            Command::Acknowledge { incident, by } => {
                let mut known = self.incident.lock().unwrap();
                let known = known.as_mut().filter(|known| known.id == incident).unwrap();
                known.acknowledged = Some(Acknowledgement { at: self.now(), by });
            }
            Command::Unacknowledge { .. } => {
                self.incident.lock().unwrap().as_mut().unwrap().acknowledged = None
            }
            Command::Resolve { .. } => {
                self.incident.lock().unwrap().as_mut().unwrap().resolved_at = Some(self.now());
            }
            Command::Heartbeat { name, signal, .. } => self.signals.lock().unwrap().push((name, signal)),
            Command::PutOverrides(overrides) => {
                let mut known = self.overrides.lock().unwrap();
                overrides.into_iter().for_each(|entry| known.put(entry));
            }
            Command::RemoveOverride { id, .. } => _ = self.overrides.lock().unwrap().remove(id),
            Command::PutHandover(report) => self.handovers.lock().unwrap().push(*report),
            Command::AcceptHandover { id, by } => {
                let mut handovers = self.handovers.lock().unwrap();
                let report = handovers.iter_mut().find(|report| report.id == id).unwrap();
                report.accept(self.now(), &by);
            }
            other => panic!("{other:?} is not expected here"),
        }
        Ok(())
    }

    fn resolve_timeout(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn alerts(&self, keep: &mut dyn FnMut(&Alert) -> bool) -> Vec<AlertView> {
        let alerts = self.alerts.lock().unwrap();
        let silences = self.silences.lock().unwrap();
        let kept = alerts.values().filter(|alert| keep(alert));
        kept.map(|alert| AlertView {
            alert: alert.clone(),
            receivers: vec!["ops".into()],
            silenced_by: silences
                .values()
                .filter(|silence| {
                    silence.state_at(self.now()) == SilenceState::Active && silence.matches(&alert.labels)
                })
                .map(|silence| silence.id)
                .collect(),
            inhibited_by: Vec::new(),
            muted_by: Vec::new(),
        })
        .collect()
    }

    fn counts(&self) -> AlertCounts {
        AlertCounts {
            active: self.alerts.lock().unwrap().len() as u64,
            suppressed: 0,
        }
    }

    fn groups(&self) -> Vec<GroupView> {
        let alerts: Vec<Fingerprint> = self.alerts.lock().unwrap().keys().copied().collect();
        vec![GroupView {
            key: "{}:{}".into(),
            labels: Labels::default(),
            receiver: "ops".into(),
            alerts,
        }]
    }

    fn silences(&self) -> Vec<Silence> {
        self.silences.lock().unwrap().values().cloned().collect()
    }

    fn silence(&self, id: Uuid) -> Option<Silence> {
        self.silences.lock().unwrap().get(&id).cloned()
    }

    fn receivers(&self) -> Vec<Arc<str>> {
        vec!["ops".into()]
    }

    fn configuration(&self) -> String {
        "route:\n  receiver: ops\n".to_owned()
    }

    fn incidents(&self) -> Vec<Incident> {
        self.incident.lock().unwrap().iter().cloned().collect()
    }

    fn incident(&self, id: IncidentId) -> Option<Incident> {
        self.incident
            .lock()
            .unwrap()
            .clone()
            .filter(|incident| incident.id == id)
    }

    fn expects_heartbeat(&self, name: &str) -> bool {
        name == "backup"
    }

    async fn trail(&self, _: &[GroupKey]) -> Result<Trail> {
        Ok(Trail::default())
    }

    async fn audit(&self, _: u64, _: usize) -> Result<Vec<AuditEntry>> {
        Ok(Vec::new())
    }

    fn on_call(&self, look: &mut dyn FnMut(&OnCall, &Overrides)) {
        let config = serde_json::json!({
            "people": [{ "name": "mei" }, { "name": "jo" }],
            "schedules": [{ "name": "ops", "layers": [
                { "rotation": ["mei", "jo"], "starts_on": "2025-12-29", "hand_off": "09:00" },
            ] }],
        });
        let config = serde_json::from_value(config).unwrap();
        look(&OnCall::new(&config).unwrap(), &self.overrides.lock().unwrap());
    }

    fn handovers(&self) -> Vec<HandoverReport> {
        self.handovers.lock().unwrap().clone()
    }

    async fn measure(&self, exposition: &mut Exposition) {
        exposition
            .family("alpha_test", crate::exposition::Type::Gauge, "A test.")
            .sample(&[], 1.0);
    }
}

/// A server with everything turned on.
struct Server {
    memory: Arc<Memory>,
    router: Router,
}

fn config(text: &str) -> InboundConfig {
    let mut config = InboundConfig::default();
    let given = |text: &str| SecretRef::Given(text.into());
    if text.contains("access") {
        config.access.tokens = vec![TokenConfig {
            name: "cli".to_owned(),
            token: given("t0ken"),
        }];
    }
    config.inlets = vec![
        InletConfig {
            name: "grafana".to_owned(),
            kind: InletKind::Webhook,
            token: given("hook"),
            labels: BTreeMap::new(),
        },
        InletConfig {
            name: "pager".to_owned(),
            kind: InletKind::Events,
            token: given("routing"),
            labels: [("team".to_owned(), "db".to_owned())].into(),
        },
    ];
    config.acknowledge_links = Some(acknowledge_links());
    config.slack = Some(SlackInletConfig {
        signing_secret: given("slack"),
    });
    config.pagerduty = Some(PagerDutyInletConfig {
        secrets: vec![given("pd")],
    });
    config
}

fn acknowledge_links() -> AcknowledgeLinksConfig {
    AcknowledgeLinksConfig {
        key: SecretRef::Given("0123456789abcdef".into()),
        valid_for: crate::Period::from_secs(3600),
    }
}

impl Server {
    fn with(memory: Memory, config: &InboundConfig) -> Self {
        let memory = Arc::new(memory);
        let backend = Arc::clone(&memory) as Arc<dyn Backend>;
        let inbound = Inbound::new(backend, config, &NoSecrets).unwrap();
        Self {
            memory,
            router: inbound.router(),
        }
    }

    fn new() -> Self {
        Self::with(Memory::default(), &config(""))
    }

    fn with_incident() -> Self {
        let incident = Incident {
            id: IncidentId(7),
            group: "{}:{}".into(),
            group_labels: Labels::default(),
            title: "chain <halted>".to_owned(),
            severity: Severity::P0,
            opened_at: Timestamp::UNIX_EPOCH,
            respond_by: Timestamp::UNIX_EPOCH,
            acknowledged: None,
            resolved_at: None,
            escalation: None,
            is_overdue: false,
            alerts: Vec::new(),
            timeline: Vec::new(),
        };
        let memory = Memory {
            incident: Mutex::new(Some(incident)),
            ..Memory::default()
        };
        Self::with(memory, &config(""))
    }

    async fn send(&self, request: Request<Body>) -> Response {
        let mut router = self.router.clone();
        tower_service(&mut router, request).await
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .send(request.body(Body::from(body.to_owned())).unwrap())
            .await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.ask("POST", path, &[("content-type", "application/json")], body)
            .await
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, &[], "").await
    }

    fn incident(&self) -> Incident {
        self.memory.incident.lock().unwrap().clone().unwrap()
    }
}

async fn tower_service(router: &mut Router, request: Request<Body>) -> Response {
    use hyper::service::Service as _;
    hyper_util::service::TowerToHyperService::new(router.clone())
        .call(request)
        .await
        .unwrap_or_else(|never| match never {})
}

#[tokio::test]
async fn alerts_are_taken_and_shown_as_alertmanager_shows_them() {
    let server = Server::new();
    let body = r#"[{"labels":{"alertname":"X","severity":"P0"},"generatorURL":"http://g"},{"labels":{}}]"#;
    let (status, answer) = server.post("/api/v2/alerts", body).await;
    assert_eq!(
        (status, answer.as_str()),
        (400, "\"at least one label pair required\"\n")
    );
    let expected = "[{\"annotations\":{},\"endsAt\":\"2026-01-01T12:05:00.000Z\",\"fingerprint\":\"FP\",\
                    \"receivers\":[{\"name\":\"ops\"}],\"startsAt\":\"2026-01-01T12:00:00.000Z\",\
                    \"status\":{\"inhibitedBy\":[],\"mutedBy\":[],\"silencedBy\":[],\"state\":\"active\"},\
                    \"updatedAt\":\"2026-01-01T12:00:00.000Z\",\"generatorURL\":\"http://g\",\
                    \"labels\":{\"alertname\":\"X\",\"severity\":\"P0\"}}]\n";
    let fingerprint = Labels::new([("alertname", "X"), ("severity", "P0")]).fingerprint();
    let (status, answer) = server.get("/api/v2/alerts").await;
    assert_eq!(
        (status, answer),
        (200, expected.replace("FP", &fingerprint.to_string()))
    );
    for (query, count) in [
        ("filter=severity%3D%22P0%22", 1),
        ("filter=severity%3D~%22P%5B12%5D%22", 0),
        ("active=false", 0),
        ("receiver=op", 0),
        ("receiver=o.s", 1),
        ("unprocessed=false&silenced=no", 1),
    ] {
        let (status, answer) = server.get(&format!("/api/v2/alerts?{query}")).await;
        assert_eq!(
            (status, answer.matches("fingerprint").count()),
            (200, count),
            "{query}"
        );
        let (_, answer) = server.get(&format!("/api/v2/alerts/groups?{query}")).await;
        assert_eq!(answer.matches("fingerprint").count(), count, "groups, {query}");
    }
    assert_eq!(server.get("/api/v2/alerts?filter=bad").await.0, 400);
    assert_eq!(server.get("/api/v2/alerts?receiver=(").await.0, 400);
}

#[tokio::test]
async fn what_is_not_json_is_refused_and_what_is_not_durable_is_not_acknowledged() {
    let server = Server::new();
    for (headers, status) in [
        (vec![], 415),
        (vec![("content-type", "text/plain")], 415),
        (vec![("content-type", "Application/JSON; charset=utf-8")], 200),
    ] {
        assert_eq!(
            server.ask("POST", "/api/v2/alerts", &headers, "[]").await.0,
            status,
            "{headers:?}"
        );
    }
    let full = Server::with(
        Memory {
            is_full: true,
            ..Memory::default()
        },
        &config(""),
    );
    let (status, answer) = full.post("/api/v2/alerts", r#"[{"labels":{"a":"1"}}]"#).await;
    assert_eq!((status, answer.as_str()), (503, "\"the disk is full\"\n"));
    let mut small = config("");
    small.max_body_bytes = 20;
    let small = Server::with(Memory::default(), &small);
    assert_eq!(
        small.post("/api/v2/alerts", r#"[{"labels":{"a":"1"}}]"#).await.0,
        413
    );
}

#[tokio::test]
async fn a_silence_is_changed_by_alertmanagers_rules() {
    let server = Server::new();
    let silence = |id: &str, name: &str, start: &str, comment: &str| {
        format!(
            "{{{id}\"matchers\":[{{\"name\":\"{name}\",\"value\":\"1\",\"isRegex\":false}}],\
             \"startsAt\":\"2026-01-01T{start}:00Z\",\"endsAt\":\"2026-01-01T13:00:00Z\",\
             \"createdBy\":\"me\",\"comment\":\"{comment}\"}}"
        )
    };
    let id_of = |answer: &str| {
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        answer["silenceID"].as_str().unwrap().to_owned()
    };
    let (status, answer) = server
        .post("/api/v2/silences", &silence("", "a", "11:00", "c"))
        .await;
    assert_eq!(status, 200, "{answer}");
    let first = id_of(&answer);
    let (_, shown) = server.get(&format!("/api/v2/silence/{first}")).await;
    assert_eq!(
        shown,
        format!(
            "{{\"id\":\"{first}\",\"status\":{{\"state\":\"active\"}},\"updatedAt\":\"2026-01-01T12:00:00.000Z\",\
             \"comment\":\"c\",\"createdBy\":\"me\",\"endsAt\":\"2026-01-01T13:00:00.000Z\",\
             \"matchers\":[{{\"name\":\"a\",\"value\":\"1\",\"isRegex\":false,\"isEqual\":true}}],\
             \"startsAt\":\"2026-01-01T12:00:00.000Z\"}}\n"
        )
    );

    // The same matchers and start: the same silence.
    let with_id = format!("\"id\":\"{first}\",");
    let (_, answer) = server
        .post("/api/v2/silences", &silence(&with_id, "a", "12:00", "d"))
        .await;
    assert_eq!(id_of(&answer), first);
    // Other matchers: a new one, and the old one is over.
    let (_, answer) = server
        .post("/api/v2/silences", &silence(&with_id, "b", "12:00", "e"))
        .await;
    let second = id_of(&answer);
    assert_ne!(second, first);
    let (_, all) = server.get("/api/v2/silences").await;
    let states: Vec<_> = all
        .match_indices("\"state\":\"")
        .map(|(at, text)| &all[at + text.len()..][..6])
        .collect();
    assert_eq!(states, ["active", "expire"]);
    let (_, filtered) = server.get("/api/v2/silences?filter=b%3D1").await;
    assert!(filtered.contains(&second) && !filtered.contains(&first));

    assert_eq!(
        server
            .ask("DELETE", &format!("/api/v2/silence/{second}"), &[], "")
            .await
            .0,
        200
    );
    assert_eq!(
        server
            .ask("DELETE", &format!("/api/v2/silence/{second}"), &[], "")
            .await
            .0,
        200
    );
    let unknown = Uuid::nil().to_string();
    assert_eq!(
        server
            .ask("DELETE", &format!("/api/v2/silence/{unknown}"), &[], "")
            .await
            .0,
        404
    );
    assert_eq!(
        server.get(&format!("/api/v2/silence/{unknown}")).await,
        (404, String::new())
    );
    assert_eq!(server.get("/api/v2/silence/xx").await.0, 422);
    let gone = format!("\"id\":\"{unknown}\",");
    assert_eq!(
        server
            .post("/api/v2/silences", &silence(&gone, "a", "12:00", "e"))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn silences_are_refused_with_alertmanagers_codes() {
    let server = Server::new();
    let whole = serde_json::json!({
        "matchers": [{ "name": "a", "value": "1", "isRegex": false }],
        "startsAt": "2026-01-01T12:00:00Z", "endsAt": "2026-01-01T13:00:00Z",
        "createdBy": "me", "comment": "c",
    });
    for (key, value, status, words) in [
        ("matchers", serde_json::json!([]), 422, "\"code\":612"),
        ("matchers", serde_json::Value::Null, 422, "\"code\":602"),
        (
            "matchers",
            serde_json::json!([{ "name": "a", "value": "" , "isRegex": false }]),
            400,
            "at least one matcher",
        ),
        (
            "matchers",
            serde_json::json!([{ "name": "a", "value": ".*" , "isRegex": true }]),
            400,
            "at least one matcher",
        ),
        (
            "matchers",
            serde_json::json!([{ "name": "a", "value": "(" , "isRegex": true }]),
            400,
            "invalid label matcher 0",
        ),
        (
            "matchers",
            serde_json::json!([{ "name": "", "value": "x" , "isRegex": true }]),
            400,
            "invalid label name",
        ),
        (
            "matchers",
            serde_json::json!([{ "name": "a", "isRegex": true }]),
            422,
            "matchers.0.value in body is required",
        ),
        (
            "startsAt",
            serde_json::json!("2026-01-01T13:00:00Z"),
            400,
            "start time must be before end time",
        ),
        (
            "startsAt",
            serde_json::Value::Null,
            422,
            "startsAt in body is required",
        ),
        (
            "comment",
            serde_json::Value::Null,
            422,
            "comment in body is required",
        ),
        ("createdBy", serde_json::json!(1), 400, "parsing silence body"),
    ] {
        let mut silence = whole.clone();
        silence[key] = value;
        let (got, answer) = server.post("/api/v2/silences", &silence.to_string()).await;
        assert_eq!(got, status, "{silence}: {answer}");
        assert!(answer.contains(words), "{silence}: {answer}");
    }
    let mut past = whole;
    past["startsAt"] = "2026-01-01T10:00:00Z".into();
    past["endsAt"] = "2026-01-01T11:00:00Z".into();
    let (status, answer) = server.post("/api/v2/silences", &past.to_string()).await;
    assert_eq!((status, answer.contains("can't be in the past")), (400, true));
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_say_so() {
    let server = Server::new();
    for (method, path, status, body) in [
        ("GET", "/-/healthy", 200, "OK"),
        ("HEAD", "/-/ready", 200, ""),
        ("POST", "/-/healthy", 405, "Method Not Allowed\n"),
        (
            "POST",
            "/-/reload",
            501,
            "this server cannot read its configuration again\n",
        ),
        (
            "GET",
            "/api/v2/nope",
            404,
            r#"{"code":404,"message":"path /api/v2/nope was not found"}"#,
        ),
        ("GET", "/nope", 404, "404 page not found\n"),
        (
            "PUT",
            "/api/v2/alerts",
            405,
            r#"{"code":405,"message":"method PUT is not allowed, but [POST,GET] are"}"#,
        ),
    ] {
        assert_eq!(
            server.ask(method, path, &[], "").await,
            (status, body.to_owned()),
            "{method} {path}"
        );
    }
    assert_eq!(server.get("/api/v1/alerts").await.0, 410);
    assert_eq!(server.get("/api/v2/receivers").await.1, "[{\"name\":\"ops\"}]\n");
    assert!(
        server
            .get("/api/v2/status")
            .await
            .1
            .contains("\"original\":\"route:")
    );
    let mut below = config("");
    below.path_prefix = "/am".to_owned();
    let below = Server::with(Memory::default(), &below);
    assert_eq!(below.get("/am/api/v2/receivers").await.0, 200);
    assert_eq!(below.get("/am/-/healthy").await.0, 200);
    assert_eq!(below.get("/api/v2/receivers").await.0, 404);
    assert_eq!(below.get("/am/api/v2/nope").await.0, 404);
}

#[tokio::test]
async fn who_has_no_token_gets_nothing() {
    let server = Server::with(Memory::default(), &config("access"));
    for path in [
        "/api/v2/alerts",
        "/metrics",
        "/api/alpha/v1/incidents",
        "/api/v2/status",
    ] {
        assert_eq!(server.get(path).await.0, 401, "{path}");
        let token = [("authorization", "Bearer t0ken")];
        assert_eq!(server.ask("GET", path, &token, "").await.0, 200, "{path}");
    }
    assert_eq!(server.ask("POST", "/-/reload", &[], "").await.0, 401);
    assert_eq!(server.get("/-/healthy").await.0, 200);
    assert_eq!(server.get("/ping/backup").await.0, 200);
}

#[tokio::test]
async fn a_webhook_needs_its_own_token() {
    let server = Server::new();
    let body =
        r#"{"alerts":[{"status":"firing","labels":{"alertname":"G"},"startsAt":"2026-01-01T11:00:00Z"}]}"#;
    for (path, token, status) in [
        ("/inlet/grafana", "Bearer hook", 200),
        ("/inlet/grafana", "Basic eDpob29r", 200),
        ("/inlet/grafana", "Bearer routing", 401),
        ("/inlet/pager", "Bearer hook", 401),
    ] {
        let headers = [("authorization", token)];
        assert_eq!(
            server.ask("POST", path, &headers, body).await.0,
            status,
            "{path} {token}"
        );
    }
    assert_eq!(server.memory.alerts.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn pagerdutys_events_open_acknowledge_and_resolve() {
    let server = Server::with_incident();
    let trigger = |summary: &str, severity: &str| {
        serde_json::json!({
            "routing_key": "routing", "event_action": "trigger", "dedup_key": "k",
            "payload": { "summary": summary, "source": "db-1", "severity": severity, "custom_details": { "lag": 5 } },
        })
        .to_string()
    };
    let (status, answer) = server.post("/v2/enqueue", &trigger("slow", "critical")).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&answer).unwrap(),
        serde_json::json!({ "status": "success", "message": "Event processed", "dedup_key": "k" })
    );
    // The same trouble, told anew and milder, is the same alert.
    server.post("/v2/enqueue", &trigger("slower", "warning")).await;
    let alert = {
        let alerts = server.memory.alerts.lock().unwrap();
        assert_eq!(alerts.len(), 1);
        alerts.values().next().unwrap().clone()
    };
    assert_eq!(alert.labels.get("severity"), Some("critical"));
    assert_eq!(alert.labels.get("team"), Some("db"));
    assert_eq!(alert.annotations.get("summary"), Some("slower"));
    assert_eq!(alert.annotations.get("details"), Some("{\"lag\":5}"));

    let act = |action: &str, key: &str| {
        serde_json::json!({ "routing_key": "routing", "event_action": action, "dedup_key": key }).to_string()
    };
    assert_eq!(
        server.post("/v2/enqueue", &act("acknowledge", "other")).await.0,
        202
    );
    assert!(server.incident().acknowledged.is_none());
    assert_eq!(server.post("/v2/enqueue", &act("acknowledge", "k")).await.0, 202);
    assert_eq!(server.incident().acknowledged.unwrap().by, "inlet pager");
    assert_eq!(server.post("/v2/enqueue", &act("resolve", "k")).await.0, 202);
    let now = server.memory.now();
    assert!(server.memory.alerts.lock().unwrap()[&alert.fingerprint()].is_resolved_at(now));

    for (body, error) in [
        (trigger("x", "bad"), "cannot be read"),
        (trigger("", "info"), "'payload.summary' is missing or blank"),
        (act("resolve", ""), "'dedup_key' is missing or blank"),
        (
            act("resolve", "k").replace("routing\"", "other\""),
            "'routing_key' is not one",
        ),
        ("{".to_owned(), "cannot be read"),
        (
            r#"{"routing_key":"routing"}"#.to_owned(),
            "'event_action' is missing or blank",
        ),
    ] {
        let (status, answer) = server.post("/v2/enqueue", &body).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer.contains(error), "{body}: {answer}");
    }
}

#[tokio::test]
async fn jobs_give_signs_of_life() {
    let server = Server::new();
    for (method, path) in [
        ("GET", "/ping/backup"),
        ("POST", "/ping/backup/start"),
        ("HEAD", "/ping/backup/fail"),
        ("GET", "/ping/backup/0"),
        ("GET", "/ping/backup/12"),
        ("POST", "/ping/backup/log"),
    ] {
        assert_eq!(server.ask(method, path, &[], "").await.0, 200, "{path}");
    }
    assert_eq!(server.get("/ping/unknown").await.0, 404);
    assert_eq!(server.get("/ping/backup/256").await.0, 400);
    let signals: Vec<Signal> = server
        .memory
        .signals
        .lock()
        .unwrap()
        .iter()
        .map(|(_, signal)| *signal)
        .collect();
    assert_eq!(
        signals,
        [
            Signal::Success,
            Signal::Start,
            Signal::Failure,
            Signal::Success,
            Signal::Failure
        ]
    );
}

#[tokio::test]
async fn a_link_acknowledges_only_when_its_button_is_pressed() {
    let server = Server::with_incident();
    let now = server.memory.now();
    let links =
        AcknowledgeLinks::new(&acknowledge_links(), "http://alpha".parse().unwrap(), &NoSecrets).unwrap();
    let notification = crate::Notification {
        id: crate::NotificationId(Uuid::nil()),
        receiver: "person/mei".into(),
        integration: "person/mei/slack/0".into(),
        group: "{}:{}".into(),
        group_labels: Labels::default(),
        event: crate::Event::Firing,
        reason: crate::Reason::New,
        severity: Severity::P0,
        alerts: Vec::new(),
        incident: Some(IncidentId(7)),
        created_at: now,
        late: None,
    };
    let path = |at: Timestamp| {
        let link = links.link(&notification, at).unwrap();
        format!("{}?{}", link.path(), link.query().unwrap())
    };
    let good = path(now);
    let (status, page) = server.get(&good).await;
    assert_eq!(status, 200);
    assert!(
        page.contains("P0 incident 7: chain &lt;halted&gt;") && page.contains("<button>"),
        "{page}"
    );
    assert!(server.incident().acknowledged.is_none());

    let hour = Duration::from_secs(3601);
    let earlier = now.checked_sub(hour).unwrap();
    assert_eq!(server.ask("POST", &path(earlier), &[], "").await.0, 410);
    for forged in [
        good.replace("/7?", "/8?"),
        good.replace("mei", "eve"),
        good.replace("until=1", "until=2"),
        "/acknowledge/7".to_owned(),
        good[..good.len() - 1].to_owned(),
    ] {
        assert_eq!(server.ask("POST", &forged, &[], "").await.0, 403, "{forged}");
    }
    assert!(server.incident().acknowledged.is_none());

    let (status, page) = server.ask("POST", &good, &[], "").await;
    assert_eq!(status, 200);
    assert!(page.contains("acknowledged by person/mei"), "{page}");
    assert_eq!(server.incident().acknowledged.unwrap().by, "person/mei");
    assert!(!server.get(&good).await.1.contains("<button>"));
    assert_eq!(server.ask("POST", &good, &[], "").await.0, 200);
}

#[tokio::test]
async fn a_button_in_slack_acknowledges_when_slack_signed_it() {
    let server = Server::with_incident();
    let time = server.memory.now().as_second().to_string();
    let press = |action: &str, value: &str| {
        let payload = serde_json::json!({
            "type": "block_actions", "user": { "id": "U1", "username": "mei" },
            "actions": [{ "action_id": action, "value": value }],
        });
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &payload.to_string())
            .finish()
    };
    let send = async |body: &str, key: &str| {
        let key = SigningKey::new(&key.into());
        let signature = format!(
            "v0={}",
            key.sign(&[b"v0:", time.as_bytes(), b":", body.as_bytes()])
        );
        let headers = [
            ("x-slack-request-timestamp", time.as_str()),
            ("x-slack-signature", signature.as_str()),
        ];
        server.ask("POST", "/slack/interactions", &headers, body).await.0
    };
    assert_eq!(send(&press("alpha_acknowledge", "7"), "other").await, 401);
    assert!(server.incident().acknowledged.is_none());
    assert_eq!(send("ssl_check=1", "slack").await, 200);
    assert_eq!(send(&press("runbook", "7"), "slack").await, 200);
    assert_eq!(send(&press("alpha_acknowledge", "8"), "slack").await, 200);
    assert!(server.incident().acknowledged.is_none());
    assert_eq!(send(&press("alpha_acknowledge", "{}:{}"), "slack").await, 200);
    assert_eq!(server.incident().acknowledged.unwrap().by, "mei (Slack)");
}

#[tokio::test]
async fn what_happens_at_pagerduty_happens_here_once() {
    let server = Server::with_incident();
    let event = |kind: &str, agent: &str| {
        serde_json::json!({
            "event": {
                "id": "E1", "event_type": format!("incident.{kind}"),
                "agent": { "type": agent, "summary": "Mei" },
                "data": { "id": "P1", "type": "incident", "incident_key": crate::hash::sha256_hex("{}:{}") },
            },
        })
        .to_string()
    };
    let send = async |body: &str, id: &str, key: &str| {
        let signature = format!("v1={}", SigningKey::new(&key.into()).sign(&[body.as_bytes()]));
        let headers = [
            ("x-pagerduty-signature", signature.as_str()),
            ("x-webhook-id", id),
        ];
        server.ask("POST", "/pagerduty/webhook", &headers, body).await.0
    };
    let acknowledged = event("acknowledged", "user_reference");
    assert_eq!(send(&acknowledged, "1", "other").await, 401);
    let ours = event("acknowledged", "events_api_v2_inbound_integration_reference");
    assert_eq!(send(&ours, "0", "pd").await, 200);
    assert!(server.incident().acknowledged.is_none());
    assert_eq!(send(&acknowledged, "1", "pd").await, 200);
    assert_eq!(server.incident().acknowledged.unwrap().by, "Mei (PagerDuty)");
    assert_eq!(
        send(&event("unacknowledged", "user_reference"), "2", "pd").await,
        200
    );
    assert!(server.incident().acknowledged.is_none());
    // The first delivery comes again: it has been seen.
    assert_eq!(send(&acknowledged, "1", "pd").await, 200);
    assert!(server.incident().acknowledged.is_none());
    assert_eq!(send(&event("resolved", "user_reference"), "3", "pd").await, 200);
    assert!(server.incident().resolved_at.is_some());
    assert_eq!(send(&event("pinged", "user_reference"), "4", "pd").await, 200);
}

#[tokio::test]
async fn incidents_are_listed_and_acted_upon() {
    let server = Server::with_incident();
    let (status, answer) = server.get("/api/alpha/v1/incidents").await;
    assert_eq!(status, 200);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        (&answer[0]["id"], &answer[0]["state"]),
        (&7.into(), &"triggered".into())
    );
    assert_eq!(server.get("/api/alpha/v1/incidents/8").await.0, 404);
    assert_eq!(server.get("/api/alpha/v1/incidents?limt=1").await.0, 400);
    let (status, answer) = server
        .post("/api/alpha/v1/incidents/7/acknowledge", r#"{"by":"mei"}"#)
        .await;
    assert_eq!(
        (status, answer.contains("\"state\":\"acknowledged\"")),
        (200, true),
        "{answer}"
    );
    assert_eq!(server.incident().acknowledged.unwrap().by, "mei");
    assert_eq!(server.post("/api/alpha/v1/incidents/7/notes", "{}").await.0, 400);
    assert_eq!(server.post("/api/alpha/v1/incidents/7/dance", "{}").await.0, 404);
    assert_eq!(server.post("/api/alpha/v1/incidents/7/resolve", "").await.0, 200);
    assert_eq!(server.get("/api/alpha/v1/incidents").await.1, "[]");
    assert!(
        server
            .get("/api/alpha/v1/incidents?all=true")
            .await
            .1
            .contains("\"id\":7")
    );
    assert_eq!(
        server.get("/api/alpha/v1/alerts/0000000000000000/why").await.0,
        404
    );
    assert_eq!(server.get("/api/alpha/v1/audit").await, (200, "[]".to_owned()));
}

#[tokio::test]
async fn who_is_on_call_is_told_and_changed() {
    let server = Server::new();
    let json = |(status, body): (u16, String)| {
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    let now = json(server.get("/api/alpha/v1/on-call").await);
    assert_eq!(
        (&now[0]["schedule"], &now[0]["people"]),
        (&"ops".into(), &serde_json::json!(["mei"]))
    );
    let later = json(server.get("/api/alpha/v1/on-call?at=2026-01-06T00:00:00Z").await);
    assert_eq!(later[0]["people"], serde_json::json!(["jo"]));
    let shifts =
        "/api/alpha/v1/on-call/shifts?schedule=ops&from=2026-01-01T00:00:00Z&to=2026-01-08T00:00:00Z";
    assert_eq!(
        json(server.get(shifts).await)["shifts"].as_array().unwrap().len(),
        2
    );

    let body = r#"{"schedule":"ops","person":"jo","starts_at":"2026-01-01T11:00:00Z",
        "ends_at":"2026-01-01T15:00:00Z","reason":"dentist","by":"mei"}"#;
    let made = json(server.post("/api/alpha/v1/on-call/overrides", body).await);
    let id = made[0]["id"].as_str().unwrap();
    let now = json(server.get("/api/alpha/v1/on-call").await);
    assert_eq!(
        (&now[0]["people"], &now[0]["overrides"][0]),
        (&serde_json::json!(["jo"]), &made[0]["id"])
    );
    let delete = format!("/api/alpha/v1/on-call/overrides/{id}");
    assert_eq!(server.ask("DELETE", &delete, &[], "").await.0, 200);
    assert_eq!(
        json(server.get("/api/alpha/v1/on-call").await)[0]["people"],
        serde_json::json!(["mei"])
    );

    let swap = r#"{"schedule":"ops","by":"jo",
        "first":{"person":"mei","starts_at":"2026-01-01T09:00:00Z","ends_at":"2026-01-02T09:00:00Z"},
        "second":{"person":"jo","starts_at":"2026-01-05T09:00:00Z","ends_at":"2026-01-06T09:00:00Z"}}"#;
    assert_eq!(
        json(server.post("/api/alpha/v1/on-call/swaps", swap).await)
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        json(server.get("/api/alpha/v1/on-call").await)[0]["people"],
        serde_json::json!(["jo"])
    );
    assert_eq!(
        json(server.get("/api/alpha/v1/on-call/overrides").await)
            .as_array()
            .unwrap()
            .len(),
        2
    );

    for (path, status) in [
        ("/api/alpha/v1/on-call?at=soon", 400),
        ("/api/alpha/v1/on-call/shifts?schedule=none", 404),
        (
            "/api/alpha/v1/on-call/shifts?schedule=ops&from=2026-01-01T00:00:00Z&to=2099-01-01T00:00:00Z",
            400,
        ),
    ] {
        assert_eq!(server.get(path).await.0, status, "{path}");
    }
    for body in [
        "{",
        "{}",
        r#"{"schedule":"ops","person":"jo","starts_at":1,"ends_at":2}"#,
    ] {
        assert_eq!(
            server.post("/api/alpha/v1/on-call/overrides", body).await.0,
            400,
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_hand_over_is_written_and_accepted() {
    let server = Server::new();
    let id = Uuid::from_u128(7);
    let report = format!(
        "{{\"id\":\"{id}\",\"schedule\":\"ops\",\"starts_at\":\"2026-01-01T09:00:00Z\",\
         \"ends_at\":\"2026-01-01T12:00:00Z\",\"outgoing\":[\"mei\"],\"incoming\":[\"jo\"]}}"
    );
    assert_eq!(server.post("/api/alpha/v1/handovers", &report).await.0, 200);
    let accept = format!("/api/alpha/v1/handovers/{id}/accept");
    assert_eq!(server.post(&accept, r#"{"by":"jo"}"#).await.0, 200);
    let (_, all) = server.get("/api/alpha/v1/handovers").await;
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all[0]["accepted"]["by"], "jo");
}

#[tokio::test]
async fn the_metrics_are_whole() {
    let server = Server::new();
    server
        .post("/api/v2/alerts", r#"[{"labels":{"a":"1"}},{"labels":{}}]"#)
        .await;
    let (status, text) = server.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    for line in [
        "alpha_alerts{state=\"active\"} 1",
        "alpha_alerts_received_total{status=\"firing\"} 1",
        "alpha_alerts_invalid_total 1",
        "alpha_alert_requests_failed_total 1",
        "alpha_alert_request_duration_seconds_count 1",
        "alpha_test 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing from\n{text}"
        );
    }
}
