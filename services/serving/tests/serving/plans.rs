//! Plans are made once for a revision, before anybody asks for them again.

use std::{pin::pin, sync::Arc, time::Duration};

use larder_client::{CatalogWatchOptions, OnlineRequest, Projects, RegistryClient};
use larder_definitions::selection::{Asked, OutputSource, StoredFeature};
use larder_service::{call::CallContext, config::ByteSize};
use larder_serving::{
    app::{Request, Serving},
    config::Limits,
    great::GreatAnswers,
    plans::{MAX_REFERENCE_SIZE, Plans},
};
use larder_types::Revision;
use prometheus::IntCounter;

use crate::{
    sandbox::{Sandbox, name, spawn},
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
    let great = GreatAnswers::new(ByteSize::mebibytes(64));
    let serving =
        Serving::new(sandbox.store.clone(), Arc::new(sandbox.clock.clone()), projects, Limits::default(), great);
    let request = |min_revision| Request {
        project: "shop".to_owned(),
        asked: Arc::new(Asked::Service(name("weather_service"))),
        entities: Vec::new(),
        request_data: Vec::new(),
        full_names: false,
        include_replay: false,
        min_revision,
        rows: 0,
    };
    let call = CallContext::unbounded();
    let first = serving.answer(request(Revision(0)), &call, None).await.unwrap().plan;
    let again = serving.answer(request(Revision(1)), &call, None).await.unwrap().plan;
    assert!(Arc::ptr_eq(&first, &again));
    let described = SHOP.replace("- name: profile\n", "- name: profile\n    description: who comes\n");
    sandbox.apply(&described).await.unwrap();
    let newer = serving.answer(request(Revision(2)), &call, None).await.unwrap().plan;
    assert!(!Arc::ptr_eq(&first, &newer));
    assert_eq!((first.catalog.revision, newer.catalog.revision), (Revision(1), Revision(2)));
}

/// The features of the shop in one of 5,040 orders, each of which is a question of its own.
fn in_order(number: usize) -> Arc<Asked> {
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
    Arc::new(Asked::References(references))
}

/// Whatever is asked once leaves what is asked again and again where it is, and never grows beyond its room.
#[tokio::test]
async fn plans_that_were_not_used_for_longest_make_room() {
    let sandbox = shop().await;
    let (mut plans, compiled) = plans_of(&sandbox).await;
    let service = Arc::new(Asked::Service(name("profile_service")));
    for asked in [&service, &in_order(0), &in_order(1)] {
        plans.plan(asked, false).await.unwrap();
    }
    for number in 2..1_100 {
        plans.plan(&in_order(number), false).await.unwrap();
        plans.plan(&in_order(1), false).await.unwrap();
    }
    assert_eq!(compiled.get(), 1 + 1_100);
    // Of the service and a thousand questions, for each revision.
    for revision in 1..=2 {
        plans = Arc::new(plans.renewed(Arc::clone(plans.catalog())));
        assert_eq!(compiled.get(), 1_101 + 1_001 * revision);
    }
    for (asked, is_kept) in
        [(service, true), (in_order(1), true), (in_order(1_099), true), (in_order(101), true), (in_order(0), false)]
    {
        let before = compiled.get();
        plans.plan(&asked, false).await.unwrap();
        assert_eq!(compiled.get() == before, is_kept, "{asked:?}");
    }
}

/// None yet, and how many are made.
async fn plans_of(sandbox: &Sandbox) -> (Arc<Plans>, IntCounter) {
    let catalog = RegistryClient::new(sandbox.registry.clone()).catalog(&name("shop"), None).await.unwrap();
    let compiled = IntCounter::new("plans", "plans").unwrap();
    (Arc::new(Plans::new(catalog, None, compiled.clone())), compiled)
}

/// So many times the same feature, under names of its own.
fn many(count: usize, called: &str) -> Arc<Asked> {
    let reference = |number: usize| format!("profile.score as {called}{number}").parse().unwrap();
    Arc::new(Asked::References((0..count).map(reference).collect()))
}

/// However great the plans are that are asked for, those that are kept are not greater together than there is room.
#[tokio::test]
async fn great_plans_have_room_together_or_are_not_kept() {
    let sandbox = shop().await;
    let (mut plans, compiled) = plans_of(&sandbox).await;
    // Three of them fit.
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|called| many(MAX_REFERENCE_SIZE / 3 - 10, called));
    let small = in_order(0);
    for asked in [&a, &small, &b, &c, &small, &d] {
        plans.plan(asked, false).await.unwrap();
    }
    assert_eq!(compiled.get(), 5);
    plans = Arc::new(plans.renewed(Arc::clone(plans.catalog())));
    assert_eq!(compiled.get(), 5 + 3, "of the small one and the last two great ones");
    for asked in [&small, &c, &d] {
        plans.plan(asked, false).await.unwrap();
    }
    assert_eq!(compiled.get(), 8);
    // Greater than all the room: answered, and nothing makes room for it.
    let greatest = many(MAX_REFERENCE_SIZE, "e");
    assert_eq!(plans.plan(&greatest, false).await.unwrap().selection.outputs.len(), MAX_REFERENCE_SIZE);
    assert_eq!(compiled.get(), 9);
    plans.renewed(Arc::clone(plans.catalog()));
    assert_eq!(compiled.get(), 12);
}

/// However great it is, nobody else waits for a plan to be made.
#[tokio::test]
async fn a_plan_is_made_beside_the_threads_that_serve() {
    let sandbox = shop().await;
    let (plans, _) = plans_of(&sandbox).await;
    let asked = many(20_000, "a");
    let mut making = pin!(plans.plan(&asked, false));
    assert!(futures::poll!(making.as_mut()).is_pending());
    let made = making.await.unwrap();
    let mut again = pin!(plans.plan(&asked, false));
    let std::task::Poll::Ready(again) = futures::poll!(again.as_mut()) else { panic!("it is there") };
    assert!(Arc::ptr_eq(&made, &again.unwrap()));
}

#[tokio::test]
async fn a_plan_knows_how_often_each_column_is_answered() {
    let sandbox = shop().await;
    let (plans, _) = plans_of(&sandbox).await;
    let plan = async |references: &[&str]| {
        let references = references.iter().map(|reference| reference.parse().unwrap()).collect();
        plans.plan(&Arc::new(Asked::References(references)), false).await.unwrap()
    };
    let of = ["profile.score", "derived.share", "derived as again", "profile as other", "profile.score as third"];
    let several = plan(&of).await;
    let outputs = &several.selection.outputs;
    for output in outputs {
        let expected = if output.name.ends_with("score") { 3 } else { 1 };
        assert_eq!(several.uses(output.source), expected, "{}", output.name);
    }
    // A key, three features, three expressions with two inputs each, and what is answered.
    assert_eq!(several.size(), 1 + 3 + 3 * (32 + 2) + outputs.len());
    let computed = plan(&["derived.share"]).await;
    let score = OutputSource::Stored(StoredFeature { view: 0, feature: 0 });
    assert_eq!((computed.uses(score), computed.uses(OutputSource::Computed(0))), (0, 1));
}
