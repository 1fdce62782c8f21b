//! Which pieces of a history can have rows of equal times.

use larder_types::Timestamp;
use serde::{Deserialize, Serialize};

/// The least and the greatest event time of some rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventTimes {
    /// The least.
    pub first: Timestamp,
    /// The greatest.
    pub last: Timestamp,
}

impl EventTimes {
    /// Those of any rows.
    pub const ALL: Self = Self { first: Timestamp::MIN, last: Timestamp::MAX };

    /// Those of no rows at all, which are before all others.
    pub const NONE: Self = Self { first: Timestamp::MIN, last: Timestamp::MIN };

    /// Whether there may be rows of one time in both; of one whose times are not known there may be any.
    pub fn may_meet(one: Option<Self>, other: Option<Self>) -> bool {
        let (one, other) = (one.unwrap_or(Self::ALL), other.unwrap_or(Self::ALL));
        one.first <= other.last && other.first <= one.last
    }

    /// Those of two pieces together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// Sorts pieces, by their positions, into groups that have no event time in common, the latest group first. A piece whose
/// times are not known may have any.
pub fn overlapping(pieces: &[Option<EventTimes>]) -> Vec<Vec<usize>> {
    let times = |piece: usize| pieces[piece].unwrap_or(EventTimes::ALL);
    let mut latest_first: Vec<usize> = (0..pieces.len()).collect();
    latest_first.sort_by_key(|piece| std::cmp::Reverse((times(*piece).last, times(*piece).first)));
    let mut groups: Vec<(Timestamp, Vec<usize>)> = Vec::new();
    for piece in latest_first {
        let EventTimes { first, last } = times(piece);
        match groups.last_mut() {
            Some((begin, group)) if last >= *begin => {
                *begin = first.min(*begin);
                group.push(piece);
            }
            Some(_) | None => groups.push((first, vec![piece])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces() -> impl Strategy<Value = Vec<Option<EventTimes>>> {
        let at = Timestamp::from_micros;
        let known = (0_i64..60, 0_i64..6)
            .prop_map(move |(first, length)| EventTimes { first: at(first), last: at(first + length) });
        proptest::collection::vec(proptest::option::weighted(0.97, known), 0..20)
    }

    proptest! {
        #[test]
        fn groups_are_what_overlaps_step_by_step(pieces in pieces()) {
            let groups = overlapping(&pieces);
            let times = |piece: usize| pieces[piece].unwrap_or(EventTimes::ALL);
            let meet = |a: usize, b: usize| times(a).first <= times(b).last && times(b).first <= times(a).last;
            // The naive way: who meets takes the other's name, until nobody does.
            let mut name: Vec<usize> = (0..pieces.len()).collect();
            for _ in 0..pieces.len() {
                for a in 0..pieces.len() {
                    for b in 0..pieces.len() {
                        if meet(a, b) {
                            name[a] = name[a].min(name[b]);
                        }
                    }
                }
            }
            let mut seen = vec![None; pieces.len()];
            for (number, group) in groups.iter().enumerate() {
                for piece in group {
                    prop_assert_eq!(seen[*piece].replace(number), None);
                }
            }
            for a in 0..pieces.len() {
                for b in 0..pieces.len() {
                    prop_assert_eq!(seen[a] == seen[b], name[a] == name[b]);
                    prop_assert!(seen[a].is_some());
                    prop_assert!(seen[a] >= seen[b] || times(a).first > times(b).last);
                }
            }
        }
    }
}
