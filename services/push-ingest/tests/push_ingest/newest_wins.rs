//! The newest row wins, whoever writes it, in whatever order and however often: as a naive look at everything says, in
//! the online store and in the log alike.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array};
use futures::{StreamExt, stream};
use larder_client::{PushBatch, RowResult, Target};
use larder_types::{RowVersion, Timestamp};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::task::JoinSet;

use crate::sandbox::{Logged, Sandbox, micros, texts, with_column};

const KEYS: usize = 3;
const CASES: u32 = 16;

/// An event; few times and values, so that many of them tie.
#[derive(Debug, Clone, Copy)]
struct Event {
    key: usize,
    event: i64,
    created: i64,
    deleted: bool,
    value: Option<i64>,
}

/// What orders rows: the times, then their bytes, where a deletion is greater than values, and null than a number.
type Order = (i64, i64, bool, Option<(bool, i64)>);

fn order(event: &Event) -> Order {
    let bytes = (event.value.is_none(), event.value.unwrap_or(0));
    (event.event, event.created, event.deleted, (!event.deleted).then_some(bytes))
}

/// Batches of events, and in which order which writer sends which batch, some of them several times.
#[derive(Debug, Clone)]
struct Case {
    batches: Vec<Vec<Event>>,
    calls: Vec<Vec<usize>>,
}

fn event() -> impl Strategy<Value = Event> {
    let value = prop::option::weighted(0.8, 0..3_i64);
    (0..KEYS, 0..3_i64, 0..3_i64, prop::bool::weighted(0.2), value)
        .prop_map(|(key, event, created, deleted, value)| Event { key, event, created, deleted, value })
}

fn case() -> impl Strategy<Value = Case> {
    vec(vec(event(), 1..6), 1..7).prop_flat_map(|batches| {
        let once: Vec<usize> = (0..batches.len()).collect();
        let again = vec(0..batches.len(), 0..8);
        let order = again.prop_flat_map(move |again| Just([once.clone(), again].concat()).prop_shuffle());
        (Just(batches), order, vec(0..3_usize, 20)).prop_map(|(batches, order, writers)| {
            let mut calls = vec![Vec::new(); 3];
            order.into_iter().zip(writers).for_each(|(batch, writer)| calls[writer].push(batch));
            Case { batches, calls }
        })
    })
}

/// The same keys are never used by two cases.
fn key(case: usize, key: usize) -> String {
    format!("case {case} key {key}")
}

fn to_batch(sandbox: &Sandbox, case: usize, number: usize, events: &[Event]) -> PushBatch {
    let customers: Vec<String> = events.iter().map(|event| key(case, event.key)).collect();
    let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
    let base = larder_test_kit::NEW_YEAR;
    let values: ArrayRef = Arc::new(events.iter().map(|event| event.value).collect::<Int64Array>());
    let batch = PushBatch {
        event_times: events.iter().map(|event| micros(base, event.event)).collect(),
        created_times: events.iter().map(|event| micros(base, event.created)).collect(),
        deleted: events.iter().map(|event| event.deleted).collect(),
        ..sandbox.batch(&format!("{case}-{number}"), &customers, &vec![0; events.len()])
    };
    // All that a tie is decided by is the number.
    let same: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![0.0; events.len()]));
    let batch = with_column(with_column(batch, "clicks", values), "ratio", same);
    with_column(batch, "page", texts(&vec![""; events.len()]))
}

/// Three writers at once; the last of them over a stream.
async fn write(sandbox: &Sandbox, number: usize, case: &Case) {
    let mut writers = JoinSet::new();
    for (writer, calls) in case.calls.iter().enumerate() {
        let batches: Vec<_> = calls.iter().map(|at| to_batch(sandbox, number, *at, &case.batches[*at])).collect();
        let client = sandbox.client();
        writers.spawn(async move {
            if writer == 2 {
                let mut outcomes = client.push_stream(stream::iter(batches), 4).await.unwrap();
                while let Some(outcome) = outcomes.next().await {
                    assert_refuses_nothing(&outcome.unwrap().result.unwrap().results);
                }
            } else {
                for batch in batches {
                    assert_refuses_nothing(&client.push(batch).await.unwrap().results);
                }
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
}

fn assert_refuses_nothing(results: &[RowResult]) {
    assert!(results.iter().all(|result| matches!(result, RowResult::Written | RowResult::Older)), "{results:?}");
}

/// The newest of each key, by looking at everything.
fn newest(events: impl IntoIterator<Item = Event>) -> BTreeMap<usize, Event> {
    let mut newest: BTreeMap<usize, Event> = BTreeMap::new();
    for event in events {
        let known = newest.entry(event.key).or_insert(event);
        if order(&event) > order(known) {
            *known = event;
        }
    }
    newest
}

/// What is served of such a row, and its version.
fn shown(event: Option<&Event>) -> (String, Option<RowVersion>) {
    let Some(event) = event else { return ("NOT_FOUND".to_owned(), None) };
    let at = |offset| Timestamp::from_micros(larder_test_kit::NEW_YEAR.as_micros() + offset);
    let version = RowVersion { event_time: at(event.event), created_time: at(event.created) };
    let value = match event.value {
        _ if event.deleted => "NOT_FOUND".to_owned(),
        None => "NULL".to_owned(),
        Some(value) => value.to_string(),
    };
    (value, Some(version))
}

/// The rows of a case in the log, repetitions dropped.
fn of_log(logged: Vec<Logged>, case: usize) -> Vec<Event> {
    let base = larder_test_kit::NEW_YEAR.as_micros();
    let mut rows: BTreeMap<(String, i32), Event> = BTreeMap::new();
    for row in logged.into_iter().filter(|row| row.batch.starts_with(&format!("{case}-"))) {
        let key = (0..KEYS).find(|number| row.customer == key(case, *number)).unwrap();
        let (event, created) = (row.event_time - base, row.created_time - base);
        rows.insert((row.batch, row.row), Event { key, event, created, deleted: row.deleted, value: row.clicks });
    }
    rows.into_values().collect()
}

#[test]
fn the_newest_row_wins_whatever_the_order_of_calls() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let sandbox = runtime.block_on(Sandbox::start());
    let mut runner = TestRunner::new(Config { cases: CASES, ..Config::default() });
    let number = std::cell::Cell::new(0_usize);
    let result = runner.run(&case(), |case| {
        number.set(number.get() + 1);
        let number = number.get();
        let (served, logged) = runtime.block_on(async {
            write(&sandbox, number, &case).await;
            let keys: Vec<String> = (0..KEYS).map(|at| key(number, at)).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            (sandbox.served(&keys).await, sandbox.logged().await)
        });
        let expected = newest(case.batches.iter().flatten().copied());
        for (key, served) in served.into_iter().enumerate() {
            prop_assert_eq!(served, shown(expected.get(&key)), "key {}", key);
        }
        let logged = of_log(logged, number);
        prop_assert_eq!(logged.len(), case.batches.iter().map(Vec::len).sum::<usize>());
        let by_log = newest(logged);
        for key in 0..KEYS {
            prop_assert_eq!(shown(by_log.get(&key)), shown(expected.get(&key)), "key {} in the log", key);
        }
        Ok(())
    });
    result.unwrap_or_else(|failed| panic!("{failed}"));
}

/// A row that goes to one target alone does not disturb the other.
#[tokio::test]
async fn targets_are_ordered_each_for_itself() {
    let sandbox = Sandbox::start().await;
    let event = Event { key: 0, event: 2, created: 0, deleted: false, value: Some(1) };
    let later = Event { event: 3, value: Some(2), ..event };
    let log_only = PushBatch { target: Target::Offline, ..to_batch(&sandbox, 0, 0, &[later]) };
    sandbox.push(log_only).await.unwrap();
    sandbox.push(to_batch(&sandbox, 0, 1, &[event])).await.unwrap();
    assert_eq!(sandbox.served(&[&key(0, 0)]).await[0], shown(Some(&event)));
    assert_eq!(shown(newest(of_log(sandbox.logged().await, 0)).get(&0)), shown(Some(&later)));
}
