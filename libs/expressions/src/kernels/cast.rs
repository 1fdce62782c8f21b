//! Casts. One that fails for a value gives null.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, PrimitiveArray, StringArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, TimestampMicrosecondType},
    util::display::FormatOptions,
};
use larder_types::{ScalarType, Timestamp};

use super::to_array;
use crate::{call::Kernel, kind::Kind};

/// How `from` becomes `to`; none where no cast is defined. Both are scalars, and not the same.
pub(crate) fn cast(from: ScalarType, to: ScalarType) -> Option<Kernel> {
    use ScalarType::{Bool, Bytes, Float32, Float64, Int32, Int64, String, Timestamp};
    match (from, to) {
        (Int32 | Int64 | Float32 | Float64, Int32 | Int64 | Float32 | Float64)
        | (Bool, Int32 | Int64 | Float32 | Float64)
        | (Int32 | Int64, Bool)
        | (Bool | Int32 | Int64 | Float32 | Float64 | Bytes, String)
        | (String, Bool | Int32 | Int64 | Float32 | Float64 | Bytes) => Some(by_arrow(to.arrow())),
        (String, Timestamp) => Some(parse_timestamp()),
        (Timestamp, String) => Some(format_timestamp()),
        (Bool | Bytes | Timestamp, _) | (Int32 | Int64 | Float32 | Float64 | String, _) => None,
    }
}

fn by_arrow(to: DataType) -> Kernel {
    let options = CastOptions { safe: true, format_options: FormatOptions::default() };
    Arc::new(move |arguments, rows| cast_with_options(&to_array(&arguments[0], rows)?, &to, &options))
}

fn parse_timestamp() -> Kernel {
    Arc::new(|arguments, rows| {
        let array = to_array(&arguments[0], rows)?;
        let parse = |text: Option<&str>| text?.trim().parse::<Timestamp>().ok().map(Timestamp::as_micros);
        let instants: PrimitiveArray<TimestampMicrosecondType> = array.as_string::<i32>().iter().map(parse).collect();
        Ok(Arc::new(instants.with_data_type(Kind::TIMESTAMP.arrow())))
    })
}

fn format_timestamp() -> Kernel {
    Arc::new(|arguments, rows| {
        let array = to_array(&arguments[0], rows)?;
        let format = |micros: Option<i64>| {
            let instant = Timestamp::from_micros(micros?);
            instant.to_datetime().map(|_| instant.to_string())
        };
        let texts: StringArray = array.as_primitive::<TimestampMicrosecondType>().iter().map(format).collect();
        Ok(Arc::new(texts) as ArrayRef)
    })
}
