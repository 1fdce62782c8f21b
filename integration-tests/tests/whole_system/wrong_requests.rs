//! Requests that are wrong: each is told what is wrong and what would be right, and nothing has changed.

use std::{sync::Arc, time::Duration};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use futures::{StreamExt, stream};
use larder_client::{Asked, ChangeRequest, OnlineRequest, PushBatch, Target, TrainingSet};
use larder_definitions::{ChangeSet, ObjectId, ObjectKind, run::RunState};
use larder_types::{Clock, Error, ErrorCode, Name, Result, Revision, SystemClock};

use crate::{
    definitions::{SHOP, shop},
    history::{self, customer_column},
    sandbox::{Clients, Sandbox, assert_succeeded},
    training_equals_serving::{ask, is_different, references, request, spine_at},
};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_told_what_is_wrong() {
    let mut sandbox = Sandbox::start().await;
    history::write(&sandbox.folder.path().join("history"), SystemClock.now(), 1, 3);
    sandbox.apply(SHOP).await.unwrap();
    let asked = request(&[1]);
    let cases: Vec<(OnlineRequest, ErrorCode, &str)> = vec![
        (
            OnlineRequest { features: Asked::Service(Name::new("shop_servise").unwrap()), ..asked.clone() },
            ErrorCode::NotFound,
            "did you mean shop_service?",
        ),
        (
            OnlineRequest { features: references(&["profile.scor"]), ..asked.clone() },
            ErrorCode::NotFound,
            "did you mean score?",
        ),
        (
            OnlineRequest { entities: vec![], ..asked.clone() },
            ErrorCode::InvalidArgument,
            "entities.customer_id: is missing",
        ),
        (
            OnlineRequest {
                entities: vec![("customer_id".into(), Arc::new(StringArray::from(vec!["1"])))],
                ..asked.clone()
            },
            ErrorCode::InvalidArgument,
            "entities.customer_id: has the type string; int64 is expected",
        ),
        (
            OnlineRequest { entities: vec![("costumer_id".into(), customer_column(&[1]))], ..asked.clone() },
            ErrorCode::InvalidArgument,
            "did you mean customer_id?",
        ),
        (
            OnlineRequest { request_data: vec![], ..asked.clone() },
            ErrorCode::InvalidArgument,
            "request_data.basket: is missing",
        ),
    ];
    for (request, code, message) in cases {
        let error = sandbox.serving().online_features(&request).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(message), "{error}");
    }
    sandbox.stop().await;
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The error, which has this code and says all of this.
#[track_caller]
fn assert_told<T: std::fmt::Debug>(outcome: Result<T>, code: ErrorCode, texts: &[&str]) -> Error {
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    for text in texts {
        assert!(error.to_string().contains(text), "`{text}` is not in: {error}");
    }
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_told_with_near_ones_by_every_service() {
    let mut sandbox = Sandbox::start().await;
    history::write(&sandbox.folder.path().join("history"), SystemClock.now(), 1, 3);
    sandbox.apply(SHOP).await.unwrap();
    let (unknown, near) = (ErrorCode::NotFound, "did you mean");

    let of_view = OnlineRequest { features: references(&["profil.score"]), ..request(&[1]) };
    assert_told(sandbox.serving().online_features(&of_view).await, unknown, &["profil", near, "profile"]);
    let of_project = OnlineRequest { project: name("shp"), ..request(&[1]) };
    assert_told(sandbox.serving().online_features(&of_project).await, unknown, &["shp", near, "shop"]);

    let of_source = PushBatch { source: name("click"), ..clicks() };
    assert_told(sandbox.push().push(of_source).await, unknown, &["click", near, "clicks"]);
    let of_project = PushBatch { project: name("shp"), ..clicks() };
    assert_told(sandbox.push().push(of_project).await, unknown, &["shp", near, "shop"]);

    let materializer = sandbox.materializer();
    let of_view = materializer.materialize(&shop(), &[name("profle")], None, Revision(0)).await;
    assert_told(of_view, unknown, &["profle", near, "profile"]);
    let of_project = materializer.materialize(&name("shp"), &[], None, Revision(0)).await;
    assert_told(of_project, unknown, &["shp", near, "shop"]);
    for (features, texts) in [
        (Asked::Service(name("shop_servise")), ["shop_servise", near, "shop_service"]),
        (references(&["profil.score"]), ["profil", near, "profile"]),
        (references(&["profile.scor"]), ["scor", near, "score"]),
    ] {
        let set = TrainingSet { features, ..set() };
        assert_told(train(&sandbox, &set).await, unknown, &texts);
    }

    for (kind, wrong, right) in [
        (ObjectKind::Entity, "custmer", "customer"),
        (ObjectKind::FeatureView, "profil", "profile"),
        (ObjectKind::FeatureService, "pair_servce", "pair_service"),
    ] {
        let id = ObjectId { kind, name: name(wrong) };
        assert_told(sandbox.registry().object(&shop(), &id, None).await, unknown, &[wrong, near, right]);
        assert_told(sandbox.registry().lineage(&shop(), &id, None).await, unknown, &[wrong, near, right]);
    }
    let runs = sandbox.runs().list(&shop(), &Default::default()).await.unwrap().runs;
    assert!(runs.iter().all(|run| run.state == RunState::Failed), "only training sets that failed: {runs:?}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_spine_is_told_by_its_column() {
    let mut sandbox = Sandbox::start().await;
    history::write(&sandbox.folder.path().join("history"), SystemClock.now(), 1, 3);
    sandbox.apply(SHOP).await.unwrap();
    let at = [SystemClock.now()];
    let good = spine_at(customer_column(&[1]), &at);
    let renamed = |from: &str, to: &str| {
        let fields = good.schema_ref().fields().iter().map(|field| {
            let name = if field.name() == from { to } else { field.name() };
            field.as_ref().clone().with_name(name)
        });
        let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), good.columns().to_vec()).unwrap()
    };
    let text = spine_at(Arc::new(StringArray::from(vec!["1"])), &at);
    for (spine, texts) in [
        (renamed("at", "att"), ["`at`", "att"]),
        (renamed("customer_id", "costumer_id"), ["customer_id", "costumer_id"]),
        (text, ["customer_id", "int64"]),
    ] {
        let told = train_on(&sandbox, &set(), Some(spine)).await;
        assert_told(told, ErrorCode::InvalidArgument, &texts);
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_roots_is_read_or_written() {
    let mut sandbox = Sandbox::start().await;
    let elsewhere = larder_test_kit::temporary_folder();
    history::write(&elsewhere.path().join("history"), SystemClock.now(), 1, 3);
    history::write(&sandbox.folder.path().join("history"), SystemClock.now(), 1, 3);
    let inside = sandbox.folder.path().to_str().unwrap().to_owned();
    let outside = elsewhere.path().to_str().unwrap().to_owned();
    let around = format!("{inside}/..{outside}");
    let refused = ErrorCode::PermissionDenied;
    let texts = |path: &str| [path.to_owned(), "roots".to_owned()];
    sandbox.apply(SHOP).await.unwrap();

    let spine = |path: &str| TrainingSet { spine_path: Some(format!("{path}/history/part-0.parquet")), ..set() };
    let output = |path: &str| TrainingSet { output_path: Some(format!("{path}/out.parquet")), ..set() };
    for path in [&outside, &around] {
        let [path_text, roots] = texts(&outside);
        assert_told(train_on(&sandbox, &spine(path), None).await, refused, &[&path_text, &roots]);
        assert_told(train(&sandbox, &output(path)).await, refused, &[&path_text, &roots]);
    }
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 1, "something was written");

    let declared = SHOP.replace("../history/", &format!("{outside}/history/"));
    let revision = sandbox.apply(&declared).await.unwrap().revision;
    let runs = sandbox.materializer().materialize(&shop(), &[name("profile")], None, revision).await.unwrap();
    let run = sandbox.wait_for(&shop(), runs).await.remove(0);
    let error = run.error.unwrap();
    assert!(run.state == RunState::Failed && error.contains(&outside) && error.contains("roots"), "{error}");
    let trained = train(&sandbox, &TrainingSet { min_revision: revision, ..set() }).await;
    assert_told(trained, refused, &[&outside, "roots"]);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_to_another_revision_than_the_one_expected_is_refused() {
    let mut sandbox = Sandbox::start().await;
    let first = sandbox.apply(SHOP).await.unwrap().revision;
    let second = sandbox.apply(&SHOP.replace("ttl: 7d", "ttl: 8d")).await.unwrap().revision;
    let removed = ObjectId { kind: ObjectKind::FeatureService, name: name("pair_service") };
    let change = ChangeSet {
        removes: vec![removed],
        expected_revision: Some(first),
        origin: "test".to_owned(),
        ..ChangeSet::default()
    };
    let request = ChangeRequest { change, remove_missing: false };
    for outcome in [
        sandbox.registry().apply(&shop(), &request).await.map(|_| ()),
        sandbox.registry().plan(&shop(), &request).await.map(|_| ()),
    ] {
        assert_told(outcome, ErrorCode::Conflict, &["is at revision 2", "1"]);
    }
    assert_eq!(sandbox.registry().catalog(&shop(), None).await.unwrap().revision, second);
    sandbox.stop().await;
}

/// Each service waits for a revision that never comes, and says so in time; what it was asked to do is not done.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_is_over_is_told_by_every_service_and_nothing_is_done() {
    let mut sandbox = Sandbox::start().await;
    history::write(&sandbox.folder.path().join("history"), SystemClock.now(), 1, 3);
    let revision = sandbox.apply(SHOP).await.unwrap().revision;
    assert_succeeded(&sandbox.materialize(&shop(), revision).await);
    let before = ask(&sandbox, &[1, 2]).await;
    let runs = sandbox.runs().list(&shop(), &Default::default()).await.unwrap().runs.len();

    let (patience, never, over) = (Duration::from_millis(300), Revision(99), ErrorCode::DeadlineExceeded);
    let read = OnlineRequest { min_revision: never, ..request(&[1]) };
    assert_told(sandbox.serving().within(patience).online_features(&read).await, over, &[]);
    let push = PushBatch { min_revision: never, ..clicks() };
    assert_told(sandbox.push().within(patience).push(push).await, over, &[]);
    let materialized = sandbox.materializer().within(patience).materialize(&shop(), &[], None, never).await;
    assert_told(materialized, over, &[]);
    // The registry waits for nothing: what is over before it came is not done.
    let request = ChangeRequest {
        change: ChangeSet {
            removes: vec![ObjectId { kind: ObjectKind::FeatureService, name: name("pair_service") }],
            origin: "test".to_owned(),
            ..ChangeSet::default()
        },
        remove_missing: false,
    };
    assert_told(sandbox.registry().within(Duration::ZERO).apply(&shop(), &request).await, over, &[]);

    assert!(!is_different(&before, &ask(&sandbox, &[1, 2]).await));
    assert_eq!(sandbox.runs().list(&shop(), &Default::default()).await.unwrap().runs.len(), runs);
    assert_eq!(sandbox.registry().catalog(&shop(), None).await.unwrap().revision, revision);
    sandbox.stop().await;
}

/// A good batch of one row.
fn clicks() -> PushBatch {
    PushBatch {
        project: shop(),
        source: name("clicks"),
        batch_id: None,
        columns: vec![
            ("customer_id".into(), customer_column(&[1])),
            ("clicks".into(), Arc::new(Int64Array::from(vec![5]))),
            ("last_page".into(), Arc::new(StringArray::from(vec!["/"]))),
        ],
        event_times: vec![SystemClock.now()],
        created_times: vec![],
        deleted: vec![],
        target: Target::OnlineAndOffline,
        min_revision: Revision(0),
    }
}

/// A good training set of one row.
fn set() -> TrainingSet {
    TrainingSet {
        project: shop(),
        features: references(&["profile.score"]),
        spine_path: None,
        event_time: "at".into(),
        output_path: None,
        full_names: false,
        min_revision: Revision(0),
    }
}

async fn train(clients: &Clients, set: &TrainingSet) -> Result<()> {
    train_on(clients, set, Some(spine_at(customer_column(&[1]), &[SystemClock.now()]))).await
}

async fn train_on(clients: &Clients, set: &TrainingSet, spine: Option<RecordBatch>) -> Result<()> {
    let mut events = clients.materializer().training_set(set, stream::iter(spine.map(Ok))).await?;
    while let Some(event) = events.next().await {
        event?;
    }
    Ok(())
}
