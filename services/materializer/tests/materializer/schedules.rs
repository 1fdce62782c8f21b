//! When a schedule asks for a run, and that the materializer makes it.

use std::{path::Path, sync::Arc};

use larder_definitions::{
    Catalog, ChangeSet, ProjectState, ResolvedView, RevisionMeta, apply,
    run::{MaterializeRequest, Run, RunEvent, RunEventKind, RunRequest, RunState, Scope, apply_event},
    yaml::read_text,
};
use larder_materializer::schedule::{Due, due};
use larder_types::{Name, ProjectNumber, Timestamp};

use crate::feed::{Feed, HOURLY, PROJECT, Row};

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

#[test]
fn a_tick_is_due_once_made_up_once_and_skipped_during_a_run() {
    let view = view();
    let declared = "2026-01-01T00:30:00Z";
    let (run_of, skipped) = (|tick: &str| Due::Run(at(tick)), |tick: &str| Due::Skipped(at(tick)));
    let cases: Vec<(&str, Vec<Run>, &str, Due)> = vec![
        ("nothing before the first tick", vec![], "2026-01-01T00:59:59Z", Due::Nothing),
        ("the first tick", vec![], "2026-01-01T01:00:00Z", run_of("2026-01-01T01:00:00Z")),
        ("several missed: the last", vec![], "2026-01-01T05:20:00Z", run_of("2026-01-01T05:00:00Z")),
        (
            "done already",
            vec![run(Some("2026-01-01T01:00:00Z"), "2026-01-01T01:00:01Z", Some("2026-01-01T01:01:00Z"))],
            "2026-01-01T01:59:59Z",
            Due::Nothing,
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
            Due::Nothing,
        ),
    ];
    for (what, runs, now, expected) in cases {
        assert_eq!(due(&view, at(declared), &runs, at(now)).unwrap(), expected, "{what}");
    }
    // Applying again after a missed tick does not make it forgotten.
    let runs = [run(Some("2026-01-01T01:00:00Z"), "2026-01-01T01:00:01Z", Some("2026-01-01T01:01:00Z"))];
    let again = due(&view, at("2026-01-01T02:30:00Z"), &runs, at("2026-01-01T02:40:00Z")).unwrap();
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
