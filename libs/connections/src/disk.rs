//! The handful of file operations that a durable write is made of, as a port: tests put a disk behind it that forgets
//! whatever was not synced.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::Path,
};

use bytes::Bytes;

/// File operations of a local disk. All of them block.
///
/// What a name refers to outlives a power loss only after [`Disk::sync_dir`] of its folder; what is in a file only after
/// [`Disk::sync_file`].
pub trait Disk: std::fmt::Debug + Send + Sync + 'static {
    /// Makes a new file with `content`; fails with [`io::ErrorKind::AlreadyExists`] if the name is taken.
    fn write_new(&self, path: &Path, content: &[Bytes]) -> io::Result<()>;
    /// Writes into a file that is there, from `offset` on.
    fn write_at(&self, path: &Path, offset: u64, content: &[Bytes]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        content.iter().try_for_each(|piece| file.write_all(piece))
    }
    /// Makes the content of a file durable.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Gives a file a second name; fails with [`io::ErrorKind::AlreadyExists`] if that is taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Moves a file to a name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder; fails with [`io::ErrorKind::AlreadyExists`] if the name is taken.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// The machine's disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn write_new(&self, path: &Path, content: &[Bytes]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        content.iter().try_for_each(|piece| file.write_all(piece))
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Windows cannot open a folder as a file; its journal keeps names.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }
}
