//! Any bytes as a message of runs, revisions or what is explored, or as the details of an error: what they say, or an error. So
//! are bytes laid over messages that were right. What could be read is written and read again without change.

#![no_main]

use std::{fmt::Debug, path::Path as FilePath, sync::LazyLock};

use larder_contracts::{
    Path, Wire,
    explore::{Lineage, SearchHit},
    registry::v1::{self as api, finish_run_request},
    revisions::{ChangeRequest, RevisionInfo, diff_from_wire, diff_to_wire},
    status::{from_status, to_status},
};
use larder_definitions::{
    ChangeSet, Consequence, ProjectState,
    run::{Outcome, Progress, Run, RunPlan, RunRequest, Watermark},
    yaml::read_text,
};
use larder_types::{Error, ProjectNumber};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use tonic::{Code, Status};

/// One of each kind of object.
const DEFINITIONS: &str = "
project: p
entities:
  - { name: e, join_keys: [{ name: k, type: int64 }], tags: { a: b } }
sources:
  - { name: s, push: {} }
  - { name: f, parquet: { path: /f }, event_time: t, created_time: c }
  - { name: q, postgres: { connection: d, table: t }, event_time: t }
feature_views:
  - name: a
    entities: [e]
    source: f
    push_source: s
    ttl: 7d
    schedule: { cron: 0 * * * * }
    features: [{ name: x, type: int64, column: y }, { name: z, type: list<string> }]
on_demand_feature_views:
  - { name: c, inputs: [a], request: [{ name: r, type: int64 }], features: [{ name: w, type: int64, sql: x + r }] }
feature_services:
  - { name: g, features: [{ view: a, select: [x], as: b, join_keys: { k: j } }, { view: c }] }
";

/// Messages that are right.
struct Whole {
    run: Vec<u8>,
    change: Vec<u8>,
    difference: Vec<u8>,
    details: Vec<u8>,
}

static WHOLE: LazyLock<Whole> = LazyLock::new(|| Whole {
    run: run().encode_to_vec(),
    change: change().encode_to_vec(),
    difference: difference().encode_to_vec(),
    details: {
        let error = Error::invalid_field("features[0].type", "is missing").with_violation("targets.online", "written");
        to_status(&error).details().to_vec()
    },
});

fn run() -> api::Run {
    let file = |path: &str| api::FileVersion { path: path.into(), size: 7, etag: "e".into() };
    let position = |segment| api::LogPosition { segments: [("writer".to_owned(), segment)].into() };
    let (range, log) =
        (api::TimeRange { start: 1, end: 2 }, api::LogRange { from: Some(position(1)), to: Some(position(2)) });
    let what = [api::part::What::File(file("f")), api::part::What::TimeRange(range), api::part::What::Log(log)];
    let part = |what| api::Part {
        source: "s".into(),
        what: Some(what),
        event_times: Some(api::EventTimes { first: 1, last: 2 }),
        replaces: true,
    };
    let event_times = Some(api::EventTimes { first: 1, last: 2 });
    let read = |path| api::ReadFile { version: Some(file(path)), event_times, in_part: true };
    let gone = api::GoneFile { source: "s".into(), path: "g".into(), event_times };
    let files = api::FileSet { files: vec![read("f"), read("g")] };
    let positions = [
        api::watermark::Position::Files(files),
        api::watermark::Position::Log(position(3)),
        api::watermark::Position::Time(4),
    ];
    let key = api::WatermarkKey { row_set: 1, source: "s".into(), query: "q".into(), schema: 1 };
    let watermark = |position| api::Watermark { key: Some(key.clone()), position: Some(position) };
    let plan = api::RunPlan {
        revision: 1,
        started_at: 1,
        row_set: Some(1),
        parts: what.into_iter().map(part).collect(),
        watermarks: positions.into_iter().map(watermark).collect(),
        spine: Some(api::SpineDigest { sha256: "d".into(), rows: 1 }),
        gone: vec![gone],
        meets: 1,
    };
    let scope = api::MaterializeScope { scope: Some(api::materialize_scope::Scope::Range(range)) };
    let request = api::MaterializeRunRequest { view: "v".into(), scope: Some(scope), tick: Some(1) };
    api::Run {
        id: "r".into(),
        request: Some(api::RunRequest { request: Some(api::run_request::Request::Materialize(request)) }),
        state: api::RunState::Running.into(),
        ended_at: Some(1),
        lease: 1,
        holder: "h".into(),
        plan: Some(plan),
        parts_done: vec![true, false, false],
        progress: Some(api::Progress { read: 1, ..Default::default() }),
        ..Default::default()
    }
}

fn change() -> api::ChangeSet {
    let repository = read_text("fuzz.yaml", FilePath::new("/repo"), DEFINITIONS).expect("definitions");
    let empty = ProjectState::empty(repository.project.clone(), ProjectNumber(1));
    let change = ChangeSet::whole(&empty, "fuzz", repository.into_objects());
    let mut message = ChangeRequest { change, remove_missing: true }.to_wire();
    message.removes.push(id());
    message
}

fn id() -> api::ObjectId {
    api::ObjectId { kind: api::ObjectKind::Source.into(), name: "s".into() }
}

fn difference() -> api::Diff {
    let field = api::FieldChange { path: "ttl".into(), before: Some("1d".into()), after: Some("2d".into()) };
    let kind = api::ChangeKind::Changed.into();
    api::Diff { changes: vec![api::ObjectChange { id: Some(id()), kind, fields: vec![field] }] }
}

/// A place, then what is laid over it.
fn patched(whole: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut patched = whole.to_vec();
    if let Some((place, patch)) = bytes.split_first_chunk::<2>() {
        let place = usize::from(u16::from_le_bytes(*place)) % patched.len();
        patched[place..].iter_mut().zip(patch).for_each(|(byte, new)| *byte ^= new);
    }
    patched
}

/// Over bytes again, as whoever gets it reads it.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(&*message.encode_to_vec()).expect("what was written can be read")
}

fn comes_back<T>(bytes: &[u8])
where
    T: Wire<Message: Message + Default> + Debug + PartialEq,
{
    let Ok(message) = T::Message::decode(bytes) else { return };
    let Ok(read) = T::from_wire(message, &Path::ROOT) else { return };
    let again = T::from_wire(sent(&read.to_wire()), &Path::ROOT).expect("what was read can be sent");
    assert_eq!(again, read);
}

fn end_of_a_run_comes_back(bytes: &[u8]) {
    let Ok(api::FinishRunRequest { outcome: Some(outcome), .. }) = api::FinishRunRequest::decode(bytes) else { return };
    let Ok(read) = Outcome::from_wire(outcome, &Path::ROOT) else { return };
    let message = api::FinishRunRequest { outcome: Some(read.to_wire()), ..Default::default() };
    let outcome: finish_run_request::Outcome = sent(&message).outcome.expect("it was written");
    assert_eq!(Outcome::from_wire(outcome, &Path::ROOT).expect("what was read can be sent"), read);
}

fn difference_comes_back(bytes: &[u8]) {
    let Ok(message) = api::Diff::decode(bytes) else { return };
    let Ok(read) = diff_from_wire(Some(message), &Path::ROOT) else { return };
    let again = diff_from_wire(Some(sent(&diff_to_wire(&read))), &Path::ROOT).expect("what was read can be sent");
    assert_eq!(again, read);
}

fn lineage_comes_back(bytes: &[u8]) {
    let Ok(api::GetLineageResponse { nodes, edges, .. }) = api::GetLineageResponse::decode(bytes) else { return };
    let Ok(read) = Lineage::from_wire(nodes, edges, &Path::ROOT) else { return };
    let (nodes, edges) = read.to_wire();
    assert_eq!(Lineage::from_wire(nodes, edges, &Path::ROOT).expect("what was read can be sent"), read);
}

/// The first byte is the code; the message is what can be text of the rest, which is the details besides.
fn error_of_a_call(bytes: &[u8]) {
    let Some((code, details)) = bytes.split_first() else { return };
    let message = String::from_utf8_lossy(details);
    let error = from_status(Status::with_details(Code::from_i32((*code).into()), message, details.to_vec().into()));
    assert!(!error.message().is_empty(), "an error says why");
    let headers = to_status(&error).into_http::<()>().into_parts().0.headers;
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    assert!(bytes < 8_192, "{bytes} bytes of trailers");
    let again = from_status(Status::from_header_map(&headers).expect("it has a status"));
    assert_eq!(again.code(), error.code());
}

fuzz_target!(|bytes: &[u8]| {
    comes_back::<Run>(bytes);
    comes_back::<RunRequest>(bytes);
    comes_back::<RunPlan>(bytes);
    comes_back::<Progress>(bytes);
    comes_back::<Watermark>(bytes);
    comes_back::<ChangeRequest>(bytes);
    comes_back::<Consequence>(bytes);
    comes_back::<RevisionInfo>(bytes);
    comes_back::<SearchHit>(bytes);
    end_of_a_run_comes_back(bytes);
    difference_comes_back(bytes);
    lineage_comes_back(bytes);
    error_of_a_call(bytes);

    let whole = &*WHOLE;
    comes_back::<Run>(&patched(&whole.run, bytes));
    comes_back::<ChangeRequest>(&patched(&whole.change, bytes));
    difference_comes_back(&patched(&whole.difference, bytes));
    error_of_a_call(&[&[3], &*patched(&whole.details, bytes)].concat());
});
