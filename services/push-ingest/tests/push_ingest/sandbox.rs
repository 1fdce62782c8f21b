//! Registry, push-ingest and serving on embedded stores in a temporary folder, and what a test sees of the push log.

use std::{collections::BTreeMap, path::Path as FsPath, sync::Arc, time::Duration};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray},
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use futures::TryStreamExt;
use larder_client::{
    Asked, ChangeRequest, OnlineRequest, PushAnswer, PushBatch, PushClient, RegistryClient, RowResult, ServingClient,
    Spawn, Target, Transport,
};
use larder_connections::DurableLocal;
use larder_definitions::{ChangeSet, yaml::read_text};
use larder_online_store::{EmbeddedConfig, EmbeddedStore};
use larder_push_ingest::{Deps, config::Config};
use larder_push_log::{Compactor, CompactorOptions, PushLog, PushLogWriter, WriterOptions};
use larder_registry_store::ObjectRegistryStore;
use larder_service::{Endpoint, Metrics, Readiness, Shutdown, Tasks, config::ServerConfig, server::Surroundings};
use larder_types::{Clock, ManualClock, Name, Result, Revision, RowVersion, ScalarType, Status, Timestamp, ValueType};
use object_store::{ObjectStore, path::Path};
use tempfile::TempDir;

use crate::failing::{BreakableDisk, FatefulStore};

/// `activity` and `last_page` are both fed by `clicks`, with a ttl of a day and of a week.
pub(crate) const SHOP: &str = r#"
project: shop
entities: [{ name: customer, join_keys: [{ name: customer_id, type: string }] }]
sources:
  - { name: clicks, push: {} }
  - { name: notes, push: {} }
  - { name: unread, push: {} }
  - { name: files, event_time: at, parquet: { path: /nowhere } }
feature_views:
  - name: activity
    entities: [customer]
    source: clicks
    ttl: 24h
    features: [{ name: clicks, type: int64 }, { name: ratio, type: float64 }]
  - name: last_page
    entities: [customer]
    source: clicks
    ttl: 7d
    features: [{ name: last, column: page, type: string }]
  - name: archive
    entities: [customer]
    source: notes
    online: false
    features: [{ name: note, type: string }]
"#;

/// A row of `clicks` in the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Logged {
    pub(crate) batch: String,
    pub(crate) row: i32,
    pub(crate) event_time: i64,
    pub(crate) created_time: i64,
    pub(crate) deleted: bool,
    pub(crate) customer: String,
    pub(crate) clicks: Option<i64>,
}

pub(crate) struct Sandbox {
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<FatefulStore>,
    pub(crate) disk: BreakableDisk,
    pub(crate) log: Arc<PushLogWriter>,
    pub(crate) tasks: Tasks,
    pub(crate) endpoint: Endpoint,
    serving: ServingClient,
    log_store: Arc<DurableLocal>,
    _folder: TempDir,
}

impl Sandbox {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::over(|store| store, configure).await
    }

    /// One whose push log is written through `through`, and read past it.
    pub(crate) async fn over(
        through: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = larder_test_kit::temporary_folder();
        let clock = larder_test_kit::clock();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let local = |disk, name: &str| DurableLocal::open_on(disk, &folder.path().join(name), Duration::ZERO).unwrap();
        let registry_store = local(Arc::new(BreakableDisk::default()), "registry");
        let registry_store = Arc::new(ObjectRegistryStore::new(Arc::new(registry_store), Path::default()));
        let server = ServerConfig::on_port(0);
        let registry = larder_registry::Deps {
            store: registry_store,
            clock: shared.clone(),
            tasks: Tasks::new(Shutdown::new()),
            former_workers: larder_registry::FormerWorkers::MayBeAtWork,
            surroundings: surroundings(),
        };
        let registry = larder_registry::build(&larder_registry::config::Config { server: server.clone() }, registry)
            .await
            .unwrap();
        let registry = Transport::in_process(registry);
        apply(&registry).await;
        let store = EmbeddedStore::open(&folder.path().join("online.redb"), &EmbeddedConfig::default()).unwrap();
        let store = Arc::new(FatefulStore::new(Arc::new(store)));
        let disk = BreakableDisk::default();
        let log_store = Arc::new(local(Arc::new(disk.clone()), "push-log"));
        let options = WriterOptions { put_attempts: 1, ..WriterOptions::default() };
        let log = Arc::new(PushLogWriter::open(through(log_store.clone()), Path::default(), options, &clock));
        let tasks = Tasks::new(Shutdown::new());
        let deps = Deps {
            store: store.clone(),
            log: log.clone(),
            registry: registry.clone(),
            clock: shared.clone(),
            spawn: spawn(),
            tasks: tasks.clone(),
            surroundings: surroundings(),
        };
        let mut config = Config { server, ..Config::default() };
        configure(&mut config);
        let endpoint = larder_push_ingest::build(&config, deps).unwrap();
        let serving = larder_serving::Deps {
            store: store.clone(),
            registry,
            clock: shared,
            spawn: spawn(),
            surroundings: surroundings(),
        };
        let serving = larder_serving::build(&Default::default(), serving).unwrap();
        let serving = ServingClient::new(Transport::in_process(serving));
        Self { clock, store, disk, log, tasks, endpoint, serving, log_store, _folder: folder }
    }

    pub(crate) fn client(&self) -> PushClient {
        PushClient::new(Transport::in_process(self.endpoint.clone()))
    }

    pub(crate) async fn push(&self, batch: PushBatch) -> Result<PushAnswer> {
        self.client().push(batch).await
    }

    /// A batch of `clicks` at this moment, under an id of its own.
    pub(crate) fn batch(&self, id: &str, customers: &[&str], clicks: &[i64]) -> PushBatch {
        let rows = customers.len();
        PushBatch {
            project: name("shop"),
            source: name("clicks"),
            batch_id: Some(id.to_owned()),
            columns: columns(customers, clicks),
            event_times: vec![self.clock.now(); rows],
            created_times: Vec::new(),
            deleted: Vec::new(),
            target: Target::OnlineAndOffline,
            min_revision: Revision(0),
        }
    }

    /// The clicks that are served of each customer, or why there are none, and the version of the row.
    pub(crate) async fn served(&self, customers: &[&str]) -> Vec<(String, Option<RowVersion>)> {
        served(&self.serving, "activity.clicks", customers).await
    }

    pub(crate) fn serving(&self) -> ServingClient {
        self.serving.clone()
    }

    /// The rows of `clicks` in the log, each as often as it is there.
    pub(crate) async fn logged(&self) -> Vec<Logged> {
        let (log, text) = (PushLog::open(self.log_store.clone(), Path::default()), ScalarType::String.into());
        let wanted: [(Name, ValueType); 2] = [(name("customer_id"), text), (name("clicks"), ScalarType::Int64.into())];
        let snapshot = log.snapshot(&name("shop"), &name("clicks"), None).await.unwrap();
        let mut rows = Vec::new();
        for file in &snapshot.files {
            let batches: Vec<RecordBatch> = log.read_file(file, &wanted).try_collect().await.unwrap();
            rows.extend(batches.iter().flat_map(unpack));
        }
        rows.sort();
        rows
    }

    /// The same once repetitions are dropped.
    pub(crate) async fn compacted(&self) -> Vec<Logged> {
        let clock = Arc::new(self.clock.clone());
        let options = CompactorOptions { merge_from: 2, ..CompactorOptions::default() };
        let compactor = Compactor::new(self.log_store.clone(), Path::default(), options, clock);
        compactor.compact(&name("shop"), &name("clicks"), &[name("customer_id")]).await.unwrap();
        self.logged().await
    }
}

/// A feature of each customer, as text, or its status; and the version of the row.
pub(crate) async fn served(
    serving: &ServingClient,
    feature: &str,
    customers: &[&str],
) -> Vec<(String, Option<RowVersion>)> {
    let asked = OnlineRequest {
        project: name("shop"),
        features: Asked::References(vec![feature.parse().unwrap()]),
        entities: vec![("customer_id".to_owned(), texts(customers))],
        request_data: Vec::new(),
        full_names: false,
        include_replay: true,
        min_revision: Revision(0),
        rows: 0,
    };
    let answer = serving.online_features(&asked).await.unwrap();
    let (feature, versions) = (&answer.features[0], &answer.replay.unwrap().views[0].versions);
    let value = |row: usize| match feature.values.as_primitive_opt::<Int64Type>() {
        Some(numbers) => numbers.value(row).to_string(),
        None => feature.values.as_string::<i32>().value(row).to_owned(),
    };
    let shown = |row: usize| {
        let status = feature.status(row);
        if status == Status::Present { value(row) } else { status.to_string() }
    };
    (0..customers.len()).map(|row| (shown(row), versions[row])).collect()
}

fn unpack(batch: &RecordBatch) -> Vec<Logged> {
    let time = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>();
    let clicks = batch.column(8).as_primitive::<Int64Type>();
    let row = |at: usize| Logged {
        batch: batch.column(3).as_string::<i32>().value(at).to_owned(),
        row: batch.column(4).as_primitive::<Int32Type>().value(at),
        event_time: time(0).value(at),
        created_time: time(1).value(at),
        deleted: batch.column(6).as_boolean().value(at),
        customer: batch.column(7).as_string::<i32>().value(at).to_owned(),
        clicks: clicks.is_valid(at).then(|| clicks.value(at)),
    };
    (0..batch.num_rows()).map(row).collect()
}

async fn apply(registry: &Transport) {
    let declared = read_text("larder.yaml", FsPath::new("/"), SHOP).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let project = declared.project.clone();
    let change = ChangeSet { puts: declared.into_objects(), origin: "test".to_owned(), ..ChangeSet::default() };
    let request = ChangeRequest { change, remove_missing: true };
    RegistryClient::new(registry.clone()).apply(&project, &request).await.unwrap();
}

fn spawn() -> Spawn {
    Arc::new(|work| drop(tokio::spawn(work)))
}

fn surroundings() -> Surroundings {
    Surroundings { metrics: Metrics::new().unwrap(), readiness: Readiness::new(), shutdown: Shutdown::new() }
}

/// The columns of an event.
pub(crate) fn columns(customers: &[&str], clicks: &[i64]) -> Vec<(String, ArrayRef)> {
    let halves = clicks.iter().map(|clicks| *clicks as f64 / 2.0).collect();
    let pages: Vec<String> = clicks.iter().map(|clicks| format!("/{clicks}")).collect();
    let columns: BTreeMap<&str, ArrayRef> = [
        ("customer_id", texts(customers)),
        ("clicks", Arc::new(Int64Array::from(clicks.to_vec())) as ArrayRef),
        ("ratio", Arc::new(arrow::array::Float64Array::from_iter_values::<Vec<f64>>(halves))),
        ("page", Arc::new(StringArray::from(pages))),
    ]
    .into();
    columns.into_iter().map(|(name, values)| (name.to_owned(), values)).collect()
}

/// Puts `values` in the place of a column, or adds it.
pub(crate) fn with_column(mut batch: PushBatch, column: &str, values: ArrayRef) -> PushBatch {
    batch.columns.retain(|(name, _)| name != column);
    batch.columns.push((column.to_owned(), values));
    batch
}

pub(crate) fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn micros(base: Timestamp, offset: i64) -> Timestamp {
    Timestamp::from_micros(base.as_micros() + offset)
}

/// What each row was answered.
pub(crate) fn assert_results(answer: &PushAnswer, expected: &[RowResult]) {
    assert_eq!(answer.results, expected, "{:?}", answer.refusals);
}
