use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use alpha_alerts::audit::{self, AuditChain};
use alpha_alerts::store::{DeliveryState, Settlement, Suppressed, Suppression, Verdict};
use alpha_alerts::{Clock, GroupKey, SystemClock};

use super::*;

const GROUPS: u64 = 5;

/// Records of one commit.
const RECORDS: u64 = 3;

fn group(step: u64) -> String {
    format!("{{}}:{{g=\"{}\"}}", step % GROUPS)
}

/// Everything that step number `step` writes, which says so in each of its parts.
fn step_changes(step: u64, chain: &mut AuditChain, now: Timestamp) -> Changes {
    let mut changes = puts(
        (0..RECORDS)
            .map(|part| put(&format!("{step}/{part}"), &step.to_string()))
            .collect(),
    );
    changes.puts.push(put("last", &step.to_string()));
    if step >= 20 {
        changes.deletes = (0..RECORDS)
            .map(|part| put(&format!("{}/{part}", step - 20), "").0)
            .collect();
    }
    changes.notifications = vec![notification(u128::from(step), &group(step), 0)];
    changes.suppressions = vec![Suppressed {
        at: now,
        group: group(step).into(),
        receiver: step.to_string().into(),
        alerts: Vec::new(),
        by: Suppression::NoIntegration,
    }];
    changes.audit = vec![chain.append(now, "mei", "step", step.to_string())];
    changes
}

/// The last step that is written.
async fn last_step(store: &dyn Store) -> u64 {
    let records = load(store).await;
    let last = records.iter().find(|(key, _)| &*key.id == "last");
    last.map_or(0, |(_, body)| std::str::from_utf8(body).unwrap().parse().unwrap())
}

/// Leads, commits, claims and settles for ever, saying each time what was acknowledged.
#[tokio::test]
#[ignore = "run by other tests, which kill it"]
async fn for_ever() {
    let store = child_store().await.unwrap();
    let holder = Uuid::new_v4().to_string();
    let clock = SystemClock;
    let fence = loop {
        let lease = Lease {
            holder: holder.clone(),
            now: clock.now(),
            until: clock.now() + SignedDuration::from_millis(50),
        };
        match store.lead(&lease).await.unwrap() {
            Some(fence) => break fence,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let known = store.audit(0, usize::MAX).await.unwrap();
    let mut chain = known.last().map_or_else(AuditChain::default, |entry| AuditChain {
        sequence: entry.sequence,
        hash: entry.hash.clone(),
    });
    let mut step = last_step(&*store).await;
    println!("\nfrom {step}");
    loop {
        step += 1;
        let now = clock.now();
        // Short claims, so that those of the dead come back within a round or two.
        let claim = Claim {
            worker: holder.clone(),
            now,
            until: now + SignedDuration::from_millis(200),
        };
        let changes = step_changes(step, &mut chain, now);
        let mut told = store.commit(fence, &changes, &claim).await.unwrap();
        println!("kept {step}");
        if step % 3 == 0 {
            told.extend(store.claim(&claim, 4, &[]).await.unwrap());
        }
        let verdict = |id: u128| match id % 4 {
            0 => Verdict::Retry {
                not_before: now,
                because: "HTTP 500".to_owned(),
                is_certain: true,
            },
            _ => Verdict::Sent(Some(holder.clone())),
        };
        let settlements: Vec<_> = told
            .iter()
            .map(|delivery| Settlement {
                id: delivery.notification.id,
                at: now,
                verdict: verdict(delivery.notification.id.0.as_u128() + u128::from(delivery.attempts)),
                follow_ups: Vec::new(),
            })
            .collect();
        store.settle(&holder, &settlements).await.unwrap();
        for settlement in settlements {
            if let Verdict::Sent(_) = settlement.verdict {
                println!("sent {}", settlement.id.0.as_u128());
            }
        }
    }
}

/// What the children so far were told is done.
#[derive(Default)]
struct Acknowledged {
    step: u64,
    sent: BTreeSet<u128>,
}

impl Acknowledged {
    fn read(&mut self, output: &str) {
        for line in output.lines() {
            if let Some(step) = line.strip_prefix("kept ") {
                self.step = step.parse().unwrap();
            } else if let Some(id) = line.strip_prefix("sent ") {
                self.sent.insert(id.parse().unwrap());
            }
        }
    }

    /// Everything acknowledged is there, and all of what is there is there wholly.
    async fn check(&mut self, store: &dyn Store, when: &str) {
        let last = last_step(store).await;
        assert!(
            last == self.step || last == self.step + 1,
            "{when}: {last} is there, {} was acknowledged",
            self.step
        );
        self.step = last;
        let records = load(store).await;
        let records: BTreeMap<_, _> = records.into_iter().map(|(key, body)| (key.id, body)).collect();
        let first = last.saturating_sub(19).max(1);
        for step in first..=last {
            for part in 0..RECORDS {
                let body = records.get(format!("{step}/{part}").as_str());
                assert_eq!(
                    body.map(|body| &body[..]),
                    Some(step.to_string().as_bytes()),
                    "{when}"
                );
            }
        }
        let steps = last + 1 - first.min(last + 1);
        let expected = RECORDS * steps + u64::from(last > 0);
        assert_eq!(records.len() as u64, expected, "{when}");

        let audit = store.audit(0, usize::MAX).await.unwrap();
        assert_eq!(audit.len() as u64, last, "{when}");
        assert_eq!(audit::first_break(&audit), None, "{when}");

        let groups: Vec<GroupKey> = (0..GROUPS).map(|step| group(step).into()).collect();
        let trail = store.trail(&groups).await.unwrap();
        let suppressed = trail.suppressed.iter();
        let suppressed: Vec<u64> = suppressed.map(|entry| entry.receiver.parse().unwrap()).collect();
        assert_eq!(suppressed, (1..=last).collect::<Vec<_>>(), "{when}");
        let mut told: BTreeMap<GroupKey, u128> = BTreeMap::new();
        let mut ids = Vec::new();
        for entry in &trail.notifications {
            let notification = &entry.notification;
            let id = notification.id.0.as_u128();
            ids.push(u64::try_from(id).unwrap());
            if self.sent.contains(&id) {
                assert_eq!(entry.state, DeliveryState::Sent, "{when}: {id}");
            }
            // Nothing is told while something older of its group waits.
            let is_over = entry.state != DeliveryState::Pending;
            let before = told.entry(notification.group.clone()).or_insert(id);
            assert!(!is_over || *before == id, "{when}: {id} is over, {before} is not");
            if is_over {
                told.remove(&notification.group);
            }
            if entry.state == DeliveryState::Merged {
                let into = entry.merged_into.unwrap().0.as_u128();
                assert!(into > id, "{when}");
            }
        }
        assert_eq!(ids, (1..=last).collect::<Vec<_>>(), "{when}");
    }
}

#[expect(clippy::print_stdout, reason = "the seed must be seen")]
async fn nothing_acknowledged_is_lost(name: &str, store: impl AsyncFn() -> Arc<dyn Store>, rounds: u64) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut number = numbers(seed);
    let mut acknowledged = Acknowledged::default();
    let mut fruitful = 0;
    for round in 0..rounds {
        let mut child = child_command("store::kill::for_ever", name)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut output = String::new();
        // Some are killed while they open the store, most in the middle of writing.
        if round % 8 != 0 {
            let steps = 1 + number(6) as usize;
            while output.matches("kept ").count() < steps && stdout.read_line(&mut output).unwrap() > 0 {}
        }
        tokio::time::sleep(Duration::from_micros(number(20_000))).await;
        child.kill().unwrap();
        stdout.read_to_string(&mut output).unwrap();
        let mut complaints = String::new();
        let stderr = child.stderr.take().unwrap();
        BufReader::new(stderr).read_to_string(&mut complaints).unwrap();
        child.wait().unwrap();
        assert!(!complaints.contains("panicked"), "seed {seed}: {complaints}");
        // The last line may be cut.
        let whole = output.rfind('\n').map_or("", |end| &output[..end]);
        fruitful += u64::from(whole.contains("kept "));
        acknowledged.read(whole);
        acknowledged
            .check(&*store().await, &format!("seed {seed}, round {round}"))
            .await;
    }
    assert!(
        fruitful * 10 >= rounds * 7,
        "only {fruitful} of {rounds} rounds wrote anything"
    );
    assert!(
        acknowledged.sent.len() as u64 > rounds,
        "{}",
        acknowledged.sent.len()
    );
}

#[tokio::test]
async fn kill_minus_nine_loses_nothing_in_sqlite() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("alerts.db");
    nothing_acknowledged_is_lost(
        path.to_str().unwrap(),
        async || Arc::new(sqlite(&folder).await) as Arc<dyn Store>,
        60,
    )
    .await;
}

#[tokio::test]
async fn kill_minus_nine_loses_nothing_in_postgres() {
    let server = testbed::need!(testbed::Postgres::start());
    let store: Arc<dyn Store> = Arc::new(postgres(&server).await);
    nothing_acknowledged_is_lost(&server.url(), async || Arc::clone(&store), 60).await;
}
