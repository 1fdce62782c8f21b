//! The values of one column out of many rows, into an Arrow array: one pass, made for the type.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, ListArray, NullBufferBuilder, PrimitiveArray,
        StringArray,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{Field, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use larder_types::{Error, Result, ScalarType, Status, ValueType};

use super::{
    decode::{Cells, DecodedColumn},
    layout::{END_BYTES, read_end},
};
use crate::varint;

/// Gathers a column of `value_type`. DATA_LOSS where a value is damaged.
pub(super) fn gather(value_type: ValueType, cells: Cells<'_>) -> Result<DecodedColumn> {
    macro_rules! by_type {
        ($scalar:expr, $run:expr) => {
            match $scalar {
                ScalarType::Bool => $run(Bools::default(), cells),
                ScalarType::Int32 => $run(Fixed::<Int32Type, 4, _>::new($scalar, i32::from_le_bytes), cells),
                ScalarType::Int64 => $run(Fixed::<Int64Type, 8, _>::new($scalar, i64::from_le_bytes), cells),
                ScalarType::Float32 => $run(Fixed::<Float32Type, 4, _>::new($scalar, f32::from_le_bytes), cells),
                ScalarType::Float64 => $run(Fixed::<Float64Type, 8, _>::new($scalar, f64::from_le_bytes), cells),
                ScalarType::String => $run(Strings::text(), cells),
                ScalarType::Bytes => $run(Strings::bytes(), cells),
                ScalarType::Timestamp => {
                    $run(Fixed::<TimestampMicrosecondType, 8, _>::new($scalar, i64::from_le_bytes), cells)
                }
            }
        };
    }
    match value_type {
        ValueType::Scalar(scalar) => by_type!(scalar, fill),
        ValueType::List(item) => by_type!(item, |items, cells| fill(Lists::of(item, items), cells)),
    }
}

fn fill<S: Sink>(mut sink: S, cells: Cells<'_>) -> Result<DecodedColumn> {
    sink.reserve(cells.len());
    let mut statuses = Vec::with_capacity(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        match cell {
            Ok(bytes) => {
                sink.push(bytes).map_err(|error| error.context(format_args!("row {row}")))?;
                statuses.push(Status::Present.as_u8());
            }
            Err(status) => {
                sink.push_null();
                statuses.push(status.as_u8());
            }
        }
    }
    let present = |status: &u8| *status == Status::Present.as_u8();
    let statuses = (!statuses.iter().all(present)).then_some(statuses);
    let nulls = statuses.as_ref().map(|statuses| NullBuffer::from_iter(statuses.iter().map(present)));
    Ok(DecodedColumn { values: sink.finish(nulls)?, statuses })
}

/// Where values of one type are put.
trait Sink {
    fn reserve(&mut self, values: usize);
    /// Adds the value at the start of `bytes`, or, if it is a variable one, the value that `bytes` are.
    fn push(&mut self, bytes: &[u8]) -> Result<()>;
    fn push_null(&mut self);
    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef>;
    /// The bytes of a value where all have the same size.
    fn width(&self) -> Option<usize>;
}

#[derive(Default)]
struct Bools(Vec<bool>);

impl Sink for Bools {
    fn reserve(&mut self, values: usize) {
        self.0.reserve(values);
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        match bytes.first() {
            Some(0) => self.0.push(false),
            Some(1) => self.0.push(true),
            Some(_) | None => return Err(damaged("a bool is neither 0 nor 1")),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        self.0.push(false);
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::new(BooleanBuffer::from(self.0), nulls)))
    }

    fn width(&self) -> Option<usize> {
        Some(1)
    }
}

struct Fixed<T: ArrowPrimitiveType, const WIDTH: usize, R> {
    scalar: ScalarType,
    values: Vec<T::Native>,
    read: R,
}

impl<T: ArrowPrimitiveType, const WIDTH: usize, R: Fn([u8; WIDTH]) -> T::Native> Fixed<T, WIDTH, R> {
    fn new(scalar: ScalarType, read: R) -> Self {
        Self { scalar, values: Vec::new(), read }
    }
}

impl<T, const WIDTH: usize, R> Sink for Fixed<T, WIDTH, R>
where
    T: ArrowPrimitiveType,
    R: Fn([u8; WIDTH]) -> T::Native,
{
    fn reserve(&mut self, values: usize) {
        self.values.reserve(values);
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let bytes = bytes.first_chunk().ok_or_else(|| damaged("a number is cut short"))?;
        self.values.push((self.read)(*bytes));
        Ok(())
    }

    fn push_null(&mut self) {
        self.values.push(T::Native::default());
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let array = PrimitiveArray::<T>::new(self.values.into(), nulls);
        Ok(Arc::new(array.with_data_type(self.scalar.arrow())))
    }

    fn width(&self) -> Option<usize> {
        Some(WIDTH)
    }
}

/// Strings or bytes.
struct Strings {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    is_text: bool,
}

impl Strings {
    fn text() -> Self {
        Self { offsets: vec![0], bytes: Vec::new(), is_text: true }
    }

    fn bytes() -> Self {
        Self { is_text: false, ..Self::text() }
    }
}

impl Sink for Strings {
    fn reserve(&mut self, values: usize) {
        self.offsets.reserve(values);
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        self.offsets.push(offset(self.bytes.len())?);
        Ok(())
    }

    fn push_null(&mut self) {
        self.offsets.extend_from_within(self.offsets.len() - 1..);
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let (offsets, bytes) = (offset_buffer(self.offsets), Buffer::from(self.bytes));
        if self.is_text {
            let text = StringArray::try_new(offsets, bytes, nulls);
            Ok(Arc::new(text.map_err(|error| damaged("a string is not UTF-8").with_source(error))?))
        } else {
            Ok(Arc::new(BinaryArray::new(offsets, bytes, nulls)))
        }
    }

    fn width(&self) -> Option<usize> {
        None
    }
}

struct Lists<S> {
    item: ScalarType,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    items: S,
}

impl<S: Sink> Lists<S> {
    fn of(item: ScalarType, items: S) -> Self {
        Self { item, offsets: vec![0], nulls: NullBufferBuilder::new(0), items }
    }

    /// Adds the items that lie at `ranges` of `values`.
    fn push_items(&mut self, nulls: &[u8], values: &[u8], ranges: impl Iterator<Item = Range<usize>>) -> Result<()> {
        for (position, range) in ranges.enumerate() {
            let is_null = nulls[position / 8] & (1 << (position % 8)) != 0;
            self.nulls.append(!is_null);
            if is_null {
                self.items.push_null();
            } else {
                self.items.push(values.get(range).ok_or_else(damaged_list)?)?;
            }
        }
        Ok(())
    }
}

impl<S: Sink> Sink for Lists<S> {
    fn reserve(&mut self, values: usize) {
        self.offsets.reserve(values);
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let (count, size) = varint::read(bytes).ok_or_else(damaged_list)?;
        let count = count as usize;
        let (nulls, rest) = bytes[size..].split_at_checked(count.div_ceil(8)).ok_or_else(damaged_list)?;
        match self.items.width() {
            Some(width) => {
                if rest.len() != width * count {
                    return Err(damaged_list());
                }
                let range = |position: usize| width * position..width * (position + 1);
                self.push_items(nulls, rest, (0..count).map(range))?;
            }
            None => {
                let (ends, values) = rest.split_at_checked(END_BYTES * count).ok_or_else(damaged_list)?;
                let end_before = |position: usize| match position.checked_sub(1) {
                    Some(before) => read_end(&ends[END_BYTES * before..]),
                    None => 0,
                };
                if values.len() != end_before(count) {
                    return Err(damaged_list());
                }
                let range = |position: usize| end_before(position)..end_before(position + 1);
                self.push_items(nulls, values, (0..count).map(range))?;
            }
        }
        let last = self.offsets.last().copied().unwrap_or(0) as usize;
        self.offsets.push(offset(last + count)?);
        Ok(())
    }

    fn push_null(&mut self) {
        self.offsets.extend_from_within(self.offsets.len() - 1..);
    }

    fn finish(mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let items = self.items.finish(self.nulls.finish())?;
        let field = Arc::new(Field::new("item", self.item.arrow(), true));
        let list = ListArray::try_new(field, offset_buffer(self.offsets), items, nulls);
        Ok(Arc::new(list.map_err(|error| damaged("a list does not fit its items").with_source(error))?))
    }

    fn width(&self) -> Option<usize> {
        None
    }
}

/// Arrow's offsets are 32 bits: a column holds at most 2 GiB of text, or as many items.
fn offset(end: usize) -> Result<i32> {
    i32::try_from(end).map_err(|_| {
        Error::resource_exhausted("a column of one answer would be longer than 2 GiB: ask for fewer entities at once")
    })
}

fn offset_buffer(offsets: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

fn damaged(what: &str) -> Error {
    Error::data_loss(format!("an online row is damaged: {what}"))
}

fn damaged_list() -> Error {
    damaged("a list is cut short, or its parts do not fit")
}
