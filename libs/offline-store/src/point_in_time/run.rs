//! The join of one partition: in memory while the pool allows it, otherwise in parts by hash of key, on disk.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use datafusion::{
    common::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, memory_pool::MemoryReservation, runtime_env::RuntimeEnv},
    physical_plan::metrics::SpillMetrics,
};
use futures::{StreamExt, future::BoxFuture};
use tokio::sync::mpsc::Sender;

use super::{
    candidates::{Candidates, HistoryBatch},
    keys::KeyReader,
    partition::{Held, Partitions},
    slots::{Slots, SpineRows},
    spec::Resolved,
    spill::{Spill, SpillWriter},
};

/// Bytes of values that a batch of the result has at most, about.
const BATCH_BYTES: usize = 4 << 20;
/// The same where several batches are in memory at once, to be merged.
const MERGED_BATCH_BYTES: usize = 256 << 10;

/// What the join of a partition works with.
pub(super) struct Work {
    pub(super) columns: Arc<Resolved>,
    pub(super) keys: KeyReader,
    pub(super) reservation: MemoryReservation,
    pub(super) runtime: Arc<RuntimeEnv>,
    pub(super) metrics: SpillMetrics,
    pub(super) batch_rows: usize,
}

/// Where the result goes.
pub(super) enum Out<'a> {
    Channel(&'a Sender<Result<RecordBatch>>),
    File(&'a mut SpillWriter),
}

impl Out<'_> {
    pub(super) async fn send(&mut self, batch: RecordBatch) -> Result<()> {
        match self {
            Self::Channel(sender) => {
                let closed = |_| DataFusionError::Execution("nobody wants the result any more".to_owned());
                sender.send(Ok(batch)).await.map_err(closed)
            }
            Self::File(file) => file.append(&batch),
        }
    }
}

impl Work {
    pub(super) fn spill(&self, schema: &arrow::datatypes::SchemaRef) -> Spill {
        Spill::new(Arc::clone(&self.runtime), self.metrics.clone(), Arc::clone(schema))
    }

    /// Joins; the result comes in the order of row numbers.
    pub(super) fn join<'a>(
        &'a self,
        spine: SendableRecordBatchStream,
        history: SendableRecordBatchStream,
        depth: usize,
        out: Out<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.join_here(spine, history, depth, out))
    }

    async fn join_here(
        &self,
        mut spine: SendableRecordBatchStream,
        mut history: SendableRecordBatchStream,
        depth: usize,
        mut out: Out<'_>,
    ) -> Result<()> {
        let mut rows = SpineRows::new();
        while let Some(batch) = spine.next().await.transpose()? {
            let keys: Vec<ArrayRef> =
                self.columns.spine_keys.iter().map(|key| Arc::clone(batch.column(*key))).collect();
            rows.push(&batch, &self.keys.read(&keys)?, &self.columns)?;
            if let Err(refused) = self.reservation.try_resize(rows.size()) {
                return Partitions::join(self, Held::Spine(rows), spine, history, depth, out, refused).await;
            }
        }
        let slots = rows.into_slots();
        if let Err(refused) = self.reservation.try_resize(slots.size() + Candidates::size_of(slots.len())) {
            let held = Held::Slots(slots, Candidates::new(0));
            return Partitions::join(self, held, spine, history, depth, out, refused).await;
        }
        let mut candidates = Candidates::new(slots.len());
        if slots.len() > 0 {
            while let Some(batch) = history.next().await.transpose()? {
                let batch = HistoryBatch::new(&batch, &self.keys, &self.columns)?;
                candidates.absorb(&slots, &batch, &self.columns)?;
                if let Err(refused) = self.make_room(&slots, &mut candidates)? {
                    let held = Held::Slots(slots, candidates);
                    return Partitions::join(self, held, spine, history, depth, out, refused).await;
                }
            }
        }
        drop(history);
        candidates.settle(&slots);
        self.emit(&slots, &candidates, depth, &mut out).await?;
        drop((slots, candidates));
        self.reservation.free();
        Ok(())
    }

    /// Takes from the pool what is held, after throwing away what is not needed if the pool refuses.
    fn make_room(&self, slots: &Slots, candidates: &mut Candidates) -> Result<Result<(), DataFusionError>> {
        let resized = self.reservation.try_resize(slots.size() + candidates.size());
        if resized.is_ok() || !candidates.is_wasteful() {
            return Ok(resized);
        }
        candidates.compact()?;
        Ok(self.reservation.try_resize(slots.size() + candidates.size()))
    }

    async fn emit(&self, slots: &Slots, candidates: &Candidates, depth: usize, out: &mut Out<'_>) -> Result<()> {
        let bytes = if depth == 0 { BATCH_BYTES } else { MERGED_BATCH_BYTES };
        let step = (bytes / candidates.row_bytes().max(1)).clamp(1, self.batch_rows);
        let rows = slots.rows();
        for start in (0..rows.len()).step_by(step) {
            let range = start..(start + step).min(rows.len());
            let numbers: ArrayRef = Arc::new(UInt64Array::from(rows[range.clone()].to_vec()));
            let mut columns = vec![numbers];
            columns.extend(candidates.output(slots, range, &self.columns)?);
            out.send(RecordBatch::try_new(Arc::clone(&self.columns.output_schema), columns)?).await?;
        }
        Ok(())
    }
}
