//! A local folder as an object store whose writes are durable when they return.
//!
//! `object_store`'s own local store never syncs: kill -9 is safe there, power loss is not. Here a put writes a staging
//! file beside its target, syncs it, links or renames it into place and syncs the folder, and every folder up to the
//! root that this process has not yet synced. Reads, lists and range reads are `object_store`'s.

use std::{
    fmt, fs, io,
    path::{Path as FsPath, PathBuf},
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use larder_types::{Error, Result};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, UploadPart, local::LocalFileSystem,
    path::Path,
};

use crate::{
    Disk, LocalDisk,
    disk_folders::{DurableFolders, sync_parent},
    store_error,
};

const STORE: &str = "DurableLocal";

/// A local folder whose puts, multipart uploads, copies and renames are durable when they return. Deletions are not: a
/// deleted object may come back after a power loss.
#[derive(Debug, Clone)]
pub struct DurableLocal {
    files: Arc<LocalFileSystem>,
    folders: Arc<DurableFolders>,
    disk: Arc<dyn Disk>,
    staged: Arc<StagingNames>,
}

impl DurableLocal {
    /// Opens `root`, makes it if it is missing, and removes staging files that nobody touched for `staging_grace`:
    /// leftovers of processes that were killed in the middle of a put.
    pub fn open(root: &FsPath, staging_grace: Duration) -> Result<Self> {
        Self::open_on(Arc::new(LocalDisk), root, staging_grace)
    }

    /// The same on another disk.
    pub fn open_on(disk: Arc<dyn Disk>, root: &FsPath, staging_grace: Duration) -> Result<Self> {
        let root_path = std::path::absolute(root).map_err(opening(root))?;
        DurableFolders::create_all(disk.as_ref(), &root_path).map_err(opening(root))?;
        let store = Self::among(disk, &root_path)?;
        sweep_staging(store.disk.as_ref(), store.folders.root(), staging_grace).map_err(opening(root))?;
        Ok(store)
    }

    /// Opens `root`, which must be there and may be full of what others put there: nothing is made or removed by opening it.
    pub fn among(disk: Arc<dyn Disk>, root: &FsPath) -> Result<Self> {
        let root_path = fs::canonicalize(root).map_err(opening(root))?;
        let files = LocalFileSystem::new_with_prefix(&root_path)
            .map_err(|error| store_error(format_args!("opening the folder {}", root.display()), error))?;
        Ok(Self {
            files: Arc::new(files),
            folders: Arc::new(DurableFolders::new(root_path)),
            disk,
            staged: Arc::new(StagingNames::new()),
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> object_store::Result<T> + Send + 'static,
    ) -> object_store::Result<T> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this)).await?
    }

    fn put_blocking(&self, target: &FsPath, content: &[Bytes], mode: &PutMode) -> object_store::Result<PutResult> {
        let staged = self.staged.beside(target);
        self.write_staged(target, &staged, content).map_err(|error| not_done(target, error))?;
        let result = self.publish(&staged, target, mode);
        // After a rename there is nothing left to remove.
        let _ = self.disk.remove(&staged);
        result
    }

    fn write_staged(&self, target: &FsPath, staged: &FsPath, content: &[Bytes]) -> io::Result<()> {
        self.folders.ensure(self.disk.as_ref(), target)?;
        let written = self.disk.write_new(staged, content).or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            // Somebody removed the folder since this process made it.
            self.folders.forget(target);
            self.folders.ensure(self.disk.as_ref(), target)?;
            self.disk.write_new(staged, content)
        });
        written.and_then(|()| self.disk.sync_file(staged)).inspect_err(|_| {
            let _ = self.disk.remove(staged);
        })
    }

    fn publish(&self, staged: &FsPath, target: &FsPath, mode: &PutMode) -> object_store::Result<PutResult> {
        match mode {
            PutMode::Create => match self.disk.link(staged, target) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // Whoever reads back what is there must be able to rely on it.
                    sync_parent(self.disk.as_ref(), target).map_err(|error| not_known("syncing", target, &error))?;
                    return Err(object_store::Error::AlreadyExists {
                        path: target.display().to_string(),
                        source: error.into(),
                    });
                }
                linked => linked.map_err(|error| not_done(target, error))?,
            },
            PutMode::Overwrite => {
                self.disk.rename(staged, target).map_err(|error| not_done(target, error))?;
            }
            PutMode::Update(_) => return Err(not_implemented("put_opts with PutMode::Update")),
        }
        sync_parent(self.disk.as_ref(), target).map_err(|error| not_known("syncing", target, &error))?;
        Ok(PutResult { e_tag: None, version: None })
    }

    fn settle(&self, target: &FsPath) -> object_store::Result<()> {
        self.disk
            .sync_file(target)
            .and_then(|()| self.folders.ensure(self.disk.as_ref(), target))
            .and_then(|()| sync_parent(self.disk.as_ref(), target))
            .map_err(|error| not_known("syncing", target, &error))
    }

    fn delete_blocking(&self, location: &Path) -> object_store::Result<()> {
        let target = self.files.path_to_filesystem(location)?;
        self.disk.remove(&target).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                object_store::Error::NotFound { path: location.to_string(), source: error.into() }
            } else {
                not_done(&target, error)
            }
        })
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        if !opts.attributes.is_empty() {
            return Err(not_implemented("put_opts with attributes"));
        }
        let target = self.files.path_to_filesystem(location)?;
        self.blocking(move |this| this.put_blocking(&target, payload.as_ref(), &opts.mode)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return Err(not_implemented("put_multipart_opts with attributes"));
        }
        let target = self.files.path_to_filesystem(location)?;
        let upload = self.blocking(move |this| {
            let staged = this.staged.beside(&target);
            this.write_staged(&target, &staged, &[]).map_err(|error| not_done(&target, error))?;
            Ok(DurableUpload { store: this.clone(), target, staged: Some(staged), written: 0 })
        });
        Ok(Box::new(upload.await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let this = self.clone();
        let delete = move |location: object_store::Result<Path>| {
            let this = this.clone();
            async move {
                let location = location?;
                this.blocking(move |this| this.delete_blocking(&location).map(|()| location)).await
            }
        };
        locations.map(delete).buffered(10).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        let target = self.files.path_to_filesystem(to)?;
        self.files.copy_opts(from, to, options).await?;
        self.blocking(move |this| this.settle(&target)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> object_store::Result<()> {
        let target = self.files.path_to_filesystem(to)?;
        self.files.rename_opts(from, to, options).await?;
        self.blocking(move |this| this.settle(&target)).await
    }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}({})", self.folders.root().display())
    }
}

/// An upload in parts that is durable once [`MultipartUpload::complete`] returned. Until then the name is what it was: the
/// parts go to a staging file, which is synced before it takes the name. Dropped, it leaves nothing behind.
#[derive(Debug)]
struct DurableUpload {
    store: DurableLocal,
    target: PathBuf,
    /// None: it has ended.
    staged: Option<PathBuf>,
    written: u64,
}

impl DurableUpload {
    fn take_staged(&mut self) -> object_store::Result<PathBuf> {
        self.staged.take().ok_or_else(|| not_implemented("an upload that has ended"))
    }
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let offset = self.written;
        self.written += data.content_length() as u64;
        let (store, staged, target) = (self.store.clone(), self.staged.clone(), self.target.clone());
        async move {
            let staged = staged.ok_or_else(|| not_implemented("an upload that has ended"))?;
            let write = move |store: &DurableLocal| {
                let written = store.disk.write_at(&staged, offset, data.as_ref());
                written.map_err(|error| not_done(&target, error))
            };
            store.blocking(write).await
        }
        .boxed()
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let (staged, target) = (self.take_staged()?, self.target.clone());
        let publish = move |store: &DurableLocal| {
            let synced = store.disk.sync_file(&staged).map_err(|error| not_done(&target, error));
            let published = synced.and_then(|()| store.publish(&staged, &target, &PutMode::Overwrite));
            if published.is_err() {
                let _ = store.disk.remove(&staged);
            }
            published
        };
        self.store.blocking(publish).await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let staged = self.take_staged()?;
        let remove = move |store: &DurableLocal| store.disk.remove(&staged).map_err(|error| not_done(&staged, error));
        self.store.blocking(remove).await
    }
}

impl Drop for DurableUpload {
    fn drop(&mut self) {
        if let Some(staged) = self.staged.take() {
            let _ = self.store.disk.remove(&staged);
        }
    }
}

/// Staging names end in `#<digits>`, which `object_store` hides and refuses as object names.
#[derive(Debug)]
struct StagingNames {
    /// Tells processes on one folder apart: a process id alone is not unique over machines and restarts.
    process: u64,
    next: AtomicU64,
}

impl StagingNames {
    fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { process: u64::from(std::process::id()) << 32 | u64::from(since_epoch.subsec_nanos()), next: 0.into() }
    }

    fn beside(&self, target: &FsPath) -> PathBuf {
        let mut name = target.as_os_str().to_owned();
        name.push(format!("#{}{:012}", self.process, self.next.fetch_add(1, Ordering::Relaxed)));
        name.into()
    }
}

fn opening(root: &FsPath) -> impl Fn(io::Error) -> Error {
    move |error| {
        Error::failed_precondition(format!("the folder {} cannot be opened: {error}", root.display()))
            .with_source(error)
    }
}

fn is_staging(path: &FsPath) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.rsplit_once('#'))
        .is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn sweep_staging(disk: &dyn Disk, folder: &FsPath, grace: Duration) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sweep_staging(disk, &entry.path(), grace)?;
        } else if is_staging(&entry.path()) {
            sweep_staging_file(disk, &entry.path(), grace)?;
        }
    }
    Ok(())
}

fn sweep_staging_file(disk: &dyn Disk, path: &FsPath, grace: Duration) -> io::Result<()> {
    let gone = |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
    let age = match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(modified) => modified.elapsed().unwrap_or_default(),
        Err(error) => return gone(error),
    };
    if age < grace {
        return Ok(());
    }
    tracing::info!(path = %path.display(), "removing what an interrupted write left behind");
    disk.remove(path).or_else(gone)
}

/// Nothing is there that was not there before; what the operating system said tells whether it may go well later.
fn not_done(path: &FsPath, cause: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: STORE, source: NotDone { path: path.to_owned(), cause }.into() }
}

/// It may be there and outlive a power loss or not, whatever the operating system said.
fn not_known(doing: &str, path: &FsPath, cause: &io::Error) -> object_store::Error {
    object_store::Error::Generic { store: STORE, source: format!("{doing} {}: {cause}", path.display()).into() }
}

/// What the disk did not do.
#[derive(Debug)]
struct NotDone {
    path: PathBuf,
    cause: io::Error,
}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for NotDone {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

fn not_implemented(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented { operation: operation.into(), implementer: STORE.into() }
}
