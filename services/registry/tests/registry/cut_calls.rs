//! A caller that goes before the answer: what the store takes all the same is shown, too.

use std::{sync::Arc, time::Duration};

use larder_client::RunFilter;
use larder_test_kit::clock;
use larder_types::{ErrorCode, Revision};
use object_store::{
    memory::InMemory,
    throttle::{ThrottleConfig, ThrottledStore},
};
use tokio::time::{sleep, timeout};

use crate::{
    declared::{declare_base, one_more},
    leases::materialize,
    surroundings::{PATIENCE, Registry, project},
};

/// How long the store takes for a write, and how long a hasty caller waits.
const SLOW: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(50));

/// A registry with the base, over a slow store.
async fn slow() -> Registry {
    let config = ThrottleConfig { wait_put_per_call: SLOW.0, ..ThrottleConfig::default() };
    let registry = Registry::over(Arc::new(ThrottledStore::new(InMemory::new(), config)), &clock()).await.unwrap();
    declare_base(&registry.definitions()).await;
    registry
}

/// Asks until it is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !is_so().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, asked).await.unwrap();
}

#[tokio::test]
async fn a_revision_whose_caller_went_is_shown() {
    let registry = slow().await;
    let (patient, hasty) = (registry.definitions(), registry.definitions().within(SLOW.1));
    let error = hasty.apply(&project(), &one_more("repo", "late")).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    until(async || patient.projects().await.unwrap()[0].revision == Revision(2)).await;
    let mut again = one_more("repo", "later");
    again.change.expected_revision = Some(Revision(2));
    assert_eq!(patient.apply(&project(), &again).await.unwrap().revision, Revision(3));
}

#[tokio::test]
async fn a_run_whose_caller_went_is_shown() {
    let registry = slow().await;
    let (patient, hasty) = (registry.runs(), registry.runs().within(SLOW.1));
    let error = hasty.create(&project(), "r", &materialize("profile")).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    until(async || patient.list(&project(), &RunFilter::default()).await.unwrap().runs.len() == 1).await;
    assert_eq!(patient.acquire_lease(&project(), "r", "ada").await.unwrap().run.id, "r");
}
