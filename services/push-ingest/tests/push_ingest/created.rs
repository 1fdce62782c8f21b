//! The created time that the service gives, and what was pushed is there when the call returns.

use std::{collections::HashSet, time::Duration};

use larder_client::{PushBatch, RowResult};
use larder_types::{Clock, Timestamp};

use crate::sandbox::{Sandbox, assert_results, micros, name, served};

#[tokio::test]
async fn created_times_never_repeat_nor_go_back_though_the_clock_does() {
    let sandbox = Sandbox::start().await;
    let event_time = sandbox.clock.now();
    let mut last = Timestamp::MIN;
    for (number, moved) in [0, 0, -5_000_000, 3, -1, 10_000_000, -20_000_000].into_iter().enumerate() {
        sandbox.clock.set(micros(sandbox.clock.now(), moved));
        let clicks = i64::try_from(number).unwrap();
        let batch = sandbox.batch(&number.to_string(), &["a", "a"], &[clicks, clicks + 100]);
        let answer = sandbox.push(PushBatch { event_times: vec![event_time; 2], ..batch }).await.unwrap();
        assert_results(&answer, &[RowResult::Written; 2]);
        // The second row of the batch was recorded after the first, and all of it after what came before.
        let (value, version) = sandbox.served(&["a"]).await.remove(0);
        assert_eq!(value, (clicks + 100).to_string());
        let created = version.unwrap().created_time;
        assert!(created > last, "{created} after {last}");
        last = created;
    }
    let logged = sandbox.logged().await;
    let created: HashSet<_> = logged.iter().map(|row| row.created_time).collect();
    assert_eq!((logged.len(), created.len()), (14, 14));
    // Batches of ever later ids, rows in their order.
    assert!(logged.is_sorted_by_key(|row| row.created_time));
}

#[tokio::test]
async fn a_created_time_that_is_given_is_kept() {
    let sandbox = Sandbox::start().await;
    let given = micros(sandbox.clock.now(), -1_000_000);
    let batch = PushBatch { created_times: vec![given], ..sandbox.batch("given", &["a"], &[1]) };
    sandbox.push(batch).await.unwrap();
    assert_eq!(sandbox.served(&["a"]).await[0].1.unwrap().created_time, given);
    assert_eq!(sandbox.logged().await[0].created_time, given.as_micros());
}

/// Many callers at once, each of whom reads back what it pushed as soon as it is told that it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_pushed_is_readable_when_the_call_returns() {
    const CALLERS: i64 = 8;
    const PUSHES: i64 = 12;
    let sandbox = Sandbox::start().await;
    let callers = (0..CALLERS).map(|caller| {
        let (client, serving, clock) = (sandbox.client(), sandbox.serving(), sandbox.clock.clone());
        let template = sandbox.batch("", &[""], &[0]);
        tokio::spawn(async move {
            let customer = format!("caller {caller}");
            for number in 0..PUSHES {
                let value = caller * 1_000 + number;
                let batch = PushBatch {
                    source: name("clicks"),
                    batch_id: None,
                    columns: crate::sandbox::columns(&[&customer], &[value]),
                    ..template.clone()
                };
                assert_results(&client.push(batch).await.unwrap(), &[RowResult::Written]);
                for (feature, expected) in
                    [("activity.clicks", value.to_string()), ("last_page.last", format!("/{value}"))]
                {
                    assert_eq!(served(&serving, feature, &[&customer]).await[0].0, expected);
                }
                clock.advance(Duration::from_micros(1));
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let logged = sandbox.logged().await;
    let created: HashSet<_> = logged.iter().map(|row| row.created_time).collect();
    assert_eq!(logged.len() as i64, CALLERS * PUSHES);
    assert_eq!(created.len(), logged.len(), "no two rows have the same created time");
}
