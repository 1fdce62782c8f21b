//! A batch's way in: checked, appended to the push log, written online, in this order.
//!
//! An error says of each target whether it has the rows. Sending the batch again under the same id is safe at any time:
//! in the log the rows with the same batch id and row number are one row, and online the newest wins.

use std::sync::Arc;

use larder_definitions::{Catalog, PushSchema};
use larder_online_store::OnlineStore;
use larder_push_log::{LogSchema, PushLogWriter, PushedRows};
use larder_service::blocking::work_on;
use larder_types::{Clock, Error, Name, Result, Revision, Timestamp, UniqueClock};

use crate::{
    batch::{Accepted, Batch, Created, Limits, Refusal},
    feeds::Feed,
    online::{OnlineViews, RowState},
};

/// Where rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets {
    /// The online store.
    pub online: bool,
    /// The push log.
    pub offline: bool,
}

/// Whether a target has the rows of a batch that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It has them.
    Yes,
    /// It does not, and will not.
    No,
    /// Not known.
    Unknown,
}

/// Why a batch failed, and what it did before.
#[derive(Debug)]
pub struct IngestError {
    /// Why.
    pub error: Error,
    /// Of each target asked for.
    pub online: Option<Written>,
    /// Of each target asked for.
    pub offline: Option<Written>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// One per row of the batch; none: it was refused.
    pub states: Vec<Option<RowState>>,
    /// One per refused row.
    pub refusals: Vec<Refusal>,
    /// By which the rows were checked.
    pub revision: Revision,
}

/// Brings batches in.
pub struct Ingest {
    /// Where they are served from.
    pub store: Arc<dyn OnlineStore>,
    /// Where they are kept.
    pub log: Arc<PushLogWriter>,
    /// Judges event times.
    pub clock: Arc<dyn Clock>,
    /// Gives created times.
    pub created: UniqueClock,
    /// What a batch may be.
    pub limits: Limits,
}

impl Ingest {
    /// The created times of a batch of so many rows that came just now and brings none: later than those of all that came
    /// before.
    pub fn created_now(&self, rows: usize) -> Created {
        // A batch with more rows is refused, and keeps no times from others.
        Created::From(self.created.next_many(rows.min(self.limits.max_rows)))
    }

    /// Brings a batch in. Without an error every row that was not refused is in every target asked for.
    pub async fn ingest(
        &self,
        catalog: &Catalog,
        feed: &Arc<Feed>,
        batch: Batch,
        targets: Targets,
    ) -> Result<Ingested, IngestError> {
        let nothing_done = |error| IngestError::before_all(error, targets);
        let (rows, id, now) = (batch.event_times.len(), batch.id.clone(), self.clock.now());
        if targets.online && !targets.offline && feed.views.is_empty() {
            return Err(nothing_done(Error::failed_precondition(format!(
                "no view that is served reads push source {}: push to the log as well, or declare such a view",
                feed.source
            ))));
        }
        let (of_feed, limits) = (Arc::clone(feed), self.limits);
        let encoded = work_on(rows.saturating_mul(batch.columns.len() + 1), move || {
            let checked = batch.check(&of_feed.schema, limits, now)?;
            encode(&of_feed.views, checked, now, targets)
        });
        let (accepted, writes, refusals) = encoded.await.map_err(nothing_done)?;
        if targets.offline && !accepted.positions.is_empty() {
            self.append(catalog, feed, &id, &accepted, now, targets).await?;
        }
        let states = writes.write(&*self.store, accepted.positions.len(), now).await;
        let states = states.map_err(|error| IngestError::online(error, targets))?;
        // Where nothing is to be done online, a row is in every target asked for.
        let states =
            if targets.online && !feed.views.is_empty() { states } else { vec![RowState::Written; states.len()] };
        Ok(Ingested { states: spread(rows, &accepted.positions, &states), refusals, revision: catalog.revision })
    }

    async fn append(
        &self,
        catalog: &Catalog,
        feed: &Feed,
        id: &str,
        accepted: &Accepted,
        now: Timestamp,
        targets: Targets,
    ) -> Result<(), IngestError> {
        let rows = log_rows(&feed.schema, id, accepted, now);
        let rows = rows.map_err(|error| IngestError::before_all(error, targets))?;
        match self.log.append(&catalog.project, &feed.source, rows).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let written = if error.known_not_written { Written::No } else { Written::Unknown };
                let online = targets.online.then_some(Written::No);
                Err(IngestError { error: error.into(), online, offline: Some(written) })
            }
        }
    }
}

impl IngestError {
    /// Nothing was done.
    pub fn before_all(error: Error, targets: Targets) -> Self {
        let no = |asked: bool| asked.then_some(Written::No);
        Self { error, online: no(targets.online), offline: no(targets.offline) }
    }

    /// It may have been done, or be done yet.
    pub fn unknown(error: Error, targets: Targets) -> Self {
        let unknown = |asked: bool| asked.then_some(Written::Unknown);
        Self { error, online: unknown(targets.online), offline: unknown(targets.offline) }
    }

    /// It is not known where the rows were to go.
    pub fn of_no_target(error: Error) -> Self {
        Self { error, online: None, offline: None }
    }

    fn online(error: Error, targets: Targets) -> Self {
        Self { error, online: Some(Written::Unknown), offline: targets.offline.then_some(Written::Yes) }
    }

    /// The same, naming the batch where a target may have rows of it: whoever repeats it does so under that id.
    pub fn of_batch(self, id: &str) -> Self {
        let is_begun = [self.online, self.offline].into_iter().flatten().any(|written| written != Written::No);
        if is_begun { Self { error: self.error.with_violation("batch_id", id), ..self } } else { self }
    }

    /// The error, with what each target has among its violations.
    pub fn into_error(self) -> Error {
        let targets = [("targets.offline", self.offline), ("targets.online", self.online)];
        targets.into_iter().fold(self.error, |error, (field, written)| match written {
            Some(Written::Yes) => error.with_violation(field, "written"),
            Some(Written::No) => error.with_violation(field, "not written"),
            Some(Written::Unknown) => error.with_violation(field, "not known"),
            None => error,
        })
    }
}

/// The writes of the rows that can be written; a row whose key cannot is refused, and the others are encoded again.
fn encode(
    views: &OnlineViews,
    (accepted, mut refusals): (Accepted, Vec<Refusal>),
    now: Timestamp,
    targets: Targets,
) -> Result<(Accepted, crate::online::OnlineWrites, Vec<Refusal>)> {
    let (writes, refused) = views.encode(&accepted, now)?;
    if refused.is_empty() {
        let writes = if targets.online { writes } else { Default::default() };
        return Ok((accepted, writes, refusals));
    }
    let gone: Vec<usize> = refused.iter().map(|refusal| refusal.row).collect();
    refusals.extend(refused.into_iter().map(|refusal| Refusal { row: accepted.positions[refusal.row], ..refusal }));
    refusals.sort_by_key(|refusal| refusal.row);
    refusals.dedup_by_key(|refusal| refusal.row);
    encode(views, (accepted.without(&gone)?, refusals), now, targets)
}

fn log_rows(schema: &PushSchema, id: &str, accepted: &Accepted, now: Timestamp) -> Result<arrow::array::RecordBatch> {
    let keys = schema.keys.iter().map(|key| Ok((key.name.clone(), key.key_type.scalar().into())));
    let features = schema.columns.iter().map(|(name, value_type)| Ok((Name::new(name)?, *value_type)));
    let log_schema = LogSchema::new(keys.chain(features).collect::<Result<Vec<_>>>()?)?;
    let row_number = |position: &usize| {
        i32::try_from(*position).map_err(|_| Error::invalid_argument("a batch has at most 2,147,483,647 rows"))
    };
    let rows = PushedRows {
        batch_id: id,
        ingested_at: now,
        schema_number: schema.number,
        row_numbers: accepted.positions.iter().map(row_number).collect::<Result<_>>()?,
        event_times: accepted.event_times.clone(),
        created_times: accepted.created_times.clone(),
        deleted: accepted.deleted.values().iter().collect(),
    };
    let values = accepted.columns.iter().map(|(name, values)| Ok((Name::new(name)?, Arc::clone(values))));
    log_schema.batch(&rows, values.collect::<Result<_>>()?)
}

/// The states of accepted rows at their positions in the batch.
fn spread(rows: usize, positions: &[usize], states: &[RowState]) -> Vec<Option<RowState>> {
    let mut spread = vec![None; rows];
    for (position, state) in positions.iter().zip(states) {
        spread[*position] = Some(*state);
    }
    spread
}
