//! The materializer: creates runs for who asks, works on them, keeps schedules and the push log.

use std::{collections::HashMap, fmt::Display, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use larder_client::{Projects, RunFilter, RunsClient};
use larder_definitions::{
    Catalog, ResolvedSource, ResolvedView,
    run::{MaterializeRequest, Run, RunRequest, Scope},
    schedule::{check_has_come, scheduled_run_id},
};
use larder_push_log::Compactor;
use larder_types::{Clock, Name, Result, Revision, Timestamp};
use prometheus::IntCounterVec;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    schedule::{Due, due, has_ticked, last_tick},
    training::Training,
    turns::{Open, Turn, Turns},
    worker::{CATALOG_WITHIN, Worker},
};

/// How often is looked for runs that nobody works on, and for ticks of schedules.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The materializer.
pub struct Materializer {
    /// Works on runs.
    pub worker: Worker,
    /// Builds training sets.
    pub training: Training,
    /// The way to runs.
    pub runs: RunsClient,
    /// The newest catalogs.
    pub projects: Projects<Arc<Catalog>>,
    /// Rewrites the push log.
    pub compactor: Compactor,
    /// Tells when schedules are due.
    pub clock: Arc<dyn Clock>,
    /// Told when there is a new run.
    pub work_there: Notify,
    /// How many materializations are worked on at once.
    pub concurrent_runs: usize,
    /// How often the push log is rewritten.
    pub rewrite_every: Duration,
    /// How often rows that nobody can be given any more are removed from the online store.
    pub sweep_every: Duration,
    /// Ticks that came during a run of their view, by project and view.
    pub skipped_ticks: IntCounterVec,
}

/// What is to be materialized.
#[derive(Debug, Clone)]
pub struct Request {
    /// The project.
    pub project: String,
    /// The views; none: all that are served.
    pub views: Vec<String>,
    /// How much of each.
    pub scope: Scope,
    /// The instant of the schedule that asks.
    pub tick: Option<Timestamp>,
    /// The least revision to work by.
    pub min_revision: Revision,
}

impl Materializer {
    /// Creates a run for each view. Answers before they are worked on.
    pub async fn materialize(&self, request: Request, patience: Duration) -> Result<Vec<Run>> {
        request.scope.check("range")?;
        if let Some(tick) = request.tick {
            check_has_come("scheduled_at", tick, self.clock.now())?;
        }
        let catalog = self.projects.get(&request.project, request.min_revision, patience).await?;
        let views = chosen(&catalog, request.views)?;
        let mut runs = Vec::with_capacity(views.len());
        for view in views {
            runs.push(self.create(&catalog.project, view, request.scope, request.tick).await?);
        }
        self.work_there.notify_one();
        Ok(runs)
    }

    async fn create(&self, project: &Name, view: &ResolvedView, scope: Scope, tick: Option<Timestamp>) -> Result<Run> {
        let id = tick.map(|tick| scheduled_run_id(view.name(), tick)).unwrap_or_default();
        let request = RunRequest::Materialize(MaterializeRequest { view: view.name().clone(), scope, tick });
        Ok(self.runs.create(project, &id, &request).await?.0)
    }

    /// Works on runs that nobody works on, several at once but one of each view, until `stop`.
    pub async fn run(&self, stop: &CancellationToken) -> Result<()> {
        let mut working = FuturesUnordered::new();
        let mut turns = Turns::default();
        while !stop.is_cancelled() {
            // What is worked on goes on while the registry is asked.
            let open = tokio::select! {
                open = self.open_runs() => open,
                Some(turn) = working.next() => {
                    turns.is_over(turn, Instant::now());
                    continue;
                }
            };
            self.worker.failures.forget_ended(&open);
            let places = self.concurrent_runs.saturating_sub(working.len());
            let next = turns.next(&open, places, Instant::now());
            working.extend(next.into_iter().map(|turn| self.work_on(turn, stop)));
            tokio::select! {
                Some(turn) = working.next() => turns.is_over(turn, Instant::now()),
                () = self.work_there.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
        while working.next().await.is_some() {}
        Ok(())
    }

    /// Works on the run whose turn it is, if it can be had.
    async fn work_on(&self, turn: Turn, stop: &CancellationToken) -> Turn {
        let worked = self.worker.work(&turn.project, &turn.run, stop).await;
        log_failure(worked.map(drop), &turn.run, &turn.project);
        turn
    }

    /// Materializations that have not ended, oldest first. Whether somebody works on one, the registry says when it is asked
    /// for the lease.
    async fn open_runs(&self) -> Open {
        let mut open = Open::default();
        for project in self.known_projects().await {
            match self.runs.list_all(&project, RunFilter::open()).await {
                Ok(runs) => {
                    open.runs.extend(runs.into_iter().map(|run| (project.clone(), run)));
                    open.asked.insert(project);
                }
                Err(error) => log_failure(Err(error), "the list of runs", &project),
            }
        }
        open.runs.retain(|(_, run)| matches!(run.request, RunRequest::Materialize(_)));
        open.runs.sort_by(|(_, a), (_, b)| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        open
    }

    /// Every project of the registry; while it is away, those that are known of it.
    async fn known_projects(&self) -> Vec<Name> {
        self.projects.follow_all().await.unwrap_or_else(|error| {
            tracing::error!(%error, "the list of projects is not to be had, and is asked for again later");
            self.projects.followed()
        })
    }

    /// Creates the runs that schedules ask for, until `stop`.
    pub async fn keep_schedules(&self, stop: &CancellationToken) -> Result<()> {
        let mut settled = HashMap::new();
        while !stop.is_cancelled() {
            for project in self.known_projects().await {
                let Ok(catalog) = self.projects.get(project.as_str(), Revision(0), LOOK_EVERY).await else { continue };
                for view in catalog.feature_views.values().filter(|view| view.definition.schedule.is_some()) {
                    let kept = self.keep_schedule(&catalog, view, &mut settled).await;
                    log_failure(kept, format_args!("the schedule of view {}", view.name()), &project);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    /// Creates what is due of a view. `settled` has the tick of each view of which nothing more is to be decided: it is not
    /// looked for again.
    async fn keep_schedule(
        &self,
        catalog: &Catalog,
        view: &ResolvedView,
        settled: &mut HashMap<(Name, Name), Timestamp>,
    ) -> Result<()> {
        let (project, name) = (&catalog.project, view.name());
        let Some(tick) = last_tick(view, self.clock.now())? else { return Ok(()) };
        let of_view = (project.clone(), name.clone());
        if settled.get(&of_view) == Some(&tick) {
            return Ok(());
        }
        let runs = self.runs.list_all(project, RunFilter { view: Some(name.clone()), ..RunFilter::default() }).await?;
        let asked = has_ticked(&runs) || self.asked_for(catalog, view, tick).await?;
        match due(tick, asked, &runs) {
            Due::Later => return Ok(()),
            Due::Nothing => {}
            Due::Run => {
                self.create(project, view, Scope::Incremental, Some(tick)).await?;
                self.work_there.notify_one();
            }
            Due::Skipped => {
                self.skipped_ticks.with_label_values(&[project.as_str(), name.as_str()]).inc();
                tracing::warn!(%project, view = %name, %tick, "a tick is skipped: the view is being materialized");
            }
        }
        settled.insert(of_view, tick);
        Ok(())
    }

    /// Whether the view had this schedule already when the tick came.
    async fn asked_for(&self, catalog: &Catalog, view: &ResolvedView, tick: Timestamp) -> Result<bool> {
        if catalog.created_at <= tick {
            return Ok(true);
        }
        let (project, registry) = (&catalog.project, self.worker.registry.within(CATALOG_WITHIN));
        let mut token = String::new();
        loop {
            let page = registry.revisions(project, 0, &token).await?;
            if let Some(then) = page.revisions.iter().find(|revision| revision.created_at <= tick) {
                let then = registry.catalog(project, Some(then.revision)).await?;
                let known = then.feature_views.get(view.name());
                return Ok(known.is_some_and(|known| known.definition.schedule == view.definition.schedule));
            }
            match page.next_page_token {
                Some(next) => token = next,
                None => return Ok(false),
            }
        }
    }

    /// Removes rows that are past their ttl and its grace, until `stop`: what is left then is removed after the next start.
    pub async fn sweep(&self, stop: &CancellationToken) -> Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.sweep_every) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let sweeping = self.worker.loader.store.sweep(self.clock.now());
            let Some(report) = stop.run_until_cancelled(sweeping).await else { return Ok(()) };
            let report = report?;
            tracing::info!(examined = report.examined, removed = report.removed, "the online store was swept");
        }
    }

    /// Rewrites the push log of every push source, until `stop`: what is under way then is given up, and done again after
    /// the next start.
    pub async fn compact(&self, stop: &CancellationToken) -> Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.rewrite_every) => {}
                () = stop.cancelled() => return Ok(()),
            }
            for project in self.projects.followed() {
                let catalog = self.projects.get(project.as_str(), Revision(0), LOOK_EVERY).await;
                let Ok(catalog) = catalog else { continue };
                for source in catalog.sources.values() {
                    let rewritten = stop.run_until_cancelled(self.compact_source(&project, source)).await;
                    let Some(rewritten) = rewritten else { return Ok(()) };
                    log_failure(rewritten, &source.definition.name, &project);
                }
            }
        }
    }

    async fn compact_source(&self, project: &Name, source: &ResolvedSource) -> Result<()> {
        let Some(schema) = &source.push_schema else { return Ok(()) };
        let keys: Vec<Name> = schema.keys.iter().map(|key| key.name.clone()).collect();
        let name = &source.definition.name;
        self.compactor.compact(project, name, &keys).await?;
        self.compactor.sweep(project, name).await?;
        Ok(())
    }
}

/// What goes wrong with one project, run or source does not keep the others from their turn; it has its own at the next.
pub(crate) fn log_failure(done: Result<()>, what: impl Display, project: &Name) {
    if let Err(error) = done {
        tracing::error!(%project, %what, %error, "not done, and tried again later");
    }
}

fn chosen(catalog: &Catalog, mut names: Vec<String>) -> Result<Vec<&Arc<ResolvedView>>> {
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        let served: Vec<_> = catalog.feature_views.values().filter(|view| view.definition.online).collect();
        return Ok(served);
    }
    names.iter().map(|name| catalog.served_view(name)).collect()
}
