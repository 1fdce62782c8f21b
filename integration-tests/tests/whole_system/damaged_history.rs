//! Parquet files that cannot be read as declared: the run fails, training fails, both name the file and the column, and
//! nothing has changed.

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::Schema,
};
use larder_client::RunFilter;
use larder_definitions::run::{Run, RunState};
use larder_types::{Clock, ErrorCode, Name, Result, Revision, SystemClock};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};

use crate::{
    definitions::{SHOP, shop},
    history::{self, customer_column},
    sandbox::{Sandbox, assert_succeeded},
    training_equals_serving::{ask, differences, is_different, references, spine_at, train, training_set},
};

/// What was done to a good file, how, and what is said of it.
type Damage = (&'static str, fn(&Path), &'static [&'static str]);

const DAMAGES: &[Damage] = &[
    ("cut short", cut_short, &["is not a Parquet file, or was cut short or damaged"]),
    ("empty", |path| std::fs::write(path, "").unwrap(), &["is not a Parquet file, or was cut short or damaged"]),
    ("no Parquet", |path| std::fs::write(path, "id;score\n1;2\n".repeat(50)).unwrap(), &["is not a Parquet file"]),
    (
        "without its timestamp",
        |path| rewrite(path, |name, column| (name != "event_timestamp").then_some(column)),
        &["event_timestamp"],
    ),
    (
        "without its key",
        |path| rewrite(path, |name, column| (name != "customer_id").then_some(column)),
        &["customer_id"],
    ),
    ("without a feature", |path| rewrite(path, |name, column| (name != "visits").then_some(column)), &["visits"]),
    (
        "with a feature of another type",
        |path| rewrite(path, |name, column| Some(text_of("score", name, column))),
        &["score", "float64"],
    ),
    (
        "with a timestamp of another type",
        |path| {
            rewrite(path, |name, column| Some(text_of("event_timestamp", name, column)));
        },
        &["event_timestamp", "timestamp"],
    ),
    // The last: nothing can be copied over it.
    (
        "that is a link to itself",
        |path| {
            std::fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(path, path).unwrap();
        },
        &["Too many levels of symbolic links"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_as_declared_fails_the_run_and_training_by_name_and_changes_nothing() {
    let mut sandbox = Sandbox::start().await;
    let folder = sandbox.folder.path().join("history");
    history::write(&folder, history::past(SystemClock.now()), 2, 21);
    let revision = sandbox.apply(SHOP).await.unwrap().revision;
    assert_succeeded(&sandbox.materialize(&shop(), revision).await);
    let customers: Vec<i64> = (0..50).collect();
    let before = ask(&sandbox, &customers).await;

    let bad = folder.join("part-9.parquet");
    for (what, damage, texts) in DAMAGES {
        std::fs::copy(folder.join("part-0.parquet"), &bad).unwrap();
        damage(&bad);
        for is_incremental in [false, true] {
            let run = materialize_profile(&sandbox, is_incremental).await;
            assert_eq!(run.state, RunState::Failed, "a file {what}");
            check_text(what, run.error.as_deref().unwrap_or_default(), texts);
        }
        let trained = train_profile(&sandbox, &customers).await.unwrap_err();
        assert_eq!(trained.code(), ErrorCode::FailedPrecondition, "a file {what}: {trained}");
        check_text(what, trained.message(), texts);
        let newest = sandbox.runs().list(&shop(), &RunFilter::default()).await.unwrap().runs.remove(0);
        assert_eq!(newest.state, RunState::Failed, "the training set's run");
        check_text(what, newest.error.as_deref().unwrap_or_default(), texts);
        assert!(!is_different(&before, &ask(&sandbox, &customers).await), "a file {what} changed what is served");
    }

    std::fs::remove_file(&bad).unwrap();
    // A failed run moved no watermark; what it may have written is met once.
    for parts in [2, 0] {
        let run = materialize_profile(&sandbox, true).await;
        assert_eq!((run.state, run.progress.parts), (RunState::Succeeded, parts));
    }
    assert_eq!(differences(&before, &train(&sandbox, &customers, &before).await), 0);
    sandbox.stop().await;
}

fn check_text(what: &str, error: &str, texts: &[&str]) {
    for text in texts.iter().chain(&["part-9.parquet"]) {
        assert!(error.contains(text), "a file {what}: `{text}` is not in: {error}");
    }
}

async fn materialize_profile(sandbox: &Sandbox, is_incremental: bool) -> Run {
    let (client, profile) = (sandbox.materializer(), [Name::new("profile").unwrap()]);
    let runs = if is_incremental {
        client.materialize_incremental(&shop(), &profile, None, Revision(0)).await
    } else {
        client.materialize(&shop(), &profile, None, Revision(0)).await
    };
    sandbox.wait_for(&shop(), runs.unwrap()).await.remove(0)
}

async fn train_profile(sandbox: &Sandbox, customers: &[i64]) -> Result<RecordBatch> {
    let spine = spine_at(customer_column(customers), &vec![SystemClock.now(); customers.len()]);
    training_set(sandbox, references(&["profile"]), spine).await
}

fn cut_short(path: &Path) {
    let content = std::fs::read(path).unwrap();
    std::fs::write(path, &content[..content.len() * 2 / 3]).unwrap();
}

/// The same rows with columns that are changed or left out.
fn rewrite(path: &Path, change: impl Fn(&str, ArrayRef) -> Option<ArrayRef>) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).map(|batch| changed(&batch, &change)).collect();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batches[0].schema(), None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
}

fn changed(batch: &RecordBatch, change: impl Fn(&str, ArrayRef) -> Option<ArrayRef>) -> RecordBatch {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let left = columns.filter_map(|(field, column)| {
        let column = change(field.name(), Arc::clone(column))?;
        Some((field.as_ref().clone().with_data_type(column.data_type().clone()), column))
    });
    let (fields, columns): (Vec<_>, Vec<_>) = left.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn text_of(wanted: &str, name: &str, column: ArrayRef) -> ArrayRef {
    if name == wanted { Arc::new(StringArray::from(vec!["1.5"; column.len()])) } else { column }
}
