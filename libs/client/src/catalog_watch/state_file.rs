//! The last catalog in a file, replaced as a whole: what a service starts from while no registry answers.
//!
//! A cache: whatever cannot be read counts as nothing.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use larder_contracts::catalog::{decode_kept, encode_kept};
use larder_definitions::Catalog;
use larder_types::{Error, Name, Result};

/// As any file that is created, before the process's mask.
const READABLE: u32 = 0o666;

/// What a catalog is called that is not whole yet.
const UNFINISHED: &str = ".catalog.new";

/// Nobody takes so long to write one.
const ABANDONED_AFTER: Duration = Duration::from_secs(600);

#[derive(Debug, Clone)]
pub(super) struct StateFile {
    folder: PathBuf,
    path: PathBuf,
}

impl StateFile {
    pub(super) fn new(folder: &Path, project: &Name) -> Self {
        Self { folder: folder.to_owned(), path: folder.join(format!("{project}.catalog")) }
    }

    /// The catalog that is kept, if one is.
    pub(super) fn read(&self, project: &Name) -> Option<Catalog> {
        self.remove_abandoned();
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the kept catalog cannot be read");
                return None;
            }
        };
        match decode_kept(&bytes) {
            Ok(catalog) if catalog.project == *project => Some(catalog),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the kept catalog is not used");
                None
            }
        }
    }

    /// Keeps a catalog in place of the one before; a crash leaves one of the two.
    pub(super) fn write(&self, catalog: &Catalog) -> Result<()> {
        let failed =
            |error: io::Error| Error::unavailable(format!("{}: {error}", self.path.display())).with_source(error);
        self.replace(&encode_kept(catalog)).map_err(failed)
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        // Of a name of its own: others may keep the same catalog in the same folder at the same time.
        let mut beside = tempfile::Builder::new();
        let beside = beside.suffix(UNFINISHED).permissions(Permissions::from_mode(READABLE));
        let mut file = beside.tempfile_in(&self.folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// What processes left that were killed while they wrote.
    fn remove_abandoned(&self) {
        let is_abandoned = |entry: &fs::DirEntry| {
            let age = entry.metadata().and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
            entry.file_name().to_string_lossy().ends_with(UNFINISHED) && age.is_some_and(|age| age > ABANDONED_AFTER)
        };
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries.filter(is_abandoned) {
            // Somebody else may have removed it.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use larder_types::{ProjectNumber, Revision, Timestamp};

    use super::*;

    #[test]
    fn what_was_left_unfinished_is_removed_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["old.catalog.new", "young.catalog.new", "other"] {
            fs::write(at(name), "").unwrap();
        }
        for name in ["old.catalog.new", "other"] {
            let old = std::time::SystemTime::now() - ABANDONED_AFTER * 2;
            File::options().write(true).open(at(name)).unwrap().set_modified(old).unwrap();
        }
        let project = Name::new("payments").unwrap();
        assert!(StateFile::new(folder.path(), &project).read(&project).is_none());
        assert_eq!(
            ["old.catalog.new", "young.catalog.new", "other"].map(|name| at(name).exists()),
            [false, true, true]
        );
    }

    /// As services of one process do that have one state folder.
    #[test]
    fn several_keep_a_catalog_in_one_place_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let project = Name::new("payments").unwrap();
        let catalog =
            |revision| Catalog::empty(project.clone(), ProjectNumber(1), Revision(revision), Timestamp::from_micros(0));
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (file, catalog) = (StateFile::new(folder.path(), &project), &catalog);
                scope.spawn(move || {
                    for number in 0..25 {
                        file.write(&catalog(writer * 25 + number)).unwrap();
                        assert!(file.read(&catalog(0).project).is_some());
                    }
                });
            }
        });
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["payments.catalog"]);
    }
}
