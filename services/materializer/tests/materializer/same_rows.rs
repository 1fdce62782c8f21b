//! Whatever files come and are corrected, whatever is pushed, whichever runs are made and interrupted: after a run each
//! customer is served the latest row of the history there is.

mod ties;

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use larder_codec::{EncodedKeys, compare_rows};
use larder_definitions::run::{LEASE_TERM, Outcome, RunState, Scope};
use larder_online_store::{KeyWrite, OnlineStore, RowOutcome, WriteMode, interposed::Interposed};
use larder_types::Timestamp;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::{
    feed::{Feed, Row},
    interrupted::Interrupted,
};

const CUSTOMERS: i64 = 2;

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    /// A file comes, or one that is there is corrected: its rows get other values, and there are more of them.
    File { number: u8, rows: Vec<Row>, statistics: bool, renamed: Renamed },
    /// A file goes, to come back corrected under another name, maybe only after runs that missed it.
    Away(u8),
    /// Files whose corrections have come under other names go.
    OldGo,
    /// Events are pushed, to the log alone or online as well.
    Push { rows: Vec<Row>, online: bool },
    /// A run, whose first workers are stopped after so many writes; then a file may be corrected, or the run be cancelled.
    Run { scope: Scope, stopped_after: Vec<u8>, corrected: Option<(u8, Vec<Row>)>, cancelled: bool },
    /// Minutes go by.
    Wait(u8),
}

/// Whether a file that is corrected has another name then.
#[derive(Debug, Clone, Copy)]
enum Renamed {
    No,
    /// It goes, and the other comes.
    Yes,
    /// The other comes, and it goes later.
    OldStays,
}

/// With few times, so that most rows of files and pushes tie, or with more of them.
fn rows(few_times: bool, max_event: i64) -> impl Strategy<Value = Vec<Row>> {
    let (event, created) = if few_times { (2..4, 0..1) } else { (0..max_event, 0_i64..2) };
    let row = (0..CUSTOMERS, event, created, proptest::char::range('a', 'd'))
        .prop_map(|(id, event, created, letter)| Row { id, event, created: Some(created), deleted: false, letter });
    proptest::collection::vec(row, 1..4)
}

fn step(few_times: bool) -> impl Strategy<Value = Step> {
    let rows = move |max_event| rows(few_times, max_event);
    let renamed = prop_oneof![4 => Just(Renamed::No), 1 => Just(Renamed::Yes), 1 => Just(Renamed::OldStays)];
    let file = (0_u8..5, rows(8), any::<bool>(), renamed).prop_map(|(number, rows, statistics, renamed)| Step::File {
        number,
        rows,
        statistics,
        renamed,
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
    let run = (scope, proptest::collection::vec(0_u8..3, 0..2), corrected, proptest::bool::weighted(0.2)).prop_map(
        |(scope, stopped_after, corrected, cancelled)| Step::Run { scope, stopped_after, corrected, cancelled },
    );
    prop_oneof![
        6 => file,
        2 => (0_u8..5).prop_map(Step::Away),
        2 => Just(Step::OldGo),
        4 => push,
        6 => run,
        2 => (1_u8..3).prop_map(Step::Wait),
    ]
}

/// What there is, kept naively.
#[derive(Default)]
struct History {
    files: BTreeMap<u8, Vec<Row>>,
    /// Taken away, to come back.
    away: BTreeMap<u8, Vec<Row>>,
    /// There until they go, beside their corrections.
    old: Vec<(String, Vec<Row>)>,
    /// How often files were renamed.
    renamings: BTreeMap<u8, u32>,
    log: Vec<Row>,
    /// Pushed online as well: served at once, however late they are.
    online: Vec<Row>,
}

impl History {
    /// The latest row of each customer that a run which began at `started_at` has to have brought.
    fn latest(&self, has_created_time: bool, started_at: Timestamp) -> Vec<Row> {
        let of_files = self
            .files
            .values()
            .chain(self.old.iter().map(|(_, rows)| rows))
            .flatten()
            .map(|row| Row { created: row.created.filter(|_| has_created_time), ..*row });
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
        let away = self.away.remove(&number);
        let file = self.files.entry(number).or_insert_with(|| away.unwrap_or_default());
        // Were the rows of equal times given different values now, no run could tell which one is meant.
        file.iter_mut().for_each(|row| row.letter = rows[0].letter);
        file.extend(rows);
        let renamings = self.renamings.entry(number).or_default();
        feed.write(&format!("{number}-{renamings}.parquet"), file, statistics);
    }

    /// Keeps a file that is about to be written under another name.
    fn keep_old(&mut self, number: u8) {
        if let Some(rows) = self.files.get(&number) {
            let renamings = self.renamings.entry(number).or_default();
            self.old.push((format!("{number}-{renamings}.parquet"), rows.clone()));
            *renamings += 1;
        }
    }

    fn old_go(&mut self, feed: &Feed) {
        self.old.drain(..).for_each(|(name, _)| std::fs::remove_file(feed.path(&name)).unwrap());
    }

    /// Takes a file away that is to be written under another name.
    fn take_away(&mut self, feed: &Feed, number: u8) {
        if let Some(rows) = self.files.remove(&number) {
            let renamings = self.renamings.entry(number).or_default();
            std::fs::remove_file(feed.path(&format!("{number}-{renamings}.parquet"))).unwrap();
            *renamings += 1;
            self.away.insert(number, rows);
        }
    }

    /// Brings back what was taken away.
    fn bring_back(&mut self, feed: &Feed) {
        while let Some(row) = self.away.first_entry().map(|file| (*file.key(), file.get()[0])) {
            self.write(feed, row.0, vec![Row { letter: 'a', ..row.1 }], true);
        }
    }
}

/// Sees whether a row that was pushed online is ever taken for a lesser one.
struct Watched {
    store: Arc<dyn OnlineStore>,
    pushed: Vec<(Bytes, Bytes)>,
    went_back: AtomicBool,
}

impl Watched {
    async fn new(feed: &Feed, pushed: &[Row]) -> Arc<Self> {
        let (store, pushed) = (feed.store.clone(), feed.encoded(pushed).await);
        Arc::new(Self { store, pushed, went_back: AtomicBool::new(false) })
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(!self.went_back.load(Relaxed), "a row went back behind one that was pushed");
        Ok(())
    }
}

#[async_trait]
impl Interposed for Watched {
    fn store(&self) -> &Arc<dyn OnlineStore> {
        &self.store
    }

    async fn on_write(
        &self,
        writes: Vec<KeyWrite>,
        mode: WriteMode,
        now: Timestamp,
    ) -> larder_types::Result<Vec<RowOutcome>> {
        let row_set = writes.first().map(|write| write.rows[0].row_set);
        let outcomes = self.store.write(writes, mode, now).await?;
        let keys: EncodedKeys = self.pushed.iter().map(|(key, _)| Some(key)).collect();
        let rows = self.store.read(&keys, row_set.as_slice()).await?;
        let is_lesser = |(at, (_, pushed)): (usize, &(Bytes, Bytes))| {
            row_set.is_some() && rows.get(at, 0).is_none_or(|row| compare_rows(row, pushed) == Ordering::Less)
        };
        if self.pushed.iter().enumerate().any(is_lesser) {
            self.went_back.store(true, Relaxed);
        }
        Ok(outcomes)
    }
}

/// As the worker that has the run ends it when it hears of that.
async fn cancel(feed: &Feed, id: &str) {
    let run = feed.runs.cancel(&feed.project, id).await.unwrap();
    if !run.state.is_final() {
        let grant = feed.runs.acquire_lease(&feed.project, id, "whoever is next").await.unwrap();
        feed.runs.finish(&feed.project, id, grant.lease, &Outcome::Cancelled).await.unwrap();
    }
}

async fn check(has_created_time: bool, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let feed = Feed::new(has_created_time).await;
    let mut history = History::default();
    feed.clock.advance(Duration::from_secs(4 * 60));
    // A folder without a file is an error: it may be misspelt.
    let first = Row { id: 0, event: 0, created: Some(0), deleted: false, letter: 'a' };
    history.write(&feed, 9, vec![first], true);
    for step in steps.into_iter().map(Some).chain([None]) {
        let last = Step::Run { scope: Scope::Incremental, stopped_after: vec![], corrected: None, cancelled: false };
        let step = step.unwrap_or_else(|| {
            history.bring_back(&feed);
            history.old_go(&feed);
            last
        });
        match step {
            Step::File { number, rows, statistics, renamed } => {
                match renamed {
                    Renamed::No => {}
                    Renamed::Yes => history.take_away(&feed, number),
                    Renamed::OldStays => history.keep_old(number),
                }
                history.write(&feed, number, rows, statistics);
            }
            Step::OldGo => history.old_go(&feed),
            // The file that is there from the start stays.
            Step::Away(number) => history.take_away(&feed, number),
            Step::Push { rows, online } => {
                feed.push(&rows, online).await;
                if online {
                    history.online.extend(&rows);
                }
                history.log.extend(rows);
            }
            Step::Wait(minutes) => feed.clock.advance(Duration::from_secs(60 * u64::from(minutes))),
            Step::Run { scope, stopped_after, mut corrected, cancelled } => {
                let mut is_current = !matches!(scope, Scope::Range { .. }) && history.away.is_empty();
                let run = feed.create(scope).await;
                let watched = Watched::new(&feed, &history.online).await;
                for writes in stopped_after {
                    let stop = CancellationToken::new();
                    let is_done = writes % 2 == 0;
                    let writes_left = u32::from(writes).into();
                    let store = Interrupted { store: watched.clone(), writes_left, is_done, stop: Some(stop.clone()) };
                    feed.work(&run, Arc::new(store), &stop).await;
                    feed.clock.advance(LEASE_TERM);
                    watched.check()?;
                    if let Some((number, rows)) = corrected.take() {
                        history.write(&feed, number, rows, true);
                        is_current = false;
                    }
                }
                if cancelled {
                    cancel(&feed, &run.id).await;
                    continue;
                }
                let run = feed.work(&run, watched.clone(), &CancellationToken::new()).await;
                watched.check()?;
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
        steps in any::<bool>().prop_flat_map(|few_times| proptest::collection::vec(step(few_times), 1..14)),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check(has_created_time, steps))?;
    }
}
