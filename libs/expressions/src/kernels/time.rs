//! Parts of instants, in UTC.

use std::sync::Arc;

use arrow::{
    array::{AsArray, Float64Array, Int64Array},
    datatypes::{DurationMicrosecondType, TimestampMicrosecondType},
};
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};

use super::{arithmetic, to_array};
use crate::call::Kernel;

/// What `date_part` can give of an instant, all but `epoch` as int64.
pub(crate) const PARTS: [&str; 13] =
    ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "dow", "isodow", "doy", "isoyear", "epoch"];

/// What `date_trunc` can round down to.
pub(crate) const UNITS: [&str; 8] = ["year", "quarter", "month", "week", "day", "hour", "minute", "second"];

/// A part of an instant; none for an unknown name and for `epoch`.
pub(crate) fn part(name: &str) -> Option<Kernel> {
    let part: fn(DateTime<Utc>) -> i64 = match name {
        "year" => |t| t.year().into(),
        "quarter" => |t| (t.month0() / 3 + 1).into(),
        "month" => |t| t.month().into(),
        "week" => |t| t.iso_week().week().into(),
        "day" => |t| t.day().into(),
        "hour" => |t| t.hour().into(),
        "minute" => |t| t.minute().into(),
        "second" => |t| t.second().into(),
        "dow" => |t| t.weekday().num_days_from_sunday().into(),
        "isodow" => |t| t.weekday().number_from_monday().into(),
        "doy" => |t| t.ordinal().into(),
        "isoyear" => |t| t.iso_week().year().into(),
        _ => return None,
    };
    Some(Arc::new(move |arguments, rows| {
        let array = to_array(&arguments[0], rows)?;
        let instants = array.as_primitive::<TimestampMicrosecondType>().iter();
        Ok(Arc::new(instants.map(|micros| DateTime::from_timestamp_micros(micros?).map(part)).collect::<Int64Array>()))
    }))
}

/// Seconds since the epoch.
pub(crate) fn epoch() -> Kernel {
    Arc::new(|arguments, rows| {
        let array = to_array(&arguments[0], rows)?;
        let instants = array.as_primitive::<TimestampMicrosecondType>().iter();
        Ok(Arc::new(instants.map(|micros| micros.map(seconds)).collect::<Float64Array>()))
    })
}

/// Seconds of a duration.
pub(crate) fn duration_seconds() -> Kernel {
    Arc::new(|arguments, rows| {
        let array = to_array(&arguments[0], rows)?;
        let durations = array.as_primitive::<DurationMicrosecondType>().iter();
        Ok(Arc::new(durations.map(|micros| micros.map(seconds)).collect::<Float64Array>()))
    })
}

/// Exact to the microsecond for 285 years around the epoch.
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// An instant rounded down; none for an unknown unit.
pub(crate) fn truncate(unit: &str) -> Option<Kernel> {
    let truncate: fn(NaiveDateTime) -> Option<NaiveDateTime> = match unit {
        "year" => |t| midnight(t.date().with_ordinal(1)),
        "quarter" => |t| midnight(NaiveDate::from_ymd_opt(t.year(), t.month0() / 3 * 3 + 1, 1)),
        "month" => |t| midnight(t.date().with_day(1)),
        "week" => |t| midnight(t.date().checked_sub_days(Days::new(t.weekday().num_days_from_monday().into()))),
        "day" => |t| midnight(Some(t.date())),
        "hour" => |t| at_time(t, t.hour(), 0, 0),
        "minute" => |t| at_time(t, t.hour(), t.minute(), 0),
        "second" => |t| at_time(t, t.hour(), t.minute(), t.second()),
        _ => return None,
    };
    Some(arithmetic::unary::<TimestampMicrosecondType, TimestampMicrosecondType>(move |micros| {
        let instant = DateTime::from_timestamp_micros(micros)?.naive_utc();
        micros_of(truncate(instant)?)
    }))
}

fn midnight(date: Option<NaiveDate>) -> Option<NaiveDateTime> {
    date.map(|date| date.and_time(NaiveTime::MIN))
}

fn at_time(instant: NaiveDateTime, hour: u32, minute: u32, second: u32) -> Option<NaiveDateTime> {
    instant.date().and_hms_opt(hour, minute, second)
}

/// Checked, though the years that chrono knows fit.
fn micros_of(instant: NaiveDateTime) -> Option<i64> {
    let instant = instant.and_utc();
    instant.timestamp().checked_mul(1_000_000)?.checked_add(instant.timestamp_subsec_micros().into())
}
