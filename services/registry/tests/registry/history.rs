//! Revisions: what is said of them, going back, and numbers, which are never given again.

use std::{sync::Arc, time::Duration};

use larder_client::{RegistryClient, Rollback};
use larder_definitions::{Catalog, ChangeKind, ChangeSet, Metadata, Object, ObjectKind};
use larder_test_kit::{NEW_YEAR, clock};
use larder_types::{ErrorCode, Revision};

use crate::{
    declared::{BASE, declare_base, entity, id, of_origin, one_more, only, view, whole},
    surroundings::{Registry, Storage, name, project},
};

fn back_to(revision: u64) -> Rollback {
    Rollback { to: Revision(revision), expected_revision: None, origin: "ops".to_owned(), message: "back".to_owned() }
}

/// What is declared, whatever the revision is called.
fn definitions(catalog: &Catalog) -> Vec<Object> {
    catalog.objects().collect()
}

async fn catalog(client: &RegistryClient, revision: u64) -> Arc<Catalog> {
    client.catalog(&project(), Some(Revision(revision))).await.unwrap()
}

#[tokio::test]
async fn a_rollback_restores_definitions_and_the_numbers_they_had() {
    let storage = Storage::in_a_folder();
    let client = Registry::start(&storage, &clock()).await.definitions();
    declare_base(&client).await;
    client.apply(&project(), &whole(&BASE.replace("age, type: int64", "age, type: float64"))).await.unwrap();
    client.apply(&project(), &one_more("notebook", "thing")).await.unwrap();
    let numbers = |catalog: &Catalog| catalog.feature_views["profile"].row_set;
    let (first, third) = (catalog(&client, 1).await, catalog(&client, 3).await);
    assert_ne!(numbers(&first), numbers(&third), "another type is another row set");

    let stale = Rollback { expected_revision: Some(Revision(2)), ..back_to(1) };
    let error = client.rollback(&project(), &stale).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Conflict);
    assert!(error.message().contains("expected at revision 2 and is at revision 3"), "{error}");
    for unknown in [4, 99] {
        let error = client.rollback(&project(), &back_to(unknown)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotFound);
        assert!(error.message().contains(&format!("has no revision {unknown}; its newest is 3")), "{error}");
    }
    assert_eq!(client.projects().await.unwrap()[0].revision, Revision(3));

    let expected = Rollback { expected_revision: Some(Revision(3)), ..back_to(1) };
    let done = client.rollback(&project(), &expected).await.unwrap();
    assert_eq!(done.revision, Revision(4));
    assert_eq!(client.diff(&project(), Revision(3), None).await.unwrap().changes, done.changes);
    assert!(client.diff(&project(), Revision(1), Some(Revision(4))).await.unwrap().changes.is_empty());
    let fourth = catalog(&client, 4).await;
    assert_eq!((definitions(&fourth), numbers(&fourth)), (definitions(&first), numbers(&first)));
    assert_eq!(fourth.origins, first.origins, "whoever declared an object has it back");
    let nothing = client.rollback(&project(), &back_to(1)).await.unwrap();
    assert!(nothing.revision == Revision(4) && nothing.changes.is_empty());

    // Forward again, to what was left, and all of it is still there after a restart.
    client.rollback(&project(), &back_to(3)).await.unwrap();
    let storage = storage.reopened();
    let client = Registry::start(&storage, &clock()).await.definitions();
    for (revision, like) in [(1, &first), (3, &third), (4, &first), (5, &third)] {
        let found = catalog(&client, revision).await;
        assert_eq!((definitions(&found), numbers(&found)), (definitions(like), numbers(like)), "{revision}");
    }
}

/// What a rollback would do is what it then does; before the first revision nothing was declared.
#[tokio::test]
async fn a_rollback_is_planned_as_it_is_done() {
    let registry = Registry::start(&Storage::in_memory(), &clock()).await;
    let client = registry.definitions();
    declare_base(&client).await;
    client.apply(&project(), &one_more("notebook", "thing")).await.unwrap();
    let page = client.objects(&project(), None, None, "").await.unwrap();
    for to in [1, 0] {
        let newest = client.projects().await.unwrap()[0].revision;
        let planned = client.plan_rollback(&project(), &back_to(to)).await.unwrap();
        assert_eq!(planned.revision, newest, "nothing is done");
        assert_eq!(client.diff(&project(), newest, Some(Revision(to))).await.unwrap().changes, planned.changes);
        let done = client.rollback(&project(), &back_to(to)).await.unwrap();
        assert_eq!((&done.changes, &done.consequences), (&planned.changes, &planned.consequences));
        assert_eq!(done.revision, Revision(newest.0 + 1));
        let listed = client.revisions(&project(), 1, "").await.unwrap().revisions;
        assert_eq!(listed[0].rollback_to, Some(Revision(to)));
    }
    let left = client.objects(&project(), None, None, "").await.unwrap();
    assert!(left.objects.is_empty(), "revision 0 is the empty project");
    let all = client.diff(&project(), Revision(2), Some(Revision(0))).await.unwrap();
    assert_eq!((all.from, all.to, all.changes.len()), (Revision(2), Revision(0), page.objects.len()));
    assert!(all.changes.iter().all(|change| change.kind == ChangeKind::Removed));
    assert!(client.diff(&project(), Revision(0), Some(Revision(0))).await.unwrap().changes.is_empty());
    assert_eq!(client.diff(&project(), Revision(0), None).await.unwrap().to, Revision(4));
    let error = client.plan_rollback(&project(), &back_to(9)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn revisions_are_listed_newest_first_with_what_is_known_of_them() {
    let storage = Storage::in_memory();
    let clock = clock();
    let registry = Registry::start(&storage, &clock).await;
    let client = RegistryClient::new(registry.over_a_port().await);
    declare_base(&client).await;
    for number in 2..=6 {
        clock.advance(Duration::from_secs(60));
        client.apply(&project(), &one_more("notebook", &format!("thing_{number}"))).await.unwrap();
    }
    clock.advance(Duration::from_secs(60));
    client.rollback(&project(), &back_to(2)).await.unwrap();

    let mut token = String::new();
    let mut seen = Vec::new();
    loop {
        let page = client.revisions(&project(), 3, &token).await.unwrap();
        assert!(page.revisions.len() <= 3);
        seen.extend(page.revisions);
        // A revision that is made meanwhile moves no page.
        client.apply(&project(), &one_more("meanwhile", &format!("late_{}", seen.len()))).await.unwrap();
        match page.next_page_token {
            Some(next) => token = next,
            None => break,
        }
    }
    let numbers: Vec<_> = seen.iter().map(|revision| revision.revision.0).collect();
    assert_eq!(numbers, [7, 6, 5, 4, 3, 2, 1]);
    let (newest, third) = (&seen[0], &seen[4]);
    assert_eq!(newest.rollback_to, Some(Revision(2)));
    assert_eq!((newest.puts, newest.removes, newest.origin.as_str(), newest.message.as_str()), (0, 4, "ops", "back"));
    assert_eq!((third.puts, third.removes, third.origin.as_str()), (1, 0, "notebook"));
    assert_eq!(third.message, "thing_3 by notebook");
    assert_eq!(third.created_at, NEW_YEAR.plus(Duration::from_secs(120)), "by the registry's clock");
    assert!(!third.principal.is_empty() && third.address.starts_with("127.0.0.1:"), "{third:?}");

    for bad in ["x", "-1"] {
        let error = client.revisions(&project(), 3, bad).await.unwrap_err();
        assert_eq!((error.code(), error.violations()[0].field.as_str()), (ErrorCode::InvalidArgument, "page_token"));
    }
    let error = client.diff(&project(), Revision(1), Some(Revision(77))).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn many_objects_come_in_pages() {
    let client = Registry::start(&Storage::in_memory(), &clock()).await.definitions();
    let puts: Vec<_> = (0..1_100).map(|number| entity(&format!("thing_{number:04}"), "")).collect();
    client.apply(&project(), &only(ChangeSet { puts: puts.clone(), ..of_origin("repo") })).await.unwrap();
    let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = client.objects(&project(), Some(ObjectKind::Entity), None, &token).await.unwrap();
        assert_eq!(page.revision, Revision(1));
        seen.extend(page.objects);
        pages += 1;
        // Whatever changes meanwhile, all pages are of one revision.
        let gone = ChangeSet { removes: vec![puts[pages].id()], ..of_origin("repo") };
        client.apply(&project(), &only(gone)).await.unwrap();
        match page.next_page_token {
            Some(next) => token = next,
            None => break,
        }
        // Those of one kind are not those of another.
        for kind in [None, Some(ObjectKind::Source)] {
            let error = client.objects(&project(), kind, None, &token).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert_eq!(error.message(), "page_token: the token is of another request");
        }
    }
    assert_eq!((seen == puts, pages), (true, 3));
    let error = client.objects(&project(), None, None, "500").await.unwrap_err();
    assert_eq!(error.violations()[0].field, "page_token");
    let none = client.objects(&project(), Some(ObjectKind::FeatureView), None, "").await.unwrap();
    assert!(none.objects.is_empty() && none.next_page_token.is_none());
}

#[tokio::test]
async fn annotations_come_back_unchanged() {
    let storage = Storage::in_a_folder();
    let clock = clock();
    let bytes = [("all", (0..=255).collect()), ("none", vec![]), ("big", vec![0xAB; 100_000])];
    let annotations = bytes.map(|(name, bytes): (_, Vec<u8>)| (format!("tool/{name} ü"), bytes)).into();
    let mut thing = entity("thing", "with annotations");
    let Object::Entity(declared) = &mut thing else { panic!() };
    declared.metadata = Metadata { annotations, ..declared.metadata.clone() };
    let id = thing.id();
    let client = Registry::start(&storage, &clock).await.definitions();
    declare_base(&client).await;
    let change = only(ChangeSet { puts: vec![thing.clone()], ..of_origin("tool") });
    assert!(client.apply(&project(), &change).await.unwrap().changed);
    assert!(!client.apply(&project(), &change).await.unwrap().changed, "the same bytes are no change");
    client.apply(&project(), &only(ChangeSet { removes: vec![id.clone()], ..of_origin("tool") })).await.unwrap();
    client.rollback(&project(), &back_to(2)).await.unwrap();

    let storage = storage.reopened();
    let registry = Registry::start(&storage, &clock).await;
    for way in registry.both_ways().await {
        let client = RegistryClient::new(way);
        assert_eq!(client.object(&project(), &id, None).await.unwrap().object, thing);
        let page = client.objects(&project(), Some(ObjectKind::Entity), None, "").await.unwrap();
        assert!(page.objects.contains(&thing));
        let catalog = client.catalog(&project(), None).await.unwrap();
        assert!(definitions(&catalog).contains(&thing));
    }
}

/// A view that is removed and declared again is another one; so is a column.
#[tokio::test]
async fn no_number_is_given_twice() {
    let storage = Storage::in_memory();
    let clock = clock();
    let mut seen_row_sets = Vec::new();
    let mut key_spaces = Vec::new();
    for round in 0..4_u64 {
        // Each round is a registry of its own: what was given is known from the store alone.
        let client = Registry::start(&storage, &clock).await.definitions();
        client.apply(&project(), &whole(BASE)).await.unwrap();
        let (key_space, row_set, _) = client.object(&project(), &view("profile"), None).await.unwrap().numbers.unwrap();
        assert!(!seen_row_sets.contains(&row_set), "round {round}: {row_set} was given before");
        seen_row_sets.push(row_set);
        key_spaces.push(key_space);
        let client = Registry::start(&storage, &clock).await.definitions();
        client.apply(&project(), &whole("project: payments")).await.unwrap();
        let error = client.object(&project(), &view("profile"), None).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotFound);
    }
    key_spaces.dedup();
    assert_eq!(key_spaces.len(), 1, "the same keys are the same key space");

    let client = Registry::start(&storage, &clock).await.definitions();
    let column = async |text: &str, feature: &str| {
        client.apply(&project(), &whole(text)).await.unwrap();
        let catalog = client.catalog(&project(), None).await.unwrap();
        catalog.feature_views["profile"].feature(feature).map(|(_, column)| column)
    };
    let first = column(BASE, "age").await.unwrap();
    let without = BASE.replace("      - { name: age, type: int64, description: Age in years }\n", "");
    let without = without.replace("select: [age]", "select: [income]");
    assert_eq!(column(&without, "age").await, None);
    let again = column(BASE, "age").await.unwrap();
    assert_ne!(first, again, "a column is never given to another feature");
    assert!(client.object(&project(), &id(ObjectKind::Entity, "customer"), None).await.unwrap().numbers.is_none());
    // Projects too.
    for (number, text) in ["a", "b", "c"].iter().enumerate() {
        let client = Registry::start(&storage, &clock).await.definitions();
        client.apply(&name(text), &one_more("repo", "thing")).await.unwrap();
        let projects = client.projects().await.unwrap();
        let made = projects.iter().find(|project| project.name == **text).unwrap();
        assert_eq!(made.number.0 as usize, number + 2);
    }
}
