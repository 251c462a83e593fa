//! Whose slot it was, and whether they used it.
//!
//! In BABE a slot is won by lot, which only the winner can prove, or falls to the one validator that the epoch's
//! randomness assigns to it. A slot without a block is therefore a slot that its assigned validator let pass. In Aura
//! every slot is assigned, by counting.

use std::collections::{BTreeMap, HashMap};

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use parity_scale_codec::Decode;

use super::account::Account;
use super::header::Claim;

/// How slots are given out at one time.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    /// The first slot this holds for.
    pub(crate) start: u64,
    /// The authorities, in the order that claims count them.
    pub(crate) authorities: Vec<Account>,
    assignment: Assignment,
}

#[derive(Clone, Debug)]
enum Assignment {
    /// By the epoch's randomness.
    Babe([u8; 32]),
    /// In turn.
    Aura,
    /// Slots are won by lot only, so that an empty one is nobody's.
    Nobody,
}

impl Slots {
    /// Slots in turn, as Aura gives them out.
    pub(crate) fn aura(authorities: Vec<Account>) -> Self {
        Self {
            start: 0,
            authorities,
            assignment: Assignment::Aura,
        }
    }

    /// Reads the answer of `BabeApi_current_epoch`.
    pub(crate) fn babe(mut epoch: &[u8]) -> Option<Self> {
        type Epoch = (u64, u64, u64, Vec<([u8; 32], u64)>, [u8; 32], (u64, u64), u8);
        let (_, start, _, authorities, randomness, _, allowed) = Epoch::decode(&mut epoch).ok()?;
        Some(Self {
            start,
            authorities: authorities.into_iter().map(|(key, _)| Account(key)).collect(),
            // 0 is "primary slots only"; 1 and 2 add the assigned ones, without and with a proof of randomness.
            assignment: if allowed == 0 {
                Assignment::Nobody
            } else {
                Assignment::Babe(randomness)
            },
        })
    }

    /// To whom `slot` is assigned; `None` where it is nobody's or before these slots begin.
    ///
    /// As `secondary_slot_author` of `sc-consensus-babe`: the hash of randomness and slot, modulo the authorities.
    pub(crate) fn assigned(&self, slot: u64) -> Option<u32> {
        let count = u64::try_from(self.authorities.len()).ok()?;
        if count == 0 || slot < self.start {
            return None;
        }
        match self.assignment {
            Assignment::Babe(randomness) => {
                let hash = Blake2b::<U32>::new()
                    .chain_update(randomness)
                    .chain_update(slot.to_le_bytes())
                    .finalize();
                let step = |remainder: u64, byte: &u8| (remainder * 256 + u64::from(*byte)) % count;
                u32::try_from(hash.iter().fold(0, step)).ok()
            }
            Assignment::Aura => u32::try_from(slot % count).ok(),
            Assignment::Nobody => None,
        }
    }

    /// Who made the block of `claim`.
    pub(crate) fn author(&self, claim: &Claim) -> Option<u32> {
        match claim.author {
            Some(author) if claim.slot >= self.start => Some(author),
            Some(_) => None,
            None => self.assigned(claim.slot),
        }
    }
}

/// What one validator did with its slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Diligence {
    /// Its own slots that passed without a block since its last one.
    pub(crate) missed_in_a_row: u32,
    /// How many of its slots were judged.
    pub(crate) judged: u32,
}

/// Judges every slot once, from blocks as they come.
#[derive(Debug, Default)]
pub(crate) struct SlotLedger {
    /// Up to which slot everything is judged.
    judged_until: Option<u64>,
    standing: HashMap<Account, Diligence>,
}

impl SlotLedger {
    /// Judges the slots between the blocks of `claims`, which follow one another without a gap in height.
    ///
    /// What was judged before is not judged again; where `claims` begin behind what was judged, the slots between are
    /// not counted for or against anybody.
    pub(crate) fn judge(&mut self, slots: &Slots, claims: &[Claim]) {
        let by_slot: BTreeMap<u64, &Claim> = claims.iter().map(|claim| (claim.slot, claim)).collect();
        let (Some((&first, _)), Some((&last, _))) = (by_slot.first_key_value(), by_slot.last_key_value())
        else {
            return;
        };
        // A stall of hours has many empty slots and tells nothing new about anybody.
        const MOST_EMPTY_SLOTS: u64 = 4096;
        let from = self.judged_until.map_or(first, |until| first.max(until + 1));
        for slot in from.max(last.saturating_sub(MOST_EMPTY_SLOTS))..=last {
            let author = by_slot.get(&slot).map(|claim| slots.author(claim));
            let assigned = slots.assigned(slot);
            match author {
                Some(Some(author)) => {
                    if let Some(standing) = self.standing(slots, author) {
                        *standing = Diligence {
                            missed_in_a_row: 0,
                            judged: standing.judged + 1,
                        };
                    }
                }
                // Somebody made the block, but in an epoch that is over and whose authorities are not known any more.
                Some(None) => {}
                None => {
                    if let Some(standing) = assigned.and_then(|index| self.standing(slots, index)) {
                        standing.missed_in_a_row += 1;
                        standing.judged += 1;
                    }
                }
            }
        }
        self.judged_until = self.judged_until.max(Some(last));
    }

    /// What is known of the authority with that key.
    pub(crate) fn diligence(&self, key: &Account) -> Diligence {
        self.standing.get(key).copied().unwrap_or_default()
    }

    /// Forgets everybody who is not in `authorities`, so that the ledger never outgrows the set.
    pub(crate) fn keep(&mut self, authorities: &[Account]) {
        self.standing.retain(|key, _| authorities.contains(key));
    }

    fn standing(&mut self, slots: &Slots, index: u32) -> Option<&mut Diligence> {
        let key = slots.authorities.get(usize::try_from(index).ok()?)?;
        Some(self.standing.entry(*key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    /// The first epoch of the chain of four validators, as its runtime told it.
    fn epoch() -> Slots {
        let bytes = hex::decode(
            "0x0000000000000000f9fbd51100000000580200000000000010d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d01000000000000008eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48010000000000000090b5ab205c6974c9ea841be688864633dc9ca8a357843eeacf2314649965fe220100000000000000306721211d5404bd9da88e0204360a1a9ab8b87c66c1bc2fcdd37f3c2222cc20010000000000000000000000000000000000000000000000000000000000000000000000000000000100000000000000040000000000000002",
        );
        Slots::babe(&bytes.unwrap()).unwrap()
    }

    fn claim(slot: u64, author: u32) -> Claim {
        Claim {
            slot,
            author: Some(author),
            is_primary: false,
        }
    }

    #[test]
    fn assigned_slots_are_those_that_the_node_itself_foresees() {
        // `babe_epochAuthorship` of the first validator in that epoch.
        let own = [
            299_236_347,
            299_236_349,
            299_236_351,
            299_236_357,
            299_236_359,
            299_236_362,
        ];
        let slots = epoch();
        let assigned: Vec<u64> = (299_236_347..=299_236_362)
            .filter(|slot| slots.assigned(*slot) == Some(0))
            .collect();
        // Those that it also won by lot are told as primary ones: 299236346 and 299236356.
        assert!(own.iter().all(|slot| assigned.contains(slot)), "{assigned:?}");
        assert!(
            assigned
                .iter()
                .all(|slot| own.contains(slot) || *slot == 299_236_356),
            "{assigned:?}"
        );
        assert_eq!(slots.assigned(slots.start - 1), None);
    }

    #[test]
    fn an_empty_slot_counts_against_its_validator_and_a_block_clears_it() {
        let slots = Slots::aura((0..4).map(|byte| Account([byte; 32])).collect());
        let mut ledger = SlotLedger::default();
        let third = slots.authorities[2];
        let made = |slots: &[u64]| -> Vec<Claim> {
            slots.iter().map(|slot| claim(*slot, (slot % 4) as u32)).collect()
        };
        ledger.judge(&slots, &made(&[100, 101, 103, 104]));
        assert_eq!(ledger.diligence(&third).missed_in_a_row, 1);
        // The same blocks again, and two more: nothing is counted twice.
        ledger.judge(&slots, &made(&[101, 103, 104, 105, 107]));
        let missed_two = Diligence {
            missed_in_a_row: 2,
            judged: 2,
        };
        assert_eq!(ledger.diligence(&third), missed_two);
        ledger.judge(&slots, &made(&[107, 110]));
        assert_eq!(ledger.diligence(&third).missed_in_a_row, 0);
        assert_eq!(ledger.diligence(&slots.authorities[0]).missed_in_a_row, 1);
        ledger.keep(&slots.authorities[2..]);
        assert_eq!(ledger.diligence(&slots.authorities[0]), Diligence::default());
    }

    #[test]
    fn a_slot_that_another_won_by_lot_is_not_missed() {
        let slots = epoch();
        let start = slots.start + 10;
        let other = |slot| (slots.assigned(slot).unwrap() + 1) % 4;
        let claims: Vec<Claim> = (start..start + 40).map(|slot| claim(slot, other(slot))).collect();
        let mut ledger = SlotLedger::default();
        ledger.judge(&slots, &claims);
        assert!(
            slots
                .authorities
                .iter()
                .all(|key| ledger.diligence(key).missed_in_a_row == 0)
        );
    }
}
