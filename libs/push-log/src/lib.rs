//! The push log: every pushed row of every source, durable before it is acknowledged, readable as Parquet.
//!
//! Writers ([`PushLogWriter`], one per process run) put the rows of many callers into numbered segments. A [`Compactor`]
//! rewrites segments as Parquet, sorted by key and time, one folder per day of the event time, and claims numbered
//! manifests that say which files hold which segments. Readers ([`PushLog`]) take a consistent set of files from the
//! newest manifest and the segments after it, from a [`LogPosition`] on.
//!
//! ```text
//! <root>/<project>/<source>/date=2026-01-31/<id>.parquet            what other engines read
//!                          /_log/writers/<writer>                  a writer is known before its first segment
//!                          /_log/segments/<writer>/<number>.arrow  numbers of a writer have no holes
//!                          /_log/manifest/<number>.json, hint      the greatest number is in force
//! ```
//!
//! This crate knows Arrow, Parquet and object stores; it has no query engine, no clock of its own and no idea of views:
//! who compacts says which columns are keys.
//!
//! What is promised:
//! - an acknowledged row is in every later snapshot, whatever compactions and sweeps do meanwhile;
//! - reading since a position gives at least all that came after it, and may repeat some of what came before;
//! - rows of the same (source, batch id, row number), key and event time are one row, the one with the greatest created
//!   time. A compaction drops the others where it sees them together; until then a reader may meet several, ordered by
//!   created time. A batch id that is used again for other rows costs none of them.

mod commit;
mod compaction;
mod discovery;
mod encoding;
mod files;
mod given_up;
mod layout;
mod manifest;
mod manifests;
mod merge;
mod position;
mod reader;
mod reading;
mod rows;
mod segment;
mod sorting;
mod sweep;
mod turns;
mod writer;

pub use commit::AppendError;
pub use compaction::{CompactionReport, Compactor, CompactorOptions};
pub use files::{StoredFile, batch_rows};
pub use manifest::{FileLayout, Manifest, ManifestFile, Retired, RetiredItem};
pub use position::{LogPosition, SegmentPosition, WriterId};
pub use reader::{FileFormat, LogFile, LogSnapshot, PushLog};
pub use rows::{
    BATCH_ID, CREATED_TIME, DELETED, EVENT_TIME, INGESTED_AT, LogSchema, PushedRows, ROW_NUMBER, SCHEMA_NUMBER,
    SYSTEM_COLUMNS,
};
pub use segment::{SegmentSummary, decode_segment, encode_segment};
pub use sweep::SweepReport;
pub use writer::{PushLogWriter, WriterOptions};
