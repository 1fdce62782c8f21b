//! A registry whose store was written by a newer release, or is damaged: it does not start, and says what is wrong with
//! which object. Hints may be wrong.

use bytes::Bytes;
use larder_test_kit::clock;
use larder_types::{Error, ErrorCode, LeaseNumber};

use crate::{
    declared::{BASE, declare_base, declared_names, one_more, whole},
    leases::{counts, materialize, plan, succeeded},
    surroundings::{Registry, Storage, project},
};

/// Some of everything: a project, 101 revisions with a snapshot, and a run from its beginning to its end.
async fn full(storage: &Storage) {
    let registry = Registry::start(storage, &clock()).await;
    let client = registry.definitions();
    declare_base(&client).await;
    for number in 2..=101 {
        client.apply(&project(), &one_more("repo", &format!("thing_{number}"))).await.unwrap();
    }
    let (runs, project, lease) = (registry.runs(), project(), LeaseNumber(1));
    runs.create(&project, "r", &materialize("profile")).await.unwrap();
    runs.acquire_lease(&project, "r", "ada").await.unwrap();
    runs.plan(&project, "r", lease, &plan(1, 5)).await.unwrap();
    for part in 0..2 {
        runs.complete_parts(&project, "r", lease, &[part], &counts(10)).await.unwrap();
    }
    runs.finish(&project, "r", lease, &succeeded()).await.unwrap();
}

fn entry(log: &str, number: u64) -> String {
    format!("{log}/{number:020}")
}

/// One of each kind of object that the registry reads when it starts.
fn objects() -> [String; 4] {
    [entry("projects", 1), entry("1/revisions", 101), entry("1/revisions/snapshots", 100), entry("1/runs", 3)]
}

async fn refusal(storage: &Storage) -> Error {
    match Registry::try_start(storage, &clock()).await {
        Ok(_) => panic!("the registry starts on {:?}", storage.contents().await),
        Err(error) => error,
    }
}

/// The number and the log of an object, as people are told them.
fn is_named(error: &Error, path: &str) -> bool {
    let (log, number) = path.rsplit_once('/').unwrap();
    let number = number.trim_start_matches('0');
    let log = log.trim_end_matches("/snapshots");
    let by_words = error.message().contains(log) && error.message().contains(number);
    by_words || error.message().contains(path)
}

fn replaced(content: &Bytes, from: &str, to: &str) -> Bytes {
    let text = String::from_utf8(content.to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    Bytes::from(text.replacen(from, to, 1))
}

#[tokio::test]
async fn what_a_newer_release_wrote_is_refused_by_name() {
    let storage = Storage::in_memory();
    full(&storage).await;
    for path in objects() {
        let content = storage.read(&path).await;
        let mut newer = vec![replaced(&content, "\"format\":1", "\"format\":2")];
        if path.starts_with("1/") {
            let unknown = "\"content\":{\"invented_later\":true,";
            if !path.contains("runs") {
                newer.push(replaced(&content, "\"content\":{", unknown));
            }
        } else {
            newer.push(Bytes::from("larder-registry-entry/1 x\n{\"format\":2,\"projects\":[]}"));
        }
        if !path.contains("snapshots") {
            newer.push(replaced(&content, "larder-registry-entry/1", "larder-registry-entry/2"));
        }
        for bytes in newer {
            storage.put(&path, bytes.clone()).await;
            let error = refusal(&storage).await;
            assert_eq!(error.code(), ErrorCode::Unimplemented, "{path}: {error}");
            assert!(is_named(&error, &path), "{path}: {error}");
            assert!(error.message().contains("release"), "{path}: {error}");
        }
        storage.put(&path, content).await;
    }
    assert!(Registry::try_start(&storage, &clock()).await.is_ok(), "and nothing was changed by it");
}

#[tokio::test]
async fn a_damaged_object_is_refused_by_name() {
    let storage = Storage::in_memory();
    full(&storage).await;
    for path in objects() {
        let content = storage.read(&path).await;
        let cuts = [0, 1, content.len() / 3, content.len() / 2, content.len() - 1];
        let cut = cuts.map(|length| content.slice(..length));
        let nonsense = [&b"larder-registry-entry/1 x\n"[..], b"{}", b"\0\0\0\0", b"\xFF\xFE\n{}", b"null", b"[]"];
        let long = [&content[..], &content[..content.len() / 2]].concat();
        let other = storage.read(&objects()[(objects().iter().position(|it| *it == path).unwrap() + 1) % 4]).await;
        let wrong = cut.into_iter().chain(nonsense.map(Bytes::from_static)).chain([Bytes::from(long), other]);
        for bytes in wrong {
            storage.put(&path, bytes.clone()).await;
            let error = refusal(&storage).await;
            let is_told = matches!(error.code(), ErrorCode::DataLoss | ErrorCode::Unimplemented);
            assert!(is_told && is_named(&error, &path), "{path} {bytes:?}: {:?} {error}", error.code());
        }
        storage.put(&path, content).await;
    }
    assert!(Registry::try_start(&storage, &clock()).await.is_ok());
}

#[tokio::test]
async fn entries_that_are_missing_or_in_each_others_place_are_refused_by_name() {
    let storage = Storage::in_memory();
    full(&storage).await;
    let (two, three) = (entry("1/runs", 2), entry("1/runs", 3));
    let (second, third) = (storage.read(&two).await, storage.read(&three).await);
    storage.remove(&two).await;
    let error = refusal(&storage).await;
    assert_eq!(error.code(), ErrorCode::DataLoss);
    assert!(error.message().contains("entry 2 of 1/runs is missing"), "{error}");
    storage.put(&two, third.clone()).await;
    storage.put(&three, second.clone()).await;
    let error = refusal(&storage).await;
    assert_eq!(error.code(), ErrorCode::DataLoss);
    assert!(is_named(&error, &two), "{error}");
    storage.put(&two, second).await;
    storage.put(&three, third).await;

    // Revision 101 is replaced by another good one: it does not follow.
    let path = entry("1/revisions", 101);
    let content = storage.read(&path).await;
    storage.put(&path, storage.read(&entry("1/revisions", 42)).await).await;
    let error = refusal(&storage).await;
    assert_eq!(error.code(), ErrorCode::DataLoss, "{error}");
    assert!(is_named(&error, &path), "{error}");
    storage.put(&path, content).await;
    assert!(Registry::try_start(&storage, &clock()).await.is_ok());
}

/// A revision that is read only when somebody asks for it.
#[tokio::test]
async fn an_old_damaged_revision_is_refused_when_it_is_asked_for() {
    let storage = Storage::in_memory();
    full(&storage).await;
    storage.put(&entry("1/revisions", 7), "larder-registry-entry/1 x\n{\"format\":1,\"con").await;
    let client = Registry::start(&storage, &clock()).await.definitions();
    assert!(client.apply(&project(), &whole(BASE)).await.unwrap().changed, "what does not need it goes on");
    let error = client.objects(&project(), None, Some(larder_types::Revision(9)), "").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DataLoss);
    assert!(is_named(&error, &entry("1/revisions", 7)), "{error}");
    assert!(client.objects(&project(), None, Some(larder_types::Revision(6)), "").await.is_ok());
}

#[tokio::test]
async fn hints_may_be_wrong() {
    let storage = Storage::in_memory();
    full(&storage).await;
    let names = declared_names(&Registry::start(&storage, &clock()).await.definitions()).await;
    for hint in ["projects/head", "1/revisions/head", "1/revisions/snapshot", "1/runs/head"] {
        let content = storage.read(hint).await;
        for wrong in ["", "1", "0", "nonsense", "\u{FFFD}"] {
            if wrong == "1" && hint.ends_with("snapshot") {
                continue;
            }
            storage.put(hint, wrong).await;
            let registry = Registry::start(&storage, &clock()).await;
            assert_eq!(declared_names(&registry.definitions()).await, names, "{hint} {wrong:?}");
            assert!(registry.runs().get(&project(), "r").await.unwrap().state.is_final(), "{hint} {wrong:?}");
        }
        storage.remove(hint).await;
        let registry = Registry::start(&storage, &clock()).await;
        assert_eq!(declared_names(&registry.definitions()).await, names, "{hint} is missing");
        storage.put(hint, content).await;
    }
}
