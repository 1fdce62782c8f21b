//! How much memory a process takes at its most while it materializes and trains on a history of several times that size.

use std::{fs::File, path::Path, sync::Arc, time::Duration};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use futures::StreamExt;
use larder_client::{TrainingSet, TrainingSetEvent};
use larder_definitions::selection::Asked;
use larder_test_kit::temporary_folder;
use larder_types::{Clock, Name, Revision, SystemClock};
use parquet::arrow::ArrowWriter;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    kill::start_with,
    sandbox::{Clients, assert_succeeded},
};

const PROJECT: &str = "
project: shop
entities:
  - { name: customer, join_keys: [{ name: customer_id, type: int64 }] }
sources:
  - { name: texts, parquet: { path: ../history/ }, event_time: at }
feature_views:
  - { name: words, entities: [customer], source: texts, features: [{ name: text, type: string }] }
";

const FILES: i64 = 24;
const ROWS: i64 = 20_000;
const TEXT_BYTES: usize = 1_000;

/// A quarter more than a debug build takes with these settings, and less than two thirds of what it reads twice.
const MOST: u64 = 300 << 20;

const SETTINGS: [&str; 5] = [
    "online_cache=16MiB",
    "materializer.materialization_memory=32MiB",
    "materializer.batch_size=16MiB",
    "materializer.training_memory=32MiB",
    "materializer.rewrite_every=1h",
];

#[tokio::test(flavor = "multi_thread")]
async fn is_bounded_however_much_history_there_is() {
    let folder = temporary_folder();
    let now = SystemClock.now().as_micros();
    write_history(&folder.path().join("history"), now);
    let (mut child, clients) = start_with(folder.path(), &SETTINGS);
    let before = peak(child.id());
    let project = Name::new("shop").unwrap();
    let revision = clients.apply(PROJECT).await.unwrap().revision;
    assert_succeeded(&clients.materialize(&project, revision).await);
    let materialized = peak(child.id());
    train(&clients, &project, now).await;
    let trained = peak(child.id());
    let read = FILES * ROWS * i64::try_from(TEXT_BYTES).unwrap();
    let told = format!("{before} at first, {materialized} materialized, {trained} trained, {read} bytes of texts");

    assert!(trained < MOST && MOST < read.unsigned_abs() * 2 / 3, "{told}");
    child.terminate();
    child.wait(Duration::from_secs(30));
}

/// Half of the customers have a row in each file.
fn write_history(folder: &Path, now: i64) {
    std::fs::create_dir_all(folder).unwrap();
    let mut random = StdRng::seed_from_u64(5);
    let letters: String = (0..1 << 16).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
    for number in 0..FILES {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ROWS).map(|row| 2 * row + number % 2)));
        let times = TimestampMicrosecondArray::from_iter_values((0..ROWS).map(|_| now - 3_600_000_000 * (number + 1)));
        let texts = (0..ROWS).map(|_| {
            let start = random.random_range(0..letters.len() - TEXT_BYTES);
            &letters[start..start + TEXT_BYTES]
        });
        let columns: [(&str, ArrayRef); 3] = [
            ("customer_id", ids),
            ("at", Arc::new(times.with_timezone("UTC"))),
            ("text", Arc::new(StringArray::from_iter_values(texts))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = File::create(folder.join(format!("{number:02}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

/// Every customer at several times; the result is written beside the spine.
async fn train(clients: &Clients, project: &Name, now: i64) {
    let rows = 2 * ROWS;
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let times = (0..rows).map(|row| now - 3_600_000_000 * (row % FILES));
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let spine = RecordBatch::try_from_iter([("customer_id", ids), ("at", Arc::new(times) as ArrayRef)]).unwrap();
    let set = TrainingSet {
        project: project.clone(),
        features: Asked::References(vec!["words".parse().unwrap()]),
        spine_path: None,
        event_time: "at".to_owned(),
        output_path: Some(clients.folder.join("training.parquet").to_string_lossy().into_owned()),
        full_names: false,
        min_revision: Revision(0),
    };
    let batches: Vec<_> = (0..4).map(|piece| Ok(spine.slice(piece * 10_000, 10_000))).collect();
    let mut events = clients.materializer().training_set(&set, futures::stream::iter(batches)).await.unwrap();
    let mut has_finished = false;
    while let Some(event) = events.next().await {
        has_finished |= matches!(event.unwrap(), TrainingSetEvent::Finished(_));
    }
    assert!(has_finished);
}

/// The most memory that a process had so far, in bytes.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}
