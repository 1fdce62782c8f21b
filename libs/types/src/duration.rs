//! Spans of time as users write them: `90d`, `12h`, `15m`, `30s`.

use std::time::Duration;

use crate::Error;

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Reads a whole number and a unit: `s`, `m`, `h` or `d`.
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    let wrong = || {
        Error::invalid_argument(format!(
            "`{}` is not a span of time: write a whole number and s, m, h or d, e.g. 90d or 12h",
            text.chars().take(64).collect::<String>()
        ))
    };
    let (unit, seconds) = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(wrong)?;
    let digits = &text[..text.len() - unit.len()];
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// Writes a span in the greatest unit that loses nothing; fractions of a second are dropped.
pub fn format_duration(span: Duration) -> String {
    let seconds = span.as_secs();
    let (unit, size) =
        UNITS.into_iter().find(|(_, size)| seconds >= *size && seconds.is_multiple_of(*size)).unwrap_or(("s", 1));
    format!("{}{unit}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["365d", "24h", "90m", "61s", "0s"] {
            let span = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&format_duration(span)).unwrap(), span);
        }
        assert_eq!(format_duration(Duration::from_secs(86_400)), "1d");
        for bad in ["", "d", "1", "1.5h", "-1d", "1w", "99999999999999999999d", "1 d", "+1d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
