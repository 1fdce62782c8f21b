//! A spine as it was written down when it came in: an Arrow IPC stream, read as often as there are views.

use std::{fmt, sync::Arc};

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    datatypes::{Schema, SchemaRef},
    ipc::{reader::StreamDecoder, reader::StreamReader, writer::StreamWriter},
};
use datafusion::{
    common::{DataFusionError, Result, internal_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext, object_store::ObjectStoreUrl},
    physical_expr::PhysicalExpr,
    physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, stream::RecordBatchStreamAdapter},
};
use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize};

use super::single_partition;

/// A spool, and what is read of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolFile {
    /// The URL of its store.
    pub store: String,
    /// In the store.
    pub path: String,
    /// The columns that are read, by name, in this order.
    pub columns: Vec<String>,
    /// The schema of the whole file, as an Arrow IPC stream without batches.
    pub schema: Vec<u8>,
}

impl SpoolFile {
    /// Writes a schema as [`SpoolFile::schema`] has it.
    pub fn schema_bytes(schema: &Schema) -> Result<Vec<u8>> {
        let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
        writer.finish()?;
        Ok(writer.into_inner()?)
    }

    fn projection(&self) -> Result<(SchemaRef, Vec<usize>)> {
        let schema = StreamReader::try_new(self.schema.as_slice(), None)?.schema();
        let indices = self.columns.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        Ok((Arc::new(schema.project(&indices)?), indices))
    }
}

/// Reads a spool. One partition, in the order it was written in.
#[derive(Debug)]
pub struct SpoolExec {
    file: Arc<SpoolFile>,
    indices: Vec<usize>,
    properties: Arc<PlanProperties>,
}

impl SpoolExec {
    /// Reads `file`.
    pub fn try_new(file: Arc<SpoolFile>) -> Result<Self> {
        let (schema, indices) = file.projection()?;
        Ok(Self { file, indices, properties: single_partition(schema) })
    }

    /// What it reads.
    pub fn file(&self) -> &Arc<SpoolFile> {
        &self.file
    }
}

impl DisplayAs for SpoolExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpoolExec: columns=[{}]", self.file.columns.join(", "))
    }
}

impl ExecutionPlan for SpoolExec {
    fn name(&self) -> &str {
        "SpoolExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a spool is a leaf of a plan") }
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let store = context.runtime_env().object_store(ObjectStoreUrl::parse(&self.file.store)?)?;
        let path = Path::parse(&self.file.path)?;
        let indices = self.indices.clone();
        let batches = read(store, path).map(move |batch| Ok(batch?.project(&indices)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

fn read(store: Arc<dyn ObjectStore>, path: Path) -> impl futures::Stream<Item = Result<RecordBatch>> + Send {
    async_stream::try_stream! {
        let mut chunks = store.get(&path).await?.into_stream();
        let mut decoder = StreamDecoder::new();
        while let Some(chunk) = chunks.next().await {
            let mut buffer = Buffer::from(chunk.map_err(DataFusionError::from)?);
            while let Some(batch) = decoder.decode(&mut buffer)? {
                yield batch;
            }
        }
        decoder.finish()?;
    }
}
