//! A push source's way to the online store: the views that it feeds, and the writes of a batch for each.

use std::{sync::Arc, time::Duration};

use arrow::array::ArrayRef;
use larder_definitions::{
    Catalog, ResolvedView,
    view_rows::{ViewColumns, ViewRows},
};
use larder_online_store::{KeyWrite, OnlineStore, RowOutcome, WriteMode};
use larder_types::{Error, Result, Timestamp};

use crate::batch::{Accepted, Refusal};

/// The views that a push source feeds online.
#[derive(Debug)]
pub struct OnlineViews(Vec<(Arc<ResolvedView>, ViewRows)>);

/// The writes of a batch, of all views.
#[derive(Debug, Default)]
pub struct OnlineWrites {
    writes: Vec<KeyWrite>,
    /// Of each write, its row among the accepted ones.
    rows: Vec<usize>,
}

/// What became of an accepted row online, over all views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowState {
    /// Past the ttl of every view.
    Expired,
    /// Every view has a newer row, or one as new.
    Older,
    /// At least one view has it now.
    Written,
}

impl OnlineViews {
    /// The views of `source` that are served.
    pub fn of(catalog: &Catalog, source: &str, key_prefix: Option<&str>, grace: Duration) -> Result<Self> {
        let views = catalog.views_of_push_source(source).filter(|view| view.definition.online);
        let rows = |view: &Arc<ResolvedView>| {
            Ok((Arc::clone(view), ViewRows::new(view, catalog.project_number, key_prefix, grace)?))
        };
        views.map(rows).collect::<Result<_>>().map(Self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The writes of a batch at `now`, and the rows whose key cannot be written. Positions are those of accepted rows.
    pub fn encode(&self, accepted: &Accepted, now: Timestamp) -> Result<(OnlineWrites, Vec<Refusal>)> {
        let micros = |times: &[Timestamp]| times.iter().map(|time| time.as_micros()).collect::<Vec<_>>();
        let (event_times, created_times) = (micros(&accepted.event_times), micros(&accepted.created_times));
        let (mut all, mut refusals) = (OnlineWrites::default(), Vec::new());
        for (view, rows) in &self.0 {
            let (keys, features) = view_columns(view, accepted)?;
            let columns = ViewColumns {
                keys: &keys,
                features: &features,
                event_times: &event_times,
                created_times: &created_times,
                deleted: Some(accepted.deleted.values()),
            };
            let encoded = rows.encode(&columns, now)?;
            for row in encoded.rows {
                all.rows.push(row.position);
                let expires_at = rows.expires_at(&row.row)?;
                all.writes.push(KeyWrite::to_row_sets(row.key, row.row, rows.row_sets(), expires_at));
            }
            let reason = |error: &Error| format!("view {}: {error}", view.name());
            refusals.extend(encoded.refused.iter().map(|(row, error)| Refusal { row: *row, reason: reason(error) }));
        }
        Ok((all, refusals))
    }
}

impl OnlineWrites {
    /// Writes; the newest row of each key and view wins. Answers for each of the `rows` accepted ones.
    pub async fn write(self, store: &dyn OnlineStore, rows: usize, now: Timestamp) -> Result<Vec<RowState>> {
        let mut states = vec![RowState::Expired; rows];
        if self.writes.is_empty() {
            return Ok(states);
        }
        let per_write: Vec<usize> = self.writes.iter().map(|write| write.rows.len()).collect();
        let outcomes = store.write(self.writes, WriteMode::Newest, now).await?;
        let owners = self.rows.iter().zip(per_write).flat_map(|(row, count)| std::iter::repeat_n(*row, count));
        for (row, outcome) in owners.zip(outcomes) {
            states[row] = states[row].max(row_state(outcome));
        }
        Ok(states)
    }
}

fn row_state(outcome: RowOutcome) -> RowState {
    match outcome {
        RowOutcome::Written => RowState::Written,
        RowOutcome::Older | RowOutcome::Equal => RowState::Older,
        RowOutcome::Expired => RowState::Expired,
    }
}

/// A view's keys and features among the batch's columns, features cast to the view's own types.
fn view_columns(view: &ResolvedView, accepted: &Accepted) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
    let column = |name: &str| {
        accepted.column(name).cloned().ok_or_else(|| {
            Error::internal(format!("view {}: the push schema of its source lacks column {name}", view.name()))
        })
    };
    let keys = view.key_space.keys.iter().map(|key| column(key.name.as_str()));
    let features = view.definition.features.iter().map(|feature| column(feature.source_column()));
    Ok((keys.collect::<Result<_>>()?, features.collect::<Result<_>>()?))
}
