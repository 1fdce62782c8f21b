//! What outlives the registry: every event of every run, the snapshots they are folded into, and how long a lease counts
//! that only the registry before remembered.

use std::time::Duration;

use larder_client::{RunFilter, RunsClient};
use larder_definitions::run::{LEASE_TERM, Outcome, Run};
use larder_test_kit::clock;
use larder_types::{ErrorCode, LeaseNumber, Revision};

use crate::{
    declared::{declare_base, declared_names, one_more},
    leases::{counts, materialize, plan, succeeded, watermark},
    surroundings::{Registry, Storage, project},
};

async fn all(runs: &RunsClient) -> Vec<Run> {
    let page = runs.list(&project(), &RunFilter::default()).await.unwrap();
    assert_eq!(page.next_page_token, None);
    page.runs
}

#[tokio::test]
async fn whatever_was_answered_is_there_after_a_restart() {
    let (mut storage, clock) = (Storage::in_a_folder(), clock());
    declare_base(&Registry::start(&storage, &clock).await.definitions()).await;
    let mut before: Option<Vec<Run>> = None;
    for step in 0..8 {
        storage = storage.reopened();
        let registry = Registry::start(&storage, &clock).await;
        let (runs, project, lease) = (registry.runs(), project(), LeaseNumber(1));
        if let Some(before) = before {
            assert_eq!(all(&runs).await, before, "before step {step}");
        }
        match step {
            0 => drop(runs.create(&project, "r", &materialize("profile")).await.unwrap()),
            1 => drop(runs.acquire_lease(&project, "r", "ada").await.unwrap()),
            2 => drop(runs.plan(&project, "r", lease, &plan(1, 5)).await.unwrap()),
            3 | 4 => runs.complete_parts(&project, "r", lease, &[step - 3], &counts(10)).await.unwrap(),
            5 => drop(runs.cancel(&project, "r").await.unwrap()),
            6 => drop(runs.finish(&project, "r", lease, &succeeded()).await.unwrap()),
            _ => assert_eq!(watermark(&runs).await, Some(5)),
        }
        clock.advance(Duration::from_secs(1));
        before = Some(all(&runs).await);
    }
}

/// Renewals are not written down, so a registry that starts anew takes every lease for good for one term.
#[tokio::test]
async fn a_registry_that_starts_anew_waits_a_term_before_it_gives_a_run_to_another() {
    let (storage, clock) = (Storage::in_memory(), clock());
    let registry = Registry::start(&storage, &clock).await;
    declare_base(&registry.definitions()).await;
    let runs = registry.runs();
    for id in ["kept", "left"] {
        runs.create(&project(), id, &materialize("profile")).await.unwrap();
        runs.acquire_lease(&project(), id, "ada").await.unwrap();
    }
    clock.advance(LEASE_TERM / 2);
    let runs = Registry::start(&storage, &clock).await.runs();
    clock.advance(LEASE_TERM - Duration::from_micros(1));
    for id in ["kept", "left"] {
        let error = runs.acquire_lease(&project(), id, "bob").await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Conflict, "{id}");
    }
    runs.report_progress(&project(), "kept", LeaseNumber(1), &counts(1), None).await.unwrap();
    clock.advance(Duration::from_micros(1));
    assert_eq!(runs.acquire_lease(&project(), "left", "bob").await.unwrap().lease, LeaseNumber(2));
    assert_eq!(runs.acquire_lease(&project(), "kept", "bob").await.unwrap_err().code(), ErrorCode::Conflict);
    clock.advance(LEASE_TERM);
    assert_eq!(runs.acquire_lease(&project(), "kept", "bob").await.unwrap().lease, LeaseNumber(2));
}

/// A start reads the newest snapshot and what came after it, and nothing of what is folded into the snapshot.
#[tokio::test]
async fn old_events_are_folded_into_a_snapshot() {
    let (storage, clock) = (Storage::in_memory(), clock());
    let registry = Registry::start(&storage, &clock).await;
    declare_base(&registry.definitions()).await;
    let (runs, project, lease) = (registry.runs(), project(), LeaseNumber(1));
    // Seven events each.
    for number in 0..80 {
        let id = format!("run_{number:03}");
        runs.create(&project, &id, &materialize("profile")).await.unwrap();
        runs.acquire_lease(&project, &id, "ada").await.unwrap();
        runs.plan(&project, &id, lease, &plan(1, number + 1)).await.unwrap();
        for part in 0..2 {
            runs.complete_parts(&project, &id, lease, &[part], &counts(10)).await.unwrap();
        }
        runs.cancel(&project, &id).await.unwrap();
        let outcome = if number % 3 == 0 { Outcome::Cancelled } else { succeeded() };
        runs.finish(&project, &id, lease, &outcome).await.unwrap();
        clock.advance(Duration::from_secs(1));
    }
    let before = all(&runs).await;
    assert_eq!((before.len(), watermark(&runs).await), (80, Some(80)));
    let contents = storage.contents().await;
    assert!(contents.contains_key("1/runs/snapshots/00000000000000000500"), "{:?}", contents.keys());
    for number in 1..=500 {
        storage.remove(&format!("1/runs/{number:020}")).await;
    }
    let runs = Registry::start(&storage, &clock).await.runs();
    assert_eq!(all(&runs).await, before);
    assert_eq!(watermark(&runs).await, Some(80));
    let (_, created) = runs.create(&project, "run_001", &materialize("profile")).await.unwrap();
    assert!(!created, "an id of long ago is still taken");
    runs.create(&project, "new", &materialize("profile")).await.unwrap();
    assert!(storage.contents().await.contains_key("1/runs/00000000000000000561"));
}

#[tokio::test]
async fn old_revisions_are_folded_into_a_snapshot() {
    let (storage, clock) = (Storage::in_memory(), clock());
    let client = Registry::start(&storage, &clock).await.definitions();
    declare_base(&client).await;
    for number in 2..=105 {
        client.apply(&project(), &one_more("repo", &format!("thing_{number}"))).await.unwrap();
    }
    let (names, catalog) = (declared_names(&client).await, client.catalog(&project(), None).await.unwrap());
    for number in 1..=100 {
        storage.remove(&format!("1/revisions/{number:020}")).await;
    }
    let client = Registry::start(&storage, &clock).await.definitions();
    assert_eq!(declared_names(&client).await, names);
    assert_eq!(client.catalog(&project(), None).await.unwrap(), catalog);
    let applied = client.apply(&project(), &one_more("repo", "thing_106")).await.unwrap();
    assert_eq!(applied.revision, Revision(106));
}
