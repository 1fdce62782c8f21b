//! What a put into a local folder promises: after a power loss everything acknowledged is there, whole.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt;
use larder_connections::{
    Access, Created, DurableLocal, StoreOptions, create_once, open_store, read_object, store_error,
    test_suite::{ForgetfulDisk, PoweredDisk, UnreliableStore},
};
use larder_types::ErrorCode;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, WriteMultipart, path::Path};
use proptest::prelude::*;

const GRACE: Duration = Duration::from_secs(3_600);

fn open(disk: &ForgetfulDisk) -> DurableLocal {
    DurableLocal::open_on(Arc::new(disk.clone()), &disk.root().join("data/here"), GRACE).unwrap()
}

async fn names(store: &dyn ObjectStore) -> Vec<String> {
    let mut names: Vec<_> = store.list(None).map_ok(|found| found.location.to_string()).try_collect().await.unwrap();
    names.sort();
    names
}

#[tokio::test]
async fn create_is_for_a_free_name_and_leaves_nothing_beside_it() {
    let disk = ForgetfulDisk::new().unwrap();
    let store = open(&disk);
    let path = Path::from("a/b/c");
    store.put_opts(&path, "one".into(), PutMode::Create.into()).await.unwrap();
    let error = store.put_opts(&path, "two".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
    let files: Vec<_> = fs::read_dir(disk.root().join("data/here/a/b")).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    // A name like a staging file's is escaped by the path, not swept nor hidden.
    store.put(&Path::from("a#1"), "x".into()).await.unwrap();
    DurableLocal::open(&disk.root().join("data/here"), Duration::ZERO).unwrap();
    assert_eq!(names(&store).await, ["a%231", "a/b/c"]);
}

#[tokio::test]
async fn an_upload_in_parts_and_a_copy_outlive_a_crash() {
    let disk = ForgetfulDisk::new().unwrap();
    let store = open(&disk);
    let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(&Path::from("big")).await.unwrap(), 1_000);
    upload.write(&[7; 10_500]);
    upload.finish().await.unwrap();
    store.copy(&Path::from("big"), &Path::from("folder/copy")).await.unwrap();
    disk.crash().unwrap();
    let store = open(&disk);
    for path in ["big", "folder/copy"] {
        let found = store.get(&Path::from(path)).await.unwrap().bytes().await.unwrap();
        assert_eq!(found, Bytes::from(vec![7; 10_500]), "{path}");
    }
}

/// However far an upload came when the power went, the name has the whole of the old object or the whole of the new one.
#[tokio::test]
async fn an_upload_replaces_an_object_when_it_is_whole_and_not_before() {
    let path = Path::from("set");
    for steps in 0..4 {
        let disk = ForgetfulDisk::new().unwrap();
        let store = open(&disk);
        store.put(&path, "old".into()).await.unwrap();
        let mut upload = store.put_multipart(&path).await.unwrap();
        if steps > 0 {
            // Parts may be written in any order.
            let (first, second) = (upload.put_part("new ".into()), upload.put_part("and whole".into()));
            second.await.unwrap();
            if steps > 1 {
                first.await.unwrap();
            }
        }
        assert_eq!(names(&store).await, ["set"]);
        if steps > 2 {
            upload.complete().await.unwrap();
        }
        disk.crash().unwrap();
        let expected = if steps > 2 { "new and whole" } else { "old" };
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), expected, "{steps}");
    }
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing_behind() {
    let disk = ForgetfulDisk::new().unwrap();
    for is_dropped in [true, false] {
        let mut upload = open(&disk).put_multipart(&Path::from("set")).await.unwrap();
        upload.put_part("a part".into()).await.unwrap();
        if is_dropped {
            drop(upload);
        } else {
            upload.abort().await.unwrap();
        }
        assert_eq!(fs::read_dir(disk.root().join("data/here")).unwrap().count(), 0);
    }
}

/// A folder of somebody else's files, some of which have names like our staging files.
#[test]
fn a_folder_that_is_only_added_to_keeps_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let old = fs::File::create(folder.path().join("notes#12")).unwrap();
    old.set_modified(std::time::SystemTime::now() - 2 * GRACE).unwrap();
    let add = StoreOptions::new(Access::Add);
    open_store(folder.path().to_str().unwrap(), &add).unwrap();
    assert!(folder.path().join("notes#12").exists());
    let missing = folder.path().join("missing");
    assert_eq!(open_store(missing.to_str().unwrap(), &add).unwrap_err().code(), ErrorCode::FailedPrecondition);
    assert!(!missing.exists());
}

#[tokio::test]
async fn leftovers_of_killed_writers_are_swept_and_writes_under_way_are_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    for name in ["a/old#12", "a/young#13", "a/object#x", "a/object"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    for name in ["a/old#12", "a/object#x", "a/object"] {
        let file = fs::File::options().write(true).open(folder.path().join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - 2 * GRACE).unwrap();
    }
    DurableLocal::open(folder.path(), GRACE).unwrap();
    let mut left: Vec<_> = fs::read_dir(folder.path().join("a"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["object", "object#x", "young#13"]);
}

/// What will not go well later by itself is told as that, by the path that was named.
#[tokio::test]
async fn what_a_local_disk_refuses_for_good_is_no_outage() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("set/below")).unwrap();
    fs::write(root.join("file"), "x").unwrap();
    let store = DurableLocal::open(&root, GRACE).unwrap();
    let long = "x".repeat(300);
    for (path, said) in [("set", "Is a directory"), ("file/below", "Not a directory"), (&long, "File name too long")] {
        let error = store.put(&Path::from(path), "new".into()).await.unwrap_err();
        let error = store_error("writing", error);
        assert_eq!(error.code(), ErrorCode::FailedPrecondition, "{error}");
        let text = format!("writing: {}: {said}", root.join(path).display());
        assert!(error.message().starts_with(&text), "{error}");
    }
    let loops = [("set/self", root.join("set")), ("set/endless", root.join("set/endless"))];
    for (link, target) in loops {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        let listed: Result<Vec<_>, _> = store.list(None).try_collect().await;
        let error = store_error("listing", listed.unwrap_err());
        assert_eq!(error.code(), ErrorCode::FailedPrecondition, "{error}");
        assert!(error.message().starts_with(&format!("listing: {}", root.join(link).display())), "{error}");
        fs::remove_file(root.join(link)).unwrap();
    }
}

/// The name is there for all to see, and would not outlive a loss of power: the claim is not known to have succeeded.
#[tokio::test]
async fn a_claim_whose_name_could_not_be_made_durable_is_not_acknowledged() {
    let disk = ForgetfulDisk::new().unwrap();
    let (root, path) = (disk.root().join("data/here"), Path::from("log/1"));
    let claim = async |store: &DurableLocal| {
        create_once(store, &path, Bytes::from_static(b"ours"), |found| found == b"ours").await
    };
    let store = DurableLocal::open_on(Arc::new(PoweredDisk::until_linked(disk.clone())), &root, GRACE).unwrap();
    let error = claim(&store).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
    assert_eq!(names(&store).await, ["log/1"]);

    // Another attempt, once the disk is well again, makes the name durable.
    assert_eq!(claim(&open(&disk)).await.unwrap(), Created::Ours);
    disk.crash().unwrap();
    assert_eq!(names(&open(&disk)).await, ["log/1"]);
}

#[tokio::test]
async fn many_callers_claim_each_name_once() {
    let disk = ForgetfulDisk::new().unwrap();
    let store = open(&disk);
    let mut claims = tokio::task::JoinSet::new();
    for author in 0..8_u8 {
        let store = store.clone();
        claims.spawn(async move {
            let mut won = 0;
            for number in 0..10 {
                let path = Path::from(format!("n/{number}"));
                let content = Bytes::from(vec![author]);
                match create_once(&store, &path, content, |found| found == [author]).await.unwrap() {
                    Created::Ours => won += 1,
                    Created::Taken(by) => assert_ne!(by[..], [author]),
                }
            }
            won
        });
    }
    assert_eq!(claims.join_all().await.into_iter().sum::<u32>(), 10);
}

#[tokio::test]
async fn a_claim_over_lost_replies_never_ends_with_two_owners() {
    let inner: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    for seed in 0..200 {
        let store = UnreliableStore::new(Arc::clone(&inner), seed, 200);
        let path = Path::from(format!("{seed}"));
        let mut owners = 0;
        for author in ["one", "two"] {
            let claim = || create_once(&store, &path, Bytes::from(author), |found| found == author.as_bytes());
            let created = loop {
                if let Ok(created) = claim().await {
                    break created;
                }
            };
            owners += u32::from(created == Created::Ours);
        }
        assert_eq!(owners, 1, "seed {seed}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put { name: u8, content: u8 },
    Create { name: u8, content: u8 },
    Delete { name: u8 },
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let (name, content) = (0..12_u8, any::<u8>());
    prop_oneof![
        4 => (name.clone(), content).prop_map(|(name, content)| Step::Put { name, content }),
        4 => (name.clone(), content).prop_map(|(name, content)| Step::Create { name, content }),
        1 => name.prop_map(|name| Step::Delete { name }),
        2 => Just(Step::Crash),
    ]
}

fn path_of(name: u8) -> Path {
    Path::from(format!("d{}/e{}/f{name}", name % 3, name % 2))
}

/// Every content that a name may have: one, unless a deletion was not yet durable when the power went.
type Model = BTreeMap<u8, Vec<Option<u8>>>;

async fn check(store: &DurableLocal, model: &mut Model) {
    for (name, possible) in model.iter_mut() {
        let found = read_object(store, &path_of(*name)).await.unwrap().map(|content| {
            assert_eq!(content.len(), 100, "torn");
            content[0]
        });
        assert!(possible.contains(&found), "f{name}: {found:?} and not one of {possible:?}");
        *possible = vec![found];
    }
}

async fn run(steps: Vec<Step>) {
    let disk = ForgetfulDisk::new().unwrap();
    let mut store = open(&disk);
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Put { name, content } => {
                store.put(&path_of(name), Bytes::from(vec![content; 100]).into()).await.unwrap();
                model.insert(name, vec![Some(content)]);
            }
            Step::Create { name, content } => {
                let taken = model.get(&name).is_some_and(|possible| possible[0].is_some());
                let payload = Bytes::from(vec![content; 100]).into();
                let created = store.put_opts(&path_of(name), payload, PutMode::Create.into()).await;
                assert_eq!(created.is_err(), taken);
                if !taken {
                    model.insert(name, vec![Some(content)]);
                }
            }
            Step::Delete { name } => {
                let there = model.get(&name).is_some_and(|possible| possible[0].is_some());
                assert_eq!(store.delete(&path_of(name)).await.is_ok(), there);
                if there {
                    model.entry(name).or_default().insert(0, None);
                }
            }
            Step::Crash => {
                disk.crash().unwrap();
                store = open(&disk);
                check(&store, &mut model).await;
            }
        }
    }
    disk.crash().unwrap();
    store = open(&disk);
    check(&store, &mut model).await;
    let there = model.values().filter(|possible| possible[0].is_some()).count();
    assert_eq!(names(&store).await.len(), there);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_was_acknowledged_outlives_a_power_loss(steps in prop::collection::vec(step(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps));
    }
}
