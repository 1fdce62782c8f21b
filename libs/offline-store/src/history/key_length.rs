//! Rows whose key no online store takes are in no training set either: a materialization refuses them, and who asks for such
//! a key online is refused too.

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
};
use larder_codec::{KeyEncoder, MAX_KEY_BYTES};
use larder_types::{Error, KeySpaceNumber, ProjectNumber, Result};
use serde::{Deserialize, Serialize};

use super::HistorySchema;

/// What the bytes of a key take more than a byte of text at most, where it is escaped.
const ESCAPED: usize = 3;

/// What a part takes at most that is neither text nor bytes, and the colon before each.
const PLAIN: usize = 20;
const COLON: usize = 1;

/// Under what keys of a view are written online.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenKeys {
    /// What stands in front of every key of the store.
    pub prefix: Option<String>,
    /// The project.
    pub project: ProjectNumber,
    /// The view's key space.
    pub key_space: KeySpaceNumber,
}

/// Leaves out rows whose key is too long.
pub(super) struct KeyLength(KeyEncoder);

impl KeyLength {
    pub(super) fn new(written: &WrittenKeys, schema: &HistorySchema) -> Result<Self> {
        let types: Vec<_> = schema.keys.iter().map(|key| key.key_type).collect();
        let prefix = written.prefix.as_deref();
        KeyEncoder::new(prefix, written.project, written.key_space, &types).map(Self)
    }

    /// The rows that can be written, and how many cannot. Keys are measured by writing them, where any could be too long.
    pub(super) fn check(&self, batch: RecordBatch) -> Result<(RecordBatch, usize)> {
        let keys = &batch.columns()[..self.0.types().len()];
        let longest = self.0.scope().start().len() + keys.iter().map(longest).sum::<usize>();
        if longest <= MAX_KEY_BYTES {
            return Ok((batch, 0));
        }
        let (_, refused) = self.0.encode_each(keys, batch.num_rows())?;
        if refused.is_empty() {
            return Ok((batch, 0));
        }
        let mut stays = vec![true; batch.num_rows()];
        refused.iter().for_each(|(row, _)| stays[*row] = false);
        let kept = filter_record_batch(&batch, &BooleanArray::from(stays));
        Ok((kept.map_err(|error| Error::internal(error.to_string()))?, refused.len()))
    }
}

/// What any of the column's values can take at most.
fn longest(column: &ArrayRef) -> usize {
    let text = column.as_string_opt::<i32>().map(|texts| texts.offsets());
    let offsets = text.or_else(|| column.as_binary_opt::<i32>().map(|bytes| bytes.offsets()));
    let value = offsets.map_or(PLAIN, |offsets| ESCAPED * offsets.lengths().max().unwrap_or_default());
    COLON + value
}
