//! Where what does not fit in memory is written. What others keep on the same disk, an embedded store above all, needs room
//! too, so its last bytes are left free.

use std::path::{Path, PathBuf};

use larder_types::{Error, Result};

/// A folder for temporary files, on a disk of which some bytes stay free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpillFolder {
    path: PathBuf,
    kept_free: u64,
}

impl SpillFolder {
    /// The folder at `path`; so many bytes of its disk are not used.
    pub fn new(path: PathBuf, kept_free: u64) -> Self {
        Self { path, kept_free }
    }

    /// The same, of a path as a person writes it. INVALID_ARGUMENT where there is no folder that can be written into.
    pub fn open(path: &Path, kept_free: u64) -> Result<Self> {
        let opened = || {
            let path = path.canonicalize()?;
            tempfile::tempfile_in(&path)?;
            Ok(path)
        };
        let failed = |error: std::io::Error| {
            Error::invalid_argument(format!("the spill folder {} cannot be used: {error}", path.display()))
                .with_source(error)
        };
        Ok(Self::new(opened().map_err(failed)?, kept_free))
    }

    /// A folder within it.
    pub fn at(&self, path: &Path) -> Self {
        Self::new(path.to_owned(), self.kept_free)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes may be written to it now. UNAVAILABLE where the system does not say.
    pub fn room(&self) -> Result<u64> {
        let disk = rustix::fs::statvfs(&self.path).map_err(|error| {
            let folder = self.path.display();
            Error::unavailable(format!("looking for room in the spill folder {folder}: {error}")).with_source(error)
        })?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(self.kept_free))
    }

    /// RESOURCE_EXHAUSTED where nothing more may be written to it.
    pub fn check_room(&self) -> Result<()> {
        if self.room()? > 0 {
            return Ok(());
        }
        Err(Error::resource_exhausted(format!(
            "the disk of the spill folder {} has less than {} bytes free, which are kept for others \
             (materializer.spill_disk_kept_free): make room, or set materializer.spill_folder to another disk",
            self.path.display(),
            self.kept_free
        )))
    }
}

#[cfg(test)]
mod tests {
    use larder_types::ErrorCode;

    use super::*;

    #[test]
    fn it_has_to_be_a_folder_that_can_be_written_into() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("within")).unwrap();
        let opened = SpillFolder::open(&folder.path().join("within/.."), 7).unwrap();
        assert_eq!(opened, SpillFolder::new(folder.path().canonicalize().unwrap(), 7));
        std::fs::write(folder.path().join("file"), "").unwrap();
        for wrong in ["file", "nowhere"] {
            let error = SpillFolder::open(&folder.path().join(wrong), 0).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains(wrong), "{error}");
        }
    }

    #[test]
    fn what_is_kept_free_is_no_room() {
        let folder = std::env::temp_dir();
        let all = SpillFolder::new(folder.clone(), 0);
        let room = all.room().unwrap();
        all.check_room().unwrap();
        let most = SpillFolder::new(folder.clone(), room / 2).room().unwrap();
        assert!(most > 0 && most < room);
        let error = SpillFolder::new(folder, u64::MAX).check_room().unwrap_err();
        assert_eq!(error.code(), ErrorCode::ResourceExhausted);
        assert!(error.message().contains("materializer.spill_disk_kept_free"), "{error}");
        let nowhere = SpillFolder::new("/nowhere/at/all".into(), 0).room().unwrap_err();
        assert!(nowhere.message().contains("/nowhere/at/all"), "{nowhere}");
    }
}
