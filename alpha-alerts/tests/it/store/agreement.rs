use alpha_alerts::incident::IncidentId;
use alpha_alerts::store::{
    Cancel, Delivery, DeliveryState, Fence, Settlement, Suppressed, Suppression, Verdict,
};
use alpha_alerts::{IntegrationId, Notification, Reason, Severity};

use super::*;

const GROUPS: u64 = 6;

/// Makes one of everything that can happen, at random.
struct Dice<N> {
    number: N,
    next_id: u128,
}

impl<N: FnMut(u64) -> u64> Dice<N> {
    fn group(&mut self) -> String {
        format!("{{}}:{{g=\"{}\"}}", (self.number)(GROUPS))
    }

    fn notification(&mut self, second: i64) -> Notification {
        self.next_id += 1;
        let group = self.group();
        let mut notification = notification(self.next_id, &group, second);
        notification.severity = Severity::ALL[(self.number)(4) as usize];
        notification.integration = format!("ops/slack/{}", (self.number)(2)).into();
        if (self.number)(3) == 0 {
            notification.incident = Some(IncidentId((self.number)(3)));
        }
        if (self.number)(3) == 0 {
            notification.reason = Reason::Escalation {
                policy: "p0".to_owned(),
                step: 1,
                round: 1,
            };
        }
        notification
    }

    fn changes(&mut self, second: i64) -> Changes {
        let mut changes = Changes::default();
        for _ in 0..(self.number)(12) {
            let id = (self.number)(40).to_string();
            let body = (self.number)(1000).to_string();
            changes.puts.push(put(&id, &body));
        }
        for _ in 0..(self.number)(6) {
            let id = (self.number)(40).to_string();
            changes.deletes.push(put(&id, "").0);
        }
        for _ in 0..(self.number)(5) {
            changes.notifications.push(self.notification(second));
        }
        if (self.number)(4) == 0 {
            changes.cancels.push(Cancel {
                incident: IncidentId((self.number)(3)),
                because: "acknowledged by mei".to_owned(),
            });
        }
        for _ in 0..(self.number)(3) {
            changes.suppressions.push(Suppressed {
                at: at(second),
                group: self.group().into(),
                receiver: Arc::from("ops"),
                alerts: Vec::new(),
                by: Suppression::NoIntegration,
            });
        }
        changes
    }

    fn settlement(&mut self, id: NotificationId, second: i64) -> Settlement {
        let not_before = at(second + (self.number)(30) as i64);
        let verdict = match (self.number)(6) {
            0 => Verdict::Sent(None),
            1 => Verdict::Sent(Some("reference".to_owned())),
            2 => Verdict::DeadLettered {
                because: "HTTP 400".to_owned(),
            },
            3 => Verdict::Released { not_before },
            certain => Verdict::Retry {
                not_before,
                because: "HTTP 500".to_owned(),
                is_certain: certain == 4,
            },
        };
        let follow_ups = match (self.number)(8) {
            0 => vec![self.notification(second)],
            _ => Vec::new(),
        };
        Settlement {
            id,
            at: at(second),
            verdict,
            follow_ups,
        }
    }
}

/// Whatever is done in whatever order, a database answers as memory does.
async fn agrees_with_memory(database: &dyn Store, seed: u64, rounds: i64) {
    let memory = MemoryStore::new();
    let stores: [&dyn Store; 2] = [&memory, database];
    let mut dice = Dice {
        number: numbers(seed),
        next_id: u128::from(seed) << 64,
    };
    let mut fences: Vec<Fence> = Vec::new();
    for store in stores {
        fences.push(lead(store, "first", 0).await);
    }
    let mut held: Vec<(String, NotificationId)> = Vec::new();
    let mut told = 0;
    for round in 1..=rounds {
        let second = round * 3;
        let worker = format!("worker-{}", (dice.number)(2));
        let claim = claim(&worker, second);
        let mut claimed: Vec<Vec<Delivery>> = Vec::new();
        match (dice.number)(10) {
            0..4 => {
                let changes = dice.changes(second);
                for (store, fence) in stores.iter().zip(&fences) {
                    claimed.push(store.commit(*fence, &changes, &claim).await.unwrap());
                }
            }
            4..7 => {
                let limit = (dice.number)(5) as usize;
                let except: &[IntegrationId] = match (dice.number)(4) {
                    0 => &["ops/slack/0".into()],
                    _ => &[],
                };
                for store in stores {
                    claimed.push(store.claim(&claim, limit, except).await.unwrap());
                }
            }
            _ => {
                let mut settlements = Vec::new();
                for _ in 0..(dice.number)(4) {
                    if !held.is_empty() {
                        let index = (dice.number)(held.len() as u64) as usize;
                        let (holder, id) = held.swap_remove(index);
                        settlements.push((holder, dice.settlement(id, second)));
                    }
                }
                for store in stores {
                    for (holder, settlement) in &settlements {
                        store
                            .settle(holder, std::slice::from_ref(settlement))
                            .await
                            .unwrap();
                    }
                }
            }
        }
        if let [expected, found] = &claimed[..] {
            assert_eq!(found, expected, "seed {seed}, round {round}");
            told += found.len();
            held.extend(
                found
                    .iter()
                    .map(|delivery| (worker.clone(), delivery.notification.id)),
            );
        }
        assert_eq!(
            database.next_due().await.unwrap(),
            memory.next_due().await.unwrap(),
            "seed {seed}, round {round}"
        );
        if round % 10 == 0 {
            assert_eq!(load(database).await, load(&memory).await, "seed {seed}");
            let groups: Vec<_> = (0..GROUPS)
                .map(|group| format!("{{}}:{{g=\"{group}\"}}").into())
                .collect();
            let found = database.trail(&groups).await.unwrap();
            let expected = memory.trail(&groups).await.unwrap();
            assert_eq!(found, expected, "seed {seed}, round {round}");
            let states = [DeliveryState::Pending, DeliveryState::Cancelled];
            assert_eq!(
                database.notifications(&states, 7).await.unwrap(),
                memory.notifications(&states, 7).await.unwrap()
            );
        }
        if round % 25 == 0 {
            let before = at(second - 60);
            assert_eq!(
                database.prune(before).await.unwrap(),
                memory.prune(before).await.unwrap()
            );
        }
        if round % 40 == 0 && !database.is_shared() {
            let holder = format!("holder-{round}");
            for (store, fence) in stores.iter().zip(&mut fences) {
                *fence = lead(*store, &holder, second).await;
            }
        }
    }
    assert!(
        told > 30,
        "only {told} were told in {rounds} rounds of seed {seed}"
    );
}

#[tokio::test]
async fn sqlite_does_as_memory_does() {
    for seed in 0..4 {
        let folder = TempDir::new().unwrap();
        agrees_with_memory(&sqlite(&folder).await, seed, 150).await;
    }
}

#[tokio::test]
async fn postgres_does_as_memory_does() {
    let server = testbed::need!(testbed::Postgres::start());
    agrees_with_memory(&postgres(&server).await, 7, 250).await;
}
