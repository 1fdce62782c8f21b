//! Revisions that come while requests are answered.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::array::{ArrayRef, Float64Array, Int32Array, StringArray};
use larder_client::{OnlineAnswer, OnlineRequest, ServingClient};
use larder_types::{Clock, ErrorCode, Revision};

use crate::{
    held_store::Held,
    sandbox::Sandbox,
    shop::{ints, names, references, service, shown, table},
};

const CUSTOMERS: i64 = 20;
const READERS: usize = 6;
const REVISIONS: u64 = 16;

/// The definitions of a revision: features are renamed, added and removed, and the service chooses others.
fn definitions(revision: u64) -> String {
    let (features, selected) = variant(revision);
    let feature = |name: &&str| match *name {
        "score" => "{ name: score, column: score, renamed_from: points, type: float64 }",
        "points" => "{ name: points, column: score, renamed_from: score, type: float64 }",
        "visits" => "{ name: visits, type: int32 }",
        "city" => "{ name: city, type: string }",
        "extra" => "{ name: extra, type: float64 }",
        other => panic!("{other}"),
    };
    let features: Vec<_> = features.iter().map(feature).collect();
    format!(
        "project: shop\n\
         entities: [{{ name: customer, join_keys: [{{ name: customer_id, type: int64 }}] }}]\n\
         sources: [{{ name: visits, push: {{}} }}]\n\
         feature_views: [{{ name: profile, entities: [customer], source: visits, features: [{}] }}]\n\
         feature_services: [{{ name: changing, features: [{{ view: profile, select: [{}] }}] }}]\n",
        features.join(", "),
        selected.join(", ")
    )
}

/// The view's features, and the service's.
fn variant(revision: u64) -> (&'static [&'static str], &'static [&'static str]) {
    match revision % 4 {
        1 => (&["score", "visits", "city"], &["city", "score"]),
        2 => (&["points", "visits", "city"], &["points", "city", "visits"]),
        3 => (&["points", "visits", "city", "extra"], &["extra", "points"]),
        _ => (&["extra", "points", "city"], &["points", "extra", "city"]),
    }
}

/// What a customer's feature is, whenever it was written.
fn value(feature: &str, customer: i64) -> String {
    match feature {
        "score" | "points" => (customer as f64 * 1.5).to_string(),
        "visits" => customer.to_string(),
        "city" => format!("city {customer}"),
        "extra" => (customer as f64 + 0.25).to_string(),
        other => panic!("{other}"),
    }
}

/// Rows by the definitions of `revision`.
async fn push(sandbox: &Sandbox, revision: Revision) {
    let customers: Vec<i64> = (0..CUSTOMERS).collect();
    let (features, _) = variant(revision.0);
    let mut columns = vec![("customer_id", ints(&customers))];
    for feature in features {
        let texts = customers.iter().map(|customer| value(feature, *customer));
        let column: (&str, ArrayRef) = match *feature {
            "visits" => ("visits", Arc::new(texts.map(|text| text.parse::<i32>().ok()).collect::<Int32Array>())),
            "city" => ("city", Arc::new(texts.map(Some).collect::<StringArray>())),
            "score" | "points" => ("score", Arc::new(texts.map(|text| text.parse().ok()).collect::<Float64Array>())),
            other => (other, Arc::new(texts.map(|text| text.parse().ok()).collect::<Float64Array>())),
        };
        columns.push(column);
    }
    let at = sandbox.clock.now();
    sandbox.push_by(revision, "visits", columns, vec![at; customers.len()], false).await.unwrap();
}

/// Whether an answer is by the one revision that it names, and right.
fn check(answer: &OnlineAnswer, asks_service: bool) -> Revision {
    let revision = answer.replay.as_ref().unwrap().revision;
    let (features, selected) = variant(revision.0);
    assert_eq!(names(answer), if asks_service { selected } else { features }, "{revision}");
    for feature in &answer.features {
        for (customer, shown) in (0..).zip(shown(feature)) {
            let is_newer_than_row = shown == "NOT_FOUND" && ["extra", "visits"].contains(&feature.name.as_str());
            assert!(
                is_newer_than_row || shown == value(&feature.name, customer),
                "{revision} {}: {shown}",
                feature.name
            );
        }
    }
    revision
}

#[derive(Default)]
struct Seen {
    answers: AtomicU64,
    revisions: Mutex<HashSet<Revision>>,
    done: AtomicBool,
}

async fn read(client: ServingClient, reader: usize, seen: Arc<Seen>) {
    let customers: Vec<i64> = (0..CUSTOMERS).collect();
    let asks_service = reader.is_multiple_of(2);
    let entities = vec![("customer_id", ints(&customers))];
    let asked = if asks_service { service("changing", entities) } else { references(&["profile"], entities) };
    let mut last = Revision(0);
    while !seen.done.load(Ordering::SeqCst) {
        let revision = check(&client.online_features(&asked).await.unwrap(), asks_service);
        assert!(revision >= last, "{revision} after {last}");
        last = revision;
        seen.answers.fetch_add(1, Ordering::SeqCst);
        seen.revisions.lock().unwrap().insert(revision);
        tokio::task::yield_now().await;
    }
}

/// Rows are pushed by each revision the moment it is there, whether serving has heard of it or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_fails_or_mixes_two_revisions_while_they_are_swapped() {
    let sandbox = Sandbox::with(&definitions(1)).await;
    push(&sandbox, Revision(1)).await;
    let seen = Arc::new(Seen::default());
    let readers: Vec<_> =
        (0..READERS).map(|reader| tokio::spawn(read(sandbox.client(), reader, seen.clone()))).collect();
    for number in 2..=REVISIONS {
        let revision = sandbox.apply(&definitions(number)).await.unwrap().revision;
        assert_eq!(revision, Revision(number));
        sandbox.clock.advance(Duration::from_secs(1));
        push(&sandbox, revision).await;
        let before = seen.answers.load(Ordering::SeqCst);
        while seen.answers.load(Ordering::SeqCst) < before + 2 * READERS as u64 {
            assert!(!readers.iter().any(|reader| reader.is_finished()), "a reader failed");
            tokio::task::yield_now().await;
        }
    }
    seen.done.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    let seen = seen.revisions.lock().unwrap().len() as u64;
    assert!(seen > REVISIONS / 2, "the readers saw {seen} revisions alone");
}

/// Serving heard of revision 1 alone, and finds rows that were written by revision 2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_a_later_revision_is_read_by_it() {
    let sandbox = Sandbox::with(&definitions(2)).await;
    push(&sandbox, Revision(1)).await;
    // The request took its catalog; then comes the revision, and rows by it.
    let asked = references(&["profile.city"], vec![("customer_id", ints(&[7]))]);
    sandbox.store.hold(Held::All);
    let (client, request) = (sandbox.client(), asked.clone());
    let answering = tokio::spawn(async move { client.online_features(&request).await });
    sandbox.store.arrived(1).await;
    let revision = sandbox.apply(&definitions(3)).await.unwrap().revision;
    sandbox.clock.advance(Duration::from_secs(1));
    let columns = vec![
        ("customer_id", ints(&[7])),
        ("score", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef),
        ("visits", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        ("city", Arc::new(StringArray::from(vec!["Bern"])) as ArrayRef),
        ("extra", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef),
    ];
    let at = sandbox.clock.now();
    sandbox.push_by(revision, "visits", columns, vec![at], false).await.unwrap();
    sandbox.store.hold(Held::Nothing);
    let answer = answering.await.unwrap().unwrap();
    assert_eq!(answer.replay.as_ref().unwrap().revision, revision);
    assert_eq!(table(&answer)[0].1, ["Bern"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_revision_takes_away_is_not_found_from_then_on() {
    let sandbox = Sandbox::with(&definitions(3)).await;
    let asked = references(&["profile.visits"], vec![("customer_id", ints(&[1]))]);
    sandbox.ask(&asked).await.unwrap();
    let revision = sandbox.apply(&definitions(4)).await.unwrap().revision;
    let error = sandbox.ask(&OnlineRequest { min_revision: revision, ..asked }).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound, "{error}");
    assert!(error.message().contains("visits"), "{error}");
}
