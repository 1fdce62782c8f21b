//! The serving service: takes a request apart, answers it by one catalog and one instant.
//!
//! A catalog that is older than the rows it is to read is no reason to fail: another service may have heard of a revision
//! first and written rows by it. Such a request is answered anew, as a whole, by the catalog that comes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use larder_client::Projects;
use larder_definitions::selection::Asked;
use larder_online_store::OnlineStore;
use larder_service::{
    authorize::{Action, Resource, ResourceKind, authorize},
    call::CallContext,
};
use larder_types::{Clock, Name, Result, Revision, RowVersion, Timestamp};

use crate::{
    budget::Budget,
    config::Limits,
    great::{GreatAnswers, Place, Queued, Turn},
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
    pub asked: Arc<Asked>,
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

impl Request {
    /// How many rows the caller says or sends.
    pub fn rows_told(&self) -> usize {
        let sent = self.entities.iter().chain(&self.request_data).map(|(_, values)| values.len());
        sent.chain([self.rows]).max().unwrap_or(0)
    }
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
    great: GreatAnswers,
}

impl Serving {
    /// Reads `store`, by the catalogs of `projects`.
    pub fn new(
        store: Arc<dyn OnlineStore>,
        clock: Arc<dyn Clock>,
        projects: Projects<Plans>,
        limits: Limits,
        great: GreatAnswers,
    ) -> Self {
        Self { store, clock, projects, limits, great }
    }

    /// Answers `request`, judged by the instant of its arrival. One of a stream is `queued`.
    pub async fn answer(&self, request: Request, call: &CallContext, mut queued: Option<Queued>) -> Result<Response> {
        let instant = self.clock.now();
        let request = Arc::new(request);
        let mut plans = self.projects.get(&request.project, request.min_revision, call.patience()).await?;
        loop {
            let plan = plans.plan(&request.asked, request.full_names).await?;
            match self.answer_by(&plan, &request, instant, call, queued.as_mut()).await? {
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
        plan: &Arc<Plan>,
        request: &Arc<Request>,
        instant: Timestamp,
        call: &CallContext,
        queued: Option<&mut Queued>,
    ) -> Result<Reading> {
        authorize(&call.caller, Action::ReadFeatures, &resources(plan, &request.project))?;
        let turn = self.great.turn(queued);
        let reading = read(plan, &*self.store, request, instant, Budget::new(self.limits), turn);
        call.deadline.within("reading features", reading).await
    }
}

impl Serving {
    /// A place for an answer of so many bytes until it is taken.
    pub fn place(&self, bytes: usize) -> Result<Place> {
        self.great.place(bytes)
    }

    /// The turn to encode an answer that was not known to be great before it was made. It waits for no others of its stream,
    /// which may wait for it.
    pub async fn late_turn(&self) -> Result<Turn> {
        self.great.turn(None).await
    }
}

fn resources<'a>(plan: &'a Plan, project: &'a str) -> Vec<Resource<'a>> {
    let view = |name: &'a Name| Resource::new(ResourceKind::FeatureView, project, name.as_str());
    plan.selection.views.iter().map(|selected| view(selected.view.name())).collect()
}
