//! The point-in-time join: for each row of a spine the row of a view's history that was the latest at that row's time.
//!
//! The spine is the small side. Its times are held by key in order; the history is streamed once past them. A history row
//! goes to the first slot of its key that may see it, which keeps the best row by (event time, created time, encoded
//! values). At the end each slot without a row takes over from the slot before it, the ttl is judged, and a deletion gives
//! nulls. What comes out is the row number and the view's columns, in the order of row numbers.
//!
//! Inputs may come in any order and any batches. Several partitions are joined side by side when both inputs are
//! partitioned by key. Memory is taken from the pool; where it refuses, both sides go to disk by hash of key and are
//! joined part by part. The rows of one key must fit.

mod candidates;
mod keys;
mod partition;
mod run;
mod slots;
mod spec;
mod spill;
mod ties;

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    datatypes::SchemaRef,
};
use datafusion::{
    common::{Result, internal_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryConsumer},
    physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr, PhysicalSortExpr, expressions::col},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
        Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, SpillMetrics},
        stream::RecordBatchReceiverStreamBuilder,
    },
};

pub use spec::{JoinSpec, OutputColumn, ValueColumn};

use self::{
    keys::KeyReader,
    run::{Out, Work},
    spec::Resolved,
};

/// The operator. Its children are the spine (row number, time, keys) and the history of a view, as
/// [`crate::history::HistorySchema`] says.
#[derive(Debug)]
pub struct PointInTimeJoinExec {
    spec: Arc<JoinSpec>,
    columns: Arc<Resolved>,
    spine: Arc<dyn ExecutionPlan>,
    history: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PointInTimeJoinExec {
    /// Joins `spine` with `history`.
    ///
    /// # Errors
    /// A column that is missing or of another type than [`JoinSpec`] says, and inputs of different partition counts.
    pub fn try_new(
        spec: Arc<JoinSpec>,
        spine: Arc<dyn ExecutionPlan>,
        history: Arc<dyn ExecutionPlan>,
    ) -> Result<Self> {
        let columns = Arc::new(Resolved::new(&spec, &spine.schema(), &history.schema())?);
        key_reader(&columns)?;
        let partitions = spine.output_partitioning().partition_count();
        if partitions != history.output_partitioning().partition_count() {
            return internal_err!("a point-in-time join needs both sides partitioned by key alike");
        }
        let properties = properties(&columns, partitions)?;
        Ok(Self { spec, columns, spine, history, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    /// What it was told.
    pub fn spec(&self) -> &Arc<JoinSpec> {
        &self.spec
    }

    fn key_expressions(side: &Arc<dyn ExecutionPlan>, names: &[String]) -> Vec<Arc<dyn PhysicalExpr>> {
        let schema = side.schema();
        names.iter().filter_map(|name| col(name, &schema).ok()).collect()
    }
}

fn key_reader(columns: &Resolved) -> Result<KeyReader> {
    let spine = columns.key_types(&columns.spine_schema, &columns.spine_keys);
    KeyReader::new(&spine, &columns.history_types())
}

impl Resolved {
    fn history_types(&self) -> Vec<arrow::datatypes::DataType> {
        self.key_types(&self.history_schema, &self.history_keys)
    }
}

fn properties(columns: &Resolved, partitions: usize) -> Result<Arc<PlanProperties>> {
    let schema = Arc::clone(&columns.output_schema);
    let row = col(schema.field(0).name(), &schema)?;
    let ordering = [PhysicalSortExpr::new_default(row)];
    let equivalences = EquivalenceProperties::new_with_orderings(schema, [ordering]);
    Ok(Arc::new(PlanProperties::new(
        equivalences,
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Final,
        Boundedness::Bounded,
    )))
}

impl DisplayAs for PointInTimeJoinExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PointInTimeJoinExec: keys=[{}]", self.spec.spine_keys.join(", "))?;
        match self.spec.ttl {
            Some(ttl) => write!(f, ", ttl={ttl} µs"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for PointInTimeJoinExec {
    fn name(&self) -> &str {
        "PointInTimeJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.spine, &self.history]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        if self.spec.spine_keys.is_empty() {
            return InputDistributionRequirements::new(vec![
                Distribution::SinglePartition,
                Distribution::SinglePartition,
            ]);
        }
        InputDistributionRequirements::co_partitioned(vec![
            Distribution::KeyPartitioned(Self::key_expressions(&self.spine, &self.spec.spine_keys)),
            Distribution::KeyPartitioned(Self::key_expressions(&self.history, &self.spec.history_keys)),
        ])
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 2]>::try_from(children) {
            Ok([spine, history]) => Ok(Arc::new(Self::try_new(Arc::clone(&self.spec), spine, history)?)),
            Err(children) => internal_err!("a point-in-time join has 2 inputs, not {}", children.len()),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let spine = self.spine.execute(partition, Arc::clone(&context))?;
        let history = self.history.execute(partition, Arc::clone(&context))?;
        let consumer = MemoryConsumer::new(format!("PointInTimeJoin[{partition}]")).with_can_spill(true);
        let work = Work {
            columns: Arc::clone(&self.columns),
            keys: key_reader(&self.columns)?,
            reservation: consumer.register(context.memory_pool()),
            runtime: context.runtime_env(),
            metrics: SpillMetrics::new(&self.metrics, partition),
            batch_rows: context.session_config().batch_size(),
        };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.columns.output_schema), 2);
        let sender = builder.tx();
        builder.spawn(async move {
            let _time = baseline.elapsed_compute().timer();
            work.join(spine, history, 0, Out::Channel(&sender)).await
        });
        Ok(builder.build())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// A batch of `schema` from columns found by index; the others are null.
fn batch_of(schema: &SchemaRef, found: Vec<(usize, ArrayRef)>, rows: usize) -> Result<RecordBatch> {
    let column = |index: usize| {
        let known = found.iter().find(|(at, _)| *at == index).map(|(_, array)| Arc::clone(array));
        known.unwrap_or_else(|| new_null_array(schema.field(index).data_type(), rows))
    };
    let columns = (0..schema.fields().len()).map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
