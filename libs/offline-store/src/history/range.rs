//! What part of a history is read, and how much was.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use larder_definitions::run::EventTimes;
use larder_types::Timestamp;
use serde::{Deserialize, Serialize};

/// Event times in [start, end), each unbounded where it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct TimeRange {
    /// Inclusive.
    pub start: Option<Timestamp>,
    /// Exclusive.
    pub end: Option<Timestamp>,
}

impl TimeRange {
    /// All times.
    pub const ALL: Self = Self { start: None, end: None };

    /// Just these times.
    pub fn of(times: EventTimes) -> Self {
        // After the greatest time of all there is none.
        let end = (times.last < Timestamp::MAX).then(|| Timestamp::from_micros(times.last.as_micros() + 1));
        Self { start: Some(times.first), end }
    }

    /// The times that both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let end = match (self.end, other.end) {
            (Some(one), Some(another)) => Some(one.min(another)),
            (end, None) | (None, end) => end,
        };
        Self { start: self.start.max(other.start), end }
    }

    /// Whether it holds this time.
    pub fn contains(self, time: Timestamp) -> bool {
        self.meets(time, time)
    }

    /// Whether it holds a time of [min, max].
    pub fn meets(self, min: Timestamp, max: Timestamp) -> bool {
        self.start.is_none_or(|start| max >= start) && self.end.is_none_or(|end| min < end)
    }
}

/// How many rows were read of sources. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct ReadCounts(Arc<[AtomicU64; 2]>);

impl ReadCounts {
    /// Rows read, the refused ones among them.
    pub fn read(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    /// Rows refused: a null event time or key.
    pub fn refused(&self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, read: usize, refused: usize) {
        self.0[0].fetch_add(read as u64, Ordering::Relaxed);
        self.0[1].fetch_add(refused as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_times_hold_the_last_one_too() {
        let at = Timestamp::from_micros;
        let of = |first, last| TimeRange::of(EventTimes { first, last });
        assert_eq!(of(at(3), at(5)), TimeRange { start: Some(at(3)), end: Some(at(6)) });
        assert!(of(at(3), Timestamp::MAX).contains(Timestamp::MAX));
        let later = TimeRange { start: Some(at(4)), end: None };
        assert_eq!(of(at(3), at(5)).and(later), TimeRange { start: Some(at(4)), end: Some(at(6)) });
        assert_eq!(later.and(of(at(3), at(5))), of(at(4), at(5)));
        assert_eq!(TimeRange::ALL.and(later), later);
    }

    #[test]
    fn ranges_are_half_open() {
        let at = Timestamp::from_micros;
        let range = TimeRange { start: Some(at(10)), end: Some(at(20)) };
        let held: Vec<i64> = (8..22).filter(|time| range.contains(at(*time))).collect();
        assert_eq!(held, (10..20).collect::<Vec<_>>());
        assert!(range.meets(at(0), at(10)) && range.meets(at(19), at(30)));
        assert!(!range.meets(at(0), at(9)) && !range.meets(at(20), at(30)));
    }
}
