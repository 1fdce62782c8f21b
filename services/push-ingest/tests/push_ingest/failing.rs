//! Stores that fail or wait when a test says so.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use larder_connections::{Disk, LocalDisk};
use larder_online_store::{KeyWrite, OnlineStore, RowOutcome, WriteMode, interposed::Interposed};
use larder_types::{Error, Result, Timestamp};
use tokio::sync::{Semaphore, watch};

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done.
    Done,
    /// It waits until something else is its fate.
    Held,
    /// The request is lost.
    Lost,
    /// It is done, and the answer is lost.
    Unanswered,
    /// One write after the other is lost, unanswered, done.
    InTurns,
}

/// An online store whose writes fare as the test says.
pub(crate) struct FatefulStore {
    inner: Arc<dyn OnlineStore>,
    fate: watch::Sender<Fate>,
    arrived: Semaphore,
    now: AtomicUsize,
    most: AtomicUsize,
    turn: AtomicUsize,
}

impl FatefulStore {
    pub(crate) fn new(inner: Arc<dyn OnlineStore>) -> Self {
        let [now, most, turn] = [0, 0, 0].map(AtomicUsize::new);
        Self { inner, fate: watch::Sender::new(Fate::Done), arrived: Semaphore::new(0), now, most, turn }
    }

    pub(crate) fn let_be(&self, fate: Fate) {
        self.fate.send_replace(fate);
    }

    /// Waits until so many writes have come that were not waited for yet.
    pub(crate) async fn arrived(&self, writes: u32) {
        self.arrived.acquire_many(writes).await.unwrap().forget();
    }

    /// The most writes that were there at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Interposed for FatefulStore {
    fn store(&self) -> &Arc<dyn OnlineStore> {
        &self.inner
    }

    async fn on_write(&self, writes: Vec<KeyWrite>, mode: WriteMode, now: Timestamp) -> Result<Vec<RowOutcome>> {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        self.arrived.add_permits(1);
        let fate = *self.fate.subscribe().wait_for(|fate| *fate != Fate::Held).await.unwrap();
        let fate = match fate {
            Fate::InTurns => [Fate::Lost, Fate::Unanswered, Fate::Done][self.turn.fetch_add(1, Ordering::SeqCst) % 3],
            Fate::Done | Fate::Held | Fate::Lost | Fate::Unanswered => fate,
        };
        let lost = |what: &str| Error::unavailable(format!("the {what} was lost"));
        let outcome = match fate {
            Fate::Done | Fate::Held | Fate::InTurns => self.inner.write(writes, mode, now).await,
            Fate::Lost => Err(lost("request")),
            Fate::Unanswered => self.inner.write(writes, mode, now).await.and(Err(lost("answer"))),
        };
        self.now.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}

/// A disk that gives no file its name while it is broken.
#[derive(Debug, Clone, Default)]
pub(crate) struct BreakableDisk {
    is_broken: Arc<AtomicBool>,
}

impl BreakableDisk {
    pub(crate) fn break_down(&self, is_broken: bool) {
        self.is_broken.store(is_broken, Ordering::SeqCst);
    }
}

impl Disk for BreakableDisk {
    fn write_new(&self, path: &Path, content: &[Bytes]) -> io::Result<()> {
        LocalDisk.write_new(path, content)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_file(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is broken"));
        }
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
        LocalDisk.sync_dir(path)
    }
}
