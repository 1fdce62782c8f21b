//! What every adapter promises, as tests that each adapter runs: [`online_store_conformance`] makes a test of each.
//!
//! The scenarios take an empty store; the properties make one per case, and compare it with [`NaiveStore`], which keeps
//! everything that was ever written and looks for the newest.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that goes wrong should end at once")]

mod naive;
mod properties;
mod scenarios;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array},
    buffer::BooleanBuffer,
};
use bytes::Bytes;
use larder_codec::{EncodedKeys, RowEncoder, RowSchema, SchemaColumn};
use larder_types::{ColumnNumber, RowSetNumber, ScalarType, SchemaNumber, Timestamp};

use crate::{KeyWrite, OnlineStore, RowWrite};

pub use naive::NaiveStore;
pub use properties::{any_order_and_repetition_gives_the_same_rows, every_call_does_what_the_naive_store_does};
pub use scenarios::*;

/// A test per promise, in the module that calls it, for the stores that `$new_store`, an `async fn() -> Arc<dyn
/// OnlineStore>`, makes. Each is empty.
#[macro_export]
macro_rules! online_store_conformance {
    ($new_store:expr) => {
        $crate::online_store_conformance!(
            @scenarios $new_store;
            missing_keys_and_row_sets_have_no_rows
            newest_wins
            a_deletion_is_a_row_like_any_other
            only_a_materialization_replaces_a_row_of_equal_times
            a_row_past_its_expiry_is_not_written
            a_row_written_again_may_live_longer
            a_sweep_removes_expired_rows_alone
            a_purge_removes_a_row_set_of_a_scope_alone
            a_call_without_rows_is_answered
            what_is_no_key_or_no_row_is_refused_and_nothing_written
            one_call_may_write_a_row_set_of_a_key_twice
            many_keys_in_one_call
            a_read_takes_no_more_bytes_than_it_may
            newest_wins_among_concurrent_writers
            a_store_that_works_is_healthy
        );

        #[test]
        fn any_order_and_repetition_gives_the_same_rows() {
            $crate::conformance::any_order_and_repetition_gives_the_same_rows(&$new_store);
        }

        #[test]
        fn every_call_does_what_the_naive_store_does() {
            $crate::conformance::every_call_does_what_the_naive_store_does(&$new_store);
        }
    };
    (@scenarios $new_store:expr; $($scenario:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $scenario() {
            $crate::conformance::$scenario($new_store().await).await;
        })*
    };
}

/// An instant of the scenarios: that many seconds after an epoch of their own.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000)
}

/// A row of one integer.
fn row(event: i64, created: i64, value: i64) -> Bytes {
    encode(event, created, value, false)
}

/// A row that says that there is nothing.
fn deletion(event: i64, created: i64) -> Bytes {
    encode(event, created, 0, true)
}

fn encode(event: i64, created: i64, value: i64, is_deleted: bool) -> Bytes {
    let column = SchemaColumn { number: ColumnNumber(1), value_type: ScalarType::Int64.into() };
    let schema = RowSchema::new(SchemaNumber(1), vec![column]).unwrap();
    let values: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![value]))];
    let times = [at(event), at(created)].map(Timestamp::as_micros);
    let deleted: BooleanBuffer = [is_deleted].into_iter().collect();
    RowEncoder::new(&schema).encode(&values, &times[..1], &times[1..], Some(&deleted)).unwrap().slice(0)
}

/// A row for ever.
fn forever(row_set: u32, row: Bytes) -> RowWrite {
    RowWrite { row_set: RowSetNumber(row_set), row, expires_at: None }
}

/// A row until some instant.
fn until(row_set: u32, row: Bytes, expires_at: i64) -> RowWrite {
    RowWrite { expires_at: Some(at(expires_at)), ..forever(row_set, row) }
}

fn to_key(key: &str, rows: Vec<RowWrite>) -> KeyWrite {
    KeyWrite { key: Bytes::copy_from_slice(key.as_bytes()), rows }
}

/// The rows of `keys` in `row_sets`, one after the other.
async fn read(store: &dyn OnlineStore, keys: &[&str], row_sets: &[u32]) -> Vec<Option<Bytes>> {
    let encoded: EncodedKeys = keys.iter().map(|key| Some(key.as_bytes())).collect();
    let numbers: Vec<_> = row_sets.iter().copied().map(RowSetNumber).collect();
    let rows = store.read(&encoded, &numbers).await.unwrap();
    let places = (0..keys.len()).flat_map(|key| (0..row_sets.len()).map(move |row_set| (key, row_set)));
    places.map(|(key, row_set)| rows.get(key, row_set).map(Bytes::copy_from_slice)).collect()
}
