//! What goes on in a system until it dies: pushes, applies and materializations; and what must be there afterwards.

use std::{cell::Cell, collections::BTreeSet, ops::Range, sync::Arc, time::Duration};

use arrow::{
    array::{AsArray, Int64Array, StringArray},
    datatypes::Int64Type,
};
use larder_client::{PushBatch, Target};
use larder_definitions::run::RunState;
use larder_types::{Clock, Error, ErrorCode, Name, Result, Revision, Timestamp};

use crate::{
    definitions::{SHOP, shop},
    history::{self, customer_column},
    sandbox::{Clients, assert_succeeded},
    training_equals_serving::{ask, differences, references, request, spine_at, train, training_set},
};

/// How many customers a push has rows of.
const PUSHED: i64 = 30;

/// How many materializations are asked for in one life.
const MATERIALIZATIONS: usize = 2;

/// How many of the revisions that were found before are asked for again after each death.
const LAST: usize = 5;

/// How soon is asked again for what nobody has declared yet.
const NOT_YET: Duration = Duration::from_millis(5);

/// What was acknowledged so far.
#[derive(Default)]
pub(crate) struct Acknowledged {
    pushes: Vec<Push>,
    revisions: Vec<(Revision, String)>,
    runs: BTreeSet<String>,
    /// What was pushed, acknowledged or not.
    pushed: Option<Push>,
    /// How many pushes and revisions were found after a death.
    found: (usize, usize),
    /// How many runs a death left to be gone on with.
    resumed: usize,
}

/// A batch with a row of each customer.
#[derive(Debug, Clone, Copy)]
struct Push {
    target: Target,
    /// Grows with each push.
    clicks: i64,
    /// Later than that of all pushes before.
    at: Timestamp,
}

impl Push {
    fn after(last: Option<Self>, clock: &dyn Clock) -> Self {
        let clicks = last.map_or(1, |last| last.clicks + 1);
        let target = match clicks % 4 {
            0 => Target::Online,
            1 => Target::Offline,
            _ => Target::OnlineAndOffline,
        };
        let earliest = last.map_or(Timestamp::MIN, |last| Timestamp::from_micros(last.at.as_micros() + 1));
        Self { target, clicks, at: clock.now().max(earliest) }
    }

    /// Those of whom it has a row: others for each target. The ones that are in no log are none that history knows.
    fn customers(target: Target) -> Range<i64> {
        let first = match target {
            Target::OnlineAndOffline => 0,
            Target::Offline => PUSHED,
            Target::Online => history::CUSTOMERS + 1_000,
        };
        first..first + PUSHED
    }

    async fn send(self, clients: &Clients) -> Result<()> {
        let customers: Vec<i64> = Self::customers(self.target).collect();
        let rows = customers.len();
        let batch = PushBatch {
            project: shop(),
            source: Name::new("clicks").unwrap(),
            batch_id: None,
            columns: vec![
                ("customer_id".into(), customer_column(&customers)),
                ("clicks".into(), Arc::new(Int64Array::from(vec![self.clicks; rows]))),
                ("last_page".into(), Arc::new(StringArray::from(vec!["/"; rows]))),
            ],
            event_times: vec![self.at; rows],
            created_times: vec![],
            deleted: vec![],
            target: self.target,
            min_revision: Revision(0),
        };
        clients.push().push(batch).await.map(|_| ())
    }
}

/// How far a life has come.
struct SoFar {
    is_dead: Cell<bool>,
    /// Whether an apply was acknowledged, in this life or an earlier one.
    is_declared: Cell<bool>,
}

impl SoFar {
    /// The answer; none after the death. Before it nothing may fail, but for what nobody has declared yet.
    async fn answered<T, F: Future<Output = Result<T>>>(&self, what: &str, ask: impl Fn() -> F) -> Option<T> {
        loop {
            let was_declared = self.is_declared.get();
            match ask().await {
                Ok(answer) => return Some(answer),
                Err(_) if self.is_dead.get() => return None,
                Err(error) => assert!(is_not_declared(&error) && !was_declared, "{what} failed in life: {error}"),
            }
            tokio::time::sleep(NOT_YET).await;
        }
    }
}

fn is_not_declared(error: &Error) -> bool {
    error.code() == ErrorCode::NotFound
}

impl Acknowledged {
    /// Pushes, applies and materializes for a `lifetime`, until `death` and as long as anything is answered after it.
    pub(crate) async fn work_until(
        &mut self,
        lifetime: Duration,
        death: impl FnOnce(),
        clients: &Clients,
        clock: &dyn Clock,
        life: u64,
    ) {
        let Self { pushes, revisions, runs, pushed, .. } = self;
        let so_far = SoFar { is_dead: Cell::new(false), is_declared: Cell::new(!revisions.is_empty()) };
        let pushing = async {
            let mut push = Push::after(*pushed, clock);
            *pushed = Some(push);
            while let Some(()) = so_far.answered("a push", || push.send(clients)).await {
                pushes.push(push);
                push = Push::after(*pushed, clock);
                *pushed = Some(push);
            }
        };
        let applying = async {
            for change in 0.. {
                let description = format!("life {life} change {change}");
                let yaml = SHOP.replace("ttl: 7d", &format!("ttl: 7d\n    description: {description}"));
                let Some(applied) = so_far.answered("an apply", || clients.apply(&yaml)).await else { break };
                so_far.is_declared.set(true);
                revisions.push((applied.revision, description));
            }
        };
        let materializing = async {
            let (materializer, shop) = (clients.materializer(), shop());
            for _ in 0..MATERIALIZATIONS {
                let materialize = || materializer.materialize(&shop, &[], None, Revision(1));
                let Some(created) = so_far.answered("a materialization", materialize).await else { break };
                runs.extend(created.into_iter().map(|run| run.id));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let dying = async {
            tokio::time::sleep(lifetime).await;
            so_far.is_dead.set(true);
            death();
        };
        tokio::join!(pushing, applying, materializing, dying);
    }

    /// Everything that was acknowledged since the last check is there, and runs complete.
    pub(crate) async fn check(&mut self, clients: &Clients) {
        if self.revisions.is_empty() {
            return;
        }
        self.check_definitions(clients).await;
        self.check_online(clients).await;
        self.check_log(clients, self.found.0).await;
        self.found = (self.pushes.len(), self.revisions.len());
        for run in std::mem::take(&mut self.runs) {
            let run = clients.runs().get(&shop(), &run).await.unwrap();
            self.resumed += usize::from(run.state == RunState::Running);
            assert_succeeded(&clients.wait_for(&shop(), vec![run]).await);
        }
    }

    /// The newest revision is none of before, and the others say what they said.
    async fn check_definitions(&self, clients: &Clients) {
        let newest = clients.registry().catalog(&shop(), None).await.unwrap().revision;
        for (revision, description) in &self.revisions[self.found.1.saturating_sub(LAST)..] {
            assert!(newest >= *revision, "revision {revision} of {newest} is lost");
            let catalog = clients.registry().catalog(&shop(), Some(*revision)).await.unwrap();
            let profile = catalog.feature_view("profile").unwrap();
            assert_eq!(profile.definition.metadata.description, *description, "revision {revision}");
        }
    }

    /// The last row that was acknowledged, or a later one, is served.
    async fn check_online(&self, clients: &Clients) {
        for target in [Target::Online, Target::OnlineAndOffline] {
            let Some(last) = self.pushes.iter().rev().find(|push| push.target == target) else { continue };
            let customers: Vec<i64> = Push::customers(target).collect();
            let mut asked = request(&customers);
            (asked.features, asked.request_data) = (references(&["activity.clicks"]), vec![]);
            let answer = clients.serving().online_features(&asked).await.unwrap();
            let clicks = answer.features[0].values.as_primitive::<Int64Type>();
            for (row, customer) in customers.iter().enumerate() {
                let served = clicks.value(row);
                assert!(served >= last.clicks, "customer {customer} is served {served} after {last:?}");
            }
        }
    }

    /// Each row that was acknowledged is what a training set has for its time.
    async fn check_log(&self, clients: &Clients, from: usize) {
        let in_log = self.pushes[from..].iter().filter(|push| push.target != Target::Online);
        let expected: Vec<(i64, &Push)> =
            in_log.flat_map(|push| Push::customers(push.target).map(move |customer| (customer, push))).collect();
        if expected.is_empty() {
            return;
        }
        let customers: Vec<i64> = expected.iter().map(|(customer, _)| *customer).collect();
        let times: Vec<Timestamp> = expected.iter().map(|(_, push)| push.at).collect();
        let spine = spine_at(customer_column(&customers), &times);
        let trained = training_set(clients, references(&["activity.clicks"]), spine).await.unwrap();
        let clicks = trained.column_by_name("clicks").unwrap().as_primitive::<Int64Type>();
        for (row, (customer, push)) in expected.iter().enumerate() {
            assert_eq!(clicks.value(row), push.clicks, "customer {customer}: {push:?} is not in the log");
        }
    }

    /// Everything is there, not only what was acknowledged last, and in the end training equals serving.
    pub(crate) async fn check_completion(&mut self, clients: &Clients) {
        self.check(clients).await;
        self.check_log(clients, 0).await;
        let kinds: BTreeSet<_> = self.pushes.iter().map(|push| push.clicks % 4).collect();
        let (pushes, revisions, resumed) = (self.pushes.len(), self.revisions.len(), self.resumed);
        let told = format!("{pushes} pushes, {revisions} revisions, {resumed} runs were cut");
        assert!(kinds.len() == 4 && revisions > 1 && resumed > 0, "{told}");
        // What the log got and the store did not, since the end came in between, a full run brings.
        let newest = self.revisions.iter().map(|(revision, _)| *revision).max().unwrap_or(Revision(0));
        assert_succeeded(&clients.materialize(&shop(), newest).await);
        let customers: Vec<i64> = (0..history::CUSTOMERS).collect();
        let answer = ask(clients, &customers).await;
        assert_eq!(differences(&answer, &train(clients, &customers, &answer).await), 0);
    }
}
