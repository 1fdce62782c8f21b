//! A data folder belongs to one process, and says which release wrote it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use larder_types::{Error, Result};

use crate::{
    Disk, LocalDisk,
    disk_folders::{DurableFolders, sync_parent},
};

/// The right to use a data folder, until it is dropped or the process ends in whatever way.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    // Closing the file gives the lock back. The file itself stays: removing it would race with the next owner.
    _file: File,
}

impl FolderLock {
    /// Takes `<folder>/lock`, making the folder if it is missing.
    ///
    /// [`larder_types::ErrorCode::FailedPrecondition`] if another process has it, naming that process.
    pub fn acquire(folder: &Path) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::failed_precondition(format!("the data folder {} cannot be used: {error}", folder.display()))
                .with_source(error)
        };
        DurableFolders::create_all(&LocalDisk, &std::path::absolute(folder).map_err(failed)?).map_err(failed)?;
        let path = folder.join("lock");
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => write_owner(&mut file).map_err(failed)?,
            Err(TryLockError::WouldBlock) => return Err(in_use(folder, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(Self { folder: folder.to_path_buf(), _file: file })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn write_owner(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    file.flush()
}

fn in_use(folder: &Path, file: &mut File) -> Error {
    let mut owner = String::new();
    // The owner may be about to write its id: then the message goes without.
    let known = file.read_to_string(&mut owner).is_ok() && owner.trim().parse::<u32>().is_ok();
    let process = if known { format!("process {}", owner.trim()) } else { "another process".to_owned() };
    Error::failed_precondition(format!(
        "the data folder {} is in use by {process}: stop that one first, or name another folder",
        folder.display()
    ))
}

/// Reads `<folder>/format`, or writes `current` into a folder that has none; call it with the folder's lock held.
///
/// Gives the number found, at most `current`: a lower one is for the caller to migrate. A folder of a newer release is
/// [`larder_types::ErrorCode::FailedPrecondition`] naming both numbers, and is left as it is.
pub fn check_folder_format(folder: &Path, current: u32) -> Result<u32> {
    let path = folder.join("format");
    match fs::read_to_string(&path) {
        Ok(text) => check_number(folder, &path, &text, current),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_format(&LocalDisk, &path, current).map_err(|error| unreadable(&path, error))?;
            Ok(current)
        }
        Err(error) => Err(unreadable(&path, error)),
    }
}

fn check_number(folder: &Path, path: &Path, text: &str, current: u32) -> Result<u32> {
    let found: u32 = text.trim().parse().map_err(|_| {
        let text: String = text.chars().take(32).collect();
        Error::data_loss(format!("{} holds {text:?} and not a number, the format of the folder", path.display()))
    })?;
    if found <= current {
        return Ok(found);
    }
    Err(Error::failed_precondition(format!(
        "the data folder {} has format {found}, this release of Larder reads formats up to {current}: use the newer \
         release that wrote it, or name another folder",
        folder.display()
    )))
}

fn write_format(disk: &dyn Disk, path: &Path, current: u32) -> io::Result<()> {
    let staged = path.with_extension("new");
    let _ = disk.remove(&staged);
    disk.write_new(&staged, &[Bytes::from(format!("{current}\n"))])?;
    disk.sync_file(&staged)?;
    disk.rename(&staged, path)?;
    sync_parent(disk, path)
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::failed_precondition(format!("{} cannot be read or written: {error}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use larder_types::ErrorCode;

    use super::*;

    #[test]
    fn a_folder_has_one_owner_and_says_which() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        let lock = FolderLock::acquire(&folder).unwrap();
        let error = FolderLock::acquire(&folder).unwrap_err();
        assert_eq!(error.code(), ErrorCode::FailedPrecondition);
        assert!(error.message().contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.message().contains("stop that one first"), "{error}");
        drop(lock);
        assert_eq!(FolderLock::acquire(&folder).unwrap().folder(), folder);
    }

    #[test]
    fn a_folder_of_a_newer_release_is_refused_with_both_numbers_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(check_folder_format(folder.path(), 2).unwrap(), 2);
        assert_eq!(check_folder_format(folder.path(), 3).unwrap(), 2);
        let error = check_folder_format(folder.path(), 1).unwrap_err();
        assert_eq!(error.code(), ErrorCode::FailedPrecondition);
        assert!(error.message().contains("format 2") && error.message().contains("up to 1"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join("format")).unwrap(), "2\n");

        fs::write(folder.path().join("format"), "two").unwrap();
        assert_eq!(check_folder_format(folder.path(), 2).unwrap_err().code(), ErrorCode::DataLoss);
    }
}
