//! One promise each. All take an empty store.

use std::sync::Arc;

use bytes::Bytes;
use larder_codec::{EncodedKeys, KeyScope};
use larder_types::{ErrorCode, KeySpaceNumber, ProjectNumber, RowSetNumber};

use super::{at, deletion, forever, read, row, to_key, until};
use crate::{OnlineStore, RowOutcome, WriteMode, WriteMode::Newest};

type Store = Arc<dyn OnlineStore>;

/// No row where nothing was written, and none for a missing key, whatever the other keys and row sets have.
pub async fn missing_keys_and_row_sets_have_no_rows(store: Store) {
    store.write(vec![to_key("1.1:a", vec![forever(1, row(1, 1, 1))])], Newest, at(0)).await.unwrap();
    assert_eq!(
        read(&*store, &["1.1:a", "1.1:b", "1.1:", "1.1"], &[1, 2]).await,
        [Some(row(1, 1, 1)), None, None, None, None, None, None, None]
    );
    let keys: EncodedKeys = [None, Some("1.1:a")].into_iter().collect();
    let rows = store.read(&keys, &[RowSetNumber(1)]).await.unwrap();
    assert_eq!((rows.get(0, 0), rows.get(1, 0)), (None, Some(&row(1, 1, 1)[..])));
}

/// The order of rows is event time, created time, bytes; each write says what became of it.
pub async fn newest_wins(store: Store) {
    let steps = [
        (row(5, 5, 5), RowOutcome::Written, row(5, 5, 5)),
        (row(4, 9, 9), RowOutcome::Older, row(5, 5, 5)),
        (row(5, 5, 5), RowOutcome::Equal, row(5, 5, 5)),
        (row(5, 4, 9), RowOutcome::Older, row(5, 5, 5)),
        (row(5, 5, 4), RowOutcome::Older, row(5, 5, 5)),
        (row(5, 5, 6), RowOutcome::Written, row(5, 5, 6)),
        (row(5, 6, 1), RowOutcome::Written, row(5, 6, 1)),
        (row(6, 1, 1), RowOutcome::Written, row(6, 1, 1)),
        (row(-9, 1, 1), RowOutcome::Older, row(6, 1, 1)),
    ];
    for (new, outcome, there) in steps {
        let outcomes = store.write(vec![to_key("1.1:k", vec![forever(1, new)])], Newest, at(0)).await.unwrap();
        assert_eq!(outcomes, [outcome]);
        assert_eq!(read(&*store, &["1.1:k"], &[1]).await, [Some(there)]);
    }
}

/// A deletion hides older rows, also those that come after it, and gives way to newer ones.
pub async fn a_deletion_is_a_row_like_any_other(store: Store) {
    let steps = [
        (row(5, 5, 5), RowOutcome::Written, row(5, 5, 5)),
        (deletion(7, 7), RowOutcome::Written, deletion(7, 7)),
        (row(6, 9, 9), RowOutcome::Older, deletion(7, 7)),
        (deletion(7, 7), RowOutcome::Equal, deletion(7, 7)),
        (row(8, 1, 1), RowOutcome::Written, row(8, 1, 1)),
        (deletion(7, 8), RowOutcome::Older, row(8, 1, 1)),
    ];
    for (new, outcome, there) in steps {
        let outcomes = store.write(vec![to_key("1.1:k", vec![forever(1, new)])], Newest, at(0)).await.unwrap();
        assert_eq!(outcomes, [outcome]);
        assert_eq!(read(&*store, &["1.1:k"], &[1]).await, [Some(there)]);
    }
}

/// It replaces a row of the same event and created time whatever the bytes are, and otherwise does as any writer.
pub async fn only_a_materialization_replaces_a_row_of_equal_times(store: Store) {
    let steps = [
        (row(5, 5, 5), WriteMode::Materialization, RowOutcome::Written, row(5, 5, 5)),
        (row(5, 5, 4), Newest, RowOutcome::Older, row(5, 5, 5)),
        (row(5, 5, 4), WriteMode::Materialization, RowOutcome::Written, row(5, 5, 4)),
        (row(5, 5, 4), WriteMode::Materialization, RowOutcome::Equal, row(5, 5, 4)),
        (row(5, 5, 6), WriteMode::Materialization, RowOutcome::Written, row(5, 5, 6)),
        (row(5, 4, 9), WriteMode::Materialization, RowOutcome::Older, row(5, 5, 6)),
        (row(4, 9, 9), WriteMode::Materialization, RowOutcome::Older, row(5, 5, 6)),
        (deletion(5, 5), WriteMode::Materialization, RowOutcome::Written, deletion(5, 5)),
        (row(5, 5, 1), WriteMode::Materialization, RowOutcome::Written, row(5, 5, 1)),
        (row(5, 6, 1), WriteMode::Materialization, RowOutcome::Written, row(5, 6, 1)),
    ];
    for (new, mode, outcome, there) in steps {
        let outcomes = store.write(vec![to_key("1.1:k", vec![forever(1, new)])], mode, at(0)).await.unwrap();
        assert_eq!(outcomes, [outcome]);
        assert_eq!(read(&*store, &["1.1:k"], &[1]).await, [Some(there)]);
    }
}

/// Its last instant is not past; the rows beside it are written.
pub async fn a_row_past_its_expiry_is_not_written(store: Store) {
    let rows = vec![until(1, row(1, 1, 1), 99), until(2, row(1, 1, 2), 100), forever(3, row(1, 1, 3))];
    let outcomes = store.write(vec![to_key("1.1:k", rows)], Newest, at(100)).await.unwrap();
    assert_eq!(outcomes, [RowOutcome::Expired, RowOutcome::Written, RowOutcome::Written]);
    assert_eq!(read(&*store, &["1.1:k"], &[1, 2, 3]).await, [None, Some(row(1, 1, 2)), Some(row(1, 1, 3))]);
}

/// The latest expiry of a row that is written several times holds, in whatever order they come.
pub async fn a_row_written_again_may_live_longer(store: Store) {
    let write = |key: &str, expiries: &[Option<i64>]| {
        let write = |expiry: &Option<i64>| match expiry {
            Some(expiry) => until(1, row(1, 1, 1), *expiry),
            None => forever(1, row(1, 1, 1)),
        };
        to_key(key, expiries.iter().map(write).collect())
    };
    let writes = vec![
        write("1.1:longer", &[Some(10), Some(20)]),
        write("1.1:shorter", &[Some(20), Some(10)]),
        write("1.1:ever", &[Some(10), None]),
        write("1.1:once", &[Some(10)]),
    ];
    let outcomes = store.write(writes, Newest, at(0)).await.unwrap();
    let (written, equal) = (RowOutcome::Written, RowOutcome::Equal);
    assert_eq!(outcomes, [written, equal, written, equal, written, equal, written]);
    store.sweep(at(15)).await.unwrap();
    let there = Some(row(1, 1, 1));
    let keys = ["1.1:longer", "1.1:shorter", "1.1:ever", "1.1:once"];
    assert_eq!(read(&*store, &keys, &[1]).await, [there.clone(), there.clone(), there, None]);
}

/// A row leaves once its last instant is past; an older one can then be written again.
pub async fn a_sweep_removes_expired_rows_alone(store: Store) {
    let writes = (0..100).map(|key| to_key(&format!("1.1:{key}"), vec![until(key, row(1, 1, 1), key.into())]));
    store.write(writes.collect(), Newest, at(0)).await.unwrap();
    let report = store.sweep(at(50)).await.unwrap();
    assert_eq!(report.removed, 50);
    assert_eq!(store.sweep(at(50)).await.unwrap().removed, 0);
    for key in 0..100 {
        let there = read(&*store, &[&format!("1.1:{key}")], &[key]).await;
        assert_eq!(there[0].is_some(), key >= 50, "expires at {key}");
    }
    let older = vec![to_key("1.1:0", vec![forever(0, row(0, 0, 0))])];
    assert_eq!(store.write(older, Newest, at(50)).await.unwrap(), [RowOutcome::Written]);
}

/// Other row sets, key spaces and projects stay, those whose numbers begin alike too.
pub async fn a_purge_removes_a_row_set_of_a_scope_alone(store: Store) {
    let keys = ["1.2", "1.2:a", "1.2:b", "1.3:a", "1.22:a", "11.2:a", "2.2:a"];
    let rows = || vec![forever(1, row(1, 1, 1)), forever(2, row(1, 1, 2))];
    store.write(keys.iter().map(|key| to_key(key, rows())).collect(), Newest, at(0)).await.unwrap();
    let left = async || {
        let there = read(&*store, &keys, &[1, 2]).await;
        let each = keys.iter().zip(there.chunks(2));
        let left: Vec<_> = each.filter(|(_, rows)| rows[0].is_some()).map(|(key, _)| *key).collect();
        assert!(there.iter().skip(1).step_by(2).all(Option::is_some), "the other row set stays");
        left
    };
    let key_space = KeyScope::key_space(None, ProjectNumber(1), KeySpaceNumber(2)).unwrap();
    assert_eq!(store.purge(&key_space, RowSetNumber(1)).await.unwrap(), 3);
    assert_eq!(left().await, ["1.3:a", "1.22:a", "11.2:a", "2.2:a"]);
    let project = KeyScope::project(None, ProjectNumber(1)).unwrap();
    assert_eq!(store.purge(&project, RowSetNumber(1)).await.unwrap(), 2);
    assert_eq!(left().await, ["11.2:a", "2.2:a"]);
    assert_eq!(store.purge(&project, RowSetNumber(1)).await.unwrap(), 0);
}

/// Without keys, without row sets, without rows.
pub async fn a_call_without_rows_is_answered(store: Store) {
    assert_eq!(read(&*store, &[], &[1]).await, []);
    assert_eq!(read(&*store, &["1.1:a"], &[]).await, []);
    assert_eq!(store.write(Vec::new(), Newest, at(0)).await.unwrap(), []);
    assert_eq!(store.write(vec![to_key("1.1:a", Vec::new())], Newest, at(0)).await.unwrap(), []);
    assert_eq!(store.sweep(at(0)).await.unwrap().removed, 0);
}

/// The good rows beside it are not written either.
pub async fn what_is_no_key_or_no_row_is_refused_and_nothing_written(store: Store) {
    let good = || to_key("1.1:good", vec![forever(1, row(1, 1, 1))]);
    let bad = [
        to_key("", vec![forever(1, row(1, 1, 1))]),
        to_key(&"x".repeat(4097), vec![forever(1, row(1, 1, 1))]),
        to_key("1.1:a", vec![forever(1, Bytes::from_static(b"no row"))]),
        to_key("1.1:a", vec![forever(1, Bytes::new())]),
    ];
    for bad in bad {
        let error = store.write(vec![good(), bad], Newest, at(0)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
    }
    assert_eq!(read(&*store, &["1.1:good", "1.1:a"], &[1]).await, [None, None]);
}

/// As if they came one after the other.
pub async fn one_call_may_write_a_row_set_of_a_key_twice(store: Store) {
    let writes = vec![
        to_key("1.1:k", vec![forever(1, row(2, 2, 2)), forever(1, row(1, 1, 1))]),
        to_key("1.1:k", vec![forever(1, row(3, 3, 3)), forever(1, row(3, 3, 3))]),
    ];
    let outcomes = store.write(writes, Newest, at(0)).await.unwrap();
    assert_eq!(outcomes, [RowOutcome::Written, RowOutcome::Older, RowOutcome::Written, RowOutcome::Equal]);
    assert_eq!(read(&*store, &["1.1:k"], &[1]).await, [Some(row(3, 3, 3))]);
}

/// 10,000 keys are written, and read, in one call each, in an order of their own.
pub async fn many_keys_in_one_call(store: Store) {
    let keys: Vec<_> = (0..10_000_u32).map(|key| format!("1.1:{}", key.wrapping_mul(7919) % 10_000)).collect();
    let rows = |key: i64| vec![forever(1, row(1, 1, key)), forever(2, row(1, 2, key))];
    let writes = keys.iter().zip(0..).map(|(key, number)| to_key(key, rows(number))).collect();
    let outcomes = store.write(writes, Newest, at(0)).await.unwrap();
    assert_eq!(outcomes.len(), 20_000);
    assert!(outcomes.iter().all(|outcome| *outcome == RowOutcome::Written));
    let asked: Vec<_> = keys.iter().map(String::as_str).collect();
    let there = read(&*store, &asked, &[2, 1]).await;
    for (number, rows) in (0..).zip(there.chunks(2)) {
        assert_eq!(rows, [Some(row(1, 2, number)), Some(row(1, 1, number))]);
    }
}

/// The same row asked for a thousand times is refused where so many of it are too much, and a byte more lets it pass.
pub async fn a_read_takes_no_more_bytes_than_it_may(store: Store) {
    store.write(vec![to_key("1.1:a", vec![forever(1, row(1, 1, 1))])], Newest, at(0)).await.unwrap();
    let keys: EncodedKeys = (0..1_000).map(|_| Some("1.1:a")).collect();
    let bytes = 1_000 * row(1, 1, 1).len();
    let row_sets = [RowSetNumber(1)];
    assert_eq!(store.read_within(&keys, &row_sets, bytes).await.unwrap().byte_len(), bytes);
    let error = store.read_within(&keys, &row_sets, bytes - 1).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceExhausted);
}

/// Eight writers, the same keys, all rows in another order: in the end the newest of each key is there, and exactly the
/// writers' rows that are newest were answered as written or equal.
pub async fn newest_wins_among_concurrent_writers(store: Store) {
    const WRITERS: i64 = 8;
    const VERSIONS: i64 = 30;
    let writer = |store: Store, number: i64| async move {
        for step in 0..VERSIONS {
            let event = (step * 7 + number * 11) % VERSIONS;
            let write = |key: &str| to_key(key, vec![forever(1, row(event, number, event))]);
            store.write(vec![write("1.1:a"), write("1.1:b")], Newest, at(0)).await.unwrap();
            let there = read(&*store, &["1.1:a"], &[1]).await.remove(0).unwrap();
            assert!(there >= row(event, number, event), "a write that was answered is seen");
        }
    };
    let writers: Vec<_> = (0..WRITERS).map(|number| tokio::spawn(writer(store.clone(), number))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let newest = Some(row(VERSIONS - 1, WRITERS - 1, VERSIONS - 1));
    assert_eq!(read(&*store, &["1.1:a", "1.1:b"], &[1]).await, [newest.clone(), newest]);
}

/// Health says so.
pub async fn a_store_that_works_is_healthy(store: Store) {
    store.check_health().await.unwrap();
}
