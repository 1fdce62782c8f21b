//! `larder up` killed again and again while rows are pushed, definitions applied and history materialized: whatever was
//! acknowledged is there after each restart, and runs complete.

use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc, time::Duration};

use arrow::array::{AsArray, Int64Array, StringArray};
use larder_client::{PushBatch, Target};
use larder_definitions::run::RunState;
use larder_test_kit::{Child, larder_binary};
use larder_types::{Clock, Name, Result, Revision, SystemClock};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    definitions::{SHOP, shop},
    history::{self, customer_column},
    sandbox::{Clients, assert_succeeded},
    training_equals_serving::{ask, differences, train},
};

const KILLS: u64 = 20;
const PUSHED: i64 = 60;

/// What was acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    /// By customer: the greatest count.
    clicks: BTreeMap<i64, i64>,
    /// The greatest revision.
    revision: u64,
    /// Runs that were created.
    runs: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = larder_test_kit::temporary_folder();
    history::write(&folder.path().join("history"), SystemClock.now(), 4, 11);
    let mut random = StdRng::seed_from_u64(20);
    let mut known = Acknowledged::default();
    for round in 0..KILLS {
        let (mut child, clients) = start(folder.path());
        check(&clients, &known).await;
        let patience = Duration::from_millis(random.random_range(50..700));
        work_until_killed(&mut child, &clients, &mut known, round, patience).await;
    }
    let (mut child, clients) = start(folder.path());
    check(&clients, &known).await;
    assert!(
        known.clicks.len() == PUSHED as usize && known.revision > 1 && !known.runs.is_empty(),
        "nothing was going on"
    );
    for run in &known.runs {
        let run = clients.runs().get(&shop(), run).await.unwrap();
        assert_succeeded(&clients.wait_for(&shop(), vec![run]).await);
    }
    // What the log got and the store did not, since the process was killed in between, a full run brings.
    assert_succeeded(&clients.materialize(&shop(), Revision(known.revision)).await);
    let customers: Vec<i64> = (0..history::CUSTOMERS).collect();
    let answer = ask(&clients, &customers).await;
    assert_eq!(differences(&answer, &train(&clients, &customers, &answer).await), 0);
    child.terminate();
    child.wait(Duration::from_secs(20));
}

fn start(folder: &Path) -> (Child, Clients) {
    let mut command = Command::new(larder_binary());
    command.args(["up", "--data"]).arg(folder.join("data"));
    for key in ["registry", "serving", "push_ingest", "materializer"] {
        command.args(["--set", &format!("{key}.server.listen=127.0.0.1:0")]);
    }
    command.args(["--set", "serving.server.admin_listen=127.0.0.1:0"]);
    command.env("LARDER__MATERIALIZER__ROOTS", folder);
    let mut child = Child::start(command);
    let mut address = |service: &str| {
        let line = child.wait_for_line(&format!("  {service} "), Duration::from_secs(30));
        line.split_whitespace().last().unwrap().parse().unwrap()
    };
    let clients = Clients {
        folder: folder.to_owned(),
        registry: address("registry"),
        serving: address("serving"),
        push_ingest: address("push-ingest"),
        materializer: address("materializer"),
    };
    (child, clients)
}

/// Pushes, applies and materializes until the process is gone; keeps what was acknowledged.
async fn work_until_killed(
    child: &mut Child,
    clients: &Clients,
    known: &mut Acknowledged,
    round: u64,
    patience: Duration,
) {
    let pushing = async {
        let mut clicks = BTreeMap::new();
        for count in 0_i64.. {
            let count = count + 1_000_000 * i64::try_from(round).unwrap();
            if push(clients, count).await.is_err() {
                break;
            }
            clicks.extend((0..PUSHED).map(|customer| (customer, count)));
        }
        clicks
    };
    let applying = async {
        let mut revision = 0;
        for change in 0.. {
            let yaml = SHOP.replace("ttl: 7d", &format!("ttl: 7d\n    description: round {round}, change {change}"));
            match clients.apply(&yaml).await {
                Ok(applied) => revision = applied.revision.0,
                Err(_) => break,
            }
        }
        revision
    };
    let materializing = async {
        let mut runs = Vec::new();
        for _ in 0..3 {
            let Ok(created) = clients.materializer().materialize(&shop(), &[], None, Revision(1)).await else { break };
            runs.extend(created.into_iter().map(|run| run.id));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        runs
    };
    let killing = async {
        tokio::time::sleep(patience).await;
        child.kill();
    };
    let (clicks, revision, runs, ()) = tokio::join!(pushing, applying, materializing, killing);
    known.clicks.extend(clicks);
    known.revision = known.revision.max(revision);
    known.runs.extend(runs);
}

async fn push(clients: &Clients, count: i64) -> Result<()> {
    let customers: Vec<i64> = (0..PUSHED).collect();
    let rows = customers.len();
    let batch = PushBatch {
        project: shop(),
        source: Name::new("clicks").unwrap(),
        batch_id: None,
        columns: vec![
            ("customer_id".into(), customer_column(&customers)),
            ("clicks".into(), Arc::new(Int64Array::from(vec![count; rows]))),
            ("last_page".into(), Arc::new(StringArray::from(vec!["/"; rows]))),
        ],
        event_times: vec![SystemClock.now(); rows],
        created_times: vec![],
        deleted: vec![],
        target: Target::OnlineAndOffline,
        min_revision: Revision(0),
    };
    clients.push().push(batch).await.map(|_| ())
}

/// Everything acknowledged is there, online and in the log.
async fn check(clients: &Clients, known: &Acknowledged) {
    if known.revision == 0 {
        return;
    }
    let catalog = clients.registry().catalog(&shop(), None).await.unwrap();
    assert!(catalog.revision.0 >= known.revision, "revision {} of {} is lost", known.revision, catalog.revision);
    for run in &known.runs {
        let run = clients.runs().get(&shop(), run).await.unwrap();
        assert_ne!(run.state, RunState::Failed, "{:?}", run.error);
    }
    let customers: Vec<i64> = known.clicks.keys().copied().collect();
    if customers.is_empty() {
        return;
    }
    let answer = ask(clients, &customers).await;
    let trained = train(clients, &customers, &answer).await;
    let served = answer.features.iter().find(|feature| feature.name == "clicks").unwrap().values.clone();
    for column in [&served, trained.column_by_name("clicks").unwrap()] {
        let clicks = column.as_primitive::<arrow::datatypes::Int64Type>();
        for (row, (customer, count)) in known.clicks.iter().enumerate() {
            assert!(clicks.value(row) >= *count, "customer {customer}: {} for {count}", clicks.value(row));
        }
    }
}
