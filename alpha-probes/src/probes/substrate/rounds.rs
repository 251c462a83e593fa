//! Who votes for finality, from snapshots of GRANDPA's rounds.
//!
//! Early in a round everybody is missing, so a round says nothing until its votes are in: it is judged once, by the
//! last that was seen of it, and rounds are counted, not snapshots.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::account::Account;

/// The answer of `grandpa_roundState`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoundState {
    /// Counts the sets of voters since genesis.
    pub(crate) set_id: u64,
    /// The round that the node is in.
    pub(crate) best: Round,
    /// Earlier rounds that the node has not closed yet.
    #[serde(default)]
    pub(crate) background: Vec<Round>,
}

/// One round of the vote.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Round {
    /// Counts the rounds of a set of voters.
    pub(crate) round: u64,
    /// All votes there are.
    pub(crate) total_weight: u64,
    /// So many make a block final.
    pub(crate) threshold_weight: u64,
    pub(crate) prevotes: Votes,
    pub(crate) precommits: Votes,
}

/// The votes of one kind in one round.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Votes {
    /// So many were seen.
    pub(crate) current_weight: u64,
    /// Whose were not, as addresses of their keys.
    pub(crate) missing: Vec<String>,
}

impl Round {
    /// Who voted in neither phase, where enough votes were seen for that to mean something.
    fn absent(&self) -> Option<BTreeSet<Account>> {
        if self.prevotes.current_weight < self.threshold_weight {
            return None;
        }
        let mut absent = keys(&self.prevotes);
        if self.precommits.current_weight >= self.threshold_weight {
            let late = keys(&self.precommits);
            absent.retain(|key| late.contains(key));
        }
        Some(absent)
    }
}

fn keys(votes: &Votes) -> BTreeSet<Account> {
    votes
        .missing
        .iter()
        .filter_map(|key| Account::parse(key))
        .collect()
}

/// A round that has not ended for so long will not end for want of time; what is missing by then is missing.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(15);

/// What is known of the vote as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quorum {
    /// All votes there are.
    pub(crate) total: u64,
    /// So many make a block final.
    pub(crate) threshold: u64,
    /// So many were cast.
    pub(crate) cast: u64,
    /// Whose votes are missing in the last round that could be judged.
    pub(crate) absent: BTreeSet<Account>,
    /// Whether that round is still open because too few vote.
    pub(crate) is_stuck: bool,
}

/// Counts for every voter the rounds that it let pass in a row.
#[derive(Debug, Default)]
pub(crate) struct RoundLedger {
    set_id: u64,
    current: Option<(Round, Instant)>,
    judged_until: u64,
    judged: u64,
    missed_in_a_row: HashMap<Account, u32>,
    quorum: Option<Quorum>,
}

impl RoundLedger {
    /// Takes a snapshot, seen at `now`.
    pub(crate) fn see(&mut self, state: RoundState, now: Instant) {
        if state.set_id != self.set_id {
            *self = Self {
                set_id: state.set_id,
                ..Self::default()
            };
        }
        for round in &state.background {
            self.judge(round);
        }
        match &mut self.current {
            Some((current, _)) if current.round == state.best.round => *current = state.best,
            current => {
                let previous = current.replace((state.best, now));
                if let Some((previous, _)) = previous {
                    self.judge(&previous);
                }
            }
        }
        if let Some((current, since)) = &self.current
            && now.saturating_duration_since(*since) >= STUCK_AFTER
        {
            self.quorum = Some(stuck(current));
        }
    }

    fn judge(&mut self, round: &Round) {
        if round.round <= self.judged_until {
            return;
        }
        let Some(absent) = round.absent() else {
            return;
        };
        self.judged_until = round.round;
        self.judged += 1;
        self.missed_in_a_row.retain(|key, _| absent.contains(key));
        for key in &absent {
            *self.missed_in_a_row.entry(*key).or_default() += 1;
        }
        let precommitted = round.precommits.current_weight;
        self.quorum = Some(Quorum {
            total: round.total_weight,
            threshold: round.threshold_weight,
            cast: round.prevotes.current_weight.max(precommitted),
            absent,
            is_stuck: false,
        });
    }

    /// The rounds in a row in which the voter with that key was missing.
    pub(crate) fn missed_in_a_row(&self, key: &Account) -> u32 {
        self.missed_in_a_row.get(key).copied().unwrap_or(0)
    }

    /// Whether the vote hangs in an open round and the voter with that key is one of those it waits for.
    pub(crate) fn is_waited_for(&self, key: &Account) -> bool {
        let quorum = self.quorum.as_ref();
        quorum.is_some_and(|quorum| quorum.is_stuck && quorum.absent.contains(key))
    }

    /// How many rounds were judged so far in this set of voters.
    pub(crate) fn judged(&self) -> u64 {
        self.judged
    }

    /// What the last round that could be judged says.
    pub(crate) fn quorum(&self) -> Option<&Quorum> {
        self.quorum.as_ref()
    }
}

/// What a round says that does not come to its end.
pub(crate) fn stuck(round: &Round) -> Quorum {
    let prevoted = round.prevotes.current_weight >= round.threshold_weight;
    let votes = if prevoted {
        &round.precommits
    } else {
        &round.prevotes
    };
    Quorum {
        total: round.total_weight,
        threshold: round.threshold_weight,
        cast: votes.current_weight,
        absent: keys(votes),
        is_stuck: votes.current_weight < round.threshold_weight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [[u8; 32]; 4] = [[1; 32], [2; 32], [3; 32], [4; 32]];

    fn votes(missing: &[usize]) -> Votes {
        Votes {
            current_weight: 4 - missing.len() as u64,
            missing: missing
                .iter()
                .map(|index| Account(KEYS[*index]).address(0))
                .collect(),
        }
    }

    fn round(round: u64, prevotes: &[usize], precommits: &[usize]) -> Round {
        Round {
            round,
            total_weight: 4,
            threshold_weight: 3,
            prevotes: votes(prevotes),
            precommits: votes(precommits),
        }
    }

    fn state(best: Round, background: Vec<Round>) -> RoundState {
        RoundState {
            set_id: 0,
            best,
            background,
        }
    }

    const ALL: &[usize] = &[0, 1, 2, 3];

    #[tokio::test(start_paused = true)]
    async fn a_round_is_judged_once_and_by_the_last_that_was_seen_of_it() {
        let mut ledger = RoundLedger::default();
        let now = Instant::now();
        // Everybody is missing at first, then only the fourth, in this round and the two after it.
        for number in 1..=4 {
            ledger.see(state(round(number, ALL, ALL), vec![]), now);
            ledger.see(state(round(number, &[3], ALL), vec![]), now);
        }
        assert_eq!(ledger.judged(), 3);
        assert_eq!(ledger.missed_in_a_row(&Account(KEYS[3])), 3);
        assert_eq!(ledger.missed_in_a_row(&Account(KEYS[0])), 0);
        // The fourth round, seen again in the background with the late vote in it.
        ledger.see(state(round(5, ALL, ALL), vec![round(4, &[], &[])]), now);
        assert_eq!(ledger.missed_in_a_row(&Account(KEYS[3])), 0);
        assert!(ledger.quorum().unwrap().absent.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_seen_too_early_to_judge_counts_for_nobody() {
        let mut ledger = RoundLedger::default();
        for number in 1..=9 {
            ledger.see(state(round(number, ALL, ALL), vec![]), Instant::now());
        }
        assert_eq!(ledger.judged(), 0);
        assert_eq!(ledger.quorum(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_does_not_end_names_who_is_missing() {
        let mut ledger = RoundLedger::default();
        ledger.see(state(round(7, &[2, 3], ALL), vec![]), Instant::now());
        assert_eq!(ledger.quorum(), None);
        tokio::time::advance(STUCK_AFTER).await;
        ledger.see(state(round(7, &[2, 3], ALL), vec![]), Instant::now());
        assert!(ledger.is_waited_for(&Account(KEYS[2])));
        assert!(!ledger.is_waited_for(&Account(KEYS[0])));
        let quorum = ledger.quorum().unwrap();
        assert!(quorum.is_stuck);
        assert_eq!(
            quorum.absent,
            BTreeSet::from([Account(KEYS[2]), Account(KEYS[3])])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_set_of_voters_starts_afresh() {
        let mut ledger = RoundLedger::default();
        for number in 1..=4 {
            ledger.see(state(round(number, &[3], &[3]), vec![]), Instant::now());
        }
        assert_eq!(ledger.missed_in_a_row(&Account(KEYS[3])), 3);
        let mut next = state(round(1, ALL, ALL), vec![]);
        next.set_id = 1;
        ledger.see(next, Instant::now());
        assert_eq!(ledger.missed_in_a_row(&Account(KEYS[3])), 0);
    }

    #[test]
    fn the_answer_of_a_real_node_is_read() {
        let state: RoundState = serde_json::from_str(
            r#"{"setId":0,"best":{"round":150,"totalWeight":4,"thresholdWeight":3,"prevotes":{"currentWeight":0,"missing":["12Xct2dQgcnXSNa9Kpf9KRRDWuTfJijiJC2y33rHK2hNkmUE","138m6FMgQs3mqvkcr9iac14tzAGg2R59ZwniVNTJaonBSSaZ","146SvjUZXoMaemdeiecyxgALeYMm8ZWh1yrGo8RtpoPfe7WL","15jftzMaVPDfhKQ98RbYZ82t1wNxNdw6cS8E6kgSmMhcrxVz"]},"precommits":{"currentWeight":0,"missing":[]}},"background":[{"round":149,"totalWeight":4,"thresholdWeight":3,"prevotes":{"currentWeight":4,"missing":[]},"precommits":{"currentWeight":4,"missing":[]}}]}"#,
        )
        .unwrap();
        assert_eq!(keys(&state.best.prevotes).len(), 4);
        assert_eq!(state.background[0].absent(), Some(BTreeSet::new()));
    }
}
