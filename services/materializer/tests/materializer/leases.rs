//! Which runs are worked on, and for how long: the oldest first, and each for as long as its lease can be kept.

use std::{
    sync::{Arc, atomic::AtomicU32},
    task::{Context, Poll},
    time::Duration,
};

use larder_client::{RunsClient, Transport};
use larder_definitions::run::{RunState, Scope};
use larder_materializer::worker::Worker;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{BoxFuture, Service, StdError, http},
};

use crate::{
    feed::{Feed, Row},
    interrupted::Slow,
};

/// More than a page of runs.
const NEWER: usize = 501;

/// What becomes of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Answered,
    Refused(Code),
    Unanswered,
}

/// The way to a registry, on which the calls of one kind fare as the test says.
#[derive(Clone)]
pub(crate) struct Interposing {
    registry: Transport,
    method: &'static str,
    fate: Fate,
    /// From then on; before it they are answered.
    pub(crate) begins: CancellationToken,
    /// One of each such call.
    pub(crate) met: Arc<Semaphore>,
}

impl Interposing {
    pub(crate) fn new(registry: &Transport, method: &'static str, fate: Fate) -> Self {
        let (begins, met) = (CancellationToken::new(), Arc::new(Semaphore::new(0)));
        Self { registry: registry.clone(), method, fate, begins, met }
    }
}

impl Service<http::Request<Body>> for Interposing {
    type Response = http::Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, StdError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.registry.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if !request.uri().path().ends_with(self.method) || !self.begins.is_cancelled() {
            return self.registry.call(request);
        }
        self.met.add_permits(1);
        match self.fate {
            Fate::Answered => self.registry.call(request),
            Fate::Refused(code) => Box::pin(std::future::ready(Ok(Status::new(code, "as the test says").into_http()))),
            Fate::Unanswered => Box::pin(std::future::pending()),
        }
    }
}

async fn feed() -> Feed {
    let feed = Feed::new(false).await;
    feed.write("a.parquet", &[Row { id: 1, event: 0, created: None, deleted: false, letter: 'a' }], true);
    feed.clock.advance(Duration::from_secs(3600));
    feed
}

fn slow(feed: &Feed) -> (Arc<Slow>, CancellationToken) {
    let go_on = CancellationToken::new();
    (Arc::new(Slow { store: feed.store.clone(), writes: AtomicU32::new(0), go_on: go_on.clone() }), go_on)
}

#[tokio::test]
async fn a_run_is_had_though_more_than_a_page_of_others_is_newer() {
    let feed = feed().await;
    let oldest = feed.create(Scope::Full).await;
    feed.clock.advance(Duration::from_secs(1));
    for _ in 0..NEWER {
        feed.create_of("other", Scope::Full).await;
    }
    // While its first write waits, the other view's runs are as many as they were.
    let (store, _go_on) = slow(&feed);
    let (_, shutdown) = feed.service_on(store);
    feed.eventually(&oldest.id, |run| run.state != RunState::Pending).await;
    shutdown.begin("the test is over");
}

#[tokio::test]
async fn a_registry_that_is_away_is_asked_again_and_any_other_answer_ends_the_work() {
    for (code, is_kept) in [(Code::Unavailable, true), (Code::Internal, false), (Code::PermissionDenied, false)] {
        let feed = feed().await;
        let run = feed.create(Scope::Full).await;
        let (store, go_on) = slow(&feed);
        let registry = Interposing::new(&feed.to_registry, "/ReportProgress", Fate::Refused(code));
        registry.begins.cancel();
        let reports = Arc::clone(&registry.met);
        let worker = Worker { runs: RunsClient::new(Transport::in_process(registry)), ..feed.worker(store) };
        let third_report = async {
            let _ = reports.acquire_many(3).await;
            go_on.cancel();
        };
        let stop = CancellationToken::new();
        let working = worker.work(&feed.project, &run.id, &stop);
        let state = if is_kept {
            tokio::join!(working, third_report).0.unwrap();
            RunState::Succeeded
        } else {
            assert!(working.await.unwrap());
            assert_eq!(reports.available_permits(), 1, "{code}");
            RunState::Running
        };
        assert_eq!(feed.run(&run.id).await.state, state, "{code}");
    }
}

#[tokio::test]
async fn work_goes_on_while_the_registry_has_no_list_to_give() {
    // Three tasks ask for lists; one that is not answered waits, others ask again.
    for (fate, calls) in [(Fate::Refused(Code::Unavailable), 6), (Fate::Unanswered, 3)] {
        let feed = feed().await;
        let run = feed.create(Scope::Full).await;
        let (store, go_on) = slow(&feed);
        let registry = Interposing::new(&feed.to_registry, "/ListProjects", fate);
        let (_, shutdown) = feed.service_by(Transport::in_process(registry.clone()), Arc::clone(&store) as _);
        feed.eventually(&run.id, |run| run.plan.is_some()).await;
        registry.begins.cancel();
        let _ = registry.met.acquire_many(calls).await.unwrap();
        go_on.cancel();
        let run = feed.ended(&run.id).await;
        assert_eq!((run.state, run.lease.unwrap().0.0), (RunState::Succeeded, 1), "{fate:?}");
        shutdown.begin("the test is over");
    }
}
