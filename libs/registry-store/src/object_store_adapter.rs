//! The object-store adapter: conditional create alone, the only conditional write that all stores and local folders have.
//!
//! ```text
//! <root>/<log>/<number, 20 digits>     an entry: a header line with its author's token, then the content
//! <root>/<log>/head                    a hint: the newest number known when it was written
//! <root>/<log>/snapshots/<number>      the fold of all entries up to that one
//! <root>/<log>/snapshot                which of them is the newest
//! ```
//!
//! "Already exists" does not prove that somebody else won, since a store's client sends a put again when its answer is lost:
//! the token in the header tells. The newest entry is found from the hint and by asking for the next number, never by
//! listing.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use larder_connections::{Created, create_once, read_object, store_error};
use larder_types::{Error, Result};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use uuid::Uuid;

use crate::{Appended, Log, RegistryStore};

/// Begins every entry; the number is the format's.
const HEADER: &str = "larder-registry-entry/1";

/// How many entries are asked for at once when a log is read.
const READ_AHEAD: u64 = 32;

/// A registry store in a folder of an object store.
#[derive(Debug, Clone)]
pub struct ObjectRegistryStore {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

impl ObjectRegistryStore {
    /// Keeps its objects under `root`. A put of `store` must be durable when it returns.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self { store, root }
    }

    fn folder(&self, log: Log) -> Path {
        let log = log.to_string();
        log.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    fn entry_path(&self, log: Log, number: u64) -> Path {
        self.folder(log).join(format!("{number:020}"))
    }

    fn snapshot_path(&self, log: Log, number: u64) -> Path {
        self.folder(log).join("snapshots").join(format!("{number:020}"))
    }

    /// Writes a hint. Losing one only costs a few questions more, so a failure is told and not returned.
    async fn put_hint(&self, path: &Path, number: u64) {
        let payload = PutPayload::from(number.to_string().into_bytes());
        if let Err(error) = self.store.put(path, payload).await {
            tracing::warn!(%path, %error, "registry store: the hint was not written; the next start reads more");
        }
    }

    /// The number in a hint, or 0: a hint that cannot be read is as good as none.
    async fn hint(&self, path: &Path) -> Result<u64> {
        let hint = read_object(&*self.store, path).await?;
        Ok(hint.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok()).unwrap_or(0))
    }
}

#[async_trait]
impl RegistryStore for ObjectRegistryStore {
    async fn append(&self, log: Log, number: u64, content: Bytes) -> Result<Appended> {
        let path = self.entry_path(log, number);
        let header = format!("{HEADER} {}\n", Uuid::new_v4());
        let mut entry = BytesMut::with_capacity(header.len() + content.len());
        entry.extend_from_slice(header.as_bytes());
        entry.extend_from_slice(&content);
        let ours = |found: &[u8]| found.starts_with(header.as_bytes());
        match create_once(&*self.store, &path, entry.freeze(), ours).await? {
            Created::Ours => {
                self.put_hint(&self.folder(log).join("head"), number).await;
                Ok(Appended::Ours)
            }
            Created::Taken(entry) => Ok(Appended::Taken(content_of(&path, &entry)?)),
        }
    }

    async fn read(&self, log: Log, number: u64) -> Result<Option<Bytes>> {
        let path = self.entry_path(log, number);
        let entry = read_object(&*self.store, &path).await?;
        entry.map(|entry| content_of(&path, &entry)).transpose()
    }

    async fn read_after(&self, log: Log, number: u64) -> Result<Vec<Bytes>> {
        let known = self.hint(&self.folder(log).join("head")).await?;
        let mut entries = read_known(self, log, number, known).await?;
        let mut next = number.max(known) + 1;
        while let Some(entry) = self.read(log, next).await? {
            entries.push(entry);
            next += 1;
        }
        Ok(entries)
    }

    async fn write_snapshot(&self, log: Log, number: u64, content: Bytes) -> Result<()> {
        let path = self.snapshot_path(log, number);
        let written = self.store.put(&path, PutPayload::from(content)).await;
        written.map_err(|error| store_error(format_args!("writing {path}"), error))?;
        self.put_hint(&self.folder(log).join("snapshot"), number).await;
        Ok(())
    }

    async fn read_snapshot(&self, log: Log, number: u64) -> Result<Option<Bytes>> {
        read_object(&*self.store, &self.snapshot_path(log, number)).await
    }

    async fn latest_snapshot(&self, log: Log) -> Result<Option<(u64, Bytes)>> {
        let number = self.hint(&self.folder(log).join("snapshot")).await?;
        if number == 0 {
            return Ok(None);
        }
        Ok(self.read_snapshot(log, number).await?.map(|content| (number, content)))
    }
}

/// Entries `after + 1 ..= known`, several at a time; each of them must be there, since `known` is.
async fn read_known(store: &ObjectRegistryStore, log: Log, after: u64, known: u64) -> Result<Vec<Bytes>> {
    let read = |number| async move {
        let entry = store.read(log, number).await?;
        entry.ok_or_else(|| {
            Error::data_loss(format!("registry store: entry {number} of {log} is missing, though {known} was written"))
        })
    };
    stream::iter(after + 1..=known).map(read).buffered(READ_AHEAD as usize).try_collect().await
}

fn content_of(path: &Path, entry: &Bytes) -> Result<Bytes> {
    let end = entry.iter().position(|byte| *byte == b'\n');
    let header = end.and_then(|end| std::str::from_utf8(&entry[..end]).ok());
    match (header.and_then(|header| header.split_once(' ')), end) {
        (Some((HEADER, _token)), Some(end)) => Ok(entry.slice(end + 1..)),
        (Some((other, _)), _) if other.starts_with("larder-registry-entry/") => Err(Error::unimplemented(format!(
            "registry store: {path} is of format {other}; this release reads {HEADER}"
        ))),
        _ => Err(Error::data_loss(format!("registry store: {path} does not begin with {HEADER}"))),
    }
}
