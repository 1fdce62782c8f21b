//! Rows of equal times: the one with the greater encoded values wins, as in the online store.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, new_null_array};
use datafusion::common::{DataFusionError, Result};
use larder_codec::{EncodedRows, compare_rows};

use super::{
    candidates::{Candidates, HistoryBatch, INCOMING, Place},
    spec::Resolved,
};

/// A row of the incoming batch whose times equal those of a slot's best row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tie {
    pub(super) slot: usize,
    pub(super) row: usize,
}

/// Those that win, in an order in which the last of a slot is the best of it.
pub(super) fn winners(
    candidates: &Candidates,
    batch: &HistoryBatch,
    ties: &[Tie],
    columns: &Resolved,
) -> Result<Vec<Tie>> {
    if ties.is_empty() {
        return Ok(Vec::new());
    }
    let challengers: Vec<Place> = ties.iter().map(|tie| Place { batch: INCOMING, row: tie.row as u32 }).collect();
    let holders: Vec<Place> = ties.iter().map(|tie| candidates.place(tie.slot)).collect();
    let challengers = encode(candidates, batch, &challengers, columns)?;
    let holders = encode(candidates, batch, &holders, columns)?;
    let mut best: HashMap<usize, &[u8]> = HashMap::new();
    let mut won = Vec::new();
    for (index, tie) in ties.iter().enumerate() {
        let holder = best.entry(tie.slot).or_insert_with(|| holders.get(index));
        if compare_rows(challengers.get(index), holder).is_gt() {
            *holder = challengers.get(index);
            won.push(*tie);
        }
    }
    Ok(won)
}

/// The rows at these places as the online store has them, but for the times, which are equal.
fn encode(candidates: &Candidates, batch: &HistoryBatch, places: &[Place], columns: &Resolved) -> Result<EncodedRows> {
    let column = |value: &usize| -> Result<ArrayRef> {
        let incoming = &batch.values[*value];
        candidates.gather(*value, places, Some(incoming), &new_null_array(incoming.data_type(), 1))
    };
    let values = columns.encoded.iter().map(column).collect::<Result<Vec<_>>>()?;
    let times = vec![0; places.len()];
    columns.encoder.encode(&values, &times, &times, None).map_err(|error| DataFusionError::External(Box::new(error)))
}
