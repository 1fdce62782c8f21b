//! Reads a request's features: keys, one fetch per key, decoding by view, then what is computed from it.
//!
//! A request is taken in and an answer made beside the threads that serve, if they take long; an answer that may be great is
//! read and made in its turn. No piece of an answer is made that the budget has no room for.

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
    great::{GREAT, Turn},
    keys::Keys,
    plan::{Fetch, Plan, ViewReader},
};

/// Entities that an expression is evaluated for at once: what is made is judged after each.
const EVALUATED_ROWS: usize = 16_384;

/// So many bytes take as long as a value, at least.
pub const BYTES_A_VALUE: usize = 64;

/// Fewer bytes has no value, as a rule.
const LEAST_VALUE: usize = 8;

/// The values of all that was asked for.
#[derive(Debug)]
pub struct Answer {
    /// In the order of the selection's outputs.
    pub columns: Vec<DecodedColumn>,
    /// By view of the selection, per entity: the version of the row that was read. Empty unless asked for.
    pub versions: Vec<Vec<Option<RowVersion>>>,
    /// How many bytes it has.
    pub bytes: usize,
    /// In which it was made, if it was thought to be great.
    pub turn: Option<Turn>,
}

/// How a read ended.
#[derive(Debug)]
pub enum Reading {
    /// All was read.
    Done(Answer),
    /// A row was written by a later revision than the plan's, which alone says how to read it; UNAVAILABLE.
    Behind(Error),
}

/// Answers `request` by `plan`, judged by `instant`; in its `turn` if it may be great.
pub async fn read(
    plan: &Arc<Plan>,
    store: &dyn OnlineStore,
    request: &Arc<Request>,
    instant: Timestamp,
    mut budget: Budget,
    turn: impl Future<Output = Result<Turn>>,
) -> Result<Reading> {
    let values = request.rows_told().saturating_mul(plan.selection.outputs.len());
    let (by_plan, asked) = (Arc::clone(plan), Arc::clone(request));
    let taken = work_on(values, move || {
        let entities = Entities::check(&by_plan.selection, &asked, &mut budget)?;
        let keys: Vec<_> = by_plan.fetches.iter().map(|fetch| Keys::of(fetch, &entities)).collect::<Result<_>>()?;
        Ok((entities, keys, budget))
    });
    let (entities, keys, mut budget) = taken.await?;
    // More than is little is read anew in its turn, so that those who wait for theirs have little in memory.
    let little = if values.saturating_mul(LEAST_VALUE) > GREAT {
        None
    } else {
        fetch(plan, store, &keys, &budget, GREAT).await?
    };
    let (fetched, turn) = match little {
        Some(fetched) if fetched.most_answered <= GREAT => (fetched, None),
        Some(fetched) => (fetched, Some(turn.await?)),
        None => {
            let turn = turn.await?;
            let fetched = fetch(plan, store, &keys, &budget, usize::MAX).await?;
            (fetched.ok_or_else(|| budget.too_much_read())?, Some(turn))
        }
    };
    let Fetched { rows, bytes, most_answered } = fetched;
    budget.read(bytes)?;
    let with_versions = request.include_replay;
    let plan = Arc::clone(plan);
    let make = move || {
        let reading = Making { plan: &plan, entities, keys, rows, instant, with_versions, budget }.answer()?;
        reading.in_turn(turn)
    };
    work_on(values.max(most_answered / BYTES_A_VALUE), make).await
}

impl Reading {
    /// A great answer has a place from now on.
    fn in_turn(self, turn: Option<Turn>) -> Result<Self> {
        Ok(match (self, turn) {
            (Self::Done(answer), Some(mut turn)) => {
                turn.keep(answer.bytes)?;
                Self::Done(Answer { turn: Some(turn), ..answer })
            }
            (reading, _) => reading,
        })
    }
}

/// What the store has.
struct Fetched {
    /// By fetch.
    rows: Vec<Rows>,
    bytes: usize,
    /// How many bytes of rows the answer has at most, each as often as entities share it.
    most_answered: usize,
}

/// The rows of all keys; none where they have more than `most` bytes, though the budget has room for more.
async fn fetch(
    plan: &Plan,
    store: &dyn OnlineStore,
    keys: &[Keys],
    budget: &Budget,
    most: usize,
) -> Result<Option<Fetched>> {
    let mut fetched = Fetched { rows: Vec::with_capacity(keys.len()), bytes: 0, most_answered: 0 };
    for (fetch, keys) in plan.fetches.iter().zip(keys) {
        let left = budget.left_to_read().min(most).saturating_sub(fetched.bytes);
        match store.read_within(&keys.distinct, &fetch.row_sets, left).await {
            Ok(rows) => {
                fetched.bytes += rows.byte_len();
                fetched.most_answered = fetched.most_answered.saturating_add(most_answered(keys, &rows, fetch));
                fetched.rows.push(rows);
            }
            Err(error) if error.code() != ErrorCode::ResourceExhausted => return Err(error),
            Err(_) if most < budget.left_to_read() => return Ok(None),
            Err(_) => return Err(budget.too_much_read()),
        }
    }
    Ok(Some(fetched))
}

fn most_answered(keys: &Keys, rows: &Rows, fetch: &Fetch) -> usize {
    let Some(entities) = keys.sharing() else { return rows.byte_len() };
    let longest = |row_set| rows.row_set(row_set).flatten().map(<[u8]>::len).max().unwrap_or(0);
    let longest: usize = (0..fetch.row_sets.len()).map(longest).sum();
    longest.saturating_mul(entities)
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
        Ok(Reading::Done(Answer { columns, versions, bytes: self.budget.answered(), turn: None }))
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
