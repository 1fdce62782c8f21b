//! `larder train`: a training set, point in time.

mod result;
mod spine;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt, stream};
use indicatif::ProgressBar;
use larder_client::{TrainingSet, TrainingSetEvent};
use larder_definitions::{Catalog, run::Run, selection::Selection};
use larder_types::{Error, ErrorCode, KeyType, Name, Result, ScalarType, ValueType};
use tokio::sync::mpsc;

use self::{result::ResultFile, spine::SpineFile};
use super::{
    Context,
    overwriting::{is_same_file, refuse_data_folder, refuse_source_file},
    runs,
    selection::Features,
};
use crate::{
    console::say,
    exit::Exit,
    failure::{Failure, Outcome},
    progress::{self, RunBar},
    render::{numbers::counted, trained::Trained},
};

/// Build a training set: each row of a spine with the features as they were at its time
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  larder train credit_scoring_service --spine spine.parquet --out training.parquet\n\n\
    The spine has the join keys, a time, and whatever else: labels and other columns come through, rows stay in order.\n\
    A spine on this machine is sent to the materializer and the result is received (--stream). With --on-server, the \
    default for URLs such as file:///data/spine.parquet, the materializer reads and writes the files itself, under the \
    roots that its configuration allows."
)]
pub(crate) struct Arguments {
    /// The feature service
    service: Option<Name>,
    #[command(flatten)]
    features: Features,
    /// The spine: .parquet, .arrow or .csv; with --on-server also a folder or glob
    #[arg(long, value_name = "FILE")]
    spine: String,
    /// The spine's column with the time
    #[arg(long, value_name = "COLUMN", default_value = "event_timestamp")]
    event_time: String,
    /// The file to write: .parquet or .arrow, with --on-server .parquet. One that is there is replaced, once the new one is whole
    #[arg(long, value_name = "FILE")]
    out: String,
    /// Send the spine and receive the result
    #[arg(long, conflicts_with = "on_server")]
    stream: bool,
    /// Let the materializer read the spine and write the result
    #[arg(long)]
    on_server: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Outcome {
    let on_server = arguments.on_server || (!arguments.stream && is_url(&arguments.spine));
    if !on_server && is_same_file(Path::new(&arguments.spine), Path::new(&arguments.out)) {
        let message = format!("{} is the spine itself: name another file to write", arguments.out);
        return Err(Failure::wrong(message));
    }
    if !on_server {
        refuse_data_folder(Path::new(&arguments.out))?;
    }
    let project = context.project()?;
    let set = TrainingSet {
        features: arguments.features.selection(arguments.service.clone())?,
        spine_path: on_server.then(|| absolute(&arguments.spine)).transpose()?,
        event_time: arguments.event_time.clone(),
        output_path: on_server.then(|| absolute(&arguments.out)).transpose()?,
        full_names: arguments.features.full_names,
        min_revision: context.services.newest_revision(&project).await?,
        project,
    };
    let started = Instant::now();
    let (run, rows) = if on_server {
        build_on_server(context, &set).await?
    } else {
        let (spine, out) = (PathBuf::from(&arguments.spine), PathBuf::from(&arguments.out));
        let registry = context.services.registry()?;
        let catalog = registry.explain(registry.client.catalog(&set.project, None).await)?;
        refuse_source_file(&catalog, &out)?;
        let spine = SpineFile::open(&spine, &column_types(&catalog, &set))?;
        build_by_stream(context, &set, spine, &out).await?
    };
    let exit = runs::exit(&run);
    if exit != Exit::Ok {
        let error = run.error.as_deref().unwrap_or("it was cancelled");
        say(&format!("error: run {}: {error}; {} was not written", run.id, arguments.out));
    }
    let (project, seconds) = (set.project, started.elapsed().as_secs_f64());
    if exit == Exit::Ok || !context.console.is_table() {
        context.console.report(&Trained { project, run, out: arguments.out, rows, seconds })?;
    }
    Ok(exit)
}

fn is_url(path: &str) -> bool {
    path.contains("://")
}

/// As the materializer can find it: it may run in another folder.
fn absolute(path: &str) -> Outcome<String> {
    if is_url(path) {
        return Ok(path.to_owned());
    }
    let path = Path::new(path);
    let absolute = path.canonicalize().or_else(|_| std::path::absolute(path));
    let absolute = absolute.map_err(|error| Failure::io(path.display(), &error))?;
    Ok(absolute.display().to_string())
}

async fn build_on_server(context: &Context, set: &TrainingSet) -> Outcome<(Run, u64)> {
    let materializer = context.services.materializer()?;
    let mut events = materializer.explain(materializer.client.training_set(set, stream::empty()).await)?;
    let bar = RunBar::single("training set");
    let mut begun = None;
    while let Some(event) = events.next().await {
        match materializer.explain(event).map_err(|failure| of_run(begun.as_deref(), failure))? {
            TrainingSetEvent::Started(run) => {
                bar.show(&run);
                begun = Some(run.id);
            }
            TrainingSetEvent::Progress(progress) => bar.show_progress(&progress),
            TrainingSetEvent::Rows(_) => {}
            TrainingSetEvent::Finished(run) => {
                bar.clear();
                let spine = run.plan.as_ref().and_then(|plan| plan.spine.as_ref());
                let rows = spine.map_or(run.progress.written, |spine| spine.rows);
                return Ok((*run, rows));
            }
        }
    }
    Err(ended_early())
}

/// The types that the features need the spine's columns to have, by name. A file of text says nothing of them.
fn column_types(catalog: &Catalog, set: &TrainingSet) -> BTreeMap<String, ValueType> {
    // What is wrong with the request, the materializer says.
    let Ok(selection) = Selection::resolve(catalog, &set.features, set.full_names) else {
        return BTreeMap::new();
    };
    // The width of an integer key does not matter.
    let key = |key_type: KeyType| match key_type {
        KeyType::Int32 => KeyType::Int64.scalar(),
        KeyType::Bool | KeyType::Int64 | KeyType::String | KeyType::Bytes | KeyType::Timestamp => key_type.scalar(),
    };
    let keys =
        selection.entity_columns.iter().map(|(name, key_type)| (name.to_string(), ValueType::Scalar(key(*key_type))));
    let request = selection.request_columns.iter().map(|(name, value_type)| (name.to_string(), *value_type));
    let time = (set.event_time.clone(), ValueType::Scalar(ScalarType::Timestamp));
    keys.chain(request).chain([time]).collect()
}

async fn build_by_stream(context: &Context, set: &TrainingSet, file: SpineFile, out: &Path) -> Outcome<(Run, u64)> {
    let result = ResultFile::create(out)?;
    result.check_spine(&file.schema()).map_err(Failure::Error)?;
    let bar = progress::sized(file.rows().unwrap_or(0), "training set");
    let unreadable = Unreadable::default();
    let built = receive(context, set, batches(file, unreadable.clone()), result, &bar).await;
    // What the service makes of a spine that breaks off says less than why it did.
    match unreadable.error() {
        Some(error) => Err(Failure::Error(error)),
        None => built,
    }
}

async fn receive(
    context: &Context,
    set: &TrainingSet,
    spine: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    mut result: ResultFile,
    bar: &ProgressBar,
) -> Outcome<(Run, u64)> {
    let materializer = context.services.materializer()?;
    let mut events = materializer.explain(materializer.client.training_set(set, spine).await)?;
    let (mut begun, mut rows) = (None, 0);
    while let Some(event) = events.next().await {
        match materializer.explain(event).map_err(|failure| of_run(begun.as_deref(), failure))? {
            TrainingSetEvent::Started(run) => begun = Some(run.id),
            TrainingSetEvent::Progress(_) => {}
            TrainingSetEvent::Rows(batch) => {
                result.write(&batch)?;
                rows += batch.num_rows() as u64;
                bar.set_position(rows);
                bar.set_message(counted(rows, "row"));
            }
            TrainingSetEvent::Finished(run) => {
                bar.finish_and_clear();
                if runs::exit(&run) == Exit::Ok {
                    result.finish()?;
                }
                return Ok((*run, rows));
            }
        }
    }
    Err(ended_early())
}

/// What ends a training set once its run has begun is how the run ended, unless it was lost from sight.
fn of_run(begun: Option<&str>, failure: Failure) -> Failure {
    match (begun, failure) {
        (Some(run), Failure::Error(error)) => match error.code() {
            ErrorCode::Unavailable | ErrorCode::DeadlineExceeded => Failure::Error(error),
            ErrorCode::Cancelled if error.message().contains(run) => Failure::Run(error),
            ErrorCode::InvalidArgument
            | ErrorCode::NotFound
            | ErrorCode::AlreadyExists
            | ErrorCode::FailedPrecondition
            | ErrorCode::Conflict
            | ErrorCode::PermissionDenied
            | ErrorCode::Unauthenticated
            | ErrorCode::ResourceExhausted
            | ErrorCode::Cancelled
            | ErrorCode::Unimplemented
            | ErrorCode::DataLoss
            | ErrorCode::Internal => Failure::Run(error.context(format_args!("run {run} failed"))),
        },
        (_, failure) => failure,
    }
}

fn ended_early() -> Failure {
    Failure::Error(Error::unavailable("the materializer ended the training set before it was whole"))
}

/// Why the spine could not be read to its end.
#[derive(Debug, Clone, Default)]
struct Unreadable(Arc<Mutex<Option<Error>>>);

impl Unreadable {
    fn error(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps the error, and gives one to break off with.
    fn keep(&self, error: Error) -> Error {
        let broken_off = Error::invalid_argument("the spine breaks off");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        broken_off
    }
}

/// The spine, read on a thread of its own, a few batches ahead.
fn batches(file: SpineFile, unreadable: Unreadable) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
    let (read, mut batches) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        for batch in file {
            if read.blocking_send(batch.map_err(|error| unreadable.keep(error))).is_err() {
                return;
            }
        }
    });
    stream::poll_fn(move |cx| batches.poll_recv(cx))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_run_is_no_wrong_request() {
        let cancelled = || Failure::Error(Error::cancelled("run r1 was cancelled"));
        let wrong = || Failure::Error(Error::invalid_argument("no column `at`"));
        let gone = || Failure::Error(Error::unavailable("the materializer is stopping"));
        for (begun, failure, exit, message) in [
            (Some("r1"), cancelled(), Exit::RunFailed, "error: run r1 was cancelled"),
            (Some("r1"), wrong(), Exit::RunFailed, "error: run r1 failed: no column `at`"),
            (Some("r1"), gone(), Exit::Unavailable, "error: the materializer is stopping"),
            (None, wrong(), Exit::Failed, "error: no column `at`"),
        ] {
            let failure = of_run(begun, failure);
            assert_eq!((failure.exit(), failure.to_string().as_str()), (exit, message));
        }
    }
}
