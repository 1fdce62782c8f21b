//! A project with one view, the files and events of its history, and workers that materialize it.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    buffer::BooleanBuffer,
};
use bytes::Bytes;
use larder_client::{
    CatalogWatchOptions, ChangeRequest, MaterializerClient, Projects, RegistryClient, RunFilter, RunsClient, Spawn,
    Transport,
};
use larder_codec::KeyEncoder;
use larder_definitions::{
    Catalog, ChangeSet, ResolvedView,
    run::{MaterializeRequest, Run, RunRequest, Scope},
    view_rows::{ViewColumns, ViewRows},
    yaml::read_text,
};
use larder_materializer::{
    config::Config,
    load::Loader,
    worker::{Failures, Worker},
};
use larder_offline_store::{SpillFolder, history::HistorySource, storage::Roots};
use larder_online_store::{EmbeddedConfig, EmbeddedStore, KeyWrite, OnlineStore, WriteMode};
use larder_push_log::{Compactor, CompactorOptions, LogSchema, PushLogWriter, PushedRows, WriterOptions};
use larder_registry_store::ObjectRegistryStore;
use larder_service::{Metrics, Readiness, Shutdown, Tasks, config::ServerConfig, server::Surroundings};
use larder_test_kit::temporary_folder;
use larder_types::{Clock, ManualClock, Name, Revision, SchemaNumber, SystemClock, Timestamp};
use object_store::{local::LocalFileSystem, memory::InMemory, path::Path};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use tokio_util::sync::CancellationToken;

/// How long anything may take that must come: only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const MINUTE: i64 = 60_000_000;

pub(crate) const PROJECT: &str = "project: shop
entities:
  - { name: customer, join_keys: [{ name: id, type: int64 }] }
sources:
  - { name: files, parquet: { path: FOLDER/history }, event_time: at CREATED }
  - { name: events, push: {} }
feature_views:
  - name: profile
    entities: [customer]
    source: files
    push_source: events
    SCHEDULE
    features: [{ name: letter, type: string }]
  - name: other
    entities: [customer]
    source: files
    features: [{ name: letter, type: string }]
feature_services:
  - { name: all, features: [{ view: profile }] }
";

/// At every full hour.
pub(crate) const HOURLY: &str = "schedule: { cron: \"0 * * * *\" }";

/// A row of the view's history. The order of these is the order of rows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// The customer.
    pub(crate) id: i64,
    /// Minutes.
    pub(crate) event: i64,
    /// Minutes; none: the source has no created times.
    pub(crate) created: Option<i64>,
    pub(crate) deleted: bool,
    pub(crate) letter: char,
}

/// All of it.
pub(crate) struct Feed {
    folder: tempfile::TempDir,
    has_created_time: bool,
    pub(crate) project: Name,
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) runs: RunsClient,
    pub(crate) to_registry: Transport,
    registry: RegistryClient,
    projects: Projects<Arc<Catalog>>,
    history: HistorySource,
    log: PushLogWriter,
    batches: std::sync::atomic::AtomicU64,
}

impl Feed {
    /// A project whose files have created times, or not; the clock stands at minute 0.
    pub(crate) async fn new(has_created_time: bool) -> Self {
        Self::of(&PROJECT.replace("SCHEDULE", ""), has_created_time).await
    }

    /// A project whose view asks for a run at every full hour.
    pub(crate) async fn scheduled() -> Self {
        Self::of(&PROJECT.replace("SCHEDULE", HOURLY), false).await
    }

    async fn of(project: &str, has_created_time: bool) -> Self {
        let folder = temporary_folder();
        fs::create_dir(folder.path().join("history")).unwrap();
        let root = folder.path().canonicalize().unwrap();
        let root = root.to_str().unwrap();
        let clock = ManualClock::at(Timestamp::from_micros(0));
        let to_registry = registry(&clock).await;
        let registry = RegistryClient::new(to_registry.clone()).within(PATIENCE);
        let options = CatalogWatchOptions::default();
        let log = Arc::new(LocalFileSystem::new_with_prefix(root).unwrap());
        let history =
            HistorySource::new(Arc::new(Roots::open([root]).unwrap().closing(&folder.path().join("log")).unwrap()))
                .with_push_log(Arc::clone(&log) as _, Path::from("log"));
        let now = WriterOptions { linger: Duration::ZERO, ..WriterOptions::default() };
        let feed = Self {
            has_created_time,
            project: Name::new("shop").unwrap(),
            clock,
            store: Arc::new(EmbeddedStore::open(&folder.path().join("online"), &EmbeddedConfig::default()).unwrap()),
            runs: RunsClient::new(to_registry.clone()).within(PATIENCE),
            registry,
            projects: Projects::new(to_registry.clone(), options, spawn(), |catalog, _: Option<&Arc<Catalog>>| catalog),
            history,
            log: PushLogWriter::open(log, Path::from("log"), now, &SystemClock),
            batches: 0.into(),
            to_registry,
            folder,
        };
        feed.apply(project).await;
        feed
    }

    /// Declares the project anew.
    pub(crate) async fn apply(&self, project: &str) {
        let root = self.folder.path().canonicalize().unwrap();
        let created = if self.has_created_time { ", created_time: made" } else { "" };
        let text =
            project.replace("FOLDER", root.to_str().unwrap()).replace("CREATED", created).replace("SCHEDULE", "");
        let puts = read_text("larder.yaml", &root, &text).unwrap().into_objects();
        let change = ChangeSet { puts, origin: "test".to_owned(), ..ChangeSet::default() };
        let applied =
            self.registry.apply(&self.project, &ChangeRequest { change, remove_missing: true }).await.unwrap();
        self.projects.get(self.project.as_str(), applied.revision, PATIENCE).await.unwrap();
    }

    /// Where a file of the history is.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join("history").join(file)
    }

    /// Writes a file of the history, with or without statistics.
    pub(crate) fn write(&self, file: &str, rows: &[Row], statistics: bool) {
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("id", ids(rows)),
            ("at", Arc::new(TimestampMicrosecondArray::from(micros(rows, |row| row.event)))),
            ("letter", letters(rows)),
        ];
        if self.has_created_time {
            let made = micros(rows, |row| row.created.unwrap());
            columns.push(("made", Arc::new(TimestampMicrosecondArray::from(made))));
        }
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let enabled = if statistics {
            parquet::file::properties::EnabledStatistics::Page
        } else {
            parquet::file::properties::EnabledStatistics::None
        };
        let properties = WriterProperties::builder().set_statistics_enabled(enabled).build();
        // As writers of files do: the name is there when all of it is.
        let path = self.path(file);
        let unfinished = self.folder.path().join("unfinished");
        let mut writer =
            ArrowWriter::try_new(fs::File::create(&unfinished).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        fs::rename(unfinished, path).unwrap();
    }

    /// Appends events to the push log, and writes them online or not.
    pub(crate) async fn push(&self, rows: &[Row], online: bool) {
        let view = self.view().await;
        let batch = self.batches.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let times = |of: fn(&Row) -> i64| micros(rows, of).into_iter().map(Timestamp::from_micros).collect::<Vec<_>>();
        let pushed = PushedRows {
            batch_id: &format!("batch-{batch}"),
            ingested_at: self.clock.now(),
            schema_number: SchemaNumber(1),
            row_numbers: (0..i32::try_from(rows.len()).unwrap()).collect(),
            event_times: times(|row| row.event),
            created_times: times(|row| row.created.unwrap()),
            deleted: rows.iter().map(|row| row.deleted).collect(),
        };
        let schema = view.push_source.as_ref().unwrap().push_schema.clone().unwrap();
        let keys = schema.keys.iter().map(|key| (key.name.clone(), key.key_type.scalar().into()));
        let columns = schema.columns.iter().map(|(column, kind)| (Name::new(column).unwrap(), *kind));
        let schema = LogSchema::new(keys.chain(columns)).unwrap();
        let values = vec![(Name::new("id").unwrap(), ids(rows)), (Name::new("letter").unwrap(), letters(rows))];
        let batch = schema.batch(&pushed, values).unwrap();
        self.log.append(&self.project, &Name::new("events").unwrap(), batch).await.unwrap();
        if online {
            let writes = self.encoded(rows).await.into_iter();
            let row_sets = view.write_row_sets.clone();
            let writes = writes.map(|(key, row)| KeyWrite::to_row_sets(key, row, &row_sets, None)).collect();
            self.store.write(writes, WriteMode::Newest, self.clock.now()).await.unwrap();
        }
    }

    /// The service as a process runs it, until its shutdown begins.
    pub(crate) fn serve(&self) -> Shutdown {
        self.service().1
    }

    /// The same, and the way to it.
    pub(crate) fn service(&self) -> (MaterializerClient, Shutdown) {
        self.service_on(self.store.clone())
    }

    /// The same, writing to another store.
    pub(crate) fn service_on(&self, store: Arc<dyn OnlineStore>) -> (MaterializerClient, Shutdown) {
        self.service_by(self.to_registry.clone(), store)
    }

    /// The same, by another way to the registry.
    pub(crate) fn service_by(
        &self,
        registry: Transport,
        store: Arc<dyn OnlineStore>,
    ) -> (MaterializerClient, Shutdown) {
        self.service_of(&Config::default(), registry, store)
    }

    /// The same, with other settings than the usual ones.
    pub(crate) fn service_of(
        &self,
        config: &Config,
        registry: Transport,
        store: Arc<dyn OnlineStore>,
    ) -> (MaterializerClient, Shutdown) {
        let shutdown = Shutdown::new();
        let surroundings =
            Surroundings { metrics: Metrics::new().unwrap(), readiness: Readiness::new(), shutdown: shutdown.clone() };
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let log = Arc::new(LocalFileSystem::new_with_prefix(self.folder.path()).unwrap());
        let deps = larder_materializer::Deps {
            store,
            history: self.history.clone(),
            compactor: Compactor::new(log, Path::from("log"), CompactorOptions::default(), Arc::clone(&clock)),
            registry,
            clock,
            spawn: spawn(),
            tasks: Tasks::new(shutdown.clone()),
            surroundings,
        };
        let endpoint = larder_materializer::build(config, deps).unwrap();
        (MaterializerClient::new(Transport::in_process(endpoint)).within(PATIENCE), shutdown)
    }

    /// A run of the view, created and not yet worked on.
    pub(crate) async fn create(&self, scope: Scope) -> Run {
        self.create_of("profile", scope).await
    }

    /// The same of another view.
    pub(crate) async fn create_of(&self, view: &str, scope: Scope) -> Run {
        let view = Name::new(view).unwrap();
        let request = RunRequest::Materialize(MaterializeRequest { view, scope, tick: None });
        self.runs.create(&self.project, "", &request).await.unwrap().0
    }

    /// Works on the run as one process does that writes to `store` until it is told to stop.
    pub(crate) async fn work(&self, run: &Run, store: Arc<dyn OnlineStore>, stop: &CancellationToken) -> Run {
        self.worker(store).work(&self.project, &run.id, stop).await.unwrap();
        self.run(&run.id).await
    }

    /// What works on runs and writes to `store`; another one each time.
    pub(crate) fn worker(&self, store: Arc<dyn OnlineStore>) -> Worker {
        Worker {
            holder: format!("worker-{}", self.batches.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
            registry: self.registry.clone(),
            runs: self.runs.clone(),
            projects: self.projects.clone(),
            loader: Loader {
                history: self.history.clone(),
                store,
                clock: Arc::new(self.clock.clone()),
                memory: 2_000,
                spill_folder: SpillFolder::new(self.folder.path().to_owned(), 0),
            },
            clock: Arc::new(self.clock.clone()),
            key_prefix: None,
            expiry_grace: Duration::ZERO,
            batch_bytes: 1,
            failures: Failures::default(),
            waits_for: Duration::from_secs(1),
        }
    }

    /// A run of the view from beginning to end.
    pub(crate) async fn materialize(&self, scope: Scope) -> Run {
        let run = self.create(scope).await;
        self.work(&run, self.store.clone(), &CancellationToken::new()).await
    }

    pub(crate) async fn run(&self, id: &str) -> Run {
        self.runs.get(&self.project, id).await.unwrap()
    }

    /// The run of that id when it has ended; it may not even be there yet.
    pub(crate) async fn ended(&self, id: &str) -> Run {
        self.eventually(id, |run| run.state.is_final()).await
    }

    /// The run of that id when it is as wanted.
    pub(crate) async fn eventually(&self, id: &str, is_wanted: impl Fn(&Run) -> bool) -> Run {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.runs.get(&self.project, id).await {
                Ok(run) if is_wanted(&run) => return run,
                Ok(run) if deadline < tokio::time::Instant::now() => panic!("{run:?} stays so"),
                Err(error) if deadline < tokio::time::Instant::now() => panic!("{error}"),
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Every run there is.
    pub(crate) async fn all_runs(&self) -> Vec<Run> {
        self.runs.list(&self.project, &RunFilter::default()).await.unwrap().runs
    }

    /// Of each of the customers the bytes of the row that is served.
    pub(crate) async fn served(&self, customers: &[i64]) -> BTreeMap<i64, Bytes> {
        let (view, catalog) = (self.view().await, self.catalog().await);
        let types: Vec<_> = view.key_space.keys.iter().map(|key| key.key_type).collect();
        let encoder = KeyEncoder::new(None, catalog.project_number, view.key_space.number, &types).unwrap();
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(customers.to_vec()))];
        let keys = encoder.encode(&columns, customers.len()).unwrap();
        let rows = self.store.read(&keys, &[view.row_set]).await.unwrap();
        let row = |(at, customer): (usize, &i64)| Some((*customer, Bytes::copy_from_slice(rows.get(at, 0)?)));
        customers.iter().enumerate().filter_map(row).collect()
    }

    /// The bytes of rows, by customer; one row of each.
    pub(crate) async fn expected(&self, rows: &[Row]) -> BTreeMap<i64, Bytes> {
        let encoded = self.encoded(rows).await.into_iter().map(|(_, row)| row);
        rows.iter().map(|row| row.id).zip(encoded).collect()
    }

    /// Keys and rows as they are stored.
    pub(crate) async fn encoded(&self, rows: &[Row]) -> Vec<(Bytes, Bytes)> {
        let (view, catalog) = (self.view().await, self.catalog().await);
        let encoder = ViewRows::new(&view, catalog.project_number, None, Duration::ZERO).unwrap();
        let created =
            rows.iter().map(|row| row.created.map_or(i64::MIN, |minutes| minutes * MINUTE)).collect::<Vec<_>>();
        let deleted: BooleanArray = rows.iter().map(|row| Some(row.deleted)).collect();
        let deleted: &BooleanBuffer = deleted.values();
        let columns = ViewColumns {
            keys: &[ids(rows)],
            features: &[letters(rows)],
            event_times: &micros(rows, |row| row.event),
            created_times: &created,
            deleted: Some(deleted),
        };
        let encoded = encoder.encode(&columns, self.clock.now()).unwrap();
        encoded.rows.into_iter().map(|row| (row.key, row.row)).collect()
    }

    async fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&*self.projects.get("shop", Revision(0), PATIENCE).await.unwrap())
    }

    pub(crate) async fn view(&self) -> Arc<ResolvedView> {
        self.view_of("profile").await
    }

    pub(crate) async fn view_of(&self, view: &str) -> Arc<ResolvedView> {
        Arc::clone(self.catalog().await.feature_view(view).unwrap())
    }
}

fn spawn() -> Spawn {
    Arc::new(|work| {
        tokio::spawn(work);
    })
}

async fn registry(clock: &ManualClock) -> Transport {
    let surroundings =
        Surroundings { metrics: Metrics::new().unwrap(), readiness: Readiness::new(), shutdown: Shutdown::new() };
    let store = Arc::new(ObjectRegistryStore::new(Arc::new(InMemory::new()), Path::default()));
    let config = larder_registry::config::Config { server: ServerConfig::on_port(0) };
    let tasks = Tasks::new(surroundings.shutdown.clone());
    let deps = larder_registry::Deps {
        store,
        clock: Arc::new(clock.clone()),
        tasks,
        former_workers: larder_registry::FormerWorkers::MayBeAtWork,
        surroundings,
    };
    Transport::in_process(larder_registry::build(&config, deps).await.unwrap())
}

fn ids(rows: &[Row]) -> ArrayRef {
    Arc::new(rows.iter().map(|row| Some(row.id)).collect::<Int64Array>())
}

fn letters(rows: &[Row]) -> ArrayRef {
    Arc::new(rows.iter().map(|row| (!row.deleted).then(|| row.letter.to_string())).collect::<StringArray>())
}

fn micros(rows: &[Row], of: impl Fn(&Row) -> i64) -> Vec<i64> {
    rows.iter().map(|row| of(row) * MINUTE).collect()
}
