//! `larder.registry.v1.RegistryService`.

use std::{ops::RangeInclusive, pin::Pin, sync::Arc};

use futures::{Stream, StreamExt, stream};
use larder_contracts::{
    Path, Wire, catalog,
    explore::Lineage as WireLineage,
    registry::v1::{self as api, registry_service_server::RegistryService},
    revisions::{ChangeRequest, RevisionInfo, diff_to_wire},
    status::to_status,
};
use larder_definitions::{
    Catalog, ChangeSet, Object, ObjectId, ObjectKind, Plan, RevisionMeta, RevisionRecord, RollbackRequest, plan,
    state::{Declared, ProjectState},
    unknown_name,
};
use larder_service::{
    authorize::{Action, Resource, authorize},
    call::CallContext,
    tasks::Tasks,
};
use larder_types::{Error, Name, ProjectNumber, Result, Revision};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::{allow, answer, beside, page, see_through, unknown_token};
use crate::{
    explore,
    project::Made,
    projects::{Kept, Projects},
    watch::watch_catalog,
};

/// The most revisions of one page: each is read from the store.
const REVISIONS_PAGE: u32 = 100;

/// Definitions as a gRPC service.
#[derive(Clone)]
pub struct RegistryGrpc {
    /// Every project.
    pub projects: Arc<Projects>,
    /// The registry's clock.
    pub clock: Arc<dyn larder_types::Clock>,
    /// Brings changes to their end.
    pub tasks: Tasks,
    /// One for each change that is checked at once.
    pub checks: Arc<Semaphore>,
}

type AnswerStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl RegistryService for RegistryGrpc {
    async fn plan(&self, request: Request<api::PlanRequest>) -> Result<Response<api::PlanResponse>, Status> {
        answer(request, async |call, message| {
            let registry = self.clone();
            beside(&self.checks, async move { registry.plan_change(&call, message) }).await
        })
        .await
    }

    async fn apply(&self, request: Request<api::ApplyRequest>) -> Result<Response<api::ApplyResponse>, Status> {
        answer(request, async |call, message| {
            let registry = self.clone();
            let checks = Arc::clone(&self.checks);
            let change = async move { registry.apply_change(&call, message).await };
            see_through(&self.tasks, async move { beside(&checks, change).await }).await
        })
        .await
    }

    async fn rollback(
        &self,
        request: Request<api::RollbackRequest>,
    ) -> Result<Response<api::RollbackResponse>, Status> {
        answer(request, async |call, message| {
            let registry = self.clone();
            let checks = Arc::clone(&self.checks);
            let change = async move { registry.roll_back(&call, message).await };
            see_through(&self.tasks, async move { beside(&checks, change).await }).await
        })
        .await
    }

    async fn list_projects(
        &self,
        request: Request<api::ListProjectsRequest>,
    ) -> Result<Response<api::ListProjectsResponse>, Status> {
        answer(request, async |call, api::ListProjectsRequest {}| {
            let projects = self.projects.all();
            let resources: Vec<_> = projects.iter().map(|(name, _)| Resource::project(name.as_str())).collect();
            authorize(&call.caller, Action::ReadDefinitions, &resources)?;
            let projects = projects.into_iter().map(|(name, kept)| api::Project {
                name: name.to_string(),
                number: kept.number.0,
                revision: kept.definitions.current().state.revision.0,
            });
            Ok(api::ListProjectsResponse { projects: projects.collect() })
        })
        .await
    }

    async fn get_object(
        &self,
        request: Request<api::GetObjectRequest>,
    ) -> Result<Response<api::GetObjectResponse>, Status> {
        answer(request, async |call, message| self.object(&call, message).await).await
    }

    async fn list_objects(
        &self,
        request: Request<api::ListObjectsRequest>,
    ) -> Result<Response<api::ListObjectsResponse>, Status> {
        answer(request, async |call, message| self.objects(&call, message).await).await
    }

    type GetCatalogStream = AnswerStream<api::GetCatalogResponse>;

    async fn get_catalog(
        &self,
        request: Request<api::GetCatalogRequest>,
    ) -> Result<Response<Self::GetCatalogStream>, Status> {
        answer(request, async |call, api::GetCatalogRequest { project, revision }| {
            let kept = self.readable(&call, &project)?;
            let catalog = catalog_at(&kept, revision).await?;
            let pieces =
                catalog::whole(&catalog).into_iter().map(|piece| Ok(api::GetCatalogResponse { piece: Some(piece) }));
            Ok(Box::pin(stream::iter(pieces)) as Self::GetCatalogStream)
        })
        .await
    }

    type WatchCatalogStream = AnswerStream<api::WatchCatalogResponse>;

    async fn watch_catalog(
        &self,
        request: Request<api::WatchCatalogRequest>,
    ) -> Result<Response<Self::WatchCatalogStream>, Status> {
        answer(request, async |call, api::WatchCatalogRequest { project, since }| {
            let kept = self.readable(&call, &project)?;
            let events = watch_catalog(kept, Revision(since)).map(|event| event.map_err(|error| to_status(&error)));
            Ok(Box::pin(events) as Self::WatchCatalogStream)
        })
        .await
    }

    async fn list_revisions(
        &self,
        request: Request<api::ListRevisionsRequest>,
    ) -> Result<Response<api::ListRevisionsResponse>, Status> {
        answer(request, async |call, message| self.revisions(&call, message).await).await
    }

    async fn diff_revisions(
        &self,
        request: Request<api::DiffRevisionsRequest>,
    ) -> Result<Response<api::DiffRevisionsResponse>, Status> {
        answer(request, async |call, api::DiffRevisionsRequest { project, from, to }| {
            let kept = self.readable(&call, &project)?;
            let newest = || kept.definitions.current().state.revision;
            let diff = kept.definitions.diff(Revision(from), to.map_or_else(newest, Revision)).await?;
            Ok(api::DiffRevisionsResponse { from: diff.from.0, to: diff.to.0, diff: Some(diff_to_wire(&diff.changes)) })
        })
        .await
    }

    async fn search(&self, request: Request<api::SearchRequest>) -> Result<Response<api::SearchResponse>, Status> {
        answer(request, async |call, api::SearchRequest { project, query, limit }| {
            let kept = self.readable(&call, &project)?;
            let current = kept.definitions.current();
            let hits = explore::search(&current, &query, limit as usize)?;
            let revision = current.state.revision.0;
            Ok(api::SearchResponse { revision, hits: hits.iter().map(Wire::to_wire).collect() })
        })
        .await
    }

    async fn get_lineage(
        &self,
        request: Request<api::GetLineageRequest>,
    ) -> Result<Response<api::GetLineageResponse>, Status> {
        answer(request, async |call, api::GetLineageRequest { project, id, feature }| {
            let kept = self.readable(&call, &project)?;
            let id: ObjectId = Path::ROOT.read("id", id)?;
            let current = kept.definitions.current();
            let feature = Path::ROOT.optional_name("feature", &feature)?;
            let lineage: WireLineage = explore::lineage(&current, &id, feature.as_ref())?;
            let (nodes, edges) = lineage.to_wire();
            Ok(api::GetLineageResponse { revision: current.state.revision.0, nodes, edges })
        })
        .await
    }
}

impl RegistryGrpc {
    fn readable(&self, call: &CallContext, project: &str) -> Result<Arc<Kept>> {
        let kept = self.projects.get(project)?;
        allow(call, Action::ReadDefinitions, project)?;
        Ok(kept)
    }

    /// A project that is not there yet is planned for as an empty one, and not made.
    fn plan_change(&self, call: &CallContext, message: api::PlanRequest) -> Result<api::PlanResponse> {
        let api::PlanRequest { project, change } = message;
        let name = Path::ROOT.name("project", &project)?;
        let request = Path::ROOT.read("change", change)?;
        allow(call, Action::ReadDefinitions, &project)?;
        let state = match self.projects.get(&project) {
            Ok(kept) => kept.definitions.current().state.clone(),
            Err(_) => ProjectState::empty(name, ProjectNumber(0)),
        };
        let Plan { base, changes, unchanged, consequences } = plan(&state, &whole_change(&state, request))?;
        Ok(api::PlanResponse {
            revision: base.0,
            diff: Some(diff_to_wire(&changes)),
            consequences: consequences.iter().map(Wire::to_wire).collect(),
            unchanged: unchanged.iter().map(Wire::to_wire).collect(),
        })
    }

    async fn apply_change(&self, call: &CallContext, message: api::ApplyRequest) -> Result<api::ApplyResponse> {
        let api::ApplyRequest { project, change } = message;
        let name = Path::ROOT.name("project", &project)?;
        let request: ChangeRequest = Path::ROOT.read("change", change)?;
        allow(call, Action::ApplyDefinitions, &project)?;
        let kept = self.project_for(&name, &request).await?;
        let change = |state: &ProjectState| whole_change(state, request.clone());
        let Made { revision, changed, plan } = kept.definitions.apply(change, &self.meta(call)).await?;
        Ok(api::ApplyResponse {
            revision: revision.0,
            changed,
            diff: Some(diff_to_wire(&plan.changes)),
            consequences: plan.consequences.iter().map(Wire::to_wire).collect(),
        })
    }

    /// The project to apply to. It is made only for a change that it will take; one that declares nothing makes none.
    async fn project_for(&self, name: &Name, request: &ChangeRequest) -> Result<Arc<Kept>> {
        let unknown = match self.projects.get(name.as_str()) {
            Ok(kept) => return Ok(kept),
            Err(unknown) => unknown,
        };
        let empty = ProjectState::empty(name.clone(), ProjectNumber(0));
        if plan(&empty, &whole_change(&empty, request.clone()))?.is_empty() {
            return Err(unknown);
        }
        self.projects.get_or_create(name).await
    }

    async fn roll_back(&self, call: &CallContext, message: api::RollbackRequest) -> Result<api::RollbackResponse> {
        let api::RollbackRequest { project, to_revision, expected_revision, message, origin, dry_run } = message;
        let kept = self.projects.get(&project)?;
        // What is only planned changes nothing: who may read the definitions may ask for it.
        allow(call, if dry_run { Action::ReadDefinitions } else { Action::RollBack }, &project)?;
        let request = RollbackRequest { expected_revision: expected_revision.map(Revision), origin, message };
        if dry_run {
            let plan = kept.definitions.plan_rollback(Revision(to_revision), &request).await?;
            return Ok(api::RollbackResponse {
                revision: plan.base.0,
                diff: Some(diff_to_wire(&plan.changes)),
                consequences: plan.consequences.iter().map(Wire::to_wire).collect(),
            });
        }
        let made = kept.definitions.rollback(Revision(to_revision), &request, &self.meta(call)).await?;
        Ok(api::RollbackResponse {
            revision: made.revision.0,
            diff: Some(diff_to_wire(&made.plan.changes)),
            consequences: made.plan.consequences.iter().map(Wire::to_wire).collect(),
        })
    }

    fn meta(&self, call: &CallContext) -> RevisionMeta {
        RevisionMeta {
            at: self.clock.now(),
            principal: call.caller.principal.to_string(),
            address: call.caller.address.to_string(),
        }
    }

    async fn object(&self, call: &CallContext, message: api::GetObjectRequest) -> Result<api::GetObjectResponse> {
        let api::GetObjectRequest { project, id, revision } = message;
        let kept = self.readable(call, &project)?;
        let id: ObjectId = Path::ROOT.read("id", id)?;
        let state = state_at(&kept, revision).await?;
        let declared = state.objects.get(&id).ok_or_else(|| {
            let known: Vec<&str> =
                state.objects.keys().filter(|known| known.kind == id.kind).map(|known| known.name.as_str()).collect();
            let place = format!("project {project} at revision {}", state.revision);
            unknown_name(&place, id.kind.as_str(), id.name.as_str(), &known)
        })?;
        Ok(api::GetObjectResponse {
            revision: state.revision.0,
            object: Some(declared.object.to_wire()),
            state: Some(object_state(&state, &id, declared)),
        })
    }

    async fn objects(&self, call: &CallContext, message: api::ListObjectsRequest) -> Result<api::ListObjectsResponse> {
        let api::ListObjectsRequest { project, kind, revision, page_size, page_token } = message;
        let kept = self.readable(call, &project)?;
        let chosen = match kind {
            0 => None,
            kind => Some(ObjectKind::from_wire(kind, &Path::ROOT.field("kind"))?),
        };
        let (revision, position) = match page_token.as_str() {
            "" => (revision, ""),
            token => pinned(token, kind)?,
        };
        let state = state_at(&kept, revision).await?;
        let chosen: Vec<&Object> =
            state.all_objects().filter(|object| chosen.is_none_or(|kind| object.id().kind == kind)).collect();
        let (objects, next) = page(chosen, page_size, position)?;
        Ok(api::ListObjectsResponse {
            revision: state.revision.0,
            objects: objects.into_iter().map(Wire::to_wire).collect(),
            next_page_token: if next.is_empty() { next } else { format!("{}/{kind}/{next}", state.revision) },
        })
    }

    async fn revisions(
        &self,
        call: &CallContext,
        message: api::ListRevisionsRequest,
    ) -> Result<api::ListRevisionsResponse> {
        let api::ListRevisionsRequest { project, page_size, page_token } = message;
        let kept = self.readable(call, &project)?;
        let newest = kept.definitions.current().state.revision.0;
        let numbers = revisions_page(newest, page_size, &page_token)?;
        let next_page_token = if *numbers.start() > 1 { (numbers.start() - 1).to_string() } else { String::new() };
        let mut revisions = Vec::new();
        for number in numbers.rev() {
            revisions.push(info(kept.definitions.record(Revision(number)).await?).to_wire());
        }
        Ok(api::ListRevisionsResponse { revisions, next_page_token })
    }
}

/// The revision and the position that a token of objects names: all pages are of one revision. Those of one kind are not
/// counted as those of another.
fn pinned(token: &str, of_kind: i32) -> Result<(u64, &str)> {
    let read = || {
        let (revision, rest) = token.split_once('/')?;
        let (kind, position) = rest.split_once('/')?;
        Some((revision.parse().ok()?, kind.parse::<i32>().ok()?, position))
    };
    let (revision, kind, position): (u64, _, _) = read().ok_or_else(unknown_token)?;
    if kind != of_kind {
        return Err(Error::invalid_field("page_token", "the token is of another request"));
    }
    Ok((revision, position))
}

/// The revisions of one page. The token is the newest of them, so that none is listed twice when others are made meanwhile.
fn revisions_page(newest: u64, size: u32, token: &str) -> Result<RangeInclusive<u64>> {
    let last = match token {
        "" => newest,
        token => token.parse().map_err(|_| unknown_token())?,
    };
    let last = last.min(newest);
    let size = if size == 0 { REVISIONS_PAGE } else { REVISIONS_PAGE.min(size) };
    Ok((last + 1).saturating_sub(size.into()).max(1)..=last)
}

fn whole_change(state: &ProjectState, request: ChangeRequest) -> ChangeSet {
    let ChangeRequest { mut change, remove_missing } = request;
    if remove_missing {
        let missing = ChangeSet::whole(state, change.origin.clone(), change.puts.clone()).removes;
        change.removes.extend(missing);
        change.removes.sort();
        change.removes.dedup();
    }
    change
}

fn newest_if_0(kept: &Kept, revision: u64) -> Revision {
    if revision == 0 { kept.definitions.current().state.revision } else { Revision(revision) }
}

async fn state_at(kept: &Kept, revision: u64) -> Result<ProjectState> {
    kept.definitions.state_at(newest_if_0(kept, revision)).await
}

async fn catalog_at(kept: &Kept, revision: u64) -> Result<Arc<Catalog>> {
    let current = kept.definitions.current();
    if revision == 0 || revision == current.state.revision.0 {
        return Ok(Arc::clone(&current.catalog));
    }
    Catalog::build(&kept.definitions.state_at(Revision(revision)).await?).map(Arc::new)
}

fn object_state(state: &ProjectState, id: &ObjectId, declared: &Declared) -> api::ObjectState {
    let numbers = state.numbers.views.get(&id.name).filter(|_| id.kind == ObjectKind::FeatureView);
    let current = numbers.and_then(|numbers| numbers.current.as_ref());
    let row_set = current.and_then(|current| state.numbers.row_sets.get(&current.row_set));
    api::ObjectState {
        origin: declared.origin.clone(),
        key_space: row_set.map_or(0, |row_set| row_set.key_space.0),
        row_set: current.map_or(0, |current| current.row_set.0),
        schema: current.map_or(0, |current| current.schema.0),
    }
}

fn info(record: RevisionRecord) -> RevisionInfo {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    RevisionInfo {
        revision: record.number,
        created_at: record.created_at,
        principal: record.principal,
        address: record.address,
        origin: record.origin,
        message: record.message,
        rollback_to: record.rollback_to,
        puts: count(record.puts.len()),
        removes: count(record.removes.len()),
    }
}
