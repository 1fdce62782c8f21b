//! Works on runs: takes the lease, fixes the plan, does what is left of it, ends it.
//!
//! A worker that loses its lease, or cannot renew it in time, stops before the lease is out; what it did not end, the next
//! one resumes by the same plan.

use std::{collections::HashMap, sync::Arc, time::Duration};

use larder_client::{Projects, RegistryClient, RunsClient};
use larder_definitions::{
    Catalog, ResolvedView,
    run::{MaterializeRequest, Outcome, Part, PartKind, Progress, Run, RunId, RunPlan, RunRequest, Scope},
    view_rows::ViewRows,
};
use larder_offline_store::history::{ReadBefore, TimeRange, ViewParts};
use larder_types::{Clock, Error, Name, Result, Retry, Revision, Timestamp};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    lease::{self, ANSWER_WITHIN, Lease, Lost, run_span},
    load::{Load, Loader},
    plan::{batches, read_before, run_plan},
    turns::Open,
};

/// How often in a row what may go well later may end the work of a process on a run without any part being done. It takes as
/// many lease terms.
const FAILURES: u32 = 20;

/// How long a catalog is waited for.
pub(crate) const CATALOG_WITHIN: Duration = Duration::from_secs(30);

/// What works on runs.
pub struct Worker {
    /// Names this process in leases.
    pub holder: String,
    /// The way to definitions of older revisions.
    pub registry: RegistryClient,
    /// The way to runs.
    pub runs: RunsClient,
    /// The newest catalogs.
    pub projects: Projects<Arc<Catalog>>,
    /// Moves rows.
    pub loader: Loader,
    /// Judges what is the future.
    pub clock: Arc<dyn Clock>,
    /// Stands in front of every key of the online store.
    pub key_prefix: Option<String>,
    /// How long a row that has grown too old stays in the online store.
    pub expiry_grace: Duration,
    /// How many bytes of files are read at least before their rows are written.
    pub batch_bytes: u64,
    /// What did not go well of late.
    pub failures: Failures,
    /// How far ahead of time rows of the log may be to be waited for.
    pub waits_for: Duration,
}

/// How often in a row the work of this process on each run was ended by what may go well later. That a run was interrupted
/// does not count.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<(Name, RunId), u32>>);

/// Why work on a run ended without the run's end.
enum Stopped {
    /// The run cannot be done.
    Failed(Error),
    /// Somebody wants it stopped.
    Cancelled,
    /// The lease is gone, or the process stops: another worker goes on.
    Abandoned(Error),
}

/// Nothing is wrong with a run whose lease cannot be kept.
impl From<Lost> for Stopped {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Cancelled => Self::Cancelled,
            Lost::Failed(error) => Self::Abandoned(error),
        }
    }
}

impl Worker {
    /// Works on a materialization until it has ended or is left to be resumed; false: somebody else has it. `stop`: the
    /// process stops.
    pub async fn work(&self, project: &Name, run_id: &str, stop: &CancellationToken) -> Result<bool> {
        let Some((lease, run)) = lease::take(&self.runs, project, run_id, &self.holder).await? else {
            return Ok(false);
        };
        let span = run_span(project, &run);
        self.lead(&lease, run, stop).instrument(span).await?;
        Ok(true)
    }

    /// Works on a run that is ours, to its end.
    async fn lead(&self, lease: &Lease, run: Run, stop: &CancellationToken) -> Result<()> {
        let (project, id) = (lease.project(), lease.run_id());
        let outcome = match self.under_lease(lease, run, stop).await {
            Ok(progress) => Outcome::Succeeded { progress, result: None },
            Err(Stopped::Cancelled) => Outcome::Cancelled,
            Err(Stopped::Failed(error)) => {
                tracing::error!(%project, run = id, %error, "a materialization failed");
                Outcome::Failed { error: error.to_string() }
            }
            Err(Stopped::Abandoned(error)) => {
                tracing::warn!(%project, run = id, %error, "a materialization is left to be resumed");
                return Ok(());
            }
        };
        self.failures.forget(lease);
        lease.finish(&outcome).await?;
        tracing::info!(%project, run = id, ?outcome, "a materialization ended");
        Ok(())
    }

    /// Does the work while the lease is renewed beside it; none where the run was to be stopped before that.
    async fn under_lease(&self, lease: &Lease, run: Run, stop: &CancellationToken) -> Result<Progress, Stopped> {
        if run.cancel_requested {
            return Err(Stopped::Cancelled);
        }
        let done_before = run.progress.parts_done;
        let counts = Mutex::new(run.progress);
        let renewing = lease.keep(|| *counts.lock());
        tokio::select! {
            done = self.materialize(lease, run, &counts) => {
                let Err(error) = done else { return done.map_err(Stopped::Failed) };
                let progress = *counts.lock();
                let stopped = self.stopped_by(error, lease, progress.parts_done > done_before);
                if let Stopped::Abandoned(error) = &stopped {
                    lease.tell_trouble(&progress, error).await;
                }
                Err(stopped)
            }
            lost = renewing => Err(lost.into()),
            () = stop.cancelled() => Err(Stopped::Abandoned(Error::cancelled("the materializer is stopping"))),
        }
    }

    /// What may go well later is left to be resumed, but not for ever.
    fn stopped_by(&self, error: Error, lease: &Lease, has_done_parts: bool) -> Stopped {
        match error.code().retry() {
            Retry::AfterBackoff | Retry::AfterReread if self.failures.count(lease, has_done_parts) < FAILURES => {
                Stopped::Abandoned(error)
            }
            Retry::AfterBackoff | Retry::AfterReread | Retry::Never => Stopped::Failed(error),
        }
    }

    async fn materialize(&self, lease: &Lease, run: Run, counts: &Mutex<Progress>) -> Result<Progress> {
        let project = lease.project();
        let RunRequest::Materialize(request) = run.request.clone() else {
            return Err(Error::internal(format!("run {} is no materialization", run.id)));
        };
        let run = if run.plan.is_some() { run } else { self.fix_plan(lease, &request).await? };
        let plan = run.plan.clone().ok_or_else(|| Error::internal(format!("run {} has no plan", run.id)))?;
        let (catalog, view) = self.planned_view(project, &request, &plan).await?;
        let prefix = self.key_prefix.as_deref();
        let load = Load {
            project,
            view: &view,
            rows: Arc::new(ViewRows::new(&view, catalog.project_number, prefix, self.expiry_grace)?),
            started_at: plan.started_at,
            range: range_of(request.scope),
        };
        let report = |progress: Progress| *counts.lock() = progress;
        let mut progress = run.progress;
        for batch in batches(&view, &plan.parts, self.batch_bytes) {
            let left: Vec<usize> = batch.parts.iter().copied().filter(|part| !run.is_done(*part)).collect();
            if left.is_empty() {
                continue;
            }
            // All of the batch, also what a killed worker had marked: rows of its parts may tie.
            let parts: Vec<&Part> = batch.parts.iter().filter_map(|part| plan.parts.get(*part)).collect();
            let loaded = self.loader.load(&load, &parts, batch.mode, progress, &report).await?;
            // At once, lest rows count twice when another worker goes on in between.
            lease.complete_parts(&left, &loaded).await?;
            progress = Progress { parts_done: progress.parts_done + left.len() as u64, ..loaded };
            report(progress);
        }
        Ok(progress)
    }

    async fn fix_plan(&self, lease: &Lease, request: &MaterializeRequest) -> Result<Run> {
        let project = lease.project();
        let catalog = self.projects.get(project.as_str(), Revision(0), CATALOG_WITHIN).await?;
        let view = catalog.feature_view(request.view.as_str())?;
        let row_set = view.row_set;
        let record = self.runs.within(ANSWER_WITHIN).row_set(project, row_set).await?;
        let before = read_before(view, request.scope, &record);
        let (started_at, mut found) = self.found_parts(project, view, request.scope, &before).await?;
        let range = range_of(request.scope);
        found.parts.retain(|part| part.event_times.is_none_or(|times| range.meets(times.first, times.last)));
        let at = (catalog.revision, started_at);
        let plan = run_plan(view, row_set, request.scope, at, found, &before);
        lease.plan(&plan).await
    }

    /// What there is to do from now on.
    ///
    /// Rows of the log replace what was written when the view was declared differently, but not those of the future: they
    /// would be met again as any new row is, which a stored one of equal times may outdo. So those that push-ingest has let
    /// in ahead of time are waited for.
    async fn found_parts(
        &self,
        project: &Name,
        view: &ResolvedView,
        scope: Scope,
        before: &ReadBefore,
    ) -> Result<(Timestamp, ViewParts)> {
        let plan = async || {
            let now = self.clock.now();
            Ok::<_, Error>((now, self.loader.history.plan_parts(project, view, before, now).await?))
        };
        let (now, found) = plan().await?;
        let replaced = found.parts.iter().filter(|part| part.replaces && matches!(part.what, PartKind::Log { .. }));
        let latest = replaced.filter_map(|part| Some(part.event_times?.last)).max();
        let ahead = latest.filter(|latest| *latest > now).map(|latest| latest.since(now));
        match ahead.filter(|_| !matches!(scope, Scope::Range { .. })) {
            None => Ok((now, found)),
            Some(ahead) => {
                tokio::time::sleep(ahead.min(self.waits_for)).await;
                plan().await
            }
        }
    }

    /// The view as the plan's revision declares it.
    async fn planned_view(
        &self,
        project: &Name,
        request: &MaterializeRequest,
        plan: &RunPlan,
    ) -> Result<(Arc<Catalog>, Arc<ResolvedView>)> {
        let newest = self.projects.get(project.as_str(), plan.revision, CATALOG_WITHIN).await?;
        let catalog = if newest.revision == plan.revision {
            Arc::clone(&*newest)
        } else {
            self.registry.within(CATALOG_WITHIN).catalog(project, Some(plan.revision)).await?
        };
        let view = Arc::clone(catalog.feature_view(request.view.as_str())?);
        Ok((catalog, view))
    }
}

impl Failures {
    /// Counts one more, from one again where parts were done before it.
    fn count(&self, lease: &Lease, has_done_parts: bool) -> u32 {
        let mut counts = self.0.lock();
        let count = counts.entry((lease.project().clone(), lease.run_id().to_owned())).or_default();
        *count = if has_done_parts { 1 } else { *count + 1 };
        *count
    }

    fn forget(&self, lease: &Lease) {
        self.0.lock().remove(&(lease.project().clone(), lease.run_id().to_owned()));
    }

    /// Runs may have been ended by another process.
    pub(crate) fn forget_ended(&self, open: &Open) {
        open.forget_ended(&mut self.0.lock());
    }
}

fn range_of(scope: Scope) -> TimeRange {
    match scope {
        Scope::Full | Scope::Incremental => TimeRange::ALL,
        Scope::Range { start, end } => TimeRange { start: Some(start), end: Some(end) },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_went_wrong_with_a_run_is_forgotten_when_another_process_ends_it() {
        let [shop, other] = ["shop", "other"].map(|name| Name::new(name).unwrap());
        let failures = Failures::default();
        failures.0.lock().extend([&shop, &other].map(|project| ((project.clone(), "run".to_owned()), 3)));
        failures.forget_ended(&Open { runs: Vec::new(), asked: HashSet::from([shop]) });
        assert_eq!(failures.0.lock().keys().collect::<Vec<_>>(), [&(other, "run".to_owned())]);
    }
}
