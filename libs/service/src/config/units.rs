//! Values of configuration files: spans of time and sizes.

use std::{fmt, ops::Deref, str::FromStr, time::Duration};

use larder_types::{format_duration, parse_duration};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

/// A span of time: a whole number and `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl Deref for Span {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => f.write_str(&format_duration(self.0)),
            _ => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let millis = text.strip_suffix("ms").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let span = match millis.map(str::parse) {
            Some(Ok(millis)) => Some(Duration::from_millis(millis)),
            Some(Err(_)) => None,
            None => parse_duration(text).ok(),
        };
        span.map(Self).ok_or_else(|| {
            format!("`{text}` is not a span of time: write a whole number and ms, s, m, h or d, e.g. 500ms or 5s")
        })
    }
}

/// A number of bytes: a whole number, alone or with `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl ByteSize {
    /// So many MiB.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// As a size in memory.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZES.into_iter().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = SIZES
            .into_iter()
            .find_map(|(unit, size)| text.strip_suffix(unit).map(|digits| (digits.trim_end(), size)))
            .unwrap_or((text, 1));
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let number = if plain { digits.parse::<u64>().ok() } else { None };
        number.and_then(|number| number.checked_mul(unit)).map(Self).ok_or_else(|| {
            format!("`{text}` is not a size: write a whole number of bytes, or one with KiB, MiB or GiB, e.g. 16MiB")
        })
    }
}

macro_rules! as_text {
    ($($type:ident),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a whole number with its unit")
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }
    )*};
}

as_text!(Span, ByteSize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_what_they_write() {
        for text in ["500ms", "5s", "10m", "2h", "90d", "1500ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["0", "7", "1KiB", "16MiB", "3GiB", "1025"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for bad in ["", "5", "ms", "-1s", "1.5s", "s5"] {
            assert!(bad.parse::<Span>().unwrap_err().contains("span of time"), "{bad}");
        }
        for bad in ["", "-1", "16MB", "MiB", "99999999999GiB"] {
            assert!(bad.parse::<ByteSize>().unwrap_err().contains("not a size"), "{bad}");
        }
    }
}
