//! Keys of both sides, brought to one form, and the table that numbers those of the spine.

use ahash::RandomState;
use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, new_null_array},
    buffer::NullBuffer,
    compute::cast,
    datatypes::{DataType, Int64Type},
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::{Result, plan_err};
use hashbrown::HashTable;

/// The id of a key with a null in it: it matches nothing.
pub(super) const NO_KEY: u32 = u32::MAX;

/// Reads keys of either side. Integers of different width are compared by value.
#[derive(Debug)]
pub(super) struct KeyReader {
    form: Form,
    types: Vec<DataType>,
}

/// In what form keys are compared.
#[derive(Debug)]
enum Form {
    /// A view without entity: all rows have one key.
    Whole,
    /// One column of a type that fits 64 bits.
    Int,
    /// One column of text or bytes.
    Bytes,
    /// Any other keys, as rows of bytes.
    Rows(RowConverter),
}

/// The keys of a batch.
pub(super) enum KeyColumn {
    Whole,
    Int(Int64Array),
    Bytes(BinaryArray),
    Rows(Rows, Option<NullBuffer>),
}

impl KeyReader {
    /// For keys of these types on either side, which must be the same or both integers.
    pub(super) fn new(spine: &[DataType], history: &[DataType]) -> Result<Self> {
        let types = spine.iter().zip(history).map(|(a, b)| common_type(a, b)).collect::<Result<Vec<_>>>()?;
        let form = match types.as_slice() {
            [] => Form::Whole,
            [DataType::Int64 | DataType::Boolean | DataType::Timestamp(..)] => Form::Int,
            [DataType::Utf8 | DataType::Binary] => Form::Bytes,
            _ => Form::Rows(RowConverter::new(types.iter().cloned().map(SortField::new).collect())?),
        };
        Ok(Self { form, types })
    }

    /// Reads the keys of a batch of either side.
    pub(super) fn read(&self, columns: &[ArrayRef]) -> Result<KeyColumn> {
        Ok(match &self.form {
            Form::Whole => KeyColumn::Whole,
            Form::Int => KeyColumn::Int(cast(&columns[0], &DataType::Int64)?.as_primitive::<Int64Type>().clone()),
            Form::Bytes => KeyColumn::Bytes(cast(&columns[0], &DataType::Binary)?.as_binary().clone()),
            Form::Rows(converter) => {
                let cast_to = |(column, data_type): (&ArrayRef, &DataType)| cast(column, data_type);
                let columns = columns.iter().zip(&self.types).map(cast_to).collect::<Result<Vec<_>, _>>()?;
                let nulls =
                    columns.iter().fold(None, |nulls, column| NullBuffer::union(nulls.as_ref(), column.nulls()));
                KeyColumn::Rows(converter.convert_columns(&columns)?, nulls)
            }
        })
    }

    /// The columns, of the types of one side, that keys of these ids came from; nulls for [`NO_KEY`].
    pub(super) fn columns(&self, table: &KeyTable, ids: &[u32], types: &[DataType]) -> Result<Vec<ArrayRef>> {
        let known = |id: &u32| *id != NO_KEY;
        let columns: Vec<ArrayRef> = match &self.form {
            Form::Whole => Vec::new(),
            Form::Int => {
                let values = ids.iter().map(|id| known(id).then(|| table.ints[*id as usize]));
                vec![std::sync::Arc::new(values.collect::<Int64Array>())]
            }
            Form::Bytes => {
                let values = ids.iter().map(|id| known(id).then(|| table.bytes(*id)));
                vec![std::sync::Arc::new(values.collect::<BinaryArray>())]
            }
            Form::Rows(converter) => return self.columns_of_rows(converter, table, ids, types),
        };
        columns.iter().zip(types).map(|(column, to)| Ok(cast(column, to)?)).collect()
    }

    fn columns_of_rows(
        &self,
        converter: &RowConverter,
        table: &KeyTable,
        ids: &[u32],
        types: &[DataType],
    ) -> Result<Vec<ArrayRef>> {
        let nulls: Vec<ArrayRef> = self.types.iter().map(|data_type| new_null_array(data_type, 1)).collect();
        let nulls = converter.convert_columns(&nulls)?;
        let parser = converter.parser();
        let row = |id: &u32| if *id == NO_KEY { nulls.row(0) } else { parser.parse(table.bytes(*id)) };
        let columns = converter.convert_rows(ids.iter().map(row))?;
        columns.iter().zip(types).map(|(column, to)| Ok(cast(column, to)?)).collect()
    }
}

fn common_type(a: &DataType, b: &DataType) -> Result<DataType> {
    if a.is_signed_integer() && b.is_signed_integer() {
        return Ok(DataType::Int64);
    }
    if a == b {
        return Ok(a.clone());
    }
    plan_err!("a key is {a} in the spine and {b} in the history")
}

impl KeyColumn {
    /// A hash of the key, none if a part of it is null.
    pub(super) fn hash(&self, row: usize, state: &RandomState) -> Option<u64> {
        match self {
            Self::Whole => Some(0),
            Self::Int(values) => values.is_valid(row).then(|| state.hash_one(values.value(row))),
            Self::Bytes(values) => values.is_valid(row).then(|| state.hash_one(values.value(row))),
            Self::Rows(rows, nulls) => {
                nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)).then(|| state.hash_one(rows.row(row).data()))
            }
        }
    }
}

/// Numbers keys from zero.
#[derive(Debug)]
pub(super) struct KeyTable {
    state: RandomState,
    ids: HashTable<u32>,
    ints: Vec<i64>,
    data: Vec<u8>,
    ends: Vec<usize>,
    keys: usize,
}

impl KeyTable {
    pub(super) fn new() -> Self {
        Self {
            state: RandomState::with_seeds(1, 2, 3, 4),
            ids: HashTable::new(),
            ints: Vec::new(),
            data: Vec::new(),
            ends: Vec::new(),
            keys: 0,
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        self.ids.allocation_size() + 8 * self.ints.capacity() + self.data.capacity() + 8 * self.ends.capacity()
    }

    /// The number of a key, a new one if it is not there; [`NO_KEY`] where it has a null.
    pub(super) fn insert(&mut self, column: &KeyColumn, row: usize) -> u32 {
        let Some(hash) = column.hash(row, &self.state) else { return NO_KEY };
        if let Some(id) = self.find_hashed(column, row, hash) {
            return id;
        }
        let id = self.keys as u32;
        self.keys += 1;
        match column {
            KeyColumn::Whole => {}
            KeyColumn::Int(values) => self.ints.push(values.value(row)),
            KeyColumn::Bytes(values) => self.push_bytes(values.value(row)),
            KeyColumn::Rows(rows, _) => self.push_bytes(rows.row(row).data()),
        }
        let (state, ints, data, ends) = (&self.state, &self.ints, &self.data, &self.ends);
        self.ids.insert_unique(hash, id, |other| match column {
            KeyColumn::Whole => 0,
            KeyColumn::Int(_) => state.hash_one(ints[*other as usize]),
            KeyColumn::Bytes(_) | KeyColumn::Rows(..) => state.hash_one(slice(data, ends, *other)),
        });
        id
    }

    /// The number of a key, if it is there.
    pub(super) fn find(&self, column: &KeyColumn, row: usize) -> Option<u32> {
        self.find_hashed(column, row, column.hash(row, &self.state)?)
    }

    fn find_hashed(&self, column: &KeyColumn, row: usize, hash: u64) -> Option<u32> {
        let found = match column {
            KeyColumn::Whole => self.ids.find(hash, |_| true),
            KeyColumn::Int(values) => {
                let wanted = values.value(row);
                self.ids.find(hash, |id| self.ints[*id as usize] == wanted)
            }
            KeyColumn::Bytes(values) => self.ids.find(hash, |id| self.bytes(*id) == values.value(row)),
            KeyColumn::Rows(rows, _) => self.ids.find(hash, |id| self.bytes(*id) == rows.row(row).data()),
        };
        found.copied()
    }

    fn bytes(&self, id: u32) -> &[u8] {
        slice(&self.data, &self.ends, id)
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.ends.push(self.data.len());
    }
}

fn slice<'a>(data: &'a [u8], ends: &[usize], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &data[start..ends[id]]
}
