//! Runs: what may follow what, the fence of leases, and watermarks.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use larder_definitions::run::{
    EventTimes, FileVersion, GONE_FILES_KEPT, GoneFile, MaterializeRequest, Outcome, Part, PartKind, Position,
    Progress, ReadFile, ReadFiles, RunEvent, RunEventKind, RunPlan, RunRequest, RunState, RunsState, Scope, Watermark,
    WatermarkKey,
};
use larder_types::{ErrorCode, LeaseNumber, Revision, RowSetNumber, SchemaNumber, Timestamp};
use proptest::prelude::*;

use crate::projects::name;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_769_848_200_000_000 + seconds * 1_000_000)
}

fn event(run: &str, seconds: i64, what: RunEventKind) -> RunEvent {
    RunEvent { run: run.to_owned(), at: at(seconds), what }
}

fn created(run: &str, view: &str) -> RunEvent {
    let request = MaterializeRequest { view: name(view), scope: Scope::Incremental, tick: Some(at(-200)) };
    let request = RunRequest::Materialize(request);
    event(run, 0, RunEventKind::Created { request, principal: "ada".to_owned(), traceparent: None })
}

fn leased(run: &str, number: u64) -> RunEvent {
    event(run, 1, RunEventKind::Leased { number: LeaseNumber(number), holder: format!("worker-{number}") })
}

fn key(query: &str) -> WatermarkKey {
    WatermarkKey { row_set: RowSetNumber(1), source: name("s"), query: query.to_owned(), schema: SchemaNumber(1) }
}

fn part(what: PartKind) -> Part {
    Part { source: name("s"), what, event_times: None, replaces: false }
}

fn planned(run: &str, lease: u64, positions: &[(&str, Position)]) -> RunEvent {
    let file = FileVersion { path: "/data/a.parquet".to_owned(), size: 10, etag: Some("e1".to_owned()) };
    let parts = vec![
        Part {
            source: name("s"),
            what: PartKind::File(file),
            event_times: Some(EventTimes { first: at(-50), last: at(1) }),
            replaces: true,
        },
        part(PartKind::TimeRange { start: at(-100), end: at(0) }),
        part(PartKind::Log { from: BTreeMap::new(), to: BTreeMap::from([("w1".to_owned(), 7)]) }),
    ];
    let watermarks =
        positions.iter().map(|(query, position)| Watermark { key: key(query), position: position.clone() }).collect();
    let plan = RunPlan {
        revision: Revision(3),
        started_at: at(2),
        row_set: Some(RowSetNumber(1)),
        parts,
        watermarks,
        spine: None,
    };
    event(run, 2, RunEventKind::Planned { lease: LeaseNumber(lease), plan: Box::new(plan) })
}

fn part_done(run: &str, lease: u64, part: usize) -> RunEvent {
    let progress = Progress { read: 10 * (part as u64 + 1), written: 9, ..Progress::default() };
    event(run, 3, RunEventKind::PartsDone { lease: LeaseNumber(lease), parts: vec![part], progress })
}

fn ended(run: &str, lease: Option<u64>, outcome: Outcome) -> RunEvent {
    event(run, 9, RunEventKind::Ended { lease: lease.map(LeaseNumber), outcome })
}

fn succeeded(run: &str, lease: u64) -> RunEvent {
    let progress = Progress { read: 30, written: 27, older: 3, ..Progress::default() };
    ended(run, Some(lease), Outcome::Succeeded { progress, result: None })
}

/// Every kind of event, with a worker that is replaced half way.
pub(crate) fn life_of_a_run(run: &str) -> Vec<RunEvent> {
    let event_times = Some(EventTimes { first: at(0), last: at(5) });
    let gone = GoneFile { path: "/data/gone.parquet".to_owned(), event_times, missed_at: at(2) };
    let files = Position::Files(ReadFiles { files: Vec::new(), gone: vec![gone] });
    let log = Position::Log(BTreeMap::from([("w1".to_owned(), 7)]));
    vec![
        created(run, "customer_features"),
        leased(run, 1),
        planned(run, 1, &[("files", files), ("log", log), ("time", Position::Time(at(0)))]),
        part_done(run, 1, 0),
        event(run, 4, RunEventKind::CancelRequested { principal: "ada".to_owned() }),
        leased(run, 2),
        part_done(run, 2, 2),
        part_done(run, 2, 1),
        succeeded(run, 2),
    ]
}

fn folded(events: &[RunEvent]) -> RunsState {
    let mut runs = RunsState::default();
    for event in events {
        runs.apply(event).unwrap();
    }
    runs
}

#[test]
fn a_run_is_the_fold_of_its_events() {
    let runs = folded(&life_of_a_run("r"));
    let run = runs.run("r").unwrap();
    assert_eq!((run.state, run.ended_at, run.cancel_requested), (RunState::Succeeded, Some(at(9)), true));
    assert_eq!((run.progress.read, run.progress.parts_done, run.progress.parts), (30, 3, 3));
    assert_eq!(run.parts_left().count(), 0);
    assert_eq!(runs.watermarks().count(), 1, "a source has one");
    assert_eq!(runs.watermark(&key("time")), Some(&Position::Time(at(0))));
    assert_eq!(runs.run("x").unwrap_err().code(), ErrorCode::NotFound);
}

#[test]
fn a_run_is_created_once_and_may_end_before_it_is_taken() {
    let mut runs = RunsState::default();
    runs.apply(&created("a", "v")).unwrap();
    runs.apply(&created("b", "v")).unwrap();
    assert_eq!(
        runs.apply(&created("a", "v")).unwrap_err().code(),
        ErrorCode::AlreadyExists,
        "who creates it first has it"
    );
    runs.apply(&ended("a", None, Outcome::Cancelled)).unwrap();
    runs.apply(&ended("b", None, Outcome::Failed { error: "no such file".to_owned() })).unwrap();
    assert_eq!(runs.run("b").unwrap().error.as_deref(), Some("no such file"));
}

#[test]
fn the_newest_runs_that_have_ended_are_kept() {
    let mut runs = RunsState::default();
    runs.apply(&created("waits", "busy")).unwrap();
    // The last that a schedule asked for: all the others were asked for a tick of long ago.
    let request = MaterializeRequest { view: name("busy"), scope: Scope::Incremental, tick: Some(at(0)) };
    let request = RunRequest::Materialize(request);
    runs.apply(&event(
        "scheduled",
        0,
        RunEventKind::Created { request, principal: "ada".to_owned(), traceparent: None },
    ))
    .unwrap();
    runs.apply(&ended("scheduled", None, Outcome::Cancelled)).unwrap();
    for (view, count) in [("calm", 1), ("busy", 250)] {
        for number in 0..count {
            let id = format!("{view}-{number}");
            runs.apply(&created(&id, view)).unwrap();
            let ended = RunEventKind::Ended { lease: None, outcome: Outcome::Cancelled };
            let ended = event(&id, 10 + number, ended);
            let kept = runs.apply(&ended).unwrap().clone();
            assert_eq!(runs.apply(&ended).unwrap(), &kept, "told again, it is not counted again");
        }
    }
    let known: BTreeSet<&str> = runs.runs().map(|run| run.id.as_str()).collect();
    let newest: Vec<String> = (150..250).map(|number| format!("busy-{number}")).collect();
    let expected = newest.iter().map(String::as_str).chain(["waits", "calm-0", "scheduled"]);
    assert_eq!(known, expected.collect());
    assert_eq!(RunsState::decode(&runs.encode().unwrap()).unwrap(), runs);
}

/// After each of these, the event is refused with the code and nothing is changed.
#[test]
fn what_cannot_follow_is_refused() {
    use ErrorCode::{AlreadyExists, Conflict, FailedPrecondition, NotFound};
    let life = life_of_a_run("r");
    let plan = || planned("r", 1, &[]);
    let more = Outcome::Succeeded { progress: Progress { read: 31, ..Progress::default() }, result: None };
    let cases: Vec<(&[RunEvent], RunEvent, ErrorCode)> = vec![
        (&[], leased("r", 1), NotFound),
        (&life[..1], created("r", "other"), AlreadyExists),
        (&life[..1], plan(), Conflict),
        (&life[..1], succeeded("r", 1), Conflict),
        (&life[..2], leased("r", 1), Conflict),
        (&life[..2], leased("r", 0), Conflict),
        (&life[..2], ended("r", None, Outcome::Cancelled), Conflict),
        (&life[..2], succeeded("r", 1), FailedPrecondition),
        (&life[..2], part_done("r", 1, 0), FailedPrecondition),
        (&life[..3], plan(), FailedPrecondition),
        (&life[..3], part_done("r", 1, 3), FailedPrecondition),
        (&life[..4], succeeded("r", 1), FailedPrecondition),
        (&life[..6], part_done("r", 1, 1), Conflict),
        (&life[..6], part_done("r", 3, 1), Conflict),
        (&life[..8], succeeded("r", 1), Conflict),
        (&life[..9], part_done("r", 2, 1), FailedPrecondition),
        (&life[..9], ended("r", Some(2), Outcome::Cancelled), FailedPrecondition),
        (&life[..9], ended("r", Some(2), Outcome::Failed { error: "e".to_owned() }), FailedPrecondition),
        (&life[..9], ended("r", Some(2), more), FailedPrecondition),
        (&life[..9], succeeded("r", 1), Conflict),
        (&life[..9], leased("r", 3), FailedPrecondition),
        (&life[..9], event("r", 10, RunEventKind::CancelRequested { principal: "ada".to_owned() }), FailedPrecondition),
    ];
    for (before, event, expected) in cases {
        let mut runs = folded(before);
        let unchanged = runs.clone();
        assert_eq!(runs.check(&event).unwrap_err().code(), expected, "{event:?}");
        assert_eq!(runs.apply(&event).unwrap_err().code(), expected, "{event:?}");
        assert_eq!(runs, unchanged);
    }
}

/// A worker that did not hear the answer sends its event again.
#[test]
fn saying_it_again_changes_nothing() {
    let life = life_of_a_run("r");
    for position in [2, 3, 4, 6, 7, 8] {
        let mut runs = folded(&life[..=position]);
        let unchanged = runs.clone();
        runs.apply(&RunEvent { at: at(100), ..life[position].clone() }).unwrap();
        assert_eq!(runs, unchanged, "{:?}", life[position]);
    }
}

#[test]
fn watermarks_never_go_back() {
    let log = |a: u64, b: u64| Position::Log(BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]));
    assert_eq!(log(5, 1).moved_to(&log(3, 2)), log(5, 2));
    assert_eq!(Position::Time(at(5)).moved_to(&Position::Time(at(3))), Position::Time(at(5)));
    let file = |path: &str, size, in_part| ReadFile {
        version: FileVersion { path: path.to_owned(), size, etag: None },
        event_times: None,
        in_part,
    };
    let files = |files: &[ReadFile]| Position::Files(ReadFiles { files: files.to_vec(), gone: Vec::new() });
    let before = files(&[file("a", 1, true), file("b", 1, true), file("c", 1, false)]);
    let read = [file("b", 2, false), file("d", 1, true), file("a", 1, false)];
    let after = [file("c", 1, false)].into_iter().chain(read.clone()).collect::<Vec<_>>();
    assert_eq!(before.moved_to(&files(&read)), files(&after));
}

#[test]
fn files_that_went_are_remembered_with_all_they_had_for_a_time() {
    let file = |path: &str| ReadFile {
        version: FileVersion { path: path.to_owned(), size: 1, etag: None },
        event_times: None,
        in_part: false,
    };
    let gone = |path: &str, times: Option<(i64, i64)>, missed_at| GoneFile {
        path: path.to_owned(),
        event_times: times.map(|(first, last)| EventTimes { first: at(first), last: at(last) }),
        missed_at,
    };
    let position = |files: &[&str], gone: &[GoneFile]| {
        Position::Files(ReadFiles { files: files.iter().map(|path| file(path)).collect(), gone: gone.to_vec() })
    };
    let missed = [gone("b", Some((2, 3)), at(9)), gone("a", Some((1, 2)), at(9)), gone("x", Some((6, 7)), at(9))];
    let first = position(&["a", "b", "c"], &[]).moved_to(&position(&["b", "d"], &missed));
    // b was read anew. What went at one time with times in common is one.
    let joined = [gone("x", Some((6, 7)), at(9)), gone("a", Some((1, 3)), at(9))];
    assert_eq!(first, position(&["c", "b", "d"], &joined));
    let again = [gone("b", Some((1, 3)), at(10)), gone("x", None, at(10))];
    let all = [joined.to_vec(), vec![gone("b", None, at(10))]].concat();
    let second = first.moved_to(&position(&[], &again));
    assert_eq!(second, position(&["c", "d"], &all));
    let much_later = gone("d", None, at(9).plus(GONE_FILES_KEPT).plus(Duration::from_micros(1)));
    let left = [gone("b", None, at(10)), much_later.clone()];
    assert_eq!(second.moved_to(&position(&[], &[much_later])), position(&["c"], &left));
}

#[test]
fn a_source_has_one_watermark_and_an_ended_run_no_parts() {
    let succeed = |runs: &mut RunsState, id: &str, query: &str, to: i64| {
        let life = [created(id, "v"), leased(id, 1), planned(id, 1, &[(query, Position::Time(at(to)))])];
        let parts = (0..3).map(|part| part_done(id, 1, part));
        for event in life.into_iter().chain(parts).chain([succeeded(id, 1)]) {
            runs.apply(&event).unwrap();
        }
    };
    let mut runs = RunsState::default();
    succeed(&mut runs, "a", "old", 5);
    assert_eq!(runs.watermark(&key("old")), Some(&Position::Time(at(5))));
    succeed(&mut runs, "b", "new", 7);
    assert_eq!(runs.watermark(&key("old")), None, "going back to it starts anew");
    assert_eq!(runs.watermark(&key("new")), Some(&Position::Time(at(7))));
    let run = runs.run("b").unwrap();
    let plan = run.plan.as_ref().unwrap();
    assert!(plan.parts.is_empty() && plan.watermarks.is_empty() && run.parts_done.is_empty());
    assert_eq!((run.progress.parts_done, run.progress.parts, plan.started_at), (3, 3, at(2)));
}

fn any_event() -> impl Strategy<Value = RunEvent> {
    let lease = 0..4_u64;
    let outcome = prop_oneof![Just(Outcome::Cancelled), Just(Outcome::Failed { error: "e".to_owned() })];
    prop_oneof![
        1 => Just(created("r", "v")),
        4 => lease.clone().prop_map(|lease| leased("r", lease)),
        4 => (lease.clone(), 0..50_i64).prop_map(|(lease, to)| planned("r", lease, &[("t", Position::Time(at(to)))])),
        8 => (lease.clone(), 0..4_usize).prop_map(|(lease, part)| part_done("r", lease, part)),
        1 => Just(event("r", 4, RunEventKind::CancelRequested { principal: "ada".to_owned() })),
        4 => lease.clone().prop_map(|lease| succeeded("r", lease)),
        1 => (prop::option::of(lease), outcome).prop_map(|(lease, outcome)| ended("r", lease, outcome)),
    ]
}

proptest! {
    /// Whatever comes in whatever order: a refused event changes nothing, leases only grow, what is done stays done, and
    /// nothing follows an end.
    #[test]
    fn any_order_of_events_keeps_the_rules(events in prop::collection::vec(any_event(), 1..40)) {
        let mut runs = folded(&[created("r", "v")]);
        for event in events {
            let before = runs.clone();
            let accepted = runs.apply(&event).is_ok();
            let (old, new) = (before.run("r").unwrap(), runs.run("r").unwrap());
            if !accepted {
                prop_assert_eq!(&runs, &before);
                continue;
            }
            // An end that was told before may be told again.
            prop_assert!(!old.state.is_final() || old == new);
            let lease = |run: &larder_definitions::run::Run| run.lease.as_ref().map(|(number, _)| *number);
            prop_assert!(lease(old) <= lease(new));
            prop_assert!(old.plan.is_none() || new.plan.is_some());
            prop_assert!(new.state.is_final() || old.plan.is_none() || old.plan == new.plan);
            prop_assert!(old.parts_done.iter().zip(&new.parts_done).all(|(old, new)| old <= new));
            prop_assert_eq!(runs.watermarks().count() == 1, new.state == RunState::Succeeded);
            if new.state == RunState::Succeeded {
                prop_assert_eq!((new.progress.parts_done, new.progress.parts), (3, 3));
            }
            prop_assert_eq!(&RunEvent::decode(&event.encode().unwrap()).unwrap(), &event);
            prop_assert_eq!(&RunsState::decode(&runs.encode().unwrap()).unwrap(), &runs);
        }
    }

    #[test]
    fn damaged_bytes_are_an_error(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for event in life_of_a_run("r") {
            let mut bytes = event.encode().unwrap();
            let at = position.index(bytes.len());
            bytes[at] = byte;
            if let Ok(event) = RunEvent::decode(&bytes) {
                let _ = RunsState::default().apply(&event);
            }
        }
    }
}
