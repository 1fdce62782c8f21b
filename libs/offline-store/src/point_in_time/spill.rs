//! Files of batches on the pool's disk, gone when dropped.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::Result,
    execution::{SendableRecordBatchStream, runtime_env::RuntimeEnv, spill_file::SpillFile},
    physical_plan::{EmptyRecordBatchStream, SpillManager, metrics::SpillMetrics},
};

/// Writes and reads files of one schema.
#[derive(Debug, Clone)]
pub(super) struct Spill(SpillManager);

/// A file that was written; none if nothing was.
pub(super) type Spilled = Option<Arc<dyn SpillFile>>;

type Write = dyn FnMut(Option<&RecordBatch>) -> Result<Spilled> + Send;

/// A file being written. A closure, since the library's own type cannot be named outside it.
pub(super) struct SpillWriter(Box<Write>);

impl Spill {
    pub(super) fn new(runtime: Arc<RuntimeEnv>, metrics: SpillMetrics, schema: SchemaRef) -> Self {
        Self(SpillManager::new(runtime, metrics, schema))
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        self.0.schema()
    }

    pub(super) fn create(&self) -> Result<SpillWriter> {
        let mut file = self.0.create_in_progress_file("point-in-time join")?;
        Ok(SpillWriter(Box::new(move |batch| match batch {
            Some(batch) => file.append_batch(batch).map(|_| None),
            None => file.finish(),
        })))
    }

    pub(super) fn read(&self, file: Spilled) -> Result<SendableRecordBatchStream> {
        match file {
            Some(file) => self.0.read_spill_as_stream_unbuffered(file, None),
            None => Ok(Box::pin(EmptyRecordBatchStream::new(Arc::clone(self.schema())))),
        }
    }
}

impl SpillWriter {
    pub(super) fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        (self.0)(Some(batch)).map(drop)
    }

    pub(super) fn finish(&mut self) -> Result<Spilled> {
        (self.0)(None)
    }
}
