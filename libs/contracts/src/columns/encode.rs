//! Arrays to columns.

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, PrimitiveArray, UInt32Array},
    buffer::NullBuffer,
    compute::take,
    datatypes::{
        ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
        TimestampMicrosecondType,
    },
};
use bytes::Bytes;
use larder_types::{Error, Result};

use crate::types::v1::{Column, NamedColumn, TypeKind};

/// The column of an array whose type is one of those `ValueType::arrow` gives. INVALID_ARGUMENT for another type.
#[expect(clippy::wildcard_enum_match_arm, reason = "Arrow has many types, and columns are of few of them")]
pub fn encode(array: &dyn Array) -> Result<Column> {
    let length = u32::try_from(array.len())
        .map_err(|_| Error::invalid_argument(format!("a column has at most {} rows, not {}", u32::MAX, array.len())))?;
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let values = match array.data_type() {
        DataType::Boolean => Column { kind: TypeKind::Bool.into(), bools: bools(array, nulls), ..Column::default() },
        DataType::Int32 => Column {
            kind: TypeKind::Int32.into(),
            int32s: fixed(array.as_primitive::<Int32Type>(), nulls),
            ..Column::default()
        },
        DataType::Int64 => Column {
            kind: TypeKind::Int64.into(),
            int64s: fixed(array.as_primitive::<Int64Type>(), nulls),
            ..Column::default()
        },
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            Column { kind: TypeKind::Timestamp.into(), int64s: fixed(times, nulls), ..Column::default() }
        }
        DataType::Float32 => Column {
            kind: TypeKind::Float32.into(),
            floats: fixed(array.as_primitive::<Float32Type>(), nulls),
            ..Column::default()
        },
        DataType::Float64 => Column {
            kind: TypeKind::Float64.into(),
            doubles: fixed(array.as_primitive::<Float64Type>(), nulls),
            ..Column::default()
        },
        DataType::Utf8 => Column { kind: TypeKind::String.into(), strings: strings(array, nulls), ..Column::default() },
        DataType::Binary => Column { kind: TypeKind::Bytes.into(), blobs: blobs(array, nulls), ..Column::default() },
        DataType::List(_) => list(array.as_list::<i32>(), nulls)?,
        other => {
            return Err(Error::invalid_argument(format!(
                "a column of the Arrow type {other} cannot be sent: the types are bool, int32, int64, float32, float64, \
                 string, bytes, timestamp (microseconds, UTC) and lists of them"
            )));
        }
    };
    Ok(Column { length, validity: nulls.map(validity).unwrap_or_default(), ..values })
}

/// The same with a name. Errors name the column.
pub fn encode_named(name: &str, array: &dyn Array) -> Result<NamedColumn> {
    let column = encode(array).map_err(|error| error.context(format_args!("column `{name}`")))?;
    Ok(NamedColumn { name: name.to_owned(), column: Some(column) })
}

/// One bit a row from bit 0 on; the bits after the last row are 0.
fn validity(nulls: &NullBuffer) -> Bytes {
    let bits = nulls.inner().sliced();
    let mut bytes = bits.as_slice()[..nulls.len().div_ceil(8)].to_vec();
    if let (Some(last), used @ 1..) = (bytes.last_mut(), nulls.len() % 8) {
        *last &= (1 << used) - 1;
    }
    bytes.into()
}

fn fixed<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, nulls: Option<&NullBuffer>) -> Vec<T::Native> {
    let mut values = array.values().to_vec();
    if let Some(nulls) = nulls {
        let mut after = 0;
        for (start, end) in nulls.valid_slices() {
            values[after..start].fill(T::Native::default());
            after = end;
        }
        values[after..].fill(T::Native::default());
    }
    values
}

fn bools(array: &dyn Array, nulls: Option<&NullBuffer>) -> Vec<bool> {
    let values = array.as_boolean().values();
    match nulls {
        Some(nulls) => (values & nulls.inner()).iter().collect(),
        None => values.iter().collect(),
    }
}

fn strings(array: &dyn Array, nulls: Option<&NullBuffer>) -> Vec<String> {
    let array = array.as_string::<i32>();
    let one = |row| if is_null(nulls, row) { String::new() } else { array.value(row).to_owned() };
    (0..array.len()).map(one).collect()
}

/// One copy of all the bytes, shared by the rows.
fn blobs(array: &dyn Array, nulls: Option<&NullBuffer>) -> Vec<Bytes> {
    let array = array.as_binary::<i32>();
    let offsets = array.value_offsets();
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return Vec::new() };
    let at = |offset: i32| usize::try_from(offset - first).unwrap_or(0);
    let start = usize::try_from(*first).unwrap_or(0);
    let all = Bytes::copy_from_slice(&array.value_data()[start..start + at(*last)]);
    let one = |(row, ends): (usize, &[i32])| {
        if is_null(nulls, row) { Bytes::new() } else { all.slice(at(ends[0])..at(ends[1])) }
    };
    offsets.windows(2).enumerate().map(one).collect()
}

fn is_null(nulls: Option<&NullBuffer>, row: usize) -> bool {
    nulls.is_some_and(|nulls| nulls.is_null(row))
}

fn list(array: &ListArray, nulls: Option<&NullBuffer>) -> Result<Column> {
    let list_lengths: Vec<u32> = array
        .offsets()
        .windows(2)
        .enumerate()
        .map(|(row, ends)| if is_null(nulls, row) { 0 } else { u32::try_from(ends[1] - ends[0]).unwrap_or(0) })
        .collect();
    let items = encode(&items(array, &list_lengths)?)?;
    if items.kind == i32::from(TypeKind::List) {
        return Err(Error::invalid_argument("a column of lists of lists cannot be sent: items are single values"));
    }
    Ok(Column { kind: TypeKind::List.into(), list_lengths, items: Some(Box::new(items)), ..Column::default() })
}

/// The items of all rows, and only theirs: a null may hide some, which are left out.
fn items(array: &ListArray, lengths: &[u32]) -> Result<ArrayRef> {
    let offsets = array.value_offsets();
    let size = |offset: i32| usize::try_from(offset).unwrap_or(0);
    let (start, end) = (size(offsets[0]), size(offsets[array.len()]));
    let total: usize = lengths.iter().map(|length| *length as usize).sum();
    if total == end - start {
        return Ok(array.values().slice(start, total));
    }
    let rows = offsets.iter().zip(lengths);
    let indices = rows.flat_map(|(start, length)| {
        let start = u32::try_from(*start).unwrap_or(0);
        start..start + length
    });
    take(array.values(), &UInt32Array::from_iter_values(indices), None)
        .map_err(|error| Error::internal("taking the items of lists").with_source(error))
}
