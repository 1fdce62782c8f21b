//! The promise: what is served at an instant is what a training set has for that instant, bit for bit.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    compute::concat_batches,
    datatypes::{DataType, Field, Schema},
};
use futures::{StreamExt, stream};
use larder_client::{Asked, OnlineAnswer, OnlineRequest, PushBatch, RowResult, Target, TrainingSet, TrainingSetEvent};
use larder_types::{Clock, Name, Result, Revision, Status, SystemClock, Timestamp};

use crate::{
    definitions::{SHOP, shop},
    history::{self, CUSTOMERS, customer_column},
    sandbox::{Clients, Sandbox, assert_succeeded},
};

const DAY: i64 = 86_400_000_000;

/// How much younger than a day, the ttl of their view, rows are that grow too old.
const ALMOST: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn training_equals_serving() {
    let mut sandbox = Sandbox::start().await;
    let now = SystemClock.now();
    history::write(&sandbox.folder.path().join("history"), now, 5, 7);
    let revision = sandbox.apply(SHOP).await.unwrap().revision;
    assert_succeeded(&sandbox.materialize(&shop(), revision).await);
    push_clicks(&sandbox, now).await;

    // Known customers, and ones that nobody knows.
    let customers: Vec<i64> = (-20..CUSTOMERS + 50).collect();
    let answer = ask(&sandbox, &customers).await;
    let statuses = count_statuses(&answer, customers.len());
    for status in Status::ALL {
        assert!(statuses.get(&status).copied().unwrap_or(0) > 0, "no answer is {status}: {statuses:?}");
    }
    let trained = train(&sandbox, &customers, &answer).await;
    assert_eq!(differences(&answer, &trained), 0);

    // The same after a restart, and once the log was read from scratch.
    sandbox.restart().await;
    let answer = ask(&sandbox, &customers).await;
    assert_eq!(differences(&answer, &train(&sandbox, &customers, &answer).await), 0);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_row_reaches_online_with_the_next_incremental_run() {
    let mut sandbox = Sandbox::start().await;
    // No rows of the future, for the sake of which a file is read again.
    let now = history::past(SystemClock.now());
    let folder = sandbox.folder.path().join("history");
    history::write(&folder, now, 2, 1);
    let revision = sandbox.apply(SHOP).await.unwrap().revision;
    assert_succeeded(&sandbox.materialize(&shop(), revision).await);
    let customers: Vec<i64> = (0..CUSTOMERS).collect();
    let before = ask(&sandbox, &customers).await;

    let late = sandbox.folder.path().join("late");
    history::write(&late, now, 1, 2);
    std::fs::rename(late.join("part-0.parquet"), folder.join("part-9.parquet")).unwrap();
    let runs = sandbox.materializer().materialize_incremental(&shop(), &[], None, revision).await.unwrap();
    let runs = sandbox.wait_for(&shop(), runs).await;
    assert_succeeded(&runs);
    let read_parts: u64 = runs.iter().map(|run| run.progress.parts).sum();
    assert_eq!(read_parts, 2, "each of the two file views reads the new file alone");

    let after = ask(&sandbox, &customers).await;
    assert!(is_different(&before, &after), "the late file changed nothing");
    assert_eq!(differences(&after, &train(&sandbox, &customers, &after).await), 0);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_view_is_used_twice_by_different_keys() {
    let mut sandbox = Sandbox::start().await;
    history::write(&sandbox.folder.path().join("history"), SystemClock.now(), 1, 4);
    let revision = sandbox.apply(SHOP).await.unwrap().revision;
    assert_succeeded(&sandbox.materialize(&shop(), revision).await);
    let asked = OnlineRequest {
        features: Asked::Service(Name::new("pair_service").unwrap()),
        entities: vec![("buyer_id".into(), customer_column(&[1, 2])), ("seller_id".into(), customer_column(&[2, 1]))],
        request_data: vec![],
        ..request(&[])
    };
    let answer = sandbox.serving().online_features(&asked).await.unwrap();
    let names: Vec<&str> = answer.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["buyer.score", "seller.score"]);
    let (buyers, sellers) = (&answer.features[0].values, &answer.features[1].values);
    assert_eq!(bits(buyers, 0), bits(sellers, 1));
    assert_eq!(bits(buyers, 1), bits(sellers, 0));
    sandbox.stop().await;
}

pub(crate) fn references(references: &[&str]) -> Asked {
    Asked::References(references.iter().map(|reference| reference.parse().unwrap()).collect())
}

/// Pushes to a third of the customers; some rows are a day old when it is done, one is too far in the future, some are
/// deletions.
pub(crate) async fn push_clicks(sandbox: &Sandbox, now: Timestamp) {
    let customers: Vec<i64> = (0..CUSTOMERS).step_by(3).collect();
    let rows = customers.len();
    let almost = DAY - i64::try_from(ALMOST.as_micros()).unwrap();
    let at = |row: usize| now.as_micros() - if row.is_multiple_of(5) { almost } else { row as i64 };
    let mut event_times: Vec<Timestamp> = (0..rows).map(at).map(Timestamp::from_micros).collect();
    event_times[1] = Timestamp::from_micros(now.as_micros() + DAY);
    let batch = PushBatch {
        project: shop(),
        source: Name::new("clicks").unwrap(),
        batch_id: None,
        columns: vec![
            ("customer_id".into(), customer_column(&customers)),
            (
                "clicks".into(),
                Arc::new(Int64Array::from_iter((0..rows).map(|row| (!row.is_multiple_of(7)).then_some(row as i64)))),
            ),
            (
                "last_page".into(),
                Arc::new(StringArray::from_iter((0..rows).map(|row| (!row.is_multiple_of(4)).then_some("/home")))),
            ),
        ],
        event_times,
        created_times: vec![],
        deleted: (0..rows).map(|row| row.is_multiple_of(11)).collect(),
        target: Target::OnlineAndOffline,
        min_revision: Revision(0),
    };
    let answer = sandbox.push().push(batch).await.unwrap();
    assert_eq!(answer.results[1], RowResult::Refused);
    assert_eq!(answer.refusals.len(), 1);
    assert!(answer.refusals[0].reason.contains("beyond the service's clock"), "{:?}", answer.refusals);
    assert!(answer.results.iter().enumerate().all(|(row, result)| row == 1 || *result == RowResult::Written));
    sandbox.clock.advance(ALMOST);
}

pub(crate) fn request(customers: &[i64]) -> OnlineRequest {
    OnlineRequest {
        project: shop(),
        features: Asked::Service(Name::new("shop_service").unwrap()),
        entities: vec![("customer_id".into(), customer_column(customers))],
        request_data: vec![("basket".into(), Arc::new(Float64Array::from(vec![120.5])))],
        full_names: false,
        include_replay: true,
        min_revision: Revision(0),
        rows: 0,
    }
}

pub(crate) async fn ask(clients: &Clients, customers: &[i64]) -> OnlineAnswer {
    clients.serving().online_features(&request(customers)).await.unwrap()
}

fn count_statuses(answer: &OnlineAnswer, rows: usize) -> BTreeMap<Status, usize> {
    let mut counts = BTreeMap::new();
    for feature in &answer.features {
        for row in 0..rows {
            *counts.entry(feature.status(row)).or_insert(0) += 1;
        }
    }
    counts
}

/// A training set for the same customers at the instant that the answer names.
pub(crate) async fn train(clients: &Clients, customers: &[i64], answer: &OnlineAnswer) -> RecordBatch {
    let instant = answer.replay.as_ref().unwrap().instant.as_micros();
    let times: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![instant; customers.len()]).with_timezone("UTC"));
    let schema = Schema::new(vec![
        Field::new("customer_id", DataType::Int64, false),
        Field::new("at", times.data_type().clone(), false),
        Field::new("basket", DataType::Float64, false),
    ]);
    let baskets: ArrayRef = Arc::new(Float64Array::from(vec![120.5; customers.len()]));
    let spine = RecordBatch::try_new(Arc::new(schema), vec![customer_column(customers), times, baskets]).unwrap();
    let service = Asked::Service(Name::new("shop_service").unwrap());
    let trained = training_set(clients, service, spine).await.unwrap();
    assert_eq!(trained.num_rows(), customers.len());
    assert_eq!(trained.column(0), &customer_column(customers), "the spine comes back in its order");
    trained
}

/// A spine of keys and their times.
pub(crate) fn spine_at(customers: ArrayRef, at: &[Timestamp]) -> RecordBatch {
    let times: TimestampMicrosecondArray = at.iter().map(|at| Some(at.as_micros())).collect();
    let times: ArrayRef = Arc::new(times.with_timezone("UTC"));
    RecordBatch::try_from_iter([("customer_id", customers), ("at", times)]).unwrap()
}

/// The features for a spine that is sent, with its time in column `at`.
pub(crate) async fn training_set(clients: &Clients, features: Asked, spine: RecordBatch) -> Result<RecordBatch> {
    let set = TrainingSet {
        project: shop(),
        features,
        spine_path: None,
        event_time: "at".into(),
        output_path: None,
        full_names: false,
        min_revision: Revision(0),
    };
    let mut events = clients.materializer().training_set(&set, stream::iter([Ok(spine)])).await?;
    let mut batches = Vec::new();
    let mut is_finished = false;
    while let Some(event) = events.next().await {
        match event? {
            TrainingSetEvent::Rows(batch) => batches.push(batch),
            TrainingSetEvent::Finished(_) => is_finished = true,
            TrainingSetEvent::Started(_) | TrainingSetEvent::Progress(_) => {}
        }
    }
    assert!(is_finished);
    Ok(concat_batches(&batches[0].schema(), &batches).unwrap())
}

/// How many values are not the same bits.
pub(crate) fn differences(answer: &OnlineAnswer, trained: &RecordBatch) -> usize {
    let mut differences = 0;
    for feature in &answer.features {
        let column = trained.column_by_name(&feature.name).unwrap_or_else(|| panic!("{} is missing", feature.name));
        assert_eq!(column.data_type(), feature.values.data_type(), "{}", feature.name);
        for row in 0..column.len() {
            if bits(&feature.values, row) != bits(column, row) {
                eprintln!(
                    "{} row {row}: served {:?} trained {:?}",
                    feature.name,
                    feature.values.slice(row, 1),
                    column.slice(row, 1)
                );
                differences += 1;
            }
        }
    }
    differences
}

pub(crate) fn is_different(a: &OnlineAnswer, b: &OnlineAnswer) -> bool {
    a.features
        .iter()
        .zip(&b.features)
        .any(|(a, b)| (0..a.values.len()).any(|row| bits(&a.values, row) != bits(&b.values, row)))
}

/// A value as bytes; none for a null.
fn bits(column: &ArrayRef, row: usize) -> Option<Vec<u8>> {
    if column.is_null(row) {
        return None;
    }
    if let Some(floats) = column.as_primitive_opt::<arrow::datatypes::Float64Type>() {
        return Some(floats.value(row).to_bits().to_be_bytes().to_vec());
    }
    Some(format!("{:?}", column.slice(row, 1)).into_bytes())
}
