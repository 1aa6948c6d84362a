//! Which positions are final, from what `pg_locks` shows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gnomon_model::Position;

/// Samples in flight. With more, the newest but one is given up, which costs
/// nothing but time.
const MAX_SAMPLES: usize = 64;

/// The transactions that may still commit a position, by virtual transaction
/// id, each with its process; a prepared transaction has none.
pub(super) type Holders = BTreeMap<String, Option<i32>>;

/// Positions up to `head` are final when all of `holders` have ended.
struct Sample {
    head: Position,
    holders: BTreeSet<String>,
}

/// All samples whose holders have not ended, oldest first.
#[derive(Default)]
pub(super) struct Samples {
    waiting: VecDeque<Sample>,
    /// The prepared transactions of the look before.
    prepared: BTreeSet<String>,
}

impl Samples {
    /// Takes in one look: `head` was read first, then who held locks. Gives
    /// the highest position that is now known to be final, if there is a new
    /// one.
    pub(super) fn look(&mut self, head: Position, holders: &Holders) -> Option<Position> {
        let prepared: BTreeSet<String> = holders
            .iter()
            .filter(|(_, process)| process.is_none())
            .map(|(transaction, _)| transaction.clone())
            .collect();
        for sample in &mut self.waiting {
            let before = sample.holders.len();
            sample.holders.retain(|holder| holders.contains_key(holder));
            // PREPARE TRANSACTION may give a transaction another virtual id:
            // the holder that is gone may be the prepared one that is new.
            if sample.holders.len() < before {
                let new = prepared.difference(&self.prepared).cloned();
                sample.holders.extend(new);
            }
        }
        self.prepared = prepared;
        if self.waiting.back().is_none_or(|newest| newest.head < head) {
            if self.waiting.len() == MAX_SAMPLES {
                self.waiting.pop_back();
            }
            self.waiting.push_back(Sample {
                head,
                holders: holders.keys().cloned().collect(),
            });
        }
        // Whoever may commit a lower position was a holder in every later
        // sample too, so the newest one without holders decides.
        let free = self
            .waiting
            .iter()
            .rposition(|sample| sample.holders.is_empty())?;
        let last = self.waiting.drain(..=free).next_back()?;
        Some(last.head)
    }

    /// Forgets samples that wait for what is known to be final otherwise.
    pub(super) fn passed(&mut self, safe: Position) {
        self.waiting.retain(|sample| sample.head > safe);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The transactions that the oldest sample waits for.
    pub(super) fn blockers(&self) -> Option<(Position, Vec<String>)> {
        self.waiting
            .front()
            .map(|sample| (sample.head, sample.holders.iter().cloned().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> Position {
        Position::new(number).unwrap()
    }

    fn holders(list: &[(&str, Option<i32>)]) -> Holders {
        list.iter()
            .map(|(id, process)| ((*id).to_owned(), *process))
            .collect()
    }

    #[test]
    fn without_holders_everything_is_final_at_once() {
        let mut samples = Samples::default();
        assert_eq!(samples.look(at(7), &holders(&[])), Some(at(7)));
        assert!(samples.is_empty());
    }

    #[test]
    fn a_sample_waits_for_its_own_holders_only() {
        let mut samples = Samples::default();
        let first = ("3/1", Some(30));
        let second = ("4/1", Some(40));
        assert_eq!(samples.look(at(5), &holders(&[first])), None);
        assert_eq!(samples.look(at(9), &holders(&[first, second])), None);
        // The first has ended: 5 is final, although the second goes on.
        assert_eq!(samples.look(at(9), &holders(&[second])), Some(at(5)));
        assert_eq!(samples.blockers(), Some((at(9), vec!["4/1".to_owned()])));
        // Its next transaction has another id.
        assert_eq!(
            samples.look(at(9), &holders(&[("4/2", Some(40))])),
            Some(at(9))
        );
    }

    #[test]
    fn a_transaction_that_is_prepared_under_another_id_is_still_waited_for() {
        let mut samples = Samples::default();
        assert_eq!(samples.look(at(5), &holders(&[("3/1", Some(30))])), None);
        assert_eq!(samples.look(at(5), &holders(&[("-1/77", None)])), None);
        assert_eq!(samples.look(at(5), &holders(&[("-1/77", None)])), None);
        assert_eq!(samples.look(at(5), &holders(&[])), Some(at(5)));
    }

    #[test]
    fn an_older_prepared_transaction_is_not_taken_for_one_that_ended() {
        let mut samples = Samples::default();
        let prepared = ("-1/70", None);
        // It was there when 3/1 was, so it cannot be 3/1.
        assert_eq!(samples.look(at(5), &holders(&[("3/1", Some(30))])), None);
        assert_eq!(
            samples.look(at(6), &holders(&[("3/1", Some(30)), prepared])),
            None
        );
        assert_eq!(samples.look(at(6), &holders(&[prepared])), Some(at(5)));
    }

    #[test]
    fn samples_are_bounded() {
        let mut samples = Samples::default();
        for number in 1..1_000 {
            assert_eq!(
                samples.look(at(number), &holders(&[("3/1", Some(30))])),
                None
            );
        }
        assert_eq!(samples.waiting.len(), MAX_SAMPLES);
        assert_eq!(samples.look(at(999), &holders(&[])), Some(at(999)));
    }
}
