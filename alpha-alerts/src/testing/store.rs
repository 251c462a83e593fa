//! What every store has to pass.

#![expect(
    clippy::field_reassign_with_default,
    reason = "the few lists that a check is about read better one by one"
)]

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::alert::Alert;
use crate::audit::{self, AuditChain};
use crate::command::{Command, Signal};
use crate::error::ErrorKind;
use crate::incident::IncidentId;
use crate::label::Labels;
use crate::notification::{Event, GroupKey, IntegrationId, Notification, NotificationId, Reason};
use crate::severity::Severity;
use crate::store::{
    Cancel, Changes, Claim, Delivery, DeliveryState, Fence, Key, Kind, Lease, Settlement, Store, Suppressed,
    Suppression, TrailEntry, Verdict,
};

/// Runs everything that the contract of [`Store`] asks for against one that is empty.
///
/// # Panics
/// Where the store breaks its contract.
pub async fn conformance(store: &dyn Store) {
    assert!(!store.name().is_empty());
    let mut day = 0;
    macro_rules! run {
        ($($check:ident),* $(,)?) => {$({
            day += 1;
            let scene = Scene::new(store, day).await;
            $check(&scene).await;
            scene.finish().await;
        })*};
    }
    run!(
        nothing_is_in_an_empty_one,
        records_come_back,
        records_of_any_number_come_and_go,
        only_the_newest_leader_writes,
        a_commit_is_all_or_nothing,
        the_first_of_each_queue_is_claimed_at_once,
        the_next_is_told_after_the_one_before,
        the_most_severe_come_first,
        a_claim_is_limited_and_leaves_out,
        what_was_surely_not_told_is_merged,
        what_waited_behind_another_is_merged,
        what_may_have_been_told_is_told_again,
        a_claim_that_ran_out_is_another_worker_s,
        a_lost_claim_settles_nothing,
        pages_of_an_acknowledged_incident_are_taken_back,
        a_page_on_its_way_is_not_repeated_after_the_acknowledgement,
        news_do_not_go_down_with_a_page,
        a_retry_is_never_early,
        what_is_released_was_no_attempt,
        a_follow_up_comes_with_its_cause,
        commands_wait_in_order,
        the_trail_tells_what_became_of_it,
        notifications_are_listed_newest_first,
        the_audit_log_is_whole,
        what_is_old_is_forgotten,
        the_next_instant_is_that_of_a_head,
        a_new_leader_frees_the_dead_where_it_is_alone,
    );
}

/// One leader on one day, far from the days of other checks.
#[derive(Debug)]
struct Scene<'a> {
    store: &'a dyn Store,
    fence: Fence,
    now: Timestamp,
    day: i64,
}

/// 2026-06-01T12:00:00Z.
const NOON: i64 = 1_780_315_200;

const WORKER: &str = "worker-1";

impl<'a> Scene<'a> {
    async fn new(store: &'a dyn Store, day: i64) -> Self {
        let now = Timestamp::from_second(NOON + day * 86_400).expect("a day this side of 9999");
        let lease = Lease {
            holder: format!("holder-{day}"),
            now,
            until: now + SignedDuration::from_hours(1),
        };
        let fence = store.lead(&lease).await.expect("a store can be led");
        Self {
            store,
            fence: fence.expect("the lease of another day is over"),
            now,
            day,
        }
    }

    fn at(&self, second: i64) -> Timestamp {
        self.now + SignedDuration::from_secs(second)
    }

    fn notification(&self, group: &str, second: i64) -> Notification {
        let at = self.at(second);
        let labels = Labels::new([("alertname", group), ("second", &second.to_string())]);
        Notification {
            id: NotificationId(Uuid::new_v4()),
            receiver: Arc::from("ops"),
            integration: "ops/slack/0".into(),
            group: self.group(group),
            group_labels: Labels::new([("alertname", group)]),
            event: Event::Firing,
            reason: Reason::New,
            severity: Severity::P2,
            alerts: vec![Alert::firing(labels, at)],
            incident: None,
            created_at: at,
            late: None,
        }
    }

    fn page(&self, group: &str, second: i64, incident: u64) -> Notification {
        Notification {
            reason: Reason::Escalation {
                policy: "p0".to_owned(),
                step: 1,
                round: 1,
            },
            incident: Some(IncidentId(incident)),
            ..self.notification(group, second)
        }
    }

    /// A group that no other check has.
    fn group(&self, name: &str) -> GroupKey {
        format!("{{}}/{{day=\"{}\"}}:{{alertname={name:?}}}", self.day).into()
    }

    fn claim_of(&self, worker: &str, second: i64) -> Claim {
        Claim {
            worker: worker.to_owned(),
            now: self.at(second),
            until: self.at(second + 60),
        }
    }

    async fn commit(&self, changes: &Changes, second: i64) -> Vec<Delivery> {
        let claim = self.claim_of(WORKER, second);
        let committed = self.store.commit(self.fence, changes, &claim).await;
        committed.expect("the leader may write")
    }

    async fn tell(&self, notifications: &[Notification], second: i64) -> Vec<Delivery> {
        let mut changes = Changes::default();
        changes.notifications = notifications.to_vec();
        self.commit(&changes, second).await
    }

    async fn claim(&self, second: i64) -> Vec<Delivery> {
        let claim = self.claim_of(WORKER, second);
        self.store
            .claim(&claim, 100, &[])
            .await
            .expect("it can be claimed")
    }

    async fn settle(&self, notification: &Notification, second: i64, verdict: Verdict) {
        let settlement = self.settlement(notification, second, verdict);
        self.store
            .settle(WORKER, &[settlement])
            .await
            .expect("it can be settled");
    }

    fn settlement(&self, notification: &Notification, second: i64, verdict: Verdict) -> Settlement {
        Settlement {
            id: notification.id,
            at: self.at(second),
            verdict,
            follow_ups: Vec::new(),
        }
    }

    fn retry(&self, second: i64, is_certain: bool) -> Verdict {
        Verdict::Retry {
            not_before: self.at(second),
            because: "HTTP 500".to_owned(),
            is_certain,
        }
    }

    fn release(&self, second: i64) -> Verdict {
        Verdict::Released {
            not_before: self.at(second),
        }
    }

    async fn cancel(&self, incident: u64, second: i64) {
        let mut changes = Changes::default();
        changes.cancels = vec![acknowledged(incident)];
        self.commit(&changes, second).await;
    }

    async fn entry(&self, notification: &Notification) -> TrailEntry {
        let groups = std::slice::from_ref(&notification.group);
        let trail = self.store.trail(groups).await.expect("it can be read");
        let mut entries = trail.notifications.into_iter();
        entries
            .find(|entry| entry.notification.id == notification.id)
            .expect("a notification leaves a trail")
    }

    async fn state(&self, notification: &Notification) -> DeliveryState {
        self.entry(notification).await.state
    }

    async fn load(&self) -> Vec<(Key, Bytes)> {
        let mut records = self.store.load().await.expect("it can be read");
        records.sort();
        records
    }

    async fn next_due(&self) -> Option<Timestamp> {
        self.store.next_due().await.expect("it can be read")
    }

    /// Leaves no record, no command and nothing to tell behind.
    async fn finish(&self) {
        let records = self.load().await;
        let commands = self.store.submitted(1000).await.expect("it can be read");
        let mut changes = Changes::default();
        changes.deletes = records.into_iter().map(|(key, _)| key).collect();
        changes.consumed = commands.iter().map(|(position, _)| *position).collect();
        let lease = Lease {
            holder: format!("holder-{}", self.day),
            now: self.at(7200),
            until: self.at(7201),
        };
        let fence = self.store.lead(&lease).await.expect("a store can be led");
        let fence = fence.expect("every other lease is over");
        let committed = self
            .store
            .commit(fence, &changes, &self.claim_of(WORKER, 7200))
            .await;
        committed.expect("the leader may write");
        loop {
            let claimed = self.claim(40_000).await;
            if claimed.is_empty() {
                break;
            }
            for delivery in claimed {
                self.settle(&delivery.notification, 40_000, Verdict::Sent(None))
                    .await;
            }
        }
        assert_eq!(self.next_due().await, None);
    }
}

fn acknowledged(incident: u64) -> Cancel {
    Cancel {
        incident: IncidentId(incident),
        because: "acknowledged by mei".to_owned(),
    }
}

fn key(kind: Kind, id: &str) -> Key {
    Key { kind, id: id.into() }
}

fn sent(reference: &str) -> Verdict {
    Verdict::Sent(Some(reference.to_owned()))
}

fn ids(deliveries: &[Delivery]) -> Vec<NotificationId> {
    deliveries
        .iter()
        .map(|delivery| delivery.notification.id)
        .collect()
}

fn as_told(notifications: &[&Notification]) -> Vec<Delivery> {
    let told = notifications.iter().map(|notification| Delivery {
        notification: (*notification).clone(),
        attempts: 0,
    });
    told.collect()
}

async fn nothing_is_in_an_empty_one(scene: &Scene<'_>) {
    let store = scene.store;
    assert_eq!(scene.load().await, []);
    assert_eq!(scene.next_due().await, None);
    assert_eq!(scene.claim(0).await, []);
    assert!(store.submitted(10).await.expect("it can be read").is_empty());
    assert!(store.audit(0, 10).await.expect("it can be read").is_empty());
    let trail = store.trail(&[scene.group("none")]).await.expect("it can be read");
    assert!(trail.notifications.is_empty() && trail.suppressed.is_empty());
    assert_eq!(scene.commit(&Changes::default(), 0).await, []);
    assert_eq!(store.prune(scene.now).await.expect("it can be pruned"), 0);
    store
        .settle(WORKER, &[])
        .await
        .expect("nothing can be settled too");
    store.submit(&[]).await.expect("nothing can be submitted too");
}

async fn records_come_back(scene: &Scene<'_>) {
    let awkward = "{}/{x=\"C:\\\\data \u{0} 数据\n\"}:{}";
    let mut changes = Changes::default();
    changes.puts = vec![
        (key(Kind::Alert, "one"), Bytes::from_static(b"{\"a\":1}")),
        (
            key(Kind::Group, awkward),
            Bytes::from_static("{\"数\":2}".as_bytes()),
        ),
        (key(Kind::Alert, "twice"), Bytes::from_static(b"1")),
        (key(Kind::Alert, "twice"), Bytes::from_static(b"2")),
        (key(Kind::Alert, "gone"), Bytes::from_static(b"3")),
        (key(Kind::Silence, "one"), Bytes::new()),
    ];
    changes.deletes = vec![key(Kind::Alert, "gone"), key(Kind::Alert, "never there")];
    scene.commit(&changes, 0).await;
    let expected = [
        (key(Kind::Alert, "one"), Bytes::from_static(b"{\"a\":1}")),
        (key(Kind::Alert, "twice"), Bytes::from_static(b"2")),
        (
            key(Kind::Group, awkward),
            Bytes::from_static("{\"数\":2}".as_bytes()),
        ),
        (key(Kind::Silence, "one"), Bytes::new()),
    ];
    assert_eq!(scene.load().await, expected);

    let mut changes = Changes::default();
    changes.puts = vec![(key(Kind::Alert, "one"), Bytes::from_static(b"new"))];
    changes.deletes = vec![key(Kind::Alert, "twice"), key(Kind::Group, awkward)];
    scene.commit(&changes, 1).await;
    let expected = [
        (key(Kind::Alert, "one"), Bytes::from_static(b"new")),
        (key(Kind::Silence, "one"), Bytes::new()),
    ];
    assert_eq!(scene.load().await, expected);
}

async fn records_of_any_number_come_and_go(scene: &Scene<'_>) {
    let mut expected = std::collections::BTreeMap::new();
    let mut number = 0_u32;
    for count in [0, 1, 2, 7, 99, 100, 101, 1000, 1501, 3] {
        let mut changes = Changes::default();
        for index in 0..count {
            number += 1;
            // Some are new, and some are there.
            let id = format!("{}", if index % 3 == 0 { number / 2 } else { number });
            let body = Bytes::from(format!("{{\"number\":{number}}}"));
            changes.puts.push((key(Kind::Alert, &id), body));
        }
        for index in 0..count / 4 {
            changes
                .deletes
                .push(key(Kind::Alert, &format!("{}", number / 3 + index)));
        }
        expected.extend(changes.puts.iter().cloned());
        for gone in &changes.deletes {
            expected.remove(gone);
        }
        scene.commit(&changes, 0).await;
        let expected: Vec<_> = expected.clone().into_iter().collect();
        assert!(scene.load().await == expected, "after {count} records");
    }
}

async fn only_the_newest_leader_writes(scene: &Scene<'_>) {
    let store = scene.store;
    let lease = |holder: &str, second: i64| Lease {
        holder: holder.to_owned(),
        now: scene.at(second),
        until: scene.at(second + 10),
    };
    let lead = async |lease: Lease| store.lead(&lease).await.expect("a store can be led");
    let own = format!("holder-{}", scene.day);
    assert_eq!(lead(lease(&own, 0)).await, Some(scene.fence));
    let mut changes = Changes::default();
    changes.puts = vec![(key(Kind::Alert, "kept"), Bytes::from_static(b"1"))];
    scene.commit(&changes, 1).await;
    if store.is_shared() {
        assert_eq!(lead(lease("other", 9)).await, None);
        assert_eq!(lead(lease(&own, 9)).await, Some(scene.fence), "it still leads");
        assert_eq!(lead(lease("other", 18)).await, None, "the lease was renewed");
    }
    let second = lead(lease("other", 19)).await.expect("the lease is over");
    assert!(second > scene.fence);

    changes.puts = vec![(key(Kind::Alert, "kept"), Bytes::from_static(b"2"))];
    changes.notifications = vec![scene.notification("fenced", 0)];
    changes.audit = vec![AuditChain::default().append(scene.now, "mei", "test", String::new())];
    let claim = scene.claim_of(WORKER, 20);
    let error = store.commit(scene.fence, &changes, &claim).await;
    assert_eq!(error.expect_err("another leads").kind(), ErrorKind::Fenced);
    let error = store.commit(Fence(second.0 + 1), &changes, &claim).await;
    let error = error.expect_err("nobody has that fence yet");
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(
        scene.load().await,
        [(key(Kind::Alert, "kept"), Bytes::from_static(b"1"))]
    );
    assert_eq!(scene.next_due().await, None);
    assert!(store.audit(0, 10).await.expect("it can be read").is_empty());

    // What is long over cannot be given back, and what is given back is free.
    store.resign(scene.fence).await.expect("it can be given back");
    if store.is_shared() {
        assert_eq!(lead(lease("third", 20)).await, None);
    }
    store.resign(second).await.expect("it can be given back");
    let third = lead(lease("third", 20)).await.expect("nobody leads");
    assert!(third > second);
    changes.notifications.clear();
    changes.audit.clear();
    let committed = store.commit(third, &changes, &claim).await;
    committed.expect("the leader may write");
    assert_eq!(
        scene.load().await,
        [(key(Kind::Alert, "kept"), Bytes::from_static(b"2"))]
    );
    store.resign(third).await.expect("it can be given back");
}

async fn a_commit_is_all_or_nothing(scene: &Scene<'_>) {
    let store = scene.store;
    let mut chain = AuditChain::default();
    let first = chain.append(scene.now, "mei", "test", String::new());
    let before = scene.notification("before", 0);
    let mut changes = Changes::default();
    changes.audit = vec![first.clone()];
    changes.notifications = vec![before.clone()];
    scene.commit(&changes, 0).await;
    store
        .submit(&[heartbeat("a", scene.now)])
        .await
        .expect("it can be submitted");
    let waiting = store.submitted(10).await.expect("it can be read");

    let mut changes = Changes::default();
    changes.puts = vec![(key(Kind::Alert, "half"), Bytes::from_static(b"1"))];
    changes.suppressions = vec![suppressed(scene, "half", 0)];
    changes.consumed = vec![waiting[0].0];
    let half = scene.notification("half", 0);
    let claim = scene.claim_of(WORKER, 1);
    for (notification, entry) in [
        (half.clone(), first.clone()),
        (before, chain.append(scene.now, "mei", "test", String::new())),
    ] {
        changes.notifications = vec![half.clone(), notification];
        changes.audit = vec![entry];
        let error = store.commit(scene.fence, &changes, &claim).await;
        let error = error.expect_err("a part of it is there already");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert_eq!(scene.load().await, []);
        let trail = store.trail(std::slice::from_ref(&half.group)).await;
        assert_eq!(trail.expect("it can be read"), crate::store::Trail::default());
        assert_eq!(store.submitted(10).await.expect("it can be read"), waiting);
        assert_eq!(
            store.audit(0, 10).await.expect("it can be read"),
            std::slice::from_ref(&first)
        );
    }
    // And none of it stands in the way of the same without its mistake.
    changes.notifications = vec![half];
    changes.audit.clear();
    assert_eq!(scene.commit(&changes, 2).await.len(), 1);
    assert_eq!(scene.load().await.len(), 1);
    assert!(store.submitted(10).await.expect("it can be read").is_empty());
}

async fn the_first_of_each_queue_is_claimed_at_once(scene: &Scene<'_>) {
    let (one, two, other) = (
        scene.notification("a", 0),
        scene.notification("a", 1),
        scene.notification("b", 0),
    );
    let elsewhere = Notification {
        integration: "ops/email/0".into(),
        ..scene.notification("a", 0)
    };
    let all = [one.clone(), two.clone(), other.clone(), elsewhere.clone()];
    let claimed = scene.tell(&all, 1).await;
    assert_eq!(claimed, as_told(&[&one, &other, &elsewhere]));
    let three = scene.notification("a", 2);
    assert_eq!(scene.tell(std::slice::from_ref(&three), 2).await, []);
    assert_eq!(scene.claim(3).await, [], "what is claimed is nobody else's");
    for notification in [&one, &two, &other, &elsewhere, &three] {
        let entry = scene.entry(notification).await;
        assert_eq!(entry.notification, *notification);
        assert_eq!((entry.state, entry.attempts), (DeliveryState::Pending, 0));
    }
    // Many at once, each in its own queue.
    let many: Vec<_> = (0..700)
        .map(|index| scene.notification(&format!("many-{index}"), 3))
        .collect();
    let claimed = scene.tell(&many, 3).await;
    assert_eq!(claimed, as_told(&many.iter().collect::<Vec<_>>()));
    let settlements: Vec<_> = many
        .iter()
        .map(|notification| scene.settlement(notification, 4, sent("x")))
        .collect();
    scene
        .store
        .settle(WORKER, &settlements)
        .await
        .expect("it can be settled");
    for notification in many.iter().step_by(100) {
        assert_eq!(scene.state(notification).await, DeliveryState::Sent);
    }
}

async fn the_next_is_told_after_the_one_before(scene: &Scene<'_>) {
    let (one, two) = (scene.notification("a", 0), scene.notification("a", 1));
    scene.tell(std::slice::from_ref(&one), 0).await;
    scene.tell(std::slice::from_ref(&two), 1).await;
    assert_eq!(scene.claim(2).await, []);
    scene.settle(&one, 3, sent("x")).await;
    assert_eq!(scene.claim(4).await, as_told(&[&two]));
    scene.settle(&two, 5, sent("y")).await;
    assert_eq!(scene.claim(6).await, []);
    // With nothing before it, the next is told at once again.
    let three = scene.notification("a", 7);
    assert_eq!(
        scene.tell(std::slice::from_ref(&three), 7).await,
        as_told(&[&three])
    );
}

async fn the_most_severe_come_first(scene: &Scene<'_>) {
    let severities = [
        Severity::P2,
        Severity::P0,
        Severity::P3,
        Severity::P1,
        Severity::P0,
    ];
    let all: Vec<_> = severities
        .iter()
        .enumerate()
        .map(|(index, severity)| Notification {
            severity: *severity,
            ..scene.notification(&format!("queue-{index}"), index as i64)
        })
        .collect();
    scene.tell(&all, 5).await;
    for notification in &all {
        scene.settle(notification, 6, scene.release(6)).await;
    }
    let claim = scene.claim_of(WORKER, 7);
    let mut order = Vec::new();
    for _ in 0..3 {
        let claimed = scene.store.claim(&claim, 2, &[]).await;
        let claimed = claimed.expect("it can be claimed");
        order.extend(claimed.iter().map(|delivery| delivery.notification.severity));
    }
    assert_eq!(
        order,
        [
            Severity::P0,
            Severity::P0,
            Severity::P1,
            Severity::P2,
            Severity::P3
        ]
    );
}

async fn a_claim_is_limited_and_leaves_out(scene: &Scene<'_>) {
    let all: Vec<_> = (0..10)
        .map(|index| Notification {
            integration: IntegrationId::from(format!("ops/slack/{}", index % 2)),
            ..scene.notification(&format!("queue-{index}"), 0)
        })
        .collect();
    scene.tell(&all, 0).await;
    for notification in &all {
        scene.settle(notification, 1, scene.release(1)).await;
    }
    let claim = scene.claim_of(WORKER, 2);
    let except = ["ops/slack/0".into()];
    let some = scene.store.claim(&claim, 3, &except).await;
    let some = some.expect("it can be claimed");
    let rest = scene.store.claim(&claim, 100, &except).await;
    let rest = rest.expect("it can be claimed");
    assert_eq!((some.len(), rest.len()), (3, 2));
    let mut other = some.iter().chain(&rest);
    assert!(other.all(|delivery| delivery.notification.integration.as_str() == "ops/slack/1"));
    assert_eq!(scene.claim(3).await.len(), 5);
    assert!(
        scene
            .store
            .claim(&claim, 0, &[])
            .await
            .expect("it can be claimed")
            .is_empty()
    );
}

async fn what_was_surely_not_told_is_merged(scene: &Scene<'_>) {
    let one = Notification {
        severity: Severity::P0,
        ..scene.notification("a", 0)
    };
    let (two, three) = (scene.notification("a", 10), scene.notification("a", 20));
    scene.tell(std::slice::from_ref(&one), 0).await;
    scene.tell(&[two.clone(), three.clone()], 20).await;
    scene.settle(&one, 21, scene.retry(30, true)).await;
    assert_eq!(scene.claim(29).await, [], "the first of the queue must wait");

    let claimed = scene.claim(30).await;
    let merged = three
        .clone()
        .taking_in(&two.clone().taking_in(&one, "HTTP 500"), "HTTP 500");
    assert_eq!(
        claimed,
        [Delivery {
            notification: merged.clone(),
            attempts: 1
        }]
    );
    assert_eq!(merged.alerts.len(), 3);
    assert_eq!(merged.severity, Severity::P0);
    for taken_in in [&one, &two] {
        let entry = scene.entry(taken_in).await;
        assert_eq!(
            (entry.state, entry.merged_into),
            (DeliveryState::Merged, Some(three.id))
        );
        assert_eq!(entry.changed_at, scene.at(30));
        assert_eq!(entry.next_attempt_at, None);
        assert_eq!(entry.notification, *taken_in);
    }
    assert_eq!(scene.entry(&one).await.detail.as_deref(), Some("HTTP 500"));

    // Failing again, it takes in what came meanwhile.
    let four = scene.notification("a", 40);
    assert_eq!(scene.tell(std::slice::from_ref(&four), 40).await, []);
    let verdict = Verdict::Retry {
        not_before: scene.at(50),
        because: "HTTP 503".to_owned(),
        is_certain: true,
    };
    scene.settle(&three, 41, verdict).await;
    let expected = four.clone().taking_in(&merged, "HTTP 503");
    assert_eq!(
        scene.claim(50).await,
        [Delivery {
            notification: expected.clone(),
            attempts: 2
        }]
    );
    let late = expected.late.clone().expect("it is late");
    assert_eq!((late.since, late.merged), (scene.at(0), 3));
    scene.settle(&four, 51, sent("42")).await;
    let entry = scene.entry(&four).await;
    assert_eq!(entry.notification, expected);
    assert_eq!((entry.state, entry.attempts), (DeliveryState::Sent, 3));
    assert_eq!(entry.detail.as_deref(), Some("42"));
    assert_eq!(entry.changed_at, scene.at(51));
    assert_eq!(scene.state(&three).await, DeliveryState::Merged);
}

async fn what_waited_behind_another_is_merged(scene: &Scene<'_>) {
    let all: Vec<_> = (0..4).map(|index| scene.notification("a", index)).collect();
    scene.tell(&all, 4).await;
    scene.settle(&all[0], 5, sent("x")).await;
    let claimed = scene.claim(6).await;
    assert_eq!(ids(&claimed), [all[3].id]);
    let late = claimed[0].notification.late.as_ref().expect("it is late");
    assert_eq!((late.since, late.merged), (scene.at(1), 2));
    assert!(!late.because.is_empty());
    assert_eq!(claimed[0].notification.alerts.len(), 3);
    assert_eq!(claimed[0].attempts, 0);
}

async fn what_may_have_been_told_is_told_again(scene: &Scene<'_>) {
    let (one, two, three) = (
        scene.notification("a", 0),
        scene.notification("a", 1),
        scene.notification("a", 2),
    );
    scene.tell(&[one.clone(), two.clone(), three.clone()], 2).await;
    scene.settle(&one, 3, scene.retry(4, false)).await;
    let claimed = scene.claim(4).await;
    let again = Delivery {
        notification: one.clone(),
        attempts: 1,
    };
    assert_eq!(claimed, [again]);
    assert_eq!(scene.claim(5).await, []);
    // Being given back untried changes nothing about that.
    scene.settle(&one, 5, scene.release(5)).await;
    assert_eq!(ids(&scene.claim(6).await), [one.id]);
    scene.settle(&one, 7, sent("x")).await;
    let claimed = scene.claim(8).await;
    assert_eq!(ids(&claimed), [three.id]);
    // Surely refused the last time, it is merged like any other.
    scene.settle(&three, 9, scene.retry(10, false)).await;
    scene.claim(10).await;
    scene.settle(&three, 11, scene.retry(12, true)).await;
    let four = scene.notification("a", 12);
    scene.tell(std::slice::from_ref(&four), 12).await;
    assert_eq!(ids(&scene.claim(12).await), [four.id]);
}

async fn a_claim_that_ran_out_is_another_worker_s(scene: &Scene<'_>) {
    let (one, two) = (scene.notification("a", 0), scene.notification("a", 1));
    scene.tell(&[one.clone(), two.clone()], 0).await;
    let claim = scene.claim_of("worker-2", 59);
    let early = scene.store.claim(&claim, 10, &[]).await;
    assert_eq!(early.expect("it can be claimed"), []);
    let claim = scene.claim_of("worker-2", 60);
    let claimed = scene.store.claim(&claim, 10, &[]).await;
    // It may have been told, so it is told as it is.
    assert_eq!(claimed.expect("it can be claimed"), as_told(&[&one]));
    let settlement = scene.settlement(&one, 61, sent("x"));
    let settled = scene.store.settle("worker-2", &[settlement]).await;
    settled.expect("it can be settled");
    assert_eq!(scene.state(&one).await, DeliveryState::Sent);
}

async fn a_lost_claim_settles_nothing(scene: &Scene<'_>) {
    let one = scene.notification("a", 0);
    scene.tell(std::slice::from_ref(&one), 0).await;
    let claim = scene.claim_of("worker-2", 60);
    let claimed = scene.store.claim(&claim, 10, &[]).await;
    assert_eq!(claimed.expect("it can be claimed").len(), 1);
    let mut settlement = scene.settlement(&one, 61, sent("x"));
    settlement.follow_ups = vec![scene.notification("fallback", 61)];
    let follow_up = settlement.follow_ups[0].group.clone();
    let settled = scene
        .store
        .settle(WORKER, std::slice::from_ref(&settlement))
        .await;
    settled.expect("a lost claim is no error");
    let entry = scene.entry(&one).await;
    assert_eq!((entry.state, entry.attempts), (DeliveryState::Pending, 0));
    let trail = scene.store.trail(&[follow_up]).await.expect("it can be read");
    assert!(trail.notifications.is_empty());
    // Nor does settling twice.
    for reference in ["first", "second"] {
        let settlement = scene.settlement(&one, 62, sent(reference));
        let settled = scene.store.settle("worker-2", &[settlement]).await;
        settled.expect("it can be settled");
    }
    let entry = scene.entry(&one).await;
    assert_eq!((entry.attempts, entry.detail.as_deref()), (1, Some("first")));
}

async fn pages_of_an_acknowledged_incident_are_taken_back(scene: &Scene<'_>) {
    let (page, other, news) = (
        scene.page("a", 0, 7),
        scene.page("b", 0, 8),
        Notification {
            incident: Some(IncidentId(7)),
            ..scene.notification("c", 0)
        },
    );
    scene.tell(&[page.clone(), other.clone(), news.clone()], 0).await;
    for notification in [&page, &other, &news] {
        scene.settle(notification, 1, scene.retry(100, true)).await;
    }
    // What follows in the same transaction is not meant.
    let mut changes = Changes::default();
    changes.cancels = vec![acknowledged(7)];
    let later = scene.page("d", 2, 7);
    changes.notifications = vec![later.clone()];
    assert_eq!(scene.commit(&changes, 2).await, as_told(&[&later]));
    let entry = scene.entry(&page).await;
    assert_eq!(entry.state, DeliveryState::Cancelled);
    assert_eq!(entry.detail.as_deref(), Some("acknowledged by mei"));
    assert_eq!((entry.changed_at, entry.attempts), (scene.at(2), 1));
    for notification in [&other, &news, &later] {
        assert_eq!(scene.state(notification).await, DeliveryState::Pending);
    }
    let mut claimed = ids(&scene.claim(100).await);
    claimed.sort();
    let mut expected = vec![other.id, news.id, later.id];
    expected.sort();
    assert_eq!(claimed, expected);
}

async fn a_page_on_its_way_is_not_repeated_after_the_acknowledgement(scene: &Scene<'_>) {
    let pages: Vec<_> = (0..4)
        .map(|index| scene.page(&format!("queue-{index}"), 0, 9))
        .collect();
    scene.tell(&pages, 0).await;
    scene.cancel(9, 1).await;
    for page in &pages {
        assert_eq!(scene.state(page).await, DeliveryState::Pending);
    }
    scene.settle(&pages[0], 2, scene.retry(3, false)).await;
    scene.settle(&pages[1], 2, scene.release(3)).await;
    scene.settle(&pages[2], 2, sent("x")).await;
    assert_eq!(scene.claim(60).await, [], "the claim of the last has run out");
    let state = async |index: usize| {
        let entry = scene.entry(&pages[index]).await;
        (entry.state, entry.detail)
    };
    let cancelled = || (DeliveryState::Cancelled, Some("acknowledged by mei".to_owned()));
    assert_eq!(state(0).await, cancelled());
    assert_eq!(state(1).await, cancelled());
    assert_eq!(state(2).await, (DeliveryState::Sent, Some("x".to_owned())));
    assert_eq!(state(3).await, cancelled());
}

async fn news_do_not_go_down_with_a_page(scene: &Scene<'_>) {
    let (news, page) = (scene.notification("a", 0), scene.page("a", 1, 11));
    scene.tell(&[news.clone(), page.clone()], 1).await;
    scene.settle(&news, 2, scene.retry(3, true)).await;
    assert_eq!(ids(&scene.claim(3).await), [page.id]);
    scene.settle(&page, 4, scene.retry(5, true)).await;
    scene.cancel(11, 5).await;
    assert_eq!(ids(&scene.claim(6).await), [page.id]);
    // Pages of the same incident are as pointless merged as they were each.
    let (one, two) = (scene.page("b", 10, 12), scene.page("b", 11, 12));
    scene.tell(&[one.clone(), two.clone()], 11).await;
    scene.settle(&one, 12, scene.retry(13, true)).await;
    assert_eq!(ids(&scene.claim(13).await), [two.id]);
    scene.settle(&two, 14, scene.retry(15, true)).await;
    scene.cancel(12, 15).await;
    assert_eq!(scene.state(&two).await, DeliveryState::Cancelled);
}

async fn a_retry_is_never_early(scene: &Scene<'_>) {
    let one = scene.notification("a", 0);
    scene.tell(std::slice::from_ref(&one), 0).await;
    let verdict = Verdict::Retry {
        not_before: scene.at(3) + SignedDuration::from_nanos(1),
        because: "HTTP 429".to_owned(),
        is_certain: true,
    };
    scene.settle(&one, 1, verdict).await;
    let entry = scene.entry(&one).await;
    assert!(entry.next_attempt_at > Some(scene.at(3)));
    assert_eq!(entry.detail.as_deref(), Some("HTTP 429"));
    assert!(scene.next_due().await > Some(scene.at(3)));
    assert_eq!(scene.claim(3).await, []);
    let claim = Claim {
        now: scene.at(3) + SignedDuration::from_micros(1),
        ..scene.claim_of(WORKER, 3)
    };
    let claimed = scene.store.claim(&claim, 10, &[]).await;
    assert_eq!(
        claimed.expect("it can be claimed"),
        [Delivery {
            notification: one,
            attempts: 1
        }]
    );
}

async fn what_is_released_was_no_attempt(scene: &Scene<'_>) {
    let one = scene.notification("a", 0);
    scene.tell(std::slice::from_ref(&one), 0).await;
    scene.settle(&one, 1, scene.release(5)).await;
    assert_eq!(scene.claim(4).await, []);
    assert_eq!(scene.entry(&one).await.next_attempt_at, Some(scene.at(5)));
    assert_eq!(scene.claim(5).await, as_told(&[&one]));
    // It surely was not told, so that it merges.
    let two = scene.notification("a", 6);
    scene.tell(std::slice::from_ref(&two), 6).await;
    scene.settle(&one, 7, scene.release(7)).await;
    assert_eq!(ids(&scene.claim(8).await), [two.id]);
}

async fn a_follow_up_comes_with_its_cause(scene: &Scene<'_>) {
    let one = scene.notification("a", 0);
    let fallback = Notification {
        integration: "fallback/email/0".into(),
        ..scene.notification("a", 2)
    };
    let second = Notification {
        integration: "fallback/log/0".into(),
        ..scene.notification("a", 2)
    };
    scene.tell(std::slice::from_ref(&one), 0).await;
    let mut settlement = scene.settlement(
        &one,
        2,
        Verdict::DeadLettered {
            because: "HTTP 400".to_owned(),
        },
    );
    settlement.follow_ups = vec![fallback.clone(), second.clone()];
    let settled = scene.store.settle(WORKER, &[settlement]).await;
    settled.expect("it can be settled");
    let entry = scene.entry(&one).await;
    assert_eq!((entry.state, entry.attempts), (DeliveryState::DeadLettered, 1));
    assert_eq!(entry.detail.as_deref(), Some("HTTP 400"));
    let mut claimed = scene.claim(2).await;
    claimed.sort_by_key(|delivery| delivery.notification.integration.clone());
    assert_eq!(claimed, as_told(&[&fallback, &second]));

    // One that is there already, told or not, is not added again.
    scene.settle(&fallback, 3, sent("x")).await;
    let two = scene.notification("b", 3);
    scene.tell(std::slice::from_ref(&two), 3).await;
    let mut settlement = scene.settlement(&two, 4, scene.retry(5, true));
    settlement.follow_ups = vec![fallback.clone(), second.clone()];
    let settled = scene.store.settle(WORKER, &[settlement]).await;
    settled.expect("it can be settled");
    assert_eq!(scene.state(&fallback).await, DeliveryState::Sent);
    assert_eq!(ids(&scene.claim(5).await), [two.id]);
}

fn heartbeat(name: &str, at: Timestamp) -> Command {
    Command::Heartbeat {
        name: name.to_owned(),
        signal: Signal::Success,
        at,
    }
}

async fn commands_wait_in_order(scene: &Scene<'_>) {
    let store = scene.store;
    let all: Vec<_> = (0..300)
        .map(|index| heartbeat(&format!("job-{index}"), scene.at(index)))
        .collect();
    store.submit(&all[..100]).await.expect("it can be submitted");
    store.submit(&all[100..]).await.expect("it can be submitted");
    let submitted = store.submitted(150).await.expect("it can be read");
    let commands: Vec<_> = submitted.iter().map(|(_, command)| command.clone()).collect();
    assert_eq!(commands, all[..150]);
    assert!(submitted.is_sorted_by(|(left, _), (right, _)| left < right));
    let mut changes = Changes::default();
    changes.consumed = submitted.iter().map(|(position, _)| *position).collect();
    scene.commit(&changes, 0).await;
    let rest = store.submitted(1000).await.expect("it can be read");
    let commands: Vec<_> = rest.iter().map(|(_, command)| command.clone()).collect();
    assert_eq!(commands, all[150..]);
    changes.consumed = rest.iter().map(|(position, _)| *position).collect();
    scene.commit(&changes, 0).await;
    // A position is never another command's, so that what is done with stays so.
    store.submit(&all[..1]).await.expect("it can be submitted");
    let next = store.submitted(10).await.expect("it can be read");
    assert!(next[0].0 > rest[rest.len() - 1].0);
}

fn suppressed(scene: &Scene<'_>, group: &str, second: i64) -> Suppressed {
    Suppressed {
        at: scene.at(second),
        group: scene.group(group),
        receiver: Arc::from("ops"),
        alerts: vec![Labels::new([("alertname", group)]).fingerprint()],
        by: Suppression::Silence("maintenance".to_owned()),
    }
}

async fn the_trail_tells_what_became_of_it(scene: &Scene<'_>) {
    let (one, two, other) = (
        scene.notification("a", 0),
        scene.notification("b", 1),
        scene.notification("c", 2),
    );
    let mut changes = Changes::default();
    changes.notifications = vec![one.clone(), other];
    changes.suppressions = vec![
        suppressed(scene, "b", 0),
        suppressed(scene, "a", 1),
        suppressed(scene, "c", 1),
    ];
    scene.commit(&changes, 0).await;
    changes.notifications = vec![two.clone()];
    changes.suppressions = vec![suppressed(scene, "a", 2)];
    scene.commit(&changes, 1).await;
    scene.settle(&one, 3, sent("ref")).await;
    scene.settle(&two, 4, scene.retry(9, true)).await;
    let groups = [scene.group("b"), scene.group("a"), scene.group("none")];
    let trail = scene.store.trail(&groups).await.expect("it can be read");
    assert_eq!(
        trail.notifications,
        [
            TrailEntry {
                notification: one,
                state: DeliveryState::Sent,
                attempts: 1,
                changed_at: scene.at(3),
                detail: Some("ref".to_owned()),
                merged_into: None,
                next_attempt_at: None,
            },
            TrailEntry {
                notification: two,
                state: DeliveryState::Pending,
                attempts: 1,
                changed_at: scene.at(4),
                detail: Some("HTTP 500".to_owned()),
                merged_into: None,
                next_attempt_at: Some(scene.at(9)),
            },
        ]
    );
    assert_eq!(
        trail.suppressed,
        [
            suppressed(scene, "b", 0),
            suppressed(scene, "a", 1),
            suppressed(scene, "a", 2)
        ]
    );
}

async fn notifications_are_listed_newest_first(scene: &Scene<'_>) {
    let all: Vec<_> = (0..6)
        .map(|index| scene.notification(&format!("queue-{index}"), index))
        .collect();
    scene.tell(&all, 6).await;
    let dead = || Verdict::DeadLettered {
        because: "HTTP 400".to_owned(),
    };
    for index in [0, 2, 4] {
        scene.settle(&all[index], 7, dead()).await;
    }
    scene.settle(&all[1], 7, scene.retry(20, true)).await;
    let list = async |states: &[DeliveryState], limit: usize| {
        let listed = scene.store.notifications(states, limit).await;
        let listed = listed.expect("it can be read").into_iter();
        listed.map(|entry| entry.notification.id).collect::<Vec<_>>()
    };
    assert_eq!(
        list(&[DeliveryState::DeadLettered], 2).await,
        [all[4].id, all[2].id]
    );
    assert_eq!(
        list(&[DeliveryState::Pending], 10).await,
        [all[5].id, all[3].id, all[1].id]
    );
    let both = [DeliveryState::Pending, DeliveryState::DeadLettered];
    let newest: Vec<_> = all.iter().rev().map(|notification| notification.id).collect();
    assert_eq!(list(&both, 6).await, newest);
    assert_eq!(list(&[], 6).await, []);
}

async fn the_audit_log_is_whole(scene: &Scene<'_>) {
    let store = scene.store;
    let known = store.audit(0, 1000).await.expect("it can be read");
    let last = known.last().expect("an earlier check wrote one");
    let mut chain = AuditChain {
        sequence: last.sequence,
        hash: last.hash.clone(),
    };
    let new: Vec<_> = (0..250)
        .map(|index| chain.append(scene.at(index), "mei", "silence.put", format!("数 {index}")))
        .collect();
    let mut changes = Changes::default();
    for part in new.chunks(120) {
        changes.audit = part.to_vec();
        scene.commit(&changes, 0).await;
    }
    let all = store.audit(0, 1000).await.expect("it can be read");
    assert_eq!(all, [known.clone(), new.clone()].concat());
    assert_eq!(audit::first_break(&all), None);
    let part = store.audit(last.sequence + 5, 10).await.expect("it can be read");
    assert_eq!(part, new[5..15]);
    let none = store.audit(chain.sequence, 10).await.expect("it can be read");
    assert!(none.is_empty());
}

async fn what_is_old_is_forgotten(scene: &Scene<'_>) {
    let store = scene.store;
    // What other checks left is not counted.
    store.prune(scene.now).await.expect("it can be pruned");
    let audit = store.audit(0, 1000).await.expect("it can be read");
    let (done, waiting, recent) = (
        scene.notification("done", 0),
        scene.notification("waiting", 0),
        scene.notification("recent", 0),
    );
    let mut changes = Changes::default();
    changes.notifications = vec![done.clone(), waiting.clone(), recent.clone()];
    changes.suppressions = vec![suppressed(scene, "done", 0), suppressed(scene, "done", 10)];
    scene.commit(&changes, 0).await;
    scene.settle(&done, 1, sent("x")).await;
    scene.settle(&recent, 10, sent("x")).await;
    assert_eq!(store.prune(scene.at(1)).await.expect("it can be pruned"), 1);
    assert_eq!(store.prune(scene.at(10)).await.expect("it can be pruned"), 1);
    assert_eq!(store.prune(scene.at(10)).await.expect("it can be pruned"), 0);
    let groups = [done.group.clone(), waiting.group.clone(), recent.group.clone()];
    let trail = store.trail(&groups).await.expect("it can be read");
    let left: Vec<_> = trail
        .notifications
        .iter()
        .map(|entry| entry.notification.id)
        .collect();
    assert_eq!(left, [waiting.id, recent.id]);
    assert_eq!(trail.suppressed, [suppressed(scene, "done", 10)]);
    assert_eq!(store.audit(0, 1000).await.expect("it can be read"), audit);
    // More than any store would drop in one go.
    let many: Vec<_> = (0..2300)
        .map(|index| scene.notification(&format!("many-{index}"), 0))
        .collect();
    scene.tell(&many, 20).await;
    let settlements: Vec<_> = many
        .iter()
        .map(|notification| scene.settlement(notification, 21, sent("x")))
        .collect();
    let settled = store.settle(WORKER, &settlements).await;
    settled.expect("it can be settled");
    assert_eq!(store.prune(scene.at(22)).await.expect("it can be pruned"), 2302);
}

async fn the_next_instant_is_that_of_a_head(scene: &Scene<'_>) {
    let (one, two, other) = (
        scene.notification("a", 0),
        scene.notification("a", 1),
        scene.notification("b", 1),
    );
    scene.tell(&[one.clone(), two.clone()], 1).await;
    assert_eq!(scene.next_due().await, Some(scene.at(61)));
    scene.settle(&one, 2, scene.retry(100, true)).await;
    assert_eq!(
        scene.next_due().await,
        Some(scene.at(100)),
        "the second stands behind the first"
    );
    scene.tell(std::slice::from_ref(&other), 10).await;
    assert_eq!(scene.next_due().await, Some(scene.at(70)));
    scene.settle(&other, 11, scene.retry(90, true)).await;
    assert_eq!(scene.next_due().await, Some(scene.at(90)));
    assert_eq!(scene.claim(100).await.len(), 2);
    assert_eq!(scene.next_due().await, Some(scene.at(160)));
}

async fn a_new_leader_frees_the_dead_where_it_is_alone(scene: &Scene<'_>) {
    let (one, two) = (scene.notification("a", 0), scene.notification("a", 1));
    scene.tell(&[one.clone(), two.clone()], 1).await;
    let lease = Lease {
        holder: "the next".to_owned(),
        now: scene.at(2),
        until: scene.at(3),
    };
    let led = scene.store.lead(&lease).await.expect("a store can be led");
    assert_eq!(led.is_some(), !scene.store.is_shared());
    let claim = scene.claim_of("worker-2", 3);
    let claimed = scene.store.claim(&claim, 10, &[]).await;
    let claimed = claimed.expect("it can be claimed");
    if scene.store.is_shared() {
        assert_eq!(claimed, [], "the worker may be alive");
    } else {
        assert_eq!(claimed, as_told(&[&one]), "it may have been told");
    }
}
