//! What every adapter of [`RegistryStore`] must do. An adapter's tests call [`run_all`] with a way to make an empty store.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test suite fails by panicking")]

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use futures::future::join_all;
use larder_types::ProjectNumber;

use crate::{Appended, Log, RegistryStore};

const REVISIONS: Log = Log::Revisions(ProjectNumber(7));

/// Runs every check on an empty store of its own.
pub async fn run_all<F, S>(make: F)
where
    F: Fn() -> S,
    S: Future<Output = Arc<dyn RegistryStore>>,
{
    entries_come_back_in_order_and_unchanged(&*make().await).await;
    a_taken_number_gives_what_is_there(&*make().await).await;
    of_many_writers_of_a_number_one_wins(make().await).await;
    logs_do_not_see_each_other(&*make().await).await;
    the_newest_snapshot_is_given(&*make().await).await;
}

async fn entries_come_back_in_order_and_unchanged(store: &dyn RegistryStore) {
    assert!(store.read_after(REVISIONS, 0).await.unwrap().is_empty());
    let contents: Vec<Bytes> =
        (0..100_u32).map(|i| Bytes::from(format!("{i}\n\0{}", "x".repeat(i as usize)))).collect();
    for (number, content) in (1..).zip(&contents) {
        assert_eq!(store.append(REVISIONS, number, content.clone()).await.unwrap(), Appended::Ours);
    }
    assert_eq!(store.read_after(REVISIONS, 0).await.unwrap(), contents);
    assert_eq!(store.read_after(REVISIONS, 40).await.unwrap(), contents[40..]);
    assert!(store.read_after(REVISIONS, 100).await.unwrap().is_empty());
    assert_eq!(store.read(REVISIONS, 3).await.unwrap().as_ref(), Some(&contents[2]));
    assert_eq!(store.read(REVISIONS, 101).await.unwrap(), None);
}

async fn a_taken_number_gives_what_is_there(store: &dyn RegistryStore) {
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    assert_eq!(store.append(REVISIONS, 1, first.clone()).await.unwrap(), Appended::Ours);
    assert_eq!(store.append(REVISIONS, 1, second).await.unwrap(), Appended::Taken(first.clone()));
    assert_eq!(store.append(REVISIONS, 1, first.clone()).await.unwrap(), Appended::Taken(first));
}

async fn of_many_writers_of_a_number_one_wins(store: Arc<dyn RegistryStore>) {
    for number in 1..=10 {
        let appends = (0..8).map(|writer| {
            let (store, content) = (store.clone(), Bytes::from(format!("{number}/{writer}")));
            async move { (content.clone(), store.append(REVISIONS, number, content).await.unwrap()) }
        });
        let answers = join_all(appends).await;
        let winners: Vec<_> = answers.iter().filter(|(_, answer)| *answer == Appended::Ours).collect();
        let [(winner, _)] = winners[..] else { panic!("{} writers of {number} won", winners.len()) };
        for (content, answer) in &answers {
            if content != winner {
                assert_eq!(*answer, Appended::Taken(winner.clone()));
            }
        }
    }
}

async fn logs_do_not_see_each_other(store: &dyn RegistryStore) {
    let logs = [Log::Projects, REVISIONS, Log::Revisions(ProjectNumber(8)), Log::Runs(ProjectNumber(7))];
    for log in logs {
        assert_eq!(store.append(log, 1, Bytes::from(log.to_string())).await.unwrap(), Appended::Ours);
        store.write_snapshot(log, 1, Bytes::from(format!("of {log}"))).await.unwrap();
    }
    for log in logs {
        assert_eq!(store.read_after(log, 0).await.unwrap(), [Bytes::from(log.to_string())]);
        assert_eq!(store.latest_snapshot(log).await.unwrap(), Some((1, Bytes::from(format!("of {log}")))));
    }
}

async fn the_newest_snapshot_is_given(store: &dyn RegistryStore) {
    assert_eq!(store.latest_snapshot(REVISIONS).await.unwrap(), None);
    for number in [5, 17] {
        store.write_snapshot(REVISIONS, number, Bytes::from(format!("up to {number}"))).await.unwrap();
    }
    assert_eq!(store.latest_snapshot(REVISIONS).await.unwrap(), Some((17, Bytes::from_static(b"up to 17"))));
    assert_eq!(store.read_snapshot(REVISIONS, 5).await.unwrap(), Some(Bytes::from_static(b"up to 5")));
    assert_eq!(store.read_snapshot(REVISIONS, 6).await.unwrap(), None);
}
