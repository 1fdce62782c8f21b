//! Where in the log: one number per writer.

use std::{collections::BTreeMap, fmt, str::FromStr};

use larder_types::{Error, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::{NoContext, Uuid};

/// One run of one process that appends. It is never used again, so its numbers have one author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriterId(Uuid);

impl WriterId {
    /// A new one; later ones are greater, as far as clocks agree.
    pub fn new(now: Timestamp) -> Self {
        Self(time_ordered_id(now))
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for WriterId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |_| Error::invalid_argument(format!("`{text}` is not the id of a writer, which is a UUID"));
        Uuid::try_parse(text).map(Self).map_err(wrong)
    }
}

/// A UUID of version 7: it carries `now` in milliseconds, and is random otherwise.
pub(crate) fn time_ordered_id(now: Timestamp) -> Uuid {
    let micros = now.as_micros().max(0).unsigned_abs();
    let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, micros / 1_000_000, nanos))
}

/// The time in a [`time_ordered_id`].
pub(crate) fn time_of_id(id: Uuid) -> Option<Timestamp> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    let micros = i64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
    Some(Timestamp::from_micros(micros.checked_add(i64::from(nanos / 1_000))?))
}

/// A segment: the rows of one durable write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SegmentPosition {
    /// Who wrote it.
    pub writer: WriterId,
    /// Counted from 0, without holes.
    pub number: u64,
}

impl fmt::Display for SegmentPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.writer, self.number)
    }
}

/// A position in the log of a source: for each writer the last segment that is before or at it. The default is the
/// beginning.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogPosition(pub BTreeMap<WriterId, u64>);

impl LogPosition {
    /// The number of the first segment of `writer` after it.
    pub fn next_of(&self, writer: WriterId) -> u64 {
        self.0.get(&writer).map_or(0, |last| last.saturating_add(1))
    }

    /// Whether the segment is before or at it.
    pub fn contains(&self, segment: SegmentPosition) -> bool {
        segment.number < self.next_of(segment.writer)
    }

    /// Whether everything up to `other` is up to `self` too.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(writer, number)| self.contains(SegmentPosition { writer: *writer, number: *number }))
    }

    /// Moves it to the segment, unless it is there already.
    pub fn advance(&mut self, segment: SegmentPosition) {
        let last = self.0.entry(segment.writer).or_insert(segment.number);
        *last = segment.number.max(*last);
    }

    /// Moves it back before the segment, unless it is there already.
    pub fn retreat_before(&mut self, segment: SegmentPosition) {
        if self.contains(segment) {
            match segment.number.checked_sub(1) {
                Some(last) => self.0.insert(segment.writer, last),
                None => self.0.remove(&segment.writer),
            };
        }
    }

    /// The least position that covers both.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        for (writer, number) in &other.0 {
            self.advance(SegmentPosition { writer: *writer, number: *number });
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ordered_writer_by_writer() {
        let [a, b] = [1, 2].map(|seconds| WriterId::new(Timestamp::from_micros(seconds * 1_000_000)));
        assert!(a < b);
        let at = |numbers: &[(WriterId, u64)]| LogPosition(numbers.iter().copied().collect());
        assert!(at(&[(a, 1)]).covers(&at(&[(a, 1)])));
        assert!(at(&[(a, 1)]).covers(&LogPosition::default()));
        assert!(!at(&[(a, 1)]).covers(&at(&[(a, 1), (b, 0)])));
        assert_eq!(at(&[(a, 3)]).union(&at(&[(a, 1), (b, 0)])), at(&[(a, 3), (b, 0)]));
        assert_eq!((at(&[(a, 3)]).next_of(a), at(&[(a, 3)]).next_of(b)), (4, 0));
        let retreated = |mut position: LogPosition, number| {
            position.retreat_before(SegmentPosition { writer: a, number });
            position
        };
        assert_eq!(retreated(at(&[(a, 3), (b, 1)]), 3), at(&[(a, 2), (b, 1)]));
        assert_eq!(retreated(at(&[(a, 3), (b, 1)]), 0), at(&[(b, 1)]));
        assert_eq!(retreated(at(&[(a, 3)]), 4), at(&[(a, 3)]));
    }

    #[test]
    fn is_read_back_from_json_and_an_id_tells_its_time() {
        let now: Timestamp = "2026-01-31T08:30:00.123Z".parse().unwrap();
        let position = LogPosition([(WriterId::new(now), 7)].into());
        let json = serde_json::to_string(&position).unwrap();
        assert_eq!(serde_json::from_str::<LogPosition>(&json).unwrap(), position);
        assert_eq!(time_of_id(time_ordered_id(now)), Some(now));
        assert_eq!(time_of_id(Uuid::nil()), None);
    }
}
