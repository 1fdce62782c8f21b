//! Whatever files come and are corrected, whatever is pushed, whichever runs are made and interrupted: after a run each
//! customer is served the latest row of the history there is.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use larder_definitions::run::{LEASE_TERM, RunState, Scope};
use larder_types::Timestamp;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::{
    feed::{Feed, Row},
    interrupted::Interrupted,
};

const CUSTOMERS: i64 = 3;

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    /// A file comes, or one that is there is corrected: its rows get other values, and there are more of them.
    File { number: u8, rows: Vec<Row>, statistics: bool },
    /// Events are pushed, to the log alone or online as well.
    Push { rows: Vec<Row>, online: bool },
    /// A run, whose first workers are stopped after so many writes; then a file may be corrected.
    Run { scope: Scope, stopped_after: Vec<u8>, corrected: Option<(u8, Vec<Row>)> },
    /// Minutes go by.
    Wait(u8),
}

fn rows(max_event: i64) -> impl Strategy<Value = Vec<Row>> {
    let row = (0..CUSTOMERS, 0..max_event, 0_i64..2, proptest::char::range('a', 'd'))
        .prop_map(|(id, event, created, letter)| Row { id, event, created: Some(created), deleted: false, letter });
    proptest::collection::vec(row, 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let file = (0_u8..5, rows(8), any::<bool>()).prop_map(|(number, rows, statistics)| Step::File {
        number,
        rows,
        statistics,
    });
    // Few are deletions, and few are of the future: push-ingest lets them be so only by a little.
    let push =
        (rows(5), proptest::option::weighted(0.2, 0_usize..4), any::<bool>()).prop_map(|(mut rows, gone, online)| {
            if let Some(row) = gone.and_then(|gone| rows.get_mut(gone)) {
                row.deleted = true;
            }
            Step::Push { rows, online }
        });
    let at = |minute: i64| Timestamp::from_micros(minute * 60_000_000);
    let scope = prop_oneof![
        6 => Just(Scope::Incremental),
        2 => Just(Scope::Full),
        1 => (0_i64..5, 1_i64..3).prop_map(move |(start, length)| Scope::Range { start: at(start), end: at(start + length) }),
    ];
    let corrected = proptest::option::weighted(0.3, (0_u8..5, rows(8)));
    let run = (scope, proptest::collection::vec(0_u8..3, 0..2), corrected)
        .prop_map(|(scope, stopped_after, corrected)| Step::Run { scope, stopped_after, corrected });
    prop_oneof![3 => file, 2 => push, 3 => run, 1 => (1_u8..3).prop_map(Step::Wait)]
}

/// What there is, kept naively.
#[derive(Default)]
struct History {
    files: BTreeMap<u8, Vec<Row>>,
    log: Vec<Row>,
    /// Pushed online as well: served at once, however late they are.
    online: Vec<Row>,
}

impl History {
    /// The latest row of each customer that a run which began at `started_at` has to have brought.
    fn latest(&self, has_created_time: bool, started_at: Timestamp) -> Vec<Row> {
        let of_files =
            self.files.values().flatten().map(|row| Row { created: row.created.filter(|_| has_created_time), ..*row });
        let present =
            of_files.chain(self.log.iter().copied()).filter(|row| row.event * 60_000_000 <= started_at.as_micros());
        let mut latest: BTreeMap<i64, Row> = BTreeMap::new();
        for row in present.chain(self.online.iter().copied()) {
            latest.entry(row.id).and_modify(|best| *best = row.max(*best)).or_insert(row);
        }
        latest.into_values().collect()
    }
}

impl History {
    /// Writes the file anew: what it said before is corrected, and there is more of it.
    fn write(&mut self, feed: &Feed, number: u8, rows: Vec<Row>, statistics: bool) {
        let file = self.files.entry(number).or_default();
        // Were the rows of equal times given different values now, no run could tell which one is meant.
        file.iter_mut().for_each(|row| row.letter = rows[0].letter);
        file.extend(rows);
        feed.write(&format!("{number}.parquet"), file, statistics);
    }
}

async fn check(has_created_time: bool, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let feed = Feed::new(has_created_time).await;
    let mut history = History::default();
    feed.clock.advance(Duration::from_secs(4 * 60));
    // A folder without a file is an error: it may be misspelt.
    let first = Row { id: 0, event: 0, created: Some(0), deleted: false, letter: 'a' };
    history.write(&feed, 9, vec![first], true);
    let last = Step::Run { scope: Scope::Incremental, stopped_after: vec![], corrected: None };
    for step in steps.into_iter().chain([last]) {
        match step {
            Step::File { number, rows, statistics } => history.write(&feed, number, rows, statistics),
            Step::Push { rows, online } => {
                feed.push(&rows, online).await;
                if online {
                    history.online.extend(&rows);
                }
                history.log.extend(rows);
            }
            Step::Wait(minutes) => feed.clock.advance(Duration::from_secs(60 * u64::from(minutes))),
            Step::Run { scope, stopped_after, mut corrected } => {
                let mut is_current = !matches!(scope, Scope::Range { .. });
                let run = feed.create(scope).await;
                for writes in stopped_after {
                    let stop = CancellationToken::new();
                    let is_done = writes % 2 == 0;
                    let writes_left = u32::from(writes).into();
                    let store =
                        Interrupted { store: feed.store.clone(), writes_left, is_done, stop: Some(stop.clone()) };
                    feed.work(&run, Arc::new(store), &stop).await;
                    feed.clock.advance(LEASE_TERM);
                    if let Some((number, rows)) = corrected.take() {
                        history.write(&feed, number, rows, true);
                        is_current = false;
                    }
                }
                let run = feed.work(&run, feed.store.clone(), &CancellationToken::new()).await;
                if is_current {
                    prop_assert_eq!(run.state, RunState::Succeeded, "{:?}", run.error);
                    let latest = history.latest(has_created_time, run.plan.unwrap().started_at);
                    let served = feed.served(&(0..CUSTOMERS).collect::<Vec<_>>()).await;
                    prop_assert_eq!(served, feed.expected(&latest).await, "{:?}", latest);
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_latest_row_of_each_customer_is_served(
        has_created_time in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check(has_created_time, steps))?;
    }
}
