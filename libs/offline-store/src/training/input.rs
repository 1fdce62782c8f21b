//! Where a spine comes from: files of Parquet or CSV by path, or a stream of batches.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema, SchemaRef},
};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use larder_types::{Error, ErrorCode, Result};

use super::{check::Needed, csv, folders::FolderColumns};
use crate::{
    SpillFolder,
    history::{open_parquet, unreadable},
    storage::{FoundFile, Roots},
    widen::type_name,
};

/// The rows that a training set is built for.
pub enum Spine {
    /// Parquet or CSV: a file, a folder or a glob under a root. Rows come by path, then by position. Folders below it that
    /// are called `name=value` are columns.
    Path(String),
    /// Batches of this schema.
    Stream {
        /// Of every batch.
        schema: SchemaRef,
        /// The rows in their order.
        batches: BoxStream<'static, Result<RecordBatch>>,
    },
}

/// An opened spine.
pub(super) struct Input {
    /// For messages.
    pub(super) name: String,
    pub(super) schema: SchemaRef,
    pub(super) batches: BoxStream<'static, Result<SpineBatch>>,
}

/// Rows that follow each other in one file.
pub(super) struct SpineBatch {
    pub(super) batch: RecordBatch,
    /// The file, and the position of the first row in it.
    pub(super) file: Option<(Arc<str>, u64)>,
}

/// Opens a spine and checks that it has what is needed.
pub(super) async fn open(spine: Spine, roots: &Roots, needed: &Needed, folder: &SpillFolder) -> Result<Input> {
    let input = match spine {
        Spine::Stream { schema, batches } => {
            let batches = batches.map_ok(|batch| SpineBatch { batch, file: None }).boxed();
            Input { name: "the spine".to_owned(), schema, batches }
        }
        Spine::Path(path) => open_path(&path, roots, needed, folder).await?,
    };
    needed.check(&input.name, &input.schema)?;
    Ok(input)
}

async fn open_path(path: &str, roots: &Roots, needed: &Needed, folder: &SpillFolder) -> Result<Input> {
    let (files, is_csv) = files(path, roots).await?;
    let of_folders = FolderColumns::find(path, &files, roots, needed)?;
    let input = if is_csv { csv::open(path, files, needed, folder).await? } else { open_files(path, files).await? };
    of_folders.add_to(input)
}

async fn open_files(path: &str, files: Vec<FoundFile>) -> Result<Input> {
    let mut schema: Option<SchemaRef> = None;
    for file in &files {
        let found = Arc::clone(open_parquet(file).await.map_err(as_argument)?.schema());
        match &schema {
            Some(first) => check_same(first, &found, &files[0], file)?,
            None => schema = Some(without_metadata(&found)),
        }
    }
    let schema = schema.ok_or_else(|| Error::not_found(format!("there is no file `{path}`")))?;
    let batches = futures::stream::iter(files).flat_map(parquet_batches).boxed();
    Ok(Input { name: format!("spine `{path}`"), schema, batches })
}

/// The files, and whether they are CSV. All are of one kind.
async fn files(path: &str, roots: &Roots) -> Result<(Vec<FoundFile>, bool)> {
    let is_csv =
        |file: &FoundFile| file.place.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let mut files = Vec::new();
    for extension in ["parquet", "csv"] {
        match roots.list(path, extension).await {
            Ok(found) => files.extend(found),
            Err(error) if error.code() == ErrorCode::NotFound => {}
            Err(error) => return Err(named("spine", error)),
        }
    }
    if files.is_empty() {
        return Err(Error::not_found(format!("there is no file `{path}`, nor a .parquet or .csv file below it")));
    }
    // A file and a glob are found twice.
    files.sort_by(|a, b| a.version.path.cmp(&b.version.path));
    files.dedup_by(|a, b| a.version.path == b.version.path);
    match files.iter().filter(|file| is_csv(file)).count() {
        0 => Ok((files, false)),
        all if all == files.len() => Ok((files, true)),
        _ => Err(Error::invalid_field("spine", format!("`{path}` names Parquet and CSV files together"))),
    }
}

fn parquet_batches(file: FoundFile) -> BoxStream<'static, Result<SpineBatch>> {
    let name: Arc<str> = file.version.path.as_str().into();
    let batches = async_stream::try_stream! {
        let builder = open_parquet(&file).await.map_err(as_argument)?;
        let schema = without_metadata(builder.schema());
        let read = |error| as_argument(unreadable(&file.version.path, error));
        let mut batches = builder.build().map_err(read)?;
        let mut first = 0;
        while let Some(batch) = batches.try_next().await.map_err(read)? {
            let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec())
                .map_err(|error| Error::internal(error.to_string()))?;
            let rows = batch.num_rows() as u64;
            yield SpineBatch { batch, file: Some((Arc::clone(&name), first)) };
            first += rows;
        }
        file.check_unchanged().await?;
    };
    batches.boxed()
}

/// A wrong argument is that of this field, unless it says of which.
pub(super) fn named(field: &str, error: Error) -> Error {
    if error.code() != ErrorCode::InvalidArgument || !error.violations().is_empty() {
        return error;
    }
    let description = error.message().to_owned();
    error.with_violation(field, description)
}

/// A spine that cannot be read is the caller's to mend.
fn as_argument(error: Error) -> Error {
    if error.code() == ErrorCode::FailedPrecondition {
        return Error::invalid_field("spine", error.message().to_owned());
    }
    error
}

fn without_metadata(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().clone()))
}

/// The files of a spine have the same columns.
pub(super) fn check_same(first: &Schema, other: &Schema, first_file: &FoundFile, file: &FoundFile) -> Result<()> {
    let columns = |schema: &Schema, type_name: &dyn Fn(&DataType) -> String| -> Vec<String> {
        schema.fields().iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type()))).collect()
    };
    let exactly = |found: &DataType| found.to_string();
    let (mut expected, mut found) = (columns(first, &exactly), columns(other, &exactly));
    if expected == found {
        return Ok(());
    }
    // By our names, unless those are the same.
    let ours = [first, other].map(|schema| columns(schema, &type_name));
    if ours[0] != ours[1] {
        [expected, found] = ours;
    }
    Err(Error::invalid_field(
        "spine",
        format!(
            "its files have different columns: `{}` has {}; `{}` has {}",
            first_file.version.path,
            expected.join(", "),
            file.version.path,
            found.join(", ")
        ),
    ))
}
