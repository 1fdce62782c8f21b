//! When a schedule asks for a run, and that the materializer makes it.

use std::{path::Path, sync::Arc, time::Duration};

use larder_client::Transport;
use larder_definitions::{
    Catalog, ChangeSet, ProjectState, ResolvedView, RevisionMeta, apply,
    run::{MaterializeRequest, Run, RunEvent, RunEventKind, RunRequest, RunState, Scope, apply_event},
    yaml::read_text,
};
use larder_materializer::schedule::{Due, due, last_tick};
use larder_types::{Clock, ErrorCode, Name, ProjectNumber, Revision, Timestamp};

use crate::{
    feed::{Feed, HOURLY, PROJECT, Row},
    leases::{Fate, Interposing},
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn view() -> Arc<ResolvedView> {
    let objects =
        read_text("larder.yaml", Path::new("/repo"), &PROJECT.replace("CREATED", "").replace("SCHEDULE", HOURLY))
            .unwrap()
            .into_objects();
    let state = ProjectState::empty(Name::new("shop").unwrap(), ProjectNumber(1));
    let meta = RevisionMeta { at: at("2026-01-01T00:30:00Z"), principal: "ada".to_owned(), address: "here".to_owned() };
    let (_, state) = apply(&state, &ChangeSet::whole(&state, "test", objects), meta).unwrap().unwrap();
    Arc::clone(Catalog::build(&state).unwrap().feature_view("profile").unwrap())
}

/// A run from one time to another, or one that goes on; for a tick or by hand.
fn run(tick: Option<&str>, from: &str, until: Option<&str>) -> Run {
    let request =
        MaterializeRequest { view: Name::new("profile").unwrap(), scope: Scope::Incremental, tick: tick.map(at) };
    let event = RunEvent {
        run: "run".to_owned(),
        at: at(from),
        what: RunEventKind::Created {
            request: RunRequest::Materialize(request),
            principal: "ada".to_owned(),
            traceparent: None,
        },
    };
    let mut run = apply_event(None, &event).unwrap();
    if let Some(until) = until {
        run.state = RunState::Succeeded;
        run.ended_at = Some(at(until));
    }
    run
}

/// What it shows, the view's runs, until when, and what is decided of which tick.
type Case = (&'static str, Vec<Run>, &'static str, (Due, Timestamp));

#[test]
fn a_tick_is_due_once_made_up_once_and_skipped_during_a_run() {
    let view = view();
    let declared = "2026-01-01T00:30:00Z";
    // What is decided of the last tick until then.
    let decided = |declared: &str, runs: &[Run], now: &str| {
        let tick = last_tick(&view, at(now)).unwrap().unwrap();
        (due(tick, at(declared) <= tick, runs), tick)
    };
    let (run_of, skipped) = (|tick: &str| (Due::Run, at(tick)), |tick: &str| (Due::Skipped, at(tick)));
    let nothing = |tick: &str| (Due::Nothing, at(tick));
    let cases: Vec<Case> = vec![
        ("nothing before the first tick", vec![], "2026-01-01T00:59:59Z", nothing("2026-01-01T00:00:00Z")),
        ("the first tick", vec![], "2026-01-01T01:00:00Z", run_of("2026-01-01T01:00:00Z")),
        ("several missed: the last", vec![], "2026-01-01T05:20:00Z", run_of("2026-01-01T05:00:00Z")),
        (
            "done already",
            vec![run(Some("2026-01-01T01:00:00Z"), "2026-01-01T01:00:01Z", Some("2026-01-01T01:01:00Z"))],
            "2026-01-01T01:59:59Z",
            nothing("2026-01-01T01:00:00Z"),
        ),
        (
            "done for an instant that is far from having come: the clock was wrong then",
            vec![run(Some("2126-01-01T01:00:00Z"), "2026-01-01T00:40:00Z", Some("2026-01-01T00:41:00Z"))],
            "2026-01-01T01:00:00Z",
            run_of("2026-01-01T01:00:00Z"),
        ),
        (
            "the next one",
            vec![run(Some("2026-01-01T01:00:00Z"), "2026-01-01T01:00:01Z", Some("2026-01-01T01:01:00Z"))],
            "2026-01-01T02:00:00Z",
            run_of("2026-01-01T02:00:00Z"),
        ),
        (
            "during a run",
            vec![run(None, "2026-01-01T00:50:00Z", None)],
            "2026-01-01T01:10:00Z",
            skipped("2026-01-01T01:00:00Z"),
        ),
        (
            "skipped, since a run was going on",
            vec![run(None, "2026-01-01T00:50:00Z", Some("2026-01-01T01:20:00Z"))],
            "2026-01-01T01:30:00Z",
            skipped("2026-01-01T01:00:00Z"),
        ),
        (
            "after the skipped one",
            vec![run(None, "2026-01-01T00:50:00Z", Some("2026-01-01T01:20:00Z"))],
            "2026-01-01T02:00:00Z",
            run_of("2026-01-01T02:00:00Z"),
        ),
        (
            "a run by hand after the tick is no reason to skip it",
            vec![run(None, "2026-01-01T01:05:00Z", Some("2026-01-01T01:06:00Z"))],
            "2026-01-01T01:10:00Z",
            run_of("2026-01-01T01:00:00Z"),
        ),
        (
            "a run that began after the tick goes on",
            vec![run(None, "2026-01-01T01:05:00Z", None)],
            "2026-01-01T01:10:00Z",
            (Due::Later, at("2026-01-01T01:00:00Z")),
        ),
    ];
    for (what, runs, now, expected) in cases {
        assert_eq!(decided(declared, &runs, now), expected, "{what}");
    }
    // Applying again after a missed tick does not make it forgotten.
    let runs = [run(Some("2026-01-01T01:00:00Z"), "2026-01-01T01:00:01Z", Some("2026-01-01T01:01:00Z"))];
    let again = decided("2026-01-01T02:30:00Z", &runs, "2026-01-01T02:40:00Z");
    assert_eq!(again, run_of("2026-01-01T02:00:00Z"));
}

#[tokio::test]
async fn the_running_materializer_keeps_the_schedule() {
    let feed = Feed::scheduled().await;
    feed.clock.set(at("2026-01-01T00:10:00Z"));
    let row = Row { id: 1, event: 0, created: None, deleted: false, letter: 'a' };
    feed.write("a.parquet", &[row], true);
    let shutdown = feed.serve();
    for (now, id) in [("01:00:00", "profile@2026-01-01T01:00:00Z"), ("04:10:00", "profile@2026-01-01T04:00:00Z")] {
        feed.clock.set(at(&format!("2026-01-01T{now}Z")));
        let run = feed.ended(id).await;
        assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    }
    assert_eq!(feed.served(&[1]).await, feed.expected(&[row]).await);
    let runs = feed.all_runs().await;
    assert_eq!(runs.len(), 2, "missed ticks are made up by one run: {runs:?}");
    shutdown.begin("the test is over");
}

/// An apply while no materializer is there is no reason to forget a tick that came before it.
#[tokio::test]
async fn a_tick_that_was_missed_is_made_up_though_the_project_was_changed_since() {
    let feed = Feed::scheduled().await;
    feed.write("a.parquet", &[Row { id: 1, event: 0, created: None, deleted: false, letter: 'a' }], true);
    for service in ["one", "two"] {
        feed.clock.set(at("2026-01-01T01:10:00Z"));
        feed.apply(&PROJECT.replace("SCHEDULE", HOURLY).replace("name: all", &format!("name: {service}"))).await;
    }
    let shutdown = feed.serve();
    assert_eq!(feed.ended("profile@2026-01-01T01:00:00Z").await.state, RunState::Succeeded);
    shutdown.begin("the test is over");
}

/// A schedule asks for nothing that was before it.
#[tokio::test]
async fn a_tick_before_its_schedule_is_not_made_up() {
    let feed = Feed::new(false).await;
    feed.clock.set(at("2026-01-01T01:10:00Z"));
    feed.apply(&PROJECT.replace("SCHEDULE", HOURLY)).await;
    let registry = Interposing::new(&feed.to_registry, "/ListRevisions", Fate::Answered);
    registry.begins.cancel();
    let (_, shutdown) = feed.service_by(Transport::in_process(registry.clone()), feed.store.clone());
    // Then the tick of one o'clock is being decided.
    let _ = registry.met.acquire().await.unwrap();
    feed.clock.set(at("2026-01-01T02:10:00Z"));
    feed.ended("profile@2026-01-01T02:00:00Z").await;
    assert_eq!(feed.all_runs().await.len(), 1);
    shutdown.begin("the test is over");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_and_makes_no_run() {
    let feed = Feed::new(false).await;
    let (client, _shutdown) = feed.service();
    let tomorrow = Some(feed.clock.now().plus(Duration::from_secs(86_400)));
    let at = |micros| Timestamp::from_micros(micros);
    let any = Revision(0);
    for (error, field) in [
        (client.materialize_incremental(&feed.project, &[], tomorrow, any).await.unwrap_err(), "scheduled_at"),
        (client.materialize(&feed.project, &[], Some((at(1), at(1))), any).await.unwrap_err(), "range"),
        (client.get_run(&feed.project, "").await.unwrap_err(), "run_id"),
        (client.cancel_run(&feed.project, "").await.unwrap_err(), "run_id"),
        (client.watch_run(&feed.project, "").await.map(drop).unwrap_err(), "run_id"),
    ] {
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
        assert_eq!(error.violations()[0].field, field, "{error}");
    }
    // Within the deadline that the caller gave, the service says what it waited for.
    for given in [200, 2_000] {
        let hasty = client.within(Duration::from_millis(given));
        let error = hasty.materialize(&feed.project, &[], None, Revision(9)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
        assert!(error.message().contains("is at revision 1 here, and 9 did not come within"), "{error}");
    }
    assert_eq!(feed.all_runs().await, []);
}
