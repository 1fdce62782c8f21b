//! One project's runs: the fold of their events in memory, leases by this registry's clock, and who watches.
//!
//! Renewals of a lease and counts in between are not events: they live in memory. A registry that starts anew therefore
//! waits one term before it gives a running run to somebody else, unless the workers of before are gone with it.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use larder_definitions::{
    Catalog,
    run::{
        LEASE_TERM, MaterializeRequest, Outcome, Progress, RowSetRecord, Run, RunEvent, RunEventKind, RunId, RunPlan,
        RunRequest, RunState, RunsState,
    },
    schedule::check_has_come,
};
use larder_registry_store::{Appended, Log, RegistryStore};
use larder_types::{Clock, Error, LeaseNumber, ProjectNumber, Result, RowSetNumber, Timestamp};
use parking_lot::{Mutex as SyncMutex, RwLock};
use tokio::sync::{Mutex, watch};

use crate::projects::{of_entry, of_snapshot};

/// After so many events their fold is kept, so that a start need not read them.
const SNAPSHOT_EVERY: u64 = 500;

/// What is known of workers that took leases of an earlier registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormerWorkers {
    /// One may still write for its run: a lease counts until its term is over.
    MayBeAtWork,
    /// They were of a process that has ended.
    AreGone,
}

/// A project's runs.
pub struct Runs {
    number: ProjectNumber,
    store: Arc<dyn RegistryStore>,
    clock: Arc<dyn Clock>,
    /// Whoever adds an event holds it.
    events: Mutex<Events>,
    folded: RwLock<RunsState>,
    /// Counts whatever happens to any run.
    changes: watch::Sender<u64>,
    memory: SyncMutex<HashMap<RunId, InMemory>>,
    /// From when on a lease that is not in memory counts as over.
    grace_until: Timestamp,
}

/// Where the log stands.
struct Events {
    newest: u64,
    /// The outcome of an append is not known, so there may be more.
    may_be_more: bool,
}

/// What is known of a run besides its events.
#[derive(Debug, Clone)]
struct InMemory {
    lease: LeaseNumber,
    expires_at: Timestamp,
    progress: Option<Progress>,
    /// What ended the last attempt; empty where nothing did, or parts were done since.
    trouble: String,
}

impl Runs {
    /// Reads the runs from the store.
    pub async fn open(
        store: Arc<dyn RegistryStore>,
        clock: Arc<dyn Clock>,
        number: ProjectNumber,
        former_workers: FormerWorkers,
    ) -> Result<Self> {
        let log = Log::Runs(number);
        let (mut newest, mut state) = match store.latest_snapshot(log).await? {
            Some((newest, bytes)) => (newest, RunsState::decode(&bytes).map_err(of_snapshot(log, newest))?),
            None => (0, RunsState::default()),
        };
        for entry in store.read_after(log, newest).await? {
            newest += 1;
            let event = RunEvent::decode(&entry).map_err(of_entry(log, newest))?;
            state.apply(&event).map_err(|error| does_not_follow(error, log, newest))?;
        }
        let grace_until = match former_workers {
            FormerWorkers::MayBeAtWork => clock.now().plus(LEASE_TERM),
            FormerWorkers::AreGone => clock.now(),
        };
        Ok(Self {
            number,
            store,
            clock,
            events: Mutex::new(Events { newest, may_be_more: false }),
            folded: RwLock::new(state),
            changes: watch::Sender::new(0),
            memory: SyncMutex::default(),
            grace_until,
        })
    }

    /// The run there is under `id`, made if there is none; and whether it was made. What is made can be done by `catalog`:
    /// NOT_FOUND for a view that is not there, FAILED_PRECONDITION for one that is not served.
    pub async fn create(
        &self,
        id: RunId,
        request: RunRequest,
        catalog: &Catalog,
        principal: &str,
        traceparent: Option<String>,
    ) -> Result<(Run, bool)> {
        let mut events = self.events.lock().await;
        self.settle(&mut events).await?;
        if let Ok(run) = self.folded.read().run(&id) {
            return Ok((run.clone(), false));
        }
        self.check(&request, catalog)?;
        let what = RunEventKind::Created { request, principal: principal.to_owned(), traceparent };
        Ok((self.add(&mut events, &id, what).await?, true))
    }

    /// Gives the run to `holder`. CONFLICT where somebody else's lease is not over.
    pub async fn acquire_lease(&self, id: &str, holder: &str) -> Result<(LeaseNumber, Run)> {
        let mut events = self.events.lock().await;
        self.settle(&mut events).await?;
        let run = self.get(id)?;
        let now = self.clock.now();
        if let Some((number, by)) = &run.lease
            && !self.is_over(id, *number, now)
            && !run.state.is_final()
        {
            return Err(Error::conflict(format!("run {id} is worked on by {by} under lease {number}")));
        }
        let number = run.lease.map_or(LeaseNumber(1), |(number, _)| number.next());
        let what = RunEventKind::Leased { number, holder: holder.to_owned() };
        let run = self.add(&mut events, id, what).await?;
        let expires_at = now.plus(LEASE_TERM);
        let mut memory = self.memory.lock();
        let trouble = memory.remove(id).map(|known| known.trouble).unwrap_or_default();
        memory.insert(id.to_owned(), InMemory { lease: number, expires_at, progress: None, trouble });
        drop(memory);
        Ok((number, run))
    }

    /// Keeps the run for its holder, with the counts so far; says whether somebody wants it stopped. CONFLICT where the
    /// lease is not the newest, FAILED_PRECONDITION where the run has ended.
    ///
    /// `trouble`: what has ended the work, where it did.
    pub fn report_progress(
        &self,
        id: &str,
        lease: LeaseNumber,
        progress: Progress,
        mut trouble: String,
    ) -> Result<bool> {
        let folded = self.folded.read();
        let run = folded.run(id)?;
        run.check_lease(lease)?;
        if run.state.is_final() {
            let state = run.state.as_str();
            return Err(Error::failed_precondition(format!("run {id} is {state}: its lease is over")));
        }
        let expires_at = self.clock.now().plus(LEASE_TERM);
        // With the runs held as they are, so that none is remembered after its end.
        let mut memory = self.memory.lock();
        if let Some(known) = memory.remove(id).filter(|_| trouble.is_empty()) {
            trouble = known.trouble;
        }
        memory.insert(id.to_owned(), InMemory { lease, expires_at, progress: Some(progress), trouble });
        drop(memory);
        let is_unwanted = run.cancel_requested;
        drop(folded);
        self.changes.send_modify(|changes| *changes += 1);
        Ok(is_unwanted)
    }

    /// Fixes what there is to do; a run that has a plan keeps it.
    pub async fn plan(&self, id: &str, lease: LeaseNumber, plan: RunPlan) -> Result<Run> {
        let mut events = self.events.lock().await;
        self.settle(&mut events).await?;
        let run = self.get(id)?;
        run.check_lease(lease)?;
        if run.plan.is_some() {
            return Ok(run);
        }
        self.add(&mut events, id, RunEventKind::Planned { lease, plan: Box::new(plan) }).await
    }

    /// The rows of parts are in the store.
    pub async fn complete_parts(
        &self,
        id: &str,
        lease: LeaseNumber,
        parts: Vec<usize>,
        progress: Progress,
    ) -> Result<Run> {
        let run = self.record(id, RunEventKind::PartsDone { lease, parts, progress }).await?;
        if let Some(known) = self.memory.lock().get_mut(id) {
            // What was reported before is older than what the event says.
            known.progress = None;
            known.trouble.clear();
        }
        Ok(run)
    }

    /// Ends the run; a success moves its watermarks.
    pub async fn finish(&self, id: &str, lease: Option<LeaseNumber>, outcome: Outcome) -> Result<Run> {
        self.record(id, RunEventKind::Ended { lease, outcome }).await
    }

    /// Asks for the run to be stopped. One that nobody has taken yet ends at once; one that has ended stays as it is.
    pub async fn cancel(&self, id: &str, principal: &str) -> Result<Run> {
        let mut events = self.events.lock().await;
        self.settle(&mut events).await?;
        let run = self.get(id)?;
        if run.state.is_final() {
            return Ok(run);
        }
        if !run.cancel_requested {
            self.add(&mut events, id, RunEventKind::CancelRequested { principal: principal.to_owned() }).await?;
        }
        match run.state {
            RunState::Pending => {
                self.add(&mut events, id, RunEventKind::Ended { lease: None, outcome: Outcome::Cancelled }).await
            }
            RunState::Running | RunState::Succeeded | RunState::Failed | RunState::Cancelled => self.get(id),
        }
    }

    /// The run; NOT_FOUND if there is none.
    pub fn get(&self, id: &str) -> Result<Run> {
        let run = self.folded.read().run(id)?.clone();
        Ok(self.with_counts(run))
    }

    /// Runs of a view, or of all, in some states, or in any; newest first, without their parts.
    pub fn list(&self, view: Option<&str>, states: &[RunState]) -> Vec<Run> {
        let of_view = |run: &Run| match (&run.request, view) {
            (_, None) => true,
            (RunRequest::Materialize(request), Some(view)) => request.view == *view,
            (RunRequest::TrainingSet(_), Some(_)) => false,
        };
        let state = self.folded.read();
        let chosen = state.runs().filter(|run| of_view(run) && (states.is_empty() || states.contains(&run.state)));
        let mut runs: Vec<Run> = chosen.map(|run| self.with_counts(run.without_parts())).collect();
        runs.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| b.id.cmp(&a.id)));
        runs
    }

    /// What is known of a row set.
    pub fn row_set(&self, row_set: RowSetNumber) -> RowSetRecord {
        self.folded.read().row_set(row_set)
    }

    /// Told whenever anything happened to any run.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A running run shows what its workers reported last.
    fn with_counts(&self, mut run: Run) -> Run {
        let memory = self.memory.lock();
        if let (RunState::Running, Some(known)) = (run.state, memory.get(&run.id)) {
            run.progress = known.progress.unwrap_or(run.progress);
            run.error = Some(known.trouble.clone()).filter(|trouble| !trouble.is_empty());
        }
        run
    }

    fn check(&self, request: &RunRequest, catalog: &Catalog) -> Result<()> {
        let RunRequest::Materialize(MaterializeRequest { view, scope, tick }) = request else { return Ok(()) };
        scope.check("request.materialize.scope.range")?;
        if let Some(tick) = tick {
            check_has_come("request.materialize.tick", *tick, self.clock.now())?;
        }
        catalog.served_view(view.as_str()).map(drop)
    }

    fn is_over(&self, id: &str, lease: LeaseNumber, now: Timestamp) -> bool {
        match self.memory.lock().get(id) {
            Some(known) if known.lease == lease => known.expires_at <= now,
            Some(_) | None => self.grace_until <= now,
        }
    }

    async fn record(&self, id: &str, what: RunEventKind) -> Result<Run> {
        let mut events = self.events.lock().await;
        self.settle(&mut events).await?;
        self.add(&mut events, id, what).await
    }

    /// Appends an event that may follow; one that says again what is so already is not kept twice.
    async fn add(&self, events: &mut Events, id: &str, what: RunEventKind) -> Result<Run> {
        loop {
            let event = RunEvent { run: id.to_owned(), at: self.clock.now(), what: what.clone() };
            let after = self.folded.read().check(&event)?;
            if self.folded.read().run(id).is_ok_and(|before| *before == after) {
                return Ok(after);
            }
            events.may_be_more = true;
            let content = Bytes::from(event.encode()?);
            let appended = self.store.append(Log::Runs(self.number), events.newest + 1, content).await;
            if appended.is_err() {
                // It may be there all the same; then it is shown at once.
                let _ = self.settle(events).await;
            }
            if appended? == Appended::Ours {
                events.may_be_more = false;
                self.take_in(events, &event)?;
                self.keep_snapshot(events.newest).await;
                return self.folded.read().run(id).cloned();
            }
            self.settle(events).await?;
        }
    }

    /// Takes in what may be in the store and not here.
    async fn settle(&self, events: &mut Events) -> Result<()> {
        if !events.may_be_more {
            return Ok(());
        }
        let log = Log::Runs(self.number);
        for entry in self.store.read_after(log, events.newest).await? {
            let event = RunEvent::decode(&entry).map_err(of_entry(log, events.newest + 1))?;
            self.take_in(events, &event).map_err(|error| does_not_follow(error, log, events.newest + 1))?;
        }
        events.may_be_more = false;
        Ok(())
    }

    fn take_in(&self, events: &mut Events, event: &RunEvent) -> Result<()> {
        let has_ended = self.folded.write().apply(event)?.state.is_final();
        events.newest += 1;
        if has_ended {
            self.memory.lock().remove(&event.run);
        }
        self.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }

    async fn keep_snapshot(&self, newest: u64) {
        if !newest.is_multiple_of(SNAPSHOT_EVERY) {
            return;
        }
        let encoded = self.folded.read().encode();
        let written = match encoded {
            Ok(bytes) => self.store.write_snapshot(Log::Runs(self.number), newest, Bytes::from(bytes)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(project = %self.number, newest, %error, "the snapshot of the runs was not kept");
        }
    }
}

/// An event that was kept could follow when it was: that it cannot now is damage, whatever the fold calls it.
fn does_not_follow(error: Error, log: Log, number: u64) -> Error {
    of_entry(log, number)(Error::data_loss(error.message()).with_source(error))
}
