//! Reads a request's features: keys, one fetch per key, decoding by view, then what is computed from it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use larder_codec::{DecodedColumn, EncodedKeys, schema_number};
use larder_definitions::selection::{ComputedFeature, ComputedInput, OutputSource};
use larder_expressions::RequestTime;
use larder_online_store::{OnlineStore, Rows};
use larder_types::{Error, Result, RowVersion, Status, Timestamp};

use crate::{
    entities::Entities,
    plan::{Plan, ViewReader},
};

/// The values of all that was asked for.
#[derive(Debug)]
pub struct Answer {
    /// In the order of the selection's outputs.
    pub columns: Vec<DecodedColumn>,
    /// By view of the selection, per entity: the version of the row that was read. Empty unless asked for.
    pub versions: Vec<Vec<Option<RowVersion>>>,
}

/// How a read ended.
#[derive(Debug)]
pub enum Reading {
    /// All was read.
    Done(Answer),
    /// A row was written by a later revision than the plan's, which alone says how to read it; UNAVAILABLE.
    Behind(Error),
}

/// Answers `plan` for `entities`, judged by `instant`.
pub async fn read(
    plan: &Plan,
    store: &dyn OnlineStore,
    entities: &Entities,
    instant: Timestamp,
    with_versions: bool,
) -> Result<Reading> {
    let fetched = fetch(plan, store, entities).await?;
    let mut stored = Vec::with_capacity(plan.readers.len());
    let mut versions = Vec::new();
    for reader in &plan.readers {
        let oldest = reader.ttl.map(|ttl| instant.minus(ttl));
        let mut columns = reader.decoder.columns(entities.rows);
        let mut seen = Vec::with_capacity(if with_versions { entities.rows } else { 0 });
        for entity in 0..entities.rows {
            let row = fetched[reader.fetch].get(entity, reader.row_set);
            let version = match columns.push(row, oldest) {
                Ok(version) => version,
                Err(error) => return unreadable(plan, reader, row, error),
            };
            if with_versions {
                seen.push(version);
            }
        }
        stored.push(columns.finish()?);
        versions.push(seen);
    }
    let columns = assemble(plan, stored, entities, instant)?;
    Ok(Reading::Done(Answer { columns, versions }))
}

fn unreadable(plan: &Plan, reader: &ViewReader, row: Option<&[u8]>, error: Error) -> Result<Reading> {
    let schema = row.and_then(|row| schema_number(row).ok());
    match schema.filter(|schema| *schema > reader.newest_schema) {
        None => Err(error),
        Some(schema) => Ok(Reading::Behind(Error::unavailable(format!(
            "a row was written by schema {schema} of its view, which revision {} does not have yet: try again",
            plan.catalog.revision
        )))),
    }
}

async fn fetch(plan: &Plan, store: &dyn OnlineStore, entities: &Entities) -> Result<Vec<Rows>> {
    let mut fetched = Vec::with_capacity(plan.fetches.len());
    for fetch in &plan.fetches {
        let keys: EncodedKeys = fetch.encoder.encode(&entities.key(&fetch.key_columns), entities.rows)?;
        fetched.push(store.read(&keys, &fetch.row_sets).await?);
    }
    Ok(fetched)
}

fn assemble(
    plan: &Plan,
    stored: Vec<Vec<DecodedColumn>>,
    entities: &Entities,
    instant: Timestamp,
) -> Result<Vec<DecodedColumn>> {
    let computed = plan.selection.computed.iter().map(|feature| compute(feature, &stored, entities, instant));
    let computed = computed.collect::<Result<Vec<_>>>()?;
    let column = |source: &OutputSource| match source {
        OutputSource::Stored(at) => stored[at.view][at.feature].clone(),
        OutputSource::Computed(at) => computed[*at].clone(),
    };
    Ok(plan.selection.outputs.iter().map(|output| column(&output.source)).collect())
}

/// All that is not PRESENT is null to an expression.
fn compute(
    feature: &ComputedFeature,
    stored: &[Vec<DecodedColumn>],
    entities: &Entities,
    instant: Timestamp,
) -> Result<DecodedColumn> {
    let input = |input: &ComputedInput| match input {
        ComputedInput::Stored(at) => Arc::clone(&stored[at.view][at.feature].values),
        ComputedInput::Request(at) => Arc::clone(&entities.request[*at]),
    };
    let inputs: Vec<ArrayRef> = feature.inputs.iter().map(input).collect();
    let values = feature.expression.evaluate(&inputs, &RequestTime::One(instant), entities.rows)?;
    let statuses = (values.null_count() > 0).then(|| statuses_of(&values));
    Ok(DecodedColumn { values, statuses })
}

fn statuses_of(values: &ArrayRef) -> Vec<u8> {
    let status = |row| if values.is_null(row) { Status::Null } else { Status::Present };
    (0..values.len()).map(|row| status(row).as_u8()).collect()
}
