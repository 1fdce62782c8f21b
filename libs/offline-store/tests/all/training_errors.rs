//! What a wrong request for a training set is answered.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, NullArray, RecordBatch};
use expect_test::{Expect, expect};
use futures::StreamExt;
use larder_definitions::selection::Asked;
use larder_offline_store::training::{Spine, Target, TrainingRequest};

use crate::fixture::{Shop, batch, minutes, references, service, texts};

fn stream(rows: RecordBatch) -> Spine {
    Spine::Stream { schema: rows.schema(), batches: futures::stream::iter([Ok(rows)]).boxed() }
}

async fn refused(shop: &Shop, features: Asked, spine: Spine, expected: Expect) {
    let error = shop.prepare(features, spine).await.err().unwrap();
    expected.assert_eq(&shop.text(&error));
}

fn numbers() -> ArrayRef {
    Arc::new(Int64Array::from(vec![1]))
}

#[tokio::test]
async fn a_spine_that_lacks_what_is_needed() {
    let shop = Shop::stocked().await;
    for (columns, expected) in [
        (
            vec![("customer_id", texts(["ann"])), ("time", minutes([1]))],
            expect![
                "INVALID_ARGUMENT: the spine: there is no column `t` (the time of each row, timestamp); its columns are customer_id, time"
            ],
        ),
        (
            vec![("customer_id", texts(["ann"])), ("t", numbers())],
            expect![
                "INVALID_ARGUMENT: the spine: column `t` (the time of each row) has type int64, timestamp is wanted: times such as 2026-01-31T09:30:00Z, in a column of timestamps"
            ],
        ),
        (
            vec![("customer_id", texts(["ann"])), ("t", Arc::new(Date32Array::from(vec![1])))],
            expect![
                "INVALID_ARGUMENT: the spine: column `t` (the time of each row) has type date, timestamp is wanted: a day is no instant, write 2026-01-31T00:00:00Z or cast the column"
            ],
        ),
        (
            vec![("customer_id", texts(["ann"])), ("t", Arc::new(NullArray::new(1)))],
            expect![
                "INVALID_ARGUMENT: the spine: column `t` (the time of each row) has no value in any row, timestamp is wanted"
            ],
        ),
        (
            vec![("custmer_id", texts(["ann"])), ("t", minutes([1]))],
            expect![
                "INVALID_ARGUMENT: the spine: there is no column `customer_id` (join key, string); did you mean custmer_id?"
            ],
        ),
        (
            vec![("customer_id", numbers()), ("t", minutes([1]))],
            expect![
                "INVALID_ARGUMENT: the spine: column `customer_id` (join key) has type int64, string is wanted: convert it to string"
            ],
        ),
        (
            vec![("x", numbers())],
            expect![
                "INVALID_ARGUMENT: the spine: there is no column `t` (the time of each row, timestamp); its columns are x; there is no column `customer_id` (join key, string); its columns are x"
            ],
        ),
        (
            vec![("customer_id", texts(["ann"])), ("t", minutes([1])), ("t", minutes([1]))],
            expect!["INVALID_ARGUMENT: spine: two columns of the spine are called `t`"],
        ),
        (
            vec![("customer_id", texts(["ann"])), ("t", minutes([1])), ("age", numbers())],
            expect![
                "INVALID_ARGUMENT: features: feature `age` has the name of a column of the spine: ask for full names, or use its view under an alias"
            ],
        ),
    ] {
        refused(&shop, references(&["profile"]), stream(batch(columns)), expected).await;
    }
}

#[tokio::test]
async fn request_data_that_is_missing_or_of_another_type() {
    let shop = Shop::stocked().await;
    for (columns, expected) in [
        (
            vec![("customer_id", texts(["ann"])), ("t", minutes([1]))],
            expect![
                "INVALID_ARGUMENT: the spine: there is no column `amount` (request data of on-demand features, float64); its columns are customer_id, t"
            ],
        ),
        (
            vec![("customer_id", texts(["ann"])), ("t", minutes([1])), ("amount", texts(["1"]))],
            expect![
                "INVALID_ARGUMENT: the spine: column `amount` (request data of on-demand features) has type string, float64 is wanted: convert it to float64"
            ],
        ),
    ] {
        refused(&shop, references(&["offer.cost"]), stream(batch(columns)), expected).await;
    }
}

/// Before any row of the spine is read.
#[tokio::test]
async fn columns_that_a_parquet_file_cannot_hold() {
    let shop = Shop::stocked().await;
    let interval: ArrayRef = Arc::new(arrow::array::IntervalMonthDayNanoArray::from(vec![None]));
    let columns = || batch(vec![("t", minutes([1])), ("i", Arc::clone(&interval))]);
    let schema = columns().schema();
    let unread = Spine::Stream { schema, batches: futures::stream::pending().boxed() };
    let request = shop.request(references(&["rate"]), unread);
    let error = shop.sets().take_in(request, Target::Parquet).await.err().unwrap();
    expect!["INVALID_ARGUMENT: the spine: column `i` has type interval(monthdaynano), which Parquet cannot hold: convert it, or leave it out"].assert_eq(&shop.text(&error));
    let request = shop.request(references(&["rate"]), stream(columns()));
    assert!(shop.sets().take_in(request, Target::Stream).await.is_ok());
    let output = shop.sets().output(&shop.path("set.parquet"), &[]).await.unwrap();
    let set = shop.prepare(references(&["rate"]), stream(columns())).await.unwrap();
    let error = set.write(&output, |_| ()).await.unwrap_err();
    assert_eq!(error.violations()[0].field, "spine.i");
}

/// The value as it stands there, and its row.
#[tokio::test]
async fn request_data_that_no_float64_is() {
    let shop = Shop::stocked().await;
    let amounts: ArrayRef = Arc::new(Int64Array::from(vec![1, 9_007_199_254_740_993]));
    let columns = vec![("customer_id", texts(["ann", "ann"])), ("t", minutes([1, 2])), ("amount", amounts)];
    refused(
        &shop,
        references(&["offer.cost"]),
        stream(batch(columns)),
        expect!["INVALID_ARGUMENT: spine.amount: row 2 of the spine: 9007199254740993 is beyond the integers that a float64 has exactly: those below 2^53"],
    )
    .await;
}

#[tokio::test]
async fn a_row_without_time_is_named() {
    let shop = Shop::stocked().await;
    let times: arrow::array::TimestampMicrosecondArray = [Some(1), None].into_iter().collect();
    let rows = batch(vec![("t", Arc::new(times))]);
    refused(
        &shop,
        references(&["rate"]),
        stream(rows.clone()),
        expect!["INVALID_ARGUMENT: spine: row 2 of the spine has no time: column `t` is null"],
    )
    .await;
    shop.write("spine/a.parquet", &batch(vec![("t", minutes([1, 2, 3]))]));
    let times: arrow::array::TimestampMicrosecondArray = [Some(1), None].into_iter().collect();
    shop.write("spine/b.parquet", &batch(vec![("t", Arc::new(times.with_timezone("UTC")))]));
    refused(&shop, references(&["rate"]), Spine::Path(shop.path("spine")), expect!["INVALID_ARGUMENT: spine: row 2 of `FOLDER/spine/b.parquet` (row 5 of the spine) has no time: column `t` is null"]).await;
    shop.write_text("spine.csv", "t,x\n2026-01-01T00:00:00Z,1\n,2\n");
    refused(
        &shop,
        references(&["rate"]),
        Spine::Path(shop.path("spine.csv")),
        expect![
            "INVALID_ARGUMENT: spine: row 2 of `FOLDER/spine.csv` (row 2 of the spine) has no time: column `t` is null"
        ],
    )
    .await;
    shop.write_text("spine.csv", "t,x\n2026-01-01T00:00:00Z,1\nyesterday,2\n");
    refused(&shop, references(&["rate"]), Spine::Path(shop.path("spine.csv")), expect!["INVALID_ARGUMENT: spine: `FOLDER/spine.csv`: row 2, column `t`: `yesterday` is not a time: write RFC 3339, e.g. 2026-01-31T08:30:00Z (without a zone it is UTC), or a date"]).await;
}

#[tokio::test]
async fn a_feature_with_the_name_of_a_column() {
    let shop = Shop::stocked().await;
    let rows = || batch(vec![("customer_id", texts(["ann"])), ("t", minutes([1])), ("profile.age", numbers())]);
    let request = shop.request(references(&["profile.age"]), stream(rows()));
    let request = TrainingRequest { full_names: true, ..request };
    let error = shop.sets().prepare(request).await.err().unwrap();
    expect!["INVALID_ARGUMENT: features: feature `profile.age` has the name of a column of the spine: use its view under an alias"].assert_eq(&shop.text(&error));
    assert!(shop.prepare(references(&["profile.age"]), stream(rows())).await.is_ok());
}

#[tokio::test]
async fn spines_that_cannot_be_read() {
    let shop = Shop::stocked().await;
    shop.write_text("bad.parquet", "not parquet");
    shop.write_text("bad.csv", "t,x\n2026-01-01,1\n2026-01-01,1,2\n");
    shop.write_text("open.csv", &format!("t,x\n2026-01-01,\"5 inch\n{}", "2026-01-01,1\n".repeat(1_000)));
    shop.write_text("behind.csv", "t,x\n2026-01-01,\"a\"b\n");
    shop.write("mixed/a.parquet", &batch(vec![("t", minutes([1]))]));
    shop.write("mixed/b.parquet", &batch(vec![("t", minutes([1])), ("u", numbers())]));
    shop.write("kinds/a.parquet", &batch(vec![("t", minutes([1]))]));
    shop.write_text("kinds/more/b.csv", "t\n2026-01-01\n");
    std::os::unix::fs::symlink("endless.parquet", shop.path("endless.parquet")).unwrap();
    shop.write("folders/merchant_id=x/a.parquet", &batch(vec![("t", minutes([1]))]));
    for (path, expected) in [
        (
            "bad.parquet",
            expect![
                "INVALID_ARGUMENT: spine: `FOLDER/bad.parquet` is not a Parquet file, or was cut short or damaged: Parquet error: Invalid Parquet file. Corrupt footer"
            ],
        ),
        (
            "bad.csv",
            expect![
                "INVALID_ARGUMENT: spine: `FOLDER/bad.csv` cannot be read as CSV with a header: Csv error: Encountered unequal lengths between records on CSV file. Expected 2 records, found 3 records at line 3"
            ],
        ),
        (
            "open.csv",
            expect![[
                r#"INVALID_ARGUMENT: spine: `FOLDER/open.csv`: line 2: a quote opens a value here and is never closed: close it, and write a quote within the value as """#
            ]],
        ),
        (
            "behind.csv",
            expect![[
                r#"INVALID_ARGUMENT: spine: `FOLDER/behind.csv`: line 2: text stands behind the closing quote: write a quote within a value as """#
            ]],
        ),
        (
            "mixed",
            expect![[
                r#"INVALID_ARGUMENT: spine: its files have different columns: `FOLDER/mixed/a.parquet` has t timestamp; `FOLDER/mixed/b.parquet` has t timestamp, u int64"#
            ]],
        ),
        ("kinds", expect!["INVALID_ARGUMENT: spine: `FOLDER/kinds` names Parquet and CSV files together"]),
        (
            "endless.parquet",
            expect![
                "FAILED_PRECONDITION: reading `FOLDER/endless.parquet`: FOLDER/endless.parquet: Too many levels of symbolic links (os error 40)"
            ],
        ),
        ("nowhere", expect!["NOT_FOUND: there is no file `FOLDER/nowhere`, nor a .parquet or .csv file below it"]),
    ] {
        refused(&shop, references(&["rate"]), Spine::Path(shop.path(path)), expected).await;
    }
    let folders = Spine::Path(shop.path("folders"));
    refused(&shop, references(&["merchant_risk"]), folders, expect!["INVALID_ARGUMENT: spine: `FOLDER/folders/merchant_id=x/a.parquet`: `merchant_id=x` in its path is no int64, which is needed"]).await;
    let error = shop.prepare(references(&["rate"]), Spine::Path("/etc/passwd".to_owned())).await.err().unwrap();
    assert_eq!(error.code(), larder_types::ErrorCode::PermissionDenied);
    assert!(error.message().starts_with("`/etc/passwd` is under none of the roots"), "{error}");
}

#[tokio::test]
async fn names_that_are_not_known_and_views_that_are_not_offline() {
    let shop = Shop::stocked().await;
    let spine = || stream(batch(vec![("customer_id", texts(["ann"])), ("t", minutes([1]))]));
    for (features, expected) in [
        (
            service("evrything"),
            expect![
                "NOT_FOUND: project shop at revision 1 has no feature service `evrything`; did you mean everything?"
            ],
        ),
        (
            references(&["profle.age"]),
            expect!["NOT_FOUND: project shop at revision 1 has no feature view `profle`; did you mean profile?"],
        ),
        (references(&["profile.agee"]), expect!["NOT_FOUND: view profile has no feature `agee`; did you mean age?"]),
        (
            references(&["served_only"]),
            expect!["FAILED_PRECONDITION: view served_only says `offline: false`, so it is in no training set"],
        ),
    ] {
        refused(&shop, features, spine(), expected).await;
    }
}

#[tokio::test]
async fn an_output_that_may_not_be_written() {
    let shop = Shop::stocked().await;
    shop.write_text("larder.yaml", "project: shop");
    shop.write_text("text.parquet", "PAR1 and no more than that");
    shop.write_text("short.parquet", "PAR1");
    shop.write("spines/a.parquet", &batch(vec![("t", minutes([1]))]));
    std::fs::create_dir(shop.path("folder.parquet")).unwrap();
    std::os::unix::fs::symlink(shop.path("larder.yaml"), shop.path("link.parquet")).unwrap();
    for (path, expected) in [
        (
            "larder.yaml",
            expect!["INVALID_ARGUMENT: output: `FOLDER/larder.yaml` is written as Parquet: name it .parquet"],
        ),
        (
            "link.parquet",
            expect!["INVALID_ARGUMENT: output: `FOLDER/link.parquet` is written as Parquet: name it .parquet"],
        ),
        ("out", expect!["INVALID_ARGUMENT: output: `FOLDER/out` is written as Parquet: name it .parquet"]),
        (
            "folder.parquet",
            expect!["INVALID_ARGUMENT: output: `FOLDER/folder.parquet` is a folder: name a file, in it or beside it"],
        ),
        (
            "text.parquet",
            expect![
                "ALREADY_EXISTS: `FOLDER/text.parquet` is there and is no Parquet file: only an earlier training set is replaced"
            ],
        ),
        (
            "short.parquet",
            expect![
                "ALREADY_EXISTS: `FOLDER/short.parquet` is there and is no Parquet file: only an earlier training set is replaced"
            ],
        ),
        (
            "rates.parquet",
            expect![
                "INVALID_ARGUMENT: output: `FOLDER/rates.parquet` is among the files of rates (`FOLDER/rates.parquet`): name another place"
            ],
        ),
        // One that is not there yet would be read as history from then on.
        (
            "profiles/date=2026-01-01/new.parquet",
            expect![
                "INVALID_ARGUMENT: output: `FOLDER/profiles/date=2026-01-01/new.parquet` is among the files of profiles (`FOLDER/profiles/`): name another place"
            ],
        ),
        (
            "merchants/new.parquet",
            expect![
                "INVALID_ARGUMENT: output: `FOLDER/merchants/new.parquet` is among the files of merchants (`FOLDER/merchants/*.parquet`): name another place"
            ],
        ),
        (
            "spines/a.parquet",
            expect![
                "INVALID_ARGUMENT: output: `FOLDER/spines/a.parquet` is among the files of spines (`FOLDER/spines`): name another place"
            ],
        ),
    ] {
        let read = [
            ("rates".to_owned(), shop.path("rates.parquet")),
            ("profiles".to_owned(), shop.path("profiles/")),
            ("merchants".to_owned(), shop.path("merchants/*.parquet")),
            ("spines".to_owned(), shop.path("spines")),
        ];
        let error = shop.sets().output(&shop.path(path), &read).await.unwrap_err();
        expected.assert_eq(&shop.text(&error));
    }
    let error = shop.sets().output("/tmp/elsewhere.parquet", &[]).await.unwrap_err();
    assert_eq!(error.code(), larder_types::ErrorCode::PermissionDenied, "{error}");
}
