//! `larder push`: events into the push log and the online store.

mod builder;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use clap::{ValueEnum, builder::NonEmptyStringValueParser};
use futures::{StreamExt, stream};
use indicatif::ProgressBar;
use larder_client::{BatchFailure, PushAnswer, PushBatch, Target};
use larder_types::{Clock, Error, ErrorCode, Name, SystemClock, Timestamp, Violation};
use tokio::sync::mpsc;

use self::builder::{BatchBuilder, Made};
use super::{Context, browse, interrupted::Hint, numbers};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    input::{
        RowFile, open,
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
    larder push real_time_push_source customer_id=CUST00000042 current_balance=12.5 last_transaction_amount=80 \\\n    \
    login_attempts_24h=1 device_fingerprint_score=0.1 ip_risk_score=0.05 session_duration=null\n\n\
    An event has every column of the source (`larder describe SOURCE` shows them), `null` where it has no value; a file has \
    also a column with the time of the event. Rows that are refused are listed and the others go in; the exit code is 1 \
    then. Pushing again with the --batch-id and --batch-size that a failed push names is safe: what is in already is not \
    counted twice.")]
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
    #[arg(long, value_name = "ROWS", default_value_t = 1_000, value_parser = numbers::count_above_zero, allow_negative_numbers = true)]
    batch_size: u32,
    /// Names the batches for all time; without it, a new name
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
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
    let mut pushed = Pushed::new(arguments.source.clone(), builder.id().to_owned());
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
    let batch = builder.batch_of_values(&rows, vec![event_time; rows.len], deleted)?;
    let push_ingest = context.services.push_ingest()?;
    let again = format!("--batch-id {} --event-time {event_time}", builder.id());
    let answer = push_ingest.explain(push_ingest.client.push(batch).await);
    let answer = answer.map_err(|failure| begun_or_not(smaller(failure, rows.len), &again))?;
    let numbers: Vec<u64> = (rows.first..).take(rows.len).collect();
    pushed.add(&numbers, &answer);
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
    let again = format!("--batch-id {} --batch-size {size}", builder.id());
    let (batches, mut made) = mpsc::channel(2);
    let sent = Arc::new(Sent::default());
    let reader = Reader { rows, builder, size, batches, sent: sent.clone(), bar: bar.clone() };
    let reading = tokio::task::spawn_blocking(move || reader.run());
    let batches = stream::poll_fn(move |cx| made.poll_recv(cx));
    let mut outcomes = push_ingest.explain(push_ingest.client.push_stream(batches, IN_FLIGHT).await)?;
    let hint = Hint::new(format!("Not all of {} is in: push it again with {again}", file.display()));
    let mut failure: Option<Failure> = None;
    while let Some(outcome) = outcomes.next().await {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                sent.stop();
                let why = push_ingest.explain::<()>(Err(error)).map_err(|why| smaller(why, sent.largest()));
                failure.get_or_insert(unfinished(why, pushed, &again));
                break;
            }
        };
        let numbers = sent.acknowledged();
        match outcome.result {
            Ok(answer) => pushed.add(&numbers, &answer),
            Err(failed) => {
                sent.stop();
                let is_begun = failed.targets.iter().any(|state| state.written != larder_client::Written::No);
                let why = smaller(of_batch(numbers.first().copied().unwrap_or(1), failed), numbers.len());
                failure.get_or_insert_with(|| match pushed.rows {
                    0 if is_begun => push_again(why, &again),
                    _ => unfinished(Err(why), pushed, &again),
                });
            }
        }
        bar.set_message(format!("{} pushed", counted(pushed.rows, "event")));
    }
    hint.not_needed();
    drop(outcomes);
    bar.finish_and_clear();
    let read = reading.await.map_err(|error| Error::internal("reading the file panicked").with_source(error))?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    read.map_err(|failure| unfinished(Err(failure), pushed, &again))?;
    pushed.leave_out(sent.left_out());
    Ok(())
}

/// Adds what was pushed before, and how to go on.
fn unfinished(failure: Outcome<()>, pushed: &Pushed, again: &str) -> Failure {
    let Err(failure) = failure else { return Failure::wrong("the push ended early") };
    if pushed.rows == 0 {
        return failure;
    }
    let rows = grouped(pushed.rows);
    reworded(failure, |message| {
        format!("{message}\n  Rows pushed before it: {rows}; once that is put right, push again with {again}")
    })
}

/// Says how to go on with a push of one batch of which something may be in. What the service calls the batch is not what the
/// option takes.
fn begun_or_not(failure: Failure, again: &str) -> Failure {
    let Failure::Error(error) = failure else { return failure };
    let is_id = |violation: &&Violation| violation.field == "batch_id";
    // Where no answer came, nobody has named the batch.
    let is_begun = error.violations().iter().any(|violation| is_id(&violation))
        || matches!(error.code(), ErrorCode::Unavailable | ErrorCode::DeadlineExceeded);
    let others = error.violations().iter().filter(|violation| !is_id(violation)).cloned();
    let error = others.fold(Error::new(error.code(), error.message()), |error, violation| {
        error.with_violation(violation.field, violation.description)
    });
    if is_begun { push_again(Failure::Error(error), again) } else { Failure::Error(error) }
}

fn push_again(failure: Failure, again: &str) -> Failure {
    reworded(failure, |message| {
        format!("{message}\n  What of it is in is not counted twice if you push again with {again}")
    })
}

/// Says how a batch of so many events is made smaller where it was too great.
fn smaller(failure: Failure, events: usize) -> Failure {
    let (bytes, rows) = ("push_ingest.server.max_request_bytes", "push_ingest.max_batch_rows");
    reworded(failure, |message| {
        if events <= 1 && message.contains(bytes) {
            format!("{message}\n  It is one event: no --batch-size makes it smaller, only that setting lets it in")
        } else if message.contains(bytes) || message.contains(rows) {
            let events = grouped(events as u64);
            format!("{message}\n  --batch-size says how many events a batch has: fewer than {events} then")
        } else {
            message.to_owned()
        }
    })
}

fn reworded(failure: Failure, reword: impl FnOnce(&str) -> String) -> Failure {
    let Failure::Error(error) = failure else { return failure };
    let message = reword(error.message());
    let violations = error.violations().iter().cloned();
    Failure::Error(violations.fold(Error::new(error.code(), message), |error, violation| {
        error.with_violation(violation.field, violation.description)
    }))
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
    /// Of each batch, the numbers of its rows.
    batches: Mutex<VecDeque<Vec<u64>>>,
    /// Rows that are in no batch, and why.
    left_out: Mutex<Vec<(u64, String)>>,
    stopped: AtomicBool,
}

impl Sent {
    fn add(&self, numbers: Vec<u64>) {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).push_back(numbers);
    }

    fn leave_out(&self, rows: Vec<(u64, String)>) {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).extend(rows);
    }

    fn left_out(&self) -> Vec<(u64, String)> {
        std::mem::take(&mut *self.left_out.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rows of the oldest batch that was not acknowledged yet: acknowledgements come in order.
    fn acknowledged(&self) -> Vec<u64> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_default()
    }

    /// How many rows the greatest batch has that was not acknowledged.
    fn largest(&self) -> usize {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.iter().map(Vec::len).max().unwrap_or_default()
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
            let Made { batch, numbers, left_out } = self.builder.batch_of_file(&rows)?;
            self.sent.leave_out(left_out);
            if let Some(batch) = batch {
                self.sent.add(numbers);
                if self.batches.blocking_send(batch).is_err() {
                    return Ok(());
                }
            }
            self.bar.set_position(self.rows.progress().1);
        }
        Ok(())
    }
}

impl Pushed {
    /// Counts the answer to a batch of the rows with those numbers.
    fn add(&mut self, numbers: &[u64], answer: &PushAnswer) {
        self.rows += answer.results.len() as u64;
        for result in &answer.results {
            self.count(*result);
        }
        let number = |row: usize| numbers.get(row).copied().unwrap_or_default();
        self.refusals.extend(answer.refusals.iter().map(|refusal| (number(refusal.row), refusal.reason.clone())));
    }

    /// Counts rows that were not sent at all.
    fn leave_out(&mut self, rows: Vec<(u64, String)>) {
        self.rows += rows.len() as u64;
        self.refused += rows.len() as u64;
        self.refusals.extend(rows);
        self.refusals.sort_by_key(|(row, _)| *row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_that_may_have_begun_names_what_the_option_takes() {
        let again = "--batch-id MY --event-time 2026-01-01T00:00:00Z";
        let begun = Error::unavailable("the online store is away")
            .with_violation("batch_id", "MY-1")
            .with_violation("targets.online", "not known");
        let message = begun_or_not(Failure::Error(begun), again).to_string();
        assert!(message.contains("push again with --batch-id MY --event-time 2026-01-01T00:00:00Z"), "{message}");
        assert!(!message.contains("MY-1") && message.ends_with("\n  targets.online: not known"), "{message}");
        let wrong = || Failure::Error(Error::invalid_field("cart_value", "is missing"));
        assert_eq!(begun_or_not(wrong(), again).to_string(), wrong().to_string());
    }

    #[test]
    fn what_makes_a_batch_smaller_is_told_by_how_many_events_it_has() {
        let great = || Failure::wrong("the limit is 1 (push_ingest.server.max_request_bytes)");
        assert!(smaller(great(), 20).to_string().ends_with("fewer than 20 then"));
        assert!(smaller(great(), 1).to_string().contains("It is one event"));
        assert_eq!(smaller(Failure::wrong("else"), 1).to_string(), "error: else");
    }
}
