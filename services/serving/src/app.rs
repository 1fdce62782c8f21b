//! The serving service: takes a request apart, answers it by one catalog and one instant.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use larder_client::Projects;
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
    read::{Answer, read},
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
        let plans = self.projects.get(&request.project, request.min_revision, call.patience()).await?;
        let plan = plans.plan(request.asked, request.full_names)?;
        authorize(&call.caller, Action::ReadFeatures, &resources(&plan, &request.project))?;
        let entities = Entities::check(&plan.selection, request.entities, request.request_data, request.rows)?;
        self.limits.check_entities(entities.rows, plan.selection.outputs.len())?;
        let reading = read(&plan, &*self.store, &entities, instant, request.include_replay);
        let answer = call.deadline.within("reading features", reading).await?;
        self.limits.check_answer(answer.columns.iter().map(|column| bytes_of(&column.values)).sum())?;
        Ok(Response { plan, answer, instant })
    }
}

fn resources<'a>(plan: &'a Plan, project: &'a str) -> Vec<Resource<'a>> {
    let view = |name: &'a Name| Resource::new(ResourceKind::FeatureView, project, name.as_str());
    plan.selection.views.iter().map(|selected| view(selected.view.name())).collect()
}

/// What a column takes on the wire, nearly.
fn bytes_of(values: &ArrayRef) -> usize {
    values.get_array_memory_size()
}

impl Limits {
    fn check_entities(&self, rows: usize, features: usize) -> Result<()> {
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
