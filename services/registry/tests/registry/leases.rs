//! Runs and their leases, by the registry's clock: who may write for a run, until when, and what moves a watermark.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, future::join_all};
use larder_client::{RunFilter, RunsClient};
use larder_definitions::run::{
    LEASE_TERM, MaterializeRequest, Outcome, Part, PartKind, Position, Progress, Run, RunPlan, RunRequest, RunState,
    Scope, TrainingSetRequest, Watermark, WatermarkKey,
};
use larder_test_kit::{NEW_YEAR, clock};
use larder_types::{
    Error, ErrorCode, LeaseNumber, ManualClock, Result, Revision, RowSetNumber, SchemaNumber, Timestamp,
};

use crate::{
    declared::{BASE, declare_base, whole},
    surroundings::{PATIENCE, Registry, Storage, name, project},
};

const MICROSECOND: Duration = Duration::from_micros(1);

pub(crate) fn materialize(view: &str) -> RunRequest {
    RunRequest::Materialize(MaterializeRequest { view: name(view), scope: Scope::Incremental, tick: None })
}

fn range(start: i64, end: i64) -> RunRequest {
    let [start, end] = [start, end].map(Timestamp::from_micros);
    RunRequest::Materialize(MaterializeRequest {
        view: name("profile"),
        scope: Scope::Range { start, end },
        tick: None,
    })
}

/// The base, another view, and one that is not served.
async fn declare_more_views(registry: &Registry) {
    let views = "  - { name: other, entities: [customer], source: history, features: [{ name: debt, type: int64 }] }
  - { name: offline_only, entities: [customer], source: history, online: false, features: [{ name: city, type: string }] }
on_demand_feature_views:";
    let declared = BASE.replace("on_demand_feature_views:", views);
    registry.definitions().apply(&project(), &whole(&declared)).await.unwrap();
}

/// Two parts of the push log, and a watermark at segment `reached`.
pub(crate) fn plan(revision: u64, reached: u64) -> RunPlan {
    let at = |segment| BTreeMap::from([("writer".to_owned(), segment)]);
    let part = |from, to| {
        let what = PartKind::Log { from: at(from), to: at(to) };
        Part { source: name("pushed"), what, event_times: None, replaces: false }
    };
    let key =
        WatermarkKey { row_set: RowSetNumber(1), source: name("pushed"), query: "log".into(), schema: SchemaNumber(1) };
    RunPlan {
        revision: Revision(revision),
        started_at: NEW_YEAR,
        row_set: Some(RowSetNumber(1)),
        parts: vec![part(0, 1), part(1, reached)],
        watermarks: vec![Watermark { key, position: Position::Log(at(reached)) }],
        spine: None,
        gone: Vec::new(),
        meets: 0,
    }
}

pub(crate) fn counts(read: u64) -> Progress {
    Progress { read, written: read, ..Progress::default() }
}

pub(crate) fn succeeded() -> Outcome {
    Outcome::Succeeded { progress: counts(20), result: None }
}

fn failed() -> Outcome {
    Outcome::Failed { error: "no such file".to_owned() }
}

/// How far the push log was read into row set 1.
pub(crate) async fn watermark(runs: &RunsClient) -> Option<u64> {
    let found = runs.row_set(&project(), RowSetNumber(1)).await.unwrap().watermarks;
    assert!(found.len() < 2);
    found.first().map(|watermark| match &watermark.position {
        Position::Log(position) => position["writer"],
        other @ (Position::Files(_) | Position::Time(_)) => panic!("{other:?}"),
    })
}

/// A registry with the base, its clock, and its runs.
async fn rig() -> (Storage, Registry, ManualClock, RunsClient) {
    let (storage, clock) = (Storage::in_memory(), clock());
    let registry = Registry::start(&storage, &clock).await;
    declare_base(&registry.definitions()).await;
    let runs = RunsClient::new(registry.over_a_port().await).within(PATIENCE);
    (storage, registry, clock, runs)
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> ErrorCode {
    result.unwrap_err().code()
}

/// Creates, takes and plans a run, under lease 1.
async fn begun(runs: &RunsClient, id: &str, reached: u64) {
    runs.create(&project(), id, &materialize("profile")).await.unwrap();
    let grant = runs.acquire_lease(&project(), id, "ada").await.unwrap();
    assert_eq!((grant.lease, grant.term, grant.run.state), (LeaseNumber(1), LEASE_TERM, RunState::Running));
    runs.plan(&project(), id, LeaseNumber(1), &plan(1, reached)).await.unwrap();
}

async fn do_all_parts(runs: &RunsClient, id: &str) {
    for part in 0..2 {
        runs.complete_parts(&project(), id, LeaseNumber(1), &[part], &counts(10)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_id_that_is_created_many_times_is_one_run() {
    let (storage, registry, clock, runs) = rig().await;
    let ways = registry.both_ways().await;
    let creating = (0..8).map(|number: usize| {
        let runs = RunsClient::new(ways[number % 2].clone()).within(PATIENCE);
        tokio::spawn(async move {
            let request = range(number as i64, number as i64 + 1);
            runs.create(&project(), "profile@2026-01-01T00:00:00Z", &request).await.unwrap()
        })
    });
    let answers: Vec<_> = join_all(creating).await.into_iter().map(std::result::Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|(_, created)| *created).count(), 1);
    assert!(answers.iter().all(|(run, _)| *run == answers[0].0), "everybody is given the one that is there");
    let again = Registry::start(&storage, &clock).await.runs();
    let (run, created) = again.create(&project(), "profile@2026-01-01T00:00:00Z", &materialize("gone")).await.unwrap();
    assert_eq!((run, created), (answers[0].0.clone(), false), "also after a restart");

    let [(one, true), (other, true)] = [
        runs.create(&project(), "", &materialize("profile")).await.unwrap(),
        runs.create(&project(), "", &materialize("profile")).await.unwrap(),
    ] else {
        panic!("an empty id is a new run")
    };
    assert!(!one.id.is_empty() && one.id != other.id);
    assert_eq!((one.created_at, one.state), (NEW_YEAR, RunState::Pending));
    assert_eq!(code(runs.get(&project(), "nobody's").await), ErrorCode::NotFound);
    assert_eq!(code(runs.create(&name("ledger"), "x", &materialize("profile")).await), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_lease_is_for_one_until_it_is_over_and_each_is_numbered_higher() {
    let (_storage, _registry, clock, runs) = rig().await;
    runs.create(&project(), "r", &materialize("profile")).await.unwrap();
    let holders = ["ada", "bob", "eve", "ada"];
    for (number, holder) in (1..).zip(holders) {
        let grant = runs.acquire_lease(&project(), "r", holder).await.unwrap();
        assert_eq!((grant.lease, grant.run.lease), (LeaseNumber(number), Some((LeaseNumber(number), holder.into()))));
        for other in ["bob", holder] {
            let error = runs.acquire_lease(&project(), "r", other).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Conflict);
            assert_eq!(error.message(), format!("run r is worked on by {holder} under lease {number}"));
        }
        clock.advance(LEASE_TERM - MICROSECOND);
        assert_eq!(code(runs.acquire_lease(&project(), "r", "bob").await), ErrorCode::Conflict);
        clock.advance(MICROSECOND);
    }
    // Reported on, it lasts a term from then.
    for _ in 0..3 {
        assert!(!runs.report_progress(&project(), "r", LeaseNumber(4), &counts(3), None).await.unwrap());
        clock.advance(LEASE_TERM - MICROSECOND);
        assert_eq!(code(runs.acquire_lease(&project(), "r", "bob").await), ErrorCode::Conflict);
    }
    // Nobody took it when it was over: its holder may go on.
    clock.advance(LEASE_TERM);
    runs.report_progress(&project(), "r", LeaseNumber(4), &counts(3), None).await.unwrap();
    assert_eq!(code(runs.acquire_lease(&project(), "r", "bob").await), ErrorCode::Conflict);
    clock.advance(LEASE_TERM);
    assert_eq!(runs.acquire_lease(&project(), "r", "bob").await.unwrap().lease, LeaseNumber(5));
    assert_eq!(code(runs.acquire_lease(&project(), "nobody's", "bob").await), ErrorCode::NotFound);
}

/// Every call that a worker makes, under `lease`.
async fn all_calls(runs: &RunsClient, id: &str, lease: LeaseNumber) -> Vec<(&'static str, Result<()>)> {
    let project = project();
    let nothing = |_| ();
    vec![
        ("report", runs.report_progress(&project, id, lease, &counts(99), None).await.map(nothing)),
        ("plan", runs.plan(&project, id, lease, &plan(9, 99)).await.map(|_| ())),
        ("part", runs.complete_parts(&project, id, lease, &[1], &counts(99)).await),
        ("fail", runs.finish(&project, id, lease, &failed()).await.map(|_| ())),
        ("cancelled", runs.finish(&project, id, lease, &Outcome::Cancelled).await.map(|_| ())),
        ("succeed", runs.finish(&project, id, lease, &succeeded()).await.map(|_| ())),
    ]
}

#[tokio::test]
async fn another_lease_than_the_newest_changes_nothing() {
    let (storage, _registry, clock, runs) = rig().await;
    begun(&runs, "r", 5).await;
    runs.complete_parts(&project(), "r", LeaseNumber(1), &[0], &counts(10)).await.unwrap();
    clock.advance(LEASE_TERM);
    assert_eq!(runs.acquire_lease(&project(), "r", "bob").await.unwrap().lease, LeaseNumber(2));
    let (before, kept) = (runs.get(&project(), "r").await.unwrap(), storage.contents().await);
    for lease in [1, 3] {
        for (what, answer) in all_calls(&runs, "r", LeaseNumber(lease)).await {
            let error = answer.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Conflict, "{what}: {error}");
            assert!(error.message().contains("bob holds lease 2; stop working on it"), "{what}: {error}");
        }
    }
    assert_eq!(runs.get(&project(), "r").await.unwrap(), before);
    assert!(storage.contents().await == kept);
    // It did not keep the run from the next one either.
    clock.advance(LEASE_TERM);
    assert_eq!(runs.acquire_lease(&project(), "r", "eve").await.unwrap().lease, LeaseNumber(3));

    runs.create(&project(), "fresh", &materialize("profile")).await.unwrap();
    for (what, answer) in all_calls(&runs, "fresh", LeaseNumber(1)).await {
        assert_eq!(code(answer), ErrorCode::Conflict, "{what}: nobody has taken it");
    }
    assert_eq!(runs.get(&project(), "fresh").await.unwrap().state, RunState::Pending);
    assert_eq!(watermark(&runs).await, None);
}

#[tokio::test]
async fn the_next_worker_goes_on_by_the_plan_that_is_there() {
    let (_storage, _registry, clock, runs) = rig().await;
    begun(&runs, "r", 5).await;
    runs.complete_parts(&project(), "r", LeaseNumber(1), &[1], &counts(10)).await.unwrap();
    clock.advance(LEASE_TERM);
    let grant = runs.acquire_lease(&project(), "r", "bob").await.unwrap();
    assert_eq!((grant.run.plan.as_deref(), &grant.run.parts_done[..]), (Some(&plan(1, 5)), &[false, true][..]));
    let planned = runs.plan(&project(), "r", grant.lease, &plan(2, 77)).await.unwrap();
    assert_eq!(planned.plan.as_deref(), Some(&plan(1, 5)), "the first plan stays");
    let error = runs.finish(&project(), "r", grant.lease, &succeeded()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::FailedPrecondition);
    assert!(error.message().contains("1 of its 2 parts are not done"), "{error}");
    for _ in 0..2 {
        runs.complete_parts(&project(), "r", grant.lease, &[0], &counts(20)).await.unwrap();
    }
    let error = runs.complete_parts(&project(), "r", grant.lease, &[2], &counts(20)).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (ErrorCode::FailedPrecondition, "run r has no part 2"));
    assert_eq!(watermark(&runs).await, None, "not before the end");
    let done = runs.finish(&project(), "r", grant.lease, &succeeded()).await.unwrap();
    assert_eq!(
        (done.state, done.ended_at, done.progress.parts_done),
        (RunState::Succeeded, Some(NEW_YEAR.plus(LEASE_TERM)), 2)
    );
    assert_eq!(watermark(&runs).await, Some(5));
}

#[tokio::test]
async fn only_a_success_moves_a_watermark_and_never_back() {
    let (storage, _registry, clock, runs) = rig().await;
    for (id, reached, outcome, expected) in [
        ("failed", 5, failed(), None),
        ("cancelled", 6, Outcome::Cancelled, None),
        ("first", 4, succeeded(), Some(4)),
        ("failed again", 9, failed(), Some(4)),
        ("further", 8, succeeded(), Some(8)),
        ("of before", 7, succeeded(), Some(8)),
    ] {
        begun(&runs, id, reached).await;
        do_all_parts(&runs, id).await;
        let before = watermark(&runs).await;
        assert_eq!(watermark(&runs).await, before);
        let ended = runs.finish(&project(), id, LeaseNumber(1), &outcome).await.unwrap();
        assert!(ended.state.is_final() && ended.ended_at.is_some());
        assert_eq!(watermark(&runs).await, expected, "{id}");
    }
    assert!(runs.row_set(&project(), RowSetNumber(2)).await.unwrap().watermarks.is_empty());
    assert_eq!(watermark(&Registry::start(&storage, &clock).await.runs()).await, Some(8));
}

/// The answer may have been lost: what was said once may be said again, and nothing else may follow.
#[tokio::test]
async fn an_end_may_be_told_twice_and_nothing_follows_it() {
    let (storage, _registry, clock, runs) = rig().await;
    for (id, outcome) in [("s", succeeded()), ("f", failed()), ("c", Outcome::Cancelled)] {
        begun(&runs, id, 5).await;
        do_all_parts(&runs, id).await;
        let ended = runs.finish(&project(), id, LeaseNumber(1), &outcome).await.unwrap();
        let kept = storage.contents().await;
        clock.advance(Duration::from_secs(1));
        assert_eq!(runs.finish(&project(), id, LeaseNumber(1), &outcome).await.unwrap(), ended);
        for other in [succeeded(), failed(), Outcome::Cancelled].into_iter().filter(|other| *other != outcome) {
            let answer = runs.finish(&project(), id, LeaseNumber(1), &other).await;
            assert_eq!(code(answer), ErrorCode::FailedPrecondition, "{id} {other:?}");
        }
        let report = runs.report_progress(&project(), id, LeaseNumber(1), &counts(9), None).await;
        assert_eq!(code(report), ErrorCode::FailedPrecondition);
        clock.advance(LEASE_TERM);
        assert_eq!(code(runs.acquire_lease(&project(), id, "bob").await), ErrorCode::FailedPrecondition);
        assert_eq!(runs.cancel(&project(), id).await.unwrap(), ended, "what has ended stays as it is");
        assert_eq!(runs.get(&project(), id).await.unwrap(), ended);
        assert!(storage.contents().await == kept);
    }
}

#[tokio::test]
async fn a_run_that_is_not_wanted_ends_at_once_or_by_its_worker() {
    let (_storage, _registry, clock, runs) = rig().await;
    runs.create(&project(), "pending", &materialize("profile")).await.unwrap();
    let ended = runs.cancel(&project(), "pending").await.unwrap();
    assert_eq!((ended.state, ended.ended_at), (RunState::Cancelled, Some(NEW_YEAR)));
    assert_eq!(code(runs.acquire_lease(&project(), "pending", "ada").await), ErrorCode::FailedPrecondition);

    begun(&runs, "running", 5).await;
    for _ in 0..2 {
        let asked = runs.cancel(&project(), "running").await.unwrap();
        assert_eq!((asked.state, asked.cancel_requested), (RunState::Running, true));
    }
    assert!(runs.report_progress(&project(), "running", LeaseNumber(1), &counts(1), None).await.unwrap());
    // Its worker died before it heard of it: the next one does.
    clock.advance(LEASE_TERM);
    let grant = runs.acquire_lease(&project(), "running", "bob").await.unwrap();
    assert!(grant.run.cancel_requested);
    let ended = runs.finish(&project(), "running", grant.lease, &Outcome::Cancelled).await.unwrap();
    assert_eq!(ended.state, RunState::Cancelled);
    assert_eq!(code(runs.cancel(&project(), "nobody's").await), ErrorCode::NotFound);
}

/// Whoever looks at the run sees it, whoever works on it next, until something of it is done.
#[tokio::test]
async fn what_ended_the_last_attempt_is_told_while_it_lasts() {
    let (_storage, _registry, clock, runs) = rig().await;
    begun(&runs, "r", 5).await;
    let error = async || runs.get(&project(), "r").await.unwrap().error;
    let report = async |lease, trouble: Option<&str>| {
        runs.report_progress(&project(), "r", LeaseNumber(lease), &counts(1), trouble).await.unwrap();
    };
    assert_eq!(error().await, None);
    report(1, Some("the disk is full")).await;
    assert_eq!(error().await.as_deref(), Some("the disk is full"));
    clock.advance(LEASE_TERM);
    runs.acquire_lease(&project(), "r", "bob").await.unwrap();
    report(2, None).await;
    assert_eq!(error().await.as_deref(), Some("the disk is full"));
    report(2, Some(&"x".repeat(20_000))).await;
    assert_eq!(error().await.unwrap().len(), (16 << 10) + '…'.len_utf8());
    runs.complete_parts(&project(), "r", LeaseNumber(2), &[0], &counts(1)).await.unwrap();
    assert_eq!(error().await, None);
}

#[tokio::test]
async fn a_run_is_watched_to_its_end() {
    let (_storage, registry, _clock, runs) = rig().await;
    begun(&runs, "r", 5).await;
    for watching in [runs.clone(), registry.runs()] {
        let mut watched = watching.watch(&project(), "r").await.unwrap();
        let first = watched.next().await.unwrap().unwrap();
        assert_eq!(first, runs.get(&project(), "r").await.unwrap().without_parts());
        runs.report_progress(&project(), "r", LeaseNumber(1), &counts(first.progress.read + 7), None).await.unwrap();
        let next = watched.next().await.unwrap().unwrap();
        assert_eq!((next.state, next.progress.read), (RunState::Running, first.progress.read + 7));
    }
    let mut watched = runs.watch(&project(), "r").await.unwrap();
    do_all_parts(&runs, "r").await;
    let ended = runs.finish(&project(), "r", LeaseNumber(1), &succeeded()).await.unwrap();
    let mut told: Vec<Run> = Vec::new();
    while let Some(run) = watched.next().await {
        told.push(run.unwrap());
    }
    assert_eq!(told.last(), Some(&ended));
    assert!(told.iter().rev().skip(1).all(|run| run.state == RunState::Running), "{told:?}");

    begun(&runs, "left", 5).await;
    let mut watched = runs.watch(&project(), "left").await.unwrap();
    watched.next().await.unwrap().unwrap();
    registry.stop();
    let error = watched.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(code(runs.watch(&project(), "nobody's").await.map(|_| ())), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_schedules_run_is_for_an_instant_that_has_come() {
    let (_storage, _registry, clock, runs) = rig().await;
    let request = |ahead: u64| {
        let tick = Some(NEW_YEAR.plus(Duration::from_secs(ahead)));
        RunRequest::Materialize(MaterializeRequest { view: name("profile"), scope: Scope::Incremental, tick })
    };
    let error = runs.create(&project(), "early", &request(3600)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert_eq!(error.violations()[0].field, "request.materialize.tick");
    assert!(
        error.message().contains("2026-01-01T01:00:00Z is later than now, which is 2026-01-01T00:00:00Z"),
        "{error}"
    );
    runs.create(&project(), "clocks differ", &request(59)).await.unwrap();
    clock.advance(Duration::from_secs(3600));
    runs.create(&project(), "early", &request(3600)).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_materialized_makes_no_run() {
    let (_storage, registry, _clock, runs) = rig().await;
    declare_more_views(&registry).await;
    for (request, code, says) in [
        (materialize("profil"), ErrorCode::NotFound, "no feature view `profil`; did you mean profile?"),
        (materialize("ratios"), ErrorCode::NotFound, "no feature view `ratios`"),
        (materialize("offline_only"), ErrorCode::FailedPrecondition, "is not served (`online: false`)"),
        (range(7, 7), ErrorCode::InvalidArgument, "is empty: 1970-01-01T00:00:00.000007Z is not before"),
    ] {
        let error = runs.create(&project(), "r", &request).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(says), "{error}");
        let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        let is_range = code == ErrorCode::InvalidArgument;
        assert_eq!(fields, if is_range { vec!["request.materialize.scope.range"] } else { vec![] });
    }
    assert_eq!(runs.list(&project(), &RunFilter::default()).await.unwrap().runs, []);
    runs.create(&project(), "r", &range(7, 8)).await.unwrap();
    // What is there is answered, though it could not be made any more.
    let (run, created) = runs.create(&project(), "r", &materialize("profil")).await.unwrap();
    assert_eq!((run.request, created), (range(7, 8), false));
}

#[tokio::test]
async fn a_run_that_is_not_named_is_missing_in_the_request() {
    let (_storage, _registry, _clock, runs) = rig().await;
    let no_run = |error: Error| {
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
        assert_eq!(error.message(), "run_id: is missing: name a run");
        assert_eq!(error.violations()[0].field, "run_id");
    };
    no_run(runs.get(&project(), "").await.unwrap_err());
    no_run(runs.watch(&project(), "").await.map(drop).unwrap_err());
    no_run(runs.cancel(&project(), "").await.unwrap_err());
    no_run(runs.acquire_lease(&project(), "", "ada").await.unwrap_err());
    for (_, result) in all_calls(&runs, "", LeaseNumber(1)).await {
        no_run(result.unwrap_err());
    }
}

#[tokio::test]
async fn runs_are_listed_newest_first_by_view_and_state() {
    let (_storage, registry, clock, runs) = rig().await;
    declare_more_views(&registry).await;
    for number in 0..5 {
        clock.advance(Duration::from_secs(1));
        let view = if number % 2 == 0 { "profile" } else { "other" };
        runs.create(&project(), &format!("run_{number}"), &materialize(view)).await.unwrap();
    }
    let training = TrainingSetRequest {
        feature_service: Some(name("scoring")),
        references: Vec::new(),
        spine: "streamed".to_owned(),
        event_time: "t".to_owned(),
        output: "streamed".to_owned(),
        full_names: false,
    };
    clock.advance(Duration::from_secs(1));
    runs.create(&project(), "training", &RunRequest::TrainingSet(training)).await.unwrap();
    runs.cancel(&project(), "run_2").await.unwrap();
    runs.acquire_lease(&project(), "run_4", "ada").await.unwrap();
    let ids = async |filter: RunFilter| {
        let page = runs.list(&project(), &filter).await.unwrap();
        let ids: Vec<_> = page.runs.into_iter().map(|run| run.id).collect();
        (ids.join(" "), page.next_page_token)
    };
    let all = "training run_4 run_3 run_2 run_1 run_0".to_owned();
    assert_eq!(ids(RunFilter::default()).await, (all, None));
    let of_view = RunFilter { view: Some(name("profile")), ..RunFilter::default() };
    assert_eq!(ids(of_view.clone()).await.0, "run_4 run_2 run_0");
    let states = vec![RunState::Pending, RunState::Cancelled];
    assert_eq!(ids(RunFilter { states, ..of_view }).await.0, "run_2 run_0");
    let (first, token) = ids(RunFilter { page_size: 4, ..RunFilter::default() }).await;
    assert_eq!(first, "training run_4 run_3 run_2");
    // A run that is made meanwhile moves no page.
    runs.create(&project(), "meanwhile", &materialize("profile")).await.unwrap();
    let rest = RunFilter { page_size: 4, page_token: token.unwrap(), ..RunFilter::default() };
    assert_eq!(ids(rest).await, ("run_1 run_0".to_owned(), None));
    let wrong = RunFilter { page_token: "4".to_owned(), ..RunFilter::default() };
    assert_eq!(code(runs.list(&project(), &wrong).await), ErrorCode::InvalidArgument);
}
