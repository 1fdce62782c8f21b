//! What a point-in-time join is told: columns, ttl, names. This, and nothing else, is the state of the operator in a plan.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result, plan_err};
use larder_codec::{RowEncoder, RowSchema, SchemaColumn};
use larder_types::{ColumnNumber, SchemaNumber, ValueType};
use serde::{Deserialize, Serialize};

use crate::history::{CREATED_TIME, DELETED, EVENT_TIME};

/// A point-in-time join of a spine with the history of one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinSpec {
    /// The spine's column with the row number: `uint64`, each number once, never null.
    pub spine_row: String,
    /// The spine's column with the time: `timestamp[us]`, never null.
    pub spine_time: String,
    /// The spine's columns with the keys, in the order of `history_keys`.
    pub spine_keys: Vec<String>,
    /// The history's columns with the keys; none for a view without entity.
    pub history_keys: Vec<String>,
    /// All materialised columns of the view: they decide between rows of equal times.
    pub values: Vec<ValueColumn>,
    /// The schema that rows are encoded with.
    pub schema: SchemaNumber,
    /// What comes out behind the row number, in this order.
    pub output: Vec<OutputColumn>,
    /// How old a row may be, in microseconds; none: no limit.
    pub ttl: Option<i64>,
}

/// A materialised column of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueColumn {
    /// The history's column.
    pub name: String,
    /// Its number in the view.
    pub number: ColumnNumber,
}

/// A column that comes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputColumn {
    /// One of the values, by name.
    pub value: String,
    /// What it is called.
    pub name: String,
}

/// A [`JoinSpec`] with its columns found in the two inputs.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) spine_row: usize,
    pub(super) spine_time: usize,
    pub(super) spine_keys: Vec<usize>,
    pub(super) history_keys: Vec<usize>,
    pub(super) event: usize,
    pub(super) created: usize,
    pub(super) deleted: usize,
    /// By position in [`JoinSpec::values`].
    pub(super) values: Vec<usize>,
    /// Positions in [`JoinSpec::values`] in the order of column numbers: what `encoder` takes.
    pub(super) encoded: Vec<usize>,
    /// Positions in [`JoinSpec::values`].
    pub(super) output: Vec<usize>,
    pub(super) encoder: RowEncoder,
    pub(super) ttl: Option<i64>,
    pub(super) spine_schema: SchemaRef,
    pub(super) history_schema: SchemaRef,
    pub(super) output_schema: SchemaRef,
}

impl Resolved {
    pub(super) fn new(spec: &JoinSpec, spine: &SchemaRef, history: &SchemaRef) -> Result<Self> {
        let spine_row = find(spine, "spine", &spec.spine_row)?;
        let spine_time = find(spine, "spine", &spec.spine_time)?;
        let event = find(history, "history", EVENT_TIME)?;
        let created = find(history, "history", CREATED_TIME)?;
        let deleted = find(history, "history", DELETED)?;
        expect_type(spine, spine_row, |found| *found == DataType::UInt64)?;
        expect_type(spine, spine_time, is_micros)?;
        expect_type(history, event, is_micros)?;
        expect_type(history, created, is_micros)?;
        expect_type(history, deleted, |found| *found == DataType::Boolean)?;
        if spec.spine_keys.len() != spec.history_keys.len() {
            return plan_err!(
                "{} keys of the spine, {} of the history",
                spec.spine_keys.len(),
                spec.history_keys.len()
            );
        }
        let all = |schema: &SchemaRef, side, names: &[String]| -> Result<Vec<usize>> {
            names.iter().map(|name| find(schema, side, name)).collect()
        };
        let value_names: Vec<String> = spec.values.iter().map(|value| value.name.clone()).collect();
        let values = all(history, "history", &value_names)?;
        let row_schema = row_schema(spec, history, &values)?;
        let numbers = row_schema.columns().iter().map(|column| column.number);
        let encoded =
            numbers.filter_map(|number| spec.values.iter().position(|value| value.number == number)).collect();
        let output =
            spec.output.iter().map(|column| position(&value_names, &column.value)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            spine_row,
            spine_time,
            spine_keys: all(spine, "spine", &spec.spine_keys)?,
            history_keys: all(history, "history", &spec.history_keys)?,
            event,
            created,
            deleted,
            encoded,
            encoder: RowEncoder::new(&row_schema),
            ttl: spec.ttl,
            spine_schema: Arc::clone(spine),
            history_schema: Arc::clone(history),
            output_schema: output_schema(spec, history, &values, &output),
            values,
            output,
        })
    }

    pub(super) fn key_types(&self, schema: &SchemaRef, keys: &[usize]) -> Vec<DataType> {
        keys.iter().map(|key| schema.field(*key).data_type().clone()).collect()
    }
}

fn output_schema(spec: &JoinSpec, history: &SchemaRef, values: &[usize], output: &[usize]) -> SchemaRef {
    let row = Field::new(&spec.spine_row, DataType::UInt64, false);
    let columns = spec.output.iter().zip(output).map(|(column, value)| {
        let data_type = history.field(values[*value]).data_type().clone();
        Field::new(&column.name, data_type, true)
    });
    Arc::new(Schema::new(std::iter::once(row).chain(columns).collect::<Vec<_>>()))
}

fn row_schema(spec: &JoinSpec, history: &SchemaRef, values: &[usize]) -> Result<RowSchema> {
    let column = |(value, index): (&ValueColumn, &usize)| {
        let data_type = history.field(*index).data_type();
        match ValueType::from_arrow(data_type) {
            Some(value_type) => Ok(SchemaColumn { number: value.number, value_type }),
            None => plan_err!("column `{}` of the history is {data_type}, which no feature is", value.name),
        }
    };
    let columns = spec.values.iter().zip(values).map(column).collect::<Result<_>>()?;
    RowSchema::new(spec.schema, columns).map_err(|error| DataFusionError::External(Box::new(error)))
}

fn find(schema: &SchemaRef, side: &str, name: &str) -> Result<usize> {
    match schema.index_of(name) {
        Ok(index) => Ok(index),
        Err(_) => plan_err!("the {side} of a point-in-time join has no column `{name}`"),
    }
}

fn position(names: &[String], wanted: &str) -> Result<usize> {
    match names.iter().position(|name| name == wanted) {
        Some(position) => Ok(position),
        None => plan_err!("`{wanted}` is to come out of a point-in-time join and is not one of its values"),
    }
}

fn expect_type(schema: &SchemaRef, index: usize, is_right: impl Fn(&DataType) -> bool) -> Result<()> {
    let field = schema.field(index);
    if is_right(field.data_type()) {
        return Ok(());
    }
    plan_err!("column `{}` of a point-in-time join has type {}", field.name(), field.data_type())
}

fn is_micros(found: &DataType) -> bool {
    matches!(found, DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _))
}
