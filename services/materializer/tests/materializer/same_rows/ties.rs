//! Rows of a file and of the push log that tie: of two rows of equal times the greater one is served, and the lesser one
//! never in between.

use std::{sync::Arc, time::Duration};

use larder_definitions::run::{LEASE_TERM, Outcome, Run, RunState, Scope};
use larder_materializer::worker::Worker;
use larder_online_store::{KeyWrite, OnlineStore, WriteMode};
use larder_types::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{
    feed::{Feed, PROJECT, Row},
    interrupted::Interrupted,
};

fn row(event: i64, letter: char) -> Row {
    Row { id: 1, event, created: Some(event), deleted: false, letter }
}

async fn is_served(feed: &Feed, row: Row) -> bool {
    feed.served(&[row.id]).await == feed.expected(&[row]).await
}

/// As a push wrote it when the view was declared differently: no history has it.
async fn write_online(feed: &Feed, row: Row) {
    let (key, row) = feed.encoded(&[row]).await.remove(0);
    let write = KeyWrite::to_row_sets(key, row, &feed.view().await.write_row_sets, None);
    feed.store.write(vec![write], WriteMode::Newest, feed.clock.now()).await.unwrap();
}

/// Works on the run until its process is stopped after so many writes.
async fn interrupted(feed: &Feed, run: &Run, writes: u32) {
    let stop = CancellationToken::new();
    let writes_left = writes.into();
    let store = Interrupted { store: feed.store.clone(), writes_left, is_done: false, stop: Some(stop.clone()) };
    feed.work(run, Arc::new(store), &stop).await;
    feed.clock.advance(LEASE_TERM);
}

/// As a worker ends it that hears of it.
async fn cancel(feed: &Feed, run: &Run) {
    feed.runs.cancel(&feed.project, &run.id).await.unwrap();
    let grant = feed.runs.acquire_lease(&feed.project, &run.id, "whoever is next").await.unwrap();
    feed.runs.finish(&feed.project, &run.id, grant.lease, &Outcome::Cancelled).await.unwrap();
}

#[tokio::test]
async fn a_full_run_never_goes_back_behind_what_was_pushed() {
    let feed = Feed::new(true).await;
    feed.clock.advance(Duration::from_secs(3600));
    feed.write("a.parquet", &[row(10, 'a')], true);
    feed.push(&[row(10, 'z')], true).await;
    assert_eq!(feed.materialize(Scope::Incremental).await.state, RunState::Succeeded);
    assert!(is_served(&feed, row(10, 'z')).await);
    for writes in 0..3 {
        let run = feed.create(Scope::Full).await;
        interrupted(&feed, &run, writes).await;
        assert!(is_served(&feed, row(10, 'z')).await, "stopped after {writes} writes");
        if !feed.run(&run.id).await.state.is_final() {
            cancel(&feed, &run).await;
        }
        assert_eq!(feed.materialize(Scope::Incremental).await.state, RunState::Succeeded);
        assert!(is_served(&feed, row(10, 'z')).await);
    }
    // Nothing that is there is written again.
    let run = feed.materialize(Scope::Full).await;
    assert_eq!((run.state, run.progress.written), (RunState::Succeeded, 0), "{:?}", run.progress);
}

/// As what Plan says is needed when a view is declared as it was before: rows of the time in between are in the store, and
/// nothing of the log is new.
#[tokio::test]
async fn a_full_run_replaces_what_was_written_when_the_view_was_declared_differently() {
    let feed = Feed::new(true).await;
    feed.clock.advance(Duration::from_secs(3600));
    feed.write("a.parquet", &[row(5, 'f')], true);
    feed.push(&[row(10, 'a')], true).await;
    assert_eq!(feed.materialize(Scope::Incremental).await.state, RunState::Succeeded);
    write_online(&feed, row(10, 'z')).await;
    assert_eq!(feed.materialize(Scope::Incremental).await.state, RunState::Succeeded);
    assert!(is_served(&feed, row(10, 'z')).await);
    assert_eq!(feed.materialize(Scope::Full).await.state, RunState::Succeeded);
    assert!(is_served(&feed, row(10, 'a')).await);
}

#[tokio::test]
async fn rows_a_little_ahead_are_waited_for_where_they_replace() {
    let feed = Feed::new(true).await;
    let ahead = Duration::from_millis(300);
    feed.clock.set(Timestamp::from_micros(10 * 60_000_000 - 300_000));
    feed.write("a.parquet", &[row(5, 'f')], true);
    feed.push(&[row(10, 'a')], false).await;
    write_online(&feed, row(10, 'z')).await;
    let later = feed.clock.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        later.advance(ahead);
    });
    let run = feed.materialize(Scope::Incremental).await;
    assert_eq!((run.state, run.progress.future), (RunState::Succeeded, 0));
    assert!(is_served(&feed, row(10, 'a')).await);
}

#[tokio::test]
async fn a_corrected_file_does_not_go_back_behind_what_was_pushed_before() {
    let feed = Feed::new(true).await;
    feed.clock.advance(Duration::from_secs(3600));
    feed.write("a.parquet", &[row(10, 'c')], true);
    feed.write("b.parquet", &[row(30, 'y'), Row { id: 2, ..row(40, 'y') }], true);
    feed.push(&[row(10, 'b'), Row { id: 2, ..row(40, 'x') }], true).await;
    assert_eq!(feed.materialize(Scope::Incremental).await.state, RunState::Succeeded);
    assert!(is_served(&feed, row(30, 'y')).await);
    feed.push(&[row(30, 'z')], true).await;
    assert_eq!(feed.materialize(Scope::Incremental).await.state, RunState::Succeeded);
    // What is corrected goes, and of what the others say of these times the greatest row comes in its place.
    feed.write("b.parquet", &[row(30, 'a'), Row { id: 2, ..row(40, 'a') }], true);
    for writes in 0..2 {
        let run = feed.create(Scope::Incremental).await;
        interrupted(&feed, &run, writes).await;
        assert!(is_served(&feed, row(30, 'z')).await, "stopped after {writes} writes");
        if !feed.run(&run.id).await.state.is_final() {
            cancel(&feed, &run).await;
        }
    }
    let run = feed.materialize(Scope::Incremental).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    assert!(is_served(&feed, row(30, 'z')).await);
    assert!(is_served(&feed, Row { id: 2, ..row(40, 'x') }).await);
}

#[tokio::test]
async fn what_is_read_of_the_log_beside_a_corrected_file_replaces_nothing_of_other_times() {
    let feed = Feed::new(true).await;
    feed.clock.advance(Duration::from_secs(3600));
    let other = |event, letter| Row { id: 2, ..row(event, letter) };
    feed.write("a.parquet", &[row(10, 'a'), row(12, 'a')], true);
    feed.write("b.parquet", &[other(20, 'z')], true);
    feed.write("c.parquet", &[row(30, 'a'), row(32, 'a')], true);
    feed.push(&[other(20, 'b'), row(11, 'b'), row(31, 'b')], false).await;
    assert_eq!(feed.materialize(Scope::Incremental).await.state, RunState::Succeeded);
    assert!(is_served(&feed, other(20, 'z')).await);
    feed.write("a.parquet", &[row(10, 'b'), row(12, 'b')], true);
    feed.write("c.parquet", &[row(30, 'c'), row(32, 'c')], true);
    // Both files in one batch, with what lies between them in time.
    let run = feed.create(Scope::Incremental).await;
    let worker = Worker { batch_bytes: 1 << 20, ..feed.worker(feed.store.clone()) };
    worker.work(&feed.project, &run.id, &CancellationToken::new()).await.unwrap();
    let run = feed.run(&run.id).await;
    assert_eq!((run.state, run.progress.parts, run.progress.read), (RunState::Succeeded, 2, 4));
    assert!(is_served(&feed, other(20, 'z')).await && is_served(&feed, row(32, 'c')).await);
}

/// While it was declared differently something was pushed, and no run was made: the log is read again all the same.
#[tokio::test]
async fn what_was_pushed_while_the_view_was_declared_differently_is_replaced_by_the_next_run() {
    for has_created_time in [true, false] {
        let feed = Feed::new(has_created_time).await;
        feed.clock.advance(Duration::from_secs(3600));
        feed.write("a.parquet", &[row(5, 'f')], true);
        feed.push(&[row(10, 'a')], true).await;
        assert_eq!(feed.materialize(Scope::Incremental).await.state, RunState::Succeeded);
        let letter = "features: [{ name: letter, type: string }]";
        feed.apply(&PROJECT.replacen(letter, "features: [{ name: letter, type: string, column: sign }]", 1)).await;
        // The event says b, and its sign is z.
        write_online(&feed, row(11, 'z')).await;
        feed.apply(PROJECT).await;
        feed.push(&[row(11, 'b')], false).await;
        assert!(is_served(&feed, row(11, 'z')).await);
        assert_eq!(feed.materialize(Scope::Incremental).await.state, RunState::Succeeded);
        assert!(is_served(&feed, row(11, 'b')).await);
        // Once.
        assert_eq!(feed.materialize(Scope::Incremental).await.progress.read, 0);
    }
}
