//! The keys that are read for a request, each once, however many of its entities have it.

use std::collections::HashMap;

use arrow::{
    array::{Array, ArrayRef, UInt32Array},
    compute::take,
};
use larder_codec::{DecodedColumn, EncodedKeys};
use larder_types::{Error, Result};

use crate::{
    budget::{Budget, bytes_between, bytes_of},
    entities::Entities,
    plan::Fetch,
};

/// The different keys of a fetch, and where each entity's is among them.
#[derive(Debug)]
pub struct Keys {
    /// What is read.
    pub distinct: EncodedKeys,
    /// Of each entity, its place among the keys; none: its own.
    places: Option<UInt32Array>,
}

impl Keys {
    /// The keys of `entities` for `fetch`. All entities share the one of a view without entity.
    pub fn of(fetch: &Fetch, entities: &Entities) -> Result<Self> {
        if fetch.key_columns.is_empty() {
            let places = (entities.rows > 1).then(|| UInt32Array::from(vec![0; entities.rows]));
            return Ok(Self { distinct: fetch.encoder.encode(&[], 1)?, places });
        }
        let columns = entities.key(&fetch.key_columns);
        let (keys, refused) = fetch.encoder.encode_each(&columns, entities.rows)?;
        if let Some((row, error)) = refused.into_iter().next() {
            return Err(too_long(fetch, &columns, row, &error));
        }
        let mut known = HashMap::with_capacity(keys.len());
        let mut distinct = Vec::with_capacity(keys.len());
        let mut places = Vec::with_capacity(keys.len());
        for key in keys.iter() {
            places.push(*known.entry(key).or_insert_with(|| {
                distinct.push(key);
                distinct.len() as u32 - 1
            }));
        }
        if distinct.len() == keys.len() {
            return Ok(Self { distinct: keys, places: None });
        }
        Ok(Self { distinct: distinct.into_iter().collect(), places: Some(places.into()) })
    }

    /// What each entity has, of what each key has.
    pub fn spread<T: Copy>(&self, of_keys: Vec<T>) -> Vec<T> {
        match &self.places {
            None => of_keys,
            Some(places) => places.values().iter().map(|place| of_keys[*place as usize]).collect(),
        }
    }

    /// The column of all entities, of that of all keys.
    pub fn spread_column(&self, column: DecodedColumn) -> Result<DecodedColumn> {
        let Some(places) = &self.places else { return Ok(column) };
        let values = repeat(&column.values, places)?;
        Ok(DecodedColumn { values, statuses: column.statuses.map(|statuses| self.spread(statuses)) })
    }

    /// How many entities share keys; none where each has its own.
    pub fn sharing(&self) -> Option<usize> {
        self.places.as_ref().map(Array::len)
    }

    /// How many bytes [`Keys::spread_column`] makes of a column.
    pub fn bytes_spread(&self, column: &DecodedColumn) -> usize {
        let entities = self.places.as_ref().map_or(self.distinct.len(), Array::len);
        let statuses = if column.statuses.is_some() { entities } else { 0 };
        let values = match &self.places {
            None => bytes_of(&column.values),
            Some(places) => places.values().iter().fold(0, |bytes: usize, place| {
                bytes.saturating_add(bytes_between(&column.values, *place as usize, *place as usize + 1))
            }),
        };
        values.saturating_add(statuses)
    }
}

/// A key that is too long, by the column with the most of it.
fn too_long(fetch: &Fetch, columns: &[ArrayRef], row: usize, error: &Error) -> Error {
    let parts = fetch.key_columns.iter().zip(columns);
    match parts.max_by_key(|(_, values)| bytes_between(values, row, row + 1)) {
        Some((name, _)) => {
            Error::invalid_field(format!("entities.{name}"), format!("row {}: {}", row + 1, error.message()))
        }
        None => Error::invalid_argument(error.message()),
    }
}

/// A value of request data for all entities.
pub fn repeat_for_all(values: &ArrayRef, rows: usize, budget: &mut Budget) -> Result<ArrayRef> {
    budget.read(bytes_of(values).saturating_mul(rows))?;
    repeat(values, &UInt32Array::from(vec![0; rows]))
}

fn repeat(values: &ArrayRef, places: &UInt32Array) -> Result<ArrayRef> {
    take(values, places, None).map_err(|error| Error::internal(format!("values of several entities: {error}")))
}
