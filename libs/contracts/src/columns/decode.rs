//! Columns to arrays. The message may come from anybody.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray},
    buffer::{Buffer, NullBuffer, OffsetBuffer},
    datatypes::{Field, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
    error::ArrowError,
};
use bytes::Bytes;
use larder_types::{Result, ScalarType};

use crate::{
    types::v1::{Column, NamedColumn},
    values::{Kind, read_kind},
    wire::Path,
};

/// The array of a column, of the type that `ValueType::arrow` gives for it.
///
/// INVALID_ARGUMENT where the parts contradict each other, UNIMPLEMENTED for a kind of a later release. Errors name `at`.
pub fn decode(column: Column, at: &Path<'_>) -> Result<ArrayRef> {
    let kind = read_kind(column.kind, at)?;
    let length = column.length as usize;
    check_lengths(&column, &kind, at)?;
    let Column {
        kind: _,
        length: _,
        validity,
        bools,
        int32s,
        int64s,
        floats,
        doubles,
        strings,
        blobs,
        list_lengths,
        items,
    } = column;
    let nulls = read_validity(validity, length, at)?;
    let array: Result<ArrayRef, ArrowError> = match kind {
        Kind::Scalar(ScalarType::Bool) => Ok(Arc::new(BooleanArray::new(bools.into(), nulls))),
        Kind::Scalar(ScalarType::Int32) => fixed::<Int32Type>(int32s, nulls),
        Kind::Scalar(ScalarType::Int64) => fixed::<Int64Type>(int64s, nulls),
        Kind::Scalar(ScalarType::Float32) => fixed::<Float32Type>(floats, nulls),
        Kind::Scalar(ScalarType::Float64) => fixed::<Float64Type>(doubles, nulls),
        Kind::Scalar(ScalarType::Timestamp) => times(int64s, nulls),
        Kind::Scalar(ScalarType::String) => {
            let (offsets, bytes) = joined(&strings, at)?;
            StringArray::try_new(offsets, bytes, nulls).map(|array| Arc::new(array) as ArrayRef)
        }
        Kind::Scalar(ScalarType::Bytes) => {
            let (offsets, bytes) = joined(&blobs, at)?;
            BinaryArray::try_new(offsets, bytes, nulls).map(|array| Arc::new(array) as ArrayRef)
        }
        Kind::List => return list(&list_lengths, items, nulls, at),
    };
    array.map_err(|error| at.invalid(error.to_string()))
}

/// Columns with their names, in the order given. INVALID_ARGUMENT also where a name is empty or comes twice.
pub fn decode_named(columns: Vec<NamedColumn>, at: &Path<'_>) -> Result<Vec<(String, ArrayRef)>> {
    let mut seen = BTreeSet::new();
    for (position, column) in columns.iter().enumerate() {
        if column.name.is_empty() {
            return Err(at.index(position).field("name").invalid("is missing: every column has a name"));
        }
        if !seen.insert(column.name.as_str()) {
            return Err(at.field(&column.name).invalid("this column is given twice"));
        }
    }
    let one = |NamedColumn { name, column }| {
        let array = decode(at.field(&name).required("column", column)?, &at.field(&name))?;
        Ok((name, array))
    };
    columns.into_iter().map(one).collect()
}

/// Only the field of the kind has values, one a row.
fn check_lengths(column: &Column, kind: &Kind, at: &Path<'_>) -> Result<()> {
    let (kind_name, used) = match kind {
        Kind::Scalar(scalar) => (scalar.as_str(), field_of(*scalar)),
        Kind::List => ("list", "list_lengths"),
    };
    let fields = [
        ("bools", column.bools.len()),
        ("int32s", column.int32s.len()),
        ("int64s", column.int64s.len()),
        ("floats", column.floats.len()),
        ("doubles", column.doubles.len()),
        ("strings", column.strings.len()),
        ("blobs", column.blobs.len()),
        ("list_lengths", column.list_lengths.len()),
    ];
    for (field, count) in fields {
        if field == used && count != column.length as usize {
            return Err(at.invalid(format!("`length` says {} rows, and `{used}` has {count}", column.length)));
        }
        if field != used && count > 0 {
            return Err(at.invalid(format!("it is of kind {kind_name}, whose values are `{used}`, and has `{field}`")));
        }
    }
    match (kind, &column.items) {
        (Kind::Scalar(_), Some(_)) => {
            Err(at.invalid(format!("it is of kind {kind_name}, and only a list has `items`")))
        }
        (Kind::Scalar(_), None) | (Kind::List, _) => Ok(()),
    }
}

fn field_of(scalar: ScalarType) -> &'static str {
    match scalar {
        ScalarType::Bool => "bools",
        ScalarType::Int32 => "int32s",
        ScalarType::Int64 | ScalarType::Timestamp => "int64s",
        ScalarType::Float32 => "floats",
        ScalarType::Float64 => "doubles",
        ScalarType::String => "strings",
        ScalarType::Bytes => "blobs",
    }
}

fn read_validity(validity: Bytes, length: usize, at: &Path<'_>) -> Result<Option<NullBuffer>> {
    if validity.is_empty() {
        return Ok(None);
    }
    if validity.len() != length.div_ceil(8) {
        return Err(at.field("validity").invalid(format!(
            "{length} rows have {} bytes of validity, not {}",
            length.div_ceil(8),
            validity.len()
        )));
    }
    Ok(NullBuffer::from_unsliced_buffer(Buffer::from(validity), length))
}

fn fixed<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(PrimitiveArray::<T>::try_new(values.into(), nulls)?))
}

fn times(values: Vec<i64>, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let times = PrimitiveArray::<TimestampMicrosecondType>::try_new(values.into(), nulls)?;
    Ok(Arc::new(times.with_data_type(ScalarType::Timestamp.arrow())))
}

/// All values in one buffer, and where each ends.
fn joined<T: AsRef<[u8]>>(values: &[T], at: &Path<'_>) -> Result<(OffsetBuffer<i32>, Buffer)> {
    let lengths = || values.iter().map(|value| value.as_ref().len());
    let offsets = offsets(lengths(), at)?;
    let mut bytes = Vec::with_capacity(lengths().sum());
    for value in values {
        bytes.extend_from_slice(value.as_ref());
    }
    Ok((offsets, bytes.into()))
}

fn offsets(lengths: impl Iterator<Item = usize> + Clone, at: &Path<'_>) -> Result<OffsetBuffer<i32>> {
    let total = lengths.clone().try_fold(0_usize, usize::checked_add);
    match total.map(i32::try_from) {
        Some(Ok(_)) => Ok(OffsetBuffer::from_lengths(lengths)),
        Some(Err(_)) | None => Err(at.invalid(format!("its values are longer than {} in all", i32::MAX))),
    }
}

fn list(lengths: &[u32], items: Option<Box<Column>>, nulls: Option<NullBuffer>, at: &Path<'_>) -> Result<ArrayRef> {
    let items = *at.required("items", items)?;
    let items_at = at.field("items");
    let item = match read_kind(items.kind, &items_at)? {
        Kind::Scalar(scalar) => scalar,
        Kind::List => return Err(items_at.not_understood("a list of lists")),
    };
    let hidden = |(row, length): (usize, &u32)| *length > 0 && nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    if let Some(row) = lengths.iter().enumerate().position(hidden) {
        return Err(at.field("list_lengths").invalid(format!("row {row} is null and has items")));
    }
    let total: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
    if total != u64::from(items.length) {
        return Err(at.invalid(format!("`list_lengths` add up to {total}, and `items` has {} rows", items.length)));
    }
    let offsets = offsets(lengths.iter().map(|length| *length as usize), at)?;
    let items = decode(items, &items_at)?;
    let field = Arc::new(Field::new("item", item.arrow(), true));
    let array = ListArray::try_new(field, offsets, items, nulls).map_err(|error| at.invalid(error.to_string()))?;
    Ok(Arc::new(array))
}
