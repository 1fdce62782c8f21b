//! Rows of a view as they are written: the same bytes whether they were pushed or materialized.

use std::{sync::Arc, time::Duration};

use arrow::{array::ArrayRef, buffer::BooleanBuffer};
use bytes::Bytes;
use larder_codec::{KeyEncoder, RowEncoder, row_version};
use larder_types::{ColumnNumber, Error, ProjectNumber, Result, RowSetNumber, Timestamp};

use crate::ResolvedView;

/// How long a row that has grown too old stays in a store, so that a read can still tell "too old" from "never there".
pub const DEFAULT_EXPIRY_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// Turns columns of a view into rows.
#[derive(Debug)]
pub struct ViewRows {
    keys: KeyEncoder,
    rows: RowEncoder,
    /// Of each column of the schema, the position of its feature in the view's definition.
    features: Vec<usize>,
    row_sets: Vec<RowSetNumber>,
    ttl: Option<Duration>,
    grace: Duration,
}

/// Columns of rows of a view.
#[derive(Debug, Clone)]
pub struct ViewColumns<'a> {
    /// One per key, in the order of the key space.
    pub keys: &'a [ArrayRef],
    /// One per feature, in the order of the view's definition, of exactly its type.
    pub features: &'a [ArrayRef],
    /// Microseconds.
    pub event_times: &'a [i64],
    /// Microseconds; the lowest where the source does not say.
    pub created_times: &'a [i64],
    /// Which rows are deletions.
    pub deleted: Option<&'a BooleanBuffer>,
}

/// A row of a view with its key, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewRow {
    /// Its place in the columns it came from.
    pub position: usize,
    /// The entity key.
    pub key: Bytes,
    /// The row.
    pub row: Bytes,
}

/// What is worth writing, and what is not or cannot be.
#[derive(Debug, Default)]
pub struct EncodedView {
    /// In the order of the columns.
    pub rows: Vec<ViewRow>,
    /// Rows that are not written since they are past the view's ttl already.
    pub expired: Vec<usize>,
    /// Rows whose key cannot be written.
    pub refused: Vec<(usize, Error)>,
}

impl ViewRows {
    /// For a view of a project; `key_prefix` stands in front of every key of the store.
    pub fn new(
        view: &Arc<ResolvedView>,
        project: ProjectNumber,
        key_prefix: Option<&str>,
        grace: Duration,
    ) -> Result<Self> {
        let types: Vec<_> = view.key_space.keys.iter().map(|key| key.key_type).collect();
        let feature = |column: &ColumnNumber| {
            view.columns.iter().position(|known| known == column).ok_or_else(|| {
                Error::internal(format!("view {}: column {column} of its schema belongs to no feature", view.name()))
            })
        };
        let columns = view.schema.columns().iter().map(|column| feature(&column.number));
        Ok(Self {
            keys: KeyEncoder::new(key_prefix, project, view.key_space.number, &types)?,
            rows: RowEncoder::new(&view.schema),
            features: columns.collect::<Result<_>>()?,
            row_sets: view.write_row_sets.clone(),
            ttl: view.definition.ttl,
            grace,
        })
    }

    /// Encodes what is worth writing at `now`. A row with a null in its key is in none of the lists: it matches nothing.
    pub fn encode(&self, columns: &ViewColumns<'_>, now: Timestamp) -> Result<EncodedView> {
        let (keys, refused) = self.keys.encode_each(columns.keys, columns.event_times.len())?;
        let features: Vec<ArrayRef> = self.features.iter().map(|at| Arc::clone(&columns.features[*at])).collect();
        let rows = self.rows.encode(&features, columns.event_times, columns.created_times, columns.deleted)?;
        let mut encoded = EncodedView { refused, ..EncodedView::default() };
        let oldest = self.ttl.map_or(i64::MIN, |ttl| now.minus(ttl).as_micros());
        for (position, event_time) in columns.event_times.iter().enumerate() {
            let Some(key) = keys.slice(position) else { continue };
            if *event_time < oldest {
                encoded.expired.push(position);
            } else {
                encoded.rows.push(ViewRow { position, key, row: rows.slice(position) });
            }
        }
        Ok(encoded)
    }

    /// Every row set that takes the view's rows.
    pub fn row_sets(&self) -> &[RowSetNumber] {
        &self.row_sets
    }

    /// Until when a store has to keep a row; none: for ever.
    pub fn expires_at(&self, row: &[u8]) -> Result<Option<Timestamp>> {
        let event_time = row_version(row)?.event_time;
        Ok(self.ttl.map(|ttl| event_time.plus(ttl).plus(self.grace)))
    }
}
