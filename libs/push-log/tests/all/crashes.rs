//! The power goes while rows are appended and compacted: what was acknowledged is there afterwards.

#![cfg(unix)]

use std::{sync::Arc, time::Duration};

use larder_connections::{DurableLocal, test_suite::ForgetfulDisk};
use larder_types::{Clock, Timestamp};

use crate::support::{Content, Identity, Log, contents, deduped, identified};

fn open(disk: &ForgetfulDisk) -> Log {
    let root = disk.root().join("data");
    let store = DurableLocal::open_on(Arc::new(disk.clone()), &root, Duration::from_secs(3_600)).unwrap();
    Log::new(Arc::new(store))
}

/// Appends, compacts and sweeps until the runtime is dropped in the middle of it.
async fn work(log: Log, life: i64, acknowledged: &mut Vec<(Identity, Content)>) {
    let writer = log.writer();
    for number in 0.. {
        let (batch, rows) = (format!("{life}-{number}"), contents(3, life * 1_000 + number));
        log.append(&writer, &batch, &rows).await.unwrap();
        acknowledged.extend(identified(&batch, &rows));
        if number % 4 == 3 {
            log.compact().await.unwrap();
            log.clock.advance(Duration::from_secs(1_000));
            log.sweep().await.unwrap();
        }
    }
}

#[test]
fn acknowledged_rows_outlive_power_losses() {
    let disk = ForgetfulDisk::new().unwrap();
    let mut acknowledged = Vec::new();
    let mut now = Timestamp::from_micros(1_769_848_200_000_000);
    for life in 0..12_i64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let log = open(&disk);
        log.clock.set(now);
        let lifetime = Duration::from_millis(u64::try_from(15 + 13 * life % 60).unwrap());
        runtime.block_on(async {
            let _ = tokio::time::timeout(lifetime, work(log.clone(), life, &mut acknowledged)).await;
        });
        // Waits for file operations under way, and for nothing after them.
        drop(runtime);
        now = log.clock.now().plus(Duration::from_secs(1));
        disk.crash().unwrap();

        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (_, found) = runtime.block_on(open(&disk).read_since(None));
        let found = deduped(found);
        for (identity, content) in &acknowledged {
            assert_eq!(found.get(identity), Some(content), "after life {life}");
        }
    }
    assert!(acknowledged.len() > 36, "{} rows are too few to show anything", acknowledged.len());
}
