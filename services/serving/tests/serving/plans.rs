//! Plans are made once for a revision, before anybody asks for them again.

use std::{sync::Arc, time::Duration};

use larder_client::{CatalogWatchOptions, OnlineRequest, Projects, RegistryClient};
use larder_definitions::selection::Asked;
use larder_service::call::CallContext;
use larder_serving::{
    app::{Request, Serving},
    config::Limits,
    plans::Plans,
};
use larder_types::Revision;
use prometheus::IntCounter;

use crate::{
    sandbox::{name, spawn},
    shop::{SHOP, ints, references, service, shop},
};

const CALLERS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_made_once_a_revision_and_is_there_before_it_is_asked_for() {
    let sandbox = shop().await;
    let asked = service("profile_service", vec![("customer_id", ints(&[1]))]);
    let full = OnlineRequest { full_names: true, ..asked.clone() };
    let one_by_one = references(&["profile.city"], vec![("customer_id", ints(&[1]))]);
    for (request, plans) in [(&asked, 1), (&full, 2), (&one_by_one, 3)] {
        sandbox.ask(request).await.unwrap();
        assert_eq!(sandbox.plans(), plans);
    }
    let callers = (0..CALLERS).map(|_| {
        let (client, requests) = (sandbox.client(), [asked.clone(), full.clone(), one_by_one.clone()]);
        tokio::spawn(async move {
            for request in requests.iter().cycle().take(30) {
                client.online_features(request).await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(sandbox.plans(), 3);

    let described = SHOP.replace("- name: profile\n", "- name: profile\n    description: who comes\n");
    let revision = sandbox.apply(&described).await.unwrap().revision;
    // Nobody asks; the plans of the new revision are made all the same.
    larder_test_kit::eventually("plans of the new revision", Duration::from_secs(10), || {
        (sandbox.plans() == 6).then_some(())
    });
    for request in [&asked, &full, &one_by_one] {
        let answer = sandbox.ask(&OnlineRequest { min_revision: revision, ..request.clone() }).await.unwrap();
        assert_eq!(answer.replay.unwrap().revision, revision);
    }
    assert_eq!(sandbox.plans(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_share_the_plan_of_their_revision() {
    let sandbox = shop().await;
    let compiled = IntCounter::new("plans", "plans").unwrap();
    let projects = Projects::new(
        sandbox.registry.clone(),
        CatalogWatchOptions::default(),
        spawn(),
        move |catalog, previous: Option<&Plans>| match previous {
            Some(previous) => previous.renewed(catalog),
            None => Plans::new(catalog, None, compiled.clone()),
        },
    );
    let serving = Serving::new(sandbox.store.clone(), Arc::new(sandbox.clock.clone()), projects, Limits::default());
    let request = |min_revision| Request {
        project: "shop".to_owned(),
        asked: Asked::Service(name("weather_service")),
        entities: Vec::new(),
        request_data: Vec::new(),
        full_names: false,
        include_replay: false,
        min_revision,
        rows: 0,
    };
    let call = CallContext::unbounded();
    let first = serving.answer(request(Revision(0)), &call).await.unwrap().plan;
    let again = serving.answer(request(Revision(1)), &call).await.unwrap().plan;
    assert!(Arc::ptr_eq(&first, &again));
    let described = SHOP.replace("- name: profile\n", "- name: profile\n    description: who comes\n");
    sandbox.apply(&described).await.unwrap();
    let newer = serving.answer(request(Revision(2)), &call).await.unwrap().plan;
    assert!(!Arc::ptr_eq(&first, &newer));
    assert_eq!((first.catalog.revision, newer.catalog.revision), (Revision(1), Revision(2)));
}

/// The features of the shop in one of 5,040 orders, each of which is a question of its own.
fn in_order(number: usize) -> Asked {
    let mut left = vec![
        "profile.score",
        "profile.visits",
        "profile.city",
        "basket.quantity",
        "weather.temperature",
        "ledger.balance",
        "asked_only.doubled",
    ];
    let mut number = number;
    let mut references = Vec::new();
    while !left.is_empty() {
        let next = left.remove(number % left.len());
        number /= left.len() + 1;
        references.push(next.parse().unwrap());
    }
    Asked::References(references)
}

/// Whatever is asked once leaves what is asked again and again where it is, and never grows beyond its room.
#[tokio::test]
async fn plans_that_were_not_used_for_longest_make_room() {
    let sandbox = shop().await;
    let catalog = RegistryClient::new(sandbox.registry.clone()).catalog(&name("shop"), None).await.unwrap();
    let compiled = IntCounter::new("plans", "plans").unwrap();
    let mut plans = Plans::new(Arc::clone(&catalog), None, compiled.clone());
    let service = Asked::Service(name("profile_service"));
    for asked in [&service, &in_order(0), &in_order(1)] {
        plans.plan(asked, false).unwrap();
    }
    for number in 2..1_100 {
        plans.plan(&in_order(number), false).unwrap();
        plans.plan(&in_order(1), false).unwrap();
    }
    assert_eq!(compiled.get(), 1 + 1_100);
    // Of the service and a thousand questions, for each revision.
    for revision in 1..=2 {
        plans = plans.renewed(Arc::clone(&catalog));
        assert_eq!(compiled.get(), 1_101 + 1_001 * revision);
    }
    for (asked, is_kept) in
        [(service, true), (in_order(1), true), (in_order(1_099), true), (in_order(101), true), (in_order(0), false)]
    {
        let before = compiled.get();
        plans.plan(&asked, false).unwrap();
        assert_eq!(compiled.get() == before, is_kept, "{asked:?}");
    }
}
