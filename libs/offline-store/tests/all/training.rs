//! Training sets over real files.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, Time32SecondArray,
        TimestampMillisecondArray, TimestampSecondArray,
    },
    compute::{concat_batches, filter_record_batch},
    datatypes::{Int64Type, UInt64Type},
};
use datafusion::physical_plan::collect;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use expect_test::{Expect, expect};
use futures::StreamExt;
use larder_codec::{KeyEncoder, MAX_KEY_BYTES};
use larder_connections::test_suite::ForgetfulDisk;
use larder_offline_store::{
    SpillFolder,
    history::HistorySource,
    plan::LarderPlanCodec,
    storage::Roots,
    training::{Spine, TrainingOptions, TrainingSets},
};
use larder_types::{EntityKey, ErrorCode, KeyPart, KeyType, ProjectNumber, Result};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use crate::fixture::{MINUTE, Shop, batch, minutes, pretty, profiles, references, rows, service, texts};

fn check(batches: &[RecordBatch], expected: Expect) {
    expected.assert_eq(&pretty(batches));
}

/// Labels, duplicates, a null key, times before and after everything.
fn spine() -> RecordBatch {
    let customers: StringArray =
        [Some("ann"), Some("ann"), None, Some("bob"), Some("ann"), Some("ann"), Some("zoe")].into_iter().collect();
    batch(vec![
        ("label", Arc::new(Int64Array::from((0..7).collect::<Vec<i64>>()))),
        ("customer_id", Arc::new(customers)),
        ("merchant_id", Arc::new(Int64Array::from(vec![1, 2, 1, 2, 3, 1, 1]))),
        ("amount", Arc::new(arrow::array::Float64Array::from(vec![100.0; 7]))),
        ("t", minutes([15, 20, 20, 30, 41, 200, 20])),
    ])
}

fn streamed(batches: Vec<RecordBatch>) -> Spine {
    let schema = batches[0].schema();
    let batches: Vec<Result<RecordBatch>> = batches.into_iter().map(Ok).collect();
    Spine::Stream { schema, batches: futures::stream::iter(batches).boxed() }
}

#[tokio::test]
async fn every_row_sees_what_was_known_at_its_time() {
    let shop = Shop::stocked().await;
    shop.write("spine.parquet", &spine());
    let set = shop.prepare(service("everything"), Spine::Path(shop.path("spine.parquet"))).await.unwrap();
    assert_eq!(set.spine().rows, 7);
    check(
        &rows(set).await,
        expect![[r#"
        +-------+-------------+-------------+--------+----------------------+-----+-------+------+------+------+------+----------------------+
        | label | customer_id | merchant_id | amount | t                    | age | score | city | risk | rate | cost | asked_at             |
        +-------+-------------+-------------+--------+----------------------+-----+-------+------+------+------+------+----------------------+
        | 0     | ann         | 1           | 100.0  | 1970-01-01T00:15:00Z | 30  | 15.0  | Oslo | 0.1  | 0.5  | 65.0 | 1970-01-01T00:15:00Z |
        | 1     | ann         | 2           | 100.0  | 1970-01-01T00:20:00Z | 32  | 16.0  | Oslo | 0.2  | 0.5  | 66.0 | 1970-01-01T00:20:00Z |
        | 2     |             | 1           | 100.0  | 1970-01-01T00:20:00Z |     |       |      | 0.1  | 0.5  | 50.0 | 1970-01-01T00:20:00Z |
        | 3     | bob         | 2           | 100.0  | 1970-01-01T00:30:00Z | 41  |       |      | 0.2  | 0.25 | 25.0 | 1970-01-01T00:30:00Z |
        | 4     | ann         | 3           | 100.0  | 1970-01-01T00:41:00Z |     |       |      |      | 0.25 | 25.0 | 1970-01-01T00:41:00Z |
        | 5     | ann         | 1           | 100.0  | 1970-01-01T03:20:00Z |     |       |      | 0.1  | 0.25 | 25.0 | 1970-01-01T03:20:00Z |
        | 6     | zoe         | 1           | 100.0  | 1970-01-01T00:20:00Z |     |       |      | 0.1  | 0.5  | 50.0 | 1970-01-01T00:20:00Z |
        +-------+-------------+-------------+--------+----------------------+-----+-------+------+------+------+------+----------------------+
    "#]],
    );
}

/// As pandas writes columns in which nothing stands: keys and request data that are null.
#[tokio::test]
async fn columns_of_a_spine_without_values_are_null() {
    let shop = Shop::stocked().await;
    let nothing = || -> ArrayRef { Arc::new(arrow::array::NullArray::new(1)) };
    let columns = ["customer_id", "merchant_id", "amount", "unused"].map(|name| (name, nothing()));
    let spine = batch(columns.into_iter().chain([("t", minutes([15]))]).collect());
    shop.write("spine.parquet", &spine);
    for spine in [streamed(vec![spine]), Spine::Path(shop.path("spine.parquet"))] {
        let set = shop.prepare(service("everything"), spine).await.unwrap();
        let found = rows(set).await;
        for (name, is_null) in [("age", true), ("risk", true), ("cost", true), ("rate", false), ("asked_at", false)] {
            assert_eq!(found[0].column_by_name(name).unwrap().is_null(0), is_null, "{name}");
        }
    }
    let output = shop.sets().output(&shop.path("set.parquet"), &[]).await.unwrap();
    let set = shop.prepare(service("everything"), Spine::Path(shop.path("spine.parquet"))).await.unwrap();
    assert_eq!(set.write(&output, |_| ()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_view_under_two_aliases_with_other_keys() {
    let shop = Shop::stocked().await;
    let spine =
        batch(vec![("payer_id", texts(["ann", "bob"])), ("payee_id", texts(["bob", "ann"])), ("t", minutes([20, 30]))]);
    let set = shop.prepare(service("transfer"), streamed(vec![spine])).await.unwrap();
    check(
        &rows(set).await,
        expect![[r#"
        +----------+----------+----------------------+-----------+-----------+------------+
        | payer_id | payee_id | t                    | payer.age | payee.age | payee.city |
        +----------+----------+----------------------+-----------+-----------+------------+
        | ann      | bob      | 1970-01-01T00:20:00Z | 32        | 40        | Oslo       |
        | bob      | ann      | 1970-01-01T00:30:00Z | 41        | 32        | Oslo       |
        +----------+----------+----------------------+-----------+-----------+------------+
    "#]],
    );
}

#[tokio::test]
async fn full_names_and_chosen_features() {
    let shop = Shop::stocked().await;
    let request = shop.request(references(&["rate.rate", "profile.age"]), streamed(vec![spine()]));
    let request = larder_offline_store::training::TrainingRequest { full_names: true, ..request };
    let set = shop.sets().prepare(request).await.unwrap();
    let schema = set.schema();
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["label", "customer_id", "merchant_id", "amount", "t", "rate.rate", "profile.age"]);
}

#[tokio::test]
async fn csv_and_parquet_and_streams_give_the_same_features() {
    let shop = Shop::stocked().await;
    shop.write_text(
        "spines/a.csv",
        "label,customer_id,merchant_id,amount,t\n0,ann,1,100,1970-01-01T00:15:00\n1,ann,2,100,1970-01-01 00:20:00Z\n\
         2,,1,100,1970-01-01T02:20:00+02:00\n",
    );
    shop.write_text(
        "spines/b.csv",
        "label,customer_id,merchant_id,amount,t\n3,bob,2,100,1970-01-01T00:30:00\n4,ann,3,100,1970-01-01T00:41:00\n\
         5,ann,1,100,1970-01-01T03:20:00\n6,zoe,1,100,1970-01-01T00:20:00\n",
    );
    let from_csv = rows(shop.prepare(service("everything"), Spine::Path(shop.path("spines"))).await.unwrap()).await;
    let pieces = vec![spine().slice(0, 2), spine().slice(2, 0), spine().slice(2, 5)];
    let from_stream = rows(shop.prepare(service("everything"), streamed(pieces)).await.unwrap()).await;
    let features = |batches: &[RecordBatch]| {
        let all = concat_batches(&batches[0].schema(), batches).unwrap();
        all.project(&(5..all.num_columns()).collect::<Vec<_>>()).unwrap()
    };
    assert_eq!(features(&from_csv), features(&from_stream));
}

#[tokio::test]
async fn digits_behind_a_zero_are_text_in_csv_unless_they_are_asked_for_as_a_number() {
    let shop = Shop::stocked().await;
    shop.write_text(
        "spine.csv",
        "t,zip,merchant_id,count\n1970-01-01T00:15:00Z,80331,01,10\n1970-01-01T00:15:00Z,01234,2,0\n",
    );
    let set = shop.prepare(references(&["merchant_risk"]), Spine::Path(shop.path("spine.csv"))).await.unwrap();
    check(
        &rows(set).await,
        expect![[r#"
        +----------------------+-------+-------------+-------+------+
        | t                    | zip   | merchant_id | count | risk |
        +----------------------+-------+-------------+-------+------+
        | 1970-01-01T00:15:00Z | 80331 | 1           | 10    | 0.1  |
        | 1970-01-01T00:15:00Z | 01234 | 2           | 0     | 0.2  |
        +----------------------+-------+-------------+-------+------+
    "#]],
    );
}

#[tokio::test]
async fn folders_of_a_spine_that_are_called_name_and_value_are_columns() {
    let shop = Shop::stocked().await;
    let of_merchant = |merchant: i64| {
        let all = spine();
        let merchants = all.column(2).as_primitive::<Int64Type>();
        let is_theirs: BooleanArray = merchants.iter().map(|found| Some(found == Some(merchant))).collect();
        filter_record_batch(&all.project(&[0, 1, 3, 4]).unwrap(), &is_theirs).unwrap()
    };
    for merchant in 1..=3 {
        shop.write(&format!("spines/split=a%2Fb/merchant_id={merchant}/rows.parquet"), &of_merchant(merchant));
    }
    let set = shop.prepare(references(&["rate", "merchant_risk"]), Spine::Path(shop.path("spines"))).await.unwrap();
    check(
        &rows(set).await,
        expect![[r#"
        +-------+-------------+--------+----------------------+-------+-------------+------+------+
        | label | customer_id | amount | t                    | split | merchant_id | rate | risk |
        +-------+-------------+--------+----------------------+-------+-------------+------+------+
        | 0     | ann         | 100.0  | 1970-01-01T00:15:00Z | a/b   | 1           | 0.5  | 0.1  |
        | 2     |             | 100.0  | 1970-01-01T00:20:00Z | a/b   | 1           | 0.5  | 0.1  |
        | 5     | ann         | 100.0  | 1970-01-01T03:20:00Z | a/b   | 1           | 0.25 | 0.1  |
        | 6     | zoe         | 100.0  | 1970-01-01T00:20:00Z | a/b   | 1           | 0.5  | 0.1  |
        | 1     | ann         | 100.0  | 1970-01-01T00:20:00Z | a/b   | 2           | 0.5  | 0.2  |
        | 3     | bob         | 100.0  | 1970-01-01T00:30:00Z | a/b   | 2           | 0.25 | 0.2  |
        | 4     | ann         | 100.0  | 1970-01-01T00:41:00Z | a/b   | 3           | 0.25 |      |
        +-------+-------------+--------+----------------------+-------+-------------+------+------+
    "#]],
    );
    // Below the folder that is named, and in every file the same.
    let set = shop.prepare(references(&["rate"]), Spine::Path(shop.path("spines/split=a%2Fb"))).await.unwrap();
    assert!(set.schema().index_of("split").is_err() && set.schema().index_of("merchant_id").is_ok());
    shop.write("spines/split=c/rows.parquet", &of_merchant(1));
    let error = shop.prepare(references(&["rate"]), Spine::Path(shop.path("spines"))).await.err().unwrap();
    assert!(error.message().contains("do not name the same columns"), "{error}");
}

#[tokio::test]
async fn integers_are_request_data_of_float64() {
    let shop = Shop::stocked().await;
    let whole = |amount: i64| {
        let spine = spine();
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![amount; spine.num_rows()]));
        let schema = spine.schema();
        let columns = schema.fields().iter().zip(spine.columns()).map(|(field, values)| {
            (field.name().as_str(), Arc::clone(if field.name() == "amount" { &ints } else { values }))
        });
        batch(columns.collect())
    };
    let set = async |spine| shop.prepare(references(&["offer"]), streamed(vec![spine])).await;
    let cost = async |spine| rows(set(spine).await.unwrap()).await[0].column_by_name("cost").unwrap().clone();
    assert_eq!(&cost(whole(100)).await, &cost(spine()).await);
    let error = set(whole((1 << 53) + 1)).await.err().unwrap();
    assert!(error.message().contains("spine.amount"), "{error}");
}

#[tokio::test]
async fn the_digest_tells_spines_apart_and_not_how_they_come() {
    let shop = Shop::stocked().await;
    shop.write("spine.parquet", &spine());
    let digest = async |spine| shop.prepare(references(&["rate"]), spine).await.unwrap().spine().clone();
    let whole = digest(streamed(vec![spine()])).await;
    assert_eq!(digest(streamed(vec![spine().slice(0, 3), spine().slice(3, 4)])).await, whole);
    assert_eq!(digest(Spine::Path(shop.path("spine.parquet"))).await, whole);
    assert_ne!(digest(streamed(vec![spine().slice(0, 6)])).await.sha256, whole.sha256);
}

#[tokio::test]
async fn times_in_any_unit_with_or_without_zone() {
    let shop = Shop::stocked().await;
    let millis = TimestampMillisecondArray::from(vec![29 * MINUTE / 1000, 30 * MINUTE / 1000]);
    for times in [millis.clone(), millis.with_timezone("+09:00")] {
        let set = shop.prepare(references(&["rate"]), streamed(vec![batch(vec![("t", Arc::new(times))])])).await;
        let batches = rows(set.unwrap()).await;
        let rates = batches[0].column(1).as_primitive::<arrow::datatypes::Float64Type>();
        assert_eq!(rates.values(), &[0.5, 0.25]);
    }
}

#[tokio::test]
async fn an_empty_spine_gives_an_empty_training_set() {
    let shop = Shop::stocked().await;
    let set = shop.prepare(service("everything"), streamed(vec![spine().slice(0, 0)])).await.unwrap();
    assert_eq!(set.spine().rows, 0);
    assert_eq!(rows(set).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

#[tokio::test]
async fn is_written_as_one_file_that_is_there_when_it_is_complete() {
    let shop = Shop::stocked().await;
    let set = shop.prepare(service("everything"), streamed(vec![spine()])).await.unwrap();
    let told = AtomicU64::new(0);
    let target = shop.path("out/set.parquet");
    let output = shop.sets().output(&target, &[]).await.unwrap();
    let written = set.write(&output, |rows| told.store(rows, Ordering::Relaxed)).await.unwrap();
    assert_eq!((written, told.into_inner()), (7, 7));
    let file = std::fs::File::open(&target).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let back: Vec<RecordBatch> = reader.build().unwrap().map(|batch| batch.unwrap()).collect();
    let direct = rows(shop.prepare(service("everything"), streamed(vec![spine()])).await.unwrap()).await;
    assert_eq!(pretty(&back), pretty(&direct));

    // One that fails leaves nothing.
    std::fs::write(shop.path("rates.parquet"), "broken").unwrap();
    let set = shop.prepare(service("everything"), streamed(vec![spine()])).await.unwrap();
    let output = shop.sets().output(&shop.path("out/other.parquet"), &[]).await.unwrap();
    let failed = set.write(&output, |_| ()).await.unwrap_err();
    assert!(failed.message().contains("rates.parquet"), "{failed}");
    let left: Vec<_> = std::fs::read_dir(shop.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["set.parquet"]);
}

/// The file is told to be there when a loss of power cannot take it any more; a later one replaces it as a whole.
#[tokio::test]
async fn what_is_written_outlives_a_loss_of_power() {
    let shop = Shop::stocked().await;
    let disk = ForgetfulDisk::new().unwrap();
    let root = disk.root().to_str().unwrap().to_owned();
    let roots = Roots::open_on(&(Arc::new(disk.clone()) as _), [shop.path("").as_str(), root.as_str()]).unwrap();
    let sets = TrainingSets::new(HistorySource::new(Arc::new(roots)), TrainingOptions::default());
    let path = format!("{root}/out/set.parquet");
    // Small ones are put at once, large ones in parts.
    for rows in [10, 12_000] {
        let output = sets.output(&path, &[]).await.unwrap();
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{state:016x}")
        };
        let noise: StringArray = (0..rows).map(|_| Some((0..150).map(|_| random()).collect::<String>())).collect();
        let spine = batch(vec![("t", minutes((0..rows).map(|_| 1))), ("noise", Arc::new(noise))]);
        let request = shop.request(references(&["rate"]), streamed(vec![spine]));
        sets.prepare(request).await.unwrap().write(&output, |_| ()).await.unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len() > 10 << 20, rows > 10, "{}", whole.len());
        disk.crash().unwrap();
        assert!(std::fs::read(&path).unwrap() == whole, "{rows}");
    }
}

#[tokio::test]
async fn a_plan_that_was_sent_elsewhere_gives_the_same_bits() {
    let shop = Shop::stocked().await;
    let set = shop.prepare(service("everything"), streamed(vec![spine()])).await.unwrap();
    let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(set.plan()), &LarderPlanCodec).unwrap();
    // Another process: other instances that know the same stores.
    let context = shop.sets().context().unwrap();
    let decoded = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &LarderPlanCodec).unwrap();
    let elsewhere = collect(decoded, context).await.unwrap();
    let here = rows(set).await;
    assert_eq!(pretty(&elsewhere), pretty(&here));
    let all = |batches: &[RecordBatch]| concat_batches(&here[0].schema(), batches).unwrap();
    assert_eq!(all(&elsewhere), all(&here));
}

#[tokio::test]
async fn many_rows_of_many_files_come_in_order() {
    let shop = Shop::stocked().await;
    for file in 0..5_i64 {
        let label = |row: i64| file * 3000 + row;
        let spine = batch(vec![
            ("customer_id", texts((0..3000).map(|row| if row % 2 == 0 { "ann" } else { "bob" }))),
            ("t", minutes((0..3000).map(|row| (row * 7919) % 50))),
            ("label", Arc::new((0..3000).map(|row| label(row) as u64).collect::<arrow::array::UInt64Array>())),
        ]);
        shop.write(&format!("spines/part-{file}.parquet"), &spine);
    }
    let set = shop.prepare(references(&["profile.age"]), Spine::Path(shop.path("spines/*.parquet"))).await.unwrap();
    let batches = rows(set).await;
    let all = concat_batches(&batches[0].schema(), &batches).unwrap();
    let labels = all.column(2).as_primitive::<UInt64Type>();
    assert!(labels.iter().enumerate().all(|(row, label)| label == Some(row as u64)));
    assert_eq!((all.num_rows(), all.column(3).is_null(1)), (15_000, false));
}

#[tokio::test]
async fn times_in_seconds_are_times_in_the_file_that_is_written() {
    let shop = Shop::stocked().await;
    let seconds = |values: Vec<i64>| Arc::new(TimestampSecondArray::from(values).with_timezone("UTC")) as ArrayRef;
    let at = Time32SecondArray::from(vec![1, 86_399]);
    let spine = batch(vec![
        ("customer_id", texts(["ann", "bob"])),
        ("t", seconds(vec![15 * 60, 30 * 60])),
        ("at", Arc::new(at) as ArrayRef),
    ]);
    let set = shop.prepare(references(&["profile.age"]), streamed(vec![spine.clone()])).await.unwrap();
    assert_eq!(set.schema().field(1), spine.schema().field(1), "streamed, they are as they came");
    let output = shop.sets().output(&shop.path("set.parquet"), &[]).await.unwrap();
    set.write(&output, |_| {}).await.unwrap();
    let file = std::fs::File::open(shop.path("set.parquet")).unwrap();
    let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, plain).unwrap().build().unwrap();
    check(
        &reader.collect::<std::result::Result<Vec<_>, _>>().unwrap(),
        expect![[r#"
        +-------------+----------------------+----------+-----+
        | customer_id | t                    | at       | age |
        +-------------+----------------------+----------+-----+
        | ann         | 1970-01-01T00:15:00Z | 00:00:01 | 30  |
        | bob         | 1970-01-01T00:30:00Z | 23:59:59 | 41  |
        +-------------+----------------------+----------+-----+
    "#]],
    );
}

#[tokio::test]
async fn a_key_that_cannot_be_asked_for_online_finds_nothing() {
    let shop = Shop::stocked().await;
    let types = [KeyType::String];
    let key_space = shop.view("profile").key_space.number;
    let encoder = KeyEncoder::new(Some("a:"), ProjectNumber(1), key_space, &types).unwrap();
    let start = encoder.scope().start().len() + 1;
    // As long as it may be, and one more: as it is, and where it is written longer.
    let customers: Vec<String> = [MAX_KEY_BYTES - start, MAX_KEY_BYTES - start + 1]
        .into_iter()
        .flat_map(|length| ["x".repeat(length), format!("{}%{}", "x".repeat(length - 4), "x")])
        .chain(["\u{e9}".repeat(2_000), ":".repeat(1_400)])
        .collect();
    let can_be_written = |customer: &String| {
        let key = EntityKey(vec![KeyPart::String(customer.clone())]);
        encoder.encode_one(&key).is_ok()
    };
    let rows: Vec<_> = customers.iter().map(|customer| (customer.as_str(), 10, 1, 30)).collect();
    shop.write("profiles/long.parquet", &profiles(&rows));
    let spine = batch(vec![
        ("customer_id", texts(customers.iter().map(String::as_str))),
        ("t", minutes(customers.iter().map(|_| 20))),
    ]);
    let options = TrainingOptions { key_prefix: Some("a:".to_owned()), ..TrainingOptions::default() };
    let sets = TrainingSets::new(shop.history.clone(), options);
    let set = sets.prepare(shop.request(references(&["profile.age"]), streamed(vec![spine]))).await.unwrap();
    let counts = set.counts().clone();
    let found = self::rows(set).await;
    let found = concat_batches(&found[0].schema(), &found).unwrap();
    let found: Vec<bool> = (0..customers.len()).map(|row| found.column(2).is_valid(row)).collect();
    let expected: Vec<bool> = customers.iter().map(can_be_written).collect();
    assert_eq!(found, expected);
    assert_eq!(expected, [true, true, false, false, true, false]);
    assert_eq!(counts.refused(), 3);
}

/// However its spine comes; nothing of it stays.
#[tokio::test]
async fn the_last_bytes_of_a_disk_are_left_to_others() {
    let shop = Shop::stocked().await;
    shop.write_text("spine.csv", "customer_id,t\nann,1970-01-01T00:15:00\n");
    let folder = tempfile::tempdir().unwrap();
    let spine = batch(vec![("customer_id", texts(["ann"])), ("t", minutes([15]))]);
    for (kept_free, is_refused) in [(u64::MAX, true), (0, false)] {
        let spill_folder = SpillFolder::new(folder.path().to_owned(), kept_free);
        let sets =
            TrainingSets::new(shop.history.clone(), TrainingOptions { spill_folder, ..TrainingOptions::default() });
        for spine in [streamed(vec![spine.clone()]), Spine::Path(shop.path("spine.csv"))] {
            let prepared = sets.prepare(shop.request(references(&["profile.age"]), spine)).await;
            assert_eq!(prepared.is_err(), is_refused);
            let code = prepared.err().map(|error| error.code());
            assert!(code.is_none_or(|code| code == ErrorCode::ResourceExhausted), "{code:?}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
