//! Who is on call, by Alpha's own API.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use axum::routing::{delete, get, post};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Inbound;
use super::access::caller;
use super::api::{answer, body_of, refusal};
use super::refusal::Refusal;
use crate::command::Command;
use crate::error::Result;
use crate::oncall::{Duty, Gap, Handover, HandoverReport, Origin, Override, PersonName, Shift, Stint};

/// The longest time that shifts are listed for.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366);

pub(super) fn routes() -> Router<Arc<Inbound>> {
    Router::new()
        .route("/api/alpha/v1/on-call", get(now))
        .route("/api/alpha/v1/on-call/shifts", get(shifts))
        .route(
            "/api/alpha/v1/on-call/overrides",
            get(overrides).post(put_override),
        )
        .route("/api/alpha/v1/on-call/overrides/{id}", delete(remove_override))
        .route("/api/alpha/v1/on-call/swaps", post(put_swap))
        .route("/api/alpha/v1/handovers", get(handovers).post(put_handover))
        .route("/api/alpha/v1/handovers/{id}/accept", post(accept_handover))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NowQuery {
    /// When. Default: now.
    at: Option<Timestamp>,
}

/// Who is on duty by one schedule.
#[derive(Serialize)]
struct OnDuty {
    schedule: String,
    #[serde(flatten)]
    duty: Duty,
    /// When others take over.
    next: Option<Handover>,
}

async fn now(
    State(inbound): State<Arc<Inbound>>,
    Query(query): Query<NowQuery>,
) -> Result<Response, Refusal> {
    let at = query.at.unwrap_or_else(|| inbound.backend.now());
    let mut all = Vec::new();
    inbound.backend.on_call(&mut |on_call, overrides| {
        all.extend(on_call.schedules().iter().map(|schedule| OnDuty {
            schedule: schedule.name().to_owned(),
            duty: schedule.duty_at(at, overrides),
            next: schedule.next_handover(at, overrides),
        }));
    });
    answer(&all)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShiftsQuery {
    /// Which. Default: all.
    schedule: Option<String>,
    /// From when. Default: now.
    from: Option<Timestamp>,
    /// Until when, at most 366 days later. Default: four weeks later.
    to: Option<Timestamp>,
}

#[derive(Default, Serialize)]
struct Shifts {
    shifts: Vec<Shift>,
    gaps: Vec<Gap>,
}

async fn shifts(
    State(inbound): State<Arc<Inbound>>,
    Query(query): Query<ShiftsQuery>,
) -> Result<Response, Refusal> {
    let from = query.from.unwrap_or_else(|| inbound.backend.now());
    let weeks = SignedDuration::from_hours(24 * 28);
    let to = query
        .to
        .unwrap_or_else(|| from.saturating_add(weeks).unwrap_or(Timestamp::MAX));
    if to.duration_since(from) > LONGEST {
        return Err(Refusal::coded(
            400,
            "shifts are listed for at most 366 days".to_owned(),
        ));
    }
    let mut found: Result<Shifts> = Ok(Shifts::default());
    inbound.backend.on_call(&mut |on_call, overrides| {
        let one = query
            .schedule
            .as_deref()
            .map(|name| on_call.schedule(name))
            .transpose();
        found = one.map(|one| {
            let all = one.map_or(on_call.schedules(), std::slice::from_ref);
            Shifts {
                shifts: all
                    .iter()
                    .flat_map(|schedule| schedule.shifts(from, to, overrides))
                    .collect(),
                gaps: all
                    .iter()
                    .flat_map(|schedule| schedule.gaps(from, to, overrides))
                    .collect(),
            }
        });
    });
    answer(&found.map_err(|error| refusal(&error))?)
}

async fn overrides(State(inbound): State<Arc<Inbound>>) -> Result<Response, Refusal> {
    let mut all: Vec<Override> = Vec::new();
    inbound
        .backend
        .on_call(&mut |_, overrides| all.extend(overrides.iter().cloned()));
    all.sort_by_key(|entry| (entry.starts_at, entry.id));
    answer(&all)
}

/// Puts a person on duty for a time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PostedOverride {
    schedule: String,
    person: PersonName,
    /// In whose place. Default: everybody's.
    replaces: Option<PersonName>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    #[serde(default)]
    reason: String,
    /// Who makes it. Default: whom the token or password belongs to.
    by: Option<String>,
}

async fn put_override(State(inbound): State<Arc<Inbound>>, request: Request) -> Result<Response, Refusal> {
    let caller = caller(&request);
    let posted: PostedOverride = body_of(&inbound, "override", request).await?;
    let entry = Override {
        id: Uuid::new_v4(),
        schedule: posted.schedule,
        person: posted.person,
        replaces: posted.replaces,
        starts_at: posted.starts_at,
        ends_at: posted.ends_at,
        created_at: inbound.backend.now(),
        created_by: posted.by.unwrap_or(caller),
        reason: posted.reason,
        swapped_with: None,
    };
    put(&inbound, vec![entry]).await
}

/// Two people serve each other's time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PostedSwap {
    schedule: String,
    first: PostedStint,
    second: PostedStint,
    #[serde(default)]
    reason: String,
    /// Who makes it. Default: whom the token or password belongs to.
    by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PostedStint {
    person: PersonName,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

impl From<PostedStint> for Stint {
    fn from(posted: PostedStint) -> Self {
        Self {
            person: posted.person,
            starts_at: posted.starts_at,
            ends_at: posted.ends_at,
        }
    }
}

async fn put_swap(State(inbound): State<Arc<Inbound>>, request: Request) -> Result<Response, Refusal> {
    let caller = caller(&request);
    let posted: PostedSwap = body_of(&inbound, "swap", request).await?;
    let origin = Origin {
        at: inbound.backend.now(),
        by: posted.by.unwrap_or(caller),
        reason: posted.reason,
    };
    let ids = [Uuid::new_v4(), Uuid::new_v4()];
    let stints = [posted.first.into(), posted.second.into()];
    put(
        &inbound,
        Override::swap(ids, &posted.schedule, stints, &origin).into(),
    )
    .await
}

async fn put(inbound: &Inbound, entries: Vec<Override>) -> Result<Response, Refusal> {
    execute(inbound, Command::PutOverrides(entries.clone())).await?;
    answer(&entries)
}

async fn execute(inbound: &Inbound, command: Command) -> Result<(), Refusal> {
    let done = inbound.backend.execute(command).await;
    done.map_err(|error| refusal(&error))
}

fn uuid(text: &str) -> Result<Uuid, Refusal> {
    text.parse()
        .map_err(|_| Refusal::coded(400, format!("`{text}` is no identity: expected a UUID")))
}

/// Who does something.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Act {
    /// Who. Default: whom the token or password belongs to.
    by: Option<String>,
}

async fn remove_override(
    State(inbound): State<Arc<Inbound>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let by = caller(&request);
    let id = uuid(&id)?;
    execute(&inbound, Command::RemoveOverride { id, by }).await?;
    answer(&serde_json::json!({}))
}

async fn handovers(State(inbound): State<Arc<Inbound>>) -> Result<Response, Refusal> {
    let mut all = inbound.backend.handovers();
    all.sort_by_key(|report| (std::cmp::Reverse(report.ends_at), report.id));
    answer(&all)
}

async fn put_handover(State(inbound): State<Arc<Inbound>>, request: Request) -> Result<Response, Refusal> {
    let caller = caller(&request);
    let mut report: HandoverReport = body_of(&inbound, "hand-over report", request).await?;
    if report.created_by.is_empty() {
        report.created_by = caller;
    }
    execute(&inbound, Command::PutHandover(Box::new(report.clone()))).await?;
    answer(&report)
}

async fn accept_handover(
    State(inbound): State<Arc<Inbound>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let id = uuid(&id)?;
    let caller = caller(&request);
    let act: Act = body_of(&inbound, "acceptance", request).await?;
    let by = act.by.filter(|by| !by.is_empty()).unwrap_or(caller);
    execute(&inbound, Command::AcceptHandover { id, by }).await?;
    answer(&serde_json::json!({}))
}
