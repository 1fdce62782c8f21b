//! History as a leaf of a plan. Its state is URLs and names, so that it can be run in another process.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{DataFusionError, Result, internal_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use larder_definitions::run::FileVersion;
use larder_push_log::{LogFile, PushLog};
use larder_types::Error;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::{
    HistorySchema, ReadCounts, RowColumns, TimeRange, WrittenKeys,
    key_length::KeyLength,
    parquet::{self, Wanted},
    source::{log_columns, normalise_log},
};
use crate::storage::{FoundFile, Place, store_url};

/// What is read of which files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRead {
    /// What comes out.
    pub schema: HistorySchema,
    /// Event times.
    pub range: TimeRange,
    /// Under what its keys are written online: rows that cannot be are left out.
    pub keys: WrittenKeys,
    /// Files.
    pub parts: Vec<ReadPart>,
}

/// A file, and how it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadPart {
    /// A Parquet file of a batch source.
    Parquet {
        /// The URL of its store.
        store: String,
        /// In the store.
        path: String,
        /// As it was listed.
        version: FileVersion,
        /// Which columns are what.
        system: RowColumns,
    },
    /// A file of a push log.
    Log {
        /// The URL of its store.
        store: String,
        /// Which.
        file: LogFile,
    },
}

/// Reads history. Files are shared out among its partitions.
#[derive(Debug)]
pub struct HistoryExec {
    read: Arc<HistoryRead>,
    properties: Arc<PlanProperties>,
    counts: ReadCounts,
}

impl HistoryExec {
    /// Reads in so many partitions.
    pub fn new(read: Arc<HistoryRead>, partitions: usize) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(read.schema.arrow()),
            Partitioning::UnknownPartitioning(partitions.max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { read, properties: Arc::new(properties), counts: ReadCounts::default() }
    }

    /// What it reads.
    pub fn read(&self) -> &Arc<HistoryRead> {
        &self.read
    }

    /// How much was read so far, in this process.
    pub fn counts(&self) -> &ReadCounts {
        &self.counts
    }

    /// Counts into `counts`.
    #[must_use]
    pub fn with_counts(self, counts: ReadCounts) -> Self {
        Self { counts, ..self }
    }

    fn open(&self, part: &ReadPart, context: &TaskContext) -> Result<BoxStream<'static, Result<Batch, Error>>> {
        let store = |base: &str| -> Result<_> {
            let url = store_url(base).map_err(|error| DataFusionError::External(Box::new(error)))?;
            context.runtime_env().object_store(url)
        };
        let batch_rows = context.session_config().batch_size();
        match part {
            ReadPart::Parquet { store: base, path, version, system } => {
                let path = Path::parse(path)?;
                let place = Place { base: base.clone(), store: store(base)?, path };
                let file = FoundFile { place, version: version.clone() };
                let wanted = Wanted {
                    schema: self.read.schema.clone(),
                    system: system.clone(),
                    range: self.read.range,
                    batch_rows,
                };
                Ok(parquet::read(file, wanted, self.counts.clone()).boxed())
            }
            ReadPart::Log { store: base, file } => {
                let log = PushLog::open(store(base)?, Path::default());
                let batches = log.read_file(file, &log_columns(&self.read.schema));
                let schema = Arc::new(self.read.schema.clone());
                Ok(normalise_log(batches, file.path.to_string(), schema, self.read.range, self.counts.clone()))
            }
        }
    }
}

type Batch = arrow::array::RecordBatch;

impl DisplayAs for HistoryExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HistoryExec: files={}", self.read.parts.len())
    }
}

impl ExecutionPlan for HistoryExec {
    fn name(&self) -> &str {
        "HistoryExec"
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
        if children.is_empty() { Ok(self) } else { internal_err!("history is a leaf of a plan") }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let partitions = self.properties.partitioning.partition_count();
        let own = self.read.parts.iter().enumerate().filter(|(index, _)| index % partitions == partition);
        let streams = own.map(|(_, part)| self.open(part, &context)).collect::<Result<Vec<_>>>()?;
        let key_length = KeyLength::new(&self.read.keys, &self.read.schema);
        let key_length = key_length.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let counts = self.counts.clone();
        let batches = futures::stream::iter(streams).flatten().map(move |batch| {
            let (batch, refused) = key_length.check(batch?)?;
            counts.add(0, refused);
            Ok(batch)
        });
        let batches = batches.map_err(|error: Error| DataFusionError::External(Box::new(error)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
