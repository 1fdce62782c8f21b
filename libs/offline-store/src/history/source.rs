//! The history of a view: Parquet files of its batch source, and the push log of its push source.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, new_null_array},
    datatypes::{Field, Schema},
};
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::{StreamExt, stream::BoxStream};
use larder_definitions::{
    ResolvedSource, ResolvedView, SourceKind,
    run::{Part, PartKind},
};
use larder_push_log::{LogFile, LogPosition, PushLog};
use larder_types::{Error, Name, Result, ValueType};
use object_store::{ObjectStore, path::Path};

use super::{
    CREATED_TIME, DELETED, EVENT_TIME, HistoryRead, HistorySchema, ReadCounts, ReadPart, RowColumns, TimeRange,
    WrittenKeys,
    normalise::Normaliser,
    parquet::{self, Wanted},
};
use crate::{
    storage::{FoundFile, Roots, store_url},
    widen::can_widen,
};

/// The URL under which plans name the store of the push log.
const PUSH_LOG: &str = "larder://push-log";

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// Finds and reads the history of views.
#[derive(Debug, Clone)]
pub struct HistorySource {
    roots: Arc<Roots>,
    log: Option<(Arc<dyn ObjectStore>, PushLog)>,
}

/// The rows of a part. `counts` grows as they are read.
pub struct PartStream {
    /// Normalised, see [`HistorySchema::arrow`].
    pub batches: BoxStream<'static, Result<RecordBatch>>,
    /// Rows read and refused so far.
    pub counts: ReadCounts,
}

impl HistorySource {
    /// Over files under `roots`, without a push log.
    pub fn new(roots: Arc<Roots>) -> Self {
        Self { roots, log: None }
    }

    /// With the push log under `root` of `store`.
    #[must_use]
    pub fn with_push_log(self, store: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self { log: Some((Arc::clone(&store), PushLog::open(store, root))), ..self }
    }

    /// The roots.
    pub fn roots(&self) -> &Arc<Roots> {
        &self.roots
    }

    /// Makes the stores known to an engine under the URLs that plans name.
    pub fn register(&self, runtime: &RuntimeEnv) -> Result<()> {
        self.roots.register(runtime)?;
        if let Some((store, _)) = &self.log {
            runtime.register_object_store(store_url(PUSH_LOG)?.as_ref(), Arc::clone(store));
        }
        Ok(())
    }

    pub(super) fn log(&self, source: &Name) -> Result<&PushLog> {
        let log = self.log.as_ref().map(|(_, log)| log);
        log.ok_or_else(|| Error::failed_precondition(format!("source {source} needs a push log, none is configured")))
    }

    /// The rows of a part, with all features of the view. Of a log part there may be rows before and after it: both are in
    /// the store already, or will be met again.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` naming the file and, where one is wrong, the column; also for a file that was changed since.
    pub async fn read_part(
        &self,
        project: &Name,
        view: &ResolvedView,
        part: &Part,
        range: TimeRange,
    ) -> Result<PartStream> {
        let source = sources(view).find(|source| source.definition.name == part.source);
        let source = source.ok_or_else(|| {
            Error::failed_precondition(format!("view {} does not read source {} any more", view.name(), part.source))
        })?;
        let schema = HistorySchema::of(view);
        let counts = ReadCounts::default();
        let batches = match &part.what {
            PartKind::File(version) => {
                let file = self.roots.reopen(version).await?;
                let wanted = Wanted { schema, system: row_columns(source)?, range, batch_rows: BATCH_ROWS };
                parquet::read(file, wanted, counts.clone()).boxed()
            }
            PartKind::Log { from, .. } => {
                let log = self.log(&part.source)?;
                let snapshot = log.snapshot(project, &part.source, Some(&log_position(from)?)).await?;
                let files = snapshot.within(range.start, range.end).files;
                read_log(log.clone(), files, Arc::new(schema), range, counts.clone())
            }
            PartKind::TimeRange { .. } => return Err(no_tables(&part.source)),
        };
        Ok(PartStream { batches, counts })
    }

    /// What of a view's history a plan reads: everything in the range, of all its sources, that could be written under `keys`.
    pub async fn plan_read(
        &self,
        project: &Name,
        view: &ResolvedView,
        range: TimeRange,
        keys: WrittenKeys,
    ) -> Result<HistoryRead> {
        let mut parts = Vec::new();
        for source in sources(view) {
            let name = &source.definition.name;
            match &source.definition.kind {
                SourceKind::Parquet(parquet) => {
                    let context = |error: Error| error.context(format!("source {name}"));
                    let files = self.roots.list(&parquet.path, "parquet").await.map_err(context)?;
                    let system = row_columns(source)?;
                    parts.extend(files.into_iter().map(|file| parquet_part(file, &system)));
                }
                SourceKind::Push(_) => {
                    let snapshot = self.log(name)?.snapshot(project, name, None).await?;
                    let files = snapshot.within(range.start, range.end).files;
                    parts.extend(files.into_iter().map(|file| ReadPart::Log { store: PUSH_LOG.to_owned(), file }));
                }
                SourceKind::Postgres(_) => return Err(no_tables(name)),
            }
        }
        Ok(HistoryRead { schema: HistorySchema::of(view), range, keys, parts })
    }
}

fn parquet_part(file: FoundFile, system: &RowColumns) -> ReadPart {
    ReadPart::Parquet {
        store: file.place.base,
        path: file.place.path.to_string(),
        version: file.version,
        system: system.clone(),
    }
}

fn sources(view: &ResolvedView) -> impl Iterator<Item = &Arc<ResolvedSource>> {
    view.batch_source.iter().chain(&view.push_source)
}

pub(super) fn no_tables(source: &Name) -> Error {
    Error::unimplemented(format!("source {source}: this release does not read PostgreSQL tables"))
}

fn row_columns(source: &ResolvedSource) -> Result<RowColumns> {
    match &source.definition.kind {
        SourceKind::Parquet(parquet) => Ok(RowColumns {
            event_time: parquet.event_time.clone(),
            created_time: parquet.created_time.clone(),
            deleted: None,
        }),
        SourceKind::Push(_) => Ok(log_row_columns()),
        SourceKind::Postgres(_) => Err(no_tables(&source.definition.name)),
    }
}

fn log_row_columns() -> RowColumns {
    RowColumns {
        event_time: EVENT_TIME.to_owned(),
        created_time: Some(CREATED_TIME.to_owned()),
        deleted: Some(DELETED.to_owned()),
    }
}

/// The columns of a log that a view reads.
pub(super) fn log_columns(schema: &HistorySchema) -> Vec<(Name, ValueType)> {
    let keys = schema.keys.iter().map(|key| (key.name.clone(), ValueType::Scalar(key.key_type.scalar())));
    let features = schema.features.iter();
    let features = features.filter_map(|feature| Some((Name::new(&feature.column).ok()?, feature.value_type)));
    let mut columns: Vec<(Name, ValueType)> = Vec::new();
    for column in keys.chain(features) {
        if !columns.iter().any(|(name, _)| *name == column.0) {
            columns.push(column);
        }
    }
    columns
}

fn read_log(
    log: PushLog,
    files: Vec<LogFile>,
    schema: Arc<HistorySchema>,
    range: TimeRange,
    counts: ReadCounts,
) -> BoxStream<'static, Result<RecordBatch>> {
    let read = move |file: LogFile| {
        let batches = log.read_file(&file, &log_columns(&schema));
        normalise_log(batches, file.path.to_string(), Arc::clone(&schema), range, counts.clone())
    };
    futures::stream::iter(files).flat_map(read).boxed()
}

/// Batches of a log's file, normalised.
pub(super) fn normalise_log(
    batches: BoxStream<'static, Result<RecordBatch>>,
    file: String,
    schema: Arc<HistorySchema>,
    range: TimeRange,
    counts: ReadCounts,
) -> BoxStream<'static, Result<RecordBatch>> {
    let normalise = move |batch: Result<RecordBatch>| {
        let batch = of_declared_types(&batch?, &log_columns(&schema))?;
        let normaliser = Normaliser::new(&file, &batch.schema(), &schema, &log_row_columns(), &[])?;
        let needed: Vec<usize> = (0..batch.num_columns()).collect();
        let normalised = normaliser.apply(&batch, &needed, range)?;
        counts.add(batch.num_rows(), normalised.refused);
        Ok(normalised.batch)
    };
    batches.map(normalise).boxed()
}

/// The batch with nulls for columns of a type that is none of what is declared now: they were pushed when another was.
fn of_declared_types(batch: &RecordBatch, columns: &[(Name, ValueType)]) -> Result<RecordBatch> {
    let schema = batch.schema();
    let declared =
        |field: &Field| columns.iter().find(|(name, _)| name.as_str() == field.name()).map(|(_, declared)| *declared);
    let column = |(field, values): (&Arc<Field>, &ArrayRef)| match declared(field) {
        Some(declared) if !can_widen(field.data_type(), declared) => {
            let nulls = new_null_array(&declared.arrow(), batch.num_rows());
            (field.as_ref().clone().with_data_type(declared.arrow()), nulls)
        }
        Some(_) | None => (field.as_ref().clone(), Arc::clone(values)),
    };
    let (fields, values): (Vec<_>, Vec<_>) = schema.fields().iter().zip(batch.columns()).map(column).unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values).map_err(|error| Error::internal(error.to_string()))
}

pub(super) fn log_position(texts: &BTreeMap<String, u64>) -> Result<LogPosition> {
    let position = texts.iter().map(|(writer, number)| Ok((writer.parse()?, *number)));
    position.collect::<Result<_>>().map(LogPosition)
}

pub(super) fn by_text(position: &LogPosition) -> BTreeMap<String, u64> {
    position.0.iter().map(|(writer, number)| (writer.to_string(), *number)).collect()
}
