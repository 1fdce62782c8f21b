//! A seeded, untidy history: late, repeated, tied and null rows, written as several Parquet files.

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float64Array, Int32Array, Int32Builder, Int64Array, ListBuilder, RecordBatch,
        StringArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema},
};
use larder_types::{Timestamp, ValueType};
use parquet::arrow::ArrowWriter;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// Customers that the history knows; whoever asks for more gets unknown ones.
pub(crate) const CUSTOMERS: i64 = 400;

const HOUR: i64 = 3_600_000_000;

#[derive(Clone)]
struct Row {
    customer: Option<i64>,
    event_time: Option<i64>,
    created_at: Option<i64>,
    score: Option<f64>,
    visits: Option<i32>,
    active: Option<bool>,
    city: Option<String>,
    amounts: Option<Vec<Option<i32>>>,
}

/// An instant so long before `now` that a history that is written for it has no row after `now`.
pub(crate) fn past(now: Timestamp) -> Timestamp {
    Timestamp::from_micros(now.as_micros() - 3 * HOUR)
}

/// Writes `files` files of rows that end at `now`, some of them up to two hours after it.
pub(crate) fn write(folder: &Path, now: Timestamp, files: usize, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rows: Vec<Row> = (0..CUSTOMERS * 12).map(|_| row(&mut random, now.as_micros())).collect();
    let repeated: Vec<Row> = rows.iter().take(200).cloned().collect();
    let tied: Vec<Row> =
        rows.iter().skip(200).take(200).cloned().map(|row| Row { score: Some(random.random()), ..row }).collect();
    rows.extend(repeated.into_iter().chain(tied));
    rows.shuffle(&mut random);
    std::fs::create_dir_all(folder).unwrap();
    for (number, chunk) in rows.chunks(rows.len().div_ceil(files)).enumerate() {
        write_file(&folder.join(format!("part-{number}.parquet")), chunk);
    }
}

fn row(random: &mut StdRng, now: i64) -> Row {
    let sometimes = |random: &mut StdRng| random.random_bool(0.9);
    let event_time = now - random.random_range(-2 * HOUR..20 * 24 * HOUR) / HOUR * HOUR;
    let score = match random.random_range(0..20) {
        0 => f64::NAN,
        1 => -0.0,
        2 => f64::INFINITY,
        _ => random.random_range(-100.0..100.0),
    };
    Row {
        customer: random.random_bool(0.99).then(|| random.random_range(0..CUSTOMERS)),
        event_time: random.random_bool(0.99).then_some(event_time),
        created_at: sometimes(random).then_some(event_time + random.random_range(0..3) * HOUR),
        score: sometimes(random).then_some(score),
        visits: sometimes(random).then(|| random.random_range(-5..5)),
        active: sometimes(random).then(|| random.random()),
        city: sometimes(random).then(|| ["Ulm", "Łódź", ""][random.random_range(0..3)].to_owned()),
        amounts: sometimes(random)
            .then(|| (0..random.random_range(0..4)).map(|_| sometimes(random).then(|| random.random())).collect()),
    }
}

fn write_file(path: &Path, rows: &[Row]) {
    let times = |time: fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(time).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let mut amounts = ListBuilder::new(Int32Builder::new());
    for row in rows {
        amounts.append_option(row.amounts.clone());
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("customer_id", Arc::new(rows.iter().map(|row| row.customer).collect::<Int64Array>())),
        ("event_timestamp", times(|row| row.event_time)),
        ("created_at", times(|row| row.created_at.or(Some(0)))),
        ("score", Arc::new(rows.iter().map(|row| row.score).collect::<Float64Array>())),
        ("visits", Arc::new(rows.iter().map(|row| row.visits).collect::<Int32Array>())),
        ("active", Arc::new(rows.iter().map(|row| row.active).collect::<BooleanArray>())),
        ("city", Arc::new(rows.iter().map(|row| row.city.clone()).collect::<StringArray>())),
        ("amounts", Arc::new(amounts.finish())),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect())
            .unwrap();
    assert_eq!(*batch.column(1).data_type(), ValueType::Scalar(larder_types::ScalarType::Timestamp).arrow());
    assert!(matches!(batch.column(7).data_type(), DataType::List(_)));
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Any column of the given customers.
pub(crate) fn customer_column(customers: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(customers.to_vec()))
}
