//! A compiled expression.

use std::{fmt, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray},
    datatypes::{Field, Schema, SchemaRef},
};
use larder_types::{Error, Result, ScalarType, Timestamp, ValueType};
use serde::{Deserialize, Serialize};

use crate::{
    call::Node,
    inputs::Input,
    parse::parse,
    plan::{Planner, Slot},
};

/// Everything that determines an expression. Sent to another process, it compiles to one that gives the same bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpressionSpec {
    /// The text.
    pub sql: String,
    /// What it may read.
    pub inputs: Vec<Input>,
    /// The type of its result.
    pub declared: ValueType,
}

impl ExpressionSpec {
    /// Compiles it.
    pub fn compile(&self) -> Result<Expression> {
        Expression::compile(&self.sql, &self.inputs, self.declared)
    }
}

/// The instant that `request_time()` gives.
#[derive(Debug, Clone)]
pub enum RequestTime {
    /// The same for all rows: serving.
    One(Timestamp),
    /// One per row: the spine's times in training. `timestamp[us, UTC]`.
    PerRow(ArrayRef),
}

/// A scalar expression, checked and ready to run. Cheap to clone; evaluation needs no lock.
#[derive(Clone)]
pub struct Expression(Arc<Compiled>);

struct Compiled {
    spec: ExpressionSpec,
    inputs_used: Vec<usize>,
    /// Where among the columns the request's time stands, if it is read.
    request_time_at: Option<usize>,
    schema: SchemaRef,
    root: Node,
}

impl Expression {
    /// Checks and compiles `sql` over `inputs` to a result of type `declared`.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` that says what is wrong and, where the parser tells, at which line and column.
    pub fn compile(sql: &str, inputs: &[Input], declared: ValueType) -> Result<Self> {
        let (root, slots) = on_own_stack(|| plan(sql, inputs, declared))?;
        let fields: Vec<_> = slots.iter().enumerate().map(|(at, slot)| slot_field(at, slot, inputs)).collect();
        Ok(Self(Arc::new(Compiled {
            spec: ExpressionSpec { sql: sql.to_owned(), inputs: inputs.to_vec(), declared },
            inputs_used: slots.iter().filter_map(Slot::input).collect(),
            request_time_at: slots.iter().position(|slot| slot.input().is_none()),
            schema: Arc::new(Schema::new(fields)),
            root,
        })))
    }

    /// The indexes among the inputs of those it reads, each once: the columns [`Expression::evaluate`] wants.
    pub fn inputs_used(&self) -> &[usize] {
        &self.0.inputs_used
    }

    /// The text.
    pub fn sql(&self) -> &str {
        &self.0.spec.sql
    }

    /// The declared type, which results have.
    pub fn value_type(&self) -> ValueType {
        self.0.spec.declared
    }

    /// What determines it, to be sent elsewhere.
    pub fn spec(&self) -> &ExpressionSpec {
        &self.0.spec
    }

    /// One value per row. `columns` are those of [`Expression::inputs_used`], in its order, each `rows` long and of its
    /// input's Arrow type.
    ///
    /// # Errors
    ///
    /// `INTERNAL` when the columns are not what was asked for. No value in them can make it fail.
    pub fn evaluate(&self, columns: &[ArrayRef], request_time: &RequestTime, rows: usize) -> Result<ArrayRef> {
        let compiled = &*self.0;
        if columns.len() != compiled.inputs_used.len() {
            return Err(self.failed(format_args!("{} columns, not {}", columns.len(), compiled.inputs_used.len())));
        }
        let mut all = Vec::with_capacity(columns.len() + 1);
        all.extend_from_slice(columns);
        if let Some(at) = compiled.request_time_at {
            all.insert(at, request_time_column(request_time, rows));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&compiled.schema), all, &options)
            .map_err(|error| self.failed(&error).with_source(error))?;
        let result = compiled.root.evaluate(&batch).and_then(|value| value.into_array(rows));
        let result = result.map_err(|error| self.failed(error.strip_backtrace()).with_source(error))?;
        debug_assert_eq!(*result.data_type(), compiled.spec.declared.arrow());
        Ok(result)
    }

    fn failed(&self, reason: impl fmt::Display) -> Error {
        Error::internal(format!("evaluating `{}`: {reason}", self.sql()))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.0.spec).finish()
    }
}

fn plan(sql: &str, inputs: &[Input], declared: ValueType) -> Result<(Node, Vec<Slot>)> {
    let tree = parse(sql)?;
    let mut planner = Planner::new(inputs);
    let root = planner.plan_root(&tree, declared)?;
    Ok((root, planner.into_slots()))
}

/// What the parser takes for its deepest nesting, several times over: it recurses with large frames, and callers' threads
/// may have little. Only the pages that are touched cost memory.
const STACK_BYTES: usize = 32 << 20;

/// Runs `work` on a thread with a stack of its own.
fn on_own_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let builder = std::thread::Builder::new().name("compile-expression".to_owned()).stack_size(STACK_BYTES);
    std::thread::scope(|scope| {
        let thread = builder.spawn_scoped(scope, work).map_err(|error| {
            Error::resource_exhausted(format!("no thread to compile an expression on: {error}")).with_source(error)
        })?;
        thread.join().unwrap_or_else(|_| Err(Error::internal("compiling an expression failed")))
    })
}

fn slot_field(at: usize, slot: &Slot, inputs: &[Input]) -> Field {
    let data_type = match slot {
        Slot::Input(index) => inputs[*index].value_type.arrow(),
        Slot::RequestTime => ScalarType::Timestamp.arrow(),
    };
    Field::new(format!("${at}"), data_type, true)
}

fn request_time_column(request_time: &RequestTime, rows: usize) -> ArrayRef {
    match request_time {
        RequestTime::One(instant) => {
            let array = TimestampMicrosecondArray::from_value(instant.as_micros(), rows);
            Arc::new(array.with_data_type(ScalarType::Timestamp.arrow()))
        }
        RequestTime::PerRow(times) => Arc::clone(times),
    }
}
