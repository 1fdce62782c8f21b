//! Training sets: for every row of a spine, in its order, its own columns and the features as they were at its time.
//!
//! The spine is read once: checked, numbered, digested and written down beside its narrow columns (row, time, keys). Then
//! a plan joins the history of each view with the narrow columns, puts everything beside the spine's rows, computes
//! on-demand features and names the result. Nothing is read twice but what was written down.

mod assemble;
mod check;
mod csv;
mod csv_quotes;
mod csv_types;
mod digest;
mod folders;
mod input;
mod output;
mod parquet_columns;
mod pieces;
mod spool;

use std::{num::NonZeroUsize, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    execution::{
        TaskContext,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::{FairSpillPool, TrackConsumersPool},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    physical_plan::{ExecutionPlan, execute_stream},
    prelude::SessionConfig,
};
use futures::{StreamExt, stream::BoxStream};
use larder_definitions::{
    Catalog,
    run::SpineDigest,
    selection::{Asked, Selection},
};
use larder_types::{Error, Result};
use tempfile::TempDir;

use crate::{
    SpillFolder,
    error::from_engine,
    history::{HistorySource, ReadCounts},
};

pub use csv_quotes::check_csv_quotes;
pub use csv_types::csv_types;
pub use input::Spine;
pub use output::Output;
pub use parquet_columns::{check_parquet, parquet_batch, parquet_schema};

/// How many of the greatest takers of memory an error names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4);

/// What a training set may use.
#[derive(Debug, Clone)]
pub struct TrainingOptions {
    /// Bytes of memory of the joins together. What does not fit goes to disk.
    pub memory_limit: usize,
    /// Where the spine and what does not fit in memory is written.
    pub spill_folder: SpillFolder,
    /// How many training sets share the spill folder's disk at most.
    pub sets_at_once: usize,
    /// How many files of a view are read at once.
    pub readers: usize,
    /// What stands in front of every key of the online store: a key that is too long there is in no history.
    pub key_prefix: Option<String>,
}

impl Default for TrainingOptions {
    fn default() -> Self {
        let spill_folder = SpillFolder::new(std::env::temp_dir(), 0);
        Self { memory_limit: 1 << 30, spill_folder, sets_at_once: 1, readers: 2, key_prefix: None }
    }
}

/// What a training set is to consist of.
pub struct TrainingRequest {
    /// The definitions.
    pub catalog: Arc<Catalog>,
    /// Which features.
    pub features: Asked,
    /// Whether features are called `view.feature`.
    pub full_names: bool,
    /// For which rows.
    pub spine: Spine,
    /// The spine's column with the time.
    pub event_time: String,
}

/// Builds training sets.
#[derive(Debug, Clone)]
pub struct TrainingSets {
    history: HistorySource,
    options: TrainingOptions,
}

/// What becomes of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A Parquet file: [`TrainingSet::write`].
    Parquet,
    /// Batches, which have any column: [`TrainingSet::stream`].
    Stream,
}

/// A spine that was read to its end, and what is wanted of it. Dropped, what was written down of it goes.
pub struct TakenIn {
    catalog: Arc<Catalog>,
    selection: Selection,
    spooled: spool::Spooled,
    folder: TempDir,
}

/// A training set that is ready to be computed. Dropped, or its stream dropped, all work on it ends and its temporary
/// files go.
pub struct TrainingSet {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    spine: SpineDigest,
    counts: ReadCounts,
    folder: TempDir,
}

impl TrainingSets {
    /// Over this history.
    pub fn new(history: HistorySource, options: TrainingOptions) -> Self {
        Self { history, options }
    }

    /// Reads the spine, checks everything that can be checked, and plans.
    ///
    /// # Errors
    /// Those of [`TrainingSets::take_in`] and [`TrainingSets::plan`].
    pub async fn prepare(&self, request: TrainingRequest) -> Result<TrainingSet> {
        self.plan(self.take_in(request, Target::Stream).await?).await
    }

    /// Reads the spine to its end and writes it down, piece by piece: however long that takes, it takes little memory. All
    /// that can be checked without history is.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a spine without the time or a needed column, with one of a wrong type, with a row without
    /// time (it names the row), whose columns have names of features, or with columns that the target cannot hold;
    /// RESOURCE_EXHAUSTED where the spill folder's disk has no room;
    /// `NOT_FOUND` and others as [`Selection::resolve`] and [`crate::storage::Roots::list`] give them.
    pub async fn take_in(&self, request: TrainingRequest, target: Target) -> Result<TakenIn> {
        let TrainingRequest { catalog, features, full_names, spine, event_time } = request;
        let selection = Selection::resolve(&catalog, &features, full_names)?;
        check::check_offline(&selection)?;
        let folder = self.folder()?;
        let needed = check::Needed::new(&selection, &event_time);
        let spill = self.options.spill_folder.at(folder.path());
        let input = input::open(spine, self.history.roots(), &needed, &spill).await?;
        check::check_names(&selection, &input.schema, full_names)?;
        match target {
            Target::Parquet => check_parquet(&input.schema)?,
            Target::Stream => {}
        }
        let spooled = spool::write(input, &needed, &spill).await?;
        Ok(TakenIn { catalog, selection, spooled, folder })
    }

    /// Finds the history for a spine, and plans.
    ///
    /// # Errors
    /// Those of finding it.
    pub async fn plan(&self, taken: TakenIn) -> Result<TrainingSet> {
        let TakenIn { catalog, selection, spooled, folder } = taken;
        let counts = ReadCounts::default();
        let assembly = assemble::Assembly {
            catalog: &catalog,
            selection: &selection,
            spooled: &spooled,
            history: &self.history,
            readers: self.options.readers,
            key_prefix: self.options.key_prefix.as_deref(),
            counts: &counts,
        };
        let plan = assembly.plan().await?;
        let context = self.context()?;
        Ok(TrainingSet { plan, context, spine: spooled.digest, counts, folder })
    }

    /// A Parquet file to write, by its path. `read` names what is read, each with its path: a file that would be part of it is
    /// not written.
    ///
    /// # Errors
    /// Those of [`crate::storage::Roots::place`]; `INVALID_ARGUMENT` for a file of another kind or one that is read;
    /// `ALREADY_EXISTS` where something else than a Parquet file would be replaced.
    pub async fn output(&self, location: &str, read: &[(String, String)]) -> Result<Output> {
        Output::open(self.history.roots(), location, read).await
    }

    fn folder(&self) -> Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("larder-training-");
        builder
            .tempdir_in(self.options.spill_folder.path())
            .map_err(|error| Error::unavailable(format!("no temporary folder can be made: {error}")).with_source(error))
    }

    /// The engine's settings. Plans that were decoded elsewhere run in such a context too.
    pub fn context(&self) -> Result<Arc<TaskContext>> {
        let pool = TrackConsumersPool::new(FairSpillPool::new(self.options.memory_limit), NAMED_CONSUMERS);
        let folder = &self.options.spill_folder;
        // Nearly: what spines take meanwhile is not known.
        let share = folder.room()? / self.options.sets_at_once.max(1) as u64;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![folder.path().to_owned()]))
            .with_max_temp_directory_size(share);
        let runtime: RuntimeEnv = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(disk)
            .build()
            .map_err(from_engine)?;
        self.history.register(&runtime)?;
        let context = TaskContext::default().with_session_config(SessionConfig::new()).with_runtime(Arc::new(runtime));
        Ok(Arc::new(context))
    }
}

impl TrainingSet {
    /// The columns: the spine's own, then features in the order asked.
    pub fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    /// What tells its spine from another.
    pub fn spine(&self) -> &SpineDigest {
        &self.spine
    }

    /// How much history was read so far: progress.
    pub fn counts(&self) -> &ReadCounts {
        &self.counts
    }

    /// What computes it; it can be encoded with [`crate::plan::LarderPlanCodec`] as long as this training set lives.
    pub fn plan(&self) -> &Arc<dyn ExecutionPlan> {
        &self.plan
    }

    /// Computes it. The rows come in the order of the spine.
    pub fn stream(self) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let Self { plan, context, folder, .. } = self;
        let stream = execute_stream(plan, context).map_err(from_engine)?;
        // The folder stays until the stream goes.
        Ok(stream.map(move |batch| (batch.map_err(from_engine), &folder).0).boxed())
    }

    /// Computes it and writes it as one Parquet file, which is there, durably, when it is complete and not before; `progress`
    /// is told the rows written so far. Gives the number of rows.
    pub async fn write(self, output: &Output, progress: impl Fn(u64) + Send) -> Result<u64> {
        let schema = self.schema();
        output::write(self.stream()?, schema, output, progress).await
    }
}
