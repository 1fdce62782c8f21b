//! The object-store adapter: the conformance suite on a durable local folder and on a store that loses replies; its bytes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use larder_connections::{
    DurableLocal,
    test_suite::{ForgetfulDisk, UnreliableStore},
};
use larder_registry_store::{Appended, Log, ObjectRegistryStore, RegistryStore, conformance};
use larder_types::{ErrorCode, ProjectNumber};
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};

const REVISIONS: Log = Log::Revisions(ProjectNumber(3));

fn on(store: Arc<dyn ObjectStore>) -> ObjectRegistryStore {
    ObjectRegistryStore::new(store, Path::from("registry"))
}

#[tokio::test]
async fn conforms_on_a_durable_local_folder() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    conformance::run_all(|| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let root = folder.path().join(number.to_string());
        async move { Arc::new(on(Arc::new(DurableLocal::open(&root, Duration::ZERO).unwrap()))) as Arc<dyn RegistryStore> }
    })
    .await;
}

#[tokio::test]
async fn conforms_in_memory() {
    conformance::run_all(|| async { Arc::new(on(Arc::new(InMemory::new()))) as Arc<dyn RegistryStore> }).await;
}

/// Every append is sent again until it is answered: whatever was lost on the way, each number has one entry, and whoever was
/// told that it is theirs has it.
#[tokio::test]
async fn an_append_whose_answer_was_lost_is_found_again() {
    for seed in 0..20 {
        let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let writers =
            [0, 1].map(|writer| on(Arc::new(UnreliableStore::new(Arc::clone(&memory), seed * 2 + writer, 300))));
        let mut acknowledged = Vec::new();
        for number in 1..=20_u64 {
            for (writer, store) in writers.iter().enumerate() {
                let content = Bytes::from(format!("{number} by {writer}"));
                if let Ok(Appended::Ours) = store.append(REVISIONS, number, content.clone()).await {
                    acknowledged.push((number, content));
                }
            }
            // Whatever the writers were told, the number is taken before the next one is asked for.
            on(Arc::clone(&memory)).append(REVISIONS, number, Bytes::from_static(b"by nobody")).await.unwrap();
        }
        let entries = on(memory).read_after(REVISIONS, 0).await.unwrap();
        assert_eq!(entries.len(), 20, "seed {seed}");
        for (number, content) in acknowledged {
            assert_eq!(entries[number as usize - 1], content, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_loss_of_everything_not_synced() {
    let disk = ForgetfulDisk::new().unwrap();
    let root = disk.root().join("data");
    let disk = Arc::new(disk);
    for round in 0..5_u64 {
        let folder = DurableLocal::open_on(disk.clone(), &root, Duration::ZERO).unwrap();
        let store = on(Arc::new(folder));
        assert_eq!(store.read_after(REVISIONS, 0).await.unwrap().len() as u64, round * 4);
        for number in round * 4 + 1..=round * 4 + 4 {
            let appended = store.append(REVISIONS, number, Bytes::from(number.to_string())).await.unwrap();
            assert_eq!(appended, Appended::Ours);
        }
        drop(store);
        disk.crash().unwrap();
    }
}

#[tokio::test]
async fn a_lost_hint_costs_only_questions() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = on(Arc::clone(&memory));
    for number in 1..=50_u64 {
        store.append(REVISIONS, number, Bytes::from(number.to_string())).await.unwrap();
    }
    for hint in [None, Some("7"), Some("not a number")] {
        let path = Path::from("registry/3/revisions/head");
        memory.delete(&path).await.unwrap();
        if let Some(hint) = hint {
            memory.put(&path, hint.into()).await.unwrap();
        }
        assert_eq!(store.read_after(REVISIONS, 0).await.unwrap().len(), 50);
        assert_eq!(store.read_after(REVISIONS, 48).await.unwrap().len(), 2);
    }
}

/// Golden bytes: what was once written stays readable. Only added to.
#[tokio::test]
async fn entries_of_format_1_stay_readable() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let path = Path::from("registry/3/revisions/00000000000000000001");
    memory.put(&path, include_bytes!("golden/entry-1").to_vec().into()).await.unwrap();
    let entry = on(memory).read(REVISIONS, 1).await.unwrap().unwrap();
    assert_eq!(entry, Bytes::from_static(b"{\"format\":1}\nsecond line\n"));
}

#[tokio::test]
async fn bytes_that_are_no_entry_are_refused_by_name() {
    let cases: [(&[u8], ErrorCode, &str); 4] = [
        (b"", ErrorCode::DataLoss, "does not begin with larder-registry-entry/1"),
        (b"{}", ErrorCode::DataLoss, "does not begin with larder-registry-entry/1"),
        (b"larder-registry-entry/1 token-cut", ErrorCode::DataLoss, "does not begin with larder-registry-entry/1"),
        (b"larder-registry-entry/2 token\n{}", ErrorCode::Unimplemented, "of format larder-registry-entry/2"),
    ];
    for (bytes, code, message) in cases {
        let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = Path::from("registry/3/revisions/00000000000000000001");
        memory.put(&path, bytes.to_vec().into()).await.unwrap();
        let error = on(memory).read(REVISIONS, 1).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(message) && error.message().contains("00001"), "{error}");
    }
}

#[tokio::test]
async fn a_hole_in_a_log_is_data_loss() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = on(Arc::clone(&memory));
    for number in 1..=3 {
        store.append(REVISIONS, number, Bytes::new()).await.unwrap();
    }
    memory.delete(&Path::from("registry/3/revisions/00000000000000000002")).await.unwrap();
    let error = store.read_after(REVISIONS, 0).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DataLoss);
    assert!(error.message().contains("entry 2 of 3/revisions is missing"), "{error}");
}
