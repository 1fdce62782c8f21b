//! Instants: microseconds since the epoch, UTC.

use std::{fmt, str::FromStr, time::Duration};

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in microseconds since 1970-01-01T00:00:00Z. Finer times are rounded down before they become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

/// Why a text is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time: write RFC 3339, e.g. 2026-01-31T08:30:00Z (without a zone it is UTC), or a date")]
pub struct TimestampError(String);

impl Timestamp {
    /// The lowest instant: the created time of a row whose source has none.
    pub const MIN: Self = Self(i64::MIN);
    /// The greatest instant.
    pub const MAX: Self = Self(i64::MAX);

    /// Microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// That much earlier, at least [`Timestamp::MIN`].
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_micros(span)))
    }

    /// That much later, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(saturating_micros(span)))
    }

    /// The time from `earlier` to `self`, zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// The instant of a calendar time; `None` beyond what microseconds can count.
    pub fn to_datetime(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.0)
    }
}

fn saturating_micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_datetime() {
            Some(time) => f.pad(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{} µs since the epoch", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let zoned = || DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
        let zoneless = || {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
                .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"))
                .map(|time| time.and_utc())
        };
        let date =
            || NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| date.and_time(chrono::NaiveTime::MIN).and_utc());
        zoned()
            .or_else(|_| zoneless())
            .or_else(|_| date())
            .map(Self::from)
            .map_err(|_| TimestampError(text.chars().take(64).collect()))
    }
}

impl From<TimestampError> for crate::Error {
    fn from(error: TimestampError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// Microseconds, so that every instant is written and read exactly.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_zones_dates_and_zoneless_times_as_utc() {
        let expected = Timestamp::from_micros(1_769_848_200_000_000);
        for text in ["2026-01-31T08:30:00Z", "2026-01-31T10:30:00+02:00", "2026-01-31T08:30:00", "2026-01-31 08:30:00"]
        {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert_eq!("2026-01-31".parse::<Timestamp>().unwrap().to_string(), "2026-01-31T00:00:00Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MIN.minus(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.since(Timestamp::MAX), Duration::ZERO);
    }

    #[test]
    fn finer_times_are_rounded_down() {
        let time: Timestamp = "1969-12-31T23:59:59.9999999Z".parse().unwrap();
        assert_eq!(time.as_micros(), -1);
    }
}
