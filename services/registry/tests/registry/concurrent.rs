//! Applies at the same time: by both ways, to two registries on one store, on a store that loses requests and replies.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::join_all;
use larder_client::{Applied, ChangeRequest, RegistryClient, Transport};
use larder_connections::test_suite::UnreliableStore;
use larder_definitions::ChangeSet;
use larder_test_kit::clock;
use larder_types::{Error, ErrorCode, Result, Revision};

use crate::{
    declared::{declare_base, declared_names, entity, of_origin, one_more, only},
    surroundings::{PATIENCE, Registry, Storage, project},
};

/// Two registries on one storage that has the base, and two ways to each.
async fn ways(storage: &Storage) -> Vec<Transport> {
    declare_base(&Registry::start(storage, &clock()).await.definitions()).await;
    let mut ways = Vec::new();
    for _ in 0..2 {
        ways.extend(Registry::start(storage, &clock()).await.both_ways().await);
    }
    ways
}

/// All of `changes` at once, each by the next way.
async fn race(ways: &[Transport], changes: &[ChangeRequest]) -> Vec<Result<Applied>> {
    let applies = changes.iter().cloned().zip(ways.iter().cycle().cloned()).map(|(change, way)| {
        tokio::spawn(async move { RegistryClient::new(way).within(PATIENCE).apply(&project(), &change).await })
    });
    join_all(applies).await.into_iter().map(Result::unwrap).collect()
}

fn changes(count: usize, change: impl Fn(usize) -> ChangeRequest) -> Vec<ChangeRequest> {
    (0..count).map(change).collect()
}

/// The one who won, and what the others were told.
fn one_winner(answers: Vec<Result<Applied>>) -> (usize, Applied, Vec<Error>) {
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(applied) => won.push((number, applied)),
            Err(error) => lost.push(error),
        }
    }
    assert_eq!(won.len(), 1, "{won:?} {lost:?}");
    let (winner, applied) = won.remove(0);
    (winner, applied, lost)
}

async fn newest(storage: &Storage) -> RegistryClient {
    Registry::start(storage, &clock()).await.definitions()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_applies_from_one_revision_exactly_one_wins_and_the_others_are_told() {
    for rivals in [2, 8] {
        for storage in Storage::both() {
            let ways = ways(&storage).await;
            let changes = changes(rivals, |rival| {
                let mut change = one_more(&format!("rival_{rival}"), &format!("thing_{rival}"));
                change.change.expected_revision = Some(Revision(1));
                change
            });
            let (winner, applied, lost) = one_winner(race(&ways, &changes).await);
            assert_eq!((applied.revision, applied.changed), (Revision(2), true));
            for error in &lost {
                assert_eq!(error.code(), ErrorCode::Conflict, "{error}");
                let told = "was expected at revision 1 and is at revision 2";
                let by = format!("from rival_{winner}: ");
                assert!(error.message().contains(told) && error.message().contains(&by), "{error}");
            }
            let names = declared_names(&newest(&storage).await).await;
            let things: Vec<_> = names.iter().filter(|name| name.contains("thing_")).collect();
            assert_eq!(things, [&format!("entity thing_{winner}")]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_expected_revision_all_that_do_not_clash_win_and_nothing_is_lost() {
    for storage in Storage::both() {
        let ways = ways(&storage).await;
        let changes = changes(8, |rival| one_more(&format!("rival_{rival}"), &format!("thing_{rival}")));
        let answers: Vec<_> = race(&ways, &changes).await.into_iter().map(Result::unwrap).collect();
        let made: BTreeSet<_> = answers.iter().map(|applied| applied.revision.0).collect();
        assert_eq!(made, (2..=9).collect());
        let client = newest(&storage).await;
        let revisions = client.revisions(&project(), 100, "").await.unwrap().revisions;
        for (rival, applied) in answers.iter().enumerate() {
            assert!(applied.changed && applied.changes.len() == 1, "{applied:?}");
            let kept = revisions.iter().find(|kept| kept.revision == applied.revision).unwrap();
            assert_eq!(kept.message, format!("thing_{rival} by rival_{rival}"));
            assert!(declared_names(&client).await.contains(&format!("entity thing_{rival}")));
        }
        assert_eq!(revisions.len(), 9);
    }
}

/// Each change waits for the store, which works on the same threads as the checks of changes.
#[test]
fn many_at_once_leave_threads_for_the_store() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(16).enable_all().build().unwrap();
    runtime.block_on(async {
        let storage = Storage::in_a_folder();
        let registry = Registry::start(&storage, &clock()).await;
        declare_base(&registry.definitions()).await;
        let changes = changes(100, |rival| {
            let mut change = one_more(&format!("rival_{rival}"), &format!("thing_{rival}"));
            change.change.expected_revision = Some(Revision(1));
            change
        });
        let (_, applied, lost) = one_winner(race(&[registry.transport()], &changes).await);
        assert_eq!((applied.revision, lost.len()), (Revision(2), 99));
        assert!(lost.iter().all(|error| error.code() == ErrorCode::Conflict), "{lost:?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_origins_that_declare_one_object_the_first_has_it() {
    let storage = Storage::in_memory();
    let ways = ways(&storage).await;
    let changes = changes(8, |rival| {
        let puts = vec![entity("thing", &format!("of {rival}"))];
        only(ChangeSet { puts, ..of_origin(&format!("rival_{rival}")) })
    });
    let (winner, applied, lost) = one_winner(race(&ways, &changes).await);
    assert_eq!(applied.revision, Revision(2));
    for error in &lost {
        assert_eq!(error.code(), ErrorCode::AlreadyExists, "{error}");
        assert!(error.message().contains(&format!("declared by origin `rival_{winner}`")), "{error}");
    }
    let thing = newest(&storage).await.object(&project(), &entity("thing", "").id(), None).await.unwrap();
    assert_eq!((thing.origin, thing.object), (format!("rival_{winner}"), entity("thing", &format!("of {winner}"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_change_sent_many_times_is_one_revision() {
    let storage = Storage::in_memory();
    let ways = ways(&storage).await;
    let answers = race(&ways, &changes(8, |_| one_more("repeater", "thing"))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|applied| applied.revision == Revision(2)), "{answers:?}");
    assert_eq!(answers.iter().filter(|applied| applied.changed).count(), 1);
}

/// Whoever is told "not known" sends the change again. In the end each change is there, as one revision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_until_it_is_answered_is_there_once() {
    for seed in 0..8 {
        let storage = Storage::in_memory();
        declare_base(&Registry::start(&storage, &clock()).await.definitions()).await;
        let sending = (0..4).map(|sender| {
            let unreliable = Arc::new(UnreliableStore::new(Arc::clone(&storage.objects), seed * 4 + sender, 50));
            tokio::spawn(async move {
                let registry = loop {
                    match Registry::over(unreliable.clone(), &clock()).await {
                        Ok(registry) => break registry,
                        Err(error) => assert_eq!(error.code(), ErrorCode::Unavailable, "{error}"),
                    }
                };
                for number in 0..6 {
                    let change = one_more(&format!("sender_{sender}"), &format!("thing_{sender}_{number}"));
                    while let Err(error) = registry.definitions().apply(&project(), &change).await {
                        assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
                    }
                }
            })
        });
        join_all(sending).await.into_iter().for_each(Result::unwrap);
        let client = newest(&storage).await;
        let names = declared_names(&client).await;
        assert_eq!(names.iter().filter(|name| name.contains("thing_")).count(), 24, "seed {seed}: {names:?}");
        let revisions = client.revisions(&project(), 100, "").await.unwrap().revisions;
        let messages: BTreeSet<_> = revisions.iter().map(|revision| revision.message.as_str()).collect();
        assert_eq!((revisions.len(), messages.len()), (25, 25), "seed {seed}");
    }
}
