//! WatchCatalog and those who follow it: from any revision, in pieces, through storms of applies and restarts.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, future::join_all};
use larder_client::{CatalogWatch, CatalogWatchOptions, ChangeRequest, Projects, RegistryClient, Spawn, Transport};
use larder_contracts::{
    catalog::Assembler,
    registry::v1::{
        CatalogPiece, Heartbeat, WatchCatalogRequest, WatchCatalogResponse,
        registry_service_client::RegistryServiceClient, watch_catalog_response::Event,
    },
    status::from_status,
};
use larder_definitions::{Catalog, ChangeSet, Feature, FeatureView, Object};
use larder_test_kit::clock;
use larder_types::{Error, ErrorCode, Revision};
use prost::Message as _;
use tokio::time::timeout;
use tonic::Streaming;

use crate::{
    declared::{BASE, declare_base, objects, of_origin, one_more, only, whole},
    surroundings::{PATIENCE, Registry, Storage, Switch, name, project},
};

const DAY: Duration = Duration::from_secs(86_400);

/// One stream, and the catalog that it has brought.
struct Subscriber {
    stream: Streaming<WatchCatalogResponse>,
    here: Option<Arc<Catalog>>,
}

/// What came next on a stream: a catalog in its pieces, or a heartbeat.
#[derive(Debug)]
enum News {
    Whole(Vec<CatalogPiece>),
    Change(Vec<CatalogPiece>),
    Heartbeat(u64),
}

impl Subscriber {
    async fn since(transport: Transport, here: Option<Arc<Catalog>>, since: u64) -> Self {
        let mut client = RegistryServiceClient::new(transport).max_decoding_message_size(64 << 20);
        let request = WatchCatalogRequest { project: project().to_string(), since };
        Self { stream: client.watch_catalog(request).await.unwrap().into_inner(), here }
    }

    async fn next(&mut self) -> Result<News, Error> {
        let (mut pieces, mut open) = (Vec::new(), None);
        loop {
            let message = timeout(PATIENCE, self.stream.next()).await.unwrap().expect("streams end with a status");
            let WatchCatalogResponse { event } = message.map_err(from_status)?;
            let (piece, is_whole) = match event.unwrap() {
                Event::Whole(piece) => (piece, true),
                Event::Change(piece) => (piece, false),
                Event::Heartbeat(Heartbeat { revision }) => {
                    assert!(open.is_none(), "no heartbeat between pieces");
                    return Ok(News::Heartbeat(revision));
                }
            };
            let start = || match &self.here {
                Some(here) if !is_whole => Assembler::change(Arc::clone(here)),
                _ => Assembler::whole(None),
            };
            let assembler = open.get_or_insert_with(start);
            pieces.push(piece.clone());
            if let Some(catalog) = assembler.add(piece)? {
                self.here = Some(Arc::new(catalog));
                return Ok(if is_whole { News::Whole(pieces) } else { News::Change(pieces) });
            }
        }
    }

    /// The next pieces, with heartbeats passed over.
    async fn news(&mut self) -> News {
        loop {
            match self.next().await.unwrap() {
                News::Heartbeat(_) => {}
                news @ (News::Whole(_) | News::Change(_)) => return news,
            }
        }
    }

    fn revision(&self) -> u64 {
        self.here.as_ref().map_or(0, |here| here.revision.0)
    }
}

#[tokio::test]
async fn a_subscriber_is_told_the_whole_or_what_changed_since() {
    let registry = Registry::start(&Storage::in_memory(), &clock()).await;
    let client = registry.definitions();
    declare_base(&client).await;
    for number in 2..=4 {
        client.apply(&project(), &one_more("repo", &format!("thing_{number}"))).await.unwrap();
    }
    let newest = client.catalog(&project(), None).await.unwrap();
    for way in registry.both_ways().await {
        // From nothing, and from a revision that is not there: the whole.
        for since in [0, 9] {
            let mut subscriber = Subscriber::since(way.clone(), None, since).await;
            let News::Whole(pieces) = subscriber.next().await.unwrap() else { panic!("since {since}") };
            assert!(pieces.iter().all(|piece| piece.since == 0 && piece.revision == 4));
            assert_eq!(subscriber.here.as_ref(), Some(&newest));
            assert!(matches!(subscriber.next().await.unwrap(), News::Heartbeat(4)));
        }
        // From an earlier one: what changed.
        let second = client.catalog(&project(), Some(Revision(2))).await.unwrap();
        let mut subscriber = Subscriber::since(way.clone(), Some(second), 2).await;
        let News::Change(pieces) = subscriber.next().await.unwrap() else { panic!() };
        let names: Vec<_> = pieces.iter().flat_map(|piece| &piece.entries).map(|entry| entry.name.as_str()).collect();
        assert_eq!((pieces[0].since, pieces[0].revision, names), (2, 4, vec!["thing_3", "thing_4"]));
        assert_eq!(subscriber.here.as_ref(), Some(&newest));
        // From the newest: nothing but that it is there.
        let mut subscriber = Subscriber::since(way.clone(), Some(newest.clone()), 4).await;
        assert!(matches!(subscriber.next().await.unwrap(), News::Heartbeat(4)));
    }
    // Every revision is told, by one stream, to who keeps up.
    let mut subscriber = Subscriber::since(registry.over_a_port().await, Some(newest), 4).await;
    for number in 5..=12 {
        let change = if number % 4 == 0 { whole(BASE) } else { one_more("repo", &format!("thing_{number}")) };
        client.apply(&project(), &change).await.unwrap();
        let News::Change(pieces) = subscriber.news().await else { panic!() };
        assert!(pieces.iter().all(|piece| (piece.since, piece.revision) == (number - 1, number)));
        assert_eq!(subscriber.here, Some(client.catalog(&project(), Some(Revision(number))).await.unwrap()));
    }
    let error = RegistryClient::new(registry.transport()).catalog(&project(), Some(Revision(99))).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_silent_registry_says_that_it_is_there() {
    let registry = Registry::start(&Storage::in_memory(), &clock()).await;
    declare_base(&registry.definitions()).await;
    let mut subscriber = Subscriber::since(registry.over_a_port().await, None, 0).await;
    subscriber.news().await;
    for _ in 0..2 {
        assert!(matches!(subscriber.next().await.unwrap(), News::Heartbeat(1)));
    }
}

/// 500 views of 20 features each, one of them with its own ttl.
fn ten_thousand_features(ttl_of_one: Duration) -> ChangeRequest {
    let (mut puts, mut pattern) = (Vec::new(), None);
    for object in objects(BASE) {
        match object {
            Object::FeatureView(view) => pattern = Some(view),
            Object::Entity(_) | Object::Source(_) => puts.push(object),
            Object::OnDemandFeatureView(_) | Object::FeatureService(_) => {}
        }
    }
    let pattern = pattern.unwrap();
    let feature = |number| Feature {
        name: name(&format!("f{number:02}")),
        description: "what it means and where it comes from, at some length, as people write it ".repeat(3),
        ..pattern.features[1].clone()
    };
    let features: Vec<Feature> = (0..20).map(feature).collect();
    puts.extend((0..500).map(|number| {
        let ttl = if number == 250 { Some(ttl_of_one) } else { pattern.ttl };
        let name = name(&format!("view_{number:03}"));
        Object::FeatureView(FeatureView { name, ttl, features: features.clone(), ..pattern.clone() })
    }));
    only(ChangeSet { puts, ..of_origin("repo") })
}

#[tokio::test]
async fn a_big_catalog_comes_in_pieces_below_a_mebibyte() {
    let registry = Registry::start(&Storage::in_memory(), &clock()).await;
    let client = registry.definitions();
    client.apply(&project(), &ten_thousand_features(DAY)).await.unwrap();
    let mut subscriber = Subscriber::since(registry.over_a_port().await, None, 0).await;
    let News::Whole(pieces) = subscriber.next().await.unwrap() else { panic!() };
    let sizes: Vec<_> = pieces.iter().map(|piece| piece.encoded_len()).collect();
    assert!(sizes.len() > 2 && sizes.iter().all(|size| *size < 1 << 20), "{sizes:?}");
    let lasts: Vec<_> = pieces.iter().map(|piece| piece.last).collect();
    assert!(lasts.iter().rposition(|last| !last) == Some(lasts.len() - 2), "the last piece says so: {lasts:?}");
    let here = subscriber.here.clone().unwrap();
    let features: usize = here.feature_views.values().map(|view| view.definition.features.len()).sum();
    assert_eq!(features, 10_000);
    assert_eq!(here, client.catalog(&project(), None).await.unwrap());

    client.apply(&project(), &ten_thousand_features(2 * DAY)).await.unwrap();
    let News::Change(pieces) = subscriber.news().await else { panic!() };
    assert_eq!((pieces.len(), pieces[0].entries.len()), (1, 1), "one view changed, and one is sent");
    assert_eq!(subscriber.here, Some(client.catalog(&project(), None).await.unwrap()));
}

/// Applies `count` more objects from each of four senders at once, by two ways.
async fn storm(registry: &Registry, count: usize) {
    let ways = registry.both_ways().await;
    let sending = ways.iter().cycle().take(4).cloned().enumerate().map(|(sender, way)| {
        let client = RegistryClient::new(way).within(PATIENCE);
        tokio::spawn(async move {
            for number in 0..count {
                let change = one_more(&format!("sender_{sender}"), &format!("thing_{sender}_{number}"));
                assert!(client.apply(&project(), &change).await.unwrap().changed);
            }
        })
    });
    join_all(sending.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
}

/// Who does not keep up is told several revisions as one; nobody is told one twice, an older one, or a mixture.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_of_applies_revisions_come_in_order_and_the_last_one_comes() {
    const LAST: u64 = 1 + 4 * 15;
    let registry = Registry::start(&Storage::in_memory(), &clock()).await;
    let client = registry.definitions();
    declare_base(&client).await;
    let ways = registry.both_ways().await;
    let subscribing = ways.iter().cloned().map(|way| async move {
        let mut subscriber = Subscriber::since(way, None, 0).await;
        let mut told: Vec<Arc<Catalog>> = Vec::new();
        while subscriber.revision() < LAST {
            if let News::Change(pieces) = subscriber.news().await {
                assert_eq!(pieces[0].since, told.last().unwrap().revision.0);
            }
            told.extend(subscriber.here.clone());
        }
        told
    });
    let following = ways.iter().cloned().map(|way| async move {
        let (watch, follower) = CatalogWatch::new(way, project(), CatalogWatchOptions::default());
        let task = tokio::spawn(follower.run());
        let mut catalogs = watch.subscribe();
        let mut told: Vec<Arc<Catalog>> = Vec::new();
        while told.last().is_none_or(|last| last.revision.0 < LAST) {
            timeout(PATIENCE, catalogs.changed()).await.unwrap().unwrap();
            told.extend(catalogs.borrow_and_update().clone());
        }
        task.abort();
        told
    });
    let subscribers: Vec<_> = subscribing.map(tokio::spawn).collect();
    let followers: Vec<_> = following.map(tokio::spawn).collect();
    storm(&registry, 15).await;
    for told in join_all(subscribers.into_iter().chain(followers)).await {
        let told = told.unwrap();
        assert!(told.is_sorted_by(|one, next| one.revision < next.revision));
        assert_eq!(told.last().unwrap().revision, Revision(LAST));
        for catalog in told {
            let kept = client.catalog(&project(), Some(catalog.revision)).await.unwrap();
            assert_eq!(catalog, kept, "revision {}", catalog.revision);
        }
    }
}

#[tokio::test]
async fn a_follower_catches_up_with_a_registry_that_started_anew() {
    for storage in Storage::both() {
        let clock = clock();
        let mut registry = Registry::start(&storage, &clock).await;
        declare_base(&registry.definitions()).await;
        let switch = Switch::to(&registry);
        let (watch, follower) = CatalogWatch::new(switch.transport(), project(), CatalogWatchOptions::default());
        let task = tokio::spawn(follower.run());
        watch.wait_for(Revision(1), PATIENCE).await.unwrap();
        let mut storage = storage;
        for round in 0..3_u64 {
            registry.stop();
            storage = storage.reopened();
            registry = Registry::start(&storage, &clock).await;
            let client = registry.definitions();
            // Some revisions come while the follower is away, some when it is back.
            client.apply(&project(), &one_more("repo", &format!("away_{round}"))).await.unwrap();
            switch.turn(&registry);
            client.apply(&project(), &one_more("repo", &format!("back_{round}"))).await.unwrap();
            let revision = Revision(3 + 2 * round);
            let here = watch.wait_for(revision, PATIENCE).await.unwrap();
            assert_eq!(here, client.catalog(&project(), Some(revision)).await.unwrap());
            assert!(watch.age().unwrap() < PATIENCE);
        }
        task.abort();
    }
}

#[tokio::test]
async fn a_registry_that_stops_says_so_to_its_subscribers() {
    let registry = Registry::start(&Storage::in_memory(), &clock()).await;
    declare_base(&registry.definitions()).await;
    for way in registry.both_ways().await {
        let mut subscriber = Subscriber::since(way, None, 0).await;
        subscriber.news().await;
        registry.stop();
        let error = loop {
            match subscriber.next().await {
                Ok(News::Heartbeat(_)) => {}
                Ok(other @ (News::Whole(_) | News::Change(_))) => panic!("{other:?}"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), ErrorCode::Unavailable);
        assert!(error.message().contains("stopping"), "{error}");
        assert!(std::error::Error::source(&error).is_none(), "it is the service's own word, and not the transport's");
    }
}

#[tokio::test]
async fn who_asks_for_a_revision_waits_for_it_within_the_deadline() {
    let registry = Registry::start(&Storage::in_memory(), &clock()).await;
    let client = registry.definitions();
    declare_base(&client).await;
    for way in registry.both_ways().await {
        let first = client.projects().await.unwrap()[0].revision;
        let spawn: Spawn = Arc::new(|work| drop(tokio::spawn(work)));
        let made =
            Projects::new(way, CatalogWatchOptions::default(), spawn, |catalog, _: Option<&Revision>| catalog.revision);
        assert!(*made.get("payments", Revision(0), PATIENCE).await.unwrap() >= first);
        let wanted = Revision(first.0 + 2);
        let waiting = {
            let made = made.clone();
            tokio::spawn(async move { made.get("payments", wanted, PATIENCE).await })
        };
        for number in 0..2 {
            assert!(!waiting.is_finished());
            let change = one_more("repo", &format!("thing_{}_{number}", first.0));
            client.apply(&project(), &change).await.unwrap();
        }
        assert!(*waiting.await.unwrap().unwrap() >= wanted);
        let error = made.get("payments", Revision(99), Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
        assert!(error.message().contains(&format!("is at revision {wanted} here, and 99 did not come")), "{error}");
        let error = made.get("paymens", Revision(0), PATIENCE).await.unwrap_err();
        assert_eq!(error.message(), "the registry has no project `paymens`; did you mean payments?");
    }
}
