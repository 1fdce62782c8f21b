//! A file of which a machine that stops keeps what was synced, and of the rest anything or nothing: for the tests of who
//! keeps an embedded store.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

/// A file in memory, and beside it the content that a loss of power would leave. Clones are the same file.
#[derive(Debug, Clone, Default)]
pub struct ForgetfulFile(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    current: Vec<u8>,
    synced: Vec<u8>,
    /// What was written since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
    fails: bool,
    syncs: usize,
}

impl ForgetfulFile {
    /// The file as it is after the machine stopped: what was synced, and of the writes since then those that `survives`.
    #[must_use]
    pub fn after_power_loss(&self, mut survives: impl FnMut() -> bool) -> Self {
        let state = self.state();
        let mut left = state.synced.clone();
        for (offset, data) in &state.unsynced {
            if survives() {
                left.resize(left.len().max(offset + data.len()), 0);
                left[*offset..offset + data.len()].copy_from_slice(data);
            }
        }
        let state = State { current: left.clone(), synced: left, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// From now on no sync succeeds.
    pub fn fail(&self) {
        self.state().fails = true;
    }

    /// How often it was synced.
    pub fn syncs(&self) -> usize {
        self.state().syncs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for ForgetfulFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = place(offset)?;
        let state = self.state();
        let found = state.current.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state().current.resize(place(len)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let state = &mut *self.state();
        if state.fails {
            return Err(io::Error::other("the disk is gone"));
        }
        state.syncs += 1;
        state.synced.clone_from(&state.current);
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = place(offset)?;
        let state = &mut *self.state();
        let written = state.current.get_mut(start..start + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        written.copy_from_slice(data);
        state.unsynced.push((start, data.to_vec()));
        Ok(())
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}
