//! Leads the run of one training set: has it computed, keeps the lease beside it, tells its caller, ends the run.
//!
//! However it goes, the run is ended: with its success, its failure, CANCELLED where somebody wanted that or the caller
//! went away, failed where the process stops.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use larder_definitions::run::{Outcome, Progress, Run, RunPlan};
use larder_offline_store::{
    history::ReadCounts,
    training::{Output, Spine, Target, TrainingRequest, TrainingSet, TrainingSets},
};
use larder_service::Shutdown;
use larder_types::{Error, Result, Timestamp};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument, instrument::WithSubscriber};

use super::{
    Event, Objection, Threads,
    told::{Teller, Told},
};
use crate::lease::{Lease, Lost, run_span};

/// How long is waited for a computation to notice that it is given up.
const HALT_WITHIN: Duration = Duration::from_secs(5);

/// How soon after the spine of a caller who went the reading of the result ends.
const GONE_WITHIN: Duration = Duration::from_millis(100);

/// What is computed.
pub(super) struct Job {
    pub(super) sets: TrainingSets,
    pub(super) set: TrainingRequest,
    pub(super) output: Option<Output>,
    pub(super) started_at: Timestamp,
}

/// A run that this process leads.
pub(super) struct Lead {
    lease: Arc<Lease>,
    run: Run,
    threads: Arc<Threads>,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

/// How the work came to its end.
enum End {
    /// All is computed, and written there.
    Done(Option<String>),
    Failed(Error),
    /// Somebody wants the run stopped.
    Cancelled,
    CallerGone,
    /// The process stops.
    Stopping,
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Cancelled => Self::Cancelled,
            Lost::Failed(error) => Self::Failed(error),
        }
    }
}

/// How far it is, for whoever reports it.
#[derive(Default)]
struct Counts {
    history: OnceLock<ReadCounts>,
    written: AtomicU64,
}

pub(super) fn no_spine() -> Error {
    Error::internal("a training set without a spine was admitted")
}

impl Lead {
    pub(super) fn new(
        lease: Lease,
        run: Run,
        threads: Arc<Threads>,
        places: Arc<Semaphore>,
        shutdown: Shutdown,
    ) -> Self {
        Self { lease: Arc::new(lease), run, threads, places, shutdown }
    }

    pub(super) fn run(&self) -> &Run {
        &self.run
    }

    /// Does all of it. `stop`: the process stops.
    pub(super) async fn work(self, job: Job, told: Told, objection: Objection, stop: CancellationToken) {
        let span = run_span(self.lease.project(), &self.run);
        let work = async {
            let counts = Arc::<Counts>::default();
            let end = self.to_its_end(job, &counts, &told, objection, &stop).await;
            told.end(self.end(end, &counts).await);
        };
        work.instrument(span).await;
    }

    async fn to_its_end(
        &self,
        job: Job,
        counts: &Arc<Counts>,
        told: &Told,
        objection: Objection,
        stop: &CancellationToken,
    ) -> End {
        let (lease, places) = (Arc::clone(&self.lease), Arc::clone(&self.places));
        let computing = job.compute(lease, places, Arc::clone(counts), told.events.clone());
        let Some(mut computing) = self.threads.spawn(computing.with_current_subscriber().in_current_span()) else {
            return End::Stopping;
        };
        let early = tokio::select! {
            done = &mut computing => return self.judged(joined(done), told).await,
            lost = self.keep_lease(counts, told) => lost.into(),
            () = told.closed() => self.caller_gone(),
            error = told.silence() => End::Failed(error),
            error = objection => End::Failed(error),
            () = stop.cancelled() => End::Stopping,
        };
        // What is whole in spite of it is not taken back.
        match halt(computing).await {
            Some(Ok(result)) => End::Done(result),
            Some(Err(_)) | None => early,
        }
    }

    /// A caller who goes may be noticed first by the spine that breaks off.
    async fn judged(&self, done: Result<Option<String>>, told: &Told) -> End {
        match done {
            Ok(result) => End::Done(result),
            Err(error) => match timeout(GONE_WITHIN, told.closed()).await {
                Err(_) if !self.shutdown.has_begun() => End::Failed(error),
                Ok(()) | Err(_) => self.caller_gone(),
            },
        }
    }

    /// A server that stops cuts the streams of its callers first.
    fn caller_gone(&self) -> End {
        if self.shutdown.has_begun() { End::Stopping } else { End::CallerGone }
    }

    /// Renews the lease, and tells the caller the counts too.
    async fn keep_lease(&self, counts: &Counts, told: &Told) -> Lost {
        let tell = || {
            let progress = counts.progress();
            // Who has not read the events before needs no newer counts.
            told.events.tell_now(Event::Progress(progress));
            progress
        };
        self.lease.keep(tell).await
    }

    /// Ends the run; gives the caller's last event.
    async fn end(&self, end: End, counts: &Counts) -> Option<Result<Event>> {
        let progress = counts.progress();
        let outcome = match &end {
            End::Done(result) => Outcome::Succeeded { progress, result: result.clone() },
            End::Failed(error) => Outcome::Failed { error: error.to_string() },
            End::Cancelled | End::CallerGone => Outcome::Cancelled,
            End::Stopping => Outcome::Failed { error: "the materializer was stopped".to_owned() },
        };
        let ended = self.lease.finish(&outcome).await;
        if let Err(error) = &ended {
            tracing::warn!(%error, ?outcome, "the run of a training set could not be ended");
        }
        match end {
            End::Done(_) => Some(ended.map(Event::Finished)),
            End::Failed(error) => Some(Err(error)),
            End::Cancelled => Some(Err(Error::cancelled(format!("run {} was cancelled", self.run.id)))),
            End::CallerGone => None,
            End::Stopping => Some(Err(Error::unavailable("the materializer is stopping"))),
        }
    }
}

impl Job {
    /// Computes once it has its turn; gives where the result was written, if it was. It has then been read to its end
    /// otherwise.
    async fn compute(
        self,
        lease: Arc<Lease>,
        places: Arc<Semaphore>,
        counts: Arc<Counts>,
        told: Teller,
    ) -> Result<Option<String>> {
        let Self { sets, set, output, started_at } = self;
        let revision = set.catalog.revision;
        let target = if output.is_some() { Target::Parquet } else { Target::Stream };
        // Files are read as fast as they can be. A spine that is streamed in comes when its caller sends it, and whoever waits
        // for a turn does not wait for that.
        let (spooled, _turn) = match set.spine {
            Spine::Path(_) => {
                let turn = turn(&places).await?;
                (sets.take_in(set, target).await?, turn)
            }
            Spine::Stream { .. } => {
                let spooled = sets.take_in(set, target).await?;
                (spooled, turn(&places).await?)
            }
        };
        let prepared = sets.plan(spooled).await?;
        let _ = counts.history.set(prepared.counts().clone());
        let plan = RunPlan {
            revision,
            started_at,
            row_set: None,
            parts: Vec::new(),
            watermarks: Vec::new(),
            spine: Some(prepared.spine().clone()),
            gone: Vec::new(),
            meets: 0,
        };
        lease.plan(&plan).await?;
        match output {
            Some(output) => {
                let rows = prepared.write(&output, |rows| counts.written.store(rows, Ordering::Relaxed)).await?;
                counts.written.store(rows, Ordering::Relaxed);
                Ok(Some(output.location().to_owned()))
            }
            None => stream(prepared, &counts, &told).await.map(|()| None),
        }
    }
}

/// Each has memory of its own for its joins.
async fn turn(places: &Semaphore) -> Result<SemaphorePermit<'_>> {
    places.acquire().await.map_err(|error| Error::internal(format!("the turns of training sets: {error}")))
}

async fn stream(set: TrainingSet, counts: &Counts, told: &Teller) -> Result<()> {
    told.tell(Event::Schema(set.schema())).await?;
    let mut batches = set.stream()?;
    while let Some(batch) = batches.next().await.transpose()? {
        let rows = batch.num_rows() as u64;
        told.tell(Event::Batch(batch)).await?;
        counts.written.fetch_add(rows, Ordering::Relaxed);
    }
    // It has succeeded when the caller has taken all of it.
    told.all_taken().await
}

fn joined<T>(done: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    done.unwrap_or_else(|error| Err(Error::internal(format!("computing a training set: {error}"))))
}

/// Gives a computation up; what it came to all the same, if it did in time.
async fn halt<T>(computing: AbortOnDropHandle<Result<T>>) -> Option<Result<T>> {
    computing.abort();
    match timeout(HALT_WITHIN, computing).await {
        Ok(done) => Some(joined(done)),
        Err(_) => None,
    }
}

impl Counts {
    fn progress(&self) -> Progress {
        let (read, refused) = self.history.get().map_or((0, 0), |history| (history.read(), history.refused()));
        Progress { read, refused, written: self.written.load(Ordering::Relaxed), ..Progress::default() }
    }
}
