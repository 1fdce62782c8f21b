//! How fast the embedded store writes and reads: rows of 13 doubles, in a file, as a materialization and a server would.
//!
//! `cargo bench -p larder-online-store [-- rows [rows a call]]`

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement for people")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use larder_codec::{EncodedKeys, KeyEncoder, RowEncoder, RowSchema, SchemaColumn};
use larder_online_store::{EmbeddedConfig, EmbeddedStore, KeyWrite, OnlineStore, RowWrite, WriteMode};
use larder_types::{
    ColumnNumber, KeySpaceNumber, KeyType, ProjectNumber, RowSetNumber, ScalarType, SchemaNumber, Timestamp,
};

const COLUMNS: u32 = 13;

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let (rows, batch) = (numbers.next().unwrap_or(500_000), numbers.next().unwrap_or(50_000));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    let store = Arc::new(EmbeddedStore::open(&path, &EmbeddedConfig::default()).unwrap());
    let report = |what: &str, count: usize, took: Duration| {
        println!("{what:<55} {:>10.0}/s", count as f64 / took.as_secs_f64());
    };

    let started = Instant::now();
    let batches = |event| (0..rows / batch).map(|number| writes(number * batch, batch, event)).collect::<Vec<_>>();
    let new = batches(1);
    report("rows encoded", rows, started.elapsed());
    let started = Instant::now();
    write_all(&store, new).await;
    report("rows written, new", rows, started.elapsed());
    let newer = batches(2);
    let started = Instant::now();
    write_all(&store, newer).await;
    report("rows written over older ones", rows, started.elapsed());
    let same = batches(2);
    let started = Instant::now();
    write_all(&store, same).await;
    report("rows sent again", rows, started.elapsed());

    let started = Instant::now();
    for call in 0..200 {
        store.write(writes(call, 1, 3), WriteMode::Newest, Timestamp::MIN).await.unwrap();
    }
    report("single rows written, one caller", 200, started.elapsed());

    for (name, keys, calls) in [("1 key", 1, 50_000), ("100 keys", 100, 2_000)] {
        let asked: Vec<_> = (0..calls).map(|call| read_keys(call * 7919 % rows, keys)).collect();
        let started = Instant::now();
        for keys in &asked {
            store.read(keys, &[RowSetNumber(1)]).await.unwrap();
        }
        report(&format!("calls that read {name}"), calls, started.elapsed());
    }
    drop(store);
    println!("{:<55} {:>10.1} MB", "file", std::fs::metadata(&path).unwrap().len() as f64 / 1e6);
    let started = Instant::now();
    EmbeddedStore::open(&path, &EmbeddedConfig::default()).unwrap();
    println!("{:<55} {:>10.1} ms", "reopened", started.elapsed().as_secs_f64() * 1e3);
}

/// Two batches at a time: one is prepared and queued while the other is written.
async fn write_all(store: &Arc<EmbeddedStore>, batches: Vec<Vec<KeyWrite>>) {
    let mut under_way = tokio::task::JoinSet::new();
    for batch in batches {
        if under_way.len() == 2 {
            under_way.join_next().await.unwrap().unwrap();
        }
        let store = store.clone();
        under_way.spawn(async move {
            store.write(batch, WriteMode::Materialization, Timestamp::MIN).await.unwrap();
        });
    }
    under_way.join_all().await;
}

/// Keys as a source that is not sorted by them gives them.
fn key(number: usize) -> i64 {
    ((number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24) as i64
}

fn keys(first: usize, count: usize) -> EncodedKeys {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((first..first + count).map(key)));
    let encoder = KeyEncoder::new(None, ProjectNumber(1), KeySpaceNumber(1), &[KeyType::Int64]).unwrap();
    encoder.encode(&[numbers], count).unwrap()
}

fn read_keys(first: usize, count: usize) -> EncodedKeys {
    let keys: Vec<_> = (0..count).map(|index| keys(first + 31 * index, 1)).collect();
    keys.iter().map(|keys| keys.get(0)).collect()
}

fn writes(first: usize, count: usize, event: i64) -> Vec<KeyWrite> {
    let column = |number| SchemaColumn { number: ColumnNumber(number), value_type: ScalarType::Float64.into() };
    let schema = RowSchema::new(SchemaNumber(1), (0..COLUMNS).map(column).collect()).unwrap();
    let values = |column: u32| {
        let value = move |row| f64::from(column) + row as f64;
        Arc::new(Float64Array::from_iter_values((first..first + count).map(value))) as ArrayRef
    };
    let columns: Vec<_> = (0..COLUMNS).map(values).collect();
    let times = vec![event; count];
    let rows = RowEncoder::new(&schema).encode(&columns, &times, &times, None).unwrap();
    let keys = keys(first, count);
    let write = |index| KeyWrite {
        key: keys.slice(index).unwrap(),
        rows: vec![RowWrite { row_set: RowSetNumber(1), row: rows.slice(index), expires_at: None }],
    };
    (0..count).map(write).collect()
}
