//! Where the objects of a source's log lie.

use std::sync::Arc;

use larder_types::{Name, Timestamp};
use object_store::{ObjectStore, path::Path};
use uuid::Uuid;

use crate::{SegmentPosition, WriterId};

/// Engines that read the folder as Parquet skip names that start with an underscore.
const INTERNAL: &str = "_log";
/// Where rows go whose event time no calendar can tell; the name that Hive has for a null.
const NO_DATE: &str = "__HIVE_DEFAULT_PARTITION__";

/// The log of one source.
#[derive(Debug, Clone)]
pub(crate) struct SourceLog {
    pub(crate) store: Arc<dyn ObjectStore>,
    folder: Path,
}

impl SourceLog {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, root: &Path, project: &Name, source: &Name) -> Self {
        Self { store, folder: root.clone().join(project.as_str()).join(source.as_str()) }
    }

    /// All of it.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn writers(&self) -> Path {
        self.internal("writers")
    }

    pub(crate) fn writer(&self, writer: WriterId) -> Path {
        self.writers().join(writer.to_string())
    }

    pub(crate) fn segment(&self, segment: SegmentPosition) -> Path {
        let name = format!("{:020}.arrow", segment.number);
        self.internal("segments").join(segment.writer.to_string()).join(name)
    }

    pub(crate) fn manifests(&self) -> Path {
        self.internal("manifest")
    }

    pub(crate) fn manifest(&self, number: u64) -> Path {
        self.manifests().join(format!("{number:020}.json"))
    }

    pub(crate) fn manifest_hint(&self) -> Path {
        self.manifests().join("hint")
    }

    /// A file by its path in a manifest, which is relative to the source's folder.
    pub(crate) fn file(&self, relative: &str) -> Path {
        relative.split('/').fold(self.folder.clone(), |path, part| path.join(part))
    }

    fn internal(&self, name: &str) -> Path {
        self.folder.clone().join(INTERNAL).join(name)
    }
}

/// Days since the epoch, rounded down.
pub(crate) fn day_of(event_time: i64) -> i64 {
    event_time.div_euclid(86_400_000_000)
}

/// The relative path of a Parquet file for rows of `day`.
pub(crate) fn parquet_path(day: i64, id: Uuid) -> String {
    let start = day.checked_mul(86_400_000_000).map(Timestamp::from_micros);
    let date = start.and_then(Timestamp::to_datetime).map(|start| start.date_naive().to_string());
    format!("date={}/{}.parquet", date.as_deref().unwrap_or(NO_DATE), id.as_hyphenated())
}

/// The folder in a relative path: files of the same one hold rows of the same day.
pub(crate) fn partition_of(relative: &str) -> &str {
    relative.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The id in the name of a Parquet file that this crate wrote.
pub(crate) fn id_of_parquet(path: &Path) -> Option<Uuid> {
    Uuid::try_parse(path.filename()?.strip_suffix(".parquet")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lies_in_the_folder_of_its_day() {
        for (micros, date) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (1_769_848_200_000_000, "2026-01-31"),
            (i64::MAX, NO_DATE),
            (i64::MIN, NO_DATE),
        ] {
            let path = parquet_path(day_of(micros), Uuid::nil());
            assert_eq!(path, format!("date={date}/00000000-0000-0000-0000-000000000000.parquet"));
            assert_eq!(partition_of(&path), format!("date={date}"));
            assert_eq!(id_of_parquet(&Path::from(path)), Some(Uuid::nil()));
        }
    }
}
