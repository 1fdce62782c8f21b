//! Any order of appends by several writers, compactions, sweeps and reads, against a list of what was acknowledged.

use larder_connections::test_suite::UnreliableStore;
use larder_push_log::{LogPosition, PushLogWriter, SegmentPosition, WriterOptions};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};

use crate::support::{Content, DAY, Identity, Log, deduped, identified};

#[derive(Debug, Clone)]
enum Step {
    Append {
        writer: usize,
        batch: u8,
        contents: Vec<Content>,
    },
    /// The process ends and another begins.
    Restart {
        writer: usize,
    },
    Compact,
    Sweep,
    Wait {
        minutes: u64,
    },
    /// Reads since the beginning, and since the position that an earlier read reached.
    Read {
        since: prop::sample::Index,
    },
}

fn content() -> impl Strategy<Value = Content> {
    (0..4_i64, 0..3_i64, 0..3_i64, -1..100_i64).prop_map(|(created, day, key, value)| Content {
        created,
        event: day * DAY + key,
        key,
        value,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3_usize, 0..12_u8, prop::collection::vec(content(), 1..4))
            .prop_map(|(writer, batch, contents)| Step::Append { writer, batch, contents }),
        1 => (0..3_usize).prop_map(|writer| Step::Restart { writer }),
        3 => Just(Step::Compact),
        2 => Just(Step::Sweep),
        2 => (1..2_000_u64).prop_map(|minutes| Step::Wait { minutes }),
        3 => any::<prop::sample::Index>().prop_map(|since| Step::Read { since }),
    ]
}

/// Everything that was tried, and where it went if that is known.
#[derive(Default)]
struct Model {
    appended: Vec<(Identity, Content, Option<SegmentPosition>)>,
    reached: Vec<LogPosition>,
}

impl Model {
    fn tried(&self) -> impl Iterator<Item = (Identity, Content)> {
        self.appended.iter().map(|(identity, content, _)| (identity.clone(), *content))
    }

    fn acknowledged_since(&self, since: &LogPosition) -> impl Iterator<Item = (Identity, Content)> {
        let after = |at: &Option<SegmentPosition>| at.is_some_and(|at| !since.contains(at));
        self.appended
            .iter()
            .filter(move |(_, _, at)| after(at))
            .map(|(identity, content, _)| (identity.clone(), *content))
    }

    async fn check(&mut self, log: &Log, since: Option<&LogPosition>) {
        let (reached, found) = log.read_since(since).await;
        for (_, _, at) in &self.appended {
            assert!(at.is_none_or(|at| reached.contains(at)), "{at:?} was acknowledged before");
        }
        for row in &found {
            assert!(self.tried().any(|tried| tried == *row), "nobody appended {row:?}");
        }
        let found = deduped(found);
        let beginning = LogPosition::default();
        for (identity, content) in deduped(self.acknowledged_since(since.unwrap_or(&beginning))) {
            let there = found.get(&identity).unwrap_or_else(|| panic!("{identity:?} is missing since {since:?}"));
            assert!(there.created >= content.created, "{identity:?} is {there:?}, older than {content:?}");
        }
        let all_known = self.appended.iter().all(|(_, _, at)| at.is_some());
        if since.is_none() && all_known {
            let created = |found: Vec<(Identity, Content)>| {
                deduped(found).into_iter().map(|(identity, content)| (identity, content.created)).collect::<Vec<_>>()
            };
            assert_eq!(created(found.into_iter().collect()), created(self.tried().collect()));
        }
        self.reached.push(reached);
    }
}

async fn append(log: &Log, writer: &PushLogWriter, model: &mut Model, batch: u8, contents: &[Content]) {
    let batch_id = format!("batch-{batch}");
    let result = log.append(writer, &batch_id, contents).await;
    if result.as_ref().is_err_and(|error| error.known_not_written) {
        return;
    }
    let at = result.ok();
    let rows = identified(&batch_id, contents);
    model.appended.extend(rows.into_iter().map(|(identity, content)| (identity, content, at)));
}

/// Works on `log`, and reads from `reader`, which is the same store.
async fn run(log: Log, reader: Log, steps: Vec<Step>) {
    let options = WriterOptions { put_attempts: 2, retry_pause: Duration::ZERO, ..WriterOptions::default() };
    let mut writers = [(); 3].map(|()| log.writer_with(options.clone()));
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append { writer, batch, contents } => {
                append(&log, &writers[writer], &mut model, batch, &contents).await;
            }
            Step::Restart { writer } => writers[writer] = log.writer_with(options.clone()),
            Step::Compact => drop(log.compact().await),
            Step::Sweep => drop(log.sweep().await),
            Step::Wait { minutes } => log.clock.advance(Duration::from_secs(60 * minutes)),
            Step::Read { since } => {
                let since = (!model.reached.is_empty()).then(|| since.get(&model.reached).clone());
                model.check(&reader, since.as_ref()).await;
                model.check(&reader, None).await;
            }
        }
    }
    model.check(&reader, None).await;
}

fn run_alone(log: Log, reader: Log, steps: Vec<Step>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(run(log, reader, steps));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_read_has_everything_acknowledged(steps in prop::collection::vec(step(), 1..50)) {
        let log = Log::in_memory();
        run_alone(log.clone(), log, steps);
    }

    #[test]
    fn so_it_is_over_a_store_that_loses_requests_and_replies(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..50),
    ) {
        let reliable = Log::in_memory();
        let unreliable = UnreliableStore::new(Arc::clone(&reliable.store), seed, 60);
        run_alone(Log { store: Arc::new(unreliable), ..reliable.clone() }, reliable, steps);
    }
}
