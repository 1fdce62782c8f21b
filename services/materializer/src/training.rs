//! Training sets: each is a run, whether its result is written or streamed.

use std::{sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_stream::try_stream;
use futures::{Stream, StreamExt, stream::BoxStream};
use larder_client::{Projects, RunsClient};
use larder_definitions::{
    Catalog,
    run::{Outcome, Progress, Run, RunPlan, RunRequest, TrainingSetRequest},
    selection::Asked,
};
use larder_offline_store::training::{Spine, TrainingRequest, TrainingSet, TrainingSets};
use larder_types::{Clock, Error, ErrorCode, LeaseNumber, Name, Result, Revision};
use tokio::sync::mpsc;

/// How long the registry may take for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Where a spine or a result is that has no path.
const STREAMED: &str = "streamed";

/// How often counts are reported and the lease is renewed.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// What a training set is asked for.
pub struct Request {
    /// The project.
    pub project: String,
    /// Which features.
    pub features: Asked,
    /// Whether features are called `view.feature`.
    pub full_names: bool,
    /// For which rows.
    pub spine: Spine,
    /// The spine's column with the time.
    pub event_time: String,
    /// A Parquet file to write; none: the result is streamed.
    pub output: Option<String>,
    /// The least revision to work by.
    pub min_revision: Revision,
}

/// What happens while a training set is built.
#[derive(Debug)]
pub enum Event {
    /// It is this run.
    Started(Run),
    /// The schema of the batches, before the first.
    Schema(SchemaRef),
    /// Rows of the result.
    Batch(RecordBatch),
    /// Counts so far.
    Progress(Progress),
    /// It ended well.
    Finished(Run),
}

/// Builds training sets.
#[derive(Clone)]
pub struct Training {
    /// Names this process in leases.
    pub holder: String,
    /// The way to runs.
    pub runs: RunsClient,
    /// The newest catalogs.
    pub projects: Projects<Arc<Catalog>>,
    /// Computes.
    pub sets: TrainingSets,
    /// The instant at which a run starts.
    pub clock: Arc<dyn Clock>,
}

/// A run that this process leads.
struct Lead {
    runs: RunsClient,
    project: Name,
    run: Run,
    lease: LeaseNumber,
}

impl Training {
    /// Builds a training set; the work goes on while the stream is read. A failure ends the run and then the stream.
    pub fn build(self, request: Request, patience: Duration) -> impl Stream<Item = Result<Event>> + Send {
        try_stream! {
            let catalog = self.projects.get(&request.project, request.min_revision, patience).await?;
            let kept = kept_request(&request);
            let lead = self.start(&catalog, kept).await?;
            yield Event::Started(lead.run.clone());
            let mut events = self.clone().work(Arc::clone(&catalog), request, &lead);
            let mut progress = Progress::default();
            let mut result = None;
            loop {
                match events.next().await {
                    Some(Ok(Step::Event(event))) => {
                        if let Event::Progress(counts) = &*event {
                            progress = *counts;
                        }
                        yield *event;
                    }
                    Some(Ok(Step::Written(location))) => result = Some(location),
                    Some(Err(error)) => {
                        lead.fail(&error).await;
                        Err(error)?;
                    }
                    None => break,
                }
            }
            yield Event::Finished(lead.succeed(progress, result).await?);
        }
    }

    async fn start(&self, catalog: &Catalog, kept: TrainingSetRequest) -> Result<Lead> {
        let (runs, project) = (self.runs.within(ANSWER_WITHIN), catalog.project.clone());
        let (run, _) = runs.create(&project, "", &RunRequest::TrainingSet(kept)).await?;
        let grant = runs.acquire_lease(&project, &run.id, &self.holder).await?;
        Ok(Lead { runs, project, run: grant.run, lease: grant.lease })
    }

    /// The steps of the work, and counts in between.
    fn work(self, catalog: Arc<Catalog>, request: Request, lead: &Lead) -> BoxStream<'static, Result<Step>> {
        let (runs, project, id, lease) = (lead.runs.clone(), lead.project.clone(), lead.run.id.clone(), lead.lease);
        let started_at = self.clock.now();
        try_stream! {
            let revision = catalog.revision;
            let Request { features, full_names, spine, event_time, output, .. } = request;
            let prepared = self.sets.prepare(TrainingRequest { catalog, features, full_names, spine, event_time }).await?;
            let plan = RunPlan {
                revision,
                started_at,
                row_set: None,
                parts: Vec::new(),
                watermarks: Vec::new(),
                spine: Some(prepared.spine().clone()),
            };
            runs.plan(&project, &id, lease, &plan).await?;
            let counts = prepared.counts().clone();
            let mut written = 0_u64;
            let mut steps = compute(prepared, output)?;
            let mut report = tokio::time::interval(REPORT_EVERY);
            loop {
                let next = tokio::select! {
                    step = steps.next() => Next::Computed(step),
                    _ = report.tick() => Next::Report,
                };
                let progress = Progress { read: counts.read(), refused: counts.refused(), written, ..Progress::default() };
                match next {
                    Next::Computed(Some(computed)) => match computed? {
                        Computed::Rows(rows) => written = rows,
                        Computed::Batch(batch) => {
                            written += batch.num_rows() as u64;
                            yield Step::Event(Box::new(Event::Batch(batch)));
                        }
                        Computed::Schema(schema) => yield Step::Event(Box::new(Event::Schema(schema))),
                        Computed::Written(location) => yield Step::Written(location),
                    },
                    Next::Computed(None) => {
                        yield Step::Event(Box::new(Event::Progress(progress)));
                        break;
                    }
                    Next::Report => {
                        if runs.report_progress(&project, &id, lease, &progress).await? {
                            Err(Error::cancelled(format!("run {id} was cancelled")))?;
                        }
                        yield Step::Event(Box::new(Event::Progress(progress)));
                    }
                }
            }
        }
        .boxed()
    }
}

/// What is kept of a request, to ask for the same again.
fn kept_request(request: &Request) -> TrainingSetRequest {
    let (feature_service, references) = match &request.features {
        Asked::Service(name) => (Some(name.clone()), Vec::new()),
        Asked::References(references) => (None, references.iter().map(ToString::to_string).collect()),
    };
    let spine = match &request.spine {
        Spine::Path(path) => path.clone(),
        Spine::Stream { .. } => STREAMED.to_owned(),
    };
    let output = request.output.clone().unwrap_or_else(|| STREAMED.to_owned());
    TrainingSetRequest { feature_service, references, spine, output, full_names: request.full_names }
}

enum Step {
    Event(Box<Event>),
    Written(String),
}

enum Next {
    Computed(Option<Result<Computed>>),
    Report,
}

enum Computed {
    Schema(SchemaRef),
    Batch(RecordBatch),
    Rows(u64),
    Written(String),
}

/// Streams the result, or writes it and says how far it is.
fn compute(set: TrainingSet, output: Option<String>) -> Result<BoxStream<'static, Result<Computed>>> {
    let Some(location) = output else {
        let schema = set.schema();
        let batches = set.stream()?.map(|batch| batch.map(Computed::Batch));
        let first = futures::stream::once(std::future::ready(Ok(Computed::Schema(schema))));
        return Ok(first.chain(batches).boxed());
    };
    let (sender, mut rows) = mpsc::unbounded_channel();
    let stream = try_stream! {
        let writing = set.write(&location, move |rows| {
            // Whoever watched has gone: the writing is dropped with the stream.
            let _ = sender.send(rows);
        });
        tokio::pin!(writing);
        let total = loop {
            let (total, rows) = tokio::select! {
                total = &mut writing => (Some(total), None),
                rows = rows.recv() => (None, rows),
            };
            if let Some(rows) = rows {
                yield Computed::Rows(rows);
            }
            if let Some(total) = total {
                break total?;
            }
        };
        yield Computed::Rows(total);
        yield Computed::Written(location.clone());
    };
    Ok(stream.boxed())
}

impl Lead {
    async fn succeed(&self, progress: Progress, result: Option<String>) -> Result<Run> {
        let outcome = Outcome::Succeeded { progress, result };
        self.runs.finish(&self.project, &self.run.id, self.lease, &outcome).await
    }

    /// The caller is told of the failure itself; that its run could not be ended is for the log.
    async fn fail(&self, error: &Error) {
        let outcome = if error.code() == ErrorCode::Cancelled {
            Outcome::Cancelled
        } else {
            Outcome::Failed { error: error.to_string() }
        };
        if let Err(ending) = self.runs.finish(&self.project, &self.run.id, self.lease, &outcome).await {
            tracing::warn!(run = self.run.id, error = %ending, "a failed training set's run could not be ended");
        }
    }
}
