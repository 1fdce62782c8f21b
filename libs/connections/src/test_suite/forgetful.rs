//! A disk that loses what was not synced when the power goes.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tempfile::TempDir;

use crate::{Disk, LocalDisk};

/// A real temporary folder, and beside it the state that a power loss would leave.
///
/// Two states: the folder itself is what processes see; the durable one has the names that a folder had at its last
/// [`Disk::sync_dir`] and the content that a file had at its last [`Disk::sync_file`]. [`ForgetfulDisk::crash`] makes the
/// folder what the durable state says: a name that was not synced is gone, a name of a file that was not synced is an
/// empty file, a removal that was not synced is undone. Clones share the disk.
#[derive(Debug, Clone)]
pub struct ForgetfulDisk {
    // Removes the folder with the last clone.
    _folder: Arc<TempDir>,
    root: PathBuf,
    durable: Arc<Mutex<Durable>>,
}

#[derive(Debug, Default)]
struct Durable {
    names: BTreeMap<PathBuf, Node>,
    /// By inode. The open file keeps the inode from being given to another file.
    contents: HashMap<u64, (File, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy)]
enum Node {
    Folder,
    File(u64),
}

impl ForgetfulDisk {
    /// An empty disk.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = fs::canonicalize(folder.path())?;
        Ok(Self { _folder: Arc::new(folder), root, durable: Arc::default() })
    }

    /// The folder that processes see.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The power goes and comes back. Nothing may be using the folder meanwhile.
    pub fn crash(&self) -> io::Result<()> {
        let mut durable = self.durable();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }?;
        }
        let mut restored = Durable::default();
        // Ordered by path: a folder comes before what is in it. What lies in a folder that was lost is lost.
        for (path, node) in std::mem::take(&mut durable.names) {
            if !path.parent().is_some_and(Path::is_dir) {
                continue;
            }
            let node = match node {
                Node::Folder => {
                    fs::create_dir(&path)?;
                    Node::Folder
                }
                Node::File(inode) => {
                    let content = durable.contents.get(&inode).map(|(_, content)| content.clone()).unwrap_or_default();
                    fs::write(&path, &content)?;
                    Node::File(restored.keep(&path, content)?)
                }
            };
            restored.names.insert(path, node);
        }
        *durable = restored;
        Ok(())
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Durable {
    fn keep(&mut self, path: &Path, content: Vec<u8>) -> io::Result<u64> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        self.contents.insert(inode, (file, content));
        Ok(inode)
    }
}

impl Disk for ForgetfulDisk {
    fn write_new(&self, path: &Path, content: &[Bytes]) -> io::Result<()> {
        LocalDisk.write_new(path, content)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.durable().keep(path, fs::read(path)?).map(drop)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut durable = self.durable();
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A file that goes away between the two calls was not there.
            let Ok(metadata) = entry.metadata() else { continue };
            let node = if metadata.is_dir() { Node::Folder } else { Node::File(metadata.ino()) };
            names.insert(entry.path(), node);
        }
        durable.names.retain(|name, _| name.parent() != Some(path));
        durable.names.extend(names);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_exactly_what_was_synced() {
        let disk = ForgetfulDisk::new().unwrap();
        let path = |name: &str| disk.root().join(name);
        let write = |name: &str| disk.write_new(&path(name), &[Bytes::copy_from_slice(name.as_bytes())]).unwrap();
        for name in ["both", "name only", "removed"] {
            write(name);
        }
        for name in ["both", "removed"] {
            disk.sync_file(&path(name)).unwrap();
        }
        disk.sync_dir(disk.root()).unwrap();
        write("content only");
        disk.sync_file(&path("content only")).unwrap();
        disk.remove(&path("removed")).unwrap();
        disk.create_dir(&path("folder")).unwrap();
        write("folder/file");
        disk.sync_file(&path("folder/file")).unwrap();
        disk.sync_dir(&path("folder")).unwrap();

        for _ in 0..2 {
            disk.crash().unwrap();
            assert_eq!(fs::read(path("both")).unwrap(), b"both");
            assert_eq!(fs::read(path("name only")).unwrap(), b"");
            assert_eq!(fs::read(path("removed")).unwrap(), b"removed");
            assert!(!path("content only").exists());
            assert!(!path("folder").exists());
        }
    }
}
