//! Removing what was replaced, once no reader can still want it.
//!
//! Everything here is safe to repeat and to run beside appends, reads, compactions and other sweeps: what is removed is
//! named by the manifest in force as replaced longer ago than the grace time, or is named by none and too old for any
//! compaction under way.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use larder_connections::store_error;
use larder_types::{Name, Result, Timestamp};
use object_store::{ObjectStore, path::Path};

use crate::{
    Compactor, Manifest, Retired, RetiredItem, SegmentPosition,
    layout::{SourceLog, id_of_parquet},
    manifests,
    position::{time_of_id, time_ordered_id},
};

/// So many manifests before the one in force are always kept.
const KEPT_MANIFESTS: u64 = 16;

/// What a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// Segments that are in files.
    pub segments: u64,
    /// Files that were merged into others.
    pub files: u64,
    /// Files that no manifest names: leftovers of compactions that were killed.
    pub orphans: u64,
    /// Manifests that are long not in force.
    pub manifests: u64,
}

impl Compactor {
    /// Removes what is past its grace time.
    pub async fn sweep(&self, project: &Name, source: &Name) -> Result<SweepReport> {
        let log = SourceLog::new(self.store.clone(), &self.root, project, source);
        let mut report = SweepReport::default();
        self.sweep_retired(&log, &mut report).await?;
        self.sweep_orphans(&log, &mut report).await?;
        self.sweep_manifests(&log, &mut report).await?;
        Ok(report)
    }

    async fn sweep_retired(&self, log: &SourceLog, report: &mut SweepReport) -> Result<()> {
        let now = self.clock.now();
        let current = manifests::newest(log).await?;
        let expired: Vec<_> =
            current.retired.iter().filter(|retired| is_past(retired.at, self.options.grace, now)).cloned().collect();
        if expired.is_empty() {
            return Ok(());
        }
        for Retired { item, .. } in &expired {
            let removed = remove_all(log, paths_of(log, item)).await?;
            match item {
                RetiredItem::File(_) => report.files += removed,
                RetiredItem::Segments { .. } => report.segments += removed,
            }
        }
        // Whoever claims this number instead keeps the entries, and the next sweep finds nothing left to remove.
        let mut next = current.successor(time_ordered_id(now), now);
        next.retired.retain(|retired| !expired.contains(retired));
        manifests::claim(log, &next).await.map(drop)
    }

    async fn sweep_orphans(&self, log: &SourceLog, report: &mut SweepReport) -> Result<()> {
        let now = self.clock.now();
        let folder = log.folder();
        let listed: Vec<_> = log
            .store
            .list(Some(folder))
            .try_collect()
            .await
            .map_err(|error| store_error(format_args!("listing {folder}"), error))?;
        let old = |path: &Path| {
            let written_at = id_of_parquet(path).and_then(time_of_id);
            written_at.is_some_and(|written_at| is_past(written_at, self.options.orphan_grace, now))
        };
        let mut old: Vec<_> = listed.into_iter().map(|object| object.location).filter(old).collect();
        if old.is_empty() {
            return Ok(());
        }
        // Read after listing: an old file that no manifest names by now never will be, as steps do not take that long.
        let known = known_files(log, &manifests::newest(log).await?);
        old.retain(|path| !known.contains(path));
        report.orphans += remove_all(log, old).await?;
        Ok(())
    }

    async fn sweep_manifests(&self, log: &SourceLog, report: &mut SweepReport) -> Result<()> {
        let now = self.clock.now();
        let newest = manifests::newest(log).await?.number;
        let old = manifests::listed(log).await?.into_iter().filter(|number| number + KEPT_MANIFESTS < newest);
        let mut old = old.peekable();
        if old.peek().is_some() {
            manifests::write_hint(log, newest).await;
        }
        // One after the other, the first first: a reader that has one relies on the next being there.
        for number in old {
            let expired = manifests::read(log, number)
                .await?
                .is_none_or(|manifest| is_past(manifest.written_at, self.options.orphan_grace, now));
            if !expired {
                break;
            }
            report.manifests += remove_all(log, [log.manifest(number)]).await?;
        }
        Ok(())
    }
}

fn is_past(since: Timestamp, grace: std::time::Duration, now: Timestamp) -> bool {
    since.plus(grace) <= now
}

fn paths_of(log: &SourceLog, item: &RetiredItem) -> Box<dyn Iterator<Item = Path> + Send> {
    match *item {
        RetiredItem::File(ref path) => Box::new(std::iter::once(log.file(path))),
        RetiredItem::Segments { writer, first, last } => {
            let log = log.clone();
            Box::new((first..=last).map(move |number| log.segment(SegmentPosition { writer, number })))
        }
    }
}

fn known_files(log: &SourceLog, manifest: &Manifest) -> HashSet<Path> {
    let retired = manifest.retired.iter().flat_map(|retired| match &retired.item {
        RetiredItem::File(path) => Some(log.file(path)),
        RetiredItem::Segments { .. } => None,
    });
    manifest.files.iter().map(|file| log.file(&file.path)).chain(retired).collect()
}

/// Removes objects, and tells how many were there.
async fn remove_all(log: &SourceLog, paths: impl IntoIterator<Item = Path, IntoIter: Send + 'static>) -> Result<u64> {
    let mut removed = 0;
    let mut deletions = log.store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
    while let Some(deletion) = deletions.next().await {
        match deletion {
            Ok(_) => removed += 1,
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(store_error(format_args!("sweeping {}", log.folder()), error)),
        }
    }
    Ok(removed)
}
