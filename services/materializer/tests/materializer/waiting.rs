//! Runs that cannot be done now: they keep nobody waiting, and can be stopped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use larder_client::{RunsClient, Transport};
use larder_definitions::run::{LEASE_TERM, Run, RunState, Scope};
use larder_materializer::{config::Config, worker::Worker};
use larder_online_store::{KeyWrite, OnlineStore, RowOutcome, WriteMode, interposed::Interposed};
use larder_types::{Error, Result, RowSetNumber, Timestamp};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::{
    feed::{Feed, PATIENCE, PROJECT, Row},
    interrupted::Interrupted,
    leases::{Fate, Interposing},
};

const ROW: Row = Row { id: 1, event: 0, created: None, deleted: false, letter: 'a' };

/// Takes the rows of one row set, and is away for all others.
struct AwayFor {
    store: Arc<dyn OnlineStore>,
    taken: RowSetNumber,
    refused: AtomicU32,
}

#[async_trait]
impl Interposed for AwayFor {
    fn store(&self) -> &Arc<dyn OnlineStore> {
        &self.store
    }

    async fn on_write(&self, writes: Vec<KeyWrite>, mode: WriteMode, now: Timestamp) -> Result<Vec<RowOutcome>> {
        if writes.iter().flat_map(|write| &write.rows).all(|row| row.row_set == self.taken) {
            return self.store.write(writes, mode, now).await;
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(Error::unavailable("the store is away"))
    }
}

async fn feed() -> Feed {
    let feed = Feed::new(false).await;
    feed.write("a.parquet", &[ROW], true);
    feed.clock.advance(Duration::from_secs(3600));
    feed
}

#[tokio::test]
async fn runs_that_cannot_be_done_keep_no_other_view_waiting() {
    let feed = feed().await;
    let healthy =
        "  - { name: healthy, entities: [customer], source: files, features: [{ name: letter, type: string }] }";
    feed.apply(&PROJECT.replace("feature_services:", &format!("{healthy}\nfeature_services:"))).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let taken = feed.view_of("healthy").await.row_set;
    let left = [feed.create_of("profile", Scope::Full).await, feed.create_of("other", Scope::Full).await];
    let store = Arc::new(AwayFor { store: feed.store.clone(), taken, refused: AtomicU32::new(0) });
    let config = Config { concurrent_runs: 2, ..Config::default() };
    let (_client, shutdown) = feed.service_of(&config, feed.to_registry.clone(), Arc::clone(&store) as _);
    // Both have failed once and cannot be had again: their leases do not end as long as the clock stands.
    while store.refused.load(Ordering::Relaxed) < 2 {
        assert!(tokio::time::Instant::now() < deadline, "they are not tried");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..3 {
        let run = feed.create_of("healthy", Scope::Full).await;
        assert_eq!(feed.ended(&run.id).await.state, RunState::Succeeded);
    }
    // They are tried again all the same.
    let before = store.refused.load(Ordering::Relaxed);
    feed.clock.advance(LEASE_TERM);
    while store.refused.load(Ordering::Relaxed) < before + 2 {
        assert!(tokio::time::Instant::now() < deadline, "they are not tried again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for run in left {
        assert_eq!(feed.run(&run.id).await.state, RunState::Running);
    }
    shutdown.begin("the test is over");
}

/// Whoever takes it next ends it, without any work: the worker that failed, or one of another process.
#[tokio::test]
async fn a_run_that_fails_again_and_again_can_be_cancelled() {
    for has_plan in [false, true] {
        for is_another in [false, true] {
            let feed = feed().await;
            let run = feed.create(Scope::Full).await;
            let away = Interrupted { store: feed.store.clone(), writes_left: 0.into(), is_done: false, stop: None };
            let away: Arc<dyn OnlineStore> = Arc::new(away);
            let registry = Interposing::new(&feed.to_registry, "/GetWatermarks", Fate::Refused(Code::Unavailable));
            if !has_plan {
                registry.begins.cancel();
            }
            let runs = RunsClient::new(Transport::in_process(registry)).within(PATIENCE);
            let failing = Worker { runs, ..feed.worker(away) };
            let stop = CancellationToken::new();
            for _ in 0..2 {
                failing.work(&feed.project, &run.id, &stop).await.unwrap();
                let left = feed.run(&run.id).await;
                assert_eq!((left.state, left.plan.is_some()), (RunState::Running, has_plan));
                feed.clock.advance(LEASE_TERM);
            }
            let asked: Run = feed.runs.cancel(&feed.project, &run.id).await.unwrap();
            assert_eq!((asked.state, asked.cancel_requested), (RunState::Running, true));
            let ended = if is_another {
                feed.work(&run, feed.store.clone(), &stop).await
            } else {
                failing.work(&feed.project, &run.id, &stop).await.unwrap();
                feed.run(&run.id).await
            };
            assert_eq!(ended.state, RunState::Cancelled, "plan: {has_plan}, another: {is_another}");
            assert!(feed.served(&[1]).await.is_empty());
        }
    }
}
