//! The oracle: everything that was ever written, and no cleverness.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use larder_codec::{EncodedKeys, KeyScope, row_version};
use larder_types::{Error, Result, RowSetNumber, RowVersion, Timestamp};

use crate::{Capabilities, KeyWrite, OnlineStore, RowOutcome, RowWrite, Rows, RowsBuilder, SweepReport, WriteMode};

/// A store in memory, for comparing others with.
#[derive(Debug, Default)]
pub struct NaiveStore(Mutex<BTreeMap<(RowSetNumber, Bytes), RowWrite>>);

/// What orders rows, spelled out.
type Order = (RowVersion, Bytes);

impl NaiveStore {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<(RowSetNumber, Bytes), RowWrite>> {
        self.0.lock().unwrap()
    }
}

#[async_trait]
impl OnlineStore for NaiveStore {
    async fn read_within(&self, keys: &EncodedKeys, row_sets: &[RowSetNumber], max_bytes: usize) -> Result<Rows> {
        let rows = self.rows();
        let mut answer = RowsBuilder::new(keys.len(), row_sets.len(), max_bytes);
        for key in keys.iter() {
            for row_set in row_sets {
                let row = key.and_then(|key| rows.get(&(*row_set, Bytes::copy_from_slice(key))));
                answer.push(row.map(|write| &write.row[..]))?;
            }
        }
        Ok(answer.finish())
    }

    async fn write(&self, writes: Vec<KeyWrite>, mode: WriteMode, now: Timestamp) -> Result<Vec<RowOutcome>> {
        let is_key = |write: &KeyWrite| (1..=larder_codec::MAX_KEY_BYTES).contains(&write.key.len());
        let is_row = |write: &RowWrite| row_version(&write.row).is_ok();
        if !writes.iter().all(|write| is_key(write) && write.rows.iter().all(is_row)) {
            return Err(Error::invalid_argument("no key or no row"));
        }
        let mut rows = self.rows();
        let each = writes.into_iter().flat_map(|write| write.rows.into_iter().map(move |row| (write.key.clone(), row)));
        Ok(each.map(|(key, new)| put(&mut rows, (new.row_set, key), new, mode, now)).collect())
    }

    async fn sweep(&self, now: Timestamp) -> Result<SweepReport> {
        let mut rows = self.rows();
        let examined = rows.len() as u64;
        rows.retain(|_, row| row.expires_at.is_none_or(|expires_at| expires_at >= now));
        Ok(SweepReport { examined, removed: examined - rows.len() as u64 })
    }

    async fn purge(&self, scope: &KeyScope, row_set: RowSetNumber) -> Result<u64> {
        let mut rows = self.rows();
        let before = rows.len();
        rows.retain(|(of, key), _| *of != row_set || !scope.contains(key));
        Ok((before - rows.len()) as u64)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { key_at_once: true }
    }

    async fn check_health(&self) -> Result<()> {
        Ok(())
    }
}

fn put(
    rows: &mut BTreeMap<(RowSetNumber, Bytes), RowWrite>,
    place: (RowSetNumber, Bytes),
    new: RowWrite,
    mode: WriteMode,
    now: Timestamp,
) -> RowOutcome {
    if new.expires_at.is_some_and(|expires_at| expires_at < now) {
        return RowOutcome::Expired;
    }
    let Some(there) = rows.get_mut(&place) else {
        rows.insert(place, new);
        return RowOutcome::Written;
    };
    let (new_order, there_order) = (order(&new), order(there));
    let replaces = mode == WriteMode::Materialization && new_order.0 == there_order.0;
    if new_order == there_order {
        there.expires_at = there.expires_at.zip(new.expires_at).map(|(a, b)| a.max(b));
        RowOutcome::Equal
    } else if new_order > there_order || replaces {
        *there = new;
        RowOutcome::Written
    } else {
        RowOutcome::Older
    }
}

fn order(write: &RowWrite) -> Order {
    (row_version(&write.row).unwrap(), write.row.slice(17..))
}
