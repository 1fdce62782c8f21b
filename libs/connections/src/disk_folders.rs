//! Which folders a power loss cannot take away, with everything above them.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::Disk;

/// The folders under a root that this process has made durable. Another process may have made a folder and not synced
/// it yet, so what exists is not enough.
#[derive(Debug)]
pub(crate) struct DurableFolders {
    root: PathBuf,
    known: Mutex<HashSet<PathBuf>>,
}

impl DurableFolders {
    /// Over `root`, which is durable already.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, known: Mutex::default() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder of `file` and those above it, as far as they are missing, and syncs their names.
    pub(crate) fn ensure(&self, disk: &dyn Disk, file: &Path) -> io::Result<()> {
        let Some(folder) = file.parent() else { return Ok(()) };
        if self.known().contains(folder) {
            return Ok(());
        }
        let mut missing: Vec<_> = folder
            .ancestors()
            .take_while(|ancestor| *ancestor != self.root && ancestor.starts_with(&self.root))
            .collect();
        missing.reverse();
        for folder in &missing {
            create_durably(disk, folder)?;
        }
        self.known().extend(missing.into_iter().map(Path::to_path_buf));
        Ok(())
    }

    /// Forgets what is known of the folder of `file`, because it turned out to be gone.
    pub(crate) fn forget(&self, file: &Path) {
        let mut known = self.known();
        for ancestor in file.ancestors() {
            known.remove(ancestor);
        }
    }

    /// Makes `folder` and those above it, as far as they are missing, and syncs the names of the new ones.
    pub(crate) fn create_all(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        let mut missing: Vec<_> = folder.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
        missing.reverse();
        missing.into_iter().try_for_each(|folder| create_durably(disk, folder))
    }

    fn known(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn create_durably(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    match disk.create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => sync_parent(disk, folder),
    }
}

/// Makes the name of `path` durable.
pub(crate) fn sync_parent(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| disk.sync_dir(parent))
}
