//! Rows of a row set that no watermark accounts for: of files that have gone or changed since they were read, of runs that
//! moved no watermark, and of what the view read when it was declared differently.
//!
//! They are online, and may have won against rows of equal times that the history has now. So the next run that moves
//! watermarks reads all files again that have event times in common with them. From then on they are met; and since their
//! corrections may come later, file by file, new files with such times replace too for [`LEFTOVERS_KEPT`].

use std::{collections::BTreeMap, time::Duration};

use larder_types::{Name, Timestamp};
use serde::{Deserialize, Serialize};

use super::{EventTimes, overlapping};

/// For how long what comes new may correct leftovers that were met.
pub const LEFTOVERS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Rows with some event times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// The later ones of a row set have greater numbers.
    pub number: u64,
    /// Where they came from.
    pub source: Name,
    /// Of the rows, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_times: Option<EventTimes>,
    /// When the registry was told or, if they were met, of that.
    pub noted_at: Timestamp,
    /// Whether a run has read again what they may have won against.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_met: bool,
}

impl Leftover {
    /// Whether a row of those times may tie with one of these.
    pub fn may_tie(&self, times: Option<EventTimes>) -> bool {
        EventTimes::may_meet(self.event_times, times)
    }

    /// Whether what comes new at that time may correct these.
    pub fn is_kept_at(&self, now: Timestamp) -> bool {
        !self.is_met || now.minus(LEFTOVERS_KEPT) <= self.noted_at
    }
}

/// Those of a row set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Leftovers {
    last: u64,
    pub(super) all: Vec<Leftover>,
}

impl Leftovers {
    /// Notes rows with these event times.
    pub(super) fn add(
        &mut self,
        rows: impl IntoIterator<Item = (Name, Option<EventTimes>)>,
        noted_at: Timestamp,
        is_met: bool,
    ) {
        for (source, event_times) in rows {
            self.last += 1;
            self.all.push(Leftover { number: self.last, source, event_times, noted_at, is_met });
        }
        self.all.retain(|leftover| leftover.is_kept_at(noted_at));
        self.join();
    }

    /// A run has met those up to that number: from then on what comes new may correct them for a while.
    pub(super) fn meet(&mut self, number: u64, at: Timestamp) {
        for leftover in self.all.iter_mut().filter(|leftover| leftover.number <= number && !leftover.is_met) {
            (leftover.is_met, leftover.noted_at) = (true, at);
        }
        self.join();
    }

    /// Of those that have event times in common, one stands for all: of a source, and of one time if they were met.
    fn join(&mut self) {
        let mut alike: BTreeMap<(Name, Option<Timestamp>), Vec<Leftover>> = BTreeMap::new();
        for leftover in self.all.drain(..) {
            let noted_at = leftover.is_met.then_some(leftover.noted_at);
            alike.entry((leftover.source.clone(), noted_at)).or_default().push(leftover);
        }
        for leftovers in alike.into_values() {
            let times: Vec<_> = leftovers.iter().map(|leftover| leftover.event_times).collect();
            let groups = overlapping(&times).into_iter();
            let joined = groups.filter_map(|group| group.into_iter().map(|at| leftovers[at].clone()).reduce(both));
            self.all.extend(joined);
        }
        self.all.sort_by_key(|leftover| leftover.number);
    }
}

fn both(one: Leftover, other: Leftover) -> Leftover {
    let event_times = one.event_times.zip(other.event_times).map(|(one, other)| one.with(other));
    let (number, noted_at) = (one.number.max(other.number), one.noted_at.max(other.noted_at));
    Leftover { number, event_times, noted_at, ..one }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_micros(days * 24 * 3_600_000_000)
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn times(first: i64, last: i64) -> Option<EventTimes> {
        Some(EventTimes { first: at(first), last: at(last) })
    }

    /// Number, source, days, whether it was met.
    fn shown(leftovers: &Leftovers) -> Vec<String> {
        let days = |times: EventTimes| {
            format!("{}-{}", times.first.as_micros() / at(1).as_micros(), times.last.as_micros() / at(1).as_micros())
        };
        let each = leftovers.all.iter();
        each.map(|leftover| {
            let times = leftover.event_times.map_or_else(|| "any".to_owned(), days);
            format!("{} {} {times}{}", leftover.number, leftover.source, if leftover.is_met { " met" } else { "" })
        })
        .collect()
    }

    #[test]
    fn those_that_were_not_met_are_kept_until_they_are_and_then_for_a_week() {
        let mut leftovers = Leftovers::default();
        leftovers.add([(name("a"), times(1, 3)), (name("a"), times(2, 5)), (name("b"), times(2, 4))], at(100), false);
        assert_eq!(shown(&leftovers), ["2 a 1-5", "3 b 2-4"]);
        leftovers.add([(name("a"), times(5, 6)), (name("a"), times(8, 9))], at(101), false);
        assert_eq!(shown(&leftovers), ["3 b 2-4", "4 a 1-6", "5 a 8-9"]);
        leftovers.meet(3, at(106));
        assert_eq!(shown(&leftovers), ["3 b 2-4 met", "4 a 1-6", "5 a 8-9"], "4 has rows that came later");
        leftovers.add([(name("b"), None)], at(107), true);
        assert_eq!(shown(&leftovers), ["3 b 2-4 met", "4 a 1-6", "5 a 8-9", "6 b any met"]);
        leftovers.add([(name("b"), times(1, 1))], at(114), true);
        assert_eq!(shown(&leftovers), ["4 a 1-6", "5 a 8-9", "6 b any met", "7 b 1-1 met"]);
        leftovers.meet(7, at(115));
        leftovers.add([], at(121), false);
        assert_eq!(shown(&leftovers), ["4 a 1-6 met", "5 a 8-9 met", "7 b 1-1 met"]);
        leftovers.add([], at(123), false);
        assert_eq!(shown(&leftovers), [""; 0]);
    }

    #[test]
    fn rows_tie_with_others_of_their_times_alone() {
        let leftover =
            |event_times| Leftover { number: 1, source: name("a"), event_times, noted_at: at(0), is_met: false };
        assert!(leftover(times(3, 5)).may_tie(times(5, 9)) && leftover(times(3, 5)).may_tie(None));
        assert!(leftover(None).may_tie(times(5, 9)) && !leftover(times(3, 5)).may_tie(times(6, 9)));
    }
}
