//! The embedded stores in one data folder.
//!
//! ```text
//! <data>/lock          held by the process that uses the folder
//! <data>/format        the folder's format
//! <data>/registry/     definitions and runs
//! <data>/online.redb   what is served
//! <data>/push-log/     pushed rows
//! <data>/spill/        what does not fit in memory, while it is worked on; emptied at each start
//! ```

use std::{
    path::{Path as FsPath, PathBuf},
    sync::Arc,
    time::Duration,
};

use larder_connections::{DurableLocal, FolderLock, check_folder_format};
use larder_online_store::{EmbeddedConfig, EmbeddedStore, OnlineStore};
use larder_registry_store::{ObjectRegistryStore, RegistryStore};
use larder_types::{Error, Result};
use object_store::{ObjectStore, path::Path};

/// The newest format of a data folder.
const FORMAT: u32 = 1;

/// How long a file that a killed process left half-written stays.
const STAGING_GRACE: Duration = Duration::from_secs(3600);

/// Where everything is kept.
#[derive(Clone)]
pub struct Stores {
    /// Definitions and runs.
    pub registry: Arc<dyn RegistryStore>,
    /// What is served.
    pub online: Arc<dyn OnlineStore>,
    /// Pushed rows, at the root of this store.
    pub push_log: Arc<dyn ObjectStore>,
}

/// Keeps other processes away from the folder for as long as it lives.
#[derive(Debug)]
pub struct DataFolder {
    _lock: FolderLock,
}

/// Opens the stores in `folder`, which is made if it is not there.
///
/// FAILED_PRECONDITION where another process uses the folder, a newer release wrote it, or it is somebody else's.
pub fn open(folder: &FsPath, online_cache: usize) -> Result<(DataFolder, Stores)> {
    let made = |path: &FsPath| {
        std::fs::create_dir_all(path).map_err(|error| {
            Error::failed_precondition(format!("the data folder {} cannot be made: {error}", path.display()))
                .with_source(error)
        })
    };
    check_ours(folder)?;
    made(folder)?;
    let lock = FolderLock::acquire(folder)?;
    check_folder_format(folder, FORMAT)?;
    made(&spill_folder(folder))?;
    empty_spill_folder(folder);
    let registry = DurableLocal::open(&folder.join("registry"), STAGING_GRACE)?;
    let push_log = DurableLocal::open(&folder.join("push-log"), STAGING_GRACE)?;
    let embedded = EmbeddedConfig { cache_bytes: online_cache, ..EmbeddedConfig::default() };
    let stores = Stores {
        registry: Arc::new(ObjectRegistryStore::new(Arc::new(registry), Path::default())),
        online: Arc::new(EmbeddedStore::open(&folder.join("online.redb"), &embedded)?),
        push_log: Arc::new(push_log),
    };
    Ok((DataFolder { _lock: lock }, stores))
}

/// The files that make a folder Larder's; [`larder_connections`] writes them.
const LOCK_FILE: &str = "lock";
const FORMAT_FILE: &str = "format";

/// What a folder without a format may have: what is there before the format is written, and what a fresh file system has.
const BEFORE_FORMAT: [&str; 3] = [LOCK_FILE, "format.new", "lost+found"];

/// As many links as lead to a file at most: more go in a circle.
const MOST_LINKS: usize = 40;

/// The data folder of Larder that a file is in, or would be in once it is made; links to it and on the way are followed.
/// Nothing but the stores may write there.
pub fn data_folder_around(file: &FsPath) -> Option<PathBuf> {
    let mut place = std::path::absolute(file).ok()?;
    for _ in 0..MOST_LINKS {
        let there = place.ancestors().find_map(|ancestor| std::fs::canonicalize(ancestor).ok())?;
        if let Some(folder) = there.ancestors().find(|folder| is_data_folder(folder)) {
            return Some(folder.to_owned());
        }
        // One that leads to what is not there yet has no true name.
        place = place.parent()?.join(std::fs::read_link(&place).ok()?);
    }
    None
}

fn is_data_folder(folder: &FsPath) -> bool {
    [LOCK_FILE, FORMAT_FILE].iter().all(|name| folder.join(name).is_file())
}

/// A folder that has a format is Larder's; one that has none and other things in it is not, and stays as it is.
fn check_ours(folder: &FsPath) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !BEFORE_FORMAT.contains(&name.as_str())).collect();
    names.sort();
    match names.first() {
        Some(first) if !names.iter().any(|name| name == FORMAT_FILE) => Err(Error::failed_precondition(format!(
            "the folder {} is not Larder's: it has {first} in it and no file `format`. Name another folder with --data (or \
             the setting `data`): an empty one, or one that is not there yet",
            folder.display()
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Where work that does not fit in memory goes.
pub fn spill_folder(folder: &FsPath) -> PathBuf {
    folder.join("spill")
}

/// The folder is this process's alone, so what is there was left by one that was killed. What cannot be removed is in
/// nobody's way.
fn empty_spill_folder(folder: &FsPath) {
    let spill = spill_folder(folder);
    let entries = match std::fs::read_dir(&spill) {
        Ok(entries) => entries,
        Err(error) => return tracing::warn!(folder = %spill.display(), %error, "what was left there is not removed"),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_) => std::fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => tracing::info!(path = %path.display(), "removed what a killed process left"),
            Err(error) => tracing::warn!(path = %path.display(), %error, "what a killed process left is not removed"),
        }
    }
}
