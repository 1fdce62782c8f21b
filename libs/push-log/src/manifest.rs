//! The bytes of a manifest: which files hold which segments of a source's log.
//!
//! A manifest has the whole content and is never changed. The one with the greatest number is in force.

use larder_types::{Error, Name, Result, Timestamp, ValueType};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{LogPosition, WriterId};

const FORMAT: u32 = 1;

/// The state of a source's log after a compaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    /// Counted from 1; 0 is the state before the first compaction, which is nowhere written.
    pub number: u64,
    /// Who claimed it. No two claims have the same.
    pub author: Uuid,
    /// When, by the author's clock.
    pub written_at: Timestamp,
    /// The last segment of each writer that is in the files.
    pub position: LogPosition,
    /// The layouts that files have.
    pub layouts: Vec<FileLayout>,
    /// The Parquet files that hold all segments up to `position`.
    pub files: Vec<ManifestFile>,
    /// What no longer holds anything, and goes after the grace time.
    pub retired: Vec<Retired>,
}

/// The columns of a file, besides the system's, and what its rows are sorted by before event and created time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileLayout {
    /// By name.
    pub columns: Vec<(Name, ValueType)>,
    /// The key columns.
    pub sorted_by: Vec<Name>,
}

/// A Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Relative to the source's folder.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// How many rows.
    pub rows: u64,
    /// The least event time.
    pub min_event_time: Timestamp,
    /// The greatest event time.
    pub max_event_time: Timestamp,
    /// Which of [`Manifest::layouts`].
    pub layout: usize,
    /// Its rows are from segments after this position …
    pub from: LogPosition,
    /// … up to this one. Only the writers of those segments are named.
    pub to: LogPosition,
}

/// Something that was replaced, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// By the clock of who replaced it.
    pub at: Timestamp,
    /// What.
    pub item: RetiredItem,
}

/// What was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetiredItem {
    /// A Parquet file, by its path relative to the source's folder.
    File(String),
    /// The segments of a writer from `first` to `last`, both included.
    Segments {
        /// Whose.
        writer: WriterId,
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
}

/// What every format has, so that a later one is recognised.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

impl Manifest {
    /// The state before the first compaction.
    pub fn empty() -> Self {
        Self {
            format: FORMAT,
            number: 0,
            author: Uuid::nil(),
            written_at: Timestamp::MIN,
            position: LogPosition::default(),
            layouts: Vec::new(),
            files: Vec::new(),
            retired: Vec::new(),
        }
    }

    /// The one after it, with the same content, for `author` to change and claim.
    pub(crate) fn successor(&self, author: Uuid, written_at: Timestamp) -> Self {
        Self { number: self.number.saturating_add(1), author, written_at, ..self.clone() }
    }

    /// The bytes that are stored.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::internal(format!("a manifest cannot be encoded: {error}")).with_source(error))
    }

    /// Reads stored bytes. `name` says in errors whose they are.
    ///
    /// [`larder_types::ErrorCode::DataLoss`] if they are no manifest, [`larder_types::ErrorCode::Unimplemented`] if
    /// they are one of a later format.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self> {
        let lost = |what: String| Error::data_loss(format!("the manifest {name} cannot be read: {what}"));
        let AnyFormat { format } = serde_json::from_slice(bytes).map_err(|error| lost(error.to_string()))?;
        if format != FORMAT {
            return Err(Error::unimplemented(format!(
                "the manifest {name} has format {format}, this release of Larder reads {FORMAT}: use the newer release"
            )));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| lost(error.to_string()))?;
        manifest.check().map_err(lost)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let paths = self.files.iter().map(|file| &file.path).chain(self.retired.iter().filter_map(Retired::file));
        for path in paths {
            let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
            if !inside {
                return Err(format!("`{path}` is not a path of a file in the source's folder"));
            }
        }
        match self.files.iter().find(|file| file.layout >= self.layouts.len()) {
            Some(file) => Err(format!("{} has layout {} of {}", file.path, file.layout, self.layouts.len())),
            None => Ok(()),
        }
    }

    /// The number of `layout` among [`Manifest::layouts`], which gets it if it is new.
    pub(crate) fn layout_number(&mut self, layout: &FileLayout) -> usize {
        self.layouts.iter().position(|known| known == layout).unwrap_or_else(|| {
            self.layouts.push(layout.clone());
            self.layouts.len() - 1
        })
    }
}

impl Retired {
    fn file(&self) -> Option<&String> {
        match &self.item {
            RetiredItem::File(path) => Some(path),
            RetiredItem::Segments { .. } => None,
        }
    }
}
