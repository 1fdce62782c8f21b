//! Power that can be cut: from that instant nothing reaches a disk any more, whoever is still writing.

use std::{
    io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;

use crate::Disk;

/// Whether the power is cut. Clones are the same power.
#[derive(Debug, Clone, Default)]
pub struct Power(Arc<RwLock<bool>>);

impl Power {
    /// Cuts it, once what disks are doing at the moment is done. It does not come back.
    pub fn cut(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Does `work`, which the cut waits for, or fails where it is cut.
    pub fn with<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let is_cut = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if *is_cut { Err(io::Error::other("the power is cut")) } else { work() }
    }
}

/// A disk on some power.
#[derive(Debug, Clone)]
pub struct PoweredDisk<D> {
    disk: D,
    power: Power,
    until_linked: bool,
}

impl<D: Disk> PoweredDisk<D> {
    /// `disk`, for as long as there is `power`.
    pub fn new(disk: D, power: Power) -> Self {
        Self { disk, power, until_linked: false }
    }

    /// `disk`, whose power is cut when a file has just got its name, before that can be synced.
    pub fn until_linked(disk: D) -> Self {
        Self { disk, power: Power::default(), until_linked: true }
    }
}

impl<D: Disk> Disk for PoweredDisk<D> {
    fn write_new(&self, path: &Path, content: &[Bytes]) -> io::Result<()> {
        self.power.with(|| self.disk.write_new(path, content))
    }

    fn write_at(&self, path: &Path, offset: u64, content: &[Bytes]) -> io::Result<()> {
        self.power.with(|| self.disk.write_at(path, offset, content))
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.power.with(|| self.disk.sync_file(path))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.power.with(|| self.disk.link(from, to))?;
        if self.until_linked {
            self.power.cut();
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.power.with(|| self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.power.with(|| self.disk.remove(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.power.with(|| self.disk.create_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.power.with(|| self.disk.sync_dir(path))
    }
}
