//! Values written in the text.

use std::sync::Arc;

use datafusion_common::ScalarValue;
use datafusion_sql::sqlparser::ast::{DataType, Expr, Interval, TypedString, Value, ValueWithSpan};
use larder_types::{Error, ScalarType, Timestamp};

use super::Typed;
use crate::{
    kind::Kind,
    parse::{At, refuse},
};

/// A number, text, truth or null.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: a literal that is not named is refused")]
pub(crate) fn value(value: &ValueWithSpan) -> Result<Typed, Error> {
    let at = value.span.into();
    match &value.value {
        Value::Number(text, _) => number(text, at),
        Value::SingleQuotedString(text) => Ok(Typed::literal(ScalarValue::Utf8(Some(text.clone())), Kind::STRING, at)),
        Value::Boolean(value) => Ok(Typed::literal(ScalarValue::Boolean(Some(*value)), Kind::BOOL, at)),
        Value::Null => Ok(Typed::null(at)),
        Value::HexStringLiteral(text) => hex(text, at),
        Value::Placeholder(name) => {
            Err(refuse(at, format!("`{name}` is a placeholder; an expression reads inputs by their names")))
        }
        _ => Err(refuse(at, "this kind of literal is not available: write text as '…' and bytes as X'…'")),
    }
}

/// An integer of 64 bits, or a float64 where it has a point or an exponent. The text may begin with a minus.
pub(crate) fn number(text: &str, at: At) -> Result<Typed, Error> {
    let is_integer = text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit());
    let (value, kind) = if is_integer {
        let value = text
            .parse()
            .map_err(|_| refuse(at, format!("{text} does not fit int64; with a point, {text}.0, it is a float64")))?;
        (ScalarValue::Int64(Some(value)), Kind::INT64)
    } else {
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
        let value = value.ok_or_else(|| refuse(at, format!("{text} does not fit float64")))?;
        (ScalarValue::Float64(Some(value)), Kind::FLOAT64)
    };
    Ok(Typed { is_number_literal: true, ..Typed::literal(value, kind, at) })
}

/// Whether a number of the text has exactly the same value as a `scalar`.
pub(crate) fn fits(value: &ScalarValue, scalar: ScalarType) -> bool {
    match (value, scalar) {
        (ScalarValue::Int64(Some(value)), ScalarType::Int32) => i32::try_from(*value).is_ok(),
        (ScalarValue::Int64(Some(_)), ScalarType::Int64) | (ScalarValue::Float64(Some(_)), ScalarType::Float64) => true,
        (ScalarValue::Int64(Some(value)), ScalarType::Float32) => value.unsigned_abs() <= 1 << f32::MANTISSA_DIGITS,
        (ScalarValue::Int64(Some(value)), ScalarType::Float64) => value.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS,
        (ScalarValue::Float64(Some(value)), ScalarType::Float32) => {
            f64::from(*value as f32).to_bits() == value.to_bits()
        }
        _ => false,
    }
}

fn hex(text: &str, at: At) -> Result<Typed, Error> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect();
    let bytes =
        bytes.ok_or_else(|| refuse(at, format!("X'{text}' is not bytes: write pairs of hexadecimal digits")))?;
    Ok(Typed::literal(ScalarValue::Binary(Some(bytes)), Kind::scalar(ScalarType::Bytes), at))
}

/// `TIMESTAMP '…'`.
pub(crate) fn typed(text: &TypedString) -> Result<Typed, Error> {
    let at = text.value.span.into();
    let (DataType::Timestamp(None, _), Value::SingleQuotedString(value)) = (&text.data_type, &text.value.value) else {
        return Err(refuse(at, "of the typed literals only TIMESTAMP '…' is available"));
    };
    let instant: Timestamp = value.parse().map_err(|error| refuse(at, error))?;
    let value = ScalarValue::TimestampMicrosecond(Some(instant.as_micros()), Some(Arc::from("UTC")));
    Ok(Typed::literal(value, Kind::TIMESTAMP, at))
}

const UNITS: [(&str, i64); 8] = [
    ("week", 604_800_000_000),
    ("day", 86_400_000_000),
    ("hour", 3_600_000_000),
    ("minute", 60_000_000),
    ("second", 1_000_000),
    ("millisecond", 1_000),
    ("microsecond", 1),
    ("sec", 1_000_000),
];

/// `INTERVAL '…'`: a duration. Months and years have none.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: other literals are no interval")]
pub(crate) fn interval(interval: &Interval) -> Result<Typed, Error> {
    let Expr::Value(value) = &*interval.value else {
        return Err(Error::invalid_argument("an interval is written INTERVAL '1 day'"));
    };
    let at = value.span.into();
    let mut text = match &value.value {
        Value::SingleQuotedString(text) | Value::Number(text, _) => text.clone(),
        other => return Err(wrong_interval(&other.to_string(), at)),
    };
    if let Some(unit) = &interval.leading_field {
        text = format!("{text} {unit}");
    }
    let is_plain = interval.last_field.is_none()
        && interval.leading_precision.is_none()
        && interval.fractional_seconds_precision.is_none();
    let micros = is_plain.then(|| duration(&text)).flatten().ok_or_else(|| wrong_interval(&text, at))?;
    Ok(Typed::literal(ScalarValue::DurationMicrosecond(Some(micros)), Kind::Duration, at))
}

fn wrong_interval(text: &str, at: At) -> Error {
    let text: String = text.chars().take(64).collect();
    refuse(
        at,
        format!(
            "`{text}` is not an interval of a fixed length: write whole numbers of weeks, days, hours, minutes, seconds, milliseconds or microseconds, e.g. INTERVAL '1 day 12 hours'"
        ),
    )
}

fn duration(text: &str) -> Option<i64> {
    let words: Vec<_> = text.split_whitespace().collect();
    if words.is_empty() {
        return None;
    }
    words.chunks(2).try_fold(0_i64, |sum, pair| {
        let [number, unit] = pair else { return None };
        let unit = unit.to_lowercase();
        let (_, micros) = UNITS.iter().find(|(name, _)| *name == unit.strip_suffix('s').unwrap_or(&unit))?;
        sum.checked_add(number.parse::<i64>().ok()?.checked_mul(*micros)?)
    })
}
