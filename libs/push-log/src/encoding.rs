//! Segments' rows as the bytes of Parquet files.

use arrow::array::RecordBatch;
use bytes::Bytes;
use larder_types::{Error, Name, Result, Timestamp};
use parquet::arrow::ArrowWriter;

use crate::{
    FileLayout, LogPosition, LogSchema, ManifestFile, files,
    given_up::GoOn,
    layout::parquet_path,
    position::time_ordered_id,
    segment::BATCH_ROWS,
    sorting::{DayOfRows, sort_by_day},
};

/// A file that is not yet stored.
pub(crate) struct EncodedFile {
    /// Without its layout's number and its range.
    pub(crate) file: ManifestFile,
    pub(crate) layout: FileLayout,
    pub(crate) bytes: Bytes,
}

/// Files of sorted rows, one a day and schema: rows of different columns never share a file.
pub(crate) fn encode_files(
    keys: &[Name],
    batches: Vec<RecordBatch>,
    now: Timestamp,
    go_on: &GoOn<'_>,
) -> Result<Vec<EncodedFile>> {
    let mut by_schema: Vec<Vec<RecordBatch>> = Vec::new();
    for batch in batches {
        match by_schema.iter_mut().find(|group| group[0].schema() == batch.schema()) {
            Some(group) => group.push(batch),
            None => by_schema.push(vec![batch]),
        }
    }
    let mut files = Vec::new();
    for group in by_schema {
        let columns = LogSchema::of(&group[0].schema())?.columns().to_vec();
        let layout = FileLayout { columns, sorted_by: keys.to_vec() };
        for day in sort_by_day(&group, keys, go_on)? {
            files.push(encode_file(&layout, &day, now, go_on)?);
        }
    }
    Ok(files)
}

fn encode_file(layout: &FileLayout, day: &DayOfRows, now: Timestamp, go_on: &GoOn<'_>) -> Result<EncodedFile> {
    let defect = |error| Error::internal(format!("a Parquet file cannot be encoded: {error}"));
    let properties = files::writer_properties();
    let mut writer = ArrowWriter::try_new(Vec::new(), day.rows.schema(), Some(properties)).map_err(defect)?;
    for first in (0..day.rows.num_rows()).step_by(BATCH_ROWS) {
        go_on()?;
        let rows = BATCH_ROWS.min(day.rows.num_rows() - first);
        writer.write(&day.rows.slice(first, rows)).map_err(defect)?;
    }
    let bytes = Bytes::from(writer.into_inner().map_err(defect)?);
    let file = ManifestFile {
        path: parquet_path(day.day, time_ordered_id(now)),
        size: bytes.len() as u64,
        rows: day.rows.num_rows() as u64,
        min_event_time: day.min_event_time,
        max_event_time: day.max_event_time,
        layout: 0,
        from: LogPosition::default(),
        to: LogPosition::default(),
    };
    Ok(EncodedFile { file, layout: layout.clone(), bytes })
}
