//! What the process looks at: named conditions, each with its reason, on every way in which readiness is told.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use larder_service::{Host, OnFailure, TaskKind, Tasks};
use larder_types::{Error, ErrorCode};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::fake::World;

#[tokio::test]
async fn a_probe_that_fails_is_told_with_its_reason_until_it_holds_again() {
    let world = World::new();
    let (readiness, metrics) = (&world.surroundings.readiness, &world.surroundings.metrics);
    let looks = Arc::new(AtomicU32::new(0));
    readiness.probe("the store", Arc::clone(&looks), |looks| async move {
        match looks.fetch_add(1, Ordering::SeqCst) {
            1 => Err(Error::failed_precondition("it is full")),
            _ => Ok(()),
        }
    });
    readiness.probe("the store", (), |()| async { Err(Error::internal("the same store is looked at once")) });
    readiness.probe("another", (), |()| async { Ok(()) });
    let expected = [vec![], vec![("the store", "it is full".to_owned())], vec![]];
    for (round, expected) in (1..).zip(expected) {
        readiness.probe_all(metrics).await.unwrap();
        assert_eq!(readiness.unmet(), expected);
        assert_eq!(looks.load(Ordering::SeqCst), round);
        let holds = u8::from(expected.is_empty()).to_string();
        assert_eq!(world.metric("larder_condition_met{condition=\"the store\"}"), Some(holds));
        assert_eq!(world.metric("larder_condition_met{condition=\"another\"}"), Some("1".to_owned()));
        let mut health = HealthClient::new(world.endpoint());
        let status = health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status();
        assert_eq!(status == ServingStatus::Serving, expected.is_empty());
    }
}

#[tokio::test]
async fn a_store_that_only_another_process_can_use_stops_this_one_with_the_reason() {
    let world = World::new();
    let surroundings = world.surroundings.clone();
    let tasks = Tasks::new(surroundings.shutdown.clone());
    let looks = Arc::new(AtomicU32::new(0));
    surroundings.readiness.vital_probe("the store", looks, |looks| async move {
        match looks.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Error::unavailable("away")),
            1 => Ok(()),
            _ => Err(Error::failed_precondition("its disk is gone")),
        }
    });
    let (readiness, metrics) = (surroundings.readiness.clone(), surroundings.metrics.clone());
    readiness.probe_all(&metrics).await.unwrap();
    assert!(!readiness.is_ready());
    readiness.probe_all(&metrics).await.unwrap();
    assert!(readiness.is_ready());
    tasks.spawn(TaskKind::new("readiness", OnFailure::Stop), move |stop| {
        let (readiness, metrics) = (readiness.clone(), metrics.clone());
        async move { readiness.keep_probing(&metrics, stop).await }
    });
    let host = Host::new(&world.config, surroundings.shutdown, surroundings.readiness, tasks);
    let error = host.run().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::FailedPrecondition);
    assert_eq!(error.message(), "background task `readiness`: the store: its disk is gone");
}
