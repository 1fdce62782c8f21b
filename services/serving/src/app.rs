//! The serving service: takes a request apart, answers it by one catalog and one instant.
//!
//! A catalog that is older than the rows it is to read is no reason to fail: another service may have heard of a revision
//! first and written rows by it. Such a request is answered anew, as a whole, by the catalog that comes.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef},
    datatypes::DataType,
};
use larder_client::Projects;
use larder_codec::DecodedColumn;
use larder_definitions::selection::Asked;
use larder_online_store::OnlineStore;
use larder_service::{
    authorize::{Action, Resource, ResourceKind, authorize},
    call::CallContext,
};
use larder_types::{Clock, Error, Name, Result, Revision, RowVersion, Timestamp};

use crate::{
    config::Limits,
    entities::Entities,
    plan::Plan,
    plans::Plans,
    read::{Answer, Reading, read},
};

/// What a caller wants to know.
#[derive(Debug, Clone)]
pub struct Request {
    /// The project.
    pub project: String,
    /// Which features.
    pub asked: Asked,
    /// Join keys by name, a row an entity.
    pub entities: Vec<(String, ArrayRef)>,
    /// Request data by name, a row an entity or one for all.
    pub request_data: Vec<(String, ArrayRef)>,
    /// Names features `view.feature`.
    pub full_names: bool,
    /// Asks for what a replay needs.
    pub include_replay: bool,
    /// The least revision to answer by.
    pub min_revision: Revision,
    /// Rows, where no column tells.
    pub rows: usize,
}

/// What the caller is told.
#[derive(Debug)]
pub struct Response {
    /// How it was answered: names and types of the columns, the catalog.
    pub plan: Arc<Plan>,
    /// The values.
    pub answer: Answer,
    /// By which it was judged.
    pub instant: Timestamp,
}

impl Response {
    /// The versions of the rows that were read, by view of the selection; for a replay.
    pub fn versions(&self) -> impl Iterator<Item = (&Name, &Name, u32, &[Option<RowVersion>])> {
        let views = self.plan.selection.views.iter().zip(&self.answer.versions);
        views.map(|(view, versions)| (&view.name, view.view.name(), view.view.row_set.0, versions.as_slice()))
    }
}

/// A row's version in an answer: two times, whether there is a row, and what frames them.
const VERSION_BYTES: usize = 21;

/// Answers online reads.
pub struct Serving {
    store: Arc<dyn OnlineStore>,
    clock: Arc<dyn Clock>,
    projects: Projects<Plans>,
    limits: Limits,
}

impl Serving {
    /// Reads `store`, by the catalogs of `projects`.
    pub fn new(store: Arc<dyn OnlineStore>, clock: Arc<dyn Clock>, projects: Projects<Plans>, limits: Limits) -> Self {
        Self { store, clock, projects, limits }
    }

    /// Answers `request`, judged by the instant of its arrival.
    pub async fn answer(&self, request: Request, call: &CallContext) -> Result<Response> {
        let instant = self.clock.now();
        let mut plans = self.projects.get(&request.project, request.min_revision, call.patience()).await?;
        loop {
            let plan = plans.plan(&request.asked, request.full_names)?;
            match self.answer_by(&plan, &request, instant, call).await? {
                Reading::Done(answer) => return Ok(Response { plan, answer, instant }),
                Reading::Behind(why) => {
                    let newer = plan.catalog.revision.next();
                    // Not all of the time that is left, so that there is some to say why it was not enough.
                    let newer = self.projects.get(&request.project, newer, call.patience() / 2).await;
                    plans = newer.map_err(|_| why)?;
                }
            }
        }
    }

    async fn answer_by(
        &self,
        plan: &Plan,
        request: &Request,
        instant: Timestamp,
        call: &CallContext,
    ) -> Result<Reading> {
        let Request { project, entities, request_data, rows, include_replay, .. } = request;
        authorize(&call.caller, Action::ReadFeatures, &resources(plan, project))?;
        let entities = Entities::check(&plan.selection, entities, request_data, *rows, &self.limits)?;
        let reading = read(plan, &*self.store, &entities, instant, *include_replay);
        let reading = call.deadline.within("reading features", reading).await?;
        if let Reading::Done(answer) = &reading {
            self.limits.check_answer(bytes_of(answer))?;
        }
        Ok(reading)
    }
}

fn resources<'a>(plan: &'a Plan, project: &'a str) -> Vec<Resource<'a>> {
    let view = |name: &'a Name| Resource::new(ResourceKind::FeatureView, project, name.as_str());
    plan.selection.views.iter().map(|selected| view(selected.view.name())).collect()
}

/// What an answer takes on the wire, nearly.
fn bytes_of(answer: &Answer) -> usize {
    let column = |column: &DecodedColumn| {
        let values = column.values.to_data().get_slice_memory_size().unwrap_or(usize::MAX);
        let is_bool = *column.values.data_type() == DataType::Boolean;
        let bytes_for_bits = if is_bool { column.values.len() } else { 0 };
        let statuses = column.statuses.as_ref().map_or(0, Vec::len);
        values.saturating_add(bytes_for_bits).saturating_add(statuses)
    };
    let columns = answer.columns.iter().map(column).fold(0, usize::saturating_add);
    let versions: usize = answer.versions.iter().map(Vec::len).sum();
    columns.saturating_add(versions.saturating_mul(VERSION_BYTES))
}

impl Limits {
    /// RESOURCE_EXHAUSTED where an answer for so many entities would have too many values.
    pub fn check_entities(&self, rows: usize, features: usize) -> Result<()> {
        if rows.saturating_mul(features.max(1)) <= self.max_values {
            return Ok(());
        }
        Err(Error::resource_exhausted(format!(
            "{rows} entities × {features} features are more than the {} values that an answer may have \
             (serving.limits.max_values): ask for fewer entities at a time, or use StreamOnlineFeatures",
            self.max_values
        )))
    }

    fn check_answer(&self, bytes: usize) -> Result<()> {
        if bytes <= self.max_answer_bytes.bytes() {
            return Ok(());
        }
        Err(Error::resource_exhausted(format!(
            "the answer would have {bytes} bytes; the limit is {} (serving.limits.max_answer_bytes): ask for fewer entities at a \
             time, or use StreamOnlineFeatures",
            self.max_answer_bytes
        )))
    }
}
