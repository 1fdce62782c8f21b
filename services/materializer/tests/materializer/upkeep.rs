//! What the running materializer does by itself beside runs: the push log becomes Parquet, old rows leave the online store.

use std::{fs, path::Path, time::Duration};

use larder_materializer::config::Config;
use larder_online_store::{KeyWrite, OnlineStore, WriteMode};
use larder_service::config::Span;

use crate::feed::{Feed, PATIENCE, Row};

const SOON: Span = Span(Duration::from_millis(20));

const ROW: Row = Row { id: 1, event: 1, created: Some(1), deleted: false, letter: 'a' };

/// How many files of that kind lie below a folder.
fn files(folder: &Path, extension: &str) -> usize {
    let entries = fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>());
    let count = |path: &std::path::PathBuf| match path.is_dir() {
        true => files(path, extension),
        false => usize::from(path.extension().is_some_and(|found| found == extension)),
    };
    entries.unwrap_or_default().iter().map(count).sum()
}

async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(SOON.0).await;
    }
}

#[tokio::test]
async fn pushed_rows_become_parquet_in_the_background() {
    let feed = Feed::new(true).await;
    feed.push(&[ROW], false).await;
    let of_source = feed.path("../log/shop/events");
    assert_eq!((files(&of_source, "arrow"), files(&of_source, "parquet")), (1, 0));
    let config = Config { rewrite_every: SOON, ..Config::default() };
    let (_client, shutdown) = feed.service_of(&config, feed.to_registry.clone(), feed.store.clone());
    eventually("a file of Parquet", async || files(&of_source, "parquet") == 1).await;
    shutdown.begin("the test is over");
}

#[tokio::test]
async fn rows_that_nobody_can_be_given_leave_the_online_store() {
    let feed = Feed::new(true).await;
    let (key, row) = feed.encoded(&[ROW]).await.remove(0);
    let view = feed.view().await;
    let minute = larder_types::Timestamp::from_micros(60_000_000);
    let write = KeyWrite::to_row_sets(key, row, &view.write_row_sets, Some(minute));
    feed.store.write(vec![write], WriteMode::Newest, minute).await.unwrap();
    let config = Config { sweep_every: SOON, ..Config::default() };
    let (_client, shutdown) = feed.service_of(&config, feed.to_registry.clone(), feed.store.clone());
    tokio::time::sleep(SOON.0 * 3).await;
    assert_eq!(feed.served(&[1]).await.len(), 1, "its time has not come");
    feed.clock.advance(Duration::from_secs(3600));
    eventually("the row is gone", async || feed.served(&[1]).await.is_empty()).await;
    shutdown.begin("the test is over");
}
