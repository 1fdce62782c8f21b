//! The files that are wanted of those below a local folder. A store's own listing would stop at what nobody wants, and pass
//! over links that lead nowhere (a disk that is not mounted, say) and folders that may not be entered: rows behind them would
//! be missed without a word. Here only what is wanted counts, and all of that.

use std::{
    fs::{self, DirEntry, FileType},
    io,
    iter::successors,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use larder_types::{Error, Result};
use object_store::path::Path as StorePath;

use super::{Wanted, listed_path};

/// A folder to look through.
struct Folder {
    path: PathBuf,
    /// Below the folder that is asked for.
    names: Vec<String>,
    /// What tells it from others, by whatever name it is reached.
    identity: (u64, u64),
    above: Option<Arc<Folder>>,
}

impl Folder {
    fn check_no_circle(&self) -> Result<()> {
        let mut around = successors(self.above.as_deref(), |folder| folder.above.as_deref());
        let Some(same) = around.find(|folder| folder.identity == self.identity) else { return Ok(()) };
        let (link, same) = (self.path.display(), same.path.display());
        Err(Error::failed_precondition(format!(
            "`{link}` is a link to a folder that it lies in, `{same}`: such a link cannot be followed, remove it"
        )))
    }
}

/// The paths, by which the store that has `/` at its top knows them. None where there is no such folder.
///
/// # Errors
/// `FAILED_PRECONDITION` naming what is wanted, or may lead to it, and cannot be reached: a link that leads nowhere or to a
/// folder that it lies in, a folder that may not be read, a name that the store cannot have.
pub(super) fn files(folder: &Path, wanted: &Wanted) -> Result<Vec<StorePath>> {
    let mut found = Vec::new();
    let mut folders: Vec<Arc<Folder>> = opened(folder.to_owned(), Vec::new(), None)?.into_iter().collect();
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder.path) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(unreachable(&folder.path, "cannot be read", &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| unreachable(&folder.path, "cannot be read", &error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let names: Vec<String> = folder.names.iter().cloned().chain([name]).collect();
            let (is_wanted, leads_below) = (wanted.has(&names), wanted.leads_below(&names));
            if !is_wanted && !leads_below {
                continue;
            }
            match target(&entry)? {
                Some(kind) if kind.is_dir() && leads_below => {
                    let Some(below) = opened(entry.path(), names, Some(&folder))? else { continue };
                    if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                        below.check_no_circle()?;
                    }
                    folders.push(below);
                }
                Some(kind) if kind.is_file() && is_wanted && !is_unfinished(&names) => {
                    found.push(store_path(&entry.path())?);
                }
                Some(_) | None => {}
            }
        }
    }
    Ok(found)
}

/// None where there is none, or no more.
fn opened(path: PathBuf, names: Vec<String>, above: Option<&Arc<Folder>>) -> Result<Option<Arc<Folder>>> {
    // A folder whose names can be read may yet not be entered.
    let identity = match fs::metadata(path.join(".")) {
        Ok(found) => (found.dev(), found.ino()),
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(unreachable(&path, "cannot be entered", &error)),
    };
    Ok(Some(Arc::new(Folder { path, names, identity, above: above.cloned() })))
}

/// What is there, links followed; none: it was removed meanwhile.
fn target(entry: &DirEntry) -> Result<Option<FileType>> {
    let path = entry.path();
    let kind = entry.file_type().map_err(|error| unreachable(&path, "cannot be looked at", &error))?;
    if !kind.is_symlink() {
        return Ok(Some(kind));
    }
    match fs::metadata(&path) {
        Ok(there) => Ok(Some(there.file_type())),
        Err(_) if fs::symlink_metadata(&path).is_err() => Ok(None),
        Err(error) => Err(unreachable(&path, "is a link that leads nowhere", &error)),
    }
}

/// So a store calls what it is still writing: `name#1`.
fn is_unfinished(names: &[String]) -> bool {
    let number = names.last().and_then(|name| name.split_once('#')).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn store_path(path: &Path) -> Result<StorePath> {
    let known = path.to_str().and_then(|path| listed_path(path).ok());
    known.ok_or_else(|| {
        Error::failed_precondition(format!(
            "{path:?} cannot be read by this name, which has a control character or is no UTF-8: rename it"
        ))
    })
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unreachable(path: &Path, how: &str, error: &io::Error) -> Error {
    Error::failed_precondition(format!("`{}` {how}: {error}", path.display()))
}
