//! Reads a request's features: keys, one fetch per key, decoding by view, then what is computed from it.
//!
//! A request is taken in and an answer made beside the threads that serve, if they are great. No piece of an answer is made
//! that the budget has no room for.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef},
    compute::concat,
};
use larder_codec::{DecodedColumn, schema_number};
use larder_definitions::selection::{ComputedFeature, ComputedInput, OutputSource, StoredFeature};
use larder_expressions::RequestTime;
use larder_online_store::{OnlineStore, Rows};
use larder_service::blocking::work_on;
use larder_types::{Error, ErrorCode, Result, RowVersion, Status, Timestamp};

use crate::{
    app::Request,
    budget::{Budget, bytes_of},
    entities::Entities,
    keys::Keys,
    plan::{Plan, ViewReader},
};

/// Entities that an expression is evaluated for at once: what is made is judged after each.
const EVALUATED_ROWS: usize = 16_384;

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

/// Answers `request` by `plan`, judged by `instant`.
pub async fn read(
    plan: &Arc<Plan>,
    store: &dyn OnlineStore,
    request: &Arc<Request>,
    instant: Timestamp,
    mut budget: Budget,
) -> Result<Reading> {
    let values = request.rows_told().saturating_mul(plan.selection.outputs.len());
    let (by_plan, asked) = (Arc::clone(plan), Arc::clone(request));
    let taken = work_on(values, move || {
        let entities = Entities::check(&by_plan.selection, &asked, &mut budget)?;
        let keys: Vec<_> = by_plan.fetches.iter().map(|fetch| Keys::of(fetch, &entities)).collect::<Result<_>>()?;
        Ok((entities, keys, budget))
    });
    let (entities, keys, mut budget) = taken.await?;
    let rows = fetch(plan, store, &keys, &mut budget).await?;
    let with_versions = request.include_replay;
    let plan = Arc::clone(plan);
    work_on(values, move || Making { plan: &plan, entities, keys, rows, instant, with_versions, budget }.answer()).await
}

async fn fetch(plan: &Plan, store: &dyn OnlineStore, keys: &[Keys], budget: &mut Budget) -> Result<Vec<Rows>> {
    let mut fetched = Vec::with_capacity(keys.len());
    for (fetch, keys) in plan.fetches.iter().zip(keys) {
        let rows = store.read_within(&keys.distinct, &fetch.row_sets, budget.left_to_read()).await;
        let is_too_much = |error: &Error| error.code() == ErrorCode::ResourceExhausted;
        let rows = rows.map_err(|error| if is_too_much(&error) { budget.too_much_read() } else { error })?;
        budget.read(rows.byte_len())?;
        fetched.push(rows);
    }
    Ok(fetched)
}

/// An answer in the making.
struct Making<'a> {
    plan: &'a Plan,
    entities: Entities,
    /// By fetch.
    keys: Vec<Keys>,
    /// By fetch.
    rows: Vec<Rows>,
    instant: Timestamp,
    with_versions: bool,
    budget: Budget,
}

impl Making<'_> {
    fn answer(mut self) -> Result<Reading> {
        if self.with_versions {
            self.budget.versions(self.entities.rows.saturating_mul(self.plan.readers.len()))?;
        }
        let mut stored = Vec::with_capacity(self.plan.readers.len());
        let mut versions = Vec::new();
        for (view, reader) in self.plan.readers.iter().enumerate() {
            let keys = &self.keys[reader.fetch];
            let oldest = reader.ttl.map(|ttl| self.instant.minus(ttl));
            let mut columns = reader.decoder.columns(keys.distinct.len());
            let mut seen = Vec::with_capacity(if self.with_versions { keys.distinct.len() } else { 0 });
            for row in self.rows[reader.fetch].row_set(reader.row_set) {
                let version = match columns.push(row, oldest) {
                    Ok(version) => version,
                    Err(error) => return unreadable(self.plan, reader, row, error),
                };
                if self.with_versions {
                    seen.push(version);
                }
            }
            let mut spread = Vec::new();
            for (feature, column) in columns.finish()?.into_iter().enumerate() {
                let bytes = keys.bytes_spread(&column);
                charge(&mut self.budget, self.plan, OutputSource::Stored(StoredFeature { view, feature }), bytes)?;
                spread.push(keys.spread_column(column)?);
            }
            stored.push(spread);
            versions.push(if self.with_versions { keys.spread(seen) } else { seen });
        }
        let columns = self.assemble(stored)?;
        Ok(Reading::Done(Answer { columns, versions }))
    }

    fn assemble(&mut self, stored: Vec<Vec<DecodedColumn>>) -> Result<Vec<DecodedColumn>> {
        let plan = self.plan;
        let mut computed = Vec::with_capacity(plan.selection.computed.len());
        for (at, feature) in plan.selection.computed.iter().enumerate() {
            computed.push(self.compute(at, feature, &stored)?);
        }
        let column = |source: &OutputSource| match source {
            OutputSource::Stored(at) => stored[at.view][at.feature].clone(),
            OutputSource::Computed(at) => computed[*at].clone(),
        };
        Ok(plan.selection.outputs.iter().map(|output| column(&output.source)).collect())
    }

    /// All that is not PRESENT is null to an expression.
    fn compute(
        &mut self,
        at: usize,
        feature: &ComputedFeature,
        stored: &[Vec<DecodedColumn>],
    ) -> Result<DecodedColumn> {
        let input = |input: &ComputedInput| match input {
            ComputedInput::Stored(at) => Arc::clone(&stored[at.view][at.feature].values),
            ComputedInput::Request(at) => Arc::clone(&self.entities.request[*at]),
        };
        let inputs: Vec<ArrayRef> = feature.inputs.iter().map(input).collect();
        let rows = self.entities.rows;
        let mut pieces = Vec::with_capacity(rows.div_ceil(EVALUATED_ROWS));
        // Of no rows too there is one piece, which says of what type it is.
        for start in (0..rows.max(1)).step_by(EVALUATED_ROWS) {
            let count = EVALUATED_ROWS.min(rows - start);
            let inputs: Vec<_> = inputs.iter().map(|input| input.slice(start, count)).collect();
            let piece = feature.expression.evaluate(&inputs, &RequestTime::One(self.instant), count)?;
            let statuses = if piece.null_count() > 0 { count } else { 0 };
            charge(&mut self.budget, self.plan, OutputSource::Computed(at), bytes_of(&piece) + statuses)?;
            pieces.push(piece);
        }
        let values = together(pieces)?;
        let statuses = (values.null_count() > 0).then(|| statuses_of(&values));
        Ok(DecodedColumn { values, statuses })
    }
}

/// What is an output goes into the answer, as often as it is one; what is not, is what it is made of.
fn charge(budget: &mut Budget, plan: &Plan, source: OutputSource, bytes: usize) -> Result<()> {
    let times = plan.uses(source);
    if times == 0 { budget.read(bytes) } else { budget.answer(bytes.saturating_mul(times)) }
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

fn together(mut pieces: Vec<ArrayRef>) -> Result<ArrayRef> {
    if pieces.len() == 1 {
        return Ok(pieces.swap_remove(0));
    }
    let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
    concat(&pieces).map_err(|error| Error::internal(format!("the pieces of a computed feature: {error}")))
}

fn statuses_of(values: &ArrayRef) -> Vec<u8> {
    let status = |row| if values.is_null(row) { Status::Null } else { Status::Present };
    (0..values.len()).map(|row| status(row).as_u8()).collect()
}
