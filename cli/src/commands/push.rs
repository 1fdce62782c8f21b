//! `larder push`: events into the push log and the online store.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use clap::ValueEnum;
use futures::{StreamExt, stream};
use indicatif::ProgressBar;
use larder_client::{BatchFailure, PushAnswer, PushBatch, PushClient, Target};
use larder_definitions::{Catalog, PushSchema, unknown_name};
use larder_types::{Clock, Error, Name, SystemClock, Timestamp, ValueType};
use tokio::sync::mpsc;

use super::{Context, browse, interrupted::Hint};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    input::{
        RowFile, Rows, open,
        pairs::{self, Pair},
    },
    progress,
    render::{
        numbers::{counted, grouped},
        pushed::Pushed,
    },
};

/// Push events, from a file or as arguments
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder push real_time_push_source --file events.jsonl\n  \
    larder push real_time_push_source customer_id=CUST00000042 current_balance=12.5 login_attempts_24h=null\n\n\
    A file has a column for each column of the source, and one with the time of the event. Rows that are refused are \
    listed and the others go in; the exit code is 1 then. Pushing again with the --batch-id that a failed push names is \
    safe: what is in already is not counted twice.")]
pub(crate) struct Arguments {
    /// The push source
    source: Name,
    /// The columns of one event, or of several: name=v1,v2
    #[arg(value_name = "NAME=VALUE", required_unless_present = "file", conflicts_with = "file")]
    values: Vec<Pair>,
    /// A .csv, .json, .jsonl or .parquet file of events
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// When the events given as arguments happened; without it, now
    #[arg(long, value_name = "TIME", conflicts_with = "file")]
    event_time: Option<Timestamp>,
    /// The events given as arguments are deletions: only their keys count
    #[arg(long, conflicts_with = "file")]
    delete: bool,
    #[command(flatten)]
    columns: TimeColumns,
    /// Where the events go
    #[arg(long, value_enum, default_value = "both")]
    target: To,
    /// Events in a batch
    #[arg(long, value_name = "ROWS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Names the batches for all time; without it, a new name
    #[arg(long, value_name = "ID")]
    batch_id: Option<String>,
}

/// Columns of a file that are not the source's.
#[derive(Debug, Clone, clap::Args)]
struct TimeColumns {
    /// The file's column with the time of the event; without it, event_timestamp or event_time
    #[arg(long, value_name = "COLUMN")]
    event_time_column: Option<String>,
    /// The file's column with the time when the event was recorded; without it, the service's clock
    #[arg(long, value_name = "COLUMN")]
    created_time_column: Option<String>,
    /// The file's column that is true for deletions
    #[arg(long, value_name = "COLUMN")]
    deleted_column: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum To {
    /// The online store alone
    Online,
    /// The push log alone
    Offline,
    /// The push log and the online store
    Both,
}

/// Names that are tried for the column with the event time.
const EVENT_TIMES: [&str; 2] = ["event_timestamp", "event_time"];

/// Batches that are on their way at the same time.
const IN_FLIGHT: usize = 8;

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Outcome {
    let started = Instant::now();
    let catalog = browse::catalog(context).await?;
    let builder = BatchBuilder::new(&catalog, &arguments)?;
    let mut pushed = Pushed::new(arguments.source.clone());
    match &arguments.file {
        Some(file) => push_file(context, builder, file, arguments.batch_size as usize, &mut pushed).await?,
        None => push_values(context, builder, &arguments, &mut pushed).await?,
    }
    pushed.seconds = started.elapsed().as_secs_f64();
    let exit = if pushed.refused > 0 { Exit::Failed } else { Exit::Ok };
    context.console.report(&pushed)?;
    Ok(exit)
}

async fn push_values(
    context: &Context,
    builder: BatchBuilder,
    arguments: &Arguments,
    pushed: &mut Pushed,
) -> Outcome<()> {
    let typed = arguments.values.iter().map(|pair| (pair, builder.type_of(pair.name.as_str()).unwrap_or(pairs::TEXT)));
    let rows = pairs::rows(typed.collect())?;
    let event_time = arguments.event_time.unwrap_or_else(|| SystemClock.now());
    let deleted = if arguments.delete { vec![true; rows.len] } else { Vec::new() };
    let batch = builder.batch(&rows, &[], vec![event_time; rows.len], Vec::new(), deleted)?;
    let push_ingest = context.services.push_ingest()?;
    let answer = push_ingest.explain(push_ingest.client.push(batch).await)?;
    pushed.add(rows.first, &answer);
    Ok(())
}

/// Reads and sends at the same time, a few batches ahead of their acknowledgements.
async fn push_file(
    context: &Context,
    builder: BatchBuilder,
    file: &Path,
    size: usize,
    pushed: &mut Pushed,
) -> Outcome<()> {
    let rows = open(file, size)?;
    let push_ingest = context.services.push_ingest()?;
    let bar = progress::sized(rows.progress().0, "push");
    let id = builder.id.clone();
    let (batches, mut made) = mpsc::channel(2);
    let sent = Arc::new(Sent::default());
    let reader = Reader { rows, builder, size, batches, sent: sent.clone(), bar: bar.clone() };
    let reading = tokio::task::spawn_blocking(move || reader.run());
    let batches = stream::poll_fn(move |cx| made.poll_recv(cx));
    let mut outcomes = push_ingest.explain(push_ingest.client.push_stream(batches, IN_FLIGHT).await)?;
    let again = Hint::new(format!("Not all of {} is in: push it again with --batch-id {id}", file.display()));
    let mut failure: Option<Failure> = None;
    while let Some(outcome) = outcomes.next().await {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                sent.stop();
                failure.get_or_insert(unfinished(push_ingest.explain::<()>(Err(error)), pushed, &id));
                break;
            }
        };
        let first = sent.acknowledged();
        match outcome.result {
            Ok(answer) => pushed.add(first, &answer),
            Err(failed) => {
                sent.stop();
                failure.get_or_insert(unfinished(Err(of_batch(first, failed)), pushed, &id));
            }
        }
        bar.set_message(format!("{} pushed", counted(pushed.rows, "event")));
    }
    again.not_needed();
    drop(outcomes);
    bar.finish_and_clear();
    let read = reading.await.map_err(|error| Error::internal("reading the file panicked").with_source(error))?;
    match failure {
        Some(failure) => Err(failure),
        None => read.map_err(|failure| unfinished(Err(failure), pushed, &id)),
    }
}

/// Adds what was pushed before, and how to go on.
fn unfinished(failure: Outcome<()>, pushed: &Pushed, id: &str) -> Failure {
    match failure {
        Err(Failure::Error(error)) if pushed.rows > 0 => {
            let (code, pushed) = (error.code(), grouped(pushed.rows));
            let message = format!(
                "{}\n  Rows pushed before it: {pushed}; once that is put right, push again with --batch-id {id}",
                error.message()
            );
            let violations = error.violations().iter().cloned();
            Failure::Error(violations.fold(Error::new(code, message), |error, violation| {
                error.with_violation(violation.field, violation.description)
            }))
        }
        Err(failure) => failure,
        Ok(()) => Failure::wrong("the push ended early"),
    }
}

fn of_batch(first: u64, failed: BatchFailure) -> Failure {
    let targets = failed.targets.iter().map(|state| {
        let target = match state.target {
            Target::Online => "the online store",
            Target::Offline => "the push log",
            Target::OnlineAndOffline => "both targets",
        };
        let written = match state.written {
            larder_client::Written::Yes => "has them",
            larder_client::Written::No => "does not have them",
            larder_client::Written::NotKnown => "may have them",
        };
        format!("; {target} {written}")
    });
    let targets: String = targets.collect();
    Failure::Error(failed.error.context(format!("the events from row {first} on{targets}")))
}

/// Which rows are on their way, between the one who reads and the one who hears of them.
#[derive(Debug, Default)]
struct Sent {
    firsts: Mutex<VecDeque<u64>>,
    stopped: AtomicBool,
}

impl Sent {
    fn add(&self, first: u64) {
        self.firsts.lock().unwrap_or_else(PoisonError::into_inner).push_back(first);
    }

    /// The first row of the oldest batch that was not acknowledged yet: acknowledgements come in order.
    fn acknowledged(&self) -> u64 {
        self.firsts.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(1)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Reads a file and makes batches of it, on a thread of its own.
struct Reader {
    rows: Box<dyn RowFile>,
    builder: BatchBuilder,
    size: usize,
    batches: mpsc::Sender<PushBatch>,
    sent: Arc<Sent>,
    bar: ProgressBar,
}

impl Reader {
    fn run(mut self) -> Outcome<()> {
        while !self.sent.stopped.load(Ordering::Relaxed)
            && let Some(rows) = self.rows.next(self.size)?
        {
            let batch = self.builder.batch_of_file(&rows)?;
            self.sent.add(rows.first);
            if self.batches.blocking_send(batch).is_err() {
                return Ok(());
            }
            self.bar.set_position(self.rows.progress().1);
        }
        Ok(())
    }
}

/// Makes batches of rows, as the source's schema wants them.
struct BatchBuilder {
    project: Name,
    source: Name,
    schema: Arc<PushSchema>,
    columns: TimeColumns,
    target: Target,
    id: String,
    revision: larder_types::Revision,
}

impl BatchBuilder {
    fn new(catalog: &Catalog, arguments: &Arguments) -> Outcome<Self> {
        let source = catalog.source(arguments.source.as_str())?;
        let schema = source.push_schema.clone().ok_or_else(|| {
            let why = if source.is_push() { "no view reads it" } else { "it is not a push source" };
            Error::failed_precondition(format!("source {} takes no events: {why}", arguments.source))
        })?;
        Ok(Self {
            project: catalog.project.clone(),
            source: arguments.source.clone(),
            schema,
            columns: arguments.columns.clone(),
            target: match arguments.target {
                To::Online => Target::Online,
                To::Offline => Target::Offline,
                To::Both => Target::OnlineAndOffline,
            },
            id: arguments.batch_id.clone().unwrap_or_else(PushClient::batch_id),
            revision: catalog.revision,
        })
    }

    /// The source's columns: keys, then features.
    fn wanted(&self) -> impl Iterator<Item = (&str, ValueType)> {
        let keys = self.schema.keys.iter().map(|key| (key.name.as_str(), key.key_type.scalar().into()));
        keys.chain(self.schema.columns.iter().map(|(name, value_type)| (name.as_str(), *value_type)))
    }

    fn type_of(&self, column: &str) -> Option<ValueType> {
        self.wanted().find(|(name, _)| *name == column).map(|(_, value_type)| value_type)
    }

    fn batch_of_file(&self, rows: &Rows) -> Outcome<PushBatch> {
        let TimeColumns { event_time_column, created_time_column, deleted_column } = &self.columns;
        let guessed = || EVENT_TIMES.into_iter().find(|name| rows.column(name).is_some());
        let event_time = event_time_column.as_deref().or_else(guessed).unwrap_or(EVENT_TIMES[0]);
        let missing = |column: &str, flag: &str| {
            let has = rows.names().collect::<Vec<_>>().join(", ");
            Failure::wrong(format!("{} has no column {column} ({flag} names another one); it has {has}", rows.file))
        };
        let event_times = rows
            .times(event_time)?
            .ok_or_else(|| missing(event_time, "with the time of the event; --event-time-column"))?;
        let created_times = match created_time_column {
            Some(column) => rows.times(column)?.ok_or_else(|| missing(column, "--created-time-column"))?,
            None => Vec::new(),
        };
        let deleted = match deleted_column {
            Some(column) => deletions(rows, column)?.ok_or_else(|| missing(column, "--deleted-column"))?,
            None => Vec::new(),
        };
        let beside: Vec<&str> = [Some(event_time), created_time_column.as_deref(), deleted_column.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        self.batch(rows, &beside, event_times, created_times, deleted)
    }

    /// `beside`: columns that are not the source's.
    fn batch(
        &self,
        rows: &Rows,
        beside: &[&str],
        event_times: Vec<Timestamp>,
        created_times: Vec<Timestamp>,
        deleted: Vec<bool>,
    ) -> Outcome<PushBatch> {
        if let Some(name) = rows.names().find(|name| !beside.contains(name) && self.type_of(name).is_none()) {
            let known: Vec<&str> = self.wanted().map(|(name, _)| name).collect();
            let error = unknown_name(&format!("source {}", self.source), "column", name, &known);
            return Err(Failure::wrong(format!(
                "{}: {}\n  its columns are {}",
                rows.file,
                error.message(),
                known.join(", ")
            )));
        }
        let mut columns = Vec::new();
        for (name, value_type) in self.wanted() {
            if let Some(array) = rows.typed(name, value_type)? {
                columns.push((name.to_owned(), array));
            }
        }
        Ok(PushBatch {
            project: self.project.clone(),
            source: self.source.clone(),
            batch_id: Some(format!("{}-{}", self.id, rows.first)),
            columns,
            event_times,
            created_times,
            deleted,
            target: self.target,
            min_revision: self.revision,
        })
    }
}

/// Which rows are deletions; null is no deletion.
fn deletions(rows: &Rows, column: &str) -> Outcome<Option<Vec<bool>>> {
    let array = rows.typed(column, larder_types::ScalarType::Bool.into())?;
    Ok(array.map(|array| {
        let flags = array.as_any().downcast_ref::<arrow::array::BooleanArray>();
        flags.into_iter().flatten().map(|flag| flag.unwrap_or(false)).collect()
    }))
}

impl Pushed {
    /// Counts the answer to a batch that begins with row `first`.
    fn add(&mut self, first: u64, answer: &PushAnswer) {
        self.rows += answer.results.len() as u64;
        for result in &answer.results {
            self.count(*result);
        }
        self.refusals
            .extend(answer.refusals.iter().map(|refusal| (first + refusal.row as u64, refusal.reason.clone())));
    }
}
