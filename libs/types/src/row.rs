//! What is said of a row besides its values.

use std::fmt;

use crate::Timestamp;

/// The times that order the rows of a key. Rows of equal version are ordered by their encoded values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowVersion {
    /// When it happened.
    pub event_time: Timestamp,
    /// When it was recorded; [`Timestamp::MIN`] where the source does not say.
    pub created_time: Timestamp,
}

/// The four answers to "what is this feature's value?". The discriminants are the bytes on the wire.
///
/// All but [`Status::Present`] are null to a model, to expressions, in training and in every comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// There is a value.
    Present = 0,
    /// The row is here, and its value is null.
    Null = 1,
    /// Nothing is here: never written, deleted, dropped by the store, or a column that the row's schema lacks.
    NotFound = 2,
    /// The row is here, but older than the view's ttl.
    OutsideMaxAge = 3,
}

impl Status {
    /// Every status, in the order of its byte.
    pub const ALL: [Self; 4] = [Self::Present, Self::Null, Self::NotFound, Self::OutsideMaxAge];

    /// The byte on the wire.
    pub fn as_u8(self) -> u8 {
        self as u8
    }

    /// The status of a byte; `None` for one of a later release, which a client takes for null.
    pub fn from_u8(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// The name on the outside.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "PRESENT",
            Self::Null => "NULL",
            Self::NotFound => "NOT_FOUND",
            Self::OutsideMaxAge => "OUTSIDE_MAX_AGE",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_its_byte() {
        for status in Status::ALL {
            assert_eq!(Status::from_u8(status.as_u8()), Some(status));
        }
        assert_eq!(Status::from_u8(4), None);
    }
}
