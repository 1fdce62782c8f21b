//! On-demand features in a plan: the same expressions, run by the same code as at serving.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{Field, Schema, SchemaRef},
};
use datafusion::{
    common::{DataFusionError, Result, internal_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, stream::RecordBatchStreamAdapter},
};
use futures::StreamExt;
use larder_expressions::{Expression, ExpressionSpec, RequestTime};
use serde::{Deserialize, Serialize};

use super::single_partition;

/// What is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDemandSpec {
    /// The column with each row's request time: `timestamp[us, UTC]`.
    pub time: String,
    /// What comes behind the input's columns.
    pub computed: Vec<Computed>,
}

/// A computed column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Computed {
    /// What it is called.
    pub name: String,
    /// What computes it.
    pub expression: ExpressionSpec,
    /// The input's columns that it reads, in the order of [`Expression::inputs_used`].
    pub columns: Vec<String>,
}

/// Appends computed columns. Its input has one partition.
#[derive(Debug)]
pub struct OnDemandExec {
    spec: Arc<OnDemandSpec>,
    compiled: Arc<Compiled>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

#[derive(Debug)]
struct Compiled {
    time: usize,
    columns: Vec<(Expression, Vec<usize>)>,
    schema: SchemaRef,
}

impl OnDemandExec {
    /// Compiles the expressions.
    pub fn try_new(spec: Arc<OnDemandSpec>, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let schema = input.schema();
        let compile = |computed: &Computed| {
            let expression = computed.expression.compile().map_err(external)?;
            let columns = computed.columns.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
            Ok((expression, columns))
        };
        let columns = spec.computed.iter().map(compile).collect::<Result<Vec<_>>>()?;
        let computed = spec.computed.iter();
        let computed = computed.map(|one| Arc::new(Field::new(&one.name, one.expression.declared.arrow(), true)));
        let fields: Vec<Arc<Field>> = schema.fields().iter().cloned().chain(computed).collect();
        let output = Arc::new(Schema::new(fields));
        let compiled = Compiled { time: schema.index_of(&spec.time)?, columns, schema: Arc::clone(&output) };
        Ok(Self { spec, compiled: Arc::new(compiled), input, properties: single_partition(output) })
    }

    /// What it computes.
    pub fn spec(&self) -> &Arc<OnDemandSpec> {
        &self.spec
    }
}

impl Compiled {
    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let time = RequestTime::PerRow(Arc::clone(batch.column(self.time)));
        let mut columns = batch.columns().to_vec();
        for (expression, inputs) in &self.columns {
            let inputs: Vec<ArrayRef> = inputs.iter().map(|index| Arc::clone(batch.column(*index))).collect();
            columns.push(expression.evaluate(&inputs, &time, batch.num_rows()).map_err(external)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

fn external(error: larder_types::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl DisplayAs for OnDemandExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.spec.computed.iter().map(|computed| computed.name.as_str()).collect();
        write!(f, "OnDemandExec: [{}]", names.join(", "))
    }
}

impl ExecutionPlan for OnDemandExec {
    fn name(&self) -> &str {
        "OnDemandExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.len()) {
            (Some(input), 0) => Ok(Arc::new(Self::try_new(Arc::clone(&self.spec), input)?)),
            _ => internal_err!("on-demand features have 1 input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let compiled = Arc::clone(&self.compiled);
        let batches = self.input.execute(partition, context)?.map(move |batch| compiled.apply(&batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
