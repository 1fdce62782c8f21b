//! Runs: what may follow what, the fence of leases, and watermarks.

use std::collections::{BTreeMap, BTreeSet};

use larder_definitions::run::{
    EventTimes, FileVersion, GoneFile, MaterializeRequest, Outcome, Part, PartKind, Position, Progress, ReadFile,
    ReadFiles, RunEvent, RunEventKind, RunPlan, RunRequest, RunState, RunsState, Scope, Watermark, WatermarkKey,
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
        gone: vec![GoneFile { source: name("s"), path: "/data/gone.parquet".to_owned(), event_times: None }],
        meets: 1,
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
    let files = Position::Files(ReadFiles::default());
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
    assert_eq!(runs.watermarks().count(), 3, "those of its plan");
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
    let files = |files: &[ReadFile]| Position::Files(ReadFiles { files: files.to_vec() });
    let before = files(&[file("a", 1, true), file("b", 1, true), file("c", 1, false)]);
    let read = [file("b", 2, false), file("d", 1, true), file("a", 1, false)];
    let after = [file("c", 1, false)].into_iter().chain(read.clone()).collect::<Vec<_>>();
    assert_eq!(before.moved_to(&files(&read)), files(&after));
}

/// Which files the watermark of a source has, and what is left over: number, days, whether it was met.
fn row_set(runs: &RunsState) -> (Vec<String>, Vec<String>) {
    let record = runs.row_set(RowSetNumber(1));
    let files = record.watermarks.iter().flat_map(|watermark| match &watermark.position {
        Position::Files(read) => read.files.iter().map(|file| format!("{} {}", watermark.key.query, file.version.path)),
        other @ (Position::Log(_) | Position::Time(_)) => panic!("{other:?}"),
    });
    let leftovers = record.leftovers.iter().map(|leftover| {
        let times = leftover.event_times.unwrap();
        let seconds = |time: Timestamp| time.since(at(0)).as_secs();
        let (first, last) = (seconds(times.first), seconds(times.last));
        format!("{} {first}-{last}{}", leftover.number, if leftover.is_met { " met" } else { "" })
    });
    (files.collect(), leftovers.collect())
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Succeeds,
    Fails,
    /// Succeeds, of event times in a range.
    Range(i64, i64),
}

/// A run to its end that read the source by that query: files with their first and last second.
fn file_run(runs: &mut RunsState, how: How, query: &str, files: &[(&str, i64, i64)], gone: &[(&str, i64, i64)]) {
    let id = format!("run {}", runs.runs().count());
    let times = |first, last| Some(EventTimes { first: at(first), last: at(last) });
    let part = |(path, first, last): &(&str, i64, i64)| Part {
        source: name("s"),
        what: PartKind::File(FileVersion { path: (*path).to_owned(), size: 1, etag: None }),
        event_times: times(*first, *last),
        replaces: false,
    };
    let gone = gone.iter().map(|(path, first, last)| GoneFile {
        source: name("s"),
        path: (*path).to_owned(),
        event_times: times(*first, *last),
    });
    let (scope, watermarks) = match how {
        How::Range(start, end) => (Scope::Range { start: at(start), end: at(end) }, Vec::new()),
        How::Succeeds | How::Fails => {
            let position = Position::Files(ReadFiles::default());
            (Scope::Incremental, vec![Watermark { key: key(query), position }])
        }
    };
    let plan = RunPlan {
        revision: Revision(1),
        started_at: at(2),
        row_set: Some(RowSetNumber(1)),
        parts: files.iter().map(part).collect(),
        watermarks,
        spine: None,
        gone: gone.collect(),
        meets: runs.row_set(RowSetNumber(1)).leftovers.last().map_or(0, |leftover| leftover.number),
    };
    let request = RunRequest::Materialize(MaterializeRequest { view: name("v"), scope, tick: None });
    let created = RunEventKind::Created { request, principal: String::new(), traceparent: None };
    let planned = RunEventKind::Planned { lease: LeaseNumber(1), plan: Box::new(plan) };
    let mut events = vec![event(&id, 0, created), leased(&id, 1), event(&id, 2, planned)];
    if how == How::Fails {
        events.push(ended(&id, Some(1), Outcome::Failed { error: "e".to_owned() }));
    } else {
        events.extend((0..files.len()).map(|part| part_done(&id, 1, part)));
        events.push(succeeded(&id, 1));
    }
    events.iter().for_each(|event| _ = runs.apply(event).unwrap());
    // The end may be told twice.
    let unchanged = runs.clone();
    runs.apply(&events[events.len() - 1]).unwrap();
    assert_eq!(*runs, unchanged);
}

#[test]
fn what_no_watermark_accounts_for_is_left_over_until_a_run_meets_it() {
    let mut runs = RunsState::default();
    let mut check = |how, query: &str, files: &[_], gone: &[_], read: &[&str], left_over: &[&str]| {
        file_run(&mut runs, how, query, files, gone);
        let (files, leftovers) = row_set(&runs);
        assert_eq!(
            (files, leftovers.iter().map(String::as_str).collect::<Vec<_>>()),
            (read.iter().map(|file| (*file).to_owned()).collect(), left_over.to_vec())
        );
    };
    check(How::Fails, "q", &[("a", 1, 3), ("b", 3, 4)], &[], &[], &["2 1-4"]);
    check(How::Succeeds, "q", &[("a", 1, 3), ("b", 3, 4), ("c", 7, 8)], &[], &["q a", "q b", "q c"], &["2 1-4 met"]);
    // Of a range no more than it has.
    check(
        How::Range(8, 10),
        "q",
        &[("c", 7, 8), ("d", 9, 20)],
        &[],
        &["q a", "q b", "q c"],
        &["2 1-4 met", "3 8-8", "4 9-9"],
    );
    check(
        How::Succeeds,
        "q",
        &[("d", 9, 20)],
        &[("b", 3, 4)],
        &["q a", "q c", "q d"],
        &["3 8-8 met", "4 9-9 met", "5 1-4 met"],
    );
    // Going to another query and back: nothing is taken for read that was read otherwise since.
    check(How::Succeeds, "r", &[("z", 1, 2)], &[], &["r z"], &["6 1-4 met", "7 7-8 met", "8 9-20 met"]);
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
