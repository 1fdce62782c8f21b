//! Finding the manifest in force, and claiming the next.
//!
//! A hint object names a recent number; asking for the next until there is none finds the newest. The hint may be
//! missing or behind. Only where it is of no use is the folder listed.

use bytes::Bytes;
use futures::TryStreamExt;
use larder_connections::{Created, create_once, read_object, store_error};
use larder_types::{Error, ErrorCode, Result};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use crate::{Manifest, layout::SourceLog};

const CLAIM_ATTEMPTS: u32 = 4;

/// The manifest in force.
pub(crate) async fn newest(log: &SourceLog) -> Result<Manifest> {
    let mut newest = first_known(log).await?;
    while let Some(next) = read(log, newest.number.saturating_add(1)).await? {
        newest = next;
    }
    Ok(newest)
}

async fn first_known(log: &SourceLog) -> Result<Manifest> {
    if let Some(hinted) = read_hint(log).await?
        && let Some(manifest) = read(log, hinted).await?
    {
        return Ok(manifest);
    }
    match listed(log).await?.last() {
        None => Ok(Manifest::empty()),
        Some(number) => read(log, *number).await?.ok_or_else(|| {
            Error::unavailable(format!("the manifests in {} change faster than they are read", log.manifests()))
        }),
    }
}

async fn read_hint(log: &SourceLog) -> Result<Option<u64>> {
    let hint = read_object(log.store.as_ref(), &log.manifest_hint()).await?;
    Ok(hint.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim().parse().ok()))
}

/// The manifest with this number, if there is one.
pub(crate) async fn read(log: &SourceLog, number: u64) -> Result<Option<Manifest>> {
    let path = log.manifest(number);
    let Some(bytes) = read_object(log.store.as_ref(), &path).await? else { return Ok(None) };
    let manifest = Manifest::decode(path.as_ref(), &bytes)?;
    if manifest.number != number {
        return Err(Error::data_loss(format!("the manifest {path} says that its number is {}", manifest.number)));
    }
    Ok(Some(manifest))
}

/// The numbers of all manifests that are kept, in their order.
pub(crate) async fn listed(log: &SourceLog) -> Result<Vec<u64>> {
    let folder = log.manifests();
    let objects: Vec<_> = log
        .store
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(|error| store_error(format_args!("listing {folder}"), error))?;
    let number = |path: &Path| path.filename()?.strip_suffix(".json")?.parse::<u64>().ok();
    let mut numbers: Vec<_> = objects.iter().filter_map(|object| number(&object.location)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether the manifest of this number, which was in force, still is.
pub(crate) async fn is_newest(log: &SourceLog, number: u64) -> Result<bool> {
    // In this order: manifests are removed in the order of their numbers, so while this one is there, the next one was
    // not removed.
    Ok(!exists(log, number.saturating_add(1)).await? && (number == 0 || exists(log, number).await?))
}

async fn exists(log: &SourceLog, number: u64) -> Result<bool> {
    let path = log.manifest(number);
    match log.store.head(&path).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(store_error(format_args!("looking for {path}"), error)),
    }
}

/// Claims the manifest's number. False: somebody else has it. After an error the claim may or may not be ours.
pub(crate) async fn claim(log: &SourceLog, manifest: &Manifest) -> Result<bool> {
    let path = log.manifest(manifest.number);
    let content = Bytes::from(manifest.encode()?);
    let mut attempt = 1;
    let created = loop {
        match create_once(log.store.as_ref(), &path, content.clone(), |found| found == content).await {
            Ok(created) => break created,
            Err(error) if error.code() == ErrorCode::Unavailable && attempt < CLAIM_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    };
    match created {
        Created::Taken(_) => Ok(false),
        Created::Ours => {
            write_hint(log, manifest.number).await;
            Ok(true)
        }
    }
}

/// A hint that is not written is only a longer search.
pub(crate) async fn write_hint(log: &SourceLog, number: u64) {
    if let Err(error) = log.store.put(&log.manifest_hint(), number.to_string().into()).await {
        tracing::debug!(%error, number, "the hint at the newest manifest was not written");
    }
}
