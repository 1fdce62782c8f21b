//! Puts columns beside each other that belong to the same rows.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type},
};
use datafusion::{
    common::{Result, internal_err, plan_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{Distribution, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
        PlanProperties, stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;

use super::single_partition;

/// Inputs whose first column is the row number, each with every row once and in their order, made one: the row number,
/// then the other columns of all inputs. Each has one partition.
#[derive(Debug)]
pub struct ZipByRowExec {
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl ZipByRowExec {
    /// Of at least one input.
    pub fn try_new(inputs: Vec<Arc<dyn ExecutionPlan>>) -> Result<Self> {
        for input in &inputs {
            let first = input.schema().fields().first().map(|field| field.data_type().clone());
            if first != Some(DataType::UInt64) || input.output_partitioning().partition_count() != 1 {
                return plan_err!("an input to be zipped has one partition, and the row number in its first column");
            }
        }
        let Some(first) = inputs.first() else { return plan_err!("nothing to be zipped") };
        let mut fields: Vec<Arc<Field>> = vec![Arc::clone(&first.schema().fields()[0])];
        for input in &inputs {
            fields.extend(input.schema().fields().iter().skip(1).cloned());
        }
        let properties = single_partition(Arc::new(Schema::new(fields)));
        Ok(Self { inputs, properties })
    }
}

impl DisplayAs for ZipByRowExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZipByRowExec")
    }
}

impl ExecutionPlan for ZipByRowExec {
    fn name(&self) -> &str {
        "ZipByRowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; self.inputs.len()])
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true; self.inputs.len()]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::try_new(children)?))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let open = |input: &Arc<dyn ExecutionPlan>| {
            let batch = RecordBatch::new_empty(input.schema());
            Ok(Cursor { stream: input.execute(0, Arc::clone(&context))?, batch })
        };
        let cursors = self.inputs.iter().map(open).collect::<Result<Vec<_>>>()?;
        let schema = self.schema();
        let batches = futures::stream::try_unfold((cursors, Arc::clone(&schema)), |(mut cursors, schema)| async move {
            Ok(next(&mut cursors, &schema).await?.map(|batch| (batch, (cursors, schema))))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// An input, and what is left of its batch.
struct Cursor {
    stream: SendableRecordBatchStream,
    batch: RecordBatch,
}

impl Cursor {
    async fn refill(&mut self) -> Result<()> {
        while self.batch.num_rows() == 0 {
            match self.stream.next().await.transpose()? {
                Some(batch) => self.batch = batch,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn take(&mut self, rows: usize) -> RecordBatch {
        let taken = self.batch.slice(0, rows);
        self.batch = self.batch.slice(rows, self.batch.num_rows() - rows);
        taken
    }
}

async fn next(cursors: &mut [Cursor], schema: &SchemaRef) -> Result<Option<RecordBatch>> {
    for cursor in &mut *cursors {
        cursor.refill().await?;
    }
    let left = || cursors.iter().map(|cursor| cursor.batch.num_rows());
    let rows = left().min().unwrap_or(0);
    if rows == 0 {
        return if left().all(|rows| rows == 0) {
            Ok(None)
        } else {
            internal_err!("inputs to be zipped differ in rows")
        };
    }
    let taken: Vec<RecordBatch> = cursors.iter_mut().map(|cursor| cursor.take(rows)).collect();
    let numbers = taken[0].column(0).as_primitive::<UInt64Type>();
    if taken.iter().any(|batch| batch.column(0).as_primitive::<UInt64Type>().values() != numbers.values()) {
        return internal_err!("inputs to be zipped have rows in different orders");
    }
    let others = taken.iter().flat_map(|batch| batch.columns().iter().skip(1).cloned());
    let columns: Vec<ArrayRef> = std::iter::once(Arc::clone(taken[0].column(0))).chain(others).collect();
    Ok(Some(RecordBatch::try_new(Arc::clone(schema), columns)?))
}
