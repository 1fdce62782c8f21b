//! Which segments there are after a position.
//!
//! A writer's numbers have no holes, so it is enough to ask for the next one until there is none; listing is only for
//! the small folder that names the writers.

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use larder_connections::store_error;
use larder_types::{Error, Result};
use object_store::{GetOptions, GetRange, ObjectStore};

use crate::{
    LogPosition, SegmentPosition, WriterId,
    layout::SourceLog,
    segment::{SegmentSummary, TRAILER_BYTES, decode_trailer},
};

const WRITERS_AT_ONCE: usize = 8;
const PROBES_AT_ONCE: u64 = 32;

/// A segment that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FoundSegment {
    pub(crate) position: SegmentPosition,
    pub(crate) size: u64,
    pub(crate) summary: SegmentSummary,
}

/// All segments after `position`, each writer's in the order of their numbers. Every segment that was acknowledged
/// before the call is among them, unless a sweep removed it: then a manifest newer than `position` has its rows.
pub(crate) async fn segments_after(log: &SourceLog, position: &LogPosition) -> Result<Vec<FoundSegment>> {
    let writers = writers(log).await?;
    let probes: Vec<_> =
        writers.into_iter().map(|writer| probe(log.clone(), writer, position.next_of(writer)).boxed()).collect();
    let found: Vec<_> = stream::iter(probes).buffered(WRITERS_AT_ONCE).try_collect().await?;
    Ok(found.concat())
}

async fn writers(log: &SourceLog) -> Result<Vec<WriterId>> {
    let folder = log.writers();
    let listed: Vec<_> = log
        .store
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(|error| store_error(format_args!("listing {folder}"), error))?;
    let mut writers: Vec<WriterId> =
        listed.iter().filter_map(|object| object.location.filename()?.parse().ok()).collect();
    writers.sort_unstable();
    Ok(writers)
}

/// Asks for more at once while there are more.
async fn probe(log: SourceLog, writer: WriterId, first: u64) -> Result<Vec<FoundSegment>> {
    let mut found = Vec::new();
    let (mut next, mut window) = (first, 1);
    loop {
        let numbers = next..next.saturating_add(window);
        let looks: Vec<_> =
            numbers.map(|number| look_at(log.clone(), SegmentPosition { writer, number }).boxed()).collect();
        let mut answers = stream::iter(looks).buffered(PROBES_AT_ONCE as usize);
        while let Some(answer) = answers.next().await {
            match answer? {
                Some(segment) => found.push(segment),
                None => return Ok(found),
            }
        }
        next = next.saturating_add(window);
        window = (2 * window).min(PROBES_AT_ONCE);
    }
}

async fn look_at(log: SourceLog, position: SegmentPosition) -> Result<Option<FoundSegment>> {
    let path = log.segment(position);
    let reading = |error| store_error(format_args!("reading {path}"), error);
    let options = GetOptions::new().with_range(Some(GetRange::Suffix(TRAILER_BYTES as u64)));
    let answer = match log.store.get_opts(&path, options).await {
        Ok(answer) => answer,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(reading(error)),
    };
    let size = answer.meta.size;
    let trailer = answer.bytes().await.map_err(reading)?;
    let summary = decode_trailer(path.as_ref(), &trailer, size)?;
    Ok(Some(FoundSegment { position, size, summary }))
}

/// The bytes of a file of a snapshot. One that vanished was replaced, longer ago than files are kept.
pub(crate) fn vanished(path: &object_store::path::Path) -> Error {
    Error::unavailable(format!(
        "{path} was replaced while it was being read, and is gone: take a new snapshot of the log and read that"
    ))
}
