//! A machine whose power can be cut: from that instant nothing reaches its disks any more, and what was not synced is
//! gone or, of the online store's file, there in part.

use std::{io, sync::Arc, time::Duration};

use larder_connections::{
    DurableLocal,
    test_suite::{ForgetfulDisk, Power, PoweredDisk},
};
use larder_online_store::{EmbeddedConfig, EmbeddedStore, StorageBackend, forgetful::ForgetfulFile};
use larder_registry_store::ObjectRegistryStore;
use larder_standalone::stores::Stores;
use rand::{Rng, rngs::StdRng};

/// What outlives a cut.
pub(crate) struct Machine {
    disk: ForgetfulDisk,
    file: ForgetfulFile,
    power: Power,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { disk: ForgetfulDisk::new().unwrap(), file: ForgetfulFile::default(), power: Power::default() }
    }

    /// The stores on its disks, as `larder up` has them.
    pub(crate) fn stores(&self) -> Stores {
        let power = &self.power;
        let folder = |name: &str| {
            let disk = PoweredDisk::new(self.disk.clone(), power.clone());
            let grace = Duration::from_secs(3_600);
            Arc::new(DurableLocal::open_on(Arc::new(disk), &self.disk.root().join(name), grace).unwrap())
        };
        let file = PoweredFile { file: self.file.clone(), power: power.clone() };
        Stores {
            registry: Arc::new(ObjectRegistryStore::new(folder("registry"), object_store::path::Path::default())),
            online: Arc::new(EmbeddedStore::open_on(file, &EmbeddedConfig::default()).unwrap()),
            push_log: folder("push-log"),
        }
    }

    pub(crate) fn power(&self) -> Power {
        self.power.clone()
    }

    /// The power comes back. Nothing of before may be running.
    pub(crate) fn restart(&mut self, random: &mut StdRng) {
        self.disk.crash().unwrap();
        self.file = self.file.after_power_loss(|| random.random());
        self.power = Power::default();
    }
}

#[derive(Debug)]
struct PoweredFile {
    file: ForgetfulFile,
    power: Power,
}

impl StorageBackend for PoweredFile {
    fn len(&self) -> io::Result<u64> {
        self.power.with(|| self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.power.with(|| self.file.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.power.with(|| self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.power.with(|| self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.power.with(|| self.file.write(offset, data))
    }
}
