//! A run that was stopped in the middle is done by another worker: what is left of it, and nothing else.

use std::{
    fs,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use larder_definitions::run::{LEASE_TERM, Run, RunState, Scope};
use tokio_util::sync::CancellationToken;

use crate::{
    feed::{Feed, Row},
    interrupted::{Interrupted, Slow},
};

const FILES: i64 = 6;

fn row(id: i64, event: i64, letter: char) -> Row {
    Row { id, event, created: None, deleted: false, letter }
}

/// One file a month, so to speak, each with a row of every customer; the clock stands after all of them.
async fn months() -> Feed {
    let feed = Feed::new(false).await;
    for file in 0..FILES {
        let rows: Vec<Row> = (0..10).map(|id| row(id, 10 * file + id % 10, 'a')).collect();
        feed.write(&format!("{file}.parquet"), &rows, true);
    }
    feed.clock.advance(Duration::from_secs(3600 * 24));
    feed
}

/// Works on the run until its process is stopped at the write after `writes`.
async fn interrupted(feed: &Feed, run: &Run, writes: u32, is_done: bool) -> Run {
    let stop = CancellationToken::new();
    let writes_left = writes.into();
    let store = Interrupted { store: feed.store.clone(), writes_left, is_done, stop: Some(stop.clone()) };
    let run = feed.work(run, Arc::new(store), &stop).await;
    feed.clock.advance(LEASE_TERM);
    run
}

#[tokio::test]
async fn does_what_is_left_and_reads_nothing_twice() {
    for is_done in [false, true] {
        let feed = months().await;
        let run = feed.create(Scope::Full).await;
        let stopped = interrupted(&feed, &run, 4, is_done).await;
        assert_eq!((stopped.state, stopped.progress.parts_done), (RunState::Running, 4), "{stopped:?}");
        // The latest are done: they are not even opened again.
        let plan = stopped.plan.clone().unwrap();
        let done = plan.parts.iter().zip(&stopped.parts_done).filter(|(_, done)| **done);
        let latest: Vec<i64> =
            done.map(|(part, _)| part.event_times.unwrap().first.as_micros() / 600_000_000).collect();
        assert_eq!(latest, [2, 3, 4, 5]);
        for file in latest {
            fs::remove_file(feed.path(&format!("{file}.parquet"))).unwrap();
        }
        let run = feed.work(&run, feed.store.clone(), &CancellationToken::new()).await;
        assert_eq!(run.state, RunState::Succeeded, "{run:?}");
        assert_eq!((run.progress.read, run.progress.parts_done, run.progress.parts), (60, 6, 6));
        assert_eq!((run.progress.written, run.progress.older), (10, 50));
        let expected: Vec<Row> = (0..10).map(|id| row(id, 50 + id, 'a')).collect();
        assert_eq!(feed.served(&(0..10).collect::<Vec<_>>()).await, feed.expected(&expected).await);
        assert_eq!(run.plan.unwrap().started_at, plan.started_at, "the plan stays as it was fixed");
    }
}

#[tokio::test]
async fn a_store_that_is_away_for_a_while_does_not_fail_the_run() {
    let feed = months().await;
    let run = feed.create(Scope::Full).await;
    let away = Interrupted { store: feed.store.clone(), writes_left: 3.into(), is_done: false, stop: None };
    let left = feed.work(&run, Arc::new(away), &CancellationToken::new()).await;
    assert_eq!((left.state, left.progress.parts_done), (RunState::Running, 3));
    feed.clock.advance(LEASE_TERM);
    let run = feed.work(&run, feed.store.clone(), &CancellationToken::new()).await;
    assert_eq!((run.state, run.progress.read), (RunState::Succeeded, 60));
}

/// Errors that may pass end a run when they come often in a row; that it was interrupted often is no such error.
#[tokio::test]
async fn a_run_fails_when_no_attempt_of_many_comes_further() {
    const ATTEMPTS: usize = 20;
    let feed = months().await;
    let run = feed.create(Scope::Full).await;
    for _ in 0..ATTEMPTS {
        interrupted(&feed, &run, 0, false).await;
    }
    // The first attempt comes further, and so does one in between.
    let away = Arc::new(Interrupted { store: feed.store.clone(), writes_left: 1.into(), is_done: false, stop: None });
    let worker = feed.worker(Arc::clone(&away) as _);
    let stop = CancellationToken::new();
    for attempt in 1..=ATTEMPTS + 5 {
        if attempt == 6 {
            away.writes_left.store(1, Ordering::Relaxed);
        }
        worker.work(&feed.project, &run.id, &stop).await.unwrap();
        let now = feed.run(&run.id).await;
        let is_last = attempt == ATTEMPTS + 5;
        assert_eq!(now.state, if is_last { RunState::Failed } else { RunState::Running }, "{attempt}: {now:?}");
        feed.clock.advance(LEASE_TERM);
    }
}

#[tokio::test]
async fn a_long_run_of_a_view_keeps_no_other_view_waiting() {
    let feed = months().await;
    let long = feed.create(Scope::Full).await;
    let next = feed.create(Scope::Full).await;
    let go_on = CancellationToken::new();
    let slow = Slow { store: feed.store.clone(), writes: 0.into(), go_on: go_on.clone() };
    let (_, shutdown) = feed.service_on(Arc::new(slow));
    feed.eventually(&long.id, |run| run.progress.read == 60).await;
    let other = feed.create_of("other", Scope::Full).await;
    assert_eq!(feed.ended(&other.id).await.state, RunState::Succeeded);
    let (long, next) = (feed.run(&long.id).await, feed.run(&next.id).await);
    assert_eq!((long.state, next.state), (RunState::Running, RunState::Pending), "one of each view");
    go_on.cancel();
    for run in [long, next] {
        assert_eq!(feed.ended(&run.id).await.state, RunState::Succeeded);
    }
    shutdown.begin("the test is over");
}

#[tokio::test]
async fn a_file_with_a_row_of_the_far_future_does_not_make_others_be_read_again() {
    let feed = Feed::new(false).await;
    feed.clock.advance(Duration::from_secs(3600));
    feed.write("a.parquet", &[row(1, 0, 'a'), row(2, 4_000_000_000, 'a')], true);
    feed.write("b.parquet", &[row(3, 10, 'b')], true);
    assert_eq!(feed.materialize(Scope::Incremental).await.progress.parts, 2);
    feed.write("c.parquet", &[row(3, 11, 'c')], true);
    let run = feed.materialize(Scope::Incremental).await;
    assert_eq!((run.progress.parts, run.progress.read, run.progress.future), (2, 3, 1), "the new one and that one");
    let expected = [row(1, 0, 'a'), row(3, 11, 'c')];
    assert_eq!(feed.served(&[1, 2, 3]).await, feed.expected(&expected).await);
}

#[tokio::test]
async fn a_file_that_is_left_and_changed_fails_the_run_by_name() {
    let feed = months().await;
    let run = feed.create(Scope::Full).await;
    interrupted(&feed, &run, 2, true).await;
    feed.write("0.parquet", &[row(1, 0, 'z'), row(2, 0, 'z')], true);
    let run = feed.work(&run, feed.store.clone(), &CancellationToken::new()).await;
    assert_eq!(run.state, RunState::Failed);
    let error = run.error.unwrap();
    assert!(error.contains("0.parquet` was changed since it was listed"), "{error}");
    // The watermark stays: the next incremental run reads all files.
    let next = feed.materialize(Scope::Incremental).await;
    assert_eq!((next.state, next.progress.parts, next.progress.read), (RunState::Succeeded, 6, 52));
}

#[tokio::test]
async fn files_that_overlap_are_done_together() {
    let feed = Feed::new(false).await;
    feed.write("a.parquet", &[row(1, 0, 'a'), row(2, 10, 'a')], true);
    feed.write("b.parquet", &[row(1, 10, 'b'), row(2, 10, 'b')], true);
    feed.write("c.parquet", &[row(1, 11, 'c')], true);
    // Without statistics the times are found all the same.
    feed.write("d.parquet", &[row(1, 12, 'd')], false);
    feed.clock.advance(Duration::from_secs(3600));
    let run = feed.create(Scope::Full).await;
    for (writes, parts_done) in [(1, 1), (1, 2), (0, 2)] {
        assert_eq!(interrupted(&feed, &run, writes, true).await.progress.parts_done, parts_done);
    }
    let run = feed.work(&run, feed.store.clone(), &CancellationToken::new()).await;
    assert_eq!((run.state, run.progress.read), (RunState::Succeeded, 6));
    let expected = [row(1, 12, 'd'), row(2, 10, 'b')];
    assert_eq!(feed.served(&[1, 2]).await, feed.expected(&expected).await);
}

#[tokio::test]
async fn a_range_reads_only_files_that_have_rows_in_it_and_moves_no_watermark() {
    let feed = months().await;
    let at = |minute: i64| larder_types::Timestamp::from_micros(minute * 60_000_000);
    let run = feed.materialize(Scope::Range { start: at(10), end: at(20) }).await;
    assert_eq!(
        (run.state, run.progress.parts, run.progress.read, run.progress.written),
        (RunState::Succeeded, 1, 10, 10)
    );
    let next = feed.materialize(Scope::Incremental).await;
    assert_eq!(next.progress.parts, 6);
}

#[tokio::test]
async fn rows_after_the_start_are_left_for_a_later_run() {
    let feed = Feed::new(false).await;
    let pushed = |event: i64, letter| Row { created: Some(event), ..row(2, event, letter) };
    feed.clock.advance(Duration::from_secs(60));
    feed.write("a.parquet", &[row(1, 1, 'a'), row(1, 30, 'b')], true);
    feed.push(&[pushed(0, 'c')], false).await;
    feed.push(&[pushed(31, 'd')], false).await;
    feed.push(&[pushed(1, 'e')], false).await;
    let run = feed.materialize(Scope::Incremental).await;
    assert_eq!((run.progress.future, run.progress.read), (2, 5));
    assert_eq!(feed.served(&[1, 2]).await, feed.expected(&[row(1, 1, 'a'), pushed(1, 'e')]).await);
    feed.clock.advance(Duration::from_secs(3600));
    let run = feed.materialize(Scope::Incremental).await;
    assert_eq!((run.progress.future, run.progress.parts), (0, 2));
    assert_eq!(feed.served(&[1, 2]).await, feed.expected(&[row(1, 30, 'b'), pushed(31, 'd')]).await);
    let run = feed.materialize(Scope::Incremental).await;
    assert_eq!(run.progress.parts, 0, "all was read");
}
