//! History from files and from the push log.

use std::{fs, sync::Arc};

use arrow::array::{Array, ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::Int32Type;
use expect_test::{Expect, expect};
use larder_definitions::{
    JoinKey, KeySpace, ResolvedView,
    run::{EventTimes, Leftover, Part, PartKind, Position},
};
use larder_offline_store::history::{ReadBefore, TimeRange};
use larder_types::{KeyType, Name, ScalarType, Timestamp};

use crate::fixture::{MINUTE, Shop, batch, minutes, pretty, profiles, rates, texts};

fn check(batches: &[RecordBatch], expected: Expect) {
    expected.assert_eq(&pretty(batches));
}

#[tokio::test]
async fn reads_both_sources_of_a_view_in_one_form() {
    let shop = Shop::stocked().await;
    let (batches, refused) = shop.read("profile", TimeRange::ALL).await.unwrap();
    assert_eq!(refused, 0);
    check(
        &batches,
        expect![[r#"
        +-------------+----------------------+----------------------+-----------+-----+-------+------+
        | customer_id | __event_time         | __created_time       | __deleted | age | score | city |
        +-------------+----------------------+----------------------+-----------+-----+-------+------+
        | ann         | 1970-01-01T00:10:00Z | 1970-01-01T00:01:00Z | false     | 30  | 15.0  | Oslo |
        | bob         | 1970-01-01T00:10:00Z | 1970-01-01T00:01:00Z | false     | 40  | 20.0  | Oslo |
        | ann         | 1970-01-01T00:20:00Z | 1970-01-01T00:01:00Z | false     | 31  |       | Oslo |
        | ann         | 1970-01-01T00:20:00Z | 1970-01-01T00:02:00Z | false     | 32  | 16.0  | Oslo |
        | bob         | 1970-01-01T00:25:00Z | 1970-01-01T00:25:00Z | false     | 41  |       |      |
        | ann         | 1970-01-01T00:40:00Z | 1970-01-01T00:40:00Z | true      |     |       |      |
        +-------------+----------------------+----------------------+-----------+-----+-------+------+
    "#]],
    );
}

/// What was pushed under another type counts as null, and under other keys not at all.
#[tokio::test]
async fn events_of_a_type_that_was_declared_before_do_not_stand_in_the_way() {
    let shop = Shop::stocked().await;
    let ages = async |age: ScalarType, key: KeyType| {
        let mut view = ResolvedView { batch_source: None, ..(*shop.view("profile")).clone() };
        view.definition.features[0].value_type = age.into();
        let keys = vec![JoinKey { key_type: key, ..view.key_space.keys[0].clone() }];
        view.key_space = Arc::new(KeySpace { keys, ..(*view.key_space).clone() });
        let project = &shop.catalog.project;
        let found = shop.history.plan_parts(project, &view, &ReadBefore::default(), Timestamp::MAX).await.unwrap();
        let stream = shop.history.read_part(project, &view, &found.parts[0], TimeRange::ALL).await.unwrap();
        let batches: Vec<RecordBatch> = futures::TryStreamExt::try_collect(stream.batches).await.unwrap();
        (batches[0].num_rows(), batches[0].column(4).null_count(), stream.counts.refused())
    };
    // Of two events one is a deletion, and has no age anyway.
    assert_eq!(ages(ScalarType::Int64, KeyType::String).await, (2, 1, 0));
    for other in [ScalarType::Int32, ScalarType::Float64, ScalarType::String] {
        assert_eq!(ages(other, KeyType::String).await, (2, 2, 0), "{other}");
    }
    assert_eq!(ages(ScalarType::Int64, KeyType::Int64).await, (0, 0, 2));
}

#[tokio::test]
async fn leaves_out_what_is_outside_of_the_range() {
    let shop = Shop::new();
    // Row groups of 4 rows: the first and the last are not read at all.
    shop.write("rates.parquet", &rates(&(0..20).map(|minute| (minute, 1.0)).collect::<Vec<_>>()));
    let at = |minute: i64| Some(Timestamp::from_micros(minute * MINUTE));
    let view = shop.view("rate");
    let found =
        shop.history.plan_parts(&shop.catalog.project, &view, &ReadBefore::default(), Timestamp::MAX).await.unwrap();
    let range = TimeRange { start: at(6), end: at(9) };
    let stream = shop.history.read_part(&shop.catalog.project, &view, &found.parts[0], range).await.unwrap();
    let batches: Vec<RecordBatch> = futures::TryStreamExt::try_collect(stream.batches).await.unwrap();
    assert_eq!(stream.counts.read(), 8, "two row groups");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
}

#[tokio::test]
async fn takes_columns_from_the_path_and_widens_types() {
    let shop = Shop::new();
    let cities: DictionaryArray<Int32Type> = [Some("Oslo"), None].into_iter().collect();
    let rows = batch(vec![
        ("at", Arc::new(TimestampNanosecondArray::from(vec![-1, 1_999]))),
        ("made", Arc::new(TimestampNanosecondArray::from(vec![None, Some(5_000)]))),
        ("score", Arc::new(arrow::array::Float32Array::from(vec![Some(0.5), None]))),
        ("town", Arc::new(cities)),
    ]);
    shop.write("profiles/customer_id=ann/age=7/x.parquet", &rows);
    let (batches, _) = shop.read("profile", TimeRange::ALL).await.unwrap();
    check(
        &batches,
        expect![[r#"
        +-------------+-----------------------------+------------------------------------------------------------------------------------------------+-----------+-----+-------+------+
        | customer_id | __event_time                | __created_time                                                                                 | __deleted | age | score | city |
        +-------------+-----------------------------+------------------------------------------------------------------------------------------------+-----------+-----+-------+------+
        | ann         | 1969-12-31T23:59:59.999999Z | ERROR: Cast error: Failed to convert -9223372036854775808 to datetime for Timestamp(µs, "UTC") | false     | 7   | 0.5   | Oslo |
        | ann         | 1970-01-01T00:00:00.000001Z | 1970-01-01T00:00:00.000005Z                                                                    | false     | 7   |       |      |
        +-------------+-----------------------------+------------------------------------------------------------------------------------------------+-----------+-----+-------+------+
    "#]],
    );
}

#[tokio::test]
async fn values_in_a_path_are_decoded_and_may_be_null() {
    let shop = Shop::new();
    let rows = batch(vec![
        ("at", minutes([1])),
        ("made", minutes([1])),
        ("age", Arc::new(Int64Array::from(vec![7]))),
        ("score", Arc::new(arrow::array::Float64Array::from(vec![0.5]))),
    ]);
    shop.write("profiles/customer_id=New%20York%2F1/town=%C3%A5/x.parquet", &rows);
    shop.write("profiles/customer_id=b=c/town=__HIVE_DEFAULT_PARTITION__/x.parquet", &rows);
    let (batches, refused) = shop.read("profile", TimeRange::ALL).await.unwrap();
    assert_eq!(refused, 0);
    check(
        &batches,
        expect![[r#"
        +-------------+----------------------+----------------------+-----------+-----+-------+------+
        | customer_id | __event_time         | __created_time       | __deleted | age | score | city |
        +-------------+----------------------+----------------------+-----------+-----+-------+------+
        | New York/1  | 1970-01-01T00:01:00Z | 1970-01-01T00:01:00Z | false     | 7   | 0.5   | å    |
        | b=c         | 1970-01-01T00:01:00Z | 1970-01-01T00:01:00Z | false     | 7   | 0.5   |      |
        +-------------+----------------------+----------------------+-----------+-----+-------+------+
    "#]],
    );
}

#[tokio::test]
async fn refuses_and_counts_rows_without_event_time_or_key() {
    let shop = Shop::new();
    let times: arrow::array::TimestampMicrosecondArray = [Some(1), None, Some(3)].into_iter().collect();
    let keys: StringArray = [Some("ann"), Some("bob"), None].into_iter().collect();
    let rows = batch(vec![
        ("customer_id", Arc::new(keys)),
        ("at", Arc::new(times)),
        ("made", minutes([1, 1, 1])),
        ("age", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("score", Arc::new(arrow::array::Float64Array::from(vec![1.0, 2.0, 3.0]))),
        ("town", texts(["a", "b", "c"])),
    ]);
    shop.write("profiles/x.parquet", &rows);
    let (batches, refused) = shop.read("profile", TimeRange::ALL).await.unwrap();
    assert_eq!((batches[0].num_rows(), refused), (1, 2));
}

#[tokio::test]
async fn finds_what_is_new_since_a_position() {
    let shop = Shop::stocked().await;
    let (view, project) = (shop.view("profile"), &shop.catalog.project);
    let first = shop.history.plan_parts(project, &view, &ReadBefore::default(), Timestamp::MAX).await.unwrap();
    assert_eq!(first.parts.len(), 3);
    let since = ReadBefore { positions: first.positions.into_iter().collect(), ..ReadBefore::default() };
    let nothing = shop.history.plan_parts(project, &view, &since, Timestamp::MAX).await.unwrap();
    assert_eq!(nothing.parts, []);

    shop.write("profiles/late.parquet", &profiles(&[("eve", 1, 1, 50)]));
    shop.push(&[("eve", 2, Some(51))]).await;
    let new = shop.history.plan_parts(project, &view, &since, Timestamp::MAX).await.unwrap();
    let mut found = Vec::new();
    for part in &new.parts {
        let stream = shop.history.read_part(project, &view, part, TimeRange::ALL).await.unwrap();
        found.extend(futures::TryStreamExt::try_collect::<Vec<_>>(stream.batches).await.unwrap());
    }
    check(
        &found,
        expect![[r#"
        +-------------+----------------------+----------------------+-----------+-----+-------+------+
        | customer_id | __event_time         | __created_time       | __deleted | age | score | city |
        +-------------+----------------------+----------------------+-----------+-----+-------+------+
        | eve         | 1970-01-01T00:01:00Z | 1970-01-01T00:01:00Z | false     | 50  | 25.0  | Oslo |
        | eve         | 1970-01-01T00:02:00Z | 1970-01-01T00:02:00Z | false     | 51  |       |      |
        +-------------+----------------------+----------------------+-----------+-----+-------+------+
    "#]],
    );
}

#[tokio::test]
async fn a_file_that_changed_is_named() {
    let shop = Shop::stocked().await;
    let (view, project) = (shop.view("rate"), &shop.catalog.project);
    let found = shop.history.plan_parts(project, &view, &ReadBefore::default(), Timestamp::MAX).await.unwrap();
    shop.write("rates.parquet", &rates(&[(0, 1.0), (1, 2.0), (2, 3.0)]));
    let read = |part| shop.history.read_part(project, &view, part, TimeRange::ALL);
    let error = read(&found.parts[0]).await.err().unwrap();
    expect!["FAILED_PRECONDITION: `FOLDER/rates.parquet` was changed since it was listed"]
        .assert_eq(&shop.text(&error));
    fs::remove_file(shop.path("rates.parquet")).unwrap();
    let error = read(&found.parts[0]).await.err().unwrap();
    expect!["FAILED_PRECONDITION: `FOLDER/rates.parquet` was removed since it was listed"]
        .assert_eq(&shop.text(&error));
    assert!(matches!(found.parts[0].what, PartKind::File(_)));
}

#[tokio::test]
async fn bad_files_are_named_with_what_is_wrong() {
    let good = || profiles(&[("ann", 1, 1, 1)]);
    let without = |column: &str| {
        let batch = good();
        let kept: Vec<usize> =
            (0..batch.num_columns()).filter(|at| batch.schema().field(*at).name() != column).collect();
        batch.project(&kept).unwrap()
    };
    let with = |column: &'static str, array: ArrayRef| {
        let batch = without(column);
        let schema = batch.schema();
        let mut columns: Vec<(&str, ArrayRef)> =
            schema.fields().iter().map(|field| field.name().as_str()).zip(batch.columns().iter().cloned()).collect();
        columns.push((column, array));
        crate::fixture::batch(columns)
    };
    let twice = |column: &'static str| {
        let batch = good();
        let schema = batch.schema();
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let columns: Vec<(&str, ArrayRef)> = names.zip(batch.columns().iter().cloned()).collect();
        let again = (column, Arc::clone(batch.column_by_name(column).unwrap()));
        crate::fixture::batch(columns.into_iter().chain([again]).collect())
    };
    let cases: Vec<(RecordBatch, Expect)> = vec![
        (
            without("at"),
            expect![
                "FAILED_PRECONDITION: `FOLDER/profiles/x.parquet` has no column `at` (event time), timestamp is declared"
            ],
        ),
        (
            without("made"),
            expect![
                "FAILED_PRECONDITION: `FOLDER/profiles/x.parquet` has no column `made` (created time), timestamp is declared"
            ],
        ),
        (
            without("customer_id"),
            expect![
                "FAILED_PRECONDITION: `FOLDER/profiles/x.parquet` has no column `customer_id` (join key), string is declared"
            ],
        ),
        (
            without("town"),
            expect![
                "FAILED_PRECONDITION: `FOLDER/profiles/x.parquet` has no column `town` (feature city), string is declared"
            ],
        ),
        (
            with("age", texts(["x"])),
            expect![
                "FAILED_PRECONDITION: `FOLDER/profiles/x.parquet`: column `age` (feature age) has type string, int64 is declared: declare it as string, or convert it to int64"
            ],
        ),
        (
            twice("age"),
            expect![
                "FAILED_PRECONDITION: `FOLDER/profiles/x.parquet` has two columns `age` (feature age): which is meant?"
            ],
        ),
        (
            with("at", Arc::new(arrow::array::Date32Array::from(vec![1]))),
            expect![
                "FAILED_PRECONDITION: `FOLDER/profiles/x.parquet`: column `at` (event time) has type date, timestamp is wanted: a day is no instant, convert it to one"
            ],
        ),
        (
            with("customer_id", Arc::new(Int64Array::from(vec![1]))),
            expect![
                "FAILED_PRECONDITION: `FOLDER/profiles/x.parquet`: column `customer_id` (join key) has type int64, string is declared: declare it as int64, or convert it to string"
            ],
        ),
    ];
    for (rows, expected) in cases {
        let shop = Shop::new();
        shop.write("profiles/x.parquet", &rows);
        let error = shop.read("profile", TimeRange::ALL).await.unwrap_err();
        expected.assert_eq(&shop.text(&error));
    }
}

#[tokio::test]
async fn a_file_cut_short_or_of_another_kind_is_named() {
    for (cut, expected) in [
        (
            Some(100),
            expect![
                "FAILED_PRECONDITION: source profiles: `FOLDER/profiles/x.parquet` is not a Parquet file, or was cut short or damaged: Parquet error: Invalid Parquet file. Corrupt footer"
            ],
        ),
        (
            None,
            expect![
                "FAILED_PRECONDITION: source profiles: `FOLDER/profiles/x.parquet` is not a Parquet file, or was cut short or damaged: Parquet error: Invalid Parquet file. Corrupt footer"
            ],
        ),
    ] {
        let shop = Shop::new();
        let path = shop.write("profiles/x.parquet", &profiles(&[("ann", 1, 1, 1)]));
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, cut.map_or(b"not parquet at all".to_vec(), |cut| bytes[..bytes.len() - cut].to_vec()))
            .unwrap();
        let error = shop.read("profile", TimeRange::ALL).await.unwrap_err();
        expected.assert_eq(&shop.text(&error));
    }
}

#[tokio::test]
async fn large_rows_are_read_few_at_once() {
    const LENGTH: usize = 3 << 20;
    let shop = Shop::new();
    let same = "x".repeat(LENGTH);
    // All different, and all the same: then the file holds it once.
    let different: Vec<String> = (0..4).map(|row| format!("{row}{}", &same[1..])).collect();
    for towns in [different, vec![same; 4]] {
        let rows = profiles(&(0..4).map(|row| ("ann", row, row, row)).collect::<Vec<_>>());
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("customer_id", Arc::clone(rows.column(0))),
            ("at", Arc::clone(rows.column(1))),
            ("made", Arc::clone(rows.column(2))),
            ("age", Arc::clone(rows.column(3))),
            ("score", Arc::clone(rows.column(4))),
            ("town", texts(towns.iter().map(String::as_str))),
        ];
        shop.write("profiles/a.parquet", &batch(columns));
        let (batches, _) = shop.read("profile", TimeRange::ALL).await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 2]);
    }
}

#[tokio::test]
async fn a_log_that_was_not_read_before_makes_all_files_be_read_beside_it() {
    let shop = Shop::stocked().await;
    let (project, view) = (&shop.catalog.project, shop.view("profile"));
    let plan = async |positions: Vec<(Name, Position)>| {
        let before = ReadBefore { positions: positions.into_iter().collect(), ..ReadBefore::default() };
        shop.history.plan_parts(project, &view, &before, Timestamp::MAX).await.unwrap()
    };
    let (files, log): (Vec<_>, Vec<_>) =
        plan(vec![]).await.positions.into_iter().partition(|(_, position)| matches!(position, Position::Files(_)));
    for (before, files, logs) in
        [(vec![], 2, 1), (files.clone(), 2, 1), (log.clone(), 2, 0), ([files, log].concat(), 0, 0)]
    {
        let parts = plan(before).await.parts;
        let is_file = |part: &&Part| matches!(part.what, PartKind::File(_));
        assert_eq!((parts.iter().filter(is_file).count(), parts.len()), (files, files + logs));
        assert!(parts.iter().all(|part| part.replaces));
    }
}

/// What went or changed may have won against what is there: all with its times is read again, and nothing else.
#[tokio::test]
async fn files_are_read_again_that_have_event_times_of_what_went_or_is_left_over() {
    let shop = Shop::new();
    let (project, view) = (&shop.catalog.project, shop.view("merchant_risk"));
    let write = |name: &str, times: [i64; 2]| {
        let ids: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![1, 2]));
        let risks: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![0.1, 0.2]));
        let columns = vec![("merchant_id", ids), ("at", minutes(times)), ("risk", risks)];
        shop.write(&format!("merchants/{name}.parquet"), &batch(columns));
    };
    for (name, times) in [("a", [10, 20]), ("b", [15, 40]), ("c", [50, 60]), ("d", [70, 80])] {
        write(name, times);
    }
    let name_of = |path: &str| path.rsplit_once('/').unwrap().1.trim_end_matches(".parquet").to_owned();
    // Which files are read, which of them replace, and which were found gone.
    let planned = async |before: &ReadBefore| {
        let found = shop.history.plan_parts(project, &view, before, Timestamp::MAX).await.unwrap();
        let name = |part: &Part| match &part.what {
            PartKind::File(file) => format!("{}{}", name_of(&file.path), if part.replaces { "!" } else { "" }),
            PartKind::Log { .. } | PartKind::TimeRange { .. } => String::new(),
        };
        let mut names: Vec<String> = found.parts.iter().map(name).collect();
        names.extend(found.gone.iter().map(|file| format!("-{}", name_of(&file.path))));
        names.sort();
        (names.join(" "), found.positions)
    };
    let (all, positions) = planned(&ReadBefore::default()).await;
    assert_eq!(all, "a! b! c! d!");
    let source = positions[0].0.clone();
    let before = ReadBefore { positions: positions.into_iter().collect(), ..ReadBefore::default() };
    assert_eq!(planned(&before).await.0, "");
    let leftover = |is_met, first: i64, last: i64| {
        let at = |minute: i64| Timestamp::from_micros(minute * MINUTE);
        let event_times = Some(EventTimes { first: at(first), last: at(last) });
        Leftover { number: 1, source: source.clone(), event_times, noted_at: at(0), is_met }
    };
    let with = |leftovers| ReadBefore { leftovers, ..before.clone() };
    assert_eq!(planned(&with(vec![leftover(false, 55, 65)])).await.0, "c!");
    assert_eq!(planned(&with(vec![leftover(true, 55, 65)])).await.0, "", "it was met");
    write("new", [62, 62]);
    assert_eq!(planned(&with(vec![leftover(true, 55, 65)])).await.0, "new!", "it may be its correction");
    assert_eq!(planned(&with(vec![leftover(true, 90, 95)])).await.0, "new");
    fs::remove_file(shop.path("merchants/a.parquet")).unwrap();
    write("d", [45, 52]);
    assert_eq!(planned(&before).await.0, "-a -d b! c! d! new", "b may have lost against a");
    let again = ReadBefore { again: true, ..before };
    assert_eq!(planned(&again).await.0, "-a -d b! c! d! new!");
}

/// As pandas writes a column in which nothing stands.
#[tokio::test]
async fn a_column_without_a_value_is_null_whatever_is_declared() {
    let nothing = || -> ArrayRef { Arc::new(arrow::array::NullArray::new(2)) };
    let rows = |key: ArrayRef, at: ArrayRef| {
        let columns = ["made", "age", "score", "town"].map(|name| (name, nothing()));
        batch([("customer_id", key), ("at", at)].into_iter().chain(columns).collect())
    };
    let shop = Shop::new();
    shop.write("profiles/x.parquet", &rows(texts(["ann", "bob"]), minutes([1, 2])));
    let (batches, refused) = shop.read("profile", TimeRange::ALL).await.unwrap();
    assert_eq!((batches[0].num_rows(), refused), (2, 0));
    assert!((4..7).all(|column| batches[0].column(column).null_count() == 2));
    shop.write("profiles/x.parquet", &rows(nothing(), minutes([1, 2])));
    let (batches, refused) = shop.read("profile", TimeRange::ALL).await.unwrap();
    assert_eq!((batches.len(), refused), (0, 2), "rows without a key");
    shop.write("profiles/x.parquet", &rows(texts(["ann", "bob"]), nothing()));
    let error = shop.read("profile", TimeRange::ALL).await.unwrap_err();
    expect!["FAILED_PRECONDITION: `FOLDER/profiles/x.parquet`: column `at` (event time) has no value in any row: every row needs one"].assert_eq(&shop.text(&error));
    let nothing = rows(texts(["ann", "bob"]), nothing()).slice(0, 0);
    shop.write("profiles/x.parquet", &nothing);
    assert!(shop.read("profile", TimeRange::ALL).await.unwrap().0.is_empty(), "there is no row that needs one");
}

/// Arrow's writers keep a dictionary of times as such.
#[tokio::test]
async fn the_event_times_of_a_dictionary_are_known() {
    let shop = Shop::new();
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![60_000_000_000, 120_000_000_000]));
    let keys = arrow::array::Int32Array::from(vec![0, 1, 1]);
    let times: ArrayRef = Arc::new(DictionaryArray::new(keys, times));
    let risks: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![0.1, 0.2, 0.3]));
    let ids: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![1, 2, 3]));
    shop.write("merchants/a.parquet", &batch(vec![("merchant_id", ids), ("at", times), ("risk", risks)]));
    let (view, project) = (shop.view("merchant_risk"), &shop.catalog.project);
    let at = |minute: i64| Timestamp::from_micros(minute * MINUTE);
    let found = shop.history.plan_parts(project, &view, &ReadBefore::default(), at(1)).await.unwrap();
    let times = found.parts[0].event_times.unwrap();
    assert_eq!((times.first, times.last), (at(1), at(2)));
    // What has a later row is met again.
    let since = ReadBefore { positions: found.positions.into_iter().collect(), ..ReadBefore::default() };
    let again = shop.history.plan_parts(project, &view, &since, at(5)).await.unwrap();
    assert_eq!(again.parts.len(), 1);
    let range = TimeRange { start: Some(at(2)), end: None };
    let stream = shop.history.read_part(project, &view, &again.parts[0], range).await.unwrap();
    let batches: Vec<RecordBatch> = futures::TryStreamExt::try_collect(stream.batches).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}
