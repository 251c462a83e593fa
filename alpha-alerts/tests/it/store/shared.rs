use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use alpha_alerts::command::{Command, Signal};
use alpha_alerts::store::{DeliveryState, Settlement, Verdict};
use alpha_alerts::{Clock, GroupKey, SystemClock};
use tokio::time::Instant;

use super::*;

fn heartbeat(name: &str) -> Command {
    Command::Heartbeat {
        name: name.to_owned(),
        signal: Signal::Success,
        at: at(0),
    }
}

fn now_claim(worker: &str) -> Claim {
    let now = SystemClock.now();
    Claim {
        worker: worker.to_owned(),
        now,
        until: until_later(now),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_instances_tell_everything_once_and_in_order() {
    const NOTIFICATIONS: u128 = 5000;
    let server = testbed::need!(testbed::Postgres::start());
    let leader = postgres(&server).await;
    let fence = lead(&leader, "leader", 0).await;
    let groups: Vec<GroupKey> = (0..400).map(|group| format!("g{group}").into()).collect();
    // Of those that wait together the newest takes in the rest, so that what is told says which alerts it covers.
    let told: Arc<Mutex<HashMap<GroupKey, Vec<u128>>>> = Arc::default();
    let claimed: Arc<Mutex<HashSet<(NotificationId, u32)>>> = Arc::default();
    let mut workers = Vec::new();
    for worker in 0..3 {
        let store = postgres(&server).await;
        let (told, claimed) = (Arc::clone(&told), Arc::clone(&claimed));
        let groups = groups.clone();
        workers.push(tokio::spawn(async move {
            let name = format!("worker-{worker}");
            let begin = Instant::now();
            loop {
                let claim = now_claim(&name);
                let deliveries = store.claim(&claim, 16, &[]).await.unwrap();
                if deliveries.is_empty() {
                    let trail = store.notifications(&[DeliveryState::Pending], 1).await.unwrap();
                    let all = store.trail(&groups).await.unwrap().notifications.len() as u128;
                    if trail.is_empty() && all == NOTIFICATIONS {
                        return;
                    }
                    assert!(begin.elapsed() < Duration::from_secs(100), "some are never told");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let mut settlements = Vec::new();
                for delivery in deliveries {
                    let notification = delivery.notification;
                    assert!(
                        claimed
                            .lock()
                            .unwrap()
                            .insert((notification.id, delivery.attempts)),
                        "claimed twice: {notification:?}"
                    );
                    let id = notification.id.0.as_u128();
                    let is_refused = id % 17 == 0 && delivery.attempts == 0;
                    let verdict = if is_refused {
                        Verdict::Retry {
                            not_before: claim.now,
                            because: "HTTP 500".to_owned(),
                            is_certain: true,
                        }
                    } else {
                        let mut alerts: Vec<u128> = notification
                            .alerts
                            .iter()
                            .map(|alert| alert.name().parse().unwrap())
                            .collect();
                        alerts.sort_unstable();
                        let mut told = told.lock().unwrap();
                        told.entry(notification.group).or_default().extend(alerts);
                        Verdict::Sent(None)
                    };
                    settlements.push(Settlement {
                        id: notification.id,
                        at: claim.now,
                        verdict,
                        follow_ups: Vec::new(),
                    });
                }
                store.settle(&name, &settlements).await.unwrap();
            }
        }));
    }
    let ids: Vec<u128> = (1..=NOTIFICATIONS).collect();
    for part in ids.chunks(250) {
        let mut changes = Changes::default();
        changes.notifications = part
            .iter()
            .map(|id| notification(*id, groups[(*id as usize * 7) % groups.len()].as_str(), 0))
            .collect();
        let claim = now_claim("leader");
        let first = leader.commit(fence, &changes, &claim).await.unwrap();
        // Those claimed at once are given to everybody.
        let released: Vec<_> = first
            .iter()
            .map(|delivery| Settlement {
                id: delivery.notification.id,
                at: claim.now,
                verdict: Verdict::Released {
                    not_before: claim.now,
                },
                follow_ups: Vec::new(),
            })
            .collect();
        leader.settle("leader", &released).await.unwrap();
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let told = told.lock().unwrap();
    let mut all: Vec<u128> = told.values().flatten().copied().collect();
    for (group, ids) in &*told {
        assert!(ids.is_sorted(), "{group}: {ids:?}");
    }
    all.sort_unstable();
    assert_eq!(all, ids, "each alert is told once");
}

#[tokio::test]
async fn the_claims_of_a_dead_instance_come_back() {
    let server = testbed::need!(testbed::Postgres::start());
    let (dead, other) = (postgres(&server).await, postgres(&server).await);
    let fence = lead(&dead, "dead", 0).await;
    let mut changes = Changes::default();
    changes.notifications = (0..50).map(|id| notification(id, &format!("g{id}"), 0)).collect();
    let claimed = dead.commit(fence, &changes, &claim("dead", 0)).await.unwrap();
    assert_eq!(claimed.len(), 50);
    drop(dead);
    assert_eq!(other.next_due().await.unwrap(), Some(at(60)));
    assert_eq!(other.claim(&claim("other", 59), 100, &[]).await.unwrap(), []);
    let again = other.claim(&claim("other", 60), 100, &[]).await.unwrap();
    assert_eq!(again, claimed);
}

#[tokio::test]
async fn another_leads_three_seconds_after_a_leader_died() {
    let server = testbed::need!(testbed::Postgres::start());
    let (one, two) = (postgres(&server).await, postgres(&server).await);
    let lease = |holder: &str| {
        let now = SystemClock.now();
        Lease {
            holder: holder.to_owned(),
            now,
            until: now + SignedDuration::from_secs(2),
        }
    };
    let first = one.lead(&lease("one")).await.unwrap().unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(one.lead(&lease("one")).await.unwrap(), Some(first));
        assert_eq!(two.lead(&lease("two")).await.unwrap(), None);
    }
    let died = Instant::now();
    let second = loop {
        if let Some(fence) = two.lead(&lease("two")).await.unwrap() {
            break fence;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let elapsed = died.elapsed();
    assert!(elapsed > Duration::from_millis(1500), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    // The first was only slow, and does no harm.
    let changes = puts(vec![put("a", "1")]);
    let error = one.commit(first, &changes, &now_claim("one")).await.unwrap_err();
    assert_eq!(error.kind(), alpha_alerts::ErrorKind::Fenced);
    two.commit(second, &changes, &now_claim("two")).await.unwrap();
    // What is given back need not be waited for.
    two.resign(second).await.unwrap();
    assert!(one.lead(&lease("one")).await.unwrap() > Some(second));
}

#[tokio::test]
async fn an_instance_wakes_when_another_changes_something() {
    let mut server = testbed::need!(testbed::Postgres::start());
    let (one, two) = (postgres(&server).await, postgres(&server).await);
    let soon = Duration::from_secs(10);
    let woken = async || tokio::time::timeout(soon, one.wake()).await.expect("it wakes");
    let asleep = async || tokio::time::timeout(Duration::from_millis(300), one.wake()).await;
    // What happened before it listened may have been missed.
    woken().await;
    assert!(asleep().await.is_err());
    two.submit(&[heartbeat("a")]).await.unwrap();
    woken().await;
    assert!(asleep().await.is_err());
    // One that came while nobody waited is not lost.
    let fence = lead(&two, "two", 0).await;
    let mut changes = Changes::default();
    changes.notifications = vec![notification(1, "a", 0), notification(2, "a", 0)];
    two.commit(fence, &changes, &claim("two", 0)).await.unwrap();
    woken().await;
    // Its own changes are no news.
    one.submit(&[heartbeat("b")]).await.unwrap();
    assert!(asleep().await.is_err());
    // After the server was away, something may have been missed.
    let waiting = tokio::time::timeout(soon, async {
        one.wake().await;
        one.submitted(10).await.map(|commands| commands.len())
    });
    let restart = async {
        tokio::task::yield_now().await;
        server.kill();
        server.restart();
    };
    let (commands, ()) = tokio::join!(waiting, restart);
    assert_eq!(commands.expect("it wakes").unwrap(), 2);
    // And it hears the next word again, at the latest after it listened anew.
    let answer = tokio::time::timeout(soon, async {
        loop {
            tokio::select! {
                () = one.wake() => break,
                () = tokio::time::sleep(Duration::from_millis(500)) => two.submit(&[heartbeat("c")]).await.unwrap(),
            }
        }
    });
    answer.await.expect("it wakes");
}
