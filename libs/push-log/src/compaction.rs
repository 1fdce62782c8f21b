//! Rewriting segments as Parquet files, and small files as larger ones, while others append, read and compact.
//!
//! A step works from the manifest in force and ends by claiming the next one. Whoever loses that race removes the files
//! it wrote, which nobody knows of, and begins again. Memory is bounded by the segments taken in a step
//! ([`CompactorOptions::max_step_bytes`], held about three times while they are sorted and encoded) and, for merging, by
//! the inputs' bytes ([`CompactorOptions::merge_bytes`]) and a few megabytes of decoded rows.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use larder_connections::{read_object, store_error};
use larder_types::{Clock, Error, Name, Result, Timestamp};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use tokio::runtime::Handle;

use crate::{
    LogPosition, Manifest, ManifestFile, Retired, RetiredItem,
    discovery::{FoundSegment, segments_after, vanished},
    encoding::{EncodedFile, encode_files},
    given_up::unless_given_up,
    layout::{SourceLog, partition_of},
    manifests,
    merge::{Merged, merge},
    position::time_ordered_id,
    segment::decode_segment,
};

/// So many lost races in one call mean that there are too many compactors.
const MAX_LOST_RACES: u32 = 32;
const READS_AT_ONCE: usize = 8;

/// How logs are compacted and swept.
#[derive(Debug, Clone)]
pub struct CompactorOptions {
    /// A step takes segments of so many bytes, but at least one.
    pub max_step_bytes: u64,
    /// Files below so many bytes are small.
    pub small_file_bytes: u64,
    /// So many small files of a day are merged.
    pub merge_from: usize,
    /// So many at once, at most …
    pub merge_at_once: usize,
    /// … and no more than have so many bytes together, but at least two: their row groups are held compressed.
    pub merge_bytes: u64,
    /// What was replaced stays for so long, for readers that know of it.
    pub grace: Duration,
    /// Files that no manifest names, and manifests that are not in force, stay for so long. A step that takes half of it
    /// gives up.
    pub orphan_grace: Duration,
}

impl Default for CompactorOptions {
    fn default() -> Self {
        Self {
            max_step_bytes: 64 << 20,
            small_file_bytes: 32 << 20,
            merge_from: 8,
            merge_at_once: 32,
            merge_bytes: 128 << 20,
            grace: Duration::from_secs(3_600),
            orphan_grace: Duration::from_secs(24 * 3_600),
        }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactionReport {
    /// Segments that are now in files.
    pub segments: u64,
    /// Rows in those segments.
    pub rows_read: u64,
    /// Rows of them in files: repeated ones are dropped.
    pub rows_written: u64,
    /// New files, merged ones included.
    pub files_written: u64,
    /// Small files that were merged into larger ones.
    pub files_merged: u64,
    /// Steps that lost their race against another compaction.
    pub lost_races: u32,
    /// The number of the manifest in force at the end.
    pub manifest: u64,
    /// The last segment of each writer that is in files at the end.
    pub position: LogPosition,
}

/// Compacts and sweeps the log of any source. Any number may work on the same log.
#[derive(Clone)]
pub struct Compactor {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: CompactorOptions,
}

/// How a step ended.
enum Step {
    NothingToDo(Manifest),
    Done,
    LostRace,
}

impl Compactor {
    /// For the logs under `root`.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, options: CompactorOptions, clock: Arc<dyn Clock>) -> Self {
        Self { store, root, clock, options }
    }

    /// Puts all segments that are there into Parquet files sorted by `keys`, event time and created time, then merges
    /// small files.
    ///
    /// It may be dropped at any time, and what it had begun is soon given up: what no manifest names yet is done again by
    /// the next compaction.
    pub async fn compact(&self, project: &Name, source: &Name, keys: &[Name]) -> Result<CompactionReport> {
        let log = SourceLog::new(Arc::clone(&self.store), &self.root, project, source);
        let mut report = CompactionReport::default();
        loop {
            match self.fold_segments(&log, keys, &mut report).await? {
                Step::Done => {}
                Step::LostRace => lost_race(source, &mut report)?,
                Step::NothingToDo(_) => break,
            }
        }
        loop {
            match self.merge_small_files(&log, keys, &mut report).await? {
                Step::Done => {}
                Step::LostRace => lost_race(source, &mut report)?,
                Step::NothingToDo(manifest) => {
                    (report.manifest, report.position) = (manifest.number, manifest.position);
                    return Ok(report);
                }
            }
        }
    }

    async fn fold_segments(&self, log: &SourceLog, keys: &[Name], report: &mut CompactionReport) -> Result<Step> {
        let started = self.clock.now();
        let current = manifests::newest(log).await?;
        let found = segments_after(log, &current.position).await?;
        let taken = self.take_for_a_step(&found);
        if taken.is_empty() {
            return Ok(Step::NothingToDo(current));
        }
        let mut next = current.successor(time_ordered_id(started), started);
        let segments = match read_segments(log, &taken).await {
            Ok(segments) => segments,
            // Somebody else compacted and swept them.
            Err(_) if !manifests::is_newest(log, current.number).await? => return Ok(Step::LostRace),
            Err(error) => return Err(error),
        };
        let (rows_read, files) = self.encode(keys, segments).await?;
        let (from, to) = range_of(&current.position, &taken);
        let mut written = Vec::with_capacity(files.len());
        for file in files {
            let layout = next.layout_number(&file.layout);
            written.push(ManifestFile { layout, from: from.clone(), to: to.clone(), ..file.file });
            let path = log.file(&written[written.len() - 1].path);
            put(log, &path, file.bytes).await?;
        }
        let rows_written: u64 = written.iter().map(|file| file.rows).sum();
        next.position = next.position.union(&to);
        let retired = retired_segments(&current.position, &to);
        let files = written.len();
        if !self.finish(log, next, written, retired, started).await? {
            return Ok(Step::LostRace);
        }
        report.segments += taken.len() as u64;
        report.rows_read += rows_read as u64;
        report.rows_written += rows_written;
        report.files_written += files as u64;
        Ok(Step::Done)
    }

    fn take_for_a_step(&self, found: &[FoundSegment]) -> Vec<FoundSegment> {
        let mut bytes = 0;
        let fits = |segment: &&FoundSegment| {
            let first = bytes == 0;
            bytes += segment.size;
            first || bytes <= self.options.max_step_bytes
        };
        found.iter().take_while(fits).copied().collect()
    }

    /// The rows of segments as files, and how many rows they were. Decoding, sorting and encoding take a while: not on a
    /// thread that others wait for.
    async fn encode(&self, keys: &[Name], segments: Vec<(Path, Bytes)>) -> Result<(usize, Vec<EncodedFile>)> {
        let (keys, now) = (keys.to_vec(), self.clock.now());
        let encoding = unless_given_up("encoding files", move |_, go_on| {
            let mut batches = Vec::new();
            for (path, bytes) in segments {
                go_on()?;
                batches.extend(decode_segment(path.as_ref(), &bytes)?);
            }
            let rows = batches.iter().map(RecordBatch::num_rows).sum();
            Ok((rows, encode_files(&keys, batches, now, go_on)?))
        });
        encoding.await
    }

    /// Decoding, comparing and encoding alternate with reading and writing: all of it is done on a thread of its own, to its
    /// end or until nobody waits for it any more.
    async fn merge(&self, inputs: Vec<(Path, u64)>, keys: &[Name], output: Path) -> Result<Merged> {
        let (store, keys, runtime) = (Arc::clone(&self.store), keys.to_vec(), Handle::current());
        let merging = unless_given_up("merging files", move |given_up, go_on| {
            // Whether it waits for the store or is busy.
            let merged = given_up.run_until_cancelled(merge(&store, &inputs, &keys, &output, go_on));
            runtime.block_on(merged).unwrap_or_else(|| Err(Error::unavailable("nobody waits for the merged file")))
        });
        merging.await
    }

    async fn merge_small_files(&self, log: &SourceLog, keys: &[Name], report: &mut CompactionReport) -> Result<Step> {
        let started = self.clock.now();
        let current = manifests::newest(log).await?;
        let Some(small) = self.small_files(&current, keys) else { return Ok(Step::NothingToDo(current)) };
        let inputs: Vec<_> = small.iter().map(|file| (log.file(&file.path), file.size)).collect();
        let path = format!("{}/{}.parquet", partition_of(&small[0].path), time_ordered_id(started).as_hyphenated());
        let merged = match self.merge(inputs, keys, log.file(&path)).await {
            Ok(merged) => merged,
            Err(_) if !manifests::is_newest(log, current.number).await? => {
                remove(log, &path).await;
                return Ok(Step::LostRace);
            }
            Err(error) => return Err(error),
        };
        let (from, to) = hull(&small);
        let file = ManifestFile {
            path,
            size: merged.size,
            rows: merged.rows,
            min_event_time: merged.min_event_time,
            max_event_time: merged.max_event_time,
            layout: small[0].layout,
            from,
            to,
        };
        let mut next = current.successor(time_ordered_id(started), started);
        next.files.retain(|file| !small.contains(file));
        let retired = small.iter().map(|file| RetiredItem::File(file.path.clone())).collect();
        if !self.finish(log, next, vec![file], retired, started).await? {
            return Ok(Step::LostRace);
        }
        report.files_merged += small.len() as u64;
        report.files_written += 1;
        Ok(Step::Done)
    }

    /// Enough small files of one day, layout and order to be worth merging.
    fn small_files(&self, manifest: &Manifest, keys: &[Name]) -> Option<Vec<ManifestFile>> {
        let mut groups: BTreeMap<(&str, usize), Vec<&ManifestFile>> = BTreeMap::new();
        let small = manifest.files.iter().filter(|file| {
            file.size < self.options.small_file_bytes && manifest.layouts[file.layout].sorted_by == keys
        });
        for file in small {
            groups.entry((partition_of(&file.path), file.layout)).or_default().push(file);
        }
        let enough = groups.into_values().find(|files| files.len() >= self.options.merge_from.max(2))?;
        let mut bytes = 0;
        let fits = |(at, file): &(usize, &ManifestFile)| {
            bytes += file.size;
            *at < 2 || bytes <= self.options.merge_bytes
        };
        let taken = enough.into_iter().enumerate().take(self.options.merge_at_once.max(2)).take_while(fits);
        Some(taken.map(|(_, file)| file.clone()).collect())
    }

    /// Claims `next`, with `written` among its files and `retired` from now on. False: somebody else was first, and
    /// what was written is removed.
    async fn finish(
        &self,
        log: &SourceLog,
        mut next: Manifest,
        written: Vec<ManifestFile>,
        retired: Vec<RetiredItem>,
        started: Timestamp,
    ) -> Result<bool> {
        let now = self.clock.now();
        if now.since(started) > self.options.orphan_grace / 2 {
            return Err(Error::deadline_exceeded(format!(
                "a step of compacting {} took longer than its files are safe from being swept as orphans",
                log.folder()
            )));
        }
        next.files.extend(written.iter().cloned());
        next.retired.extend(retired.into_iter().map(|item| Retired { at: now, item }));
        next.written_at = now;
        let claimed = manifests::claim(log, &next).await?;
        if !claimed {
            for file in &written {
                remove(log, &file.path).await;
            }
        }
        Ok(claimed)
    }
}

fn lost_race(source: &Name, report: &mut CompactionReport) -> Result<()> {
    report.lost_races += 1;
    if report.lost_races < MAX_LOST_RACES {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "compacting the push log of {source} lost {MAX_LOST_RACES} races against others: let fewer compact it at a time"
    )))
}

async fn read_segments(log: &SourceLog, segments: &[FoundSegment]) -> Result<Vec<(Path, Bytes)>> {
    let reads: Vec<_> = segments.iter().map(|segment| read_segment(log.clone(), *segment).boxed()).collect();
    futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await
}

async fn read_segment(log: SourceLog, segment: FoundSegment) -> Result<(Path, Bytes)> {
    let path = log.segment(segment.position);
    let bytes = read_object(log.store.as_ref(), &path).await?.ok_or_else(|| vanished(&path))?;
    Ok((path, bytes))
}

/// Names are new, so writing one again after a lost reply replaces it by the same.
async fn put(log: &SourceLog, path: &Path, bytes: Bytes) -> Result<()> {
    let attempt = || log.store.put(path, bytes.clone().into());
    match attempt().await {
        Err(object_store::Error::Generic { .. }) => attempt().await,
        other => other,
    }
    .map(drop)
    .map_err(|error| store_error(format_args!("writing {path}"), error))
}

/// What is not removed here is swept as an orphan.
async fn remove(log: &SourceLog, relative: &str) {
    let path = log.file(relative);
    if let Err(error) = log.store.delete(&path).await {
        tracing::debug!(%path, %error, "a file that nobody knows of was not removed");
    }
}

/// Where the segments begin and end, for their writers only.
fn range_of(before: &LogPosition, segments: &[FoundSegment]) -> (LogPosition, LogPosition) {
    let (mut from, mut to) = (LogPosition::default(), LogPosition::default());
    for segment in segments {
        to.advance(segment.position);
        if let Some(last) = before.0.get(&segment.position.writer) {
            from.0.insert(segment.position.writer, *last);
        }
    }
    (from, to)
}

fn retired_segments(before: &LogPosition, to: &LogPosition) -> Vec<RetiredItem> {
    let segments = to.0.iter().map(|(writer, last)| RetiredItem::Segments {
        writer: *writer,
        first: before.next_of(*writer),
        last: *last,
    });
    segments.collect()
}

/// The least range that has those of all files in it.
fn hull(files: &[ManifestFile]) -> (LogPosition, LogPosition) {
    let to = files.iter().fold(LogPosition::default(), |to, file| to.union(&file.to));
    let from = to.0.keys().filter_map(|writer| {
        let beginnings = files.iter().filter(|file| file.to.0.contains_key(writer));
        let first = beginnings.map(|file| file.from.next_of(*writer)).min()?;
        first.checked_sub(1).map(|last| (*writer, last))
    });
    (LogPosition(from.collect()), to)
}

impl std::fmt::Debug for Compactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compactor").field("root", &self.root).field("options", &self.options).finish_non_exhaustive()
    }
}
