//! Random calls against the oracle.

use std::sync::Arc;

use larder_codec::KeyScope;
use larder_types::{KeySpaceNumber, ProjectNumber, RowSetNumber};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{NaiveStore, at, deletion, forever, read, row, to_key, until};
use crate::{KeyWrite, OnlineStore, RowWrite, WriteMode};

/// Few enough that rows often meet.
const KEYS: [&str; 4] = ["1.1", "1.1:a", "1.1:b", "1.2:a"];
const ROW_SETS: [u32; 2] = [1, 2];

/// A call of the port.
#[derive(Debug, Clone)]
enum Call {
    Write(Vec<KeyWrite>, WriteMode, i64),
    Sweep(i64),
    Purge(Option<u32>, u32),
}

fn any_row_write() -> impl Strategy<Value = RowWrite> {
    let row = prop_oneof![
        8 => (0..4_i64, 0..3_i64, 0..3_i64).prop_map(|(event, created, value)| row(event, created, value)),
        1 => (0..4_i64, 0..3_i64).prop_map(|(event, created)| deletion(event, created)),
    ];
    let expiry = prop::option::of(0..10_i64);
    (prop::sample::select(ROW_SETS.to_vec()), row, expiry).prop_map(|(row_set, row, expiry)| match expiry {
        Some(expiry) => until(row_set, row, expiry),
        None => forever(row_set, row),
    })
}

fn any_key_write() -> impl Strategy<Value = KeyWrite> {
    (prop::sample::select(KEYS.to_vec()), vec(any_row_write(), 0..4)).prop_map(|(key, rows)| to_key(key, rows))
}

fn any_call() -> impl Strategy<Value = Call> {
    let mode = prop::sample::select(vec![WriteMode::Newest, WriteMode::Materialization]);
    prop_oneof![
        8 => (vec(any_key_write(), 0..6), mode, 0..10_i64).prop_map(|(writes, mode, now)| Call::Write(writes, mode, now)),
        1 => (0..10_i64).prop_map(Call::Sweep),
        1 => (prop::option::of(1..3_u32), 1..3_u32).prop_map(|(key_space, row_set)| Call::Purge(key_space, row_set)),
    ]
}

/// Outcomes, counts and rows are those of the oracle, call by call.
pub fn every_call_does_what_the_naive_store_does(new_store: &impl AsyncFn() -> Arc<dyn OnlineStore>) {
    check(vec(any_call(), 1..12), async |calls| {
        let (store, naive) = (new_store().await, NaiveStore::default());
        for call in calls {
            let answers = (perform(&*store, &call).await, perform(&naive, &call).await);
            assert_eq!(answers.0, answers.1, "{call:?}");
            assert_eq!(read(&*store, &KEYS, &ROW_SETS).await, read(&naive, &KEYS, &ROW_SETS).await, "{call:?}");
        }
    });
}

async fn perform(store: &dyn OnlineStore, call: &Call) -> String {
    match call.clone() {
        Call::Write(writes, mode, now) => format!("{:?}", store.write(writes, mode, at(now)).await.unwrap()),
        Call::Sweep(now) => format!("{}", store.sweep(at(now)).await.unwrap().removed),
        Call::Purge(key_space, row_set) => {
            let project = ProjectNumber(1);
            let scope = match key_space {
                Some(key_space) => KeyScope::key_space(None, project, KeySpaceNumber(key_space)),
                None => KeyScope::project(None, project),
            };
            format!("{}", store.purge(&scope.unwrap(), RowSetNumber(row_set)).await.unwrap())
        }
    }
}

/// The same writes, one call at a time and all at once, in other orders and some of them several times: the same rows,
/// with the same expiries.
pub fn any_order_and_repetition_gives_the_same_rows(new_store: &impl AsyncFn() -> Arc<dyn OnlineStore>) {
    let orders = vec(any_key_write(), 1..12).prop_flat_map(|writes| {
        let repeated = vec(prop::sample::select(writes.clone()), 0..6);
        let reordered = (Just(writes.clone()), repeated).prop_map(|(writes, repeated)| [writes, repeated].concat());
        (Just(writes), reordered.prop_shuffle())
    });
    check((orders, 0..10_i64), async |((writes, reordered), sweep)| {
        let (one_by_one, at_once) = (new_store().await, new_store().await);
        for write in writes {
            one_by_one.write(vec![write], WriteMode::Newest, at(0)).await.unwrap();
        }
        at_once.write(reordered, WriteMode::Newest, at(0)).await.unwrap();
        let rows = async || (read(&*one_by_one, &KEYS, &ROW_SETS).await, read(&*at_once, &KEYS, &ROW_SETS).await);
        let (a, b) = rows().await;
        assert_eq!(a, b);
        let swept = (one_by_one.sweep(at(sweep)).await.unwrap(), at_once.sweep(at(sweep)).await.unwrap());
        assert_eq!(swept.0, swept.1);
        let (a, b) = rows().await;
        assert_eq!(a, b);
    });
}

fn check<S: Strategy>(values: S, test: impl AsyncFn(S::Value)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&values, |value| {
        runtime.block_on(test(value));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
