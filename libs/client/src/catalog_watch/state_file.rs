//! The last catalog in a file, replaced as a whole: what a service starts from while no registry answers.
//!
//! A cache: whatever cannot be read counts as nothing.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use larder_contracts::catalog::{decode_kept, encode_kept};
use larder_definitions::Catalog;
use larder_types::{Error, Name, Result};

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
        let beside = self.path.with_extension(format!("{}.new", std::process::id()));
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(&self.folder)?.sync_all()
    }
}
